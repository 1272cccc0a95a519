"""What is in data: types, ranges and gaps of their columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.formats.table_file import Column, Damage, Wanted
from fastgmm.data.options import DEFAULT_BUDGET, CsvOptions, ReadingOptions
from fastgmm.data.sources.file_source import check_columns, common_columns
from fastgmm.data.sources.stream import rows_of_block
from fastgmm.data.tables import OpenedTables, SlicedArray, open_tables


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column of a file."""

    name: str  # its name, ``x0``, ``x1``, … where the file gives none
    type: str  # what the file says that it holds
    n_missing: int  # entries that are empty or not a number
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    """Of the entries that are there; None for a column of other things than numbers."""


def summarize_columns(
    data: Any, csv: CsvOptions | None = None
) -> tuple[int, tuple[ColumnSummary, ...]]:
    """Describe the columns of data in one pass over them, a block at a time."""
    tables = open_tables(data, ReadingOptions(csv=csv or CsvOptions()))
    if tables is None:
        if isinstance(data, Iterator) or callable(data):
            raise TypeError("batches cannot be described: give files, an array or a data frame")
        array = np.asarray(data)
        tables = OpenedTables([SlicedArray(array, "the array", "array")], [])
    first = tables.files[0]
    columns = common_columns(tables.files)
    names = [column.name for column in columns]
    for file in tables.files:
        check_columns(file, first, names, True)
    n_rows = rows_of_block(8 * len(names), DEFAULT_BUDGET)
    totals = {column.name: _Total(column) for column in columns}
    n_samples = 0
    for file in tables.files:
        for piece in file.pieces(Wanted(names, n_rows, None, Damage(file, None))):
            values = piece.values
            arrays = values.T if isinstance(values, np.ndarray) else values
            for name, array in zip(names, arrays, strict=True):
                totals[name].add(array)
            n_samples += len(arrays[0])
    return n_samples, tuple(total.summary() for total in totals.values())


class _Total:
    """What has been found in a column so far."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._n_missing = self._n_present = 0
        self._sum = 0.0
        self._minimum, self._maximum = math.inf, -math.inf

    def add(self, values: npt.NDArray[Any]) -> None:
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
        present = values[~missing].astype(np.float64)
        self._n_missing += len(values) - len(present)
        if present.size:
            self._n_present += len(present)
            self._sum += float(present.sum())
            self._minimum = min(self._minimum, float(present.min()))
            self._maximum = max(self._maximum, float(present.max()))

    def summary(self) -> ColumnSummary:
        name, kind, aside = self._column.name, self._column.type, self._column.aside
        if aside and aside != kind:
            kind = f"{kind}, {aside}"
        if self._column.dtype is None or not self._n_present:
            return ColumnSummary(name, kind, self._n_missing)
        mean = self._sum / self._n_present
        return ColumnSummary(name, kind, self._n_missing, self._minimum, self._maximum, mean)
