"""The model's values as plain arrays under names, which files hold, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Value = TypeVar("_Value", bound="DataclassInstance")


def arrays_of(value: DataclassInstance, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that a value is made of."""
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    return {
        f"{prefix}_{name}": array for name, array in found.items() if isinstance(array, np.ndarray)
    }


class Size(NamedTuple):
    """What the shapes of a mixture's arrays follow from.

    Attributes
    ----------
    n_components : int
        Number of components; noise is one.
    n_features : int
        Number of features.
    is_diagonal : bool
        Whether of matrices only the diagonals are held.
    has_noise : bool
        Whether the last component is noise, which has no spread.
    """

    n_components: int
    n_features: int
    is_diagonal: bool
    has_noise: bool = False


_AXES = {
    "log_weights": "K",
    "means": "KD",
    "whiteners": "KS",
    "log_normalizers": "K",
    "reference": "KD",
    "counts": "K",
    "first": "KD",
    "second": "KS",
    "amounts": "D",
    "constant": "D",
    "mean": "D",
    "scatter": "S",
    "mean_precisions": "K",
    "degrees_of_freedom": "K",
}
"""Axes of arrays by name: components K, features D, and the axes S of a matrix or its diagonal."""

_LARGEST = float(np.sqrt(np.finfo(np.float64).max))


def from_arrays(
    kind: type[_Value],
    prefix: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    size: Size,
    **others: Any,
) -> _Value:
    """Return the value that `arrays_of` took apart, after a look at types, shapes and ranges."""
    names = [each.name for each in fields(kind) if each.name not in others]
    found = {name: arrays[f"{prefix}_{name}"] for name in names}
    for name, array in found.items():
        _check(f"{prefix}_{name}", name, array, size)
    return kind(**found, **others)


def _check(full_name: str, name: str, array: npt.NDArray[Any], size: Size) -> None:
    """Raise unless an array can be what its name says."""
    dtype = np.dtype(bool if name == "constant" else np.float64)
    # Lists of scores are of the type of the rows.
    if array.dtype != dtype and not (array.dtype.kind == "f" and name not in _AXES):
        raise ValueError(f"{full_name} is of dtype {array.dtype}, not {dtype}")
    K, D = size.n_components, size.n_features
    shapes = {"K": (K,), "D": (D,), "S": (D,) if size.is_diagonal else (D, D)}
    if name in _AXES:
        shape = tuple(length for axis in _AXES[name] for length in shapes[axis])
        if array.shape != shape:
            raise ValueError(f"{full_name} has shape {array.shape}, not {shape}")
    if name in ("means", "reference", "first", "mean") and not (np.abs(array) < _LARGEST).all():
        raise ValueError(f"{full_name} holds {np.abs(array).max():.6g}, whose square overflows")
    diagonal = array
    if name == "whiteners" and size.has_noise:
        if array[-1].any():
            raise ValueError(f"{full_name} has a spread for the noise")
        array = diagonal = array[:-1]
    if name in ("whiteners", "second", "scatter") and not size.is_diagonal:
        diagonal = np.diagonal(array, axis1=-2, axis2=-1)
    if name in ("whiteners", "scatter", "mean_precisions", "degrees_of_freedom", "concentrations"):
        if not (diagonal > 0.0).all():
            raise ValueError(f"{full_name} holds {diagonal.min():.6g}, which is not positive")
    elif name in ("counts", "second", "amounts") and not (diagonal >= 0.0).all():
        raise ValueError(f"{full_name} holds {diagonal.min():.6g}, which is negative")
    if name == "whiteners" and not size.is_diagonal and np.triu(array, 1).any():
        raise ValueError(f"{full_name} holds matrices that are not lower triangular")
    if name in ("second", "scatter") and not size.is_diagonal:
        transposed = array.swapaxes(-1, -2)
        if not np.allclose(array, transposed, rtol=1e-6, atol=1e-6 * float(np.abs(array).max())):
            raise ValueError(f"{full_name} holds matrices that are not symmetric")
    if name == "log_weights" and not (array.max() <= 1e-6):
        raise ValueError(f"{full_name} holds {array.max():.6g}, the logarithm of more than 1")
