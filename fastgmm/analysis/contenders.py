"""The mixtures of a search that may have the best criterion in the end: fitted on, and afresh.

EM that begins from a poor partition can stay at a saddle point, or at a maximum below that of a
smaller mixture. Where the likelihoods of the best mixture so far and its neighbors suggest that,
some begin afresh: from the best with two components as one, where the last component gained far
more than the one before; and from it with a component cut in two, where one more gained nothing.
The best itself begins afresh from the mixture of one component more (after Ueda, Nakano, Ghahramani
and Hinton, 2000, "SMEM algorithm for mixture models", Neural Computation 12).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations

import numpy as np

from fastgmm.analysis.likelihood_ratio import split_starts
from fastgmm.analysis.search import Candidate, SearchPlan, fit_from_mixtures
from fastgmm.data.source import Source
from fastgmm.em.e_step.batched import components_of, solve_stack
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, structure

_MARGIN = 2.0
"""What may have the lowest criterion in the end is above it by no more than this."""

_FINER = 0.1
"""The tolerance of fits that decide, as a share of that of the search."""

_SUSPICIOUS = 3.0
"""A fit is poor if the next component gains so many times what its own last one did."""

_ROUGH_ITERATIONS = 8
"""Iterations after which the best of several starts is chosen."""

_MOST_STARTS = 4
"""How many starts of a mixture are tried."""


def settle_contenders(
    source: Source,
    preview: Source | None,
    candidates: Sequence[Candidate],
    value: Callable[[Candidate], float],
    plan: SearchPlan,
    *,
    n_jobs: int | None = None,
) -> list[Candidate]:
    """Fit the mixtures that may have the lowest criterion further, and from their neighbors."""
    found = list(candidates)
    place = {(each.structure.name, each.n_components): i for i, each in enumerate(found)}
    finer = replace(plan, tol=_FINER * plan.tol)
    rough = replace(plan, max_iter=_ROUGH_ITERATIONS)
    settled: set[int] = set()
    compared: set[int] = set()
    while True:
        values = np.array([value(each) for each in found])
        if np.isnan(values).all():
            return found
        best = int(np.nanargmin(values))
        numbers = [int(i) for i in np.flatnonzero(values <= values[best] + _MARGIN)]
        numbers = [i for i in numbers if i not in settled and i != best]
        settled.update(numbers)
        starts = [_mixture(found[i]) for i in numbers]
        if best not in compared:
            compared.add(best)
            rows = source if preview is None else preview
            for i, start, reached in _best_restarts(rows, found, place, best, rough, n_jobs):
                if preview is not None:
                    # All rows are read for what may win by as much as it gains on the sample.
                    own = log_likelihood(preview, _mixture(found[i]), n_jobs=n_jobs)
                    gain = (reached - own) * source.total_weight / preview.total_weight
                    if gain <= 0.0 or values[i] - 2.0 * gain > values[best] + _MARGIN:
                        continue
                numbers.append(i)
                starts.append(start)
        if not numbers:
            return found
        fits = fit_from_mixtures(source, [found[i] for i in numbers], starts, finer, n_jobs=n_jobs)
        for i, fit in zip(numbers, fits, strict=True):
            found[i] = _better(found[i], fit)


def _better(old: Candidate, new: Candidate) -> Candidate:
    """Return the fit with the higher likelihood; of the same, the one that was continued."""
    if new.mixture is None:
        return old
    if old.mixture is not None and new.log_likelihood < old.log_likelihood:
        return old
    return replace(new, n_iter=old.n_iter + new.n_iter)


def _best_restarts(
    source: Source,
    found: Sequence[Candidate],
    place: dict[tuple[str, int], int],
    best: int,
    rough: SearchPlan,
    n_jobs: int | None,
) -> list[tuple[int, MixtureParameters, float]]:
    """Return the best starts for the best mixture and its neighbors, and their log-likelihoods."""
    kind, K = found[best].structure, found[best].n_components
    free = structure("VVI" if kind.is_diagonal else "VVV")  # the first M-step is that of the kind
    numbers: list[int] = []
    starts: list[MixtureParameters] = []
    for size, origin in ((K - 1, K), (K, K + 1), (K + 1, K)):
        target, other = place.get((kind.name, size)), place.get((kind.name, origin))
        if target is None or other is None:
            continue
        if found[target].mixture is None or found[other].mixture is None:
            continue
        if size > K and found[target].log_likelihood > found[best].log_likelihood:
            continue  # a larger mixture that is the more likely, as it should be
        before = place.get((kind.name, K - 2))
        if size < K and before is not None:
            gained = found[target].log_likelihood - found[before].log_likelihood
            missing = found[best].log_likelihood - found[target].log_likelihood
            if missing < _SUSPICIOUS * gained:
                continue  # components that are added gain ever less, or nearly so
        statistics = _statistics(_mixture(found[other]), source.total_weight)
        # Without regularization, a start may have a component that is singular.
        with suppress(IllDefinedCovarianceError):
            made = (
                split_starts(statistics, free, rough.regularization)
                if size > origin
                else merge_starts(statistics, free, rough.regularization)
            )
            starts += made[:_MOST_STARTS]
            numbers += [target] * len(made[:_MOST_STARTS])
    fits = fit_from_mixtures(source, [found[i] for i in numbers], starts, rough, n_jobs=n_jobs)
    highest: dict[int, Candidate] = {}
    for i, fit in zip(numbers, fits, strict=True):
        if fit.mixture is not None and (
            i not in highest or fit.log_likelihood > highest[i].log_likelihood
        ):
            highest[i] = fit
    return [(i, _mixture(fit), fit.log_likelihood) for i, fit in highest.items()]


def merge_starts(
    statistics: SufficientStatistics,
    kind: CovarianceStructure,
    regularization: Regularization,
) -> list[MixtureParameters]:
    """Return mixtures of one component less, each with another two components as one."""
    counts, means = statistics.counts, statistics.means()
    second = statistics.covariances() * _column(counts, statistics.covariances().ndim)
    K = len(counts)
    pairs = sorted(combinations(range(K), 2), key=lambda pair: _distance(statistics, *pair))
    every_count, every_mean, every_second = [], [], []
    for i, j in pairs[:_MOST_STARTS]:
        others = [k for k in range(K) if k not in (i, j)]
        count = counts[i] + counts[j]
        apart = means[i] - means[j]
        outer = apart * apart if second.ndim == 2 else np.outer(apart, apart)
        every_count.append(np.append(counts[others], count))
        mean = (counts[i] * means[i] + counts[j] * means[j]) / count
        every_mean.append(np.concatenate([means[others], [mean]]))
        joined = second[i] + second[j] + counts[i] * counts[j] / count * outer
        every_second.append(np.concatenate([second[others], [joined]]))
    if not pairs:
        return []
    reference = np.concatenate(every_mean)
    solved = solve_stack(
        kind,
        replace(
            statistics,
            counts=np.concatenate(every_count),
            reference=reference,
            first=np.zeros_like(reference),
            second=np.concatenate(every_second),
        ),
        K - 1,
        regularization,
    )
    return [solved.of(components_of(np.array([i]), K - 1)) for i in range(len(every_count))]


def _distance(statistics: SufficientStatistics, i: int, j: int) -> float:
    """Return the squared distance of two means, in the standard deviations of their features."""
    variances = statistics.variances()
    pooled = variances[i] + variances[j]
    apart = statistics.means()[i] - statistics.means()[j]
    return float((apart**2 / np.where(pooled > 0.0, pooled, 1.0)).sum())


def _statistics(parameters: MixtureParameters, weight: float) -> SufficientStatistics:
    """Return statistics of rows that are spread as a mixture has them."""
    return SufficientStatistics.from_covariances(
        weight * parameters.weights, parameters.means, parameters.covariances()
    )


def _column(values: np.ndarray, ndim: int) -> np.ndarray:
    """Return numbers as factors of the first axis of an array of so many axes."""
    return values.reshape(-1, *(1,) * (ndim - 1))


def _mixture(candidate: Candidate) -> MixtureParameters:
    """Return the mixture of a candidate that has one."""
    assert candidate.mixture is not None
    return candidate.mixture()
