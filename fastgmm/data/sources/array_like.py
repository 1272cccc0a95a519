"""What users give as arrays: masks taken for missing values, and what is wrong with no numbers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import DataError
from fastgmm.data.sources.exactness import check_no_times

_NO_VALUE = {"M": np.datetime64("NaT", "s"), "m": np.timedelta64("NaT", "s")}


def unmasked(values: Any) -> Any:
    """Return an array without a mask, and anything else as it is."""
    if isinstance(values, list | tuple):
        nested = (list, tuple, np.ma.MaskedArray)
        if any(isinstance(each, nested) for each in values):
            return [unmasked(each) if isinstance(each, nested) else each for each in values]
        return values
    if values is np.ma.masked:
        return np.nan
    if not isinstance(values, np.ma.MaskedArray):
        return values
    data = values.data
    if data.dtype.names is not None or not np.ma.is_masked(values):
        return data
    if data.dtype.kind in "biu":
        data = data.astype(np.float64)
    elif data.dtype.kind in "OSTU":
        data = data.astype(object)
    else:
        data = data.copy()
    data[np.ma.getmaskarray(values)] = (
        None if data.dtype.kind == "O" else _NO_VALUE.get(data.dtype.kind, np.nan)
    )
    return data


def is_missing(value: Any) -> bool:
    """Say whether a value stands for one that is missing: None, NaN, NaT or pandas' NA."""
    if value is None or value is getattr(sys.modules.get("pandas"), "NA", None):
        return True
    return not isinstance(value, list | tuple | np.ndarray) and bool(value != value)


def not_numbers(name: str, values: Any, error: Exception) -> Exception:
    """Return the error to raise where values cannot be taken for a table of numbers.

    It may be the given one, which must not be raised from itself: Dask follows causes to their end.
    """
    if isinstance(values, Mapping) and not hasattr(values, "toarray"):  # some sparse ones are dicts
        return TypeError(
            f"{name} is a {type(values).__name__}: give a data frame, as pandas.DataFrame(...) "
            "makes one of columns, or a two-dimensional array"
        )
    fields = getattr(getattr(values, "dtype", None), "names", None)
    if isinstance(fields, tuple):
        return TypeError(
            f"{name} is a structured array with the fields {', '.join(map(str, fields))}: give a "
            "data frame, as pandas.DataFrame(...) makes one of the fields, or what "
            "numpy.lib.recfunctions.structured_to_unstructured(...) returns"
        )
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as reason:
        return type(error)(f"{name} is no array: {reason}")
    if not array.ndim and not hasattr(values, "shape"):
        what = "None" if values is None else f"of type {type(values).__name__}"
        others = ", a data frame, or the path of a file" if name in ("X", "the array") else ""
        return type(error)(f"{name} is {what}: give an array of numbers{others}")
    if array.dtype.kind not in "OSTU" or not array.ndim:
        return error
    for place, each in np.ndenumerate(array):
        value = each.item() if isinstance(each, np.generic) else each
        try:
            float(value)
        except (TypeError, ValueError):
            if value is None:
                continue
            axes = ("row", "column") if array.ndim <= 2 else [f"axis {j}" for j in range(9)]
            where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, place, strict=False))
            return type(error)(
                f"{name} holds {value!r} of type {type(value).__name__} in {where}, counted from "
                "0: each value of the argument must be a number, or a string that spells a number"
            )
    return error


def as_matrix(origin: str, data: Any) -> npt.NDArray[Any]:
    """Return what is an array in memory, or can be made one."""
    data = unmasked(data)
    try:
        array: npt.NDArray[Any] = np.asarray(data)
    except (TypeError, ValueError) as error:
        raise DataError(f"{origin} is no array: {error}") from error
    if hasattr(data, "toarray"):
        raise TypeError(f"{origin} is a sparse matrix: give a dense array, as X.toarray() returns")
    if array.dtype.kind not in "OSTUV":
        return array
    reason = TypeError(f"cannot read data from an object of type {type(data).__name__}")
    check_no_times(origin, array)
    if array.ndim and array.dtype.kind != "V":
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(str(not_numbers(origin, array, error))) from error
    raise not_numbers(origin, data, reason)
