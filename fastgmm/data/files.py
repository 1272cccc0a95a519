"""Tables of numbers in NumPy, CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.array_files import read_array
from fastgmm.data.column_files import numeric_columns, read_arrow
from fastgmm.data.column_names import choose_columns

READABLE = (".npy", ".npz", ".csv", ".parquet")

_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Table:
    """A table of numbers with one row for each sample.

    Attributes
    ----------
    path : Path
        The file that it was read from.
    values : ndarray of shape (n_samples, n_features)
        Numbers as the file holds them. A ``.npy`` file is mapped, not read.
    feature_names : tuple of str or None
        Names of the columns, or None if the file has none.
    weights : ndarray of shape (n_samples,) or None
        The column asked for as weights.
    """

    path: Path
    values: NDArray[Any]
    feature_names: tuple[str, ...] | None = None
    weights: NDArray[np.float64] | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, ``x0``, ``x1``, … where the file has none."""
        return self.feature_names or tuple(f"x{j}" for j in range(self.values.shape[1]))


def read_table(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    columns_if_named: Sequence[str] | None = None,
    weight_column: str | None = None,
) -> Table:
    """Read a table of numbers.

    The suffix says what the file is. A CSV file has a header unless each field of its first line is
    a number.

    Parameters
    ----------
    path : str or Path
        A ``.npy``, ``.npz``, ``.csv`` or ``.parquet`` file. An ``.npz`` file holds one array, or
        one with the name ``X``.
    columns : sequence of str, optional
        The columns to use, in this order; all but `weight_column` if not given. The columns of
        arrays, and of CSV files without a header, are called ``x0``, ``x1``, and so on.
    columns_if_named : sequence of str, optional
        The same, except that a file whose columns have no names of their own is read whole.
    weight_column : str, optional
        The column that holds the rows' weights.

    Returns
    -------
    Table
        Numbers as in the file. Columns of different types, and all but float32, become float64.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the file is CSV or Parquet and pyarrow is not installed.
    ValueError
        If it is not a table of numbers: the message names the columns or the entry that is not.
    """
    path = Path(path)
    if readable_suffix(path) in (".npy", ".npz"):
        return _select(Table(path, read_array(path)), columns, weight_column)
    table, named = read_arrow(path)
    if named and columns_if_named is not None:
        columns = columns_if_named
    return _numeric_table(path, table, named, columns, weight_column)


def readable_suffix(path: Path) -> str:
    """Return the suffix of a file to be read.

    Parameters
    ----------
    path : Path
        Where the file is.

    Returns
    -------
    str
        One of `READABLE`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a folder, or its suffix is none of these.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder, not a file")
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise ValueError(
            f"cannot tell what {str(path)!r} is: its name must end in one of {', '.join(READABLE)}"
        )
    return suffix


def check_finite(table: Table) -> None:
    """Make sure that every value is a finite number.

    Parameters
    ----------
    table : Table
        What to look through.

    Raises
    ------
    ValueError
        If a value is missing or infinite: the message names the first one's row and column.
    """
    values = table.values
    if values.dtype.kind != "f":
        return
    for start in range(0, len(values), _BLOCK_ROWS):
        finite = np.isfinite(values[start : start + _BLOCK_ROWS])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            value = values[start + row, column]
            what = "missing (NaN)" if np.isnan(value) else f"{value}"
            raise ValueError(
                f"{str(table.path)!r}: the value in column {table.column_names[column]!r} at row "
                f"{start + row + 1} of {len(values)} is {what}: remove such rows or fill them in"
            )


def _select(table: Table, columns: Sequence[str] | None, weight_column: str | None) -> Table:
    """Keep some columns of a table whose columns have no names of their own."""
    if columns is None and weight_column is None:
        return table
    chosen = choose_columns(table.path, table.column_names, columns, weight_column)
    position = {name: j for j, name in enumerate(table.column_names)}
    weights = None
    if weight_column is not None:
        weights = np.asarray(table.values[:, position[weight_column]], dtype=np.float64)
    values = table.values[:, [position[name] for name in chosen]]
    return Table(table.path, values, tuple(chosen), weights)


def _numeric_table(
    path: Path,
    table: Any,
    named: bool,
    columns: Sequence[str] | None,
    weight_column: str | None,
) -> Table:
    """Return the numbers in a pyarrow table."""
    chosen = choose_columns(path, table.column_names, columns, weight_column)
    if not chosen:
        raise ValueError(f"{str(path)!r} has no columns of numbers")
    weights = None
    if weight_column is not None:
        weights = numeric_columns(path, table, [weight_column])[:, 0].astype(np.float64)
    values = numeric_columns(path, table, chosen)
    return Table(path, values, tuple(chosen) if named else None, weights)
