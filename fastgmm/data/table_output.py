"""Tables written to NumPy, CSV and Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.column_names import is_index_name
from fastgmm.extras import import_pyarrow
from fastgmm.io.atomic_file import atomic_file, check_destination

WRITABLE = (".npy", ".csv", ".parquet")

_BLOCK_CELLS = 1 << 17
"""Cells that are made text at a time: each is an object of Python's on the way."""


Block = Mapping[str, NDArray[Any]]
"""Columns of equally many rows, by name: arrays, or for CSV and Parquet also Arrow's."""


def write_table(path: str | Path, columns: Block) -> None:
    """Write columns to a file, all of it or nothing."""
    with table_writer(path) as write:
        write(columns)


@contextmanager
def table_writer(path: str | Path, index: Sequence[str] = ()) -> Iterator[Callable[[Block], None]]:
    """Write a table block by block; the file appears when it is complete, or not at all."""
    path = Path(path)
    suffix = writable_suffix(path)
    with atomic_file(path) as file:
        writer = _ParquetWriter(file, index) if suffix == ".parquet" else _WRITERS[suffix](file)
        written = False

        def write(columns: Block) -> None:
            nonlocal written
            written = True
            writer.write(columns)

        try:
            yield write
            if not written:
                raise ValueError(
                    f"nothing was written to {str(path)!r}: a table has columns at least"
                )
        finally:
            writer.close()


class _CsvWriter:
    """Writes the names once, and then lines."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._begun = False

    def write(self, columns: Block) -> None:
        for text in csv_blocks(columns, header=not self._begun):
            self._file.write(text.encode())
        self._begun = True

    def close(self) -> None:
        """Leave the file as it is: it is complete after each line."""


class _NpyWriter:
    """Writes rows behind a header that says how many there are, which is known at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start = file.tell()
        self._n_rows = 0
        self._first: NDArray[Any] | None = None

    def write(self, columns: Block) -> None:
        arrays = list(columns.values())
        rows = arrays[0] if len(arrays) == 1 else np.column_stack(arrays)
        if self._first is None:
            self._first = rows[:0]
            self._write_header()
        self._file.write(np.ascontiguousarray(rows, dtype=self._first.dtype).data)
        self._n_rows += len(rows)

    def close(self) -> None:
        if self._first is not None:
            self._file.seek(self._start)
            self._write_header()
            self._file.seek(0, os.SEEK_END)

    def _write_header(self) -> None:
        """Write the header, in which NumPy leaves room for any number of rows."""
        assert self._first is not None
        shape = (self._n_rows, *self._first.shape[1:])
        descriptor = np.lib.format.dtype_to_descr(self._first.dtype)
        header = {"descr": descriptor, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class _ParquetWriter:
    """Writes each block as a row group or several."""

    def __init__(self, file: IO[bytes], index: Sequence[str]) -> None:
        self._file = file
        self._index = index
        self._pyarrow = import_pyarrow("writing Parquet")
        self._writer: Any = None

    def write(self, columns: Block) -> None:
        from pyarrow import parquet

        table = self._pyarrow.table(dict(columns))
        if self._writer is None:
            schema = table.schema
            if self._index:
                schema = schema.with_metadata({"pandas": json.dumps(_index_metadata(self._index))})
            self._writer = parquet.ParquetWriter(self._file, schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _index_metadata(index: Sequence[str]) -> dict[str, Any]:
    """Return what pandas writes into a file to say which columns are the row index."""
    columns = [
        {"name": None if not name or is_index_name(name) else name, "field_name": name}
        for name in index
    ]
    types = {
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": None,
    }  # which Arrow's own make up for
    return {
        "index_columns": list(index),
        "column_indexes": [],
        "columns": [{**column, **types} for column in columns],
    }


_WRITERS: dict[str, Any] = {".csv": _CsvWriter, ".npy": _NpyWriter}


def writable_suffix(path: Path) -> str:
    """Return the suffix of a file to be written."""
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(
            f"cannot write {str(path)!r}: its name must end in one of {', '.join(WRITABLE)}"
        )
    check_destination(path)
    if suffix == ".parquet":
        import_pyarrow("writing Parquet")
    return suffix


def csv_blocks(columns: Block, *, header: bool = True) -> Iterator[str]:
    """Yield the text of a CSV file, many rows at a time."""
    if header:
        yield ",".join(_quoted(name) for name in columns) + "\n"
    arrays = list(columns.values())
    step = max(1, _BLOCK_CELLS // len(arrays))
    for start in range(0, len(arrays[0]), step):
        cells = [_texts(array[start : start + step]) for array in arrays]
        yield "".join(",".join(row) + "\n" for row in zip(*cells, strict=True))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


def _texts(array: Any) -> list[str]:
    if hasattr(array, "to_pylist"):  # a column of Arrow's
        values = array.to_pylist()
        if str(array.type) == "float":
            values = [None if value is None else np.float32(value) for value in values]
        return [_text(value) for value in values]
    if array.dtype.kind in "OSUmM":  # of times, tolist may make numbers
        return [_text(value) for value in array]
    # NumPy's own float32 prints fewer digits than the Python float that tolist makes of it.
    return [str(value) for value in (array if array.dtype == np.float32 else array.tolist())]


def _text(value: Any) -> str:
    """Return a cell, empty for what is missing."""
    if value is None or (isinstance(value, np.datetime64 | np.timedelta64) and np.isnat(value)):
        return ""
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    return _quoted(str(value))
