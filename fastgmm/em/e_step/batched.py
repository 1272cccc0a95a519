"""EM of many mixtures at once, on rows so few that a pass costs less than what is around it.

The mixtures are *stacked*: M of them, of K components each, are held as one of M · K components,
those of the first mixture first. Each is fitted on its own; only the calls are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.problem import ROUNDING
from fastgmm.kernels.packing import block_count, pack_lower, padded, unpack_blocks, unpack_products
from fastgmm.kernels.stacked_pass import StackedTask, stacked_slot
from fastgmm.kernels.threads import run_slots
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure
from fastgmm.mixture.structures.parsimonious import (
    Diagonal,
    Full,
    OneVariance,
    Spherical,
    Tied,
    TiedDiagonal,
    TiedSpherical,
)

IndexArray = npt.NDArray[np.int64]

_LANES = 64
_EXPONENTIAL = 40

_UNTIED: dict[type[CovarianceStructure], CovarianceStructure] = {
    Tied: Full(),
    TiedDiagonal: Diagonal(),
    TiedSpherical: Spherical(),
    OneVariance: Spherical(),
}
"""What becomes of pooled covariances, one of each mixture, is what becomes of a component's own."""


@dataclass(frozen=True, slots=True, eq=False)
class RowSets:
    """Sets of rows, or of weights of the same rows, and which of them each mixture is fitted to."""

    X: FloatArray  # (n_row_sets, n_samples, n_features): rows, float64
    weights: FloatArray | None  # (n_weight_sets, n_samples): weights of the rows
    rows_of: IndexArray  # (n_mixtures,): which rows each mixture is fitted to
    weights_of: IndexArray  # (n_mixtures,): which weights; zeros where there are none

    @classmethod
    def reweighted(cls, X: FloatArray, weights: FloatArray) -> RowSets:
        """Return the same rows under several weights, for one mixture each."""
        n = len(weights)
        return cls(X[None], weights, np.zeros(n, np.int64), np.arange(n))

    @classmethod
    def separate(cls, X: FloatArray) -> RowSets:
        """Return several sets of rows, for one mixture each."""
        n = len(X)
        return cls(X, None, np.arange(n), np.zeros(n, np.int64))

    @property
    def n_mixtures(self) -> int:
        """Number of mixtures that are fitted."""
        return len(self.rows_of)

    def total_weights(self) -> FloatArray:
        """Return the sum of the weights that each mixture is fitted to, shape (n_mixtures,)."""
        if self.weights is None:
            return np.full(self.n_mixtures, float(self.X.shape[1]))
        totals: FloatArray = self.weights.sum(axis=1)[self.weights_of]
        return totals

    def of(self, mixtures: IndexArray) -> RowSets:
        """Return what some of the mixtures are fitted to, or some of them several times."""
        return replace(self, rows_of=self.rows_of[mixtures], weights_of=self.weights_of[mixtures])


@dataclass(frozen=True, slots=True, eq=False)
class StackedFit:
    """What EM of many mixtures found."""

    parameters: MixtureParameters  # the fitted mixtures, stacked
    log_likelihoods: FloatArray  # (n_mixtures,): mean log-likelihood of each, in nats
    converged: npt.NDArray[np.bool_]  # (n_mixtures,): which of them converged
    sound: npt.NDArray[np.bool_]
    """(n_mixtures,): which of them are what EM of them alone would find. In the others a component
    lost its points or its spread, so that more is to be done than is done here.
    """
    n_iter: IndexArray  # (n_mixtures,): number of M-steps of each


def stacked(mixtures: list[MixtureParameters]) -> MixtureParameters:
    """Return mixtures of the same shape as one, component after component."""
    return MixtureParameters(
        *(
            np.concatenate([getattr(each, name) for each in mixtures])
            for name in ("log_weights", "means", "whiteners", "log_normalizers")
        )
    )


def components_of(mixtures: IndexArray, n_components: int) -> IndexArray:
    """Return where the components of some mixtures of a stack are."""
    places: IndexArray = (mixtures[:, None] * n_components + np.arange(n_components)).ravel()
    return places


def stacked_statistics(
    sets: RowSets,
    parameters: MixtureParameters,
    *,
    n_jobs: int | None = None,
) -> tuple[SufficientStatistics, FloatArray]:
    """Return the statistics of the responsibilities under each mixture: one E-step of all."""
    M = sets.n_mixtures
    K = parameters.n_components // M
    _, N, D = sets.X.shape
    diagonal = parameters.is_diagonal
    constants = (parameters.log_weights + parameters.log_normalizers).reshape(M, K)
    offsets = constants.max(axis=1)
    whiteners = parameters.whiteners if diagonal else pack_lower(parameters.whiteners)
    first = padded(K) * padded(2 * D) if diagonal else K * D
    second = 0 if diagonal else K * 16 * block_count(D)
    task = StackedTask(
        X=sets.X,
        weights=np.empty((1, 0)) if sets.weights is None else sets.weights,
        rows_of=sets.rows_of,
        weights_of=sets.weights_of,
        lanes=_LANES,
        diagonal=diagonal,
        constants=constants - offsets[:, None],
        offsets=offsets,
        whiteners=whiteners.reshape(M, -1),
        references=parameters.means.reshape(M, -1),
        nothing=np.zeros(K * D),
        counts=np.zeros((M, 1, K)),
        first=np.zeros((M, 1, first)),
        second=np.zeros((M, 1, second)),
        likelihood=np.zeros((M, 1, _LANES)),
        log_density=np.empty(0),
        labels=np.empty(0, np.int64),
        responsibilities=np.empty((0, 0)),
    )
    operations = M * N * K * ((4 * D if diagonal else 2 * D * (D + 1)) + _EXPONENTIAL)
    run_slots(stacked_slot, task, M, n_jobs, operations)
    if diagonal:
        both = [unpack_products(each[0], K, 2 * D) for each in task.first]
        products = [(each[:, :D], each[:, D:]) for each in both]
        firsts = np.concatenate([each[0] for each in products])
        seconds = np.concatenate([each[1] for each in products])
    else:
        firsts = task.first.reshape(M * K, D)
        seconds = unpack_blocks(task.second.reshape(M * K, -1), D)
    totals = sets.total_weights()
    log_likelihoods = task.likelihood.sum(axis=(1, 2))
    statistics = SufficientStatistics(
        reference=parameters.means,
        counts=task.counts.ravel(),
        first=firsts,
        second=seconds,
        log_likelihood=float(log_likelihoods.sum()),
        weight=float(totals.max()),
    )
    return statistics, log_likelihoods / totals


def solve_stack(
    structure: CovarianceStructure,
    statistics: SufficientStatistics,
    n_components: int,
    regularization: Regularization,
    before: MixtureParameters | None = None,
) -> MixtureParameters:
    """Take the M-step of each of many mixtures."""
    counts = statistics.counts.reshape(-1, n_components)
    with np.errstate(divide="ignore"):
        log_weights = np.log(counts / counts.sum(axis=1, keepdims=True)).ravel()
    if not structure.is_coupled:
        solved = structure.solve(statistics, regularization)
        return replace(solved, log_weights=log_weights)
    untied = _UNTIED.get(type(structure))
    if untied is None:
        return _solve_each(structure, statistics, n_components, regularization, before)
    shares = np.exp(log_weights).reshape(counts.shape)
    covariances = statistics.covariances()
    each = covariances.reshape(*counts.shape, *covariances.shape[1:])
    pooled = np.einsum("mk,mk...->m...", shares, each)
    n_mixtures = len(counts)
    as_one = SufficientStatistics(
        reference=np.zeros((n_mixtures, statistics.n_features)),
        counts=np.ones(n_mixtures),
        first=np.zeros((n_mixtures, statistics.n_features)),
        second=pooled,
        log_likelihood=np.nan,
        weight=float(n_mixtures),
    )
    whiteners = untied.solve(as_one, regularization).whiteners
    return MixtureParameters.from_log_weights(
        log_weights, statistics.means(), np.repeat(whiteners, n_components, axis=0)
    )


def fit_stack(
    sets: RowSets,
    starts: MixtureParameters,
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    tol: float,
    max_iter: int,
    n_jobs: int | None = None,
) -> StackedFit:
    """Fit many mixtures by EM, each from one start.

    Each ends, as in `em.loop`, when its mean log-likelihood changes by less than `tol` from one
    pass to the next, and its result is what that last pass measured.
    """
    M = sets.n_mixtures
    K = starts.n_components // M
    parameters = MixtureParameters(
        starts.log_weights.copy(),
        starts.means.copy(),
        starts.whiteners.copy(),
        starts.log_normalizers.copy(),
    )
    values = np.full(M, -np.inf)
    n_iter = np.zeros(M, np.int64)
    converged = np.zeros(M, dtype=bool)
    sound = np.ones(M, dtype=bool)
    going = np.arange(M)
    current = starts
    with one_blas_thread():
        for iteration in range(max_iter + 1):
            statistics, found = stacked_statistics(sets.of(going), current, n_jobs=n_jobs)
            before = values[going]
            empty = statistics.empty().reshape(-1, K).any(axis=1)
            fallen = ~(found >= before - ROUNDING[8] * (1.0 + np.abs(before)))
            fallen &= np.isfinite(before)
            spoilt = empty | fallen | ~np.isfinite(found)
            sound[going[spoilt]] = False
            _keep(parameters, current, going, K)
            values[going] = found
            n_iter[going] = iteration
            resting = np.abs(found - before) < tol
            converged[going[resting & ~spoilt]] = True
            left = np.flatnonzero(~(resting | spoilt))
            if not len(left) or iteration == max_iter:
                break
            places = components_of(left, K)
            statistics = statistics.of(places)
            current, solved = _solve_sound(
                structure, statistics, K, regularization, current.of(places)
            )
            going = going[left]
            sound[going[~solved]] = False
            going = going[solved]
            if not len(going):
                break
    return StackedFit(parameters, values, converged, sound, n_iter)


def _solve_sound(
    structure: CovarianceStructure,
    statistics: SufficientStatistics,
    n_components: int,
    regularization: Regularization,
    before: MixtureParameters,
) -> tuple[MixtureParameters, npt.NDArray[np.bool_]]:
    """Take the M-step of those mixtures in which it is defined, and say which they are."""
    M = statistics.n_components // n_components
    try:
        solved = solve_stack(structure, statistics, n_components, regularization, before)
        return solved, np.ones(M, dtype=bool)
    except IllDefinedCovarianceError:
        mixtures = []
        defined = np.zeros(M, dtype=bool)
        for m in range(M):
            places = components_of(np.array([m]), n_components)
            try:
                mixtures.append(
                    structure.solve(statistics.of(places), regularization, before.of(places))
                )
            except IllDefinedCovarianceError:
                continue
            defined[m] = True
        return (stacked(mixtures) if mixtures else before), defined


def _solve_each(
    structure: CovarianceStructure,
    statistics: SufficientStatistics,
    n_components: int,
    regularization: Regularization,
    before: MixtureParameters | None,
) -> MixtureParameters:
    """Take the M-step of each mixture on its own, where they cannot be taken together."""
    mixtures = []
    for first in range(0, statistics.n_components, n_components):
        places = slice(first, first + n_components)
        own = None if before is None else before.of(places)
        mixtures.append(structure.solve(statistics.of(places), regularization, own))
    return stacked(mixtures)


def _keep(
    parameters: MixtureParameters,
    current: MixtureParameters,
    mixtures: IndexArray,
    n_components: int,
) -> None:
    """Write the current parameters of some mixtures into those of all."""
    places = components_of(mixtures, n_components)
    for name in ("log_weights", "means", "whiteners", "log_normalizers"):
        getattr(parameters, name)[places] = getattr(current, name)
