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

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.file_listing import FoundFile, find_files
from fastgmm.data.formats.byte_streams import ZIP, ByteStream
from fastgmm.data.formats.recognition import ARROW_STREAM, is_compressed, is_zip, kind_of_head
from fastgmm.data.formats.sliced_arrays import SlicedArray
from fastgmm.data.formats.table_file import TableFile
from fastgmm.data.sources.stream import ReadingOptions

STANDARD_INPUT = "-"
"""What stands for it where a file could be named."""


class OpenedTables(NamedTuple):
    """Tables to read one after the other.

    Attributes
    ----------
    files : list of TableFile
        The tables.
    unreadable : list of str
        What is wrong with those that were left out.
    """

    files: list[TableFile]
    unreadable: list[str]


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
    """Open files and what is read as files are."""
    if is_path(data) or is_list_of_paths(data):
        return _open_paths([data] if is_path(data) else list(data), options)
    if isinstance(data, TextIOBase):
        raise TypeError("the open file gives text, not bytes: open it in binary mode, 'rb'")
    if hasattr(data, "read") and hasattr(data, "readinto"):
        return OpenedTables([_open_stream(data, "the open file", options)], [])
    if is_arrow_stream(data):
        return OpenedTables([_open_arrow_batches(data)], [])
    if is_stored(data):
        from fastgmm.data.formats.array_stores import open_stored

        return OpenedTables([open_stored(data)], [])
    if isinstance(data, np.ndarray) and _is_to_be_sliced(data):
        return OpenedTables([SlicedArray(data, "the array", "array")], [])
    return None


def refuse_csv_options(origin: str, options: ReadingOptions) -> None:
    """Raise if something is said of CSV, and the data are none."""
    if given := options.csv.given():
        raise ValueError(f"{origin} is not CSV, which {name_list(given)} is for: leave it out")


def _is_to_be_sliced(array: np.ndarray[Any, Any]) -> bool:
    """Say whether an array of numbers is to be converted, or checked, some rows at a time."""
    if array.dtype.kind not in "buifc":
        return False
    return array.dtype not in (np.float32, np.float64) or isinstance(array, np.memmap)


def _open_paths(data: list[str | os.PathLike[str]], options: ReadingOptions) -> OpenedTables:
    if len(data) == 1 and os.fspath(data[0]) == STANDARD_INPUT:
        if sys.stdin is None:
            raise DataError("standard input is closed")
        return OpenedTables([_open_stream(sys.stdin.buffer, "standard input", options)], [])
    if any(os.fspath(each) == STANDARD_INPUT for each in data):
        raise DataError(f"standard input ({STANDARD_INPUT}) can only be read alone")
    if len(data) == 1 and _is_pipe(Path(data[0])):
        file = Path(data[0]).open("rb")  # noqa: SIM115  # closed when it has been read
        name = repr(os.fspath(data[0]))
        return OpenedTables([_open_stream(file, name, options, closes=True)], [])
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
            opened.files.append(_open_file(found, options))
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
    except OSError:
        return False


def _open_file(found: FoundFile, options: ReadingOptions) -> TableFile:
    """Open a file by its kind; the module that reads it is imported only now."""
    path, kind, part, partitions = found
    if kind != "CSV":
        refuse_csv_options(repr(str(path)), options)
    compressed = is_compressed(path)
    if kind == "Arrow":
        from fastgmm.data.formats.arrow_files import ArrowFile, ArrowStream

        stream = ByteStream(path, member=part if compressed else "")
        if stream.head().startswith(ARROW_STREAM):
            return ArrowStream(stream)
    if compressed and kind not in ("CSV", "NumPy", "NumPy archive"):
        raise DataError(f"{str(path)!r} is a compressed file of the kind {kind}: extract it first")
    if part and kind not in ("NumPy archive", "HDF5", "Zarr") and not is_zip(path):
        raise DataError(f"{str(path)!r} holds no arrays with names: leave out '::{part}'")
    if kind == "Parquet":
        from fastgmm.data.formats.parquet_files import ParquetFile

        return ParquetFile(path, partitions)
    if kind == "CSV":
        from fastgmm.data.formats.csv_files import CsvFile

        return CsvFile(ByteStream(path, member=part), options.csv)
    if kind == "NumPy":
        from fastgmm.data.formats.numpy_files import CompressedNpyFile, NpyFile

        budget = options.memory_budget
        return CompressedNpyFile(path, part, budget) if compressed else NpyFile(path)
    if kind == "NumPy archive":
        from fastgmm.data.formats.numpy_files import NpzFile

        return NpzFile(path, part, options.memory_budget)
    if kind == "HDF5":
        from fastgmm.data.formats.array_stores import open_hdf5

        return open_hdf5(path, part)
    if kind == "Zarr":
        from fastgmm.data.formats.array_stores import open_zarr

        return open_zarr(path, part)
    if kind == "Arrow":
        return ArrowFile(path)
    from fastgmm.data.formats.image_files import ImageFile

    return ImageFile(path)


def _open_stream(
    file: Any, origin: str, options: ReadingOptions, *, closes: bool = False
) -> TableFile:
    """Open bytes that can be read once: an Arrow stream, or CSV."""
    stream = ByteStream(file, origin, closes=closes)
    if stream.head().startswith(ARROW_STREAM):
        from fastgmm.data.formats.arrow_files import ArrowStream

        refuse_csv_options(origin, options)
        return ArrowStream(stream)
    kind = "zip archive" if stream.head().startswith(ZIP) else kind_of_head(stream.head())
    if kind is not None:
        raise DataError(
            f"{origin} holds a file of the kind {kind}, which cannot be read from beginning to "
            "end: give its path"
        )
    from fastgmm.data.formats.csv_files import CsvFile

    return CsvFile(stream, options.csv)


def _open_arrow_batches(data: Any) -> TableFile:
    """Open what hands over Arrow batches, once if it is itself the stream of them."""
    from fastgmm.data.formats.arrow_columns import import_pyarrow
    from fastgmm.data.formats.arrow_files import ArrowBatches

    pyarrow = import_pyarrow("reading Arrow streams")
    once = isinstance(data, Iterator | pyarrow.RecordBatchReader)
    return ArrowBatches(lambda: pyarrow.RecordBatchReader.from_stream(data), not once)
