"""Passes over rows with errors of their own beside the same formulas elsewhere.

Rows are drawn from a mixture, each with independent errors whose variances are known. A pass, one
iteration of EM, is timed with fastgmm on all rows, and on some of them in NumPy, component by
component for all rows at once, and with pygmmis where it is installed (`pip install pygmmis`), in
as many processes as it takes; their times for all rows follow in proportion. The log-likelihoods
that fastgmm and NumPy find on the same rows must agree.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.measured import with_error_covariance
from fastgmm.em.e_step import passes
from fastgmm.mixture.parameters import MixtureParameters
from harness.lines import print_line
from harness.targets import Target, report_targets

FASTER, SAME = 50.0, 1e-8

FloatArray = npt.NDArray[np.float64]


class Problem(NamedTuple):
    """Rows with the variances of their errors, and a mixture."""

    X: FloatArray
    variances: FloatArray
    weights: FloatArray
    means: FloatArray
    covariances: FloatArray

    def first(self, n_samples: int) -> Problem:
        """Return the first rows."""
        return self._replace(X=self.X[:n_samples], variances=self.variances[:n_samples])


def drawn_problem(n_samples: int, n_features: int, n_components: int) -> Problem:
    """Draw rows from a mixture whose components overlap, and add errors."""
    rng = np.random.default_rng(0)
    means = 2.0 * rng.normal(size=(n_components, n_features))
    factors = 0.5 * rng.normal(size=(n_components, n_features, n_features))
    factors += 0.5 * np.eye(n_features)
    variances = rng.gamma(1.0, 0.5, size=(n_samples, n_features))
    labels = rng.integers(n_components, size=n_samples)
    noise = rng.normal(size=(2, n_samples, n_features))
    X = means[labels] + np.einsum("nij,nj->ni", factors[labels], noise[0])
    return Problem(
        X + np.sqrt(variances) * noise[1],
        variances,
        np.full(n_components, 1.0 / n_components),
        means,
        factors @ factors.transpose(0, 2, 1),
    )


def shortest(run: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Return the shortest time that something takes, in seconds, and what it returns."""
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds), found


def fastgmm_pass(problem: Problem, rounds: int) -> tuple[float, float]:
    """Return the seconds of a pass, and the log-likelihood in nats."""
    source = with_error_covariance(ArraySource(problem.X), problem.variances)
    parameters = MixtureParameters.from_covariances(
        problem.weights, problem.means, problem.covariances
    )
    passes.mixture_statistics(source, parameters)  # which compiles
    seconds, found = shortest(lambda: passes.mixture_statistics(source, parameters), rounds)
    return seconds, float(found.log_likelihood)


def numpy_iteration(problem: Problem) -> float:
    """Make an iteration of EM, and return the log-likelihood."""
    X, variances, weights, means, covariances = problem
    D = X.shape[1]
    joint, inverses, whitened = [], [], []
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        total = covariance + variances[:, :, None] * np.eye(D)
        inverse = np.linalg.inv(total)
        solved = np.einsum("nij,nj->ni", inverse, X - mean)
        log_determinant = np.linalg.slogdet(total)[1] + D * np.log(2.0 * np.pi)
        squares = np.einsum("ni,ni->n", X - mean, solved)
        joint.append(np.log(weight) - 0.5 * (log_determinant + squares))
        inverses.append(inverse)
        whitened.append(solved)
    log_density = np.logaddexp.reduce(joint, axis=0)
    for k, covariance in enumerate(covariances):
        shares = np.exp(joint[k] - log_density)
        offsets = whitened[k] @ covariance
        mean = shares @ offsets / shares.sum()
        spread = covariance - covariance @ np.tensordot(shares, inverses[k], 1) @ covariance / (
            shares.sum()
        )
        _ = spread + (shares[:, None] * offsets).T @ offsets / shares.sum() - np.outer(mean, mean)
    return float(log_density.sum())


def pygmmis_seconds(problem: Problem) -> float | None:
    """Return the seconds of an iteration of pygmmis; None if it is not installed."""
    if find_spec("pygmmis") is None:
        return None
    pygmmis: Any = import_module("pygmmis")

    def run(n_iterations: int) -> None:
        mixture = pygmmis.GMM(K=len(problem.weights), D=problem.X.shape[1])
        mixture.amp[:] = problem.weights
        mixture.mean[:] = problem.means
        mixture.covar[:] = problem.covariances
        errors = problem.variances[:, :, None] * np.eye(problem.X.shape[1])
        data = pygmmis.createShared(problem.X)
        errors = pygmmis.createShared(errors)
        pygmmis.fit(mixture, data, covar=errors, init_method="none", tol=0, maxiter=n_iterations)

    one, three = (shortest(partial(run, n), 1)[0] for n in (1, 3))
    return (three - one) / 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="number of rows")
    parser.add_argument("--peer-rows", type=int, default=50_000, help="rows of the others")
    parser.add_argument("--features", type=int, default=5, help="number of features")
    parser.add_argument("--components", type=int, default=16, help="number of components")
    parser.add_argument("--rounds", type=int, default=3, help="passes, of which the best counts")
    options = parser.parse_args(arguments)
    problem = drawn_problem(options.rows, options.features, options.components)
    some = problem.first(options.peer_rows)
    scale = len(problem.X) / len(some.X)
    seconds, _ = fastgmm_pass(problem, options.rounds)
    _, own = fastgmm_pass(some, 1)
    numpy_seconds, theirs = shortest(lambda: numpy_iteration(some), options.rounds)
    others = {"NumPy": numpy_seconds * scale}
    pygmmis = pygmmis_seconds(some)
    if pygmmis is not None:
        others["pygmmis"] = pygmmis * scale
    print_line(f"{len(problem.X):,} rows", "seconds a pass", "ratio")
    print_line("fastgmm", f"{seconds:.3f}", "1.0")
    for name, each in others.items():
        print_line(name, f"{each:.1f}", f"{each / seconds:.1f}")
    print(f"The others were timed on {len(some.X):,} rows; for all rows it is in proportion.")
    difference = abs(own / theirs - 1.0)
    return report_targets(
        [
            Target(
                "time of the fastest other over fastgmm",
                FASTER,
                "x",
                True,
                min(others.values()) / seconds,
            ),
            Target(
                "difference of log-likelihoods, relative to 1e-8",
                1.0,
                "x",
                False,
                difference / SAME,
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
