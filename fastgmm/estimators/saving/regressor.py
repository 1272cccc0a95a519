"""Regressors to and from model files."""

from __future__ import annotations

from os import PathLike, fspath

import numpy as np

from fastgmm.estimators.regressor import GaussianMixtureRegressor
from fastgmm.estimators.saving.owner_storage import plain_owner, restored_owner
from fastgmm.estimators.shared.targets import TargetColumns
from fastgmm.io import model_file as persistence
from fastgmm.io.model_file import StoredModel
from fastgmm.io.values import require, typed_members


def save_regressor(regressor: GaussianMixtureRegressor, path: str | PathLike[str]) -> None:
    """Write a fitted regressor to a model file, whole or not at all."""
    values, arrays = plain_owner(regressor)
    targets = regressor._targets
    values["targets"] = {
        "numbers": targets.numbers.tolist(),
        "names": None if targets.names is None else list(targets.names),
        "single": targets.single,
    }
    persistence.save(fspath(path), GaussianMixtureRegressor.__name__, values, arrays)


def restored_regressor(stored: StoredModel) -> GaussianMixtureRegressor:
    """Return the regressor that a file holds, after checking that its parts belong together."""
    kinds = {"numbers": tuple[int, ...], "names": tuple[str, ...] | None, "single": bool}
    told = typed_members(stored.values["targets"], kinds, "targets")
    numbers, names = told["numbers"], told["names"]
    regressor = restored_owner(
        GaussianMixtureRegressor, stored, dict(stored.arrays), n_targets=len(numbers)
    )
    n_columns = regressor.mixture_.means_.shape[1]
    if len(set(numbers)) < len(numbers) or not set(numbers) < set(range(n_columns)) or not numbers:
        raise ValueError(f"the targets {list(numbers)} are no columns of {n_columns}")
    if names is not None and len(names) != len(numbers):
        raise ValueError(f"{len(names)} names for {len(numbers)} targets")
    require(len(numbers) == 1 or not told["single"], "a single target is one column")
    regressor._targets = TargetColumns(np.array(numbers, dtype=np.intp), names, told["single"])
    return regressor
