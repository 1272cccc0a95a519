"""One mixture for each group of rows: `fit_groups` beside a loop over scikit-learn's mixtures.

Groups of 200 rows with three features, drawn from three components each, are fitted with the same
numbers of components and tolerance, by a single call and by one fit after the other. The loop has
one thread, with which it is quicker on data this small. It is timed on some of the groups, and its
time for all follows in proportion. The mean log-likelihood of the same groups says whether both
fits are as good.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from fastgmm.estimators.group_mixtures import fit_groups
from harness.lines import print_line
from harness.targets import Target, report_targets

N_COMPONENTS, N_ROWS, N_FEATURES = 3, 200, 3
TARGET = 100.0


class Figures(NamedTuple):
    """What fits of all groups came to."""

    seconds: float  # for all groups
    log_likelihood: float  # mean of the rows of the groups that the loop fitted, in nats


def drawn_groups(n_groups: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return the rows of each group, shape (n_groups, N_ROWS, N_FEATURES)."""
    rng = np.random.default_rng(seed)
    centers = 4.0 * rng.normal(size=(n_groups, N_COMPONENTS, N_FEATURES))
    labels = rng.integers(0, N_COMPONENTS, size=(n_groups, N_ROWS, 1))
    noise = rng.normal(size=(n_groups, N_ROWS, N_FEATURES))
    return np.take_along_axis(centers, labels, axis=1) + noise


def together(rows: npt.NDArray[np.float64], n_judged: int) -> Figures:
    """Fit all groups by one call, the quickest of three."""
    X = rows.reshape(-1, N_FEATURES)
    groups = np.repeat(np.arange(len(rows)), N_ROWS)
    fit_groups(X[: 2 * N_ROWS], groups[: 2 * N_ROWS], N_COMPONENTS)  # which compiles
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        found = fit_groups(X, groups, N_COMPONENTS, random_state=0)
        seconds.append(time.perf_counter() - begun)
    mean = found.log_likelihoods[:n_judged].sum() / (n_judged * N_ROWS)
    return Figures(min(seconds), float(mean))


def one_by_one(rows: npt.NDArray[np.float64], n_timed: int) -> Figures:
    """Fit some of the groups in a loop, and return the time that all would take."""
    with threadpool_limits(1):
        GaussianMixture(N_COMPONENTS, random_state=0).fit(rows[0])
        begun = time.perf_counter()
        fits = [GaussianMixture(N_COMPONENTS, random_state=0).fit(each) for each in rows[:n_timed]]
        seconds = (time.perf_counter() - begun) * len(rows) / n_timed
    scores = [mixture.score(each) for mixture, each in zip(fits, rows, strict=False)]
    return Figures(seconds, float(np.mean(scores)))


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=10_000, help="number of groups")
    parser.add_argument("--timed", type=int, default=200, help="groups of scikit-learn's loop")
    options = parser.parse_args(arguments)
    rows = drawn_groups(options.groups)
    n_timed = min(options.timed, options.groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own, theirs = together(rows, n_timed), one_by_one(rows, n_timed)
    print_line(f"{options.groups} groups", "seconds", "log-likelihood")
    print_line("fastgmm", f"{own.seconds:.2f}", f"{own.log_likelihood:.4f}")
    print_line("scikit-learn's loop", f"{theirs.seconds:.1f}", f"{theirs.log_likelihood:.4f}")
    print(f"The loop was timed on {n_timed} groups, and its time for all is in proportion.")
    ratio = theirs.seconds / own.seconds
    target = Target("time of scikit-learn's loop over fit_groups", TARGET, "x", True, ratio)
    return report_targets([target])


if __name__ == "__main__":
    sys.exit(main())
