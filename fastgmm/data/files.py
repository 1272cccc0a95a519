"""Tables of numbers in NumPy, CSV and Parquet files."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.arrow_columns import import_pyarrow
from fastgmm.data.column_names import choose_columns, name_list

READABLE = (".npy", ".npz", ".csv", ".parquet")

_BLOCK_ROWS = 1 << 16
_FIRST_LINE_BYTES = 1 << 16


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
    chosen = choose_columns(repr(str(table.path)), table.column_names, columns, weight_column)
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
    chosen = choose_columns(repr(str(path)), table.column_names, columns, weight_column)
    if not chosen:
        raise ValueError(f"{str(path)!r} has no columns of numbers")
    weights = None
    if weight_column is not None:
        weights = numeric_columns(path, table, [weight_column])[:, 0].astype(np.float64)
    values = numeric_columns(path, table, chosen)
    return Table(path, values, tuple(chosen) if named else None, weights)


def read_array(path: Path) -> NDArray[Any]:
    """Map the array in a ``.npy`` file, or read the one in an ``.npz`` file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Real numbers of any type.

    Raises
    ------
    ValueError
        If the file does not hold one table of numbers.
    """
    try:
        if path.suffix.lower() == ".npy":
            loaded: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        else:
            loaded = _read_npz(path)
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"cannot read {str(path)!r} as a NumPy file: {error}") from error
    if loaded.ndim != 2:
        raise ValueError(
            f"{str(path)!r} holds an array of shape {loaded.shape}, which is not a table: "
            "it must have two dimensions, rows and columns"
        )
    if loaded.dtype.kind not in "buif":
        raise ValueError(f"{str(path)!r} holds values of type {loaded.dtype}, not real numbers")
    return loaded


def _read_npz(path: Path) -> NDArray[Any]:
    # The file is opened here because NumPy leaves its own open when it turns out to be no archive.
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no archive of arrays, or is cut off")
        with np.load(file, allow_pickle=False) as archive:
            names = archive.files
            if "X" not in names and len(names) != 1:
                raise ValueError(
                    f"it holds {f'the arrays {name_list(names)}' if names else 'no array'}, and "
                    "must hold one, or one with the name X"
                )
            array: NDArray[Any] = archive["X" if "X" in names else names[0]]
            return array


def read_arrow(path: Path) -> tuple[Any, bool]:
    """Read a CSV or Parquet file, whatever its columns hold.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    table : pyarrow.Table
        Its columns.
    named : bool
        Whether the file gives them names; if not, they are called ``x0``, ``x1``, and so on.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If the file is damaged, or two columns have the same name.
    """
    csv_file = path.suffix.lower() == ".csv"
    pyarrow = import_pyarrow("reading CSV" if csv_file else "reading Parquet")
    named = True
    try:
        if csv_file:
            from pyarrow import csv as arrow_csv

            first = _first_fields(path)
            named = not all(map(_is_number, first))
            generated = None if named else [f"x{j}" for j in range(len(first))]
            table = arrow_csv.read_csv(path, arrow_csv.ReadOptions(column_names=generated))
        else:
            from pyarrow import parquet

            table = parquet.read_table(path)
    except (pyarrow.ArrowException, UnicodeDecodeError, csv.Error) as error:
        kind = "CSV" if csv_file else "Parquet"
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot read {str(path)!r} as {kind}: {reason}") from error
    names = table.column_names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{str(path)!r} has several columns of the name {name_list(repeated)}")
    return table, named


def numeric_columns(path: Path, table: Any, names: Sequence[str]) -> NDArray[Any]:
    """Return some columns of a table as numbers.

    Parameters
    ----------
    path : Path
        The file that the table is from, for messages.
    table : pyarrow.Table
        The table.
    names : sequence of str
        The columns.

    Returns
    -------
    ndarray of shape (n_samples, len(names))
        float32 if all the columns are, else float64, a column after the other; NaN for what is
        missing.

    Raises
    ------
    ValueError
        If a column holds other things than numbers: the message names all that do.
    """
    pyarrow = import_pyarrow("reading columns")
    types = {name: table.schema.field(name).type for name in names}
    others = [f"{name!r} ({kind})" for name, kind in types.items() if not _is_numeric(kind)]
    if others:
        raise ValueError(
            f"{str(path)!r} holds other things than numbers in the columns {', '.join(others)}: "
            "leave them out by naming the columns to use (--columns A,B)"
        )
    dtype = np.float32 if set(types.values()) == {pyarrow.float32()} else np.float64
    values = np.empty((table.num_rows, len(names)), dtype=dtype, order="F")
    for j, name in enumerate(names):
        values[:, j] = table[name].cast(pyarrow.from_numpy_dtype(dtype), safe=False).to_numpy()
    return values


def _is_numeric(kind: Any) -> bool:
    types = import_pyarrow("reading columns").types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
    )


def _first_fields(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader([file.readline(_FIRST_LINE_BYTES)]), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
