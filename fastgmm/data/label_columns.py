"""Columns that hold classes of rows, of numbers or text, read apart from the features."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import choose_columns
from fastgmm.data.errors import DataError
from fastgmm.data.options import CsvOptions, ReadingOptions
from fastgmm.data.sources.array_like import is_missing, unmasked
from fastgmm.data.sources.file_source import FileSource, warn_of_doubts
from fastgmm.data.tables import open_tables


def columns_without(
    paths: list[str], apart: Sequence[str], csv: CsvOptions | None = None
) -> list[str]:
    """Return the names of the columns of files, without some."""
    tables = open_tables(paths, ReadingOptions(csv=csv or CsvOptions()))
    assert tables is not None  # paths are tables
    first = tables.files[0]
    if not all(file.replayable for file in tables.files):
        raise DataError(f"{first.origin} can be read only once, and the labels are read first")
    warn_of_doubts(tables.files)
    optional = {column.name for column in first.columns if column.aside}
    names = [column.name for column in first.columns]
    chosen = choose_columns(first.origin, names, None, apart)
    return [name for name in chosen if name not in optional]


def class_labels(
    rows: FileSource, name: str, *, of_complete_rows: bool = False
) -> npt.NDArray[Any]:
    """Return the values of a column that holds classes, of all rows or those without gaps."""
    if name in (rows.feature_names or ()):
        raise ValueError(f"{rows.files[0].origin} has a column {name!r} among the features")
    carried = rows.carry([name])
    values: list[Any] = []
    with closing(rows.blocks()) as blocks:  # type: ignore[type-var]
        for X, _ in blocks:
            column = carried.take(len(X))[name]
            is_array = isinstance(column, np.ndarray)
            listed = column.tolist() if is_array else column.to_pylist()
            if of_complete_rows:
                listed = list(compress(listed, np.isfinite(X).all(axis=1)))
            values += listed
    if any(isinstance(value, str) for value in values):
        lacking = any(value is None for value in values)
        return np.array(values, dtype=object if lacking else None)
    numbers = np.array([np.nan if value is None else value for value in values])
    if numbers.dtype.kind == "f" and (numbers == np.floor(numbers)).all():
        return numbers.astype(np.int64)
    return numbers


def given_labels(y: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return labels that a user gave as an array, and where there is none."""
    y = unmasked(y)
    if hasattr(y, "to_pylist"):
        y = y.to_pylist()  # NumPy takes the nulls of Arrow's dictionaries for their first entry
    listed = isinstance(y, list | tuple)
    values = np.asarray(y, dtype=object if listed else None)  # or NaN beside text became text
    if values.dtype.kind != "O":
        kind = values.dtype.kind
        missing = np.isnan(values) if kind == "f" else np.isnat(values) if kind in "mM" else None
        return values, np.zeros(values.shape, dtype=bool) if missing is None else missing
    missing = np.array(list(map(is_missing, values.flat)), dtype=bool).reshape(values.shape)
    if missing.any():
        values = np.where(missing, np.array(None), values)
    elif listed:
        values = np.asarray(y)
    return values, missing
