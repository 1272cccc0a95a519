"""A pass over rows that are measured with errors: parameters in, statistics of true values out.

Errors that all rows have are part of the covariances: the pass is that over other rows, and what
it finds is carried over to the true values at the end. Errors of each row take a pass of their own.
Formulas are in `kernels.passes.error_pass`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.measured import MeasuredRows
from fastgmm.data.sources.rechunking import recut
from fastgmm.em.e_step.accumulator import PassSums, RunningPass
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.passes.error_pass import COVARIANCES, ErrorPassParameters
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters, invert_triangles
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics

_CHUNK_BYTES = 2**24
"""Bytes of a chunk of rows, and of what is found for them, in double precision."""


def measured_statistics(
    source: MeasuredRows, parameters: MixtureParameters, *, known: Any, n_jobs: int | None
) -> SufficientStatistics:
    """Return the expected statistics of the true values of rows with errors of their own."""
    p = _error_pass(parameters, source.form)
    work = partial(_run, parameters=p, mode=mixture_pass.MOMENTS)
    by_row = {} if known is None else {"labels": known}
    sums = source.fold(work, PassSums.plus)(n_jobs=n_jobs, **by_row)
    K, D = parameters.means.shape
    first, second = sums.first.reshape(K, D), sums.second
    if p.diagonal:
        second = second.reshape(K, D)
    else:
        i, j = np.tril_indices(D)
        second = np.empty((K, D, D))
        second[:, i, j] = second[:, j, i] = sums.second.reshape(K, -1)
    found = _true_statistics(parameters, sums.counts, first, second, p.triangles)
    return replace(found, log_likelihood=sums.log_likelihood, weight=source.total_weight)


def measured_log_likelihood(
    source: MeasuredRows,
    parameters: MixtureParameters,
    mode: int,
    *,
    n_jobs: int | None,
    **by_row: Any,
) -> float:
    """Return the log-likelihood of rows with errors of their own, from a pass of some mode."""
    work = partial(_run, parameters=_error_pass(parameters, source.form), mode=mode)
    return source.fold(work, PassSums.plus)(n_jobs=n_jobs, **by_row).log_likelihood


def with_common_errors(parameters: MixtureParameters, covariance: FloatArray) -> MixtureParameters:
    """Return the mixture of rows whose errors have one covariance, or variances."""
    own = parameters.covariances()
    if parameters.is_diagonal and covariance.ndim == 2:
        own = own[:, :, None] * np.eye(parameters.n_features)
    elif not parameters.is_diagonal and covariance.ndim == 1:
        covariance = np.diag(covariance)
    weights = np.ones(parameters.n_components)
    found = MixtureParameters.from_covariances(weights, parameters.means, own + covariance)
    return replace(found, log_weights=parameters.log_weights)


def without_common_errors(
    statistics: SufficientStatistics, parameters: MixtureParameters, measured: MixtureParameters
) -> SufficientStatistics:
    """Return the expected statistics of true values from those of rows.

    Parameters
    ----------
    statistics : SufficientStatistics
        What a pass over the rows found.
    parameters, measured : MixtureParameters
        The mixtures of the true values, and of the rows.
    """
    found = statistics.about(parameters.means)
    counts, first, second = found.counts, found.first, found.second
    triangles = _triangles(parameters, diagonal=measured.is_diagonal)
    if measured.is_diagonal:
        gains = triangles * measured.whiteners
        scales = gains * measured.whiteners
        first, second = scales * first, scales**2 * second - counts[:, None] * gains**2
    else:
        gains = measured.whiteners @ triangles
        scales = gains.swapaxes(1, 2) @ measured.whiteners
        first = (scales @ first[:, :, None])[:, :, 0]
        second = scales @ second @ scales.swapaxes(1, 2)
        second -= counts[:, None, None] * (gains.swapaxes(1, 2) @ gains)
    found = _true_statistics(parameters, counts, first, second, triangles)
    return replace(found, log_likelihood=statistics.log_likelihood, weight=statistics.weight)


def _true_statistics(
    parameters: MixtureParameters,
    counts: FloatArray,
    first: FloatArray,
    second: FloatArray,
    triangles: FloatArray,
) -> SufficientStatistics:
    """Return statistics from the sums that the kernel describes, those of units of L."""
    triangles = triangles.reshape(second.shape)
    if second.ndim == 2:
        first, second = triangles * first, triangles**2 * (counts[:, None] + second)
    else:
        first = (triangles @ first[:, :, None])[:, :, 0]
        second = second + counts[:, None, None] * np.eye(parameters.n_features)
        second = triangles @ second @ triangles.swapaxes(1, 2)
        second = 0.5 * (second + second.swapaxes(1, 2))
        if parameters.is_diagonal:
            second = np.einsum("kii->ki", second).copy()
    return SufficientStatistics(parameters.means, counts, first, second, float("nan"), 0.0)


def _triangles(parameters: MixtureParameters, *, diagonal: bool) -> FloatArray:
    """Return the lower Cholesky factors of the covariances, or standard deviations."""
    if not parameters.is_diagonal:
        return invert_triangles(parameters.whiteners)
    deviations = 1.0 / parameters.whiteners
    return deviations if diagonal else deviations[:, :, None] * np.eye(parameters.n_features)


def _error_pass(parameters: MixtureParameters, form: int | None) -> ErrorPassParameters:
    """Return a mixture as the kernel reads it, of rows whose errors are given in some form."""
    assert form is not None  # of errors that rows have of their own
    diagonal = parameters.is_diagonal and form != COVARIANCES
    covariances = parameters.covariances()
    if parameters.is_diagonal and not diagonal:
        covariances = covariances[:, :, None] * np.eye(parameters.n_features)
    return ErrorPassParameters(
        diagonal=diagonal,
        form=form,
        constants=parameters.log_weights,
        references=parameters.means.ravel(),
        covariances=covariances.ravel(),
        triangles=_triangles(parameters, diagonal=diagonal).ravel(),
    )


def _chunks(source: MeasuredRows, n_columns: int) -> Iterator[tuple[slice, Any, Any]]:
    """Yield which rows come next, these, and their weights."""
    n_rows = 0
    at_once = BLOCK_ROWS * max(1, _CHUNK_BYTES // (8 * n_columns * BLOCK_ROWS))
    with closing(source.annotated_blocks()) as blocks:  # type: ignore[type-var]
        for X, weights in recut(blocks, at_once):
            yield slice(n_rows, n_rows + len(X)), X.astype(np.float64, copy=False), weights
            n_rows += len(X)


def _run(
    source: MeasuredRows,
    *,
    parameters: ErrorPassParameters,
    mode: int,
    n_jobs: int | None,
    **by_row: npt.NDArray[Any],
) -> PassSums:
    """Run a pass over all rows; `by_row` are what it writes, or is given, for each of them."""
    running = RunningPass(
        parameters,
        mode,
        diagonal=parameters.diagonal,
        n_rows=source.n_samples,
        n_jobs=n_jobs,
        beside_readers=source.reads_ahead,
    )
    writes = mode not in (mixture_pass.MOMENTS, mixture_pass.LOG_LIKELIHOOD)
    for here, X, weights in _chunks(source, max(len(parameters.constants), 2 * source.n_features)):
        given = {name: each[here] for name, each in by_row.items()}
        # in double precision, for which the kernel is compiled
        kinds = {name: np.int64 if name == "labels" else np.float64 for name in given}
        room: dict[str, npt.NDArray[Any]] = {
            # what is written to may hold anything before
            name: np.empty(each.shape, kinds[name])
            if writes
            else np.ascontiguousarray(each, kinds[name])
            for name, each in given.items()
        }
        running.add(X, weights, **room)
        for name, each in given.items():
            if writes:
                each[...] = room[name]
    return running.sums()
