"""Classifiers to and from model files."""

from __future__ import annotations

import math
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from fastgmm.estimators.classifier import GaussianMixtureClassifier
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.saving.mixtures import plain_mixture, restored_mixture
from fastgmm.io import model_file as persistence
from fastgmm.io.arrays import Size, arrays_of, from_arrays
from fastgmm.io.model_file import StoredModel
from fastgmm.io.values import require, typed_members
from fastgmm.mixture.statistics import SufficientStatistics

_STATISTICS = "statistics"
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


def save_classifier(classifier: GaussianMixtureClassifier, path: str | PathLike[str]) -> None:
    """Write a fitted classifier to a model file, whole or not at all.

    The mixture of each class is in it as it would be in a file of its own.
    """
    check_is_fitted(classifier)
    state = vars(classifier)
    arrays: dict[str, npt.NDArray[Any]] = {
        name: state[name] for name in _ARRAYS if state.get(name) is not None
    }
    mixtures = []
    for c, mixture in enumerate(classifier.mixtures_):
        _, values, own = plain_mixture(mixture)
        mixtures.append(values)
        arrays |= {f"{_prefix(c)}{name}": array for name, array in own.items()}
    statistics = classifier._statistics
    if statistics is not None:
        arrays |= arrays_of(statistics, _STATISTICS)
    names, dtype = state.get("feature_names_in_"), classifier.classes_.dtype
    values = {
        "parameters": _plain_parameters(classifier),
        "classes": [_plain(each) for each in classifier.classes_.tolist()],
        "classes_dtype": "object" if dtype.kind == "O" else dtype.str,
        "structure_shares": classifier.structure_shares_,
        "temperature": float(classifier.temperature_),
        "n_iter": int(classifier.n_iter_),
        "reject_label": _plain(state.get("reject_label_")),
        "feature_names": None if names is None else list(names),
        "statistics_weight": None if statistics is None else statistics.weight,
        "mixtures": mixtures,
    }
    persistence.save(fspath(path), GaussianMixtureClassifier.__name__, values, arrays)


def _plain_parameters(classifier: GaussianMixtureClassifier) -> dict[str, Any]:
    """Return the parameters as values that JSON knows; dicts become lists of pairs."""
    parameters = {name: vars(classifier)[name] for name in classifier._get_param_names()}
    if isinstance(parameters["random_state"], np.random.RandomState):
        parameters["random_state"] = None
    if parameters["priors"] is not None:
        parameters["priors"] = np.asarray(parameters["priors"], dtype=np.float64).tolist()
    for name in ("n_components", "covariance_type", "class_weight"):
        value = parameters[name]
        if isinstance(value, dict):
            pairs = [[_plain(key), _plain(each)] for key, each in value.items()]
            parameters[name] = {"pairs": pairs}
        else:
            parameters[name] = _plain(value)
    parameters["reject_label"] = _plain(parameters["reject_label"])
    return parameters


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's numbers as Python's, and iterables as lists."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    return [_plain(each) for each in value]


def _prefix(c: int) -> str:
    return f"class{c}_"


def restored_classifier(stored: StoredModel) -> GaussianMixtureClassifier:
    """Return the classifier that a file holds, after checking that its parts belong together."""
    values = typed_members(stored.values, _KINDS, "values")
    parameters = dict(values["parameters"])
    for name in ("n_components", "class_weight"):
        if isinstance(parameters[name], dict):
            parameters[name] = dict(parameters[name]["pairs"])
    classifier = GaussianMixtureClassifier(**parameters)
    classifier._validate_params()
    plain_classes = values["classes"]
    classifier.classes_ = np.array(plain_classes, dtype=np.dtype(values["classes_dtype"]))
    n_classes = len(classifier.classes_)
    if classifier.classes_.tolist() != plain_classes or len(set(plain_classes)) != n_classes:
        raise ValueError(f"the classes {plain_classes} are not different ones of one type")
    if len(values["mixtures"]) != n_classes:
        raise ValueError(f"{n_classes} classes, but {len(values['mixtures'])} mixtures")
    classifier.mixtures_ = [_restored(c, each, stored) for c, each in enumerate(values["mixtures"])]
    sizes = {mixture.means_.shape[1] for mixture in classifier.mixtures_}
    if len(sizes) != 1:
        raise ValueError(f"the mixtures differ in their numbers of features, {sorted(sizes)}")
    classifier.n_features_in_ = sizes.pop()
    for name in _ARRAYS:
        if name in stored.arrays:
            array = stored.arrays[name]
            if array.shape != (n_classes,) or array.dtype.kind != "f":
                raise ValueError(f"{name} is no list of {n_classes} numbers")
            setattr(classifier, name, array)
    if not hasattr(classifier, "class_prior_"):
        raise KeyError("class_prior_")
    if not (classifier.class_prior_.min() >= 0.0 and abs(classifier.class_prior_.sum() - 1) < 1e-3):
        raise ValueError(f"class_prior_ is {classifier.class_prior_}")
    shares = values["structure_shares"]
    classifier.structure_shares_ = typed_members(shares, dict.fromkeys(shares, float), "shares")
    classifier.temperature_ = values["temperature"]
    if not classifier.temperature_ > 0.0:
        raise ValueError(f"temperature_ is {classifier.temperature_}")
    classifier.n_iter_ = values["n_iter"]
    if values["reject_label"] is not None:
        classifier.reject_label_ = values["reject_label"]
    names = values["feature_names"]
    if names is not None:
        if len(names) != classifier.n_features_in_:
            raise ValueError(f"{len(names)} names for {classifier.n_features_in_} features")
        classifier.feature_names_in_ = np.array(names, dtype=object)
    weight = values["statistics_weight"]
    if weight is not None:
        require(weight > 0.0, f"the weight {weight:.6g} of statistics is positive")
        is_diagonal = stored.arrays[f"{_STATISTICS}_second"].ndim == 2
        classifier._statistics = from_arrays(
            SufficientStatistics,
            _STATISTICS,
            stored.arrays,
            Size(n_classes, classifier.n_features_in_, is_diagonal),
            log_likelihood=math.nan,
            weight=weight,
        )
    return classifier


def _restored(c: int, values: dict[str, Any], stored: StoredModel) -> GaussianMixture:
    """Return the mixture of a class."""
    own = {
        name.removeprefix(_prefix(c)): array
        for name, array in stored.arrays.items()
        if name.startswith(_prefix(c))
    }
    mixture = restored_mixture(
        StoredModel(GaussianMixture.__name__, values, own, stored.library_version),
        may_be_empty=True,
    )
    assert isinstance(mixture, GaussianMixture)
    return mixture
