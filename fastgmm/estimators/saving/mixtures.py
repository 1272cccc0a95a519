"""Estimators to and from model files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from fastgmm.em.loop import FitInfo
from fastgmm.estimators.bayesian_mixture import BayesianGaussianMixture
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.message_length import MessageLengthGaussianMixture
from fastgmm.estimators.minibatch import MiniBatchGaussianMixture
from fastgmm.estimators.shared.attributes import (
    attributes_from_parameters,
    check_attribute_shape,
    components_from_attributes,
)
from fastgmm.estimators.shared.online import OnlineLearning
from fastgmm.io import model_file as persistence
from fastgmm.io.arrays import Size
from fastgmm.io.model_file import ModelFileError, StoredModel
from fastgmm.io.values import typed_members
from fastgmm.mixture.priors.conjugate import ConjugatePriors
from fastgmm.mixture.structures import structure

Mixture = GaussianMixture | BayesianGaussianMixture | MessageLengthGaussianMixture

_CLASSES: dict[str, type[Mixture]] = {
    each.__name__: each
    for each in (
        MiniBatchGaussianMixture,
        GaussianMixture,
        BayesianGaussianMixture,
        MessageLengthGaussianMixture,
    )
}
_OWNERS = {
    "GaussianMixtureOutlierDetector": ("detector", "restored_detector"),
    "GaussianMixtureRegressor": ("regressor", "restored_regressor"),
    "GaussianMixtureTransformer": ("transformer", "restored_transformer"),
    "GaussianMixtureClassifier": ("classifier", "restored_classifier"),
}
"""Where the functions are that restore estimators which own mixtures; they import this module."""
_ARRAY_PARAMETERS = (
    "weights_init",
    "means_init",
    "precisions_init",
    "labels_init",
    "mean_prior",
    "covariance_prior",
)
_OF_ONE_RUN: dict[str, Any] = {"checkpoint": None, "resume": False}
"""Parameters that belong to the run that made the model, not to the model."""

_COVARIANCE_ARRAYS = ("covariances_", "precisions_")
_TRACES = ("trace_", "validation_scores_")
_ARRAYS = (
    "weights_",
    "means_",
    "precisions_cholesky_",
    *_COVARIANCE_ARRAYS,
    *_TRACES,
    "mean_precision_",
    "mean_prior_",
)
_NUMBERS_OR_ARRAYS = ("degrees_of_freedom_", "covariance_prior_")
"""Attributes whose form depends on the structure."""
_CONCENTRATION = "weight_concentration_"
"""An array, or a tuple of two."""
_ONLINE = "online_"
"""Prefix of the names of the arrays from which `partial_fit` continues."""


_KINDS: dict[str, Any] = {
    "converged_": bool,
    "n_iter_": int,
    # JSON has no infinity: a mixture of scikit-learn's that made no iteration has minus infinity.
    "lower_bound_": float | None,
    "lower_bounds_": tuple[float, ...],
    "n_features_in_": int,
    "feature_names_in_": tuple[str, ...],
    "fit_info_": FitInfo,
    "noise_weight_": float,
    "noise_log_volume_": float,
    "n_components_": int,
    "message_length_": float,
    "n_epochs_": int,
    "n_samples_seen_": int,
    "n_steps_": int,
    "weight_concentration_prior_": float,
    "mean_precision_prior_": float,
    "degrees_of_freedom_prior_": float,
    **dict.fromkeys(_NUMBERS_OR_ARRAYS, float),
}
"""What the attributes in the header are, in the form that `typed` takes."""


def save_mixture(mixture: Mixture, path: str | PathLike[str]) -> None:
    """Write a fitted mixture to a model file, whole or not at all."""
    persistence.save(fspath(path), *plain_mixture(mixture))


def plain_mixture(
    mixture: Mixture,
) -> tuple[str, dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return what a model file holds of a fitted mixture."""
    check_is_fitted(mixture, ["weights_", "means_", "precisions_cholesky_"])
    components = components_from_attributes(mixture)  # raises what predict would
    state = vars(mixture)
    name_of_class = next(name for name, each in _CLASSES.items() if isinstance(mixture, each))
    parameters = {name: state[name] for name in _CLASSES[name_of_class]._get_param_names()}
    arrays = {name: np.asarray(state[name]) for name in (*_ARRAYS, _CONCENTRATION) if name in state}
    if not arrays.keys() >= set(_COVARIANCE_ARRAYS):  # it was put together by hand
        made = attributes_from_parameters(components, mixture._structure())
        arrays = {name: made[name] for name in _COVARIANCE_ARRAYS} | arrays
    for name in _ARRAY_PARAMETERS:
        value = parameters.pop(name, None)
        if value is not None:
            arrays[name] = np.asarray(value)
    if isinstance(parameters["random_state"], np.random.RandomState):
        parameters["random_state"] = None
    if isinstance(parameters.get("priors"), ConjugatePriors):
        parameters["priors"] = parameters["priors"].plain()
    parameters.update({name: _OF_ONE_RUN[name] for name in _OF_ONE_RUN if name in parameters})
    attributes = {name: state[name] for name in _KINDS if name in state}
    for name in _NUMBERS_OR_ARRAYS:
        if np.ndim(attributes.get(name, 0.0)):
            arrays[name] = np.asarray(attributes.pop(name))
    if attributes.get("lower_bound_") == -np.inf:
        attributes["lower_bound_"] = None
    if "feature_names_in_" in attributes:
        attributes["feature_names_in_"] = list(attributes["feature_names_in_"])
    if "fit_info_" in attributes:
        attributes["fit_info_"] = asdict(attributes["fit_info_"])
    values = {"parameters": parameters, "attributes": attributes}
    learnt = mixture._current_state() if isinstance(mixture, OnlineLearning) else None
    if learnt is not None:
        values["online"], online_arrays = learnt.plain()
        arrays.update(online_arrays)
    return name_of_class, values, arrays


def load(path: str | PathLike[str]) -> Any:
    """Return the fitted model in a model file, as `save` wrote it.

    Nothing in the file can run code.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    estimator
        Of the class of the one saved, with its parameters and fitted attributes.

    Raises
    ------
    ModelFileError
        If the file is not a model file, is damaged, or was written by a newer version.
    OSError
        If the file cannot be read.
    """
    stored = persistence.load(fspath(path))
    if stored.model_class not in (*_CLASSES, *_OWNERS):
        raise ModelFileError(
            f"{fspath(path)} holds a {stored.model_class}, and fastgmm.load reads mixtures: "
            f"{', '.join(sorted((*_CLASSES, *_OWNERS)))}"
        )
    restore: Callable[[StoredModel], Any] = restored_mixture
    if stored.model_class in _OWNERS:
        module, name = _OWNERS[stored.model_class]
        restore = getattr(import_module(f"fastgmm.estimators.saving.{module}"), name)
    try:
        return restore(stored)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(
            f"{fspath(path)} does not hold a mixture that fits together ({reason}); save the "
            "model again"
        ) from error


def restored_mixture(stored: StoredModel, *, may_be_empty: bool = False) -> Mixture:
    """Return the mixture that a file holds, after checking that its parts belong together."""
    arrays = dict(stored.arrays)
    parameters = dict(stored.values["parameters"])
    parameters.update({name: arrays.pop(name) for name in _ARRAY_PARAMETERS if name in arrays})
    if isinstance(parameters.get("priors"), dict):
        parameters["priors"] = ConjugatePriors.from_plain(parameters["priors"])
    online = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_ONLINE)}
    mixture = _CLASSES[stored.model_class](**parameters)
    mixture._validate_params()
    for name in arrays:
        if name not in (*_ARRAYS, *_NUMBERS_OR_ARRAYS, _CONCENTRATION):
            raise ValueError(f"it has no attribute {name!r}")
        if arrays[name].dtype.kind != "f":
            raise ValueError(f"{name} is of dtype {arrays[name].dtype}, not float64")
    kinds = {name: _KINDS.get(name) for name in stored.values["attributes"]}
    if None in kinds.values():
        raise ValueError(f"it has no attribute {min(n for n, kind in kinds.items() if not kind)!r}")
    attributes = typed_members(stored.values["attributes"], kinds, "attributes")
    if attributes.get("lower_bound_", 0.0) is None:
        attributes["lower_bound_"] = -np.inf
    if "lower_bounds_" in attributes:
        attributes["lower_bounds_"] = list(attributes["lower_bounds_"])
    if "feature_names_in_" in attributes:
        attributes["feature_names_in_"] = np.array(attributes["feature_names_in_"], dtype=object)
    mixture.__dict__.update(arrays | attributes)
    concentrations = arrays.get(_CONCENTRATION)
    if concentrations is not None and concentrations.ndim == 2:
        mixture.__dict__[_CONCENTRATION] = tuple(each.copy() for each in concentrations)
    kind = structure(mixture.covariance_type)
    mixture._parameters()  # which checks that they belong together
    K, D = mixture.means_.shape
    size = Size(K, D, kind.is_diagonal)
    for name in _COVARIANCE_ARRAYS:
        check_attribute_shape(name, arrays[name], kind.covariance_shape(K, D))
    for name in _TRACES:
        # That of a message length has the log-likelihood beside it.
        axes = 2 if isinstance(mixture, MessageLengthGaussianMixture) else 1
        if name in arrays and arrays[name].ndim != axes:
            raise ValueError(f"{name} has {arrays[name].ndim} axes, not {axes}")
    if not (mixture.weights_.any() or may_be_empty):
        raise ValueError("all weights_ are 0")
    if attributes.get("n_features_in_", D) != D:
        raise ValueError(f"n_features_in_ is {mixture.n_features_in_}, but means_ has {D}")
    mixture.n_features_in_ = D  # which one that was put together by hand may lack
    names = attributes.get("feature_names_in_")
    if names is not None and len(names) != D:
        raise ValueError(f"feature_names_in_ has {len(names)} names, but means_ {D} columns")
    if "online" in stored.values and isinstance(mixture, OnlineLearning):
        mixture._go_on_from(mixture._state_class.from_plain(stored.values["online"], online, size))
    return mixture
