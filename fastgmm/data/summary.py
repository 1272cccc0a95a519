"""What is in a file: types, ranges and gaps of its columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastgmm.data.arrow_columns import import_pyarrow
from fastgmm.data.files import read_array, read_arrow, readable_suffix

_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column of a file.

    Attributes
    ----------
    name : str
        Its name, ``x0``, ``x1``, … where the file gives none.
    type : str
        What the file says that it holds.
    n_missing : int
        Entries that are empty or not a number.
    minimum, maximum, mean : float or None
        Of the entries that are there; None for a column of other things than numbers.
    """

    name: str
    type: str
    n_missing: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None


def summarise_columns(path: str | Path) -> tuple[int, tuple[ColumnSummary, ...]]:
    """Describe the columns of a file.

    Parameters
    ----------
    path : str or Path
        A ``.npy``, ``.npz``, ``.csv`` or ``.parquet`` file.

    Returns
    -------
    n_samples : int
        How many rows it has.
    columns : tuple of ColumnSummary
        What is in each column.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the file is CSV or Parquet and pyarrow is not installed.
    ValueError
        If it cannot be read as a table.
    """
    path = Path(path)
    if readable_suffix(path) in (".npy", ".npz"):
        values = read_array(path)
        names = [f"x{j}" for j in range(values.shape[1])]
        return len(values), tuple(
            _summarise_numbers(name, str(values.dtype), values[:, j])
            for j, name in enumerate(names)
        )
    table, _ = read_arrow(path)
    return table.num_rows, tuple(_summarise_arrow(name, table[name]) for name in table.column_names)


def _summarise_arrow(name: str, column: Any) -> ColumnSummary:
    types = import_pyarrow("reading columns").types
    kind = column.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = column.cast("float64", safe=False).to_numpy()
        return _summarise_numbers(name, str(kind), numbers)
    return ColumnSummary(name, str(kind), column.null_count)


def _summarise_numbers(name: str, kind: str, column: np.ndarray[Any, Any]) -> ColumnSummary:
    """Go through a column a block at a time, since it may be larger than memory."""
    present, total, minimum, maximum = 0, 0.0, math.inf, -math.inf
    for start in range(0, len(column), _BLOCK_ROWS):
        block = np.asarray(column[start : start + _BLOCK_ROWS], dtype=np.float64)
        block = block[~np.isnan(block)]
        if block.size:
            present += block.size
            total += float(block.sum())
            minimum = min(minimum, float(block.min()))
            maximum = max(maximum, float(block.max()))
    if not present:
        return ColumnSummary(name, kind, len(column))
    return ColumnSummary(name, kind, len(column) - present, minimum, maximum, total / present)
