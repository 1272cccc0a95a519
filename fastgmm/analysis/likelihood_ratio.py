"""The bootstrap likelihood-ratio test for the number of components.

Twice the logarithm of the likelihood ratio between K and K + 1 components has no chi-squared
distribution, because the parameters of the one component too many are not defined under the
hypothesis. Its distribution is found by drawing rows from the mixture of K components fitted to the
data and fitting both to them (McLachlan, 1987, "On bootstrapping the likelihood ratio test
statistic for the number of components in a normal mixture", Applied Statistics 36).

For that the ratio must be found in the same way for the data and for what is drawn: the mixture of
K + 1 components is the best of those that EM finds from random starts, and from the mixture of K
with each of its components cut in two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.batched_fits import (
    MOST_ROWS_TOGETHER,
    EMSettings,
    fit_each,
    fits_at_once,
)
from fastgmm.analysis.bootstrap import batches, drawn_rows
from fastgmm.analysis.small_fits import EMFit
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.initialization.data_scan import scan_data
from fastgmm.em.initialization.methods import InitMethod, InitSettings, initialize
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

_ROUGH = 1000.0
"""How much larger the tolerance is where EM from each start ends; that from the best continues."""

_HALF_OFFSET = math.sqrt(2.0 / math.pi)
"""Mean of each half of a standard normal distribution, cut at 0."""


@dataclass(frozen=True, slots=True)
class StartSettings:
    """Where EM begins, beside from mixtures with one component cut in two."""

    method: InitMethod  # how starts are found
    number: int  # number of them
    seed: int  # seed of them


def best_fit(
    source: Source, n_components: int, settings: EMSettings, starts: StartSettings
) -> EMFit:
    """Return the best of the mixtures that EM finds from random starts."""
    drawn = list(_random_starts(source, 0, n_components, settings, starts))
    return _best([(source, drawn)], settings)[0]


def best_larger_fits(
    sources: Sequence[Source],
    nulls: Sequence[MixtureParameters],
    settings: EMSettings,
    starts: StartSettings,
    first: int = 0,
) -> list[EMFit]:
    """Return the best mixtures of one more component than before that EM finds."""
    begun = []
    for number, (source, null) in enumerate(zip(sources, nulls, strict=True), start=first):
        statistics = mixture_statistics(source, null, n_jobs=settings.n_jobs)
        found: list[MixtureParameters] = []
        # Without regularization, a start may have a component that is singular.
        with suppress(IllDefinedCovarianceError):
            found += split_starts(statistics, settings.structure, settings.regularization)
        with suppress(IllDefinedCovarianceError):
            found += _random_starts(source, number, null.n_components + 1, settings, starts)
        if not found:
            found = [_doubled(null)]  # which fails as the mixture did that it is made of
        begun.append((source, found))
    return _best(begun, settings)


def ratio_distribution(
    null: MixtureParameters,
    n_samples: int,
    dtype: np.dtype[np.floating],
    n_resamples: int,
    settings: EMSettings,
    starts: StartSettings,
) -> FloatArray:
    """Return the likelihood ratios that rows drawn from a mixture have."""
    K = null.n_components
    at_once = fits_at_once(n_samples, null.n_features, (K + 1) * (K + starts.number))
    ratios = []
    for numbers in batches(np.arange(n_resamples), at_once):
        sources = [drawn_rows(null, n_samples, dtype, starts.seed, int(n)) for n in numbers]
        nulls = fit_each([(source, null) for source in sources], settings)
        begun = [fit.parameters() for fit in nulls]
        larger = best_larger_fits(sources, begun, settings, starts, int(numbers[0]))
        ratios += [log_likelihood_ratio(*fits) for fits in zip(nulls, larger, strict=True)]
    return np.array(ratios)


def log_likelihood_ratio(null: EMFit, larger: EMFit) -> float:
    """Return twice the log-likelihood ratio between two fits; nan if one failed."""
    if null.failure is not None or larger.failure is not None:
        return math.nan
    return 2.0 * max(larger.log_likelihood - null.log_likelihood, 0.0)


def split_starts(
    statistics: SufficientStatistics,
    structure: CovarianceStructure,
    regularization: Regularization,
    parts_of: npt.NDArray[np.int64] | None = None,
) -> list[MixtureParameters]:
    """Return mixtures of one more component, each with another component cut in two.

    It is cut at its mean, across the direction in which its points are spread widest if features
    are measured in their standard deviations. The halves have the means and the variance of those
    of a normal distribution.
    """
    counts, means = statistics.counts, statistics.means()
    covariances = statistics.covariances()
    K, D = means.shape
    shares = statistics.weights()
    variances = covariances if statistics.is_diagonal else np.einsum("kii->ki", covariances)
    middle = shares @ means
    scales = np.sqrt(shares @ (variances + (means - middle) ** 2))
    scales[scales == 0.0] = 1.0
    if statistics.is_diagonal:
        widest = (variances / scales**2).argmax(axis=1)
        directions = np.sqrt(variances) * (np.arange(D) == widest[:, None])
        outer = directions**2
    else:
        eigenvalues, vectors = np.linalg.eigh(covariances / np.outer(scales, scales))
        lengths = np.sqrt(np.maximum(eigenvalues[:, -1:], 0.0))
        directions = vectors[:, :, -1] * lengths * scales
        outer = directions[:, :, None] * directions[:, None, :]
    split = np.flatnonzero(~statistics.empty()) if parts_of is None else parts_of
    parts = []
    for k in split:
        halves = np.array([0.5, 0.5]) * counts[k]
        spread = covariances[k] - _HALF_OFFSET**2 * outer[k]
        offset = _HALF_OFFSET * directions[k]
        others = np.arange(K) != k
        parts.append(
            (
                np.concatenate([counts[others], halves]),
                np.concatenate([means[others], [means[k] - offset, means[k] + offset]]),
                np.concatenate([covariances[others], [spread, spread]]),
            )
        )
    return _solved(parts, structure, regularization)


def merge_starts(
    statistics: SufficientStatistics,
    structure: CovarianceStructure,
    regularization: Regularization,
    n_most: int,
) -> list[MixtureParameters]:
    """Return mixtures of one component less, each with two of the nearest components as one."""
    counts, means, covariances = statistics.counts, statistics.means(), statistics.covariances()
    first, second = np.triu_indices(len(counts), 1)
    variances = statistics.variances()[first] + statistics.variances()[second]
    apart = means[first] - means[second]
    distances = (apart**2 / np.where(variances > 0.0, variances, 1.0)).sum(axis=1)
    parts = []
    for nearest in distances.argsort(kind="stable")[:n_most]:
        i, j = first[nearest], second[nearest]
        others = np.delete(np.arange(len(counts)), [i, j])
        count = counts[i] + counts[j]
        shares = counts[[i, j]] / count
        offset = means[i] - means[j]
        outer = offset * offset if covariances.ndim == 2 else np.outer(offset, offset)
        spread = np.tensordot(shares, covariances[[i, j]], 1) + shares.prod() * outer
        parts.append(
            (
                np.append(counts[others], count),
                np.concatenate([means[others], [shares @ means[[i, j]]]]),
                np.concatenate([covariances[others], [spread]]),
            )
        )
    return _solved(parts, structure, regularization)


def _solved(
    parts: Sequence[tuple[FloatArray, FloatArray, FloatArray]],
    structure: CovarianceStructure,
    regularization: Regularization,
) -> list[MixtureParameters]:
    """Return the mixtures of rows of these numbers, means and covariances of the components."""
    return [
        structure.solve(SufficientStatistics.from_covariances(*each), regularization)
        for each in parts
    ]


def _random_starts(
    source: Source,
    number: int,
    n_components: int,
    settings: EMSettings,
    starts: StartSettings,
) -> Iterator[MixtureParameters]:
    """Yield the random starts of the set of rows of a number."""
    random = np.random.RandomState(np.random.MT19937([starts.seed, number, n_components]))
    rows = source
    if not (isinstance(source, ArraySource) and source.n_samples <= MOST_ROWS_TOGETHER):
        seed = int(random.randint(np.iinfo(np.int32).max))
        scanned = scan_data(source, n_components, 0.0, "auto", seed=seed, n_jobs=settings.n_jobs)
        rows = scanned.sample
    for _ in range(starts.number):
        yield initialize(
            EMProblem(rows, settings.structure, settings.regularization),
            rows,
            n_components,
            InitSettings(random, starts.method, n_jobs=settings.n_jobs),
        )[0]


def _doubled(parameters: MixtureParameters) -> MixtureParameters:
    """Return the same mixture with its first component in two equal parts."""
    places = np.append(np.arange(parameters.n_components), 0)
    doubled = parameters.of(places)
    log_weights = doubled.log_weights.copy()
    log_weights[[0, -1]] -= math.log(2.0)
    return replace(doubled, log_weights=log_weights)


def _best(
    begun: Sequence[tuple[Source, Sequence[MixtureParameters]]], settings: EMSettings
) -> list[EMFit]:
    """Go a little way from each start, and to the end from the best for each set of rows."""
    rough = iter(
        fit_each(
            [(source, start) for source, starts in begun for start in starts],
            replace(settings, tol=_ROUGH * settings.tol),
        )
    )
    best = [
        max(islice(rough, len(starts)), key=lambda fit: fit.log_likelihood) for _, starts in begun
    ]
    fine = fit_each(
        [(source, fit.parameters()) for (source, _), fit in zip(begun, best, strict=True)], settings
    )
    return [fit if start.failure is None else start for start, fit in zip(best, fine, strict=True)]
