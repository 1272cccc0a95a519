"""Conversion to and from scikit-learn's mixtures."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import sklearn.mixture

if TYPE_CHECKING:
    from fastgmm.estimators.gaussian_mixture import GaussianMixture

_Mixture = TypeVar("_Mixture", bound="GaussianMixture")

_NEAREST = {"tied_diag": "diag", "tied_spherical": "spherical"}
"""The structure of scikit-learn's that can hold the covariances of one that it lacks."""

_SHAPED = ("covariances_", "precisions_", "precisions_cholesky_")
_ATTRIBUTES = (
    "weights_",
    "means_",
    *_SHAPED,
    "converged_",
    "n_iter_",
    "lower_bound_",
    "lower_bounds_",
    "n_features_in_",
    "feature_names_in_",
)


def to_scikit_learn(mixture: GaussianMixture) -> sklearn.mixture.GaussianMixture:
    """Return a mixture as scikit-learn's estimator.

    Parameters
    ----------
    mixture : GaussianMixture
        The mixture, fitted or not.

    Returns
    -------
    sklearn.mixture.GaussianMixture
        With copies of all parameters and fitted attributes it knows.
    """
    known = sklearn.mixture.GaussianMixture().get_params()
    parameters = {name: value for name, value in mixture.get_params().items() if name in known}
    attributes = _fitted(mixture)
    if mixture.covariance_type in _NEAREST:
        parameters["covariance_type"] = _NEAREST[mixture.covariance_type]
        n_components = mixture.n_components
        if parameters["precisions_init"] is not None:
            parameters["precisions_init"] = _untied(parameters["precisions_init"], n_components)
        for name in _SHAPED:
            if name in attributes:
                attributes[name] = _untied(attributes[name], n_components)
    converted = sklearn.mixture.GaussianMixture(**copy.deepcopy(parameters))
    converted.__dict__.update(copy.deepcopy(attributes))
    return converted


def from_scikit_learn(cls: type[_Mixture], mixture: sklearn.mixture.GaussianMixture) -> _Mixture:
    """Return one of scikit-learn's mixtures as an estimator of the class given.

    Parameters
    ----------
    cls : type
        `GaussianMixture` or a subclass.
    mixture : sklearn.mixture.GaussianMixture
        The mixture, fitted or not.

    Returns
    -------
    GaussianMixture
        With copies of all parameters and fitted attributes.

    Raises
    ------
    TypeError
        If `mixture` is something else.
    """
    if not isinstance(mixture, sklearn.mixture.GaussianMixture):
        raise TypeError(
            "from_sklearn takes a sklearn.mixture.GaussianMixture, but got an object of type "
            f"{type(mixture).__name__!r}"
        )
    known = sklearn.mixture.GaussianMixture().get_params()
    taken = known.keys() & set(cls._get_param_names())
    parameters = {name: getattr(mixture, name) for name in taken}
    converted = cls(**copy.deepcopy(parameters))
    converted.__dict__.update(copy.deepcopy(_fitted(mixture)))
    return converted


def _fitted(mixture: Any) -> dict[str, Any]:
    return {name: vars(mixture)[name] for name in _ATTRIBUTES if name in vars(mixture)}


def _untied(values: Any, n_components: int) -> np.ndarray[Any, Any]:
    """Repeat what all components share once for each."""
    return np.repeat(np.asarray(values)[None], n_components, axis=0)
