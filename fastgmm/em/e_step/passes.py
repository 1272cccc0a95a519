"""One pass over a data source: parameters in, statistics or values of single rows out.

Of rows that lack values, what is missing is integrated out (`incomplete`), and so are the errors of
rows that are measured (`measurement_errors`); values beyond limits are, up to these (`limited`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.annotated import AnnotatedRows
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.limited import LimitedRows
from fastgmm.data.sources.measured import MeasuredRows
from fastgmm.em.e_step.accumulator import (
    FARTHEST_SHARED,
    MixturePass,
    PassSums,
    RunningPass,
    compute_type,
    gaussian_pass,
    pass_parameters,
    split_in_two,
    statistics_of,
)
from fastgmm.em.e_step.observed_moments import (
    flat_mixture,
    observed_moments,
    require_no_overflow,
)
from fastgmm.em.e_step.reservoir import Observer, Sample, Sampling, both_samples
from fastgmm.em.measurement_errors.error_pass import (
    measured_log_likelihood,
    measured_statistics,
    with_common_errors,
    without_common_errors,
)
from fastgmm.em.missing.incomplete import (
    IncompletePass,
    incomplete_log_likelihood,
    incomplete_statistics,
)
from fastgmm.em.missing.limited import LimitedPass
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.mixture_pass import PassParameters
from fastgmm.kernels.packing import packed_length
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters, factor_axes
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics

_SUMS_BYTES = 2**28
"""What the sums of mixtures that share a pass may take."""


def _given_parameters(
    source: Source, n_components: int, references: FloatArray, diagonal: bool, shared: bool
) -> PassParameters:
    """Return what the kernels read where responsibilities are given: references only."""
    n_features = source.n_features
    spread = np.abs(source.some_rows(BLOCK_ROWS) - references[0])
    dtype = compute_type(source.dtype, spread.max(axis=0))
    size = n_features if diagonal else packed_length(n_features)
    return PassParameters(
        np.zeros(n_components, dtype),
        0.0,
        np.zeros(n_components * size, dtype),
        np.zeros(n_components * n_features, dtype),
        *split_in_two(references[0] if shared else np.zeros(n_features), dtype),
        *split_in_two(references, dtype),
        shared,
        pooled=False,
        slopes=np.empty(0, dtype),
        intercepts=np.empty(0, dtype),
    )


def _sums(
    source: Source,
    *,
    parameters: MixturePass,
    mode: int,
    diagonal: bool,
    n_jobs: int | None,
    observe: Observer | None = None,
    **by_row: npt.NDArray[Any],
) -> PassSums:
    """Run a pass over all rows; `by_row` are what it writes, or is given, for each of them."""
    running = RunningPass(
        parameters,
        mode,
        diagonal=diagonal,
        n_rows=source.n_samples,
        n_jobs=n_jobs,
        beside_readers=source.reads_ahead,
    )
    n_rows = 0
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        for X, weights in blocks:
            if observe is not None:
                observe(X, weights)
            here = slice(n_rows, n_rows + len(X))
            running.add(X, weights, **{name: each[here] for name, each in by_row.items()})
            n_rows += len(X)
    return running.sums()


def _present(by_row: dict[str, Any]) -> dict[str, Any]:
    """Return what there is for each row."""
    return {name: each for name, each in by_row.items() if each is not None}


def mixture_statistics(
    source: Source,
    parameters: MixtureParameters,
    *,
    known: Any = None,
    pooled: bool = False,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the sufficient statistics of the responsibilities under a mixture: one E-step.

    If `pooled`, second moments need be right only in their sum over the components.
    """
    if isinstance(source, MeasuredRows):
        if source.common is None:
            return measured_statistics(source, parameters, known=known, n_jobs=n_jobs)
        measured = with_common_errors(parameters, source.common)
        found = mixture_statistics(source.rows, measured, known=known, n_jobs=n_jobs)
        return without_common_errors(found, parameters, measured)
    if kind := _pass_of_gaps(source):
        found = incomplete_statistics(
            source, parameters.with_matrices(), known=known, n_jobs=n_jobs, kind=kind
        )
        return _of_factors(found, parameters) if parameters.is_low_rank else found
    p = pass_parameters(source.dtype, parameters, pooled=pooled)
    diagonal = parameters.is_diagonal
    work = partial(_sums, parameters=p, mode=mixture_pass.MOMENTS, diagonal=diagonal)
    sums = source.fold(work, PassSums.plus)(n_jobs=n_jobs, **_present({"labels": known}))
    return statistics_of(sums, p, diagonal=diagonal, weight=source.total_weight)


def _pass_of_gaps(source: Source) -> type[IncompletePass] | None:
    """Return the kind of pass over rows whose values are not all known."""
    if isinstance(source, LimitedRows):
        return LimitedPass
    return IncompletePass if source.incomplete else None


def _of_factors(
    statistics: SufficientStatistics, parameters: MixtureParameters
) -> SufficientStatistics:
    """Return what a pass at factor analyzers would have found of the moments of all pairs."""
    centered = statistics.about(parameters.means)
    directions = parameters.whiteners[:, :, :1] * factor_axes(parameters.whiteners)[0]
    variances = np.einsum("kii->ki", centered.second)[:, :, None]
    second = np.concatenate([variances, centered.second @ directions], axis=2)
    return replace(centered, second=second)


def statistics_of_several(
    source: Source,
    mixtures: Sequence[MixtureParameters],
    pooled: Sequence[bool],
    *,
    n_jobs: int | None = None,
) -> list[SufficientStatistics]:
    """Return the sufficient statistics under each of several mixtures: one E-step of all.

    The rows are iterated over once, as long as the sums of all mixtures take no more than 256 MB,
    and else once for as many mixtures as do. Each mixture's statistics are, bit for bit, those of
    `mixture_statistics`, `pooled` or not.
    """
    if source.incomplete or isinstance(source, AnnotatedRows):
        return [mixture_statistics(source, each, n_jobs=n_jobs) for each in mixtures]
    found: list[SufficientStatistics] = []
    for together in _sharing(source, mixtures, pooled):
        sums = source.fold(partial(_sums_of_several, passes=together), _each_plus)(n_jobs=n_jobs)
        weight = source.total_weight
        found += [
            statistics_of(own, p, diagonal=diagonal, weight=weight)
            for own, (p, diagonal) in zip(sums, together, strict=True)
        ]
    return found


def _sums_of_several(
    source: Source,
    *,
    passes: list[tuple[MixturePass, bool]],
    n_jobs: int | None,
) -> list[PassSums]:
    """Run several passes in one reading of the rows."""
    running = [_running(source, p, diagonal, n_jobs) for p, diagonal in passes]
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        for X, weights in blocks:
            for each in running:
                each.add(X, weights)
    return [each.sums() for each in running]


def _each_plus(one: list[PassSums], other: list[PassSums]) -> list[PassSums]:
    """Return the sums of both sets of rows of several passes."""
    return [a.plus(b) for a, b in zip(one, other, strict=True)]


def _running(
    source: Source,
    parameters: MixturePass,
    diagonal: bool,
    n_jobs: int | None,
) -> RunningPass:
    """Return a pass in the making that takes moments."""
    return RunningPass(
        parameters,
        mixture_pass.MOMENTS,
        diagonal=diagonal,
        n_rows=source.n_samples,
        n_jobs=n_jobs,
        beside_readers=source.reads_ahead,
    )


def _sharing(
    source: Source, mixtures: Sequence[MixtureParameters], pooled: Sequence[bool]
) -> Iterator[list[tuple[MixturePass, bool]]]:
    """Yield what passes read, of as many at once as may share a reading of the rows."""
    together: list[tuple[MixturePass, bool]] = []
    taken = 0
    for mixture, only_pooled in zip(mixtures, pooled, strict=True):
        p = pass_parameters(source.dtype, mixture, pooled=only_pooled)
        n_bytes = _running(source, p, mixture.is_diagonal, None).n_bytes
        if together and taken + n_bytes > _SUMS_BYTES:
            yield together
            together, taken = [], 0
        together.append((p, mixture.is_diagonal))
        taken += n_bytes
    if together:
        yield together


def _evaluate(
    source: Source,
    parameters: MixtureParameters,
    mode: int,
    n_jobs: int | None,
    **by_row: Any,
) -> float:
    """Run a pass that takes no moments, and return the log-likelihood that it finds."""
    if isinstance(source, MeasuredRows):
        parameters = parameters.with_matrices()
        if source.common is None:
            return measured_log_likelihood(
                source, parameters, mode, n_jobs=n_jobs, **_present(by_row)
            )
        measured = with_common_errors(parameters, source.common)
        return _evaluate(source.rows, measured, mode, n_jobs, **by_row)
    if kind := _pass_of_gaps(source):
        return incomplete_log_likelihood(
            source, parameters.with_matrices(), mode, n_jobs=n_jobs, kind=kind, **_present(by_row)
        )
    by_row_wanted = mode != mixture_pass.LOG_LIKELIHOOD
    p = pass_parameters(source.dtype, parameters, pooled=True, by_row=by_row_wanted)
    work = partial(_sums, parameters=p, mode=mode, diagonal=parameters.is_diagonal)
    return source.fold(work, PassSums.plus)(n_jobs=n_jobs, **_present(by_row)).log_likelihood


def source_moments(
    source: Source, *, diagonal: bool, n_jobs: int | None = None
) -> SufficientStatistics:
    """Return the moments of all rows, as if they were of one component."""
    return moments_and_sample(source, None, diagonal=diagonal, n_jobs=n_jobs)[0]


def moments_and_sample(
    source: Source, sampling: Sampling | None, *, diagonal: bool, n_jobs: int | None = None
) -> tuple[SufficientStatistics, Sample | None]:
    """Return the moments of all rows and, from the same reading, a sample of them."""
    with np.errstate(over="ignore", invalid="ignore"):
        if source.incomplete:
            moments, sample = observed_moments(source, sampling, diagonal=diagonal, n_jobs=n_jobs)
        else:
            flat = flat_mixture(source, diagonal)
            p = gaussian_pass(source.dtype, flat)
            work = partial(_sums_and_sample, parameters=p, diagonal=diagonal, sampling=sampling)
            sums, sample = source.fold(work, _both_plus)(n_jobs=n_jobs)
            moments = statistics_of(sums, p, diagonal=diagonal, weight=source.total_weight)
    require_no_overflow(moments)
    return moments, sample


def _sums_and_sample(
    source: Source,
    *,
    parameters: PassParameters,
    diagonal: bool,
    sampling: Sampling | None,
    n_jobs: int | None,
) -> tuple[PassSums, Sample | None]:
    """Return the sums of a pass that takes moments, and a sample of the rows."""
    reservoir = None if sampling is None else sampling.begin(source)
    sums = _sums(
        source,
        parameters=parameters,
        mode=mixture_pass.MOMENTS,
        diagonal=diagonal,
        n_jobs=n_jobs,
        observe=None if reservoir is None else reservoir.add,
    )
    return sums, None if reservoir is None else reservoir.sample()


def _both_plus(
    one: tuple[PassSums, Sample | None], other: tuple[PassSums, Sample | None]
) -> tuple[PassSums, Sample | None]:
    """Return the sums and the sample of both sets of rows."""
    return one[0].plus(other[0]), both_samples(one[1], other[1])


def _given_statistics(
    source: Source,
    n_components: int,
    mode: int,
    diagonal: bool,
    n_jobs: int | None,
    **rows: Any,
) -> SufficientStatistics:
    """Return the statistics of given responsibilities, about points that lose no digits."""
    middle = source.some_rows(BLOCK_ROWS).mean(axis=0)
    reference = np.repeat(middle[None], n_components, axis=0)
    shared = True
    while True:
        with np.errstate(over="ignore"):
            p = _given_parameters(source, n_components, reference, diagonal, shared)
        work = partial(_sums, parameters=p, mode=mode, diagonal=diagonal)
        sums = source.fold(work, PassSums.plus)(n_jobs=n_jobs, **rows)
        weight, unknown = source.total_weight, float("nan")
        statistics = statistics_of(
            sums, p, diagonal=diagonal, weight=weight, log_likelihood=unknown
        )
        require_no_overflow(statistics)
        if not shared:
            return statistics
        counts = np.where(statistics.counts > 0, statistics.counts, 1.0)[:, None]
        offsets = statistics.first / counts
        second = statistics.second if diagonal else np.einsum("kii->ki", statistics.second)
        limit = FARTHEST_SHARED[p.constants.dtype] ** 2
        if (offsets**2 <= limit * (second / counts - offsets**2)).all():
            return statistics
        # means far from the common reference: once more, about the means themselves
        reference, shared = statistics.reference + offsets, False


def labeled_statistics(
    source: Source,
    labels: Any,
    n_components: int,
    *,
    diagonal: bool,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the sufficient statistics of rows whose components are known."""
    return _given_statistics(
        source,
        n_components,
        mixture_pass.GIVEN_LABELS,
        diagonal,
        n_jobs,
        labels=labels,
    )


def responsibility_statistics(
    source: Source,
    responsibilities: npt.NDArray[Any],
    *,
    diagonal: bool,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the sufficient statistics of given responsibilities."""
    given = np.ascontiguousarray(responsibilities, dtype=source.dtype)
    return _given_statistics(
        source,
        given.shape[1],
        mixture_pass.GIVEN_RESPONSIBILITIES,
        diagonal,
        n_jobs,
        responsibilities=given,
    )


def log_likelihood(
    source: Source,
    parameters: MixtureParameters,
    *,
    known: Any = None,
    n_jobs: int | None = None,
) -> float:
    """Return the weighted sum of the rows' log-densities, in nats."""
    return _evaluate(source, parameters, mixture_pass.LOG_LIKELIHOOD, n_jobs, labels=known)


def log_density(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[Any]:
    """Return the log-density of the mixture at every row."""
    out = np.empty(source.n_samples, source.dtype)
    _evaluate(source, parameters, mixture_pass.LOG_DENSITY, n_jobs, log_density=out)
    return out


def responsibilities(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[Any]:
    """Return the posterior probability of every component at every row."""
    out = np.empty((source.n_samples, parameters.n_components), source.dtype)
    _evaluate(source, parameters, mixture_pass.RESPONSIBILITIES, n_jobs, responsibilities=out)
    return out


def labels(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[np.int64]:
    """Return the most probable component of every row, the first among equals."""
    out = np.empty(source.n_samples, np.int64)
    _evaluate(source, parameters, mixture_pass.LABELS, n_jobs, labels=out)
    return out


def component_log_densities(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[Any]:
    """Return the log-density of every component at every row, weights left out."""
    densities = np.empty((source.n_samples, parameters.n_components), source.dtype)
    for k in range(parameters.n_components):
        alone = replace(parameters.of(slice(k, k + 1)), log_weights=np.zeros(1))
        densities[:, k] = log_density(source, alone, n_jobs=n_jobs)
    return densities


def factor_scores(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[Any]:
    """Return the expected factors of every row under its most probable component."""
    found = labels(source, parameters, n_jobs=n_jobs)
    axes, strengths, rotations = factor_axes(parameters.whiteners)
    gains = (strengths / (1.0 + strengths * strengths))[:, :, None] * rotations
    scores = np.empty((source.n_samples, strengths.shape[1]), source.dtype)
    for k in np.unique(found):
        own = found == k
        standardized = (source.X[own] - parameters.means[k]) * parameters.whiteners[k, :, 0]
        scores[own] = standardized @ axes[k] @ gains[k]
    return scores
