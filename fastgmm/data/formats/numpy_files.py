"""Arrays in NumPy's own files, read some rows at a time.

They are read, not mapped: a mapped file counts as memory in use, and one that is cut short while
it is mapped ends the process.
"""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import IO

import numpy as np

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.formats.byte_streams import ByteStream, is_compressed, read_array
from fastgmm.data.formats.table_file import (
    FileFormat,
    FileStamp,
    FoundFile,
    Piece,
    TableFile,
    Wanted,
    check_matrix,
    chosen_columns,
    column_numbers,
    unnamed_columns,
)
from fastgmm.data.options import ReadingOptions
from fastgmm.data.remote import Location, path_or_file

_DAMAGED = (
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the reading of a damaged file or archive may raise."""

_READ_BYTES = 2**20

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    # It differs from 2.0 in the encoding of the names of fields alone, which no matrix has.
    (3, 0): np.lib.format.read_array_header_2_0,
}

_LARGEST_RATIO = 1032
"""How many bytes one that is compressed by deflate can stand for."""


class _NumpyFile(TableFile):
    """A matrix that begins with NumPy's header, wherever that is."""

    kind = "NumPy"
    named = False
    stamp: FileStamp
    _usable_in_part = True
    """Whether rows in front of damage can be read."""

    def __init__(self, path: Location) -> None:
        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        try:
            with self._opened() as file:
                version = np.lib.format.read_magic(file)
                if version not in _HEADERS:
                    raise ValueError(f"it is of the unknown version {version}")
                shape, self._fortran, self._dtype = _HEADERS[version](file)
                if any(length < 0 for length in shape):
                    raise ValueError(f"it claims the shape {shape}")
                self._offset = file.tell()
        except DataError:
            raise
        except _DAMAGED as error:
            raise DataError(
                f"cannot read {self.origin} as a NumPy file: {error}: it is damaged, or no such "
                "file; write it again"
            ) from error
        check_matrix(self.origin, shape, self._dtype)
        self.n_rows, self._n_columns = shape
        self._row_bytes = self._n_columns * self._dtype.itemsize
        present = self._rows_present()
        if present < (min(1, self.n_rows) if self._usable_in_part else self.n_rows):
            raise DataError(
                f"{self.origin} is cut short or damaged: it should hold {self.n_rows} rows, but "
                f"holds {present} of {self._row_bytes} bytes each: write it again"
            )
        self.columns = unnamed_columns(self._dtype, self._n_columns)
        self.by_columns = self._fortran

    @abstractmethod
    def _opened(self) -> AbstractContextManager[IO[bytes]]:
        """Open the file where the header is."""

    @abstractmethod
    def _size(self) -> int:
        """Return how many bytes there can be from where the header is."""

    def _rows_present(self) -> int:
        """Return how many rows can be in the file, whatever its header says."""
        assert self.n_rows is not None
        entries = max(0, self._size() - self._offset) // self._dtype.itemsize
        if self._fortran:
            entries -= (self._n_columns - 1) * self.n_rows
            return min(self.n_rows, max(0, entries))
        return min(self.n_rows, entries // self._n_columns)

    def _row_pieces(self, file: IO[bytes], wanted: Wanted, end: int) -> Iterator[Piece]:
        """Yield rows that lie one after the other."""
        indices = column_numbers(self.columns, wanted.names)
        span = range(end) if self.rows is None else self.rows
        for first in range(span.start, min(span.stop, end), wanted.n_rows):
            count = min(wanted.n_rows, min(span.stop, end) - first)
            rows = np.empty((count, self._n_columns), self._dtype)
            read_array(file, rows)
            yield Piece(chosen_columns(rows, indices), first)


class NpyFile(_NumpyFile):
    """A matrix in a ``.npy`` file."""

    def split(self) -> Sequence[TableFile]:
        """Return runs of rows, or the whole file if columns lie one after the other."""
        return (self,) if self._fortran else self._runs(self._row_bytes)

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, as far as the file goes."""
        assert self.n_rows is not None
        present = self._rows_present()
        if present < self.n_rows:
            wanted.damage.report(
                f"{self.origin}, rows {present} to {self.n_rows - 1}, counted from 0",
                f"the file ends early: it should hold {self.n_rows} rows, but holds {present}",
            )
        with self._opened() as file:
            if self._fortran:
                yield from self._column_pieces(file, wanted, present)
            else:
                skipped = 0 if self.rows is None else self.rows.start * self._row_bytes
                file.seek(self._offset + skipped)
                yield from self._row_pieces(file, wanted, present)

    def _opened(self) -> AbstractContextManager[IO[bytes]]:
        # Unbuffered: whole blocks are read to where they are used.
        return self._path.open("rb", buffering=0)

    def _size(self) -> int:
        return self.stamp.size

    def _column_pieces(self, file: IO[bytes], wanted: Wanted, end: int) -> Iterator[Piece]:
        """Yield rows of columns that lie one after the other."""
        assert self.n_rows is not None
        indices = column_numbers(self.columns, wanted.names)
        for first in range(0, end, wanted.n_rows):
            columns = np.empty((len(indices), min(wanted.n_rows, end - first)), self._dtype)
            for column, j in zip(columns, indices, strict=True):
                file.seek(self._offset + (j * self.n_rows + first) * self._dtype.itemsize)
                read_array(file, column)
            yield Piece(columns.T, first)


class NpzFile(_NumpyFile):
    """A matrix in an ``.npz`` archive: the only one, one of the name X, or one that is chosen."""

    _usable_in_part = False

    def __init__(self, path: Location, member: str, memory_budget: int) -> None:
        self._member = member
        self._is_sound = False
        super().__init__(path)
        size = self._row_bytes * (self.n_rows or 0)
        if self._fortran and size > memory_budget:
            raise DataError(
                f"{self.origin} holds its columns one after the other, and must be read as a whole,"
                f" which takes {size} bytes, more than the memory budget of {memory_budget}: save "
                "it as .npy, or in row order (order='C')"
            )

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows; none of a damaged archive.

        Wrong bytes in an archive are noticed only behind the last one, so that where they may be
        left out, the archive is read once before any row is used.
        """
        assert self.n_rows is not None
        try:
            if not wanted.damage.is_error and not self._is_sound:
                self._read_through()
            with self._opened() as file:
                file.read(self._offset)
                if self._fortran:
                    columns = np.empty((self._n_columns, self.n_rows), self._dtype)
                    read_array(file, columns)
                    chosen = chosen_columns(columns.T, column_numbers(self.columns, wanted.names))
                    yield Piece(chosen, 0)
                    return
                yield from self._row_pieces(file, wanted, self.n_rows)
        except _DAMAGED as error:
            wanted.damage.report(f"{self.origin} ({self.n_rows} rows)", error)

    def _read_through(self) -> None:
        with self._opened() as file:
            while file.read(_READ_BYTES):
                pass
        self._is_sound = True

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with (
            path_or_file(self._path) as found,
            zipfile.ZipFile(found) as archive,
            archive.open(self._entry(archive)) as file,
        ):
            yield file

    def _size(self) -> int:
        with path_or_file(self._path) as found, zipfile.ZipFile(found) as archive:
            entry = self._entry(archive)
        packed = min(entry.compress_size, self.stamp.size)
        ratio = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: _LARGEST_RATIO}.get(
            entry.compress_type
        )
        return entry.file_size if ratio is None else min(entry.file_size, ratio * packed)

    def _entry(self, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
        """Return the array in the archive that is meant."""
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        names = list(entries)
        member = self._member
        if not member and "X" not in names and len(names) != 1:
            if not names:
                raise DataError(f"{self.origin} holds no array")
            shapes = [
                f"{name!r} {_shape_in(archive, entry)}" for name, entry in list(entries.items())
            ]
            raise DataError(
                f"{self.origin} holds the arrays {name_list(names)}, and must hold one, or one "
                f"with the name X; choose another as in {self._path.name}::name: "
                f"{name_list(shapes, quoted=False)}"
            )
        if not member:
            member = "X" if "X" in names else names[0]
        if member not in names:  # as the archive's own list has it
            member = member.removesuffix(".npy")
        if member not in names:
            raise DataError(f"{self.origin} holds no array {member!r}, but {name_list(names)}")
        return entries[member]


class CompressedNpyFile(NpzFile):
    """A matrix in a ``.npy`` file that is compressed as a whole, or among others in an archive."""

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with ByteStream(self._path, member=self._member).opened() as file:
            yield file

    def _size(self) -> int:
        assert self.n_rows is not None
        claimed = self._offset + self.n_rows * self._row_bytes
        if claimed <= _LARGEST_RATIO * self.stamp.size:
            return claimed
        size = 0
        with suppress(*_DAMAGED), self._opened() as file:
            while size < claimed and (found := file.read(_READ_BYTES)):
                size += len(found)
        return size


def _shape_in(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """Return what to say of an array in an archive."""
    try:
        with archive.open(entry) as file:
            shape, _, _ = _HEADERS[np.lib.format.read_magic(file)](file)
    except _DAMAGED:
        return "is damaged, or no array"
    return f"is of shape {shape}"


def _open_npy(found: FoundFile, options: ReadingOptions) -> TableFile:
    if is_compressed(found.path):
        return CompressedNpyFile(found.path, found.part, options.memory_budget)
    return NpyFile(found.path)


FORMATS = (
    FileFormat("NumPy", _open_npy, suffixes=(".npy",), signatures=(b"\x93NUMPY",), compressed=True),
    FileFormat(
        "NumPy archive",
        lambda found, options: NpzFile(found.path, found.part, options.memory_budget),
        suffixes=(".npz",),
        has_parts=True,
        compressed=True,
    ),
)
