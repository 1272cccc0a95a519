"""Estimators to model files and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike, fspath
from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from fastgmm.em.loop import FitInfo
from fastgmm.estimators.shared.attributes import (
    FACTOR_ATTRIBUTES,
    FITTED_STRUCTURE,
    attributes_from_parameters,
    check_attribute_shape,
    components_from_attributes,
    parameters_from_attributes,
)
from fastgmm.io import model_file
from fastgmm.io.states import State, check_spread, check_squares, require, typed_members
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import ConjugatePriors
from fastgmm.mixture.structures import CovarianceStructure, name_or_instance

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
_NUMBERS_OR_ARRAYS = ("degrees_of_freedom_", "covariance_prior_")
"""Attributes whose form depends on the structure."""
_CONCENTRATION = "weight_concentration_"
"""An array, or a tuple of two."""
_ARRAYS = (
    "weights_",
    "means_",
    "precisions_cholesky_",
    *FACTOR_ATTRIBUTES,
    *_COVARIANCE_ARRAYS,
    "scales_",
    "dofs_",
    "trace_",
    "validation_scores_",
    "mean_precision_",
    "mean_prior_",
    _CONCENTRATION,
)
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


class SavedModel(ABC):
    """`save`, and the state that it writes and `fastgmm.load` reads."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted estimator to a file, which `fastgmm.load` reads.

        The file holds plain arrays and a JSON header, nothing that can run code. It appears
        under its name only when it is complete.

        Parameters
        ----------
        path : str or path
            Where to write; by custom the name ends in ".fgm". ``~`` is the home folder.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If attributes were changed so that they do not belong together, or parameters to what
            they may not be.
        OSError
            If the file cannot be written.
        """
        state = self._to_state()
        cast("Any", self)._validate_params()  # set_params may have set what load refuses
        model_file.save(fspath(path), self._saved_class().__name__, *state)

    @abstractmethod
    def _to_state(self) -> State:
        """Return what a model file holds of the fitted estimator."""

    @classmethod
    @abstractmethod
    def _from_state(cls, state: State) -> Self:
        """Return the estimator of a state, after checking that its parts belong together."""

    @classmethod
    def _saved_class(cls) -> Any:
        """Return the class that files are of: of a user's subclass, the one that it extends."""
        return next(each for each in cls.__mro__ if each.__module__.startswith("fastgmm."))

    def _saved_parameters(self) -> dict[str, Any]:
        """Return the parameters of that class by name."""
        parameters = {name: vars(self)[name] for name in self._saved_class()._get_param_names()}
        if isinstance(parameters["random_state"], np.random.RandomState):
            parameters["random_state"] = None
        if isinstance(kind := parameters.get("covariance_type"), CovarianceStructure):
            parameters["covariance_type"] = name_or_instance(kind)
        if frozen := parameters.get("frozen"):
            parameters["frozen"] = {name: np.asarray(frozen[name]).tolist() for name in frozen}
        return parameters


def restored(kind: Any, parameters: dict[str, Any]) -> Any:
    """Return an unfitted estimator with these parameters, checked."""
    estimator = kind(**parameters)
    estimator._validate_params()
    return estimator


def set_features(estimator: Any, n_features: int, names: Sequence[str] | None) -> None:
    """Set the attributes of the features after a look at the number of names."""
    estimator.n_features_in_ = n_features
    if names is not None:
        if len(names) != n_features:
            raise ValueError(f"{len(names)} names, but means_ {n_features} columns")
        estimator.feature_names_in_ = np.array(names, dtype=object)


class SavedMixture(SavedModel):
    """The state of a fitted mixture."""

    _trace_axes: ClassVar[int] = 1
    _spread_arrays: ClassVar[tuple[str, str]] = _COVARIANCE_ARRAYS
    """The attributes that hold the covariances, or what is in their place, and their inverses."""

    def _to_state(self) -> State:
        check_is_fitted(self, ["weights_", "means_", "precisions_cholesky_"])
        mixture: Any = self
        kind = mixture._structure()
        parameters_from_attributes(mixture, kind)  # raises what predict would
        fitted, parameters = vars(self), self._saved_parameters()
        arrays = {name: np.asarray(fitted[name]) for name in _ARRAYS if name in fitted}
        if kind.n_factors is None and not arrays.keys() >= set(self._spread_arrays):
            # it was put together by hand
            made = attributes_from_parameters(components_from_attributes(mixture), kind)
            names = zip(self._spread_arrays, _COVARIANCE_ARRAYS, strict=True)
            arrays = {name: made[source] for name, source in names} | arrays
        for name in _ARRAY_PARAMETERS:
            value = parameters.pop(name, None)
            if value is not None:
                arrays[name] = np.asarray(value)
        parameters["covariance_type"] = name_or_instance(kind)
        if "n_factors" in parameters:
            parameters["n_factors"] = kind.n_factors
        if isinstance(parameters.get("priors"), ConjugatePriors):
            parameters["priors"] = parameters["priors"].plain()
        parameters.update({name: _OF_ONE_RUN[name] for name in _OF_ONE_RUN if name in parameters})
        attributes = {name: fitted[name] for name in _KINDS if name in fitted}
        for name in _NUMBERS_OR_ARRAYS:
            if np.ndim(attributes.get(name, 0.0)):
                arrays[name] = np.asarray(attributes.pop(name))
        if attributes.get("lower_bound_") == -np.inf:
            attributes["lower_bound_"] = None
        if "feature_names_in_" in attributes:
            attributes["feature_names_in_"] = list(attributes["feature_names_in_"])
        if "fit_info_" in attributes:
            attributes["fit_info_"] = asdict(attributes["fit_info_"])
        self._check_saved(arrays)
        return State({"parameters": parameters, "attributes": attributes}, arrays)

    @classmethod
    def _from_state(cls, state: State, *, may_be_empty: bool = False) -> Self:
        arrays = dict(state.arrays)
        parameters = dict(state.values["parameters"])
        parameters.update({name: arrays.pop(name) for name in _ARRAY_PARAMETERS if name in arrays})
        if isinstance(parameters.get("priors"), dict):
            parameters["priors"] = ConjugatePriors.from_plain(parameters["priors"])
        mixture = restored(cls, parameters)
        for name in arrays:
            if name not in (*_ARRAYS, *_NUMBERS_OR_ARRAYS):
                raise ValueError(f"it has no attribute {name!r}")
            if arrays[name].dtype.kind != "f":
                raise ValueError(f"{name} is of dtype {arrays[name].dtype}, not float64")
        held = state.values["attributes"]
        for name in held:
            if name not in _KINDS:
                raise ValueError(f"it has no attribute {name!r}")
        attributes = typed_members(held, {name: _KINDS[name] for name in held}, "attributes")
        if attributes.get("lower_bound_", 0.0) is None:
            attributes["lower_bound_"] = -np.inf
        if "lower_bounds_" in attributes:
            attributes["lower_bounds_"] = list(attributes["lower_bounds_"])
        names = attributes.pop("feature_names_in_", None)
        mixture.__dict__.update(arrays | attributes)
        mixture.__dict__[FITTED_STRUCTURE] = mixture._structure_asked()
        if np.ndim(arrays.get(_CONCENTRATION, ())) == 2:
            mixture.__dict__[_CONCENTRATION] = tuple(each.copy() for each in arrays[_CONCENTRATION])
        mixture._check_saved(arrays)
        if not (mixture.weights_.any() or may_be_empty):
            raise ValueError("all weights_ are 0")
        n_features = mixture.means_.shape[1]
        kept = attributes.get("n_features_in_", n_features)  # put together by hand, it may lack it
        if kept != n_features:
            raise ValueError(f"n_features_in_ is {kept}, but means_ has {n_features}")
        set_features(mixture, n_features, names)
        return mixture  # type: ignore[no-any-return]

    def _check_saved(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Raise unless the fitted attributes belong together; `arrays` are those among them."""
        mixture, fitted = cast("Any", self), vars(self)
        mixture._parameters()  # which checks those that predict needs
        if getattr(mixture, "frozen", None):
            mixture._n_parameters()  # which checks that there is what is frozen
        check_squares("means_", np.asarray(mixture.means_))
        kind = mixture._structure()
        total = float(np.sum(mixture.weights_)) + fitted.get("noise_weight_", 0.0)
        if total != 0.0:
            require(abs(total - 1.0) < 1e-3, f"the weights, {total:.6g} in all, sum to 1")
        with np.errstate(all="ignore"):
            for name in () if kind.n_factors else self._spread_arrays:
                components = components_from_attributes(mixture)
                _check_covariances(name, arrays[name], components, kind)
        for name in ("n_iter_", "n_components_", "n_epochs_", "n_samples_seen_", "n_steps_"):
            require(fitted.get(name, 0) >= 0, f"{name}={fitted.get(name)} is at least 0")
        for name in ("trace_", "validation_scores_"):
            if name in arrays and arrays[name].ndim != self._trace_axes:
                raise ValueError(f"{name} has {arrays[name].ndim} axes, not {self._trace_axes}")
        if (info := fitted.get("fit_info_")) is not None:
            same = np.array_equal(arrays["trace_"], info.trace)
            require(same and info.n_iter == len(info.trace) - 1, "trace_ has a value an iteration")


def _check_covariances(
    name: str,
    array: npt.NDArray[Any],
    components: MixtureParameters,
    structure: CovarianceStructure,
) -> None:
    """Raise unless covariances, or precisions, are those of the components up to rounding."""
    K, D = components.means.shape
    check_attribute_shape(name, array, structure.covariance_shape(K, D))
    check_spread(name, array, structure.is_diagonal)
    found = structure.expand(array, K, D)
    made = components.precisions() if name == "precisions_" else components.covariances()
    tolerance = np.array(1e-3)
    if not structure.is_diagonal:
        found, made = (np.diagonal(each, axis1=1, axis2=2) for each in (found, made))
        if name != "precisions_":  # whose rounding, in single precision, the inverse magnifies
            scaled = components.whiteners * np.sqrt(made)[:, None, :]
            tolerance = np.maximum(1e-3, 1e-6 * np.linalg.cond(scaled) ** 2)[:, None]
    same = (found <= (1.0 + tolerance) * made) & (made <= (1.0 + tolerance) * found)
    require(bool(same.all()), f"{name} belong to precisions_cholesky_")
