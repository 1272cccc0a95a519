"""Classifiers to model files and back."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.saving import SavedModel, restored, set_features
from fastgmm.io.states import Size, State, from_state, require, to_state, typed_members
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, name_or_instance

_ARRAYS = ("class_prior_", "reject_below_", "_weights")
_KINDS: dict[str, Any] = {
    "parameters": dict,
    "classes": list,
    "classes_dtype": str,
    "structure_shares": dict,
    "temperature": float,
    "n_iter": int,
    "reject_label": object,
    "feature_names": tuple[str, ...] | None,
    "statistics_weight": float | None,
    "mixtures": tuple[dict[str, Any], ...],
}
"""What the values in the header are, in the form that `typed` takes."""


class SavedClasses(SavedModel):
    """The state of a classifier; the mixture of each class is as in a file of its own."""

    def _to_state(self) -> State:
        check_is_fitted(self)
        fitted = vars(self)
        arrays = {name: fitted[name] for name in _ARRAYS if fitted.get(name) is not None}
        mixtures = []
        for c, mixture in enumerate(fitted["mixtures_"]):
            own = mixture._to_state()
            mixtures.append(own.values)
            arrays |= {f"class{c}_{name}": array for name, array in own.arrays.items()}
        statistics = fitted.get("_statistics")
        if statistics is not None:
            arrays |= to_state(statistics, "statistics").arrays
        names, dtype = fitted.get("feature_names_in_"), fitted["classes_"].dtype
        values = {
            "parameters": _plain_parameters(self._saved_parameters()),
            "classes": _plain(fitted["classes_"]),
            "classes_dtype": "object" if dtype.kind == "O" else dtype.str,
            "structure_shares": fitted["structure_shares_"],
            "temperature": float(fitted["temperature_"]),
            "n_iter": int(fitted["n_iter_"]),
            "reject_label": _plain(fitted.get("reject_label_")),
            "feature_names": None if names is None else list(names),
            "statistics_weight": None if statistics is None else statistics.weight,
            "mixtures": mixtures,
        }
        return State(values, arrays)

    @classmethod
    def _from_state(cls, state: State) -> Self:
        values, arrays = typed_members(state.values, _KINDS, "values"), state.arrays
        parameters = dict(values["parameters"])
        for name in ("n_components", "class_weight"):
            if isinstance(parameters[name], dict):
                parameters[name] = dict(parameters[name]["pairs"])
        classifier = restored(cls, parameters)
        plain = values["classes"]
        classifier.classes_ = np.array(plain, dtype=np.dtype(values["classes_dtype"]))
        n_classes = len(plain)
        if classifier.classes_.tolist() != plain or len(set(plain)) != n_classes:
            raise ValueError(f"the classes {plain} are not different ones of one type")
        if len(values["mixtures"]) != n_classes:
            raise ValueError(f"{n_classes} classes, but {len(values['mixtures'])} mixtures")
        classifier.mixtures_ = [
            GaussianMixture._from_state(State(each, state.part(f"class{c}_")), may_be_empty=True)
            for c, each in enumerate(values["mixtures"])
        ]
        sizes = {mixture.means_.shape[1] for mixture in classifier.mixtures_}
        if len(sizes) != 1:
            raise ValueError(f"the mixtures differ in their numbers of features, {sorted(sizes)}")
        n_features = sizes.pop()
        for name in _ARRAYS:
            if name in arrays:
                if arrays[name].shape != (n_classes,) or arrays[name].dtype.kind != "f":
                    raise ValueError(f"{name} is no list of {n_classes} numbers")
                setattr(classifier, name, arrays[name])
        prior = arrays["class_prior_"]
        if not (prior.min() >= 0.0 and abs(prior.sum() - 1.0) < 1e-3):
            raise ValueError(f"class_prior_ is {prior}")
        for mixture, share in zip(classifier.mixtures_, prior, strict=True):
            require(share == 0.0 or mixture.weights_.any(), "classes of weight have components")
        if "_weights" in arrays:
            weights = arrays["_weights"]
            sound = weights.min() >= 0.0 and 0.0 < weights.sum() < np.inf
            require(bool(sound), "_weights are at least 0, and some above")
        shares = values["structure_shares"]
        classifier.structure_shares_ = typed_members(shares, dict.fromkeys(shares, float), "shares")
        classifier.temperature_ = values["temperature"]
        if not classifier.temperature_ > 0.0:
            raise ValueError(f"temperature_ is {classifier.temperature_}")
        classifier.n_iter_ = values["n_iter"]
        if values["reject_label"] is not None:
            classifier.reject_label_ = values["reject_label"]
        rejects = hasattr(classifier, "reject_label_")
        require(rejects == ("reject_below_" in arrays), "reject_below_ goes with a label")
        set_features(classifier, n_features, values["feature_names"])
        weight = values["statistics_weight"]
        if weight is not None:
            numbers = {"log_likelihood": math.nan, "weight": weight}
            is_diagonal = arrays["statistics_second"].ndim == 2
            size = Size(n_classes, n_features, is_diagonal)
            statistics = from_state(SufficientStatistics, "statistics", state, size, **numbers)
            for mixture, mean in zip(classifier.mixtures_, statistics.means(), strict=True):
                own = mixture.weights_ @ mixture.means_  # of several structures, if averaged
                scale = float(np.abs(own).max())  # single precision, in earlier files
                same = np.allclose(own, mean, rtol=0.0, atol=1e-3 * scale)
                require(same or not mixture.weights_.any(), "statistics have the classes' means")
            classifier._statistics = statistics
        return classifier  # type: ignore[no-any-return]


def _plain_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters as values that JSON knows; dicts become lists of pairs."""
    if parameters["priors"] is not None:
        parameters["priors"] = np.asarray(parameters["priors"], dtype=np.float64)
    return {
        name: {"pairs": _plain(value.items())} if isinstance(value, dict) else _plain(value)
        for name, value in parameters.items()
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's numbers as Python's, and iterables as lists."""
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, CovarianceStructure):
        return name_or_instance(value)
    return [_plain(each) for each in value]
