"""What all covariance structures have in common: the M-step around theirs, shapes, and counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics, pool
from fastgmm.mixture.values import Value


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How the points of each component are spread: what its covariance follows from.

    Attributes
    ----------
    covariances : ndarray of shape (n_components, n_features, n_features) or \
            (n_components, n_features)
        Covariance S_k of the points of each component about its mean, regularization included;
        variances for diagonal structures.
    counts : ndarray of shape (n_components,)
        Number n_k of the points of each, in any unit; 0 for components without any.
    regularization : Regularization
        Says, if it is 0, that a singular covariance is an error.
    before : MixtureParameters or None
        Parameters of the structure that an iteration begins from.
    """

    covariances: FloatArray
    counts: FloatArray
    regularization: Regularization
    before: MixtureParameters | None = None

    @property
    def shares(self) -> FloatArray:
        """Each component's share of the points, shape (n_components,); they sum to 1."""
        total = self.counts.sum()
        if total > 0.0:
            shares: FloatArray = self.counts / total
            return shares
        return np.full(len(self.counts), 1.0 / len(self.counts))

    def pooled(self) -> FloatArray:
        """Return the mean covariance of all points about the mean of their component."""
        return pool(self.covariances, self.shares)


class CovarianceStructure(Value, ABC):
    """What the covariances of a mixture have in common.

    Users see the covariances in the shape ``([K,] D, D)``, ``([K,] D)`` or ``([K])``: the axis
    of the components is missing where they are tied, and those of the features where the
    covariances are diagonal or spherical.

    A structure of your own is a class derived from this one, with `whiten`, its M-step, and,
    unless its letters say it, `n_covariance_parameters`. An instance is a value of
    `covariance_type`. Two instances are equal if their class and attributes are.

    Parameters
    ----------
    name : str, default=None
        What tables and messages call it; None for the name of the class.

    Attributes
    ----------
    name : str
        What tables and messages call it.
    letters : str
        How volume, shape and orientation are, in this order: "E" equal, "V" varying from
        component to component, "I" those of the identity (Banfield and Raftery, 1993).
    needs_single_feature : bool
        Whether the structure is for data of one feature only.
    needs_pooled_only : bool
        Whether `whiten` reads no more of the covariances than their mean, `Spread.pooled`. If so,
        passes are faster, and give every component the same covariance about its mean.
    n_factors : int or None
        Number of factors, for the structures of factor analyzers that are built in.
    """

    name: str
    letters: ClassVar[str] = "VVV"
    needs_single_feature: ClassVar[bool] = False
    needs_pooled_only: ClassVar[bool] = False
    n_factors: int | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name

    @property
    def label(self) -> str:
        """What distinguishes the structure from others, as tables and messages call it."""
        return self.name

    @property
    def is_diagonal(self) -> bool:
        """Whether covariances are diagonal, so that the passes need no matrices."""
        return self.letters[2] == "I"

    @property
    def is_spherical(self) -> bool:
        """Whether all features of a component have the same variance."""
        return self.letters[1] == "I"

    @property
    def is_tied(self) -> bool:
        """Whether all components share one covariance."""
        return "V" not in self.letters

    @property
    def is_coupled(self) -> bool:
        """Whether covariances of different components depend on each other.

        They can only be replaced all together then, which is always right.
        """
        return True

    def solve(
        self,
        statistics: SufficientStatistics,
        regularization: Regularization,
        before: MixtureParameters | None = None,
    ) -> MixtureParameters:
        """Return the parameters that maximize the expected log-likelihood (the M-step).

        The covariances follow from those of the statistics about the new means plus the amounts
        of the regularization. A component without points gets weight 0, stays at its reference
        and has a covariance that follows from the others'. A covariance that is singular in
        spite of a positive regularization has the smallest eigenvalues of its correlations
        raised to where float64 distinguishes them from 0.

        Parameters
        ----------
        statistics : SufficientStatistics
            Moments; diagonal ones suffice for diagonal structures.
        regularization : Regularization
            Amounts added to the variances.
        before : MixtureParameters or None
            Parameters of this structure that an iterative M-step begins from, so that its result
            is no worse than they are.

        Returns
        -------
        MixtureParameters
            The parameters.

        Raises
        ------
        IllDefinedCovarianceError
            If a covariance is singular and the regularization is 0.
        ValueError
            If the structure is not for so many features.
        """
        self.check_features(statistics.n_features)
        covariances = statistics.variances() if self.is_diagonal else statistics.covariances()
        variances = covariances if self.is_diagonal else np.einsum("kii->ki", covariances)
        variances += regularization.amounts
        weights = statistics.weights()
        whiteners = self.whiten(Spread(covariances, weights, regularization, before))
        return self.assemble(weights, statistics.means(), whiteners)

    @abstractmethod
    def whiten(self, spread: Spread) -> FloatArray:
        """Return the whiteners of the best covariances of the structure.

        These are the Σ_k that minimize ``sum_k n_k (log|Σ_k| + tr(Σ_k^-1 S_k))`` among those that
        the structure allows. Components without points get what follows for them from S_k once
        the others have settled all that is shared.

        Parameters
        ----------
        spread : Spread
            S_k and n_k. The covariances may be overwritten.

        Returns
        -------
        ndarray of shape (n_components or 1, n_features[, n_features])
            Inverse Cholesky factors of the covariances, or inverse standard deviations: one for
            each component or, where it is the same for all, a single one.

        Raises
        ------
        IllDefinedCovarianceError
            If a covariance is singular and the regularization is 0.
        """

    def check_features(self, n_features: int) -> None:
        """Raise `ValueError` if the structure is not for data of so many features."""
        if self.needs_single_feature and n_features != 1:
            raise ValueError(
                f"covariance_type={self.name!r} is for data with a single feature, and these have "
                f"{n_features}: use {self.letters!r}, which means the same for any number of "
                "features, or give one column"
            )

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of a whole mixture."""
        covariances = self.n_covariance_parameters(n_components, n_features)
        return covariances + n_components * n_features + n_components - 1

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariances.

        That of the volumes, of the shapes, D - 1 for each, and of the orientations, D (D - 1) / 2
        for each (Celeux and Govaert, 1995, "Gaussian parsimonious clustering models", Pattern
        Recognition 28, table 1).
        """
        numbers = {"E": 1, "V": n_components, "I": 0}
        volumes, shapes, orientations = (numbers[letter] for letter in self.letters)
        return (
            volumes
            + shapes * (n_features - 1)
            + orientations * (n_features * (n_features - 1) // 2)
        )

    def covariance_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape in which users see the covariances."""
        self.check_features(n_features)
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
        """Return the parameters nearest to covariances given in the user's shape."""
        expanded = self.expand(covariances, *means.shape)
        return self.nearest(MixtureParameters.from_covariances(weights, means, expanded))

    def from_precisions(
        self, weights: FloatArray, means: FloatArray, precisions: FloatArray
    ) -> MixtureParameters:
        """Return the parameters nearest to precisions given in the user's shape."""
        expanded = self.expand(precisions, *means.shape)
        return self.nearest(MixtureParameters.from_precisions(weights, means, expanded))

    def nearest(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return the mixture of the structure that is nearest to one of any covariances.

        That of the least Kullback-Leibler divergence from them, summed over the components by
        weight: what the M-step would make of points spread like this. EM, which must not fall,
        could not leave covariances that no structure allows.

        Parameters
        ----------
        parameters : MixtureParameters
            The mixture; its covariances are diagonal if those of the structure are.

        Returns
        -------
        MixtureParameters
            The same mixture if all its covariances are possible, but for rounding.
        """
        if self.is_tied:
            return parameters  # the shape in which covariances are given allows no others
        weights = parameters.weights
        # Not 0: covariances at the edge of float64's digits are raised a little, and no error.
        n_features = parameters.n_features
        tiny = np.full(n_features, np.finfo(np.float64).tiny)
        edge = Regularization(tiny, np.zeros(n_features, dtype=bool))
        whiteners = self.whiten(Spread(parameters.covariances(), weights, edge, parameters))
        return self.assemble(weights, parameters.means, whiteners)

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

    def assemble(
        self, weights: FloatArray, means: FloatArray, whiteners: FloatArray
    ) -> MixtureParameters:
        """Return the parameters; whiteners common to all components are repeated."""
        n_components, n_features = means.shape
        shape = (n_components, *(n_features,) * (1 if self.is_diagonal else 2))
        return MixtureParameters.from_whiteners(weights, means, np.broadcast_to(whiteners, shape))
