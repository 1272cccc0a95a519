"""A pass in the making: rows are added block by block, and their sums taken at the end."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.kernels import mixture_pass
from fastgmm.kernels.incomplete_pass import (
    CompletionParameters,
    IncompleteTask,
    incomplete_slot,
)
from fastgmm.kernels.microkernels.lanes import VECTOR
from fastgmm.kernels.mixture_pass import PassParameters, PassTask, mixture_slot
from fastgmm.kernels.packing import (
    ROWS,
    block_count,
    pack_lower,
    padded,
    unpack_blocks,
    unpack_products,
)
from fastgmm.kernels.passes.error_pass import ErrorPassParameters, ErrorTask, error_slot
from fastgmm.kernels.passes.factor_pass import (
    FactorPassParameters,
    FactorTask,
    factor_lanes,
    factor_slot,
)
from fastgmm.kernels.passes.limit_pass import (
    LIMIT_BLOCK_ROWS,
    LimitPassParameters,
    LimitTask,
    limit_slot,
)
from fastgmm.kernels.passes.student_pass import StudentTask, student_slot
from fastgmm.kernels.passes.truncated_pass import Cells, truncated_slot, truncated_task
from fastgmm.kernels.pruning import pruning_slot, pruning_task
from fastgmm.kernels.threads import OPERATIONS_AT_ONCE, run_slots
from fastgmm.kernels.tiles import BLOCK_ROWS, lane_count, slot_count
from fastgmm.mixture.parameters import MixtureParameters, factor_axes
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.student import StudentParameters, StudentStatistics, expected_logarithms

FARTHEST_SHARED = {np.dtype(np.float64): 30.0, np.dtype(np.float32): 16.0}
"""How many standard deviations means may lie from a center that all components share.

Moments about a point E standard deviations away lose E² units in the last place: at these limits
1e-13 of a covariance in double precision, 2e-5 in single if all roundings agreed.
"""

_EXPONENTIAL = 40
"""Floating-point operations of an exponential, about."""

_SINGLE_RANGE = (1e-12, 1e12)
"""Spreads of single-precision data whose squares single precision holds with room to spare."""

_MARGIN = 40.0
"""How far below the largest log-density of a row another is left out: a responsibility of 4e-18."""

_APART = 75.0
"""How far below that of a component, at its mean, the log-density of another is for most of its
rows, which are spread about it, to lie below by the margin."""

_FEW_NEAR = 0.6
"""The share of components near to some rows below which pruning pays, as measured."""

_FEWEST_SORTED = (16, 8)
"""Components and features: with fewer, sorting takes as long as is saved."""

_ROWS_AT_ONCE = 32
"""Rows that are seen together not to be near to a component, on a machine with AVX-512."""

ERROR_LANES = 64
"""Lanes of a tile whose rows have errors: few, for the matrices of each fill the caches."""

LIMIT_LANES = 32
"""Lanes of a tile whose rows have limits, worked on one by one: the fewest there can be."""

_LIMIT_OPERATIONS = 10_000
"""Operations that a row with limits takes under a component, between those of one and of more."""

COMPLETED_LANES = 64
"""Lanes of a tile whose rows are completed: few, for what is filled in stays in the caches."""


def compute_type(dtype: npt.DTypeLike, scales: FloatArray) -> np.dtype[Any]:
    """Return the type to compute in: the data's, unless squares would leave its range."""
    if np.dtype(dtype) == np.float64:
        return np.dtype(np.float64)
    low, high = _SINGLE_RANGE
    scales = scales[scales > 0]
    fits = scales.size == 0 or (low < scales.min() and scales.max() < high)
    return np.dtype(np.float32 if fits else np.float64)


def split_in_two(
    values: FloatArray, dtype: np.dtype[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return numbers as sums of two of the given type, one after the other in memory."""
    high = np.ascontiguousarray(values).astype(dtype).ravel()
    return high, (values.ravel() - high).astype(dtype)


def pass_parameters(
    dtype: npt.DTypeLike,
    parameters: MixtureParameters,
    *,
    pooled: bool = False,
    by_row: bool = False,
) -> MixturePass:
    """Return a mixture as the kernels read it, for rows of a type.

    If `pooled`, second moments are of no interest but for those of all components together, which
    a mixture with one covariance for all takes less time to find. Where values are wanted `by_row`,
    rows stay in their order.
    """
    if parameters.is_low_rank:
        return _factor_pass(parameters)
    if isinstance(parameters, StudentParameters):
        plain = gaussian_pass(dtype, parameters, by_row=True)
        halves, inverse = 0.5 * (parameters.dofs + parameters.n_features), 1.0 / parameters.dofs
        computed = plain.constants.dtype
        return plain._replace(halves=halves.astype(computed), inverse_dofs=inverse.astype(computed))
    return gaussian_pass(dtype, parameters, pooled=pooled, by_row=by_row)


def gaussian_pass(
    dtype: npt.DTypeLike,
    parameters: MixtureParameters,
    *,
    pooled: bool = False,
    by_row: bool = False,
) -> PassParameters:
    """Return what the kernels read of any mixture, and of one of Gaussians whether to sort rows."""
    weights = np.exp(parameters.log_weights)
    means, whiteners = parameters.means, parameters.whiteners
    center = weights @ means / weights.sum()
    offsets = means - center
    diagonals = whiteners if parameters.is_diagonal else np.einsum("kii->ki", whiteners)
    # Uniform noise is a component whose whitener is zero.
    computed = compute_type(dtype, 1.0 / diagonals[diagonals > 0.0])
    if parameters.is_diagonal:
        farthest = np.abs(whiteners * offsets).max()
        shifts = -whiteners * offsets
        packed = whiteners
    else:
        farthest = (np.abs(whiteners) @ np.abs(offsets)[:, :, None]).max()
        shifts = -(whiteners @ offsets[:, :, None])[:, :, 0]
        packed = pack_lower(whiteners)
    shared = bool(farthest <= FARTHEST_SHARED[computed])
    one_whitener = shared and len(means) > 1 and bool((whiteners == whiteners[0]).all())
    constants = parameters.log_weights + parameters.log_normalizers
    offset = float(constants.max())
    may_prune = not (by_row or parameters.is_diagonal or (pooled and one_whitener))
    pruned = may_prune and _lie_apart(whiteners, offsets, constants, weights)
    slopes, intercepts = np.empty((0, 0)), np.empty(0)
    if pruned:
        slopes, intercepts = _nearness(whiteners, offsets if shared else means, weights)
    return PassParameters(
        (constants - offset).astype(computed),
        offset,
        packed.astype(computed).ravel(),
        (shifts if shared else np.zeros_like(shifts)).astype(computed).ravel(),
        *split_in_two(center if shared else np.zeros_like(center), computed),
        *split_in_two(means, computed),
        shared,
        pooled and one_whitener and not parameters.is_diagonal,
        slopes.astype(computed).ravel(),
        intercepts.astype(computed),
    )


@np.errstate(over="ignore", invalid="ignore")  # weights of 0, and squares beyond range
def _lie_apart(
    whiteners: FloatArray, offsets: FloatArray, constants: FloatArray, weights: FloatArray
) -> bool:
    """Say whether most components are out of the question for most rows, so that pruning pays."""
    n_components, n_features = offsets.shape
    if n_components < _FEWEST_SORTED[0] or n_features < _FEWEST_SORTED[1]:
        return False
    whitened = np.tensordot(whiteners, offsets, ([2], [1]))
    each = np.arange(n_components)
    own = whitened[each, :, each]
    squares = ((whitened - own[:, :, None]) ** 2).sum(axis=1)
    # [j, k]: how much less the log-density of component j is at the mean of k than that of k itself
    less = constants[None, :] - constants[:, None] + 0.5 * squares
    shares = weights / weights.sum()
    near = (less < _APART).mean(axis=0) @ shares
    n_mixed = 1.0 + _ROWS_AT_ONCE / BLOCK_ROWS / (shares**2).sum()  # components of such rows
    return bool(min(1.0, near * n_mixed) < _FEW_NEAR)


@np.errstate(over="ignore", invalid="ignore")
def _nearness(
    whiteners: FloatArray, means: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return slopes and intercepts of functions, the least of which says what a row is near to."""
    K, D = means.shape
    rows = (whiteners * np.sqrt(weights / weights.sum())[:, None, None]).reshape(K * D, D)
    slopes = -means @ (rows.T @ rows)
    return slopes, -0.5 * (slopes * means).sum(axis=1)


def _factor_pass(parameters: MixtureParameters) -> FactorPassParameters:
    """Return a mixture of factor analyzers as the kernel reads it."""
    D = parameters.n_features
    axes, strengths, _ = factor_axes(parameters.whiteners)
    q = strengths.shape[1]
    features, factors = (0, padded(D) - D), (0, padded(q) - q)
    scales = parameters.whiteners[:, :, 0]
    deviations = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0.0)
    matrices = [axes * each[:, :, None] for each in (scales, -deviations)]
    projection, expansion = (np.pad(each, ((0, 0), features, factors)) for each in matrices)
    spreads = 1.0 / np.hypot(1.0, strengths)
    parts = [np.pad(scales, ((0, 0), features)), np.pad(spreads, ((0, 0), factors))]
    constants = parameters.log_weights + parameters.log_normalizers
    offset = float(constants.max())
    return FactorPassParameters(
        constants=constants - offset,
        offset=offset,
        scales=np.concatenate(parts, axis=1).ravel(),
        projections=_in_panels(projection.transpose(0, 2, 1)),
        expansions=_in_panels(expansion),
        references=np.pad(parameters.means, ((0, 0), features)).ravel(),
        zeros=np.zeros(padded(D) + padded(q)),
        n_features=D,
        n_factors=q,
    )


def _in_panels(matrices: FloatArray) -> FloatArray:
    """Return matrices of which panels of four rows follow each other, column by column."""
    K, R, C = matrices.shape
    return matrices.reshape(K, R // ROWS, ROWS, C).transpose(0, 1, 3, 2).ravel()


def completion_parameters(parameters: MixtureParameters) -> CompletionParameters:
    """Return a mixture as the kernels read it that complete rows."""
    constants = parameters.log_weights + parameters.log_normalizers
    offset = float(constants.max())
    whiteners = parameters.whiteners
    diagonal = parameters.is_diagonal
    precisions, covariances = np.empty(0), parameters.covariances()
    if not diagonal:
        precisions, covariances = _padded(parameters.precisions()), _padded(covariances)
    return CompletionParameters(
        constants=constants - offset,
        offset=offset,
        log_normalizers=parameters.log_normalizers,
        whiteners=(whiteners if diagonal else pack_lower(whiteners)).ravel(),
        precisions=precisions.ravel(),
        covariances=covariances.ravel(),
        centers=_padded(parameters.means).ravel(),
        references=parameters.means.ravel(),
        nothing=np.zeros(parameters.means.size),
    )


def _padded(rows: FloatArray) -> FloatArray:
    """Return rows of numbers followed by zeros, as many as fill vectors."""
    lacking = -rows.shape[-1] % VECTOR
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, lacking)])


MixturePass = PassParameters | FactorPassParameters
"""A mixture as the kernels read it that rows without missing values are passed to."""

AnyPass = MixturePass | CompletionParameters | ErrorPassParameters | LimitPassParameters


class PassSums(NamedTuple):
    """What a pass adds up, as the kernels lay it out; sums over several sets of rows add up."""

    counts: FloatArray  # (n_components,): sums of responsibilities
    first: FloatArray  # moments, packed
    second: FloatArray  # moments, packed
    likelihood: FloatArray  # (lanes,): log-likelihood, in parts

    @property
    def log_likelihood(self) -> float:
        """The whole log-likelihood, in nats."""
        with np.errstate(over="ignore"):  # which is reported where the statistics are looked at
            return float(self.likelihood.sum())

    def plus(self, other: PassSums) -> PassSums:
        """Return the sums of both sets of rows."""
        return PassSums(*(a + b for a, b in zip(self, other, strict=True)))


class _Layout(NamedTuple):
    """What a kind of pass adds up, and what runs it."""

    task_type: Any  # what it reads and writes
    kernel: Any  # what runs a slot of it
    n_counts: int  # how many numbers a slot's sums of responsibilities are
    first: int  # those of the first moments
    second: int  # and of the second
    lanes: int  # lanes of a tile
    operations: int  # floating-point operations a row, about
    block_rows: int = BLOCK_ROWS  # rows that a slot takes at once


def _layout(parameters: AnyPass, diagonal: bool) -> _Layout:
    """Return the layout of a pass at a mixture."""
    K, D = len(parameters.constants), _feature_count(parameters)
    if isinstance(parameters, FactorPassParameters):
        first, second = ROWS * 2 * len(parameters.references), len(parameters.projections)
        operations = K * (D * (8 * parameters.n_factors + 8) + _EXPONENTIAL)
        lanes = factor_lanes(D)
        return _Layout(FactorTask, factor_slot, K, first, second, lanes, operations)
    if isinstance(parameters, ErrorPassParameters):
        second = D if diagonal else D * (D + 1) // 2
        operations = K * (4 * D * second + _EXPONENTIAL)
        return _Layout(ErrorTask, error_slot, K, K * D, K * second, ERROR_LANES, operations)
    if isinstance(parameters, LimitPassParameters):
        first, second = K * D, K * D if diagonal else K * D * D
        operations, rows = K * _LIMIT_OPERATIONS, LIMIT_BLOCK_ROWS
        return _Layout(LimitTask, limit_slot, K, first, second, LIMIT_LANES, operations, rows)
    if diagonal:
        first, second = padded(K) * padded(2 * D), 0
    elif parameters.pooled:
        first, second = padded(K) * padded(D), 16 * block_count(D)
    else:
        first, second = K * D, K * 16 * block_count(D)
    density = 4 * D if diagonal or parameters.pooled else 2 * D * (D + 1)
    if isinstance(parameters, CompletionParameters):
        operations = K * (4 * density + _EXPONENTIAL)
        lanes = COMPLETED_LANES
        return _Layout(IncompleteTask, incomplete_slot, K, first, second, lanes, operations)
    task_type: Any = PassTask
    kernel, n_counts = mixture_slot, K
    if parameters.halves is not None:
        task_type, kernel, n_counts = StudentTask, student_slot, 3 * K
    lanes = lane_count(D, n_counts, parameters.constants.dtype.itemsize)
    operations = K * (density + _EXPONENTIAL)
    return _Layout(task_type, kernel, n_counts, first, second, lanes, operations)


class RunningPass:
    """Sums over rows that are added one block after the other.

    Every block begins a new one of `BLOCK_ROWS` rows, so that the sums are those of a single
    block if the number of rows of each but the last is a multiple of it.
    """

    def __init__(
        self,
        parameters: AnyPass,
        mode: int,
        *,
        diagonal: bool,
        n_rows: int | None = None,
        n_jobs: int | None = None,
        beside_readers: bool = False,
        lanes: int | None = None,
    ) -> None:
        self.parameters = parameters
        self.n_blocks = 0
        layout = _layout(parameters, diagonal)
        lanes = layout.lanes if lanes is None else lanes
        n_slots = slot_count(8 * (layout.first + layout.second + layout.n_counts))
        self._block_rows = layout.block_rows
        self.n_used = n_slots if n_rows is None else min(n_slots, -(-n_rows // layout.block_rows))
        moments = bool(mode & (mixture_pass.MOMENTS | mixture_pass.GIVEN))
        self._sums: dict[str, Any] = {
            "counts": np.zeros((self.n_used, layout.n_counts)),
            "first": np.zeros((self.n_used, layout.first if moments else 0)),
            "second": np.zeros((self.n_used, layout.second if moments else 0)),
            "likelihood": np.zeros((self.n_used, lanes)),
        }
        settings: dict[str, Any] = {
            "lanes": lanes,
            "mode": mode,
            "n_slots": n_slots,
            "diagonal": diagonal,
            "margin": np.inf,
            "near": np.empty(0, np.int64),
            **parameters._asdict(),
        }
        members = layout.task_type._fields
        self._settings = {name: settings[name] for name in members if name in settings}
        self._affine: tuple[Any, Any] | None = None
        prunes = mode in (mixture_pass.MOMENTS, mixture_pass.LOG_LIKELIHOOD)
        if prunes and isinstance(parameters, PassParameters) and len(parameters.intercepts) > 0:
            self._affine = parameters.slopes, parameters.intercepts
        self._task_type, self._kernel = layout.task_type, layout.kernel
        self._operations = layout.operations
        self._run = partial(
            run_slots, n_slots=self.n_used, n_jobs=n_jobs, beside_readers=beside_readers
        )

    @property
    def n_bytes(self) -> int:
        """Size of the sums."""
        return sum(each.nbytes for each in self._sums.values())

    def add(
        self,
        X: npt.NDArray[Any],
        weights: FloatArray | None,
        *,
        log_density: npt.NDArray[Any] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
        responsibilities: npt.NDArray[Any] | None = None,
    ) -> None:
        """Add rows."""
        if labels is not None and len(labels) < len(X):
            raise ValueError("there are more rows than labels: give one for each row")
        kernel, task = self._kernel, self._task(X, weights, log_density, labels, responsibilities)
        if self._affine is not None and labels is None:
            kernel, task = pruning_slot, pruning_task(task, _MARGIN, *self._affine)
        self._run(kernel, task, operations=len(X) * self._operations)
        self.n_blocks += -(-len(X) // self._block_rows)

    def add_cells(
        self,
        X: npt.NDArray[Any],
        weights: FloatArray | None,
        cells: Cells,
        labels: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Add rows in cells, each of which has components of its own."""
        share = cells.members.shape[1] / len(cells.members)
        operations = int(len(X) * self._operations * share)
        task = truncated_task(self._task(X, weights, None, labels, None), cells)
        n_parts, n_cells = 1 + operations // OPERATIONS_AT_ONCE, len(cells.whose)
        for part in range(n_parts):
            begin, end = n_cells * part // n_parts, n_cells * (part + 1) // n_parts
            some = task._replace(
                starts=cells.starts[begin : end + 1],
                whose=cells.whose[begin:end],
                masses=cells.masses[begin:end],
            )
            self._run(truncated_slot, some, operations=operations // n_parts)
        self.n_blocks += self.n_used  # cells are spread over all slots

    def _task(
        self,
        X: npt.NDArray[Any],
        weights: FloatArray | None,
        log_density: npt.NDArray[Any] | None,
        labels: npt.NDArray[np.int64] | None,
        responsibilities: npt.NDArray[Any] | None,
    ) -> Any:
        """Return the task of a pass over rows."""
        return self._task_type(
            X=X,
            weights=np.empty(0) if weights is None else weights,
            first_block=self.n_blocks,
            log_density=np.empty(0, X.dtype) if log_density is None else log_density,
            labels=np.ascontiguousarray(() if labels is None else labels, dtype=np.int64),
            responsibilities=(
                np.empty((0, 0), X.dtype) if responsibilities is None else responsibilities
            ),
            **self._settings,
            **self._sums,
        )

    def sums(self) -> PassSums:
        """Return what the slots added up, in their order."""
        filled = min(self.n_used, self.n_blocks)
        counts, first, second, likelihood = (
            self._sums[name][:filled].sum(axis=0) for name in PassSums._fields
        )
        return PassSums(counts, first, second, likelihood)


def _feature_count(parameters: AnyPass) -> int:
    if isinstance(parameters, FactorPassParameters):
        return parameters.n_features
    return len(parameters.references) // len(parameters.constants)


def statistics_of(
    sums: PassSums,
    parameters: AnyPass,
    *,
    diagonal: bool,
    weight: float,
    log_likelihood: float | None = None,
) -> SufficientStatistics:
    """Return the sums of passes as statistics."""
    assert not isinstance(parameters, ErrorPassParameters)  # whose sums are in units of their own
    n_components = len(parameters.constants)
    n_features = _feature_count(parameters)
    if isinstance(parameters, CompletionParameters | FactorPassParameters | LimitPassParameters):
        reference = parameters.references.reshape(n_components, -1)[:, :n_features]
    elif parameters.shared:
        center = parameters.center.astype(np.float64) + parameters.center_low
        reference = np.repeat(center[None], n_components, axis=0)
    else:
        means = parameters.references.astype(np.float64) + parameters.references_low
        reference = means.reshape(n_components, n_features)
    if isinstance(parameters, FactorPassParameters):
        first, second = _factor_moments(sums, parameters)
    elif isinstance(parameters, LimitPassParameters):
        first = sums.first.reshape(reference.shape)
        second = sums.second.reshape(n_components, n_features, -1)
        second = second[:, :, 0] if diagonal else second + np.tril(second, -1).transpose(0, 2, 1)
    elif diagonal:
        both = unpack_products(sums.first, n_components, 2 * n_features)
        first, second = both[:, :n_features], both[:, n_features:]
    elif parameters.pooled:
        first = unpack_products(sums.first, n_components, n_features)
        total = unpack_blocks(sums.second[None], n_features)[0]
        second = _spread_evenly(sums.counts, first, total)
    else:
        first = sums.first.reshape(n_components, n_features)
        second = unpack_blocks(sums.second.reshape(n_components, -1), n_features)
    found = SufficientStatistics(
        reference=reference,
        counts=sums.counts[:n_components],
        first=first,
        second=second,
        log_likelihood=sums.log_likelihood if log_likelihood is None else log_likelihood,
        weight=weight,
    )
    if not isinstance(parameters, PassParameters) or parameters.inverse_dofs is None:
        return found
    counts, scaled, logarithms = sums.counts.reshape(3, n_components)
    inverse = parameters.inverse_dofs.astype(np.float64)
    gains = np.log1p(n_features * inverse) + expected_logarithms(1.0 / inverse, n_features)
    return StudentStatistics.from_moments(found, scaled, gains * counts - logarithms)


def _factor_moments(
    sums: PassSums, parameters: FactorPassParameters
) -> tuple[FloatArray, FloatArray]:
    """Return first moments, and second ones: of each feature with itself and with the factors."""
    n_components, D = len(parameters.constants), parameters.n_features
    E, q = padded(D), parameters.n_factors
    both = unpack_products(sums.first, ROWS * n_components, 2 * E)[::ROWS]
    products = unpack_products(sums.second, n_components * padded(q), E)
    products = products.reshape(n_components, padded(q), E)[:, :q, :D].transpose(0, 2, 1)
    return both[:, :D], np.concatenate([both[:, E : E + D, None], products], axis=2)


def _spread_evenly(counts: FloatArray, first: FloatArray, total: FloatArray) -> FloatArray:
    """Return second moments with a given sum, and the same covariance for all components."""
    divisors = np.where(counts > 0.0, counts, np.inf)[:, None, None]
    about_center = first[:, :, None] * first[:, None, :] / divisors
    within = total - about_center.sum(axis=0)
    vanished = within.diagonal() <= 8.0 * np.finfo(np.float64).eps * total.diagonal()
    within[vanished] = 0.0
    within[:, vanished] = 0.0
    weight = counts.sum()
    shares = counts / (weight if weight > 0.0 else 1.0)
    second: FloatArray = about_center + shares[:, None, None] * within
    return second
