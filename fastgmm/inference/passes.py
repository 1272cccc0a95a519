"""One pass over a data source: parameters in, statistics or values of single rows out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.array import ArraySource
from fastgmm.data.source import Source
from fastgmm.kernels import mixture_pass
from fastgmm.kernels.mixture_pass import (
    PassParameters,
    PassTask,
    mixture_slot,
)
from fastgmm.kernels.packing import (
    block_count,
    pack_lower,
    packed_length,
    padded,
    unpack_blocks,
    unpack_products,
)
from fastgmm.kernels.threads import run_slots
from fastgmm.kernels.tiles import BLOCK_ROWS, lane_count, slot_count
from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.statistics import FloatArray, SufficientStatistics

_FARTHEST_SHARED = {np.dtype(np.float64): 30.0, np.dtype(np.float32): 16.0}
"""How many standard deviations means may lie from a centre that all components share.

Moments about a point E standard deviations away lose E² units in the last place: at these limits
1e-13 of a covariance in double precision, 2e-5 in single if all roundings agreed.
"""

_EXPONENTIAL = 40
"""Floating-point operations of an exponential, about."""

_SINGLE_RANGE = (1e-12, 1e12)
"""Spreads of single-precision data whose squares single precision holds with room to spare."""


_ROWS_TO_BEGIN_WITH = 256
"""Rows whose mean is near enough to the data for moments to be taken about it."""


Observer = Callable[[npt.NDArray[Any], FloatArray | None], None]
"""Called with the rows and the weights of each block that a pass goes through."""


def _compute_type(source: Source, scales: FloatArray) -> np.dtype[Any]:
    """Return the type to compute in: the data's, unless squares would leave its range."""
    if source.dtype == np.float64:
        return np.dtype(np.float64)
    low, high = _SINGLE_RANGE
    scales = scales[scales > 0]
    fits = scales.size == 0 or (low < scales.min() and scales.max() < high)
    return np.dtype(np.float32 if fits else np.float64)


def _split(values: FloatArray, dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return numbers as sums of two of the given type."""
    high = np.ascontiguousarray(values).astype(dtype).ravel()
    return high, (values.ravel() - high).astype(dtype)


def _pass_parameters(source: Source, parameters: MixtureParameters) -> PassParameters:
    """Return a mixture as the kernels read it."""
    weights = np.exp(parameters.log_weights)
    means, whiteners = parameters.means, parameters.whiteners
    centre = weights @ means / weights.sum()
    offsets = means - centre
    diagonals = whiteners if parameters.is_diagonal else np.einsum("kii->ki", whiteners)
    dtype = _compute_type(source, 1.0 / diagonals)
    if parameters.is_diagonal:
        farthest = np.abs(whiteners * offsets).max()
        shifts = -whiteners * offsets
        packed = whiteners
    else:
        farthest = (np.abs(whiteners) @ np.abs(offsets)[:, :, None]).max()
        shifts = -(whiteners @ offsets[:, :, None])[:, :, 0]
        packed = pack_lower(whiteners)
    shared = bool(farthest <= _FARTHEST_SHARED[dtype])
    constants = parameters.log_weights + parameters.log_normalisers
    offset = float(constants.max())
    return PassParameters(
        (constants - offset).astype(dtype),
        offset,
        packed.astype(dtype).ravel(),
        (shifts if shared else np.zeros_like(shifts)).astype(dtype).ravel(),
        *_split(centre if shared else np.zeros_like(centre), dtype),
        *_split(means, dtype),
        shared,
    )


def _given_parameters(
    source: Source, n_components: int, references: FloatArray, diagonal: bool, shared: bool
) -> PassParameters:
    """Return what the kernels read where responsibilities are given: references only."""
    n_features = source.n_features
    spread = np.abs(source.some_rows(BLOCK_ROWS) - references[0])
    dtype = _compute_type(source, spread.max(axis=0))
    size = n_features if diagonal else packed_length(n_features)
    return PassParameters(
        np.zeros(n_components, dtype),
        0.0,
        np.zeros(n_components * size, dtype),
        np.zeros(n_components * n_features, dtype),
        *_split(references[0] if shared else np.zeros(n_features), dtype),
        *_split(references, dtype),
        shared,
    )


def _run(
    source: Source,
    parameters: PassParameters,
    mode: int,
    *,
    diagonal: bool,
    n_jobs: int | None,
    log_density: npt.NDArray[Any] | None = None,
    labels: npt.NDArray[np.int64] | None = None,
    responsibilities: npt.NDArray[Any] | None = None,
    observe: Observer | None = None,
) -> PassTask:
    """Run a pass and return its last task, which holds what the slots in use added up."""
    n_components, n_features = len(parameters.constants), source.n_features
    dtype = parameters.constants.dtype
    moments = bool(mode & (mixture_pass.MOMENTS | mixture_pass.GIVEN))
    lanes = lane_count(n_features, n_components, dtype.itemsize)
    if diagonal:
        first, second = padded(n_components) * padded(2 * n_features), 0
    else:
        first = n_components * n_features
        second = n_components * 16 * block_count(n_features)
    n_slots = slot_count(8 * (first + second + n_components))
    known = source.n_samples
    used = n_slots if known is None else min(n_slots, -(-known // BLOCK_ROWS))
    per_density = 4 * n_features if diagonal else 2 * n_features * (n_features + 1)
    outputs: dict[str, Any] = {
        "log_density": np.empty(0, source.dtype) if log_density is None else log_density,
        "labels": np.empty(0, np.int64) if labels is None else labels,
        "responsibilities": (
            np.empty((0, 0), source.dtype) if responsibilities is None else responsibilities
        ),
    }
    sums: dict[str, Any] = {
        "counts": np.zeros((used, n_components)),
        "first": np.zeros((used, first if moments else 0)),
        "second": np.zeros((used, second if moments else 0)),
        "likelihood": np.zeros((used, lanes)),
    }
    n_rows = 0
    with closing(source.blocks()) as blocks:  # type: ignore[type-var]
        for X, weights in blocks:
            if observe is not None:
                observe(X, weights)
            rows = slice(n_rows, n_rows + len(X))
            task = PassTask(
                X=X,
                weights=np.empty(0) if weights is None else weights,
                first_block=n_rows // BLOCK_ROWS,
                lanes=lanes,
                diagonal=diagonal,
                mode=mode,
                n_slots=n_slots,
                **parameters._asdict(),
                **sums,
                **{name: each[rows] for name, each in outputs.items()},
            )
            operations = len(X) * n_components * (per_density + _EXPONENTIAL)
            run_slots(
                mixture_slot, task, used, n_jobs, operations, beside_readers=source.reads_ahead
            )
            n_rows += len(X)
    filled = min(used, -(-n_rows // BLOCK_ROWS))
    return task._replace(**{name: each[:filled] for name, each in sums.items()})


def _statistics(source: Source, sums: PassTask, log_likelihood: float) -> SufficientStatistics:
    """Add up the slots, in their order; the reference is what the kernels subtracted."""
    n_components, n_features = len(sums.constants), source.n_features
    if sums.shared:
        centre = sums.centre.astype(np.float64) + sums.centre_low
        reference = np.repeat(centre[None], n_components, axis=0)
    else:
        means = sums.references.astype(np.float64) + sums.references_low
        reference = means.reshape(n_components, n_features)
    counts = sums.counts.sum(axis=0)
    if sums.diagonal:
        first, second = unpack_products(sums.first.sum(axis=0), n_components, n_features)
    else:
        first = sums.first.sum(axis=0).reshape(n_components, n_features)
        blocks = sums.second.sum(axis=0).reshape(n_components, -1)
        second = unpack_blocks(blocks, n_features)
    return SufficientStatistics(
        reference=reference,
        counts=counts,
        first=first,
        second=second,
        log_likelihood=log_likelihood,
        weight=source.total_weight,
    )


def mixture_statistics(
    source: Source,
    parameters: MixtureParameters,
    *,
    observe: Observer | None = None,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the sufficient statistics of the responsibilities under a mixture: one E-step.

    Parameters
    ----------
    source : Source
        The rows, N of them.
    parameters : MixtureParameters
        The mixture, K components in D features.
    observe : callable, default=None
        Called with the rows and weights of each block.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    SufficientStatistics
        Counts, first and second moments, and the log-likelihood of ``parameters``.
    """
    p = _pass_parameters(source, parameters)
    diagonal = parameters.is_diagonal
    sums = _run(source, p, mixture_pass.MOMENTS, diagonal=diagonal, n_jobs=n_jobs, observe=observe)
    return _statistics(source, sums, _total(sums))


def _total(sums: PassTask) -> float:
    """Return the log-likelihood: slots added in order, then lanes."""
    return float(sums.likelihood.sum(axis=0).sum())


def source_moments(
    source: Source,
    *,
    diagonal: bool,
    observe: Observer | None = None,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the moments of all rows, as if they were of one component.

    Parameters
    ----------
    source : Source
        The rows.
    diagonal : bool
        Whether only the diagonal of the second moments is wanted.
    observe : callable, default=None
        Called with the rows and weights of each block.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    SufficientStatistics
        The moments, of a single component.

    Raises
    ------
    ValueError
        If the squares of the rows, times their weights, overflow.
    """
    n_features = source.n_features
    near = source.some_rows(_ROWS_TO_BEGIN_WITH).mean(axis=0)
    # One component so wide that its density is the same at every row, whatever their scale: each
    # responsibility is 1.
    narrowness = np.full((1, n_features), 1e-200)
    flat = MixtureParameters(
        log_weights=np.zeros(1),
        means=near[None],
        whiteners=narrowness if diagonal else narrowness[:, :, None] * np.eye(n_features),
        log_normalisers=np.zeros(1),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        moments = mixture_statistics(source, flat, observe=observe, n_jobs=n_jobs)
    second = moments.second[0] if diagonal else np.diagonal(moments.second[0])
    overflowing = ~np.isfinite(second)
    if overflowing.any():
        j = int(overflowing.argmax())
        raise ValueError(
            f"the values of feature {j} are too large: their squares, times the sample weights, "
            "overflow; divide the feature or the weights by a constant"
        )
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
        p = _given_parameters(source, n_components, reference, diagonal, shared)
        sums = _run(source, p, mode, diagonal=diagonal, n_jobs=n_jobs, **rows)
        statistics = _statistics(source, sums, float("nan"))
        if not shared:
            return statistics
        counts = np.where(statistics.counts > 0, statistics.counts, 1.0)[:, None]
        offsets = statistics.first / counts
        second = statistics.second if diagonal else np.einsum("kii->ki", statistics.second)
        limit = _FARTHEST_SHARED[p.constants.dtype] ** 2
        if (offsets**2 <= limit * (second / counts - offsets**2)).all():
            return statistics
        # means far from the common reference: once more, about the means themselves
        reference, shared = statistics.reference + offsets, False


def labelled_statistics(
    source: Source,
    labels: npt.NDArray[np.int64],
    n_components: int,
    *,
    diagonal: bool,
    n_jobs: int | None = None,
) -> SufficientStatistics:
    """Return the sufficient statistics of rows whose components are known.

    Parameters
    ----------
    source : Source
        The rows.
    labels : ndarray of shape (n_samples,)
        Component of each row; −1 leaves a row out.
    n_components : int
        Number of components.
    diagonal : bool
        Whether only the diagonals of the second moments are wanted.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    SufficientStatistics
        The statistics; their log-likelihood is nan.
    """
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
    """Return the sufficient statistics of given responsibilities.

    Parameters
    ----------
    source : Source
        The rows.
    responsibilities : ndarray of shape (n_samples, n_components)
        Share of each row in each component.
    diagonal : bool
        Whether only the diagonals of the second moments are wanted.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    SufficientStatistics
        The statistics; their log-likelihood is nan.
    """
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
    source: Source, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> float:
    """Return the weighted sum of the rows' log-densities, in nats.

    Parameters
    ----------
    source : Source
        The rows.
    parameters : MixtureParameters
        The mixture.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    float
        The log-likelihood.
    """
    p = _pass_parameters(source, parameters)
    return _total(
        _run(source, p, mixture_pass.LOG_LIKELIHOOD, diagonal=parameters.is_diagonal, n_jobs=n_jobs)
    )


def log_density(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[Any]:
    """Return the log-density of the mixture at every row.

    Parameters
    ----------
    source : ArraySource
        The rows.
    parameters : MixtureParameters
        The mixture.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    ndarray of shape (n_samples,)
        Log-densities in nats, in the type of the rows.
    """
    p = _pass_parameters(source, parameters)
    out = np.empty(source.n_samples, source.dtype)
    mode = mixture_pass.LOG_DENSITY
    _run(source, p, mode, diagonal=parameters.is_diagonal, n_jobs=n_jobs, log_density=out)
    return out


def responsibilities(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[Any]:
    """Return the posterior probability of every component at every row.

    Parameters
    ----------
    source : ArraySource
        The rows.
    parameters : MixtureParameters
        The mixture.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    ndarray of shape (n_samples, n_components)
        Responsibilities, in the type of the rows.
    """
    p = _pass_parameters(source, parameters)
    out = np.empty((source.n_samples, parameters.n_components), source.dtype)
    mode = mixture_pass.RESPONSIBILITIES
    _run(source, p, mode, diagonal=parameters.is_diagonal, n_jobs=n_jobs, responsibilities=out)
    return out


def labels(
    source: ArraySource, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> npt.NDArray[np.int64]:
    """Return the most probable component of every row, the first among equals.

    Parameters
    ----------
    source : ArraySource
        The rows.
    parameters : MixtureParameters
        The mixture.
    n_jobs : int, default=None
        Number of threads; None for as many as numba uses.

    Returns
    -------
    ndarray of shape (n_samples,)
        Component indices.
    """
    p = _pass_parameters(source, parameters)
    out = np.empty(source.n_samples, np.int64)
    mode = mixture_pass.LABELS
    _run(source, p, mode, diagonal=parameters.is_diagonal, n_jobs=n_jobs, labels=out)
    return out
