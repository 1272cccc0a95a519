"""What a prior of a mixture is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure
from fastgmm.mixture.values import Value


class Prior(Value, ABC):
    """What is assumed of a mixture before any row is seen: the M-step under it, and its density.

    A prior of your own is a class derived from this one; an instance is a value of `priors`. Two
    instances are equal if their class and attributes are.
    """

    def for_data(
        self,
        structure: CovarianceStructure,  # noqa: ARG002
        n_components: int,  # noqa: ARG002
        data_mean: FloatArray,  # noqa: ARG002
        data_covariance: FloatArray,  # noqa: ARG002
    ) -> Prior:
        """Return the prior of a mixture of some data; itself, unless it depends on them.

        Parameters
        ----------
        structure : CovarianceStructure
            The structure of the mixture's covariances.
        n_components : int
            Number of components.
        data_mean : ndarray of shape (n_features,)
            Mean of all rows.
        data_covariance : ndarray of shape (n_features, n_features) or (n_features,)
            Their unbiased covariance, or the variances, for diagonal structures.

        Returns
        -------
        Prior
            The prior with which EM runs.
        """
        return self

    @abstractmethod
    def solve(
        self,
        statistics: SufficientStatistics,
        structure: CovarianceStructure,
        before: MixtureParameters | None = None,
    ) -> MixtureParameters:
        """Return the most probable parameters (the M-step).

        Parameters
        ----------
        statistics : SufficientStatistics
            Moments; diagonal ones suffice for diagonal structures.
        structure : CovarianceStructure
            The structure of the covariances.
        before : MixtureParameters or None
            Parameters of this structure that an iterative M-step begins from.

        Returns
        -------
        MixtureParameters
            The parameters.
        """

    @abstractmethod
    def log_density(self, parameters: MixtureParameters, structure: CovarianceStructure) -> float:
        """Return the logarithm of the prior's density, up to a constant.

        Parameters
        ----------
        parameters : MixtureParameters
            The mixture; a component of weight 0 counts as any other.
        structure : CovarianceStructure
            The structure of its covariances.

        Returns
        -------
        float
            In nats; the constant may depend on the prior and the structure only.
        """
