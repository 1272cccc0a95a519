"""What a file of rows is, whatever its format: columns with names and types, and their values."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names, name_list
from fastgmm.data.errors import DamagedDataError, DataError
from fastgmm.data.options import ReadingOptions
from fastgmm.data.remote import Location, RemotePath
from fastgmm.kernels.tiles import BLOCK_ROWS

_MOST_EMPTY_COLUMNS = 2**16
"""Columns that a matrix without rows may claim, to which no size of its file sets a limit."""

_PART_BYTES = 2**27
"""Of a part of a file that a worker of a cluster reads."""

Columns = npt.NDArray[Any] | Sequence[npt.NDArray[Any]]
"""A matrix of shape (n_rows, n_columns), or each of its columns."""


class FoundFile(NamedTuple):
    """A file of data, or a folder that is one."""

    path: Location
    kind: str  # its format
    part: str  # which array in it was asked for; empty if none was
    partitions: Mapping[str, int | str | None]
    """Columns that the names of its folders give it, as in ``year=2024/part.parquet``.

    The same columns for all files that were found, None where a file's folders say nothing.
    """


class FileFormat(NamedTuple):
    """A format of files: how they are recognized, and what opens them."""

    kind: str
    open: Callable[[FoundFile, ReadingOptions], TableFile]
    suffixes: tuple[str, ...] = ()
    signatures: tuple[bytes, ...] = ()  # what files begin with
    markers: tuple[str, ...] = ()  # what a folder that is such a file holds, one at least
    has_parts: bool = False  # whether an array in it can be chosen
    compressed: bool = False  # whether it is read compressed as a whole, too
    is_csv: bool = False


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and time of change of a file, or of all files in a folder."""

    path: Location
    n_files: int
    size: int
    version: int | str
    """When the last of them changed, in nanoseconds since 1970; of a remote file what its store
    states, such as an ETag."""

    @classmethod
    def of(cls, path: Location) -> FileStamp:
        """Return the present stamp of a file or folder."""
        if isinstance(path, RemotePath):
            return cls(path, 1, *path.latest().stat())
        found = [path.stat()]
        if path.is_dir():
            for folder, _, names in os.walk(path):
                files = (Path(folder, name) for name in names)
                # A link that leads nowhere has a stamp of its own.
                found += [each.stat() if each.exists() else each.lstat() for each in files]
        return cls(
            path, len(found), sum(s.st_size for s in found), max(s.st_mtime_ns for s in found)
        )

    def check(self) -> None:
        """Make sure that the file is as it was."""
        try:
            now = FileStamp.of(self.path)
        except OSError as error:
            raise DataError(
                f"{str(self.path)!r} has vanished since it was opened: {error.strerror or error}"
            ) from error
        if now != self:
            raise DataError(
                f"{str(self.path)!r} changed since it was opened ({self.size} bytes then, "
                f"{now.size} now): start again on files that stay as they are"
            )

    def identity(self) -> dict[str, Any]:
        """Return the stamp in values that JSON knows."""
        name = "version" if isinstance(self.version, str) else "changed_ns"
        return {"name": self.path.name, "size": self.size, name: self.version}


class Damage:
    """Where a reader reports damage: an error, or a part that is left out."""

    def __init__(self, file: TableFile, skipped: list[str] | None) -> None:
        self._file = file
        self._skipped = skipped

    @property
    def is_error(self) -> bool:
        """Whether damage is an error."""
        return self._skipped is None

    def report(self, where: str, reason: object) -> None:
        """Raise an error, or note that a part is left out."""
        self._file.check_unchanged()  # a file that is being replaced looks damaged
        if isinstance(reason, MemoryError):
            raise MemoryError(
                f"{where}: they do not fit in memory at once: store them in smaller chunks"
            )
        reason = str(reason) or type(reason).__name__
        if self._skipped is None:
            raise DamagedDataError(f"{where}: {reason}")
        self._skipped.append(f"{where}: {reason}")


class Column(NamedTuple):
    """A column of a file."""

    name: str
    type: str  # what it holds, in the file's own words
    dtype: np.dtype[Any] | None  # of its numbers; None if it holds other things than real numbers
    aside: str = ""
    """What makes it a feature only if it is asked for by name: ``"row index"``; empty for others.
    """
    example: str = ""  # the first entry that is no number, if the format knows no types
    remedy: str = ""  # what may make it a number


class Wanted(NamedTuple):
    """What is to be read of a file."""

    names: Sequence[str]
    n_rows: int  # how many rows a piece should have, about
    condition: Any  # an expression of Arrow's that rows satisfy; None for all of them
    damage: Damage


class Piece(NamedTuple):
    """Rows of a file that follow each other, of any number."""

    values: Columns
    """The columns that were asked for, NaN for what is missing.

    Where they hold other things than numbers, anything that is not NaN.
    """
    row: int  # number of the first row in the file, from 0
    numbers: npt.NDArray[np.int64] | None = None
    """Numbers of the rows after the first's, where a condition left some between them out."""
    batch: Any = None  # the rows as Arrow has them, if it does
    line_of: Callable[[int], int] | None = None
    """Returns on which line of the file a row begins that has one of the `numbers`."""


class TableFile(ABC):
    """Rows in a file, or in something like a file."""

    kind: str  # its format, as messages say it
    origin: str  # what it is called in messages: a path in quotes
    columns: tuple[Column, ...]
    named: bool = True  # if not, columns are called x0, x1, and so on
    parts: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The columns that stand for one of lists, by its name."""
    n_rows: int | None = None  # if the file says so
    replayable: bool = True  # whether it can be read more than once
    is_text: bool = False  # of which `keep_text` gives columns as they stand there
    null_texts: tuple[str, ...] = ()  # what stands for a missing value in text
    decimal: str = "."  # the decimal mark in text
    by_columns: bool = False  # whether values lie together column by column
    stamp: FileStamp | None = None  # what it was when it was opened; None for what is no file
    doubts: tuple[str, ...] = ()
    """What the user should know of how it is understood, if all columns are used."""
    errors: tuple[type[Exception], ...] = ()
    """What the library that reads it raises, besides OSError, where the file is damaged."""
    rows: range | None = None  # which of its rows a part of a file has; None for all of them

    @property
    def notices_changes(self) -> bool:
        """Whether `check_unchanged` can tell."""
        return self.stamp is not None

    @abstractmethod
    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows from the first on."""

    def split(self) -> Sequence[TableFile]:
        """Return the file in parts, as small as they can be read without the others."""
        return (self,)

    def _runs(self, row_bytes: int, chunk_rows: int = 1) -> list[Self]:
        """Return parts of rows that follow each other, of whole chunks."""
        assert self.n_rows is not None
        least = chunk_rows * -(-BLOCK_ROWS // chunk_rows)
        step = least * self._chunks_of_part(least * row_bytes)
        starts = range(0, max(1, self.n_rows), step)
        return [self._rows_part(range(first, min(first + step, self.n_rows))) for first in starts]

    def _chunks_of_part(self, chunk_bytes: float) -> int:
        return max(1, int(_PART_BYTES / chunk_bytes))

    def _rows_part(self, rows: range) -> Self:
        part = copy(self)
        part.rows = rows
        return part

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes the file from others, in values that JSON knows."""
        return {"name": self.origin} if self.stamp is None else self.stamp.identity()

    def __dask_tokenize__(self) -> object:
        return self.identity(), self.rows

    def keep_text(self, names: Sequence[str]) -> None:  # noqa: B027
        """Read columns from now on as they stand in a file of text."""

    def check_filter(self, condition: Any) -> None:  # noqa: ARG002
        """Raise `ValueError` if the file's rows cannot be filtered by a condition."""
        raise ValueError(
            f"{self.origin} cannot be filtered: filter works on Parquet, Arrow and CSV files"
        )

    def check_unchanged(self) -> None:
        """Raise `DataError` if the file is not what it was when it was opened."""
        if self.stamp is not None:
            self.stamp.check()


def unnamed_columns(dtype: np.dtype[Any], count: int) -> tuple[Column, ...]:
    """Return the columns of a matrix."""
    return tuple(Column(name, str(dtype), numeric_dtype(dtype)) for name in default_names(count))


def numeric_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return a type if it is one of real numbers, else None."""
    return dtype if dtype.kind in "buif" else None


def common_dtype(origin: str, columns: Sequence[Column]) -> np.dtype[Any]:
    """Return the type in which columns are to be handed out."""
    others = [column for column in columns if column.dtype is None]
    if others:
        shown = [
            f"{each.name!r} ({each.type}{f', as {each.example}' if each.example else ''})"
            for each in others
        ]
        remedies = dict.fromkeys(f"; {each.remedy}" for each in others if each.remedy)
        raise DataError(
            f"{origin} holds other things than real numbers in the columns "
            f"{name_list(shown, quoted=False)}: leave them out with exclude (--exclude), or by "
            "naming the columns to use"
            f"{next(iter(remedies), '')}"
        )
    single = all(column.dtype is not None and column.dtype.char == "f" for column in columns)
    return np.dtype(np.float32 if single else np.float64)


def check_matrix(origin: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Make sure that an array is a matrix of real numbers."""
    if dtype.names:
        raise DataError(
            f"{origin} holds records, not a matrix: give them as a data frame, or their numbers as "
            "a matrix"
        )
    if len(shape) != 2 or shape[1] == 0:
        raise DataError(
            f"{origin} holds an array of shape {tuple(shape)}, which is not a table: it must have "
            "two dimensions, rows and columns"
        )
    if numeric_dtype(dtype) is None:
        raise DataError(f"{origin} holds values of type {dtype}, not real numbers")
    if not shape[0] and shape[1] > _MOST_EMPTY_COLUMNS:
        raise DataError(f"{origin} has no rows, though {shape[1]} columns")


def column_numbers(columns: Sequence[Column], names: Sequence[str]) -> list[int]:
    """Return where columns are."""
    places = {column.name: j for j, column in enumerate(columns)}
    return [places[name] for name in names]


def chosen_columns(matrix: npt.NDArray[Any], indices: Sequence[int]) -> npt.NDArray[Any]:
    """Return columns of a matrix, without copying where these are all of them."""
    if list(indices) == list(range(matrix.shape[1])):
        return matrix
    return matrix[:, list(indices)]
