"""Passes over mixtures of factor analyzers: seconds grow with features times factors.

A pass with full covariances, which takes N K D² operations, stands beside those of up to 512
features, and must find the same log-likelihood to 1e-10 of its size.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters, whiteners_from_factors
from harness.lines import print_line
from harness.targets import Target, report_targets

N_COMPONENTS, N_VALUES = 8, 8_000_000
FEATURES, FACTORS = (64, 128, 256, 512, 1024, 2048), (4, 8, 16)
MOST_WITH_MATRICES = 512
AGREEMENT = 1e-10

MOST_GROWTH = 2.0
"""How much more than in proportion seconds a row may grow; with D², it would be 32 times."""


def problem(n_features: int, n_factors: int) -> tuple[ArraySource, MixtureParameters]:
    """Return rows drawn from a mixture, and the mixture."""
    rng = np.random.default_rng(0)
    shape = (N_COMPONENTS, n_features)
    loadings = rng.normal(size=(*shape, n_factors)) / np.sqrt(n_factors)
    means, noise = rng.normal(size=shape), rng.uniform(0.5, 1.5, size=shape)
    chosen = rng.integers(N_COMPONENTS, size=N_VALUES // n_features)
    rows = means[chosen] + np.sqrt(noise[chosen]) * rng.normal(size=(len(chosen), n_features))
    factors = rng.normal(size=(len(chosen), n_factors))
    for k in range(N_COMPONENTS):
        rows[chosen == k] += factors[chosen == k] @ loadings[k].T
    weights = np.full(N_COMPONENTS, 1.0 / N_COMPONENTS)
    whiteners = whiteners_from_factors(noise, loadings)
    return ArraySource(rows), MixtureParameters.from_whiteners(weights, means, whiteners)


def seconds(
    source: ArraySource, mixture: MixtureParameters, rounds: int, n_jobs: int | None
) -> tuple[float, float]:
    """Return the least seconds of a pass, after one that is not counted, and what it found."""
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        found = mixture_statistics(source, mixture, n_jobs=n_jobs)
        times.append(time.perf_counter() - began)
    return min(times[1:]), found.log_likelihood


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return 0, or 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timings (default: %(default)s)")
    parser.add_argument("--n-jobs", type=int, default=None, help="threads (default: all)")
    options = parser.parse_args(arguments)
    print_line("  a row, µs", *(f"{q} factors" for q in FACTORS), "full")
    per_row: dict[tuple[int, int], float] = {}
    targets = []
    for n_features in FEATURES:
        cells = []
        for n_factors in FACTORS:
            source, mixture = problem(n_features, n_factors)
            taken, found = seconds(source, mixture, options.rounds, options.n_jobs)
            per_row[n_features, n_factors] = taken / source.n_samples
            cells.append(f"{per_row[n_features, n_factors] * 1e6:.2f}")
        full = "–"
        if n_features <= MOST_WITH_MATRICES:
            dense = mixture.with_matrices()
            taken, expected = seconds(source, dense, 1, options.n_jobs)
            full = f"{taken / source.n_samples * 1e6:.2f}"
            error = abs(found / expected - 1.0) / AGREEMENT
            subject = f"difference from full over {AGREEMENT}, D={n_features}"
            targets.append(Target(subject, 1.0, "", False, error))
        print_line(f"  {n_features} features", *cells, full)
    few, many = FEATURES[0], FEATURES[-1]
    for q in FACTORS:
        growth = per_row[many, q] / per_row[few, q] * few / many
        subject = f"growth with features over theirs, {q} factors"
        targets.append(Target(subject, MOST_GROWTH, "x", False, growth))
    for d in FEATURES:
        growth = per_row[d, FACTORS[-1]] / per_row[d, FACTORS[0]] * FACTORS[0] / FACTORS[-1]
        subject = f"growth with factors over theirs, {d} features"
        targets.append(Target(subject, MOST_GROWTH, "x", False, growth))
    return report_targets(targets)


if __name__ == "__main__":
    sys.exit(main())
