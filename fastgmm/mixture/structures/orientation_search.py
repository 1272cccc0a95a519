"""The orientation that covariances share best: a search over orthogonal matrices.

With S_k the covariances and w_k the shares of the components, let t_kj be the j-th diagonal entry
of T_k = D^T S_k D. The criterion to minimize over the orthogonal D is

    sum_k w_k sum_j log t_kj                       if volumes vary (VVE; Flury, 1984), and
    D log sum_k w_k (prod_j t_kj)^(1/D)            if they are equal (EVE),

that is, what remains of the expected log-likelihood once shapes and volumes are the best for D
(Celeux and Govaert, 1995). Browne and McNicholas (2014, "Estimating common principal components in
high dimensions", Adv. Data Anal. Classif. 8) descend by majorization, in a number of steps that
grows with the ratio of the variances. Here each step is one of Newton's over the skew-symmetric
matrices X of D exp(X), by conjugate gradients (Nocedal and Wright, *Numerical Optimization*,
algorithm 7.1; Absil, Mahony and Sepulchre, *Optimization Algorithms on Matrix Manifolds*).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastgmm.mixture.statistics import FloatArray

_MOST_STEPS = 50
_MOST_STEPS_AGAIN = 10
"""Where there is an orientation to go on from, the next M-step goes on from the result."""

_CONVERGED = 1e-14
"""A step of Newton's that gains less, in nats a row, is the last; it squares what is missing."""

_AT_REST = 1e-28
_ROUNDING = 1e-14
_MOST_CONJUGATE_STEPS = 60
_ROUGHEST = 0.25
_LARGEST_ANGLE = 0.7
_MOST_HALVINGS = 12
_SUFFICIENT = 1e-4
_LEAST_CURVATURE = 1e-3
_MOST_FEATURES_OF_TENSOR = 128
"""With more features, a tensor of three times so many dimensions takes too much memory."""

_FOLLOWED = 4
"""So many starts are followed to their optimum, of those that begin best."""


class _Point(NamedTuple):
    """An orientation and what there is to know about it.

    Attributes
    ----------
    axes : ndarray of shape (n_features, n_features)
        D, axes as columns.
    turned : ndarray of shape (n_components, n_features, n_features)
        T_k.
    variances : ndarray of shape (n_components, n_features)
        t_kj.
    shares : ndarray of shape (n_components,)
        How much a relative change of a component's volume changes the criterion: w_k, or its
        share of the sum of the volumes.
    value : float
        The criterion.
    """

    axes: FloatArray
    turned: FloatArray
    variances: FloatArray
    shares: FloatArray
    value: float


class OrientationSearch:
    """A search for the orientation that suits some covariances."""

    def __init__(self, covariances: FloatArray, shares: FloatArray, equal_volumes: bool) -> None:
        n_features = covariances.shape[1]
        size = np.einsum("kii->k", covariances).mean() / n_features
        self.covariances = covariances / size
        self.shares = shares
        self.equal_volumes = equal_volumes
        self.identity = np.eye(n_features)

    def best(self, starts: Sequence[FloatArray], before: FloatArray | None = None) -> FloatArray:
        """Return the best orientation found."""
        points = sorted((self._at(axes) for axes in starts), key=lambda point: point.value)
        found = []
        if before is not None:
            here = self._at(before)
            found.append(self._descend(here, _MOST_STEPS_AGAIN))
            points = [point for point in points if point.value < here.value]
        found += [self._descend(point, _MOST_STEPS) for point in points[:_FOLLOWED]]
        return min(found, key=lambda point: point.value).axes

    def _at(self, axes: FloatArray) -> _Point:
        turned = axes.T @ (self.covariances @ axes)
        variances = np.einsum("kii->ki", turned)
        if variances.min() <= 0.0:
            # The rounding of axes that are not quite orthogonal to those of large variances.
            variances = np.maximum(variances, np.finfo(np.float64).tiny)
        log_volumes = np.log(variances).mean(axis=1)
        n_features = len(axes)
        if not self.equal_volumes:
            value = n_features * float(self.shares @ log_volumes)
            return _Point(axes, turned, variances, self.shares, value)
        largest = log_volumes.max()
        volumes = self.shares * np.exp(log_volumes - largest)
        total = volumes.sum()
        value = n_features * float(largest + np.log(total))
        return _Point(axes, turned, variances, volumes / total, value)

    def _descend(self, point: _Point, most_steps: int) -> _Point:
        """Return the nearest optimum, or how far that many steps lead."""
        for _ in range(most_steps):
            curvature = _Curvature(point, self.equal_volumes)
            direction = curvature.newton_direction()
            if direction is None:
                break
            slope = float(np.vdot(curvature.gradient, direction))
            largest = np.abs(direction).max()
            if largest > _LARGEST_ANGLE:
                direction *= _LARGEST_ANGLE / largest
            lower = self._lower(point, direction, float(np.vdot(curvature.gradient, direction)))
            if lower is None:
                break
            point = lower
            if slope > -_CONVERGED:
                break
        return point

    def _lower(self, point: _Point, direction: FloatArray, slope: float) -> _Point | None:
        """Return a lower point in a direction, with steps halved until it is; None if none is."""
        length = 1.0
        rounding = _ROUNDING * (1.0 + abs(point.value))
        for _ in range(_MOST_HALVINGS):
            half = (0.5 * length) * direction
            # Cayley's transform: orthogonal, and equal to exp(2 half) to the second order.
            rotation = np.linalg.solve(self.identity - half, self.identity + half)
            new = self._at(point.axes @ rotation)
            if new.value <= point.value + _SUFFICIENT * length * slope + rounding:
                return new
            length *= 0.5
        return None


class _Curvature:
    """The criterion about a point, to second order in the skew-symmetric X of D exp(X).

    With c_kj = π_k / t_kj, C_k = diag(c_k) and π_k the shares of the point, the gradient is the
    skew-symmetric G = sum_k (T_k C_k - C_k T_k).
    """

    def __init__(self, point: _Point, equal_volumes: bool) -> None:
        self.point = point
        self.equal_volumes = equal_volumes
        _, turned, variances, shares, _ = point
        self.weights = shares[:, None] / variances
        scaled = np.einsum("ki,kij->ij", self.weights, turned)
        self.gradient = scaled.T - scaled
        self._linear = scaled + 0.5 * self.gradient
        self._tensor = self._own_row_tensor() if len(scaled) <= _MOST_FEATURES_OF_TENSOR else None
        # Where T_k are diagonal, the Hessian is too, with these entries.
        ratios = self.weights.T @ variances
        self._diagonal = ratios + ratios.T - 2.0 * shares.sum() + _LEAST_CURVATURE

    def times(self, X: FloatArray) -> FloatArray:
        """Return the product of the Hessian and a skew-symmetric matrix.

        From the derivative of the gradient along X, T_k' = T_k X - X T_k, made symmetric as a
        bilinear form.
        """
        half = self._linear @ X
        if self._tensor is None:
            _, turned, variances, _, _ = self.point
            products = turned @ X
            half += np.einsum("ki,kji->ij", self.weights, products)
            # Half the relative changes of t.
            changes = np.einsum("kii->ki", products) / variances
            half -= 2.0 * np.einsum("ki,kij->ij", self.weights * changes, turned)
        else:
            half += (self._tensor @ X.T[:, :, None])[:, :, 0]
        if self.equal_volumes:
            half += self._change_of_shares(X)
        product: FloatArray = half.T - half
        return product

    def _own_row_tensor(self) -> FloatArray:
        """Return what makes row i of the product from column i of X, for each i.

        Entry ijl is ``sum_k c_ki (T_kjl - 2 T_kij T_kil / t_ki)``. The components are summed up
        once, and no longer in each product.
        """
        _, turned, variances, shares, _ = self.point
        n_components, n_features = variances.shape
        tensor = self.weights.T @ turned.reshape(n_components, -1)
        scaled = turned * (np.sqrt(shares)[:, None] / variances)[:, :, None]
        own: FloatArray = tensor.reshape((n_features,) * 3)
        own -= 2.0 * (scaled.transpose(1, 2, 0) @ scaled.transpose(1, 0, 2))
        return own

    def _change_of_shares(self, X: FloatArray) -> FloatArray:
        """Return what the change of the volumes, and with them of the shares π_k, adds."""
        _, turned, variances, shares, _ = self.point
        flat = (turned / variances[:, :, None]).reshape(len(turned), -1)
        volumes = flat @ X.T.ravel() * (2.0 / len(X))  # their relative changes
        added: FloatArray = ((volumes - shares @ volumes) * shares) @ flat
        return added.reshape(X.shape)

    def newton_direction(self) -> FloatArray | None:
        """Return Newton's step, or as far on the way there as the criterion bends up."""
        residual = -self.gradient
        preconditioned = residual / self._diagonal
        conjugate: FloatArray = preconditioned
        first = size = float(np.vdot(residual, preconditioned))
        if first <= _AT_REST:
            return None
        enough = min(_ROUGHEST**2, first) * first
        direction: FloatArray = np.zeros_like(residual)
        for step in range(_MOST_CONJUGATE_STEPS):
            image = self.times(conjugate)
            bend = float(np.vdot(conjugate, image))
            if bend <= 0.0:
                return conjugate if step == 0 else direction
            length = size / bend
            direction = direction + length * conjugate
            residual = residual - length * image
            preconditioned = residual / self._diagonal
            before, size = size, float(np.vdot(residual, preconditioned))
            if size <= enough:
                break
            conjugate = preconditioned + (size / before) * conjugate
        return direction
