"""Structures with varying volumes of one common shape: Σ_k = λ_k C, in some sense of C.

With λ_k = e^-u_k, the best C for given volumes is ``sum_k w_k e^u_k S_k``, w_k being the
components' shares of the points, and what is left to minimize over u is

    log|sum_k w_k e^u_k S_k| - D sum_k w_k u_k,

which is convex: there is one optimum. Celeux and Govaert (1995) take turns between C and the λ_k;
here Newton's steps, of which there are few, take the place of the many small ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastgmm.mixture.parameters import invert_triangles
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures.covariance_structure import CovarianceStructure, Spread
from fastgmm.mixture.structures.principal_axes import compose, principal_axes
from fastgmm.mixture.structures.volumes import log_volumes
from fastgmm.mixture.structures.whitening import (
    ill_defined,
    make_regular,
    require_variances,
    whiten_matrices,
)

_MOST_STEPS = 200
_LAST_STEP = 1e-7
"""A Newton step that changes no logarithm of a volume by more is the last; it squares the error."""

_NO_GAIN = 1e-20
"""A step that gains less, in nats a row, moves along what is flat but for rounding."""

_ROUNDING = 1e-13
"""So much more, beside its size, does not count as a rise of the criterion."""

_FLAT = 1e-14
"""Curvature that stands in for none, beside curvatures of up to 1."""

_LONGEST_STEP = 50.0
_MOST_HALVINGS = 30
_SUFFICIENT = 0.1
"""A step has to gain this share of what its slope promises, or is halved."""

_FARTHEST = 600.0
"""Logarithms of volumes that are farther apart are beyond float64."""

_UNSETTLED = 1e-6
"""Relative size of a gradient that is more than rounding."""


class _Balance(NamedTuple):
    """The common shape for given volumes, and each component's part in it.

    Attributes
    ----------
    log_determinant : float
        That of C.
    parts : ndarray of shape (n_components, ...)
        C^-1/2 (w_k e^u_k S_k) C^-1/2, which sum to the identity; flattened.
    traces : ndarray of shape (n_components,)
        Their traces.
    """

    log_determinant: float
    parts: FloatArray
    traces: FloatArray


_NOWHERE = _Balance(np.inf, np.empty(0), np.empty(0))

_Measure = Callable[[FloatArray], _Balance]
"""Returns the balance for weights w_k e^u_k of the components."""


class VaryingVolumesDiagonal(CovarianceStructure):
    """Each component has a volume of its own, and all the same diagonal shape."""

    letters = "VEI"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of the components."""
        return 1.0 / np.sqrt(_balanced_variances(spread))


class VaryingVolumesOwnOrientations(CovarianceStructure):
    """Each component has a volume and an orientation of its own, and all the same shape."""

    letters = "VEV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of variances of one shape along each component's principal axes."""
        spread = _regular(spread)
        variances, axes = principal_axes(spread.covariances)
        if not (spread.shares @ variances).all():
            raise ill_defined(0, "its features are linearly dependent", 1)
        balanced = _balanced_variances(replace(spread, covariances=variances))
        return whiten_matrices(compose(balanced, axes), spread.regularization)


class VaryingVolumes(CovarianceStructure):
    """Each component has a volume of its own, and all the same shape and orientation."""

    letters = "VEE"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the components."""
        spread = _regular(spread)
        (white,) = whiten_matrices(spread.pooled()[None], spread.regularization)
        # Beside the pooled covariance, features have no units, and no correlations to speak of.
        relative = white @ spread.covariances @ white.T
        present = relative[spread.shares > 0.0]

        def measure(factors: FloatArray) -> _Balance:
            weighted = factors[:, None, None] * present
            root = np.linalg.cholesky(weighted.sum(axis=0))
            (inverse,) = invert_triangles(root[None])
            parts = inverse @ weighted @ inverse.T
            return _Balance(
                2.0 * float(np.log(np.diagonal(root)).sum()),
                parts.reshape(len(parts), -1),
                np.einsum("kii->k", parts),
            )

        factors = _balanced_factors(spread, np.einsum("kii->k", present), measure)
        shape = np.tensordot(factors, present, axes=1)
        (common,) = whiten_matrices(shape[None], spread.regularization)
        volumes = np.einsum("kii->k", common @ relative @ common.T) / len(white)
        whiteners: FloatArray = (common @ white) / np.sqrt(volumes)[:, None, None]
        return whiteners


def _regular(spread: Spread) -> Spread:
    """Return a spread without singular covariances, if the regularization is to prevent them."""
    if spread.regularization.is_zero:
        return spread
    return replace(spread, covariances=make_regular(spread.covariances, spread.regularization))


def _balanced_variances(spread: Spread) -> FloatArray:
    """Return variances of one shape, and of a volume for each component, that fit best."""
    pooled = spread.pooled()
    require_variances(pooled[None])
    relative = spread.covariances / pooled
    present = relative[spread.shares > 0.0]

    def measure(factors: FloatArray) -> _Balance:
        weighted = factors[:, None] * present
        shape = weighted.sum(axis=0)
        parts = weighted / shape
        return _Balance(float(np.log(shape).sum()), parts, parts.sum(axis=1))

    factors = _balanced_factors(spread, present.sum(axis=1), measure)
    shape = factors @ present
    volumes = (relative / shape).mean(axis=1, keepdims=True)
    balanced: FloatArray = volumes * (shape * pooled)
    return balanced


def _balanced_factors(spread: Spread, traces: FloatArray, measure: _Measure) -> FloatArray:
    """Return the w_k e^u_k that minimize the criterion, for the components that have points."""
    present = spread.shares > 0.0
    shares = spread.shares[present]
    if not traces.all():
        lost = int(np.flatnonzero(present)[np.argmin(traces)])
        raise ill_defined(lost, "its variances are all 0", len(present))
    if spread.before is None:
        start = np.zeros_like(shares)
    else:
        start = -log_volumes(spread.before.whiteners[present])
    descent = _Descent(shares, spread.covariances.shape[1], measure, start)
    if spread.before is None:
        # Celeux and Govaert's step, which lands near the optimum from however far away.
        descent.go(-np.log(traces))
    for _ in range(_MOST_STEPS):
        if not descent.step():
            break
    if not descent.is_at_rest and spread.regularization.is_zero:
        narrowest = int(np.flatnonzero(present)[np.argmax(descent.exponents)])
        why = "its points lie in too few directions for the shape of all components"
        raise ill_defined(narrowest, why, len(present))
    return shares * np.exp(descent.exponents)


class _Descent:
    """Steps of Newton's method towards the best u.

    Where volumes to begin with are too far apart, it begins with equal ones.
    """

    def __init__(
        self, shares: FloatArray, n_features: int, measure: _Measure, start: FloatArray
    ) -> None:
        self.shares = shares
        self.n_features = n_features
        self.measure = measure
        self.exponents, self.balance = np.zeros_like(shares), _NOWHERE
        if not self.go(start):
            self.balance = measure(shares)

    @property
    def _wanted(self) -> FloatArray:
        """What the traces are at the optimum."""
        return self.n_features * self.shares

    @property
    def is_at_rest(self) -> bool:
        """Whether this is the optimum: the gradient stays away from 0 where there is none."""
        return bool((np.abs(self.balance.traces / self._wanted - 1.0) < _UNSETTLED).all())

    def step(self) -> bool:
        """Take a step, and say whether another one is worth it."""
        traces = self.balance.traces
        gradient = traces - self._wanted
        # The Hessian is diag(traces) - parts parts^T. It has no curvature along equal changes of
        # all u, which change nothing; what is added keeps the step from going there.
        scales = np.sqrt(traces)
        parts = self.balance.parts / scales[:, None]
        curvature = np.multiply.outer(scales, scales) / self.n_features - parts @ parts.T
        curvature.flat[:: len(curvature) + 1] += 1.0 + _FLAT
        newton = np.linalg.solve(curvature, -gradient / scales) / scales
        gain = -float(gradient @ newton)
        longest = np.abs(newton).max()
        if longest <= _LAST_STEP:
            self.exponents = self.exponents + newton
            return False
        if gain <= _NO_GAIN:
            return False
        length = min(1.0, _LONGEST_STEP / longest)
        for _ in range(_MOST_HALVINGS):
            if self.go(length * newton, _SUFFICIENT * length * gain):
                return True
            length *= 0.5
        return False

    def go(self, step: FloatArray, fall: float = 0.0) -> bool:
        """Take a step if the criterion falls by so much; say whether it was taken."""
        exponents = self.exponents + step
        exponents -= self.shares @ exponents
        try:
            if exponents.max() - exponents.min() > _FARTHEST:
                raise np.linalg.LinAlgError
            balance = self.measure(self.shares * np.exp(exponents))
        except np.linalg.LinAlgError:
            return False
        now = balance.log_determinant
        enough = self.balance.log_determinant - fall + _ROUNDING * (1.0 + abs(now))
        if not now <= enough:
            return False
        self.exponents, self.balance = exponents, balance
        return True
