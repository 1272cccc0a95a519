"""A fitted model and the table to use it on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.files import Table, check_finite, read_table

if TYPE_CHECKING:
    from fastgmm.estimators.gaussian_mixture import GaussianMixture

MODEL_SUFFIX = ".fgm"


def load_model(path: Path) -> GaussianMixture:
    """Load a fitted mixture.

    Parameters
    ----------
    path : Path
        A file that ``fastgmm fit`` or ``save`` wrote.

    Returns
    -------
    GaussianMixture
        The mixture.
    """
    from fastgmm import load

    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    return load(path)


def check_model_path(path: Path | None) -> None:
    """Make sure before the work that a model can be written.

    Parameters
    ----------
    path : Path or None
        Where it is to go.
    """
    if path is None:
        return
    if path.suffix != MODEL_SUFFIX:
        raise ValueError(f"cannot write {str(path)!r}: a model's name must end in {MODEL_SUFFIX}")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")


def feature_names(model: GaussianMixture) -> list[str] | None:
    """Return the names of the columns that a model was fitted to, or None if they had none."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def read_rows(path: Path, model: GaussianMixture) -> Table:
    """Read the rows that a model is to be used on.

    Parameters
    ----------
    path : Path
        A table. If it and the model have names for their columns, those of the model are used, in
        its order; if not, the columns must be as many as the model's.
    model : GaussianMixture
        The fitted mixture.

    Returns
    -------
    Table
        The rows, all finite.
    """
    table = read_table(path, columns_if_named=feature_names(model))
    n_features = model.n_features_in_
    if table.values.shape[1] != n_features:
        raise ValueError(
            f"{str(path)!r} has {table.values.shape[1]} columns, and the model was fitted to "
            f"{n_features}"
        )
    check_finite(table)
    return table


def component_columns(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of an array with one column for each component, under their names."""
    return {f"component_{k}": np.ascontiguousarray(values[:, k]) for k in range(values.shape[1])}
