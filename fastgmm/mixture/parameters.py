"""The parameters of a Gaussian mixture in the form that the passes evaluate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from fastgmm.mixture.statistics import FloatArray, holds_factors

_LOG_TWO_PI = math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True, eq=False)
class MixtureParameters:
    """Weights, means and whiteners of a mixture.

    The log-density of a row under component k, weight included, is ``log_weights[k] +
    log_normalizers[k] - |W_k (x - means[k])|^2 / 2``. Of factor analyzers, whose covariances are
    Λ_k Λ_k^T + Ψ_k with Ψ_k diagonal, Ψ_k^-1/2 and Ψ_k^-1/2 Λ_k stand for W_k.

    Attributes
    ----------
    log_weights : ndarray of shape (n_components,)
        Natural logarithms of the weights; minus infinity for a weight of 0.
    means : ndarray of shape (n_components, n_features)
        Means.
    whiteners : ndarray of shape (n_components, n_features, n_features), \
            (n_components, n_features) or (n_components, n_features, 1 + n_factors)
        Lower triangular W_k, the inverse of the lower Cholesky factor of the covariance; for
        diagonal covariances, the inverse standard deviations; or, for factor analyzers, those of
        the noise, followed by the loadings times them.
    log_normalizers : ndarray of shape (n_components,)
        Logarithm of the density at the mean, weight excluded.
    """

    log_weights: FloatArray
    means: FloatArray
    whiteners: FloatArray
    log_normalizers: FloatArray

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @property
    def is_diagonal(self) -> bool:
        """Whether the covariances are diagonal, held as inverse standard deviations."""
        return self.whiteners.ndim == 2

    @property
    def is_low_rank(self) -> bool:
        """Whether these are factor analyzers, of fewer factors than one less than features."""
        return holds_factors(self.whiteners, self.n_features)

    def with_matrices(self) -> MixtureParameters:
        """Return the same with matrices as whiteners, if these are factor analyzers."""
        if not self.is_low_rank:
            return self
        whiteners = whiteners_from_covariances(self.covariances())
        return self.from_log_weights(self.log_weights, self.means, whiteners)

    @property
    def weights(self) -> FloatArray:
        """Weights, shape (n_components,)."""
        return np.exp(self.log_weights)

    def without(self, k: int) -> MixtureParameters:
        """Return the mixture without a component; the others keep their proportions."""
        weights = np.delete(self.weights, k)
        return MixtureParameters.from_whiteners(
            weights / weights.sum(),
            np.delete(self.means, k, axis=0),
            np.delete(self.whiteners, k, axis=0),
        )

    def of(self, components: npt.NDArray[Any] | slice) -> MixtureParameters:
        """Return some of the components, in the order given, with the weights that they have here.

        Parameters
        ----------
        components : ndarray of int or bool, or slice
            Which of them.

        Returns
        -------
        MixtureParameters
            These.
        """
        return MixtureParameters(
            self.log_weights[components],
            self.means[components],
            self.whiteners[components],
            self.log_normalizers[components],
        )

    @classmethod
    def joined(cls, mixtures: Sequence[MixtureParameters]) -> MixtureParameters:
        """Return the components of several mixtures, with the weights that they have there."""
        names = (each.name for each in fields(cls))
        return cls(*(np.concatenate([getattr(each, name) for each in mixtures]) for name in names))

    def with_shape(self, means: FloatArray, whiteners: FloatArray) -> MixtureParameters:
        """Return components of these weights and tails, of other means and whiteners."""
        return MixtureParameters.from_log_weights(self.log_weights, means, whiteners)

    def with_true_normalizers(self) -> MixtureParameters:
        """Return the same with what normalizers are shifted by as part of the weights.

        Marginals keep it there: variational Bayes shifts normalizers.
        """
        plain = self.from_log_weights(self.log_weights, self.means, self.whiteners)
        shifts = self.log_normalizers - plain.log_normalizers
        if not shifts.any():
            return self
        return replace(plain, log_weights=self.log_weights + shifts)

    @classmethod
    def from_whiteners(
        cls, weights: FloatArray, means: FloatArray, whiteners: FloatArray
    ) -> MixtureParameters:
        """Return the parameters with these weights, means and whiteners.

        Parameters
        ----------
        weights : ndarray of shape (n_components,)
            Weights, at least 0.
        means : ndarray of shape (n_components, n_features)
            Means.
        whiteners : ndarray of shape (n_components, n_features, n_features) or \
                (n_components, n_features)
            See the class.

        Returns
        -------
        MixtureParameters
            The parameters, with the normalizers worked out.
        """
        with np.errstate(divide="ignore"):  # a weight of 0 is allowed
            log_weights = np.log(weights)
        return cls.from_log_weights(log_weights, means, whiteners)

    @classmethod
    def from_log_weights(
        cls, log_weights: FloatArray, means: FloatArray, whiteners: FloatArray
    ) -> MixtureParameters:
        """Return the parameters as `from_whiteners` does, from the logarithms of the weights."""
        low_rank = holds_factors(whiteners, means.shape[1])
        if low_rank:
            diagonals = whiteners[:, :, 0]
        else:
            diagonals = whiteners if whiteners.ndim == 2 else np.einsum("kii->ki", whiteners)
        # In C order whatever came in, so that equal whiteners give equal sums to the last bit.
        log_determinants = np.log(diagonals, order="C").sum(axis=1)
        if low_rank:
            _, strengths, _ = factor_axes(whiteners)
            log_determinants -= 0.5 * np.log1p(strengths * strengths).sum(axis=1)
        return cls(
            log_weights=log_weights,
            means=np.ascontiguousarray(means, dtype=np.float64),
            whiteners=np.ascontiguousarray(whiteners),
            log_normalizers=log_determinants - 0.5 * means.shape[1] * _LOG_TWO_PI,
        )

    @classmethod
    def from_covariances(
        cls, weights: FloatArray, means: FloatArray, covariances: FloatArray
    ) -> MixtureParameters:
        """Return the parameters with these covariances, one for each component.

        Parameters
        ----------
        weights : ndarray of shape (n_components,)
            Weights, at least 0.
        means : ndarray of shape (n_components, n_features)
            Means.
        covariances : ndarray of shape (n_components, n_features, n_features) or \
                (n_components, n_features)
            Symmetric positive definite matrices, or positive variances.

        Returns
        -------
        MixtureParameters
            The parameters.

        Raises
        ------
        ValueError
            If a covariance is not positive definite.
        """
        return cls.from_whiteners(weights, means, whiteners_from_covariances(covariances))

    @classmethod
    def from_precisions(
        cls, weights: FloatArray, means: FloatArray, precisions: FloatArray
    ) -> MixtureParameters:
        """Return the parameters with these precisions, one for each component.

        Parameters
        ----------
        weights : ndarray of shape (n_components,)
            Weights, at least 0.
        means : ndarray of shape (n_components, n_features)
            Means.
        precisions : ndarray of shape (n_components, n_features, n_features) or \
                (n_components, n_features)
            Symmetric positive definite matrices, or positive inverse variances.

        Returns
        -------
        MixtureParameters
            The parameters.

        Raises
        ------
        ValueError
            If a precision is not positive definite.
        """
        return cls.from_whiteners(weights, means, whiteners_from_precisions(precisions))

    def covariances(self) -> FloatArray:
        """Return the covariances, shape (K, D, D), or the variances, shape (K, D)."""
        if self.is_diagonal:
            deviations = 1.0 / self.whiteners
            return deviations * deviations
        if self.is_low_rank:
            noise, loadings = noise_and_loadings(self.whiteners)
            covariances = loadings @ loadings.transpose(0, 2, 1)
            np.einsum("kii->ki", covariances)[:] += noise
            return _symmetric(covariances)
        factors = invert_triangles(self.whiteners)
        return _symmetric(factors @ factors.transpose(0, 2, 1))

    def precisions(self) -> FloatArray:
        """Return the precisions, shape (K, D, D), or the inverse variances, shape (K, D)."""
        if self.is_diagonal:
            return self.whiteners * self.whiteners
        if self.is_low_rank:
            scales = self.whiteners[:, :, 0]
            axes, strengths, _ = factor_axes(self.whiteners)
            roots = scales[:, :, None] * axes * (strengths / np.hypot(1.0, strengths))[:, None, :]
            precisions = -(roots @ roots.transpose(0, 2, 1))
            np.einsum("kii->ki", precisions)[:] += scales * scales
            return _symmetric(precisions)
        return _symmetric(self.whiteners.transpose(0, 2, 1) @ self.whiteners)


def factor_axes(whiteners: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the singular value decomposition U s R^T of Ψ^-1/2 Λ, for each component."""
    axes, strengths, rotations = np.linalg.svd(whiteners[:, :, 1:], full_matrices=False)
    return axes, strengths, rotations


def noise_and_loadings(whiteners: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the variances of the noise and the loadings of factor analyzers."""
    deviations = 1.0 / whiteners[:, :, 0]
    return deviations * deviations, whiteners[:, :, 1:] * deviations[:, :, None]


def whiteners_from_factors(noise: FloatArray, loadings: FloatArray) -> FloatArray:
    """Return the whiteners of factor analyzers."""
    scales = 1.0 / np.sqrt(noise)[:, :, None]
    return np.concatenate([scales, loadings * scales], axis=2)


def cholesky_factors(matrices: FloatArray) -> FloatArray:
    """Return the Cholesky factors of matrices, as `numpy.linalg.cholesky` does, which copies.

    It copies large ones column by column, which takes longer than the factorization.
    """
    if matrices.shape[1] < _LARGE:
        return np.asarray(np.linalg.cholesky(matrices), dtype=np.float64)
    factors = np.tril(matrices)
    for factor in factors:
        # The transpose of a C-ordered lower triangle is the upper triangle LAPACK wants.
        _, failed = lapack.dpotrf(factor.T, lower=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("Matrix is not positive definite")
    return factors


_LARGE = 64


def invert_triangles(triangles: FloatArray) -> FloatArray:
    """Return the inverses of lower triangular matrices, shape (n, D, D)."""
    inverses = np.array(triangles, dtype=np.float64, order="C")
    for inverse in inverses:
        lapack.dtrtri(inverse.T, lower=0, overwrite_c=1)
    return inverses


def whiteners_from_covariances(covariances: FloatArray) -> FloatArray:
    """Return the inverse Cholesky factors of covariances, or inverse standard deviations.

    Features are scaled to unit variance before the factorization, so that neither the size nor
    a mixture of sizes of the features costs digits or overflows.
    """
    if covariances.ndim == 2:
        _require_positive(covariances, "covariance")
        return 1.0 / np.sqrt(covariances)
    factors, deviations = _factorize(covariances, "covariance")
    return invert_triangles(factors) / deviations[:, None, :]


def whiteners_from_precisions(precisions: FloatArray) -> FloatArray:
    """Return the lower triangular W with W^T W = precision, or roots of inverse variances."""
    if precisions.ndim == 2:
        _require_positive(precisions, "precision")
        return np.sqrt(precisions)
    # P = W^T W with W lower means that P with rows and columns reversed is L L^T, and W is L^T
    # with rows and columns reversed.
    factors, deviations = _factorize(precisions[:, ::-1, ::-1], "precision")
    factors *= deviations[:, :, None]
    return np.ascontiguousarray(factors.transpose(0, 2, 1)[:, ::-1, ::-1])


def _symmetric(matrices: FloatArray) -> FloatArray:
    """Return matrices that are symmetric but for rounding with that rounding removed."""
    halves = 0.5 * matrices
    symmetric: FloatArray = halves + halves.transpose(0, 2, 1)
    return symmetric


def _require_positive(diagonals: FloatArray, what: str) -> None:
    """Raise if a diagonal entry is not a positive number."""
    failing = ~(diagonals > 0.0).all(axis=1)
    if failing.any():
        k = int(np.flatnonzero(failing)[0])
        raise ValueError(
            f"the {what} of component {k} is not positive: its smallest entry is "
            f"{diagonals[k].min():.6g}; give entries above 0"
        )


def _factorize(matrices: FloatArray, what: str) -> tuple[FloatArray, FloatArray]:
    """Return Cholesky factors of matrices scaled to unit diagonal, and the scales."""
    diagonals = np.einsum("kii->ki", matrices)
    _require_positive(diagonals, what)
    scales = np.sqrt(diagonals)
    scaled = matrices / scales[:, :, None] / scales[:, None, :]
    try:
        return cholesky_factors(scaled), scales
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(scaled)[:, 0]
        k = int(smallest.argmin())
        raise ValueError(
            f"the {what} of component {k} is not positive definite: scaled to unit diagonal its "
            f"smallest eigenvalue is {smallest[k]:.6g}; give symmetric positive definite matrices"
        ) from None
