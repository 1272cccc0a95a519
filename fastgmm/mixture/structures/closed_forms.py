"""Structures whose M-step is a formula (Celeux and Govaert, 1995, section 3)."""

from __future__ import annotations

from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures.covariance_structure import CovarianceStructure, Spread
from fastgmm.mixture.structures.principal_axes import compose, principal_axes
from fastgmm.mixture.structures.volumes import equalize_volumes
from fastgmm.mixture.structures.whitening import whiten_matrices, whiten_variances


class Full(CovarianceStructure):
    """Each component has a covariance matrix of its own."""

    letters = "VVV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the components' covariances."""
        return whiten_matrices(spread.covariances, spread.regularization)


class Tied(CovarianceStructure):
    """All components share one covariance matrix."""

    letters = "EEE"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whitener of the pooled covariance."""
        return whiten_matrices(spread.pooled()[None], spread.regularization)


class Diagonal(CovarianceStructure):
    """Each component has a variance of its own for each feature."""

    letters = "VVI"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of each component."""
        return whiten_variances(spread.covariances)


class Spherical(CovarianceStructure):
    """Each component has one variance for all features."""

    letters = "VII"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviation of each component."""
        return whiten_variances(spread.covariances.mean(axis=1, keepdims=True))


class TiedDiagonal(CovarianceStructure):
    """All components share one variance for each feature."""

    letters = "EEI"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of the pooled variances."""
        return whiten_variances(spread.pooled()[None])


class TiedSpherical(CovarianceStructure):
    """All components and features share one variance."""

    letters = "EII"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviation of the mean variance."""
        return whiten_variances(spread.pooled().mean().reshape(1, 1))


class OneVariance(TiedSpherical):
    """All components share the variance of the only feature."""

    needs_single_feature = True


class OwnVariances(Spherical):
    """Each component has its own variance of the only feature."""

    needs_single_feature = True


class EqualVolumeDiagonal(CovarianceStructure):
    """Each component has a diagonal shape of its own, and all the same volume."""

    letters = "EVI"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the inverse standard deviations of the components, brought to one volume."""
        return equalize_volumes(whiten_variances(spread.covariances), spread.shares)


class EqualVolume(CovarianceStructure):
    """Each component has a shape and an orientation of its own, and all the same volume."""

    letters = "EVV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the components' covariances, brought to one volume."""
        whiteners = whiten_matrices(spread.covariances, spread.regularization)
        return equalize_volumes(whiteners, spread.shares)


class OwnOrientations(CovarianceStructure):
    """Each component has an orientation of its own, and all the same volume and shape."""

    letters = "EEV"

    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the mean variances along each component's principal axes."""
        variances, axes = principal_axes(spread.covariances)
        return whiten_matrices(compose(spread.shares @ variances, axes), spread.regularization)
