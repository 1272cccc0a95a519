"""What model files hold of any estimator that owns a fitted mixture, its `mixture_`."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from fastgmm.estimators.saving.mixtures import plain_mixture, restored_mixture
from fastgmm.io.model_file import StoredModel
from fastgmm.io.values import typed

_Owner = TypeVar("_Owner")


def plain_owner(owner: Any) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return what a model file holds of an estimator and its mixture.

    The mixture is in it as it would be in a file of its own.
    """
    check_is_fitted(owner)
    name_of_class, mixture, arrays = plain_mixture(owner.mixture_)
    parameters = {name: vars(owner)[name] for name in owner._get_param_names()}
    if isinstance(parameters["random_state"], np.random.RandomState):
        parameters["random_state"] = None
    names = vars(owner).get("feature_names_in_")
    values: dict[str, Any] = {
        "parameters": parameters,
        "feature_names": None if names is None else list(names),
        "mixture": {"class": name_of_class, **mixture},
    }
    return values, arrays


def restored_owner(
    kind: type[_Owner],
    stored: StoredModel,
    arrays: dict[str, npt.NDArray[Any]],
    n_targets: int = 0,
) -> _Owner:
    """Return the estimator that a file holds, after checking that its parts belong together."""
    values = stored.values
    owner: Any = kind(**values["parameters"])
    owner._validate_params()
    mixture = dict(values["mixture"])
    owner.mixture_ = restored_mixture(
        StoredModel(mixture.pop("class"), mixture, arrays, stored.library_version)
    )
    owner.n_features_in_ = owner.mixture_.means_.shape[1] - n_targets
    names = typed(values["feature_names"], tuple[str, ...] | None, "feature_names")
    if names is not None:
        if len(names) != owner.n_features_in_:
            raise ValueError(f"{len(names)} names, but means_ {owner.n_features_in_} columns")
        owner.feature_names_in_ = np.array(names, dtype=object)
    return owner  # type: ignore[no-any-return]
