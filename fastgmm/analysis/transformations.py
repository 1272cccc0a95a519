"""Changes of coordinates before clusters are sought in them.

Names are those of mclust. "SVD" is the scaled one of Scrucca & Raftery (2015, Adv. Data Anal.
Classif. 9:447-460): it separates clusters that the widest features would hide.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.mixture.statistics import FloatArray

Transformation = Literal["SVD", "VARS", "STD", "SPH", "PCS", "PCR"]

TRANSFORMATIONS: tuple[Transformation, ...] = ("SVD", "VARS", "STD", "SPH", "PCS", "PCR")


def transformed(
    rows: npt.NDArray[np.floating], weights: FloatArray, transformation: Transformation
) -> FloatArray:
    """Return rows in other coordinates, centered.

    With the rows centered and, for "SVD" and "PCR", each feature divided by its standard
    deviation, let Z = U D Vᵀ be their singular value decomposition. The new rows are

    * "VARS": the rows;
    * "STD": the rows over the standard deviations;
    * "PCS", "PCR": the principal components U D, of covariances and of correlations;
    * "SPH": √n U, uncorrelated and of variance 1;
    * "SVD": U √D, between the last two.

    A row of weight w counts as w copies. Features that do not vary and components without
    variance beyond rounding are left out.
    """
    if transformation not in TRANSFORMATIONS:
        raise ValueError(
            f"transformation={transformation!r} is not known: choose one of "
            + ", ".join(map(repr, TRANSFORMATIONS))
        )
    varying = np.asarray(rows[:, np.ptp(rows, axis=0) > 0.0], dtype=np.float64)
    offsets: FloatArray = varying - varying[0]
    offsets -= np.average(offsets, axis=0, weights=weights)
    if transformation == "VARS":
        return offsets
    total = weights.sum()
    if transformation in ("STD", "PCR", "SVD"):
        offsets /= np.abs(offsets).max(axis=0)  # their squares neither overflow nor vanish
        offsets /= np.sqrt(weights @ offsets**2 / (total - 1.0))
    if transformation == "STD":
        return offsets
    with one_blas_thread():
        root = np.sqrt(weights)[:, None]
        _, singular, directions = np.linalg.svd(root * offsets, full_matrices=False)
        least = singular.max(initial=0.0) * max(offsets.shape) * np.finfo(np.float64).eps
        kept = singular > least
        components: FloatArray = offsets @ directions[kept].T
    if transformation == "SVD":
        components /= np.sqrt(singular[kept])
    elif transformation == "SPH":
        components *= np.sqrt(total) / singular[kept]
    return components
