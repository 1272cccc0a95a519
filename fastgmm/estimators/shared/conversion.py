"""Conversion to and from scikit-learn's mixtures."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self, cast

import numpy as np

from fastgmm.estimators.shared.attributes import FITTED_STRUCTURE
from fastgmm.mixture.structures import CovarianceStructure, structure

_SHAPED = ("covariances_", "precisions_", "precisions_cholesky_", "degrees_of_freedom_")
"""Attributes that tied components share, and others have one of each."""
_ATTRIBUTES = (
    "weights_",
    "means_",
    *_SHAPED,
    "weight_concentration_",
    "weight_concentration_prior_",
    "mean_precision_",
    "mean_precision_prior_",
    "mean_prior_",
    "degrees_of_freedom_prior_",
    "covariance_prior_",
    "converged_",
    "n_iter_",
    "lower_bound_",
    "lower_bounds_",
    "n_features_in_",
    "feature_names_in_",
)


class ScikitLearnConversion:
    """Conversion of a mixture to scikit-learn's estimator of the same name, and back."""

    _theirs: ClassVar[str] = "GaussianMixture"

    @classmethod
    def _scikit_learns(cls) -> Any:
        """Return scikit-learn's class, importing its mixtures and clusters only here."""
        import sklearn.mixture

        return getattr(sklearn.mixture, cls._theirs)

    def to_sklearn(self) -> Any:
        """Return the same mixture as scikit-learn's estimator, fitted if this one is.

        Structures that scikit-learn does not have become the closest that it has: "spherical" for
        spheres, "diag" for other diagonal matrices, "full" for all others.

        Returns
        -------
        sklearn.mixture.GaussianMixture or sklearn.mixture.BayesianGaussianMixture
            With copies of all parameters and fitted attributes that it supports.
        """
        mixture: Any = self
        if hasattr(mixture, "noise_weight_") or getattr(mixture, "noise_volume", None) is not None:
            raise ValueError(
                "to_sklearn cannot convert a mixture with noise, which scikit-learn's has not: fit "
                "without noise_volume"
            )
        known = self._scikit_learns()().get_params()
        parameters = {name: value for name, value in mixture.get_params().items() if name in known}
        attributes = _fitted(mixture)
        kind = mixture._structure()
        parameters["covariance_type"] = _nearest(kind)
        if kind.is_tied and kind.is_diagonal:  # scikit-learn has none that are both
            n_components = mixture.n_components
            if parameters.get("precisions_init") is not None:
                parameters["precisions_init"] = _untied(parameters["precisions_init"], n_components)
            for name in _SHAPED:
                if name in attributes:
                    attributes[name] = _untied(attributes[name], n_components)
        converted = self._scikit_learns()(**copy.deepcopy(parameters))
        converted.__dict__.update(copy.deepcopy(attributes))
        return converted

    @classmethod
    def from_sklearn(cls, mixture: Any) -> Self:
        """Return the same mixture as one of scikit-learn's, fitted if that one is.

        Parameters
        ----------
        mixture : sklearn.mixture.GaussianMixture or sklearn.mixture.BayesianGaussianMixture
            The mixture, of the class that `to_sklearn` returns.

        Returns
        -------
        GaussianMixture or BayesianGaussianMixture
            With copies of all parameters and fitted attributes; `trace_` and `fit_info_` are
            missing, because scikit-learn does not record them.

        Raises
        ------
        TypeError
            If `mixture` is something else.
        """
        theirs = cls._scikit_learns()
        if not isinstance(mixture, theirs):
            raise TypeError(
                f"from_sklearn takes a sklearn.mixture.{cls._theirs}, but got an object "
                f"of type {type(mixture).__name__!r}"
            )
        ours: Any = cls
        taken = theirs().get_params().keys() & set(ours._get_param_names())
        converted = ours(**copy.deepcopy({name: getattr(mixture, name) for name in taken}))
        attributes = copy.deepcopy(_fitted(mixture))
        # Under tied covariances, scikit-learn's lower bounds of variational Bayes are arrays.
        if "lower_bound_" in attributes:
            attributes["lower_bound_"] = np.asarray(attributes["lower_bound_"]).item()
        if "lower_bounds_" in attributes:
            attributes["lower_bounds_"] = np.ravel(attributes["lower_bounds_"]).tolist()
        converted.__dict__.update(attributes)
        if "means_" in attributes:
            converted.__dict__[FITTED_STRUCTURE] = structure(mixture.covariance_type)
        return cast(Self, converted)


def _nearest(structure: CovarianceStructure) -> str:
    """Return the structure of scikit-learn's that can hold the covariances of any other."""
    if structure.is_spherical:
        return "spherical"
    if structure.is_diagonal:
        return "diag"
    return "tied" if structure.is_tied else "full"


def _fitted(mixture: Any) -> dict[str, Any]:
    return {name: getattr(mixture, name) for name in _ATTRIBUTES if hasattr(mixture, name)}


def _untied(values: Any, n_components: int) -> np.ndarray[Any, Any]:
    """Repeat what all components share once for each."""
    return np.repeat(np.asarray(values)[None], n_components, axis=0)
