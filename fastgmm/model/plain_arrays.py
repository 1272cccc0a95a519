"""The model's values as plain arrays under names, which files hold, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Value = TypeVar("_Value", bound="DataclassInstance")


def arrays_of(value: DataclassInstance, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that a value is made of.

    Parameters
    ----------
    value : dataclass
        `MixtureParameters`, `SufficientStatistics`, `Regularisation` or the like.
    prefix : str
        What the names begin with.

    Returns
    -------
    dict of str to ndarray
        Each array as it is, under the prefix, an underscore and the name of its attribute.
        Attributes that are no arrays are left out.
    """
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    return {
        f"{prefix}_{name}": array for name, array in found.items() if isinstance(array, np.ndarray)
    }


def from_arrays(
    kind: type[_Value], prefix: str, arrays: Mapping[str, npt.NDArray[Any]], **others: Any
) -> _Value:
    """Return the value that `arrays_of` took apart.

    Parameters
    ----------
    kind : type
        Its class.
    prefix : str
        What the names begin with.
    arrays : mapping of str to ndarray
        What `arrays_of` returned; other entries are left alone.
    **others
        The attributes that are no arrays.

    Returns
    -------
    dataclass
        The value.

    Raises
    ------
    KeyError
        If an array is missing.
    """
    names = [each.name for each in fields(kind) if each.name not in others]
    return kind(**{name: arrays[f"{prefix}_{name}"] for name in names}, **others)
