"""Thousands of components: truncated EM against dense EM, on patches of photographs.

Both begin from the same clusters of k-means and take as many iterations. Compared are the seconds
of an E-step, and the exact mean log-likelihoods that are reached. On a machine that others use,
seconds of processors, which are printed beside those of the clock, say more.

With `--default-fit`, `GaussianMixture` is fitted to patches with many components by truncated EM,
and with few by dense EM. With `--growth`, E-steps are timed against rows, features and components.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_sample_image

from fastgmm import GaussianMixture
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
MOST_SECONDS = 600.0
LINEAR, SUBLINEAR = 0.05, 0.5  # exponents: how far from 1, and how large


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


class Duration:
    """Seconds of the clock and of processors."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def so_far(self) -> tuple[float, float]:
        """Return how many have passed."""
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


def iterated(
    problem: EMProblem, start: MixtureParameters, n_iter: int
) -> tuple[MixtureParameters, float]:
    """Print the seconds of iterations of EM; return what they lead to, and those of an E-step."""
    parameters, seconds, whole = start, [], Duration()
    for _ in range(n_iter):
        pass_ = Duration()
        statistics = problem.e_step(parameters)
        seconds.append(pass_.so_far())
        parameters = problem.m_step(statistics, parameters)
    clock, processors = (median(each) for each in zip(*seconds, strict=True))
    print(
        f"  {'dense' if problem.truncation is None else 'truncated'}: {clock:.2f} s an E-step "
        f"({processors:.2f} s of processors), {whole.so_far()[0]:.1f} s in all",
        flush=True,
    )
    return parameters, clock


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
    found, seconds = iterated(own, start, n_iter)
    reached = log_likelihood(source, found) / n_rows
    print(f"  truncated reaches {reached:.4f}", flush=True)
    others, dense_seconds = iterated(problem, start, dense)
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


def fit_by_default(
    n_rows: int, side: int, n_components: tuple[int, int], n_iter: int
) -> list[Target]:
    """Fit many components by truncated EM, and few by dense EM, and print what they come to."""
    X = patches(n_rows, side, np.random.RandomState(0))
    many, few = n_components
    reached, durations = [], []
    cases: list[tuple[int, Literal["truncated", "dense"]]] = [(many, "truncated"), (few, "dense")]
    for number, e_step in cases:
        duration = Duration()
        mixture = GaussianMixture(
            number, e_step=e_step, init_params="afk-mc2", n_candidates=1, max_iter=n_iter,
            random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mixture.fit(X)
        durations.append(duration.so_far())
        reached.append(mixture.lower_bound_)
        print(
            f"{n_rows:,} × {X.shape[1]}, K={number:,}, {e_step}: {mixture.n_iter_} iterations, "
            f"{durations[-1][0]:.1f} s ({durations[-1][1]:.1f} s of processors), mean "
            f"log-likelihood {'at least ' if e_step == 'truncated' else ''}{reached[-1]:.4f}",
            flush=True,
        )
    return [
        Target(f"fit of K={many:,}", MOST_SECONDS, "s", False, durations[0][0]),
        Target(f"log-likelihood, K={many:,} less K={few:,}", 0.0, "", True,
               reached[0] - reached[1]),
    ]  # fmt: skip


def seconds_of_e_step(n_rows: int, n_features: int, n_components: int, truncated: bool) -> float:
    """Return the seconds of processors that an E-step takes, the least of three."""
    random = np.random.default_rng(0)
    means = random.normal(size=(n_components, n_features))
    X = means[random.integers(n_components, size=n_rows)]
    X += 0.3 * random.normal(size=X.shape)
    covariances = np.broadcast_to(0.09 * np.eye(n_features), (n_components, *[n_features] * 2))
    mixture = MixtureParameters.from_covariances(
        np.full(n_components, 1.0 / n_components), means, covariances
    )
    nothing = Regularization.none(n_features)
    truncation = Truncation() if truncated else None
    problem = EMProblem(ArraySource(X), structure("full"), nothing, n_jobs=1, truncation=truncation)
    problem.e_step(mixture)
    seconds = []
    for _ in range(3):
        duration = Duration()
        problem.e_step(mixture)
        seconds.append(duration.so_far()[1])
    return min(seconds)


def growth(scale: int, plot: str | None) -> list[Target]:
    """Time E-steps over decades, print the exponents of their growth, and plot them."""
    curves: dict[str, tuple[list[int], Callable[[int], float], bool]] = {
        "rows": (
            [scale * 10**i for i in range(5)],
            lambda n: seconds_of_e_step(n, 4, 16, truncated=False), False,
        ),
        "squares of features": (
            [n * n for n in (4, 12, 40, 126, 400)],
            lambda n: seconds_of_e_step(4 * scale, round(n**0.5), 8, truncated=False), False,
        ),
        "components, truncated": (
            [256, 1024, 4096, 16384],
            lambda n: seconds_of_e_step(200 * scale, 8, n, truncated=True), True,
        ),
    }  # fmt: skip
    targets, measured = [], {}
    for name, (numbers, seconds_at, sublinear) in curves.items():
        seconds = [seconds_at(number) for number in numbers]
        measured[name] = numbers, seconds
        exponent = float(np.polyfit(np.log(numbers), np.log(seconds), 1)[0])
        listed = ", ".join(f"{n:,}: {t:.3g} s" for n, t in zip(numbers, seconds, strict=True))
        print(f"{name}: exponent {exponent:.3f} ({listed})", flush=True)
        limit, figure = (SUBLINEAR, exponent) if sublinear else (LINEAR, abs(exponent - 1.0))
        what = "exponent" if sublinear else "exponent, distance from 1"
        targets.append(Target(f"time against {name}: {what}", limit, "", False, figure))
    if plot is not None:
        import matplotlib.pyplot as plt

        for name, (numbers, seconds) in measured.items():
            plt.loglog(numbers, seconds, "o-", label=name)
        plt.xlabel("number")
        plt.ylabel("seconds of an E-step")
        plt.legend()
        plt.savefig(plot)
    return targets


def main(arguments: list[str] | None = None) -> int:
    """Compare and print; return 0, or 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=4, help="pixels of a patch's side")
    parser.add_argument("--components", type=int, default=4096, help="default: %(default)s")
    parser.add_argument("--iterations", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--dense", type=int, help="iterations of dense EM (default: as many)")
    parser.add_argument(
        "--default-fit", type=int, nargs=2, metavar=("MANY", "FEW"),
        help="fit so many components by truncated EM and so few by dense EM, to patches of 8 × 8 "
        "in 10 iterations: 10000 1000, with --rows 1000000 --side 8 --iterations 10",
    )  # fmt: skip
    parser.add_argument("--growth", type=int, metavar="ROWS", help="from so many rows on: 2000")
    parser.add_argument("--plot", help="file for a figure of the growth")
    options = parser.parse_args(arguments)
    if options.growth is not None:
        return report_targets(growth(options.growth, options.plot))
    n_rows, n_iter = options.rows, options.iterations
    if options.default_fit is not None:
        return report_targets(fit_by_default(n_rows, options.side, options.default_fit, n_iter))
    dense = n_iter if options.dense is None else options.dense
    return report_targets(compare(n_rows, options.side, options.components, n_iter, dense))


if __name__ == "__main__":
    sys.exit(main())
