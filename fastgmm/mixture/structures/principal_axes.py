"""Principal axes of covariances, and covariances from their axes."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures.whitening import square_roots

_ANY_COLUMN_SCALES = 0  # dgejsv's JOBA = "C"
_NO_LEFT_VECTORS = 3  # JOBU = "N"


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
