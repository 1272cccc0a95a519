"""The mixture of some features given the others, for many rows at a time.

Given inputs x, the targets y of a mixture of both have the density Σ_k r_k(x) N(y | m_k(x), C_k):
r_k are the responsibilities for x under its marginal, m_k is linear in x, and C_k does not depend
on it (Bishop, PRML, eqs. 2.81 and 2.82; Ghahramani and Jordan, 1994, "Supervised learning from
incomplete data via an EM approach", NIPS 6). What is missing of x is left out of the mixture
beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.rechunking import recut
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import log_density, responsibilities
from fastgmm.em.missing.patterns import group_rows
from fastgmm.kernels.tiles import BLOCK_ROWS
from fastgmm.mixture.marginals import marginal, partition
from fastgmm.mixture.parameters import MixtureParameters, invert_triangles
from fastgmm.mixture.statistics import FloatArray

_PIECE_BYTES = 2**24
"""Bytes of the components' predictions that are held at once."""

_REMEMBERED_BYTES = 2**26
"""Bytes of the regression matrices of patterns of missing inputs that are kept, about."""

_ONE_GROUP = 1
"""How many rows of one pattern are a group: any number, as each has regression matrices."""

_MOST_STEPS = 200
"""Bisection alone needs fewer to halve an interval down to neighboring numbers."""

_SQRT_TWO_PI = np.sqrt(2.0 * np.pi)


class Regression(NamedTuple):
    """How the targets depend on the inputs that are observed."""

    inputs: MixtureParameters | None  # the mixture of the observed inputs; None if there are none
    center: FloatArray  # (n_observed,): what is taken from inputs first
    # (n_observed, n_components * n_targets): coefficients of all components side by side; None
    # where all are 0
    slopes: FloatArray | None
    intercepts: FloatArray  # (n_components, n_targets): predictions at the center
    factors: FloatArray  # (n_components, n_targets, n_targets): f_k with F_k F_kᵀ = C_k


class Conditionals(NamedTuple):
    """The mixtures of the targets of some rows."""

    shares: FloatArray  # (n_rows, n_components): their weights
    means: FloatArray  # (n_rows, n_components, n_targets): their means
    # (n_components, n_targets, n_targets): factors F_k of their covariances F_k F_kᵀ
    factors: FloatArray

    def mean(self) -> FloatArray:
        """Return the expected targets, shape (n_rows, n_targets)."""
        expected: FloatArray = np.einsum("nk,nkm->nm", self.shares, self.means)
        return expected

    def deviation(self) -> FloatArray:
        """Return the standard deviations of the targets, shape (n_rows, n_targets)."""
        variances = (self.factors**2).sum(axis=2)
        offsets = self._offsets()
        spread = np.einsum("nk,nkm->nm", self.shares, offsets * offsets)
        deviations: FloatArray = np.sqrt(self.shares @ variances + spread)
        return deviations

    def covariance(self) -> FloatArray:
        """Return the covariances of the targets, shape (n_rows, n_targets, n_targets)."""
        within = np.tensordot(self.shares, self.factors @ self.factors.transpose(0, 2, 1), 1)
        offsets = self._offsets() * np.sqrt(self.shares)[:, :, None]
        between: FloatArray = offsets.transpose(0, 2, 1) @ offsets
        return within + between

    def _offsets(self) -> FloatArray:
        """Return means of the components about those of the rows, 0 where nothing is shared.

        For inputs far away their squares overflow, which must not meet a share of 0.
        """
        offsets: FloatArray = self.means - self.mean()[:, None]
        offsets[self.shares == 0.0] = 0.0
        return offsets

    def quantiles(self, levels: FloatArray) -> FloatArray:
        """Return quantiles of each target, shape (n_rows, n_targets, n_levels)."""
        deviations = np.sqrt((self.factors**2).sum(axis=2))
        found = np.empty((len(self.means), self.means.shape[2], len(levels)))
        for m in range(found.shape[1]):
            for i, level in enumerate(levels):
                found[:, m, i] = mixture_quantiles(
                    self.shares, self.means[:, :, m], deviations[:, m], float(level)
                )
        return found

    def draws(self, uniforms: FloatArray, normals: FloatArray) -> FloatArray:
        """Return targets that are drawn from the mixtures."""
        limits = np.cumsum(self.shares, axis=1)
        uniforms = uniforms * limits[:, -1:]
        chosen = np.zeros(uniforms.shape, dtype=np.intp)
        for k in range(limits.shape[1] - 1):
            chosen += uniforms > limits[:, k, None]
        drawn = np.empty(normals.shape)
        for k, factor in enumerate(self.factors):
            rows, numbers = np.nonzero(chosen == k)
            drawn[rows, numbers] = self.means[rows, k] + normals[rows, numbers] @ factor.T
        return drawn.transpose(0, 2, 1)


Evaluation = Callable[[Conditionals, npt.NDArray[np.intp] | slice], FloatArray]
"""What is wanted of the mixtures of some rows, and of their numbers in a piece."""


class Draws:
    """Draws of targets as an evaluation."""

    def __init__(self, n_draws: int, n_targets: int, seed: int) -> None:
        self._shape = (n_draws, n_targets)
        self._seed = seed

    @property
    def row_bytes(self) -> int:
        """Bytes of the random numbers for a row."""
        return 8 * self._shape[0] * (2 + 2 * self._shape[1])

    def begin(self, number: int, n_rows: int) -> None:
        """Draw the random numbers for the rows of a piece."""
        random = np.random.default_rng([self._seed, number])
        self._uniforms = random.random((n_rows, self._shape[0]))
        self._normals = random.standard_normal((n_rows, *self._shape))

    def __call__(
        self, conditionals: Conditionals, rows: npt.NDArray[np.intp] | slice
    ) -> FloatArray:
        """Return the targets, shape (n_rows, n_targets, n_draws)."""
        return conditionals.draws(self._uniforms[rows], self._normals[rows])


class ConditionalMixture:
    """The mixture of targets given inputs."""

    def __init__(self, joint: MixtureParameters, targets: npt.NDArray[np.intp]) -> None:
        self.joint = joint
        self.targets = targets
        self.inputs = np.setdiff1d(np.arange(joint.n_features), targets)
        self._by_pattern: dict[bytes, Regression] = {}
        self._complete = self._regression(np.ones(len(self.inputs), dtype=bool))

    def rows_at_once(self, row_bytes: int = 0) -> int:
        """Return how many rows are evaluated at a time, whole blocks of them."""
        K, n_targets = self.joint.n_components, len(self.targets)
        values = self.joint.n_features + 2 * K * (1 + n_targets) + n_targets**2
        return BLOCK_ROWS * max(1, _PIECE_BYTES // (BLOCK_ROWS * (8 * values + row_bytes)))

    def evaluate(
        self,
        source: Source,
        evaluation: Evaluation,
        *,
        begin: Callable[[int, int], None] | None = None,
        row_bytes: int = 0,
        n_jobs: int | None = None,
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield what is wanted of the conditional mixtures of rows, piece by piece.

        The pieces do not depend on the blocks that the rows come in.
        """
        with closing(source.blocks()) as blocks:  # type: ignore[type-var]
            for number, (X, _) in enumerate(recut(blocks, self.rows_at_once(row_bytes))):
                if begin is not None:
                    begin(number, len(X))
                with one_blas_thread():
                    values = self._piece(X, evaluation, n_jobs)
                yield values

    def log_density(self, rows: ArraySource, *, n_jobs: int | None = None) -> FloatArray:
        """Return the log-density of the targets given the inputs, for rows of both."""
        X = rows.X.astype(np.float64, copy=False)
        whole = ArraySource(X, incomplete=rows.incomplete)
        inputs = ArraySource(X[:, self.inputs], incomplete=rows.incomplete)
        assert self._complete.inputs is not None
        given = log_density(inputs, self._complete.inputs, n_jobs=n_jobs)
        density: FloatArray = log_density(whole, self.joint, n_jobs=n_jobs) - given
        return density

    def _piece(self, X: npt.NDArray[Any], evaluation: Evaluation, n_jobs: int | None) -> FloatArray:
        """Return the values of some rows."""
        X = X.astype(np.float64, copy=False)
        groups = group_rows(X, _ONE_GROUP, n_jobs=n_jobs).large
        if len(groups) == 1 and len(groups[0].values) == len(X):
            regression = self._regression(groups[0].is_observed)
            conditionals = self._conditionals(groups[0].values, regression, n_jobs)
            return evaluation(conditionals, slice(None))
        values: FloatArray | None = None
        for rows, is_observed, observed in groups:
            conditionals = self._conditionals(observed, self._regression(is_observed), n_jobs)
            found = evaluation(conditionals, rows)
            if values is None:
                values = np.empty((len(X), *found.shape[1:]))
            values[rows] = found
        assert values is not None  # a piece has a row at least
        return values

    def _regression(self, is_observed: npt.NDArray[np.bool_]) -> Regression:
        """Return how targets depend on some of the inputs, worked out or remembered."""
        pattern = is_observed.tobytes()
        if pattern not in self._by_pattern:
            bytes_of_one = 16 * self.joint.n_components * self.joint.n_features**2
            if len(self._by_pattern) * bytes_of_one > _REMEMBERED_BYTES:
                self._by_pattern.clear()
            self._by_pattern[pattern] = self._regression_on(is_observed)
        return self._by_pattern[pattern]

    def _regression_on(self, is_observed: npt.NDArray[np.bool_]) -> Regression:
        """Work out how targets depend on some of the inputs."""
        joint, targets = self.joint, self.targets
        observed = self.inputs[is_observed]
        n_observed = len(observed)
        if not n_observed:
            alone = marginal(joint, targets)
            factors = (
                1.0 / alone.whiteners if alone.is_diagonal else invert_triangles(alone.whiteners)
            )
            return Regression(None, np.empty(0), None, alone.means, _matrices(factors))
        part = marginal(joint, np.concatenate([observed, targets]))
        parts = partition(part, np.arange(part.n_features) < n_observed)
        weights = joint.weights
        center = weights @ parts.marginal.means / weights.sum()
        slopes, intercepts = None, parts.means
        if parts.coefficients is not None:
            offsets = center - parts.marginal.means
            intercepts = intercepts + np.einsum("kmd,kd->km", parts.coefficients, offsets)
            slopes = parts.coefficients.reshape(-1, n_observed).T
        return Regression(parts.marginal, center, slopes, intercepts, _matrices(parts.factors))

    def _conditionals(
        self, X: FloatArray, regression: Regression, n_jobs: int | None
    ) -> Conditionals:
        """Return the mixtures of the targets of rows of observed inputs."""
        shape = (len(X), *regression.intercepts.shape)
        if regression.inputs is None:
            weights = self.joint.weights
            shares = np.broadcast_to(weights / weights.sum(), shape[:2])
        else:
            shares = responsibilities(ArraySource(X), regression.inputs, n_jobs=n_jobs)
        if regression.slopes is None:
            means = np.broadcast_to(regression.intercepts, shape)
        else:
            means = ((X - regression.center) @ regression.slopes).reshape(shape)
            means += regression.intercepts
        return Conditionals(shares, means, regression.factors)


def _matrices(factors: FloatArray) -> FloatArray:
    """Return factors as matrices, whether they are or are standard deviations."""
    return factors[:, :, None] * np.eye(factors.shape[1]) if factors.ndim == 2 else factors


def mixture_quantiles(
    shares: FloatArray, means: FloatArray, deviations: FloatArray, level: float
) -> FloatArray:
    """Return the quantile of one level of each row's mixture.

    It is the root of the distribution function, and lies between the least and the greatest of
    the components' own quantiles. Newton's method on the logarithm of the function finds it, with
    a bisection wherever a step leaves that interval or does not halve the step before it. Levels
    above one half are those of the mirrored mixture, so that both tails keep their digits.
    """
    if level > 0.5:
        return -mixture_quantiles(shares, -means, deviations, 1.0 - level)
    z = float(ndtri(level))
    own = means + deviations * z
    low = np.where(shares > 0.0, own, np.inf).min(axis=1)
    high = np.where(shares > 0.0, own, -np.inf).max(axis=1)
    middle = (shares * means).sum(axis=1)
    squares = deviations**2 + (means - middle[:, None]) ** 2
    found: FloatArray = np.clip(middle + z * np.sqrt((shares * squares).sum(axis=1)), low, high)
    tolerance = 1e-14 * deviations.min() + 2e-16 * np.maximum(np.abs(low), np.abs(high))
    active = np.flatnonzero(high - low > tolerance)
    low, high, tolerance = low[active], high[active], tolerance[active]
    before = high - low
    for _ in range(_MOST_STEPS):
        if not len(active):
            break
        at = found[active]
        standard = (at[:, None] - means[active]) / deviations
        probability = (shares[active] * ndtr(standard)).sum(axis=1)
        heights = shares[active] / deviations * np.exp(-0.5 * standard**2)
        density = heights.sum(axis=1) / _SQRT_TWO_PI
        below = probability < level
        low, high = np.where(below, at, low), np.where(below, high, at)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = at - np.log(probability / level) * probability / density
            usable = (newton >= low) & (newton <= high) & (np.abs(newton - at) <= 0.5 * before)
        moved = np.where(usable, newton, 0.5 * (low + high))
        found[active] = moved
        before = np.abs(moved - at)
        going_on = (before > tolerance) & (high - low > tolerance)
        active, before, tolerance = active[going_on], before[going_on], tolerance[going_on]
        low, high = low[going_on], high[going_on]
    return found
