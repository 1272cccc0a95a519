"""Covariance structures: how a mixture's covariances follow from the statistics.

Each structure is one class: what its covariances share, and `solve`, its M-step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from fastgmm.model.parameters import MixtureParameters, invert_triangles
from fastgmm.model.regularisation import IllDefinedCovarianceError, Regularisation
from fastgmm.model.statistics import FloatArray, SufficientStatistics, pool


class CovarianceStructure(ABC):
    """What the covariances of a mixture have in common.

    Users see the covariances in the shape ``([K,] D, D)``, ``([K,] D)`` or ``([K])``: the axis
    of the components is missing where they are tied, and those of the features where the
    covariances are diagonal or spherical.

    Attributes
    ----------
    name : str
        The name users give.
    is_diagonal : bool
        Whether covariances are diagonal, so that the passes need no matrices.
    is_spherical : bool
        Whether all features of a component have the same variance.
    is_tied : bool
        Whether all components share one covariance.
    """

    name: ClassVar[str]
    is_diagonal: ClassVar[bool] = False
    is_spherical: ClassVar[bool] = False
    is_tied: ClassVar[bool] = False

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

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of a whole mixture."""
        if self.is_spherical:
            each = 1
        elif self.is_diagonal:
            each = n_features
        else:
            each = n_features * (n_features + 1) // 2
        covariances = each if self.is_tied else each * n_components
        return covariances + n_components * n_features + n_components - 1

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape in which users see the covariances."""
        features = 0 if self.is_spherical else 1 if self.is_diagonal else 2
        return (n_components,) * (not self.is_tied) + (n_features,) * features

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
        whiteners = parameters.whiteners
        return self.reduce(whiteners if self.is_diagonal else whiteners.transpose(0, 2, 1))

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

    def reduce(self, covariances: FloatArray) -> FloatArray:
        """Return the user's shape of one covariance for each component, as an array of its own."""
        components = 0 if self.is_tied else slice(None)
        features = 0 if self.is_spherical else slice(None)
        return np.array(covariances[components, ..., features], dtype=np.float64, order="C")

    def expand(self, covariances: FloatArray, n_components: int, n_features: int) -> FloatArray:
        """Return one covariance for each component from the user's shape."""
        expected = self.covariance_shape(n_components, n_features)
        if np.shape(covariances) != expected:
            raise ValueError(
                f"covariances and precisions of type {self.name!r} should have shape {expected} "
                f"for {n_components} components and {n_features} features; got "
                f"{np.shape(covariances)}"
            )
        expanded = np.asarray(covariances, dtype=np.float64)
        if self.is_tied:
            expanded = expanded[None]
        if self.is_spherical:
            expanded = expanded[..., None]
        features = (n_features,) * (1 if self.is_diagonal else 2)
        return np.broadcast_to(expanded, (n_components, *features))


class Full(CovarianceStructure):
    """Each component has a covariance matrix of its own."""

    name = "full"

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        whiteners = _whiten_matrices(statistics.covariances(), regularisation)
        return _assemble(statistics, whiteners)


class Tied(CovarianceStructure):
    """All components share one covariance matrix."""

    name = "tied"
    is_tied = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        pooled = pool(statistics.covariances(), statistics.weights())
        return _assemble(statistics, _whiten_matrices(pooled[None], regularisation))


class Diagonal(CovarianceStructure):
    """Each component has a variance of its own for each feature."""

    name = "diag"
    is_diagonal = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        variances = statistics.variances() + regularisation.amounts
        return _assemble(statistics, _whiten_variances(variances))


class Spherical(CovarianceStructure):
    """Each component has one variance for all features."""

    name = "spherical"
    is_diagonal = True
    is_spherical = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        variances = statistics.variances() + regularisation.amounts
        return _assemble(statistics, _whiten_variances(variances.mean(axis=1, keepdims=True)))


class TiedDiagonal(CovarianceStructure):
    """All components share one variance for each feature."""

    name = "tied_diag"
    is_diagonal = True
    is_tied = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        pooled = pool(statistics.variances(), statistics.weights()) + regularisation.amounts
        return _assemble(statistics, _whiten_variances(pooled[None]))


class TiedSpherical(CovarianceStructure):
    """All components and features share one variance."""

    name = "tied_spherical"
    is_diagonal = True
    is_spherical = True
    is_tied = True

    def solve(
        self, statistics: SufficientStatistics, regularisation: Regularisation
    ) -> MixtureParameters:
        """Return the parameters that maximise the expected log-likelihood."""
        pooled = pool(statistics.variances(), statistics.weights()) + regularisation.amounts
        return _assemble(statistics, _whiten_variances(pooled.mean().reshape(1, 1)))


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


def _whiten_variances(variances: FloatArray) -> FloatArray:
    """Return inverse standard deviations."""
    if not variances.all():
        k, j = np.argwhere(variances == 0.0)[0]
        raise _ill_defined(k, f"its variance in feature {j} is 0", len(variances))
    return 1.0 / np.sqrt(variances)


def smallest_raised(n_features: int) -> float:
    """Return what the eigenvalues of a singular correlation matrix are raised to.

    Far enough above the rounding of a factorisation for it to succeed.
    """
    return 64.0 * n_features * float(np.finfo(np.float64).eps)


def _whiten_matrices(covariances: FloatArray, regularisation: Regularisation) -> FloatArray:
    """Return the inverse Cholesky factors of covariances plus the regularisation.

    The covariances are overwritten. They are scaled to unit diagonal first: then no factor or
    pivot can overflow or underflow, and a pivot says how far the matrix is from singular whatever
    the units.
    """
    n_features = covariances.shape[1]
    variances = np.einsum("kii->ki", covariances)
    variances += regularisation.amounts
    if not variances.all():
        k, j = np.argwhere(variances == 0.0)[0]
        raise _ill_defined(k, f"its variance in feature {j} is 0", len(covariances))
    scales = np.sqrt(variances)
    correlations = covariances  # the same memory, from here on
    correlations /= scales[:, :, None]
    correlations /= scales[:, None, :]
    raised = smallest_raised(n_features)
    try:
        factors = np.asarray(np.linalg.cholesky(correlations), dtype=np.float64)
        pivots = np.einsum("kii->ki", factors) ** 2
        singular = (pivots <= raised / 16.0).any(axis=1)
    except np.linalg.LinAlgError:
        singular = np.linalg.eigvalsh(correlations)[:, 0] <= raised
        factors = np.empty_like(correlations)
        factors[~singular] = np.linalg.cholesky(correlations[~singular])
    if singular.any():
        if regularisation.is_zero:
            k = int(np.flatnonzero(singular)[0])
            raise _ill_defined(k, "its features are linearly dependent", len(covariances))
        eigenvalues, vectors = np.linalg.eigh(correlations[singular])
        vectors *= np.sqrt(np.maximum(eigenvalues, raised))[:, None, :]
        factors[singular] = np.linalg.cholesky(vectors @ vectors.transpose(0, 2, 1))
    whiteners = invert_triangles(factors)
    whiteners /= scales[:, None, :]
    return whiteners


def _ill_defined(k: int, why: str, n_covariances: int) -> IllDefinedCovarianceError:
    """Return the error for a singular covariance without regularisation."""
    whose = f"component {k}" if n_covariances > 1 else "the mixture"
    return IllDefinedCovarianceError(
        f"the covariance of {whose} is ill-defined: {why}, so the likelihood has no maximum; use "
        "reg_covar > 0 (it is 0), fewer components, or a covariance_type with fewer parameters"
    )
