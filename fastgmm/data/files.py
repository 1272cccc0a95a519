"""Tables of numbers in files: NumPy, CSV and Parquet in, and the same out."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.atomic_file import atomic_file

READABLE = (".npy", ".npz", ".csv", ".parquet")
WRITABLE = (".npy", ".csv", ".parquet")

_BLOCK_ROWS = 1 << 16
_HEADER_BYTES = 1 << 16


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
    path: str | Path, *, columns: Sequence[str] | None = None, weight_column: str | None = None
) -> Table:
    """Read a table of numbers.

    The suffix says what the file is. A CSV file has a header unless each field of its first line is
    a number.

    Parameters
    ----------
    path : str or Path
        A ``.npy``, ``.npz``, ``.csv`` or ``.parquet`` file. An ``.npz`` file holds one array, or one
        with the name ``X``.
    columns : sequence of str, optional
        The columns to use, in this order; all but `weight_column` if not given. The columns of
        arrays, and of CSV files without a header, are called ``x0``, ``x1``, and so on.
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
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder, not a file")
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        table = Table(path, _read_array(path))
    elif suffix in (".csv", ".parquet"):
        return _read_columns(path, columns, weight_column)
    else:
        raise ValueError(
            f"cannot tell what {str(path)!r} is: its name must end in one of {', '.join(READABLE)}"
        )
    return _select(table, columns, weight_column)


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


def write_table(path: str | Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns to a file, all of it or nothing.

    Parameters
    ----------
    path : str or Path
        A ``.npy``, ``.csv`` or ``.parquet`` file. A ``.npy`` file holds a single column as a
        one-dimensional array, and several as the columns of a two-dimensional one.
    columns : mapping of str to ndarray of shape (n_samples,)
        The columns and their names.

    Raises
    ------
    ImportError
        If the file is to be Parquet and pyarrow is not installed.
    ValueError
        If the suffix is none of these.
    """
    path = Path(path)
    suffix = writable_suffix(path)
    with atomic_file(path) as file:
        if suffix == ".npy":
            arrays = list(columns.values())
            np.save(file, arrays[0] if len(arrays) == 1 else np.column_stack(arrays))
        elif suffix == ".csv":
            for text in csv_blocks(columns):
                file.write(text.encode())
        else:
            pyarrow = import_pyarrow("writing Parquet")
            from pyarrow import parquet

            parquet.write_table(pyarrow.table(dict(columns)), file)


def writable_suffix(path: Path) -> str:
    """Return the suffix of a file to be written.

    Parameters
    ----------
    path : Path
        Where the file is to be.

    Returns
    -------
    str
        One of `WRITABLE`.

    Raises
    ------
    ImportError
        If the file is to be Parquet and pyarrow is not installed.
    ValueError
        If the suffix is none of these, or the folder does not exist.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(
            f"cannot write {str(path)!r}: its name must end in one of {', '.join(WRITABLE)}"
        )
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
    if suffix == ".parquet":
        import_pyarrow("writing Parquet")
    return suffix


def csv_blocks(columns: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield the text of a CSV file, many rows at a time.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_samples,)
        The columns and their names, which make the first line.

    Yields
    ------
    str
        Whole lines. Numbers are written with the fewest digits that give them back exactly.
    """
    yield ",".join(_quoted(name) for name in columns) + "\n"
    arrays = list(columns.values())
    for start in range(0, len(arrays[0]), _BLOCK_ROWS):
        cells = [_texts(array[start : start + _BLOCK_ROWS]) for array in arrays]
        yield "".join(",".join(row) + "\n" for row in zip(*cells, strict=True))


def import_pyarrow(what: str) -> Any:
    """Import pyarrow, or say which extra brings it.

    Parameters
    ----------
    what : str
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
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{what} needs pyarrow: install it with  pip install "fastgmm[parquet]"'
        ) from error
    return pyarrow


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


def _texts(array: NDArray[Any]) -> list[str]:
    # NumPy's own float32 prints fewer digits than the Python float that tolist makes of it.
    return [str(value) for value in (array if array.dtype == np.float32 else array.tolist())]


def _read_array(path: Path) -> NDArray[Any]:
    """Map the array in a ``.npy`` file, or read the one in an ``.npz`` file."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        names = [] if isinstance(loaded, np.ndarray) else list(loaded.files)
        if not isinstance(loaded, np.ndarray) and ("X" in names or len(names) == 1):
            with loaded:
                loaded = loaded["X" if "X" in names else names[0]]
    except (EOFError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy takes whatever it does not know for a pickle.
        reason = "it holds Python objects, or is damaged" if "pickle" in str(error) else error
        raise ValueError(f"cannot read {str(path)!r} as a NumPy file: {reason}") from error
    if not isinstance(loaded, np.ndarray):
        raise ValueError(
            f"{str(path)!r} holds {f'the arrays {_listing(names)}' if names else 'no array'}: "
            "it must hold one array, or one with the name X"
        )
    if loaded.ndim != 2:
        raise ValueError(
            f"{str(path)!r} holds an array of shape {loaded.shape}, which is not a table: "
            "it must have two dimensions, rows and columns"
        )
    if loaded.dtype.kind not in "buif":
        raise ValueError(f"{str(path)!r} holds values of type {loaded.dtype}, not real numbers")
    return loaded


def _select(table: Table, columns: Sequence[str] | None, weight_column: str | None) -> Table:
    """Keep some columns of a table whose columns have no names of their own."""
    if columns is None and weight_column is None:
        return table
    chosen = _chosen(table.path, table.column_names, columns, weight_column)
    position = {name: j for j, name in enumerate(table.column_names)}
    weights = None
    if weight_column is not None:
        weights = np.asarray(table.values[:, position[weight_column]], dtype=np.float64)
    values = table.values[:, [position[name] for name in chosen]]
    return Table(table.path, values, tuple(chosen), weights)


def _chosen(
    path: Path,
    names: Sequence[str],
    columns: Sequence[str] | None,
    weight_column: str | None,
) -> list[str]:
    """Return the names of the columns to read, weights apart."""
    for name in (*(columns or ()), *([weight_column] if weight_column is not None else ())):
        if name not in names:
            raise ValueError(
                f"{str(path)!r} has no column {name!r}: its columns are {_listing(names)}"
            )
    return list(columns) if columns else [name for name in names if name != weight_column]


def _read_columns(path: Path, columns: Sequence[str] | None, weight_column: str | None) -> Table:
    """Read a CSV or Parquet file with pyarrow."""
    csv_file = path.suffix.lower() == ".csv"
    pyarrow = import_pyarrow("reading CSV" if csv_file else "reading Parquet")
    named = True
    try:
        if csv_file:
            from pyarrow import csv as arrow_csv

            first = _first_fields(path)
            named = not all(map(_is_number, first))
            table = arrow_csv.read_csv(
                path,
                arrow_csv.ReadOptions(
                    column_names=None if named else [f"x{j}" for j in range(len(first))]
                ),
            )
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
        raise ValueError(f"{str(path)!r} has several columns of the name {_listing(repeated)}")
    chosen = _chosen(path, names, columns, weight_column)
    wanted = chosen if weight_column is None else [*chosen, weight_column]
    _refuse_other_than_numbers(path, pyarrow, table, wanted)
    if not chosen:
        raise ValueError(f"{str(path)!r} has no columns of numbers")

    types = {table.schema.field(name).type for name in chosen}
    dtype = np.float32 if types == {pyarrow.float32()} else np.float64
    values = np.empty((table.num_rows, len(chosen)), dtype=dtype, order="F")
    for j, name in enumerate(chosen):
        values[:, j] = _numbers(pyarrow, table[name])
    weights = None
    if weight_column is not None:
        weights = np.asarray(_numbers(pyarrow, table[weight_column]), dtype=np.float64)
    return Table(path, values, tuple(chosen) if named else None, weights)


def _first_fields(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader([file.readline(_HEADER_BYTES)]), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_other_than_numbers(path: Path, pyarrow: Any, table: Any, names: Sequence[str]) -> None:
    """Raise if a column holds anything but numbers, and name all that do."""
    types = pyarrow.types
    others = []
    for name in names:
        kind = table.schema.field(name).type
        if not (
            types.is_integer(kind)
            or types.is_floating(kind)
            or types.is_decimal(kind)
            or types.is_boolean(kind)
            or types.is_null(kind)
        ):
            others.append(f"{name!r} ({kind})")
    if others:
        raise ValueError(
            f"{str(path)!r} holds other things than numbers in the columns {', '.join(others)}: "
            "choose the columns to use with columns (--columns A,B)"
        )


def _numbers(pyarrow: Any, column: Any) -> NDArray[Any]:
    """Convert a column to NumPy, missing values to NaN."""
    if column.type not in (pyarrow.float32(), pyarrow.float64()) or column.null_count:
        column = column.cast(pyarrow.float64())
    numbers: NDArray[Any] = column.to_numpy()
    return numbers


def _listing(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
