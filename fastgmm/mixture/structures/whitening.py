"""Whiteners, volumes and axes of covariances, and what becomes of those that are singular."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from fastgmm.kernels.structure_m_steps import volume_factors
from fastgmm.mixture.parameters import cholesky_factors, invert_triangles
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import FloatArray

_ANY_COLUMN_SCALES = 0  # dgejsv's JOBA = "C"
_NO_LEFT_VECTORS = 3  # JOBU = "N"


def whiten_variances(variances: FloatArray) -> FloatArray:
    """Return inverse standard deviations."""
    require_variances(variances)
    return 1.0 / np.sqrt(variances)


def whiten_matrices(covariances: FloatArray, regularization: Regularization) -> FloatArray:
    """Return the inverse Cholesky factors of covariances.

    Covariances are scaled to unit diagonal first: then no factor or pivot can overflow or
    underflow, and a pivot says how far the matrix is from singular whatever the units.
    """
    correlations, deviations = _correlations(covariances)
    factors, singular = _factorize(correlations)
    if singular.any():
        if regularization.is_zero:
            raise _dependent(singular)
        factors[singular] = np.linalg.cholesky(_raised(correlations[singular]))
    whiteners = invert_triangles(factors)
    whiteners /= deviations[:, None, :]
    return whiteners


def make_regular(covariances: FloatArray, regularization: Regularization) -> FloatArray:
    """Return covariances of which none is singular, to the eyes of float64."""
    correlations, deviations = _correlations(covariances.copy())
    _, singular = _factorize(correlations)
    if not singular.any():
        return covariances
    if regularization.is_zero:
        raise _dependent(singular)
    regular = covariances.copy()
    scales = deviations[singular]
    regular[singular] = _raised(correlations[singular]) * scales[:, :, None] * scales[:, None, :]
    return regular


def square_roots(covariances: FloatArray) -> FloatArray:
    """Return matrices F with F F^T = covariance, also of singular covariances."""
    deviations = np.sqrt(np.einsum("kii->ki", covariances))
    divisors = np.where(deviations > 0.0, deviations, 1.0)
    correlations = covariances / divisors[:, :, None] / divisors[:, None, :]
    factors, singular = _factorize(correlations)
    if singular.any():
        eigenvalues, vectors = np.linalg.eigh(correlations[singular])
        eigenvalues[eigenvalues <= smallest_raised(covariances.shape[1])] = 0.0
        factors[singular] = vectors * np.sqrt(eigenvalues)[:, None, :]
    factors *= deviations[:, :, None]
    return factors


def principal_axes(covariances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues and eigenvectors of covariances.

    Found by one-sided Jacobi rotations (Drmač and Veselić, 2008, "New fast and accurate Jacobi
    SVD algorithm", SIAM J. Matrix Anal. Appl. 29): each eigenvalue has all its digits, however
    much the features differ in scale.
    """
    axes = np.empty(covariances.shape)
    variances = np.empty(covariances.shape[:2])
    for k, root in enumerate(square_roots(covariances)):
        values, _, axes[k], scaling, _, failed = lapack.dgejsv(
            root.T, joba=_ANY_COLUMN_SCALES, jobu=_NO_LEFT_VECTORS
        )
        if failed:
            raise np.linalg.LinAlgError(f"no principal axes found (dgejsv returned {failed})")
        rank = np.count_nonzero(root.any(axis=0))
        variances[k] = np.square(values * (scaling[0] / scaling[1]))
        variances[k, rank:] = 0.0
    return variances, axes


def compose(variances: FloatArray, axes: FloatArray) -> FloatArray:
    """Return the covariances of given variances along given axes."""
    covariances: FloatArray = (axes * variances[..., None, :]) @ axes.swapaxes(-1, -2)
    return covariances


def log_volumes(whiteners: FloatArray) -> FloatArray:
    """Return the logarithms of the volumes of covariances, the D-th roots of determinants."""
    diagonals = whiteners if whiteners.ndim == 2 else np.einsum("kii->ki", whiteners)
    logarithms: FloatArray = -2.0 * np.log(diagonals).mean(axis=1)
    return logarithms


def equalize_volumes(whiteners: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the whiteners of the same shapes and orientations, with the mean volume."""
    factors = volume_factors(log_volumes(whiteners), shares)
    equal: FloatArray = whiteners * factors.reshape(-1, *[1] * (whiteners.ndim - 1))
    return equal


def smallest_raised(n_features: int) -> float:
    """Return what the eigenvalues of a singular correlation matrix are raised to.

    Far enough above the rounding of a factorization for it to succeed.
    """
    return 64.0 * n_features * float(np.finfo(np.float64).eps)


def require_variances(variances: FloatArray) -> None:
    """Raise if a variance is 0."""
    if not variances.all():
        k, j = np.argwhere(variances == 0.0)[0]
        raise ill_defined(int(k), f"its variance in feature {j} is 0", len(variances))


def ill_defined(k: int, why: str, n_covariances: int) -> IllDefinedCovarianceError:
    """Return the error for a singular covariance without regularization."""
    whose = f"component {k}" if n_covariances > 1 else "the mixture"
    return IllDefinedCovarianceError(
        f"the covariance of {whose} is ill-defined: {why}, so the likelihood has no maximum; use "
        "reg_covar > 0 (it is 0), fewer components, or a covariance_type with fewer parameters"
    )


def _correlations(covariances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return covariances scaled to unit diagonal, in the same memory, and the scales."""
    variances = np.einsum("kii->ki", covariances)
    require_variances(variances)
    deviations = np.sqrt(variances)
    covariances /= deviations[:, :, None]
    covariances /= deviations[:, None, :]
    return covariances, deviations


def _factorize(correlations: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return Cholesky factors of correlations, and which of these are singular and have none."""
    raised = smallest_raised(correlations.shape[1])
    try:
        factors = cholesky_factors(correlations)
        pivots = np.einsum("kii->ki", factors) ** 2
        singular = (pivots <= raised / 16.0).any(axis=1)
    except np.linalg.LinAlgError:
        singular = np.linalg.eigvalsh(correlations)[:, 0] <= raised
        factors = np.empty_like(correlations)
        factors[~singular] = np.linalg.cholesky(correlations[~singular])
    return factors, singular


def _raised(correlations: FloatArray) -> FloatArray:
    """Return correlations with their smallest eigenvalues raised to where Cholesky succeeds."""
    eigenvalues, vectors = np.linalg.eigh(correlations)
    vectors *= np.sqrt(np.maximum(eigenvalues, smallest_raised(correlations.shape[1])))[:, None, :]
    raised: FloatArray = vectors @ vectors.transpose(0, 2, 1)
    return raised


def _dependent(singular: npt.NDArray[np.bool_]) -> IllDefinedCovarianceError:
    first = int(np.flatnonzero(singular)[0])
    return ill_defined(first, "its features are linearly dependent", len(singular))
