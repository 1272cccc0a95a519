"""Thousands of components: truncated EM against dense EM, on patches of photographs.

Both begin from the same clusters of k-means and take as many iterations. Compared are the seconds
of an E-step, and the exact mean log-likelihoods that are reached.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from statistics import median

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_sample_image

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import labeled_statistics, log_likelihood
from fastgmm.em.e_step.truncated import Truncation
from fastgmm.em.initialization.competition import ROUGHLY
from fastgmm.em.initialization.kmeans import fit_kmeans
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from harness.targets import Target, report_targets

LEAST_RATIO, LARGEST_LOSS = 20.0, 0.05


def patches(n_rows: int, side: int, random: np.random.RandomState) -> npt.NDArray[np.float64]:
    """Return squares of gray pixels of two photographs, with the noise of their last digits."""
    found = []
    for name in ("china.jpg", "flower.jpg"):
        gray = load_sample_image(name).mean(axis=2) / 255.0
        windows = np.lib.stride_tricks.sliding_window_view(gray, (side, side))
        found.append(windows.reshape(-1, side * side))
    every = np.concatenate(found)
    rows = every[random.choice(len(every), n_rows, replace=n_rows > len(every))]
    return rows + random.normal(scale=1.0 / 255.0, size=rows.shape)


def iterated(
    problem: EMProblem, start: MixtureParameters, n_iter: int
) -> tuple[MixtureParameters, float, float]:
    """Return what iterations of EM lead to, the seconds of an E-step, and those of all."""
    parameters, seconds, began = start, [], time.perf_counter()
    for _ in range(n_iter):
        before = time.perf_counter()
        statistics = problem.e_step(parameters)
        seconds.append(time.perf_counter() - before)
        parameters = problem.m_step(statistics, parameters)
    return parameters, median(seconds), time.perf_counter() - began


def compare(n_rows: int, side: int, n_components: int, n_iter: int, dense: int) -> list[Target]:
    """Fit both ways and print what they come to."""
    random = np.random.RandomState(0)
    source = ArraySource(patches(n_rows, side, random))
    began = time.perf_counter()
    clusters = fit_kmeans(source, n_components, random, replace(ROUGHLY, init="random"))
    statistics = labeled_statistics(source, clusters.labels, n_components, diagonal=False)
    kind = structure("full")
    n_features = source.n_features
    amounts = Regularization(np.full(n_features, 1e-6), np.zeros(n_features, dtype=bool))
    start = kind.solve(statistics, amounts)
    print(
        f"{n_rows:,} × {n_features}, K={n_components:,}; k-means: "
        f"{time.perf_counter() - began:.1f} s",
        flush=True,
    )
    problem = EMProblem(source, kind, amounts)
    own = replace(problem, truncation=Truncation())
    own.e_step(start, moments=False)  # compiles, and cuts the rows into cells
    found, seconds, total = iterated(own, start, n_iter)
    reached = log_likelihood(source, found) / n_rows
    print(
        f"  truncated: {seconds:.2f} s an E-step, {total:.1f} s in all, reaches {reached:.4f}",
        flush=True,
    )
    others, dense_seconds, total = iterated(problem, start, dense)
    print(f"  dense: {dense_seconds:.2f} s an E-step, {total:.1f} s in all", flush=True)
    targets = [
        Target(f"E-step, K={n_components:,}: dense / truncated", LEAST_RATIO, "x", True,
               dense_seconds / seconds)
    ]  # fmt: skip
    if dense == n_iter:
        best = log_likelihood(source, others) / n_rows
        print(f"  dense reaches {best:.4f}")
        targets.append(
            Target(
                f"log-likelihood behind dense EM, K={n_components:,}, {n_iter} iterations",
                LARGEST_LOSS, "%", False, 100.0 * (best - reached) / abs(best),
            )
        )  # fmt: skip
    return targets


def main(arguments: list[str] | None = None) -> int:
    """Compare and print; return 0, or 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=4, help="pixels of a patch's side")
    parser.add_argument("--components", type=int, default=4096, help="default: %(default)s")
    parser.add_argument("--iterations", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--dense", type=int, help="iterations of dense EM (default: as many)")
    options = parser.parse_args(arguments)
    dense = options.iterations if options.dense is None else options.dense
    return report_targets(
        compare(options.rows, options.side, options.components, options.iterations, dense)
    )


if __name__ == "__main__":
    sys.exit(main())
