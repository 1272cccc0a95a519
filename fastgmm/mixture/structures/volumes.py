"""Volumes of covariances: the D-th roots of their determinants."""

from __future__ import annotations

import numpy as np

from fastgmm.mixture.statistics import FloatArray


def log_volumes(whiteners: FloatArray) -> FloatArray:
    """Return the logarithms of the volumes of covariances."""
    diagonals = whiteners if whiteners.ndim == 2 else np.einsum("kii->ki", whiteners)
    logarithms: FloatArray = -2.0 * np.log(diagonals).mean(axis=1)
    return logarithms


def equalize_volumes(whiteners: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the whiteners of the same shapes and orientations, with one volume.

    It is the mean volume, which is best if the covariances are those of the components' points
    (Celeux and Govaert, 1995).
    """
    logarithms = log_volumes(whiteners)
    largest = logarithms.max()
    excess = logarithms - largest
    factors = np.exp(0.5 * (excess - np.log(shares @ np.exp(excess))))
    equal: FloatArray = whiteners * factors.reshape(-1, *[1] * (whiteners.ndim - 1))
    return equal
