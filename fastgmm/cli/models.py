"""A fitted model and the table to use it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.files import check_finite, read_table

if TYPE_CHECKING:
    from fastgmm.estimators.gaussian_mixture import GaussianMixture

MODEL_SUFFIX = ".fgm"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A fitted mixture from a file.

    Attributes
    ----------
    mixture : GaussianMixture
        The mixture. It has forgotten the names of its columns, because it is given rows without.
    feature_names : tuple of str or None
        The names, if it had any.
    """

    mixture: GaussianMixture
    feature_names: tuple[str, ...] | None


def load_model(path: Path, **parameters: Any) -> LoadedModel:
    """Load a fitted mixture.

    Parameters
    ----------
    path : Path
        A file that ``fastgmm fit`` or ``save`` wrote.
    **parameters
        Constructor parameters to set, for what the mixture is to do.

    Returns
    -------
    LoadedModel
        The mixture.
    """
    from fastgmm import load

    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    mixture = load(path).set_params(**parameters)
    names = vars(mixture).pop("feature_names_in_", None)
    return LoadedModel(mixture, None if names is None else tuple(map(str, names)))


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


def read_rows(path: Path, model: LoadedModel) -> NDArray[Any]:
    """Read the rows that a model is to be used on.

    Parameters
    ----------
    path : Path
        A table. If it and the model have names for their columns, those of the model are used, in
        its order; if not, the columns must be as many as the model's.
    model : LoadedModel
        The fitted mixture.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        The rows, all finite.
    """
    table = read_table(path, columns_if_named=model.feature_names)
    n_features = model.mixture.n_features_in_
    if table.values.shape[1] != n_features:
        raise ValueError(
            f"{str(path)!r} has {table.values.shape[1]} columns, and the model was fitted to "
            f"{n_features}"
        )
    check_finite(table)
    return table.values


def component_columns(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of an array with one column for each component, under their names."""
    return {f"component_{k}": np.ascontiguousarray(values[:, k]) for k in range(values.shape[1])}
