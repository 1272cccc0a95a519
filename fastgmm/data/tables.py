"""From what the user names or has opened to tables to read, each by the module of its format."""

from __future__ import annotations

import os
import stat
import sys
import warnings
from collections.abc import Iterator
from io import TextIOBase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.file_listing import find_files
from fastgmm.data.formats.byte_streams import ZIP, ByteStream
from fastgmm.data.formats.registry import kind_of_head, open_file, refuse_csv_options
from fastgmm.data.formats.table_file import (
    Piece,
    TableFile,
    Wanted,
    check_matrix,
    chosen_columns,
    column_numbers,
    unnamed_columns,
)
from fastgmm.data.options import ReadingOptions
from fastgmm.data.sources.array import ArraySource

STANDARD_INPUT = "-"
"""What stands for it where a file could be named."""


class OpenedTables(NamedTuple):
    """Tables to read one after the other."""

    files: list[TableFile]
    unreadable: list[str]  # what is wrong with those that were left out


class SlicedArray(TableFile):
    """A matrix that is converted, or checked, some rows at a time."""

    named = False

    def __init__(self, array: npt.NDArray[Any], origin: str, kind: str) -> None:
        check_matrix(origin, array.shape, array.dtype)
        self._array = array
        self.origin = origin
        self.kind = kind
        self.n_rows = int(array.shape[0])
        self.columns = unnamed_columns(array.dtype, int(array.shape[1]))

    def identity(self) -> dict[str, Any]:
        """Return shape, type and a digest."""
        return ArraySource(self._array).fingerprint()

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, slice by slice."""
        assert self.n_rows is not None
        indices = column_numbers(self.columns, wanted.names)
        for first in range(0, self.n_rows, wanted.n_rows):
            rows = np.asarray(self._array[first : first + wanted.n_rows])
            yield Piece(chosen_columns(rows, indices), first)


def is_path(data: Any) -> bool:
    """Say whether something is a path, a pattern or the name of standard input."""
    return isinstance(data, str | os.PathLike)


def is_list_of_paths(data: Any) -> bool:
    """Say whether something is a list of paths, one at least."""
    return isinstance(data, list | tuple) and bool(data) and all(map(is_path, data))


def is_arrow_stream(data: Any) -> bool:
    """Say whether something hands over a stream of Arrow batches, as tables do."""
    from narwhals.dependencies import is_into_series

    return hasattr(data, "__arrow_c_stream__") and not is_into_series(data)


def is_stored(data: Any) -> bool:
    """Say whether something is an array or a group in a file of HDF5 or Zarr."""
    return type(data).__module__.partition(".")[0] in ("h5py", "zarr")


def open_tables(data: Any, options: ReadingOptions) -> OpenedTables | None:
    """Open files and what is read as files are; None for what is not."""
    if is_path(data) or is_list_of_paths(data):
        return _open_paths([data] if is_path(data) else list(data), options)
    if isinstance(data, TextIOBase):
        raise TypeError("the open file gives text, not bytes: open it in binary mode, 'rb'")
    if hasattr(data, "read") and hasattr(data, "readinto"):
        return OpenedTables([_open_stream(ByteStream(data, "the open file"), options)], [])
    if is_arrow_stream(data):
        from fastgmm.data.formats.arrow_files import ArrowBatches

        return OpenedTables([ArrowBatches(data)], [])
    if is_stored(data):
        from fastgmm.data.formats.array_stores import open_stored

        return OpenedTables([open_stored(data)], [])
    if isinstance(data, np.ndarray) and _is_to_be_sliced(data):
        return OpenedTables([SlicedArray(data, "the array", "array")], [])
    return None


def _is_to_be_sliced(array: np.ndarray[Any, Any]) -> bool:
    """Say whether an array of numbers is to be converted, or checked, some rows at a time."""
    if array.dtype.kind not in "buifc":
        return False
    return array.dtype not in (np.float32, np.float64) or isinstance(array, np.memmap)


def _open_paths(data: list[str | os.PathLike[str]], options: ReadingOptions) -> OpenedTables:
    if len(data) == 1 and os.fspath(data[0]) == STANDARD_INPUT:
        if sys.stdin is None:
            raise DataError("standard input is closed")
        stream = ByteStream(sys.stdin.buffer, "standard input")
        return OpenedTables([_open_stream(stream, options)], [])
    if any(os.fspath(each) == STANDARD_INPUT for each in data):
        raise DataError(f"standard input ({STANDARD_INPUT}) can only be read alone")
    if len(data) == 1 and _is_pipe(Path(data[0])):
        file = Path(data[0]).open("rb")  # noqa: SIM115  # closed when it has been read
        stream = ByteStream(file, repr(os.fspath(data[0])), closes=True)
        return OpenedTables([_open_stream(stream, options)], [])
    opened, left_out = OpenedTables([], []), list[str]()
    files = find_files(data, left_out)
    if left_out:
        warnings.warn(
            f"left out of the data: {name_list(left_out, quoted=False)}: name those that are to be "
            "read",
            SkippedDataWarning,
            stacklevel=2,
        )
    for found in files:
        try:
            opened.files.append(open_file(found, options))
        except DataError as error:
            if options.on_error == "raise":
                raise
            opened.unreadable.append(str(error))
    if not opened.files:
        raise DataError(f"no file can be read: {'; '.join(opened.unreadable)}")
    return opened


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _open_stream(stream: ByteStream, options: ReadingOptions) -> TableFile:
    """Open bytes that can be read once: an Arrow stream, or CSV."""
    from fastgmm.data.formats.arrow_files import ARROW_STREAM, ArrowStream
    from fastgmm.data.formats.csv_files import CsvFile

    head = stream.head()
    if head.startswith(ARROW_STREAM):
        refuse_csv_options(stream.origin, options)
        return ArrowStream(stream)
    kind = "zip archive" if head.startswith(ZIP) else kind_of_head(head)
    if kind is not None:
        raise DataError(
            f"{stream.origin} holds a file of the kind {kind}, which cannot be read from beginning "
            "to end: give its path"
        )
    return CsvFile(stream, options.csv)
