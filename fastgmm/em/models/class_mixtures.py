"""Classes with a mixture each: what a row and its class have in common, and what sets them apart.

With priors π_c and mixtures p(x | c), a row has the joint density π_c p(x | c) with each class c;
that, divided by the density of the row, is the class's posterior probability (Fraley and Raftery,
2002, "Model-based clustering, discriminant analysis, and density estimation", JASA 97, section 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import labeled_statistics, log_density, responsibilities
from fastgmm.em.missing.incomplete import pieces
from fastgmm.kernels.far_rows import LOWEST_DOUBLE, LOWEST_SINGLE
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics

Codes = npt.NDArray[np.int64]
"""Class of each row, counted from 0; −1 where it is not known."""

ROWS_AT_ONCE = 2**18
"""Rows whose densities under all classes are held at once."""


def class_log_densities(
    rows: ArraySource, mixtures: Sequence[MixtureParameters], *, n_jobs: int | None = None
) -> FloatArray:
    """Return the log-density of each row under the mixture of each class."""
    found = np.empty((rows.n_samples, len(mixtures)))
    for c, mixture in enumerate(mixtures):
        if np.isneginf(mixture.log_weights).all():
            found[:, c] = -np.inf
        else:
            found[:, c] = log_density(rows, mixture, n_jobs=n_jobs)
    return found


def labeled_pieces(source: Source, codes: Codes) -> Iterator[tuple[ArraySource, Codes]]:
    """Yield the rows of a source with their classes, some at a time."""
    first = 0
    for rows in pieces(source, ROWS_AT_ONCE):
        yield rows, codes[first : first + rows.n_samples]
        first += rows.n_samples


def log_joint_of_classes(
    rows: ArraySource,
    mixtures: Sequence[MixtureParameters],
    log_densities: FloatArray,
    log_priors: FloatArray,
    *,
    n_jobs: int | None = None,
) -> FloatArray:
    """Return the logarithm of prior times density of each class at each row."""
    joint: FloatArray = log_densities + log_priors
    lowest = LOWEST_SINGLE if rows.dtype.itemsize == 4 else LOWEST_DOUBLE
    far = ~(joint.max(axis=1) > lowest)
    if far.any():
        matrices = not all(each.is_diagonal for each in mixtures)
        whole = MixtureParameters.joined(
            [
                replace(
                    with_matrices(each) if matrices else each,
                    log_weights=each.log_weights + log_prior,
                )
                for each, log_prior in zip(mixtures, log_priors, strict=True)
            ]
        )
        X = rows.X[far].astype(np.float64, copy=False)
        some = ArraySource(X, incomplete=rows.incomplete)
        shares = responsibilities(some, whole, n_jobs=n_jobs)
        first = np.cumsum([0] + [each.n_components for each in mixtures[:-1]])
        with np.errstate(divide="ignore"):
            joint[far] = np.log(np.add.reduceat(shares, first, axis=1))
    return joint


def log_posteriors(log_joint: FloatArray) -> FloatArray:
    """Return the logarithms of the posterior probabilities of classes."""
    highest = log_joint.max(axis=1, keepdims=True)
    nowhere = np.isneginf(highest)
    shifted = np.where(nowhere, 0.0, log_joint - np.where(nowhere, 0.0, highest))
    posteriors: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return posteriors


def class_statistics(
    source: Source, codes: Codes, factors: FloatArray, *, diagonal: bool, n_jobs: int | None
) -> SufficientStatistics:
    """Return the statistics of the rows of each class, as those of one component each."""
    found = labeled_statistics(source, codes, len(factors), diagonal=diagonal, n_jobs=n_jobs)
    return weighted_classes(found, factors)


def weighted_classes(statistics: SufficientStatistics, factors: FloatArray) -> SufficientStatistics:
    """Return statistics with all of each component multiplied by a factor of its own."""
    axes = (slice(None),) + (None,) * (statistics.second.ndim - 1)
    counts = statistics.counts * factors
    return replace(
        statistics,
        counts=counts,
        first=statistics.first * factors[:, None],
        second=statistics.second * factors[axes],
        weight=float(counts.sum()),
    )


def single_components(parameters: MixtureParameters) -> list[MixtureParameters]:
    """Return each component as a mixture of its own: of weight 1, or 0 if it had that."""
    alone = replace(
        parameters, log_weights=np.where(np.isneginf(parameters.log_weights), -np.inf, 0.0)
    )
    return [alone.of(slice(k, k + 1)) for k in range(parameters.n_components)]


def expected_log_likelihood(
    statistics: SufficientStatistics, parameters: MixtureParameters
) -> float:
    """Return the log-density of rows of known component together with these.

    It follows from their statistics: ``sum_k n_k (log w_k + log|W_k| - D/2 log 2π - tr(W_k S_k
    W_k^T)/2)``, with S_k the moments about the mean of the parameters.
    """
    present = ~statistics.empty()
    second = statistics.about(parameters.means).second[present]
    whiteners = parameters.whiteners[present]
    counts = statistics.counts[present]
    if parameters.is_diagonal:
        if not statistics.is_diagonal:
            second = np.einsum("kii->ki", second)
        squares = (whiteners * second * whiteners).sum(axis=1)
    else:
        squares = ((whiteners @ second) * whiteners).sum(axis=(1, 2))
    logs = (parameters.log_weights + parameters.log_normalizers)[present]
    return float(counts @ logs - 0.5 * squares.sum())


def with_matrices(parameters: MixtureParameters) -> MixtureParameters:
    """Return a mixture in the form of those whose covariances are no diagonal ones."""
    if not parameters.is_diagonal:
        return parameters
    matrices = parameters.whiteners[:, :, None] * np.eye(parameters.n_features)
    return replace(parameters, whiteners=matrices)
