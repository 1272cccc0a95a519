"""Variational Bayes against scikit-learn's.

Both resume from one posterior, in turns, for the same number of iterations: the time of one is the
difference between fits of more and of fewer, which leaves out whatever a fit does but once. What
they arrive at is compared.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.estimators.bayesian_mixture import BayesianGaussianMixture
from harness.measurement import PAUSE, TOLERANCES
from harness.targets import Target, report_targets

CASES = (Case("fit", "full", 1_000_000, 8, 16),)
LEAST_RATIO = 50.0

_START_ROWS = 20_000
_START_ITERATIONS = 5
_FEW = 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one case came to.

    Attributes
    ----------
    own_seconds, peer_seconds : float
        Time of an iteration, of fastgmm and of scikit-learn.
    difference : float
        Difference of the last lower bound from scikit-learn's, as a share of its size.
    """

    own_seconds: float
    peer_seconds: float
    difference: float

    @property
    def ratio(self) -> float:
        """How many times as long scikit-learn's iteration takes."""
        return self.peer_seconds / self.own_seconds


def compare(case: Case, *, rounds: int = 3, own_iterations: int = 10) -> Comparison:
    """Time iterations of both on one case.

    Parameters
    ----------
    case : Case
        Size and structure.
    rounds : int
        How often each has its turn.
    own_iterations : int
        Iterations of fastgmm that are timed in a turn; scikit-learn's is one.

    Returns
    -------
    Comparison
        The figures.
    """
    X = make_problem(case).X
    peer = _start(case, X)
    own = BayesianGaussianMixture.from_sklearn(peer)
    own_times, peer_times = [], []
    for _ in range(rounds):
        own_times.append(_seconds_of_fits(own, X, own_iterations))
        peer_times.append(_seconds_of_fits(peer, X, 1))
    fits = [_fit(each, X, _FEW + 1) for each in (own, peer)]
    bound, expected = (float(each.lower_bound_) for each in fits)
    difference = abs(bound - expected) / abs(expected)
    return Comparison(
        _seconds_of_one(own_times, own_iterations), _seconds_of_one(peer_times, 1), difference
    )


def _start(case: Case, X: np.ndarray[Any, Any]) -> sklearn.mixture.BayesianGaussianMixture:
    """Return scikit-learn's fit of some of the rows, to start from."""
    mixture = sklearn.mixture.BayesianGaussianMixture(
        n_components=case.n_components,
        covariance_type=case.structure,
        max_iter=_START_ITERATIONS,
        tol=0.0,
        init_params="k-means++",
        random_state=0,
        warm_start=True,
    )
    return _quietly(lambda: mixture.fit(X[:_START_ROWS]))


def _fit(start: Any, X: np.ndarray[Any, Any], n_iter: int) -> Any:
    """Return a fit of so many iterations more."""
    mixture = copy.deepcopy(start).set_params(max_iter=n_iter)
    return _quietly(lambda: mixture.fit(X))


def _seconds_of_fits(start: Any, X: np.ndarray[Any, Any], n_iter: int) -> tuple[float, float]:
    """Return the times of a fit of few iterations, and of one of so many more."""
    seconds: list[float] = []
    for number in (_FEW, _FEW + n_iter):
        time.sleep(PAUSE)
        began = time.perf_counter()
        _fit(start, X, number)
        seconds.append(time.perf_counter() - began)
    return seconds[0], seconds[1]


def _seconds_of_one(times: list[tuple[float, float]], n_iter: int) -> float:
    """Return the time of an iteration: the shortest fits of both kinds are compared.

    The shortest difference of two fits would be of those that the machine disturbed.
    """
    few, more = (min(each) for each in zip(*times, strict=True))
    return float(more - few) / n_iter


def _quietly(fit: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        # The fits are ended before they converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit()


def main(arguments: list[str] | None = None) -> int:
    """Compare and print.

    Parameters
    ----------
    arguments : list of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0; 1 if the target was missed or the results differ.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="timings (default: %(default)s)")
    options = parser.parse_args(arguments)
    targets: list[Target] = []
    agreed = True
    for size in CASES:
        case = Case("fit", size.structure, options.rows, size.n_features, size.n_components)
        found = compare(case, rounds=options.rounds)
        label = f"{case.n_samples:,}×{case.n_features}, K={case.n_components}"
        print(
            f"BayesianGaussianMixture, {label}, one iteration: fastgmm {found.own_seconds:.4f} s, "
            f"scikit-learn {found.peer_seconds:.2f} s, {found.ratio:.0f}x; lower bounds differ by "
            f"{found.difference:.1e} of their size",
            flush=True,
        )
        agreed &= found.difference <= TOLERANCES["float64"]
        targets.append(Target(f"variational Bayes, {label}", LEAST_RATIO, "x", True, found.ratio))
    status = report_targets(targets)
    if not agreed:
        print("error: the lower bounds differ", file=sys.stderr)
    return int(status or not agreed)


if __name__ == "__main__":
    sys.exit(main())
