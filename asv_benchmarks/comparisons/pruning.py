"""A pass that leaves components out where they do not matter, compared with one that does not.

Rows are drawn from mixtures whose means lie so many standard deviations apart, on average. Both
passes take turns, and must find the same statistics to 1e-12 of the largest.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median
from unittest.mock import patch

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import accumulator
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import SufficientStatistics
from harness.lines import print_line
from harness.targets import Target, report_targets

LEAST_GAIN, LEAST_RATIO = 8.0, 0.97
AGREEMENT = 1e-12

OVERLAPPING, SEPARATED = 2.0, 40.0
"""Separated are the clusters of scikit-learn's make_blobs, at 32 features, for example."""

CASES = [
    (200_000, 8, 16),
    (100_000, 16, 32),
    (50_000, 32, 64),
    (50_000, 64, 32),
]


def drawn(
    n_samples: int, n_features: int, n_components: int, separation: float
) -> tuple[ArraySource, MixtureParameters]:
    """Return rows drawn from a mixture, and the mixture."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(n_components, n_features)) * separation / np.sqrt(2 * n_features)
    factors = np.tril(0.3 / np.sqrt(n_features) * rng.normal(size=(n_features, n_features)))
    factors = factors + np.eye(n_features)
    chosen = rng.integers(n_components, size=n_samples)
    rows = means[chosen] + rng.normal(size=(n_samples, n_features)) @ factors.T
    covariances = np.repeat((factors @ factors.T)[None], n_components, axis=0)
    weights = np.full(n_components, 1.0 / n_components)
    return ArraySource(rows), MixtureParameters.from_covariances(weights, means, covariances)


def difference(found: SufficientStatistics, expected: SufficientStatistics) -> float:
    """Return the largest difference of statistics, in units of the largest of their kind."""
    pairs = [
        (found.counts, expected.counts),
        (found.second, expected.second),
        (np.array(found.log_likelihood), np.array(expected.log_likelihood)),
    ]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def compare(case: tuple[int, int, int], separation: float, rounds: int) -> Target:
    """Time passes by turns, print the medians, and return the target."""
    source, mixture = drawn(*case, separation)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    found: dict[bool, SufficientStatistics] = {}
    for _ in range(rounds + 1):
        for prunes, times in seconds.items():
            with patch.object(accumulator, "_FEW_NEAR", accumulator._FEW_NEAR * prunes):
                began = time.perf_counter()
                found[prunes] = mixture_statistics(source, mixture)
                times.append(time.perf_counter() - began)
    dense, pruned = (median(times[1:]) for times in seconds.values())
    error = difference(found[True], found[False])
    sizes = "{:,} × {}, K={}".format(*case)
    print_line(
        f"  {sizes}", f"{separation:g}", f"{dense * 1e3:.1f} ms", f"{pruned * 1e3:.1f} ms",
        f"{dense / pruned:.2f}", f"{error:.0e}",
    )  # fmt: skip
    least = LEAST_GAIN if separation == SEPARATED and case[1:] == (32, 64) else LEAST_RATIO
    measured = dense / pruned if error <= AGREEMENT else 0.0
    return Target(f"{sizes}, {separation:g} apart", least, "x", True, measured)


def main(arguments: list[str] | None = None) -> int:
    """Compare and print; return 0, or 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="timings (default: %(default)s)")
    options = parser.parse_args(arguments)
    print_line("  rows", "apart", "all", "pruned", "ratio", "difference")
    targets = [
        compare(case, separation, options.rounds)
        for separation in (OVERLAPPING, 12.0, 20.0, SEPARATED)
        for case in CASES
    ]
    return report_targets(targets)


if __name__ == "__main__":
    sys.exit(main())
