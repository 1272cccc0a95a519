"""Covariance structures: how a mixture's covariances follow from the statistics.

Each structure is one class; `solve` is its M-step. The two diagonal-like views of its
covariances, `expand` and `reduce`, translate between one covariance for each component, which
the passes work on, and the shape in which users see them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from fastgmm.model.parameters import MixtureParameters, invert_triangles
from fastgmm.model.regularisation import IllDefinedCovarianceError, Regularisation
from fastgmm.model.statistics import FloatArray, SufficientStatistics, pool

_EPSILON = float(np.finfo(np.float64).eps)


class CovarianceStructure(ABC):
    """What the covariances of a mixture have in common.

    Attributes
    ----------
    name : str
        The name users give.
    is_diagonal : bool
        Whether covariances are diagonal, so that the passes need no matrices.
    is_tied : bool
        Whether all components share one covariance.
    """

    name: ClassVar[str]
    is_diagonal: ClassVar[bool]
    is_tied: ClassVar[bool]

    @abstractmethod
    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood (the M-step).

        The covariances are those of the statistics about the new means plus the amounts of the
        regularisation. A component without points gets weight 0, stays at its reference and has
        the pooled covariance of the others. A covariance that is singular in spite of a
        positive regularisation has the smallest eigenvalues of its correlations raised to where
        float64 can tell them from 0.

        Parameters
        ----------
        statistics : SufficientStatistics
            Moments; diagonal ones suffice for diagonal structures.
        regularisation : Regularisation
            Amounts added to the variances.

        Returns
        -------
        MixtureParameters
            The parameters.

        Raises
        ------
        IllDefinedCovarianceError
            If a covariance is singular and the regularisation is 0.
        """

    @abstractmethod
    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariances."""

    @abstractmethod
    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape in which users see the covariances."""

    @abstractmethod
    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the user's shape of one covariance (or precision) for each component."""

    @abstractmethod
    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return one covariance (or precision) for each component from the user's shape."""

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of a whole mixture."""
        covariances = self.n_covariance_parameters(n_components, n_features)
        return covariances + n_components * n_features + n_components - 1

    def covariances(self, parameters: MixtureParameters) -> FloatArray:
        """Return the covariances in the user's shape."""
        return self.reduce(parameters.covariances())

    def precisions(self, parameters: MixtureParameters) -> FloatArray:
        """Return the precisions in the user's shape."""
        return self.reduce(parameters.precisions())

    def precisions_cholesky(self, parameters: MixtureParameters) -> FloatArray:
        """Return the upper triangular U with U U^T = precision, in the user's shape.

        Diagonal structures have the inverse standard deviations instead.
        """
        if self.is_diagonal:
            return self.reduce(parameters.whiteners)
        return self.reduce(np.ascontiguousarray(parameters.whiteners.transpose(0, 2, 1)))

    def from_covariances(
        self, weights: FloatArray, means: FloatArray, covariances: FloatArray
    ) -> MixtureParameters:
        """Return the parameters with covariances given in the user's shape."""
        expanded = self.expand(covariances, *means.shape)
        return MixtureParameters.from_covariances(weights, means, expanded)

    def from_precisions(
        self, weights: FloatArray, means: FloatArray, precisions: FloatArray
    ) -> MixtureParameters:
        """Return the parameters with precisions given in the user's shape."""
        expanded = self.expand(precisions, *means.shape)
        return MixtureParameters.from_precisions(weights, means, expanded)


class Full(CovarianceStructure):
    """Each component has a covariance matrix of its own."""

    name = "full"
    is_diagonal = False
    is_tied = False

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        whiteners = _whiten_matrices(statistics.covariances(), regularisation)
        return _assemble(statistics, whiteners)

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariances."""
        return n_components * n_features * (n_features + 1) // 2

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (n_components, n_features, n_features)."""
        return (n_components, n_features, n_features)

    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the matrices as they are."""
        return covariances

    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return the matrices as they are."""
        return covariances


class Tied(CovarianceStructure):
    """All components share one covariance matrix."""

    name = "tied"
    is_diagonal = False
    is_tied = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        pooled = pool(statistics.covariances(), statistics.weights())
        return _assemble(statistics, _whiten_matrices(pooled[None], regularisation))

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariance."""
        return n_features * (n_features + 1) // 2

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (n_features, n_features)."""
        return (n_features, n_features)

    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the first of the equal matrices."""
        return covariances[0].copy()

    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return the matrix once for each component."""
        return np.broadcast_to(covariances, (n_components, n_features, n_features))


class Diagonal(CovarianceStructure):
    """Each component has a variance of its own for each feature."""

    name = "diag"
    is_diagonal = True
    is_tied = False

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        variances = _variances(statistics) + regularisation.amounts
        return _assemble(statistics, _whiten_variances(variances))

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of variances."""
        return n_components * n_features

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (n_components, n_features)."""
        return (n_components, n_features)

    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the variances as they are."""
        return covariances

    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return the variances as they are."""
        return covariances


class Spherical(CovarianceStructure):
    """Each component has one variance for all features."""

    name = "spherical"
    is_diagonal = True
    is_tied = False

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        variances = (_variances(statistics) + regularisation.amounts).mean(axis=1, keepdims=True)
        return _assemble(statistics, _whiten_variances(variances))

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of variances."""
        return n_components

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (n_components,)."""
        return (n_components,)

    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the variance of the first of equal features."""
        return covariances[:, 0].copy()

    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return each variance once for each feature."""
        return np.broadcast_to(covariances[:, None], (n_components, n_features))


class TiedDiagonal(CovarianceStructure):
    """All components share one variance for each feature."""

    name = "tied_diag"
    is_diagonal = True
    is_tied = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        pooled = pool(_variances(statistics), statistics.weights()) + regularisation.amounts
        return _assemble(statistics, _whiten_variances(pooled[None]))

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of variances."""
        return n_features

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return (n_features,)."""
        return (n_features,)

    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the variances of the first of equal components."""
        return covariances[0].copy()

    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return the variances once for each component."""
        return np.broadcast_to(covariances, (n_components, n_features))


class TiedSpherical(CovarianceStructure):
    """All components and features share one variance."""

    name = "tied_spherical"
    is_diagonal = True
    is_tied = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        pooled = pool(_variances(statistics), statistics.weights()) + regularisation.amounts
        return _assemble(statistics, _whiten_variances(pooled.mean().reshape(1, 1)))

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return 1."""
        return 1

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the empty shape: a single number."""
        return ()

    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the one variance as an array without axes."""
        return np.asarray(covariances[0, 0])

    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return the variance once for each component and feature."""
        return np.broadcast_to(covariances, (n_components, n_features))


_STRUCTURES: dict[str, CovarianceStructure] = {
    each.name: each
    for each in (Full(), Tied(), Diagonal(), Spherical(), TiedDiagonal(), TiedSpherical())
}

STRUCTURE_NAMES = tuple(_STRUCTURES)


def structure(name: str) -> CovarianceStructure:
    """Return the covariance structure of a name.

    Parameters
    ----------
    name : {"full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"}
        The name.

    Returns
    -------
    CovarianceStructure
        The structure; it holds no state and is shared.

    Raises
    ------
    ValueError
        If there is no structure of that name.
    """
    try:
        return _STRUCTURES[name]
    except KeyError:
        raise ValueError(
            f"covariance_type must be one of {', '.join(STRUCTURE_NAMES)}; got {name!r}"
        ) from None


def _assemble(statistics: SufficientStatistics, whiteners: FloatArray) -> MixtureParameters:
    """Return parameters with weights and means of the statistics; tied whiteners are repeated."""
    shape = (statistics.n_components, *whiteners.shape[1:-1], statistics.n_features)
    return MixtureParameters.from_whiteners(
        statistics.weights(), statistics.means(), np.broadcast_to(whiteners, shape)
    )


def _variances(statistics: SufficientStatistics) -> FloatArray:
    """Return the variances of the components, shape (n_components, n_features)."""
    covariances = statistics.covariances()
    return covariances if statistics.is_diagonal else np.einsum("kii->ki", covariances)


def _whiten_variances(variances: FloatArray) -> FloatArray:
    """Return inverse standard deviations."""
    if not variances.all():
        k, j = np.argwhere(variances == 0.0)[0]
        raise _ill_defined(k, f"its variance in feature {j} is 0", len(variances))
    return 1.0 / np.sqrt(variances)


def _whiten_matrices(covariances: FloatArray, regularisation: Regularisation) -> FloatArray:
    """Return the inverse Cholesky factors of covariances plus the regularisation.

    The matrices are scaled to unit diagonal first: then no factor or pivot can overflow or
    underflow, and a pivot says how far the matrix is from singular whatever the units.
    """
    n_features = covariances.shape[1]
    diagonal = np.arange(n_features)
    covariances[:, diagonal, diagonal] += regularisation.amounts
    variances = covariances[:, diagonal, diagonal]
    if not variances.all():
        k, j = np.argwhere(variances == 0.0)[0]
        raise _ill_defined(k, f"its variance in feature {j} is 0", len(covariances))
    scales = np.sqrt(variances)
    correlations = covariances / scales[:, :, None]
    correlations /= scales[:, None, :]
    smallest_pivot = 4.0 * n_features * _EPSILON
    try:
        factors = np.linalg.cholesky(correlations)
        singular = (factors[:, diagonal, diagonal] ** 2 <= smallest_pivot).any(axis=1)
    except np.linalg.LinAlgError:
        factors = np.empty_like(correlations)
        singular = np.linalg.eigvalsh(correlations)[:, 0] <= smallest_pivot
        factors[~singular] = np.linalg.cholesky(correlations[~singular])
    if singular.any():
        if regularisation.is_zero:
            k = int(np.flatnonzero(singular)[0])
            raise _ill_defined(k, "its features are linearly dependent", len(covariances))
        factors[singular] = _factorise_raised(correlations[singular], 16.0 * smallest_pivot)
    whiteners = invert_triangles(factors)
    whiteners /= scales[:, None, :]
    return whiteners


def _factorise_raised(correlations: FloatArray, smallest: float) -> FloatArray:
    """Return Cholesky factors after raising eigenvalues to at least `smallest`."""
    eigenvalues, vectors = np.linalg.eigh(correlations)
    raised = np.maximum(eigenvalues, smallest)
    return np.linalg.cholesky((vectors * raised[:, None, :]) @ vectors.transpose(0, 2, 1))


def _ill_defined(k: int, why: str, n_covariances: int) -> IllDefinedCovarianceError:
    """Return the error for a singular covariance without regularisation."""
    whose = f"component {k}" if n_covariances > 1 else "the mixture"
    return IllDefinedCovarianceError(
        f"the covariance of {whose} is ill-defined: {why}, so the likelihood has no maximum; use "
        "reg_covar > 0 (it is 0), fewer components, or a covariance_type with fewer parameters"
    )
