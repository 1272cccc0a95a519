"""One pass over a data source: parameters in, statistics or values of single rows out.

Of rows that lack values, what is missing is integrated out (`incomplete`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.accumulator import (
    FARTHEST_SHARED,
    PassSums,
    RunningPass,
    compute_type,
    pass_parameters,
    split_in_two,
    statistics_of,
)
from fastgmm.em.e_step.observed_moments import (
    flat_mixture,
    observed_moments,
    require_no_overflow,
)
from fastgmm.em.missing.incomplete import run_incomplete
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.mixture_pass import PassParameters
from fastgmm.kernels.packing import packed_length
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics

_SUMS_BYTES = 2**28
"""What the sums of mixtures that share a pass may take."""

Observer = Callable[[npt.NDArray[Any], FloatArray | None], None]
"""Called with the rows and the weights of each block that a pass reads."""


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
    )


def _run(
    source: Source,
    parameters: PassParameters,
    mode: int,
    *,
    diagonal: bool,
    n_jobs: int | None,
    observe: Observer | None = None,
    **rows: npt.NDArray[Any] | None,
) -> PassSums:
    """Run a pass over all rows; `rows` are what it writes, or is given, for each of them."""
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
            given = {name: each[here] for name, each in rows.items() if each is not None}
            running.add(X, weights, **given)
            n_rows += len(X)
    return running.sums()


def mixture_statistics(
    source: Source,
    parameters: MixtureParameters,
    *,
    known: npt.NDArray[np.int64] | None = None,
    observe: Observer | None = None,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the sufficient statistics of the responsibilities under a mixture: one E-step."""
    mode = mixture_pass.MOMENTS
    if source.incomplete:
        done = run_incomplete(
            source, parameters, mode, n_jobs=n_jobs, labels=known, observe=observe
        )
        return done.statistics(source.total_weight)
    p = pass_parameters(source.dtype, parameters)
    diagonal = parameters.is_diagonal
    sums = _run(source, p, mode, diagonal=diagonal, n_jobs=n_jobs, labels=known, observe=observe)
    return statistics_of(sums, p, diagonal=diagonal, weight=source.total_weight)


def statistics_of_several(
    source: Source, mixtures: Sequence[MixtureParameters], *, n_jobs: int | None = None
) -> list[SufficientStatistics]:
    """Return the sufficient statistics under each of several mixtures: one E-step of all.

    The rows are iterated over once, as long as the sums of all mixtures take no more than 256 MB,
    and else once for as many mixtures as do. Each mixture's statistics are, bit for bit, those of
    `mixture_statistics`.
    """
    if source.incomplete:
        return [mixture_statistics(source, each, n_jobs=n_jobs) for each in mixtures]
    found: list[SufficientStatistics] = []
    for together in _sharing(source, mixtures, n_jobs):
        with closing(source.blocks()) as blocks:  # type: ignore[type-var]
            for X, weights in blocks:
                for running, *_ in together:
                    running.add(X, weights)
        weight = source.total_weight
        found += [
            statistics_of(running.sums(), p, diagonal=diagonal, weight=weight)
            for running, p, diagonal in together
        ]
    return found


def _sharing(
    source: Source, mixtures: Sequence[MixtureParameters], n_jobs: int | None
) -> Iterator[list[tuple[RunningPass, PassParameters, bool]]]:
    """Yield passes in the making, as many at once as may share a reading of the rows."""
    together: list[tuple[RunningPass, PassParameters, bool]] = []
    taken = 0
    for mixture in mixtures:
        p = pass_parameters(source.dtype, mixture)
        running = RunningPass(
            p,
            mixture_pass.MOMENTS,
            diagonal=mixture.is_diagonal,
            n_rows=source.n_samples,
            n_jobs=n_jobs,
            beside_readers=source.reads_ahead,
        )
        if together and taken + running.n_bytes > _SUMS_BYTES:
            yield together
            together, taken = [], 0
        together.append((running, p, mixture.is_diagonal))
        taken += running.n_bytes
    if together:
        yield together


def _evaluate(
    source: Source,
    parameters: MixtureParameters,
    mode: int,
    n_jobs: int | None,
    **rows: npt.NDArray[Any] | None,
) -> float:
    """Run a pass that takes no moments, and return the log-likelihood that it finds."""
    if source.incomplete:
        done = run_incomplete(source, parameters, mode, n_jobs=n_jobs, observe=None, **rows)
        return done.log_likelihood()
    p = pass_parameters(source.dtype, parameters)
    diagonal = parameters.is_diagonal
    sums = _run(source, p, mode, diagonal=diagonal, n_jobs=n_jobs, observe=None, **rows)
    return sums.log_likelihood


def source_moments(
    source: Source,
    *,
    diagonal: bool,
    observe: Observer | None = None,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the moments of all rows, as if they were of one component."""
    with np.errstate(over="ignore", invalid="ignore"):
        if source.incomplete:
            moments = observed_moments(source, diagonal=diagonal, observe=observe, n_jobs=n_jobs)
        else:
            flat = flat_mixture(source, diagonal)
            moments = mixture_statistics(source, flat, observe=observe, n_jobs=n_jobs)
    require_no_overflow(moments)
    return moments


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
        sums = _run(source, p, mode, diagonal=diagonal, n_jobs=n_jobs, **rows)
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
    labels: npt.NDArray[np.int64],
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
        labels=np.ascontiguousarray(labels, dtype=np.int64),
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
    known: npt.NDArray[np.int64] | None = None,
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
