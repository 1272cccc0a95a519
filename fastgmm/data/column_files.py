"""Columns in CSV and Parquet files, through pyarrow."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.column_names import name_list
from fastgmm.extras import import_from_extra

_FIRST_LINE_BYTES = 1 << 16


def import_pyarrow(purpose: str) -> Any:
    """Import pyarrow, or say which extra brings it.

    Parameters
    ----------
    purpose : str
        What it is needed for, as the subject of a sentence.

    Returns
    -------
    module
        The package.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    return import_from_extra("pyarrow", package="pyarrow", extra="parquet", purpose=purpose)


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
