"""Columns that hold classes of rows, of numbers or text, read apart from the features."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import choose_columns
from fastgmm.data.errors import DataError
from fastgmm.data.file_source import FileSource
from fastgmm.data.stream import ReadingOptions
from fastgmm.data.table_opening import open_tables


def columns_without(paths: list[str], apart: Sequence[str]) -> list[str]:
    """Return the names of the columns of files, without some.

    Parameters
    ----------
    paths : list of str
        Files, folders and patterns.
    apart : sequence of str
        Columns that are not wanted.

    Returns
    -------
    list of str
        The other names.

    Raises
    ------
    DataError
        If the files cannot be read, or only once.
    ValueError
        If there is no such column.
    """
    tables = open_tables(paths, ReadingOptions())
    assert tables is not None  # paths are tables
    first = tables.files[0]
    if not all(file.replayable for file in tables.files):
        raise DataError(f"{first.origin} can be read only once, and the labels are read first")
    optional = [column.name for column in first.columns if column.aside]
    names = [column.name for column in first.columns]
    chosen = choose_columns(first.origin, names, None, apart)
    return [name for name in chosen if name not in optional]


def class_labels(rows: FileSource, name: str) -> npt.NDArray[Any]:
    """Return the values of a column that holds classes.

    Parameters
    ----------
    rows : FileSource
        The rows, of which the column is no feature. They are gone through once.
    name : str
        Its name.

    Returns
    -------
    ndarray of shape (n_samples,)
        Text or numbers, integers where all are whole. Where there is none, NaN stands in numbers
        and None in text.

    Raises
    ------
    ValueError
        If there is no column of that name, or it is a feature.
    """
    carried = rows.carry([name])
    values: list[Any] = []
    with closing(rows.blocks()) as blocks:  # type: ignore[type-var]
        for X, _ in blocks:
            column = carried.take(len(X))[name]
            is_array = isinstance(column, np.ndarray)
            values += column.tolist() if is_array else column.to_pylist()
    if any(isinstance(value, str) for value in values):
        lacking = any(value is None for value in values)
        return np.array(values, dtype=object if lacking else None)
    numbers = np.array([np.nan if value is None else value for value in values])
    if numbers.dtype.kind == "f" and (numbers == np.floor(numbers)).all():
        return numbers.astype(np.int64)
    return numbers
