"""Structures whose components have the same principal axes, and shapes of their own."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, pool
from fastgmm.mixture.structures.covariance_structure import CovarianceStructure, Spread
from fastgmm.mixture.structures.orientation_search import OrientationSearch
from fastgmm.mixture.structures.principal_axes import compose
from fastgmm.mixture.structures.volumes import equalize_volumes
from fastgmm.mixture.structures.whitening import make_regular, whiten_matrices

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class _CommonOrientation(CovarianceStructure):
    """All components have the same orientation."""

    equal_volumes: ClassVar[bool]

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of each component's variances along the common axes."""
        covariances = make_regular(spread.covariances, spread.regularization)
        shares = spread.shares
        present = shares > 0.0
        search = OrientationSearch(covariances[present], shares[present], self.equal_volumes)
        before = None if spread.before is None else _orientation(spread.before)
        axes = search.best(_starts(covariances[present], shares[present], before), before)
        variances = np.einsum("kii->ki", axes.T @ (covariances @ axes))
        whiteners = whiten_matrices(compose(variances, axes), spread.regularization)
        return equalize_volumes(whiteners, shares) if self.equal_volumes else whiteners


class CommonOrientation(_CommonOrientation):
    """All components have the same orientation, and each a volume and a shape of its own."""

    letters = "VVE"
    equal_volumes = False


class CommonOrientationEqualVolume(_CommonOrientation):
    """All components have the same orientation and volume, and each a shape of its own."""

    letters = "EVE"
    equal_volumes = True


def _starts(
    covariances: FloatArray, shares: FloatArray, before: FloatArray | None
) -> list[FloatArray]:
    """Return orientations to begin a search from.

    The principal axes of the pooled covariance, of the same with each component brought to one
    size first and, unless there is one to go on from, of each component.
    """
    sizes = np.einsum("kii->k", covariances)
    means = np.stack([pool(covariances, shares), pool(covariances, shares / sizes)])
    starts = list(np.linalg.eigh(means)[1])
    return starts if before is not None else [*starts, *np.linalg.eigh(covariances)[1]]


def _orientation(parameters: MixtureParameters) -> FloatArray:
    """Return the axes that the covariances of a mixture of such a structure share.

    They are those of any sum of the covariances in which no two axes happen to have the same
    variance: one with irregular coefficients, since where components differ only by the order of
    their axes, regular ones give a sphere.
    """
    covariances = parameters.covariances()
    coefficients = 0.5 + np.modf(_GOLDEN * np.arange(1, len(covariances) + 1))[0]
    coefficients /= np.einsum("kii->k", covariances)
    axes: FloatArray = np.linalg.eigh(np.tensordot(coefficients, covariances, axes=1))[1]
    return axes
