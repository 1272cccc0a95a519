"""What a file of rows is, whatever its format: columns with names and types, and their values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names, name_list
from fastgmm.data.errors import DataError
from fastgmm.data.file_stamps import FileStamp

_MOST_EMPTY_COLUMNS = 2**16
"""Columns that a matrix without rows may claim, to which no size of its file sets a limit."""


class Damage:
    """What a reader tells of damage, and is told by: to give up, or to leave that part out."""

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
            raise DataError(
                f"{where}: {reason}: repair the file, or leave such parts out with on_error='skip'"
            )
        self._skipped.append(f"{where}: {reason}")


class Column(NamedTuple):
    """A column of a file.

    Attributes
    ----------
    name : str
        Its name.
    type : str
        What it holds, in the file's own words.
    dtype : dtype or None
        The type of its numbers; None if it holds other things than real numbers.
    aside : str
        What makes it a feature only if it is asked for by name: ``"row index"``; empty for others.
    example : str
        The first entry that is no number, and where it is, if the format knows no types.
    remedy : str
        What may make it a number.
    """

    name: str
    type: str
    dtype: np.dtype[Any] | None
    aside: str = ""
    example: str = ""
    remedy: str = ""


class Piece(NamedTuple):
    """Rows of a file that follow each other, of any number.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_columns), or sequence of n_columns ndarrays (n_rows,)
        The columns that were asked for, NaN for what is missing. Where they hold other things
        than numbers, anything that is not NaN.
    row : int
        Number of the first row in the file, from 0.
    numbers : ndarray of shape (n_rows,) or None
        Numbers of the rows after the first's, where a filter left some between them out.
    batch : pyarrow.RecordBatch or None
        The rows as Arrow has them, if it does.
    line_of : callable or None
        Returns on which line of the file a row begins that has one of the `numbers`; None for
        files that have no lines.
    """

    values: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]
    row: int
    numbers: npt.NDArray[np.int64] | None = None
    batch: Any = None
    line_of: Callable[[int], int] | None = None


class TableFile(ABC):
    """Rows in a file, or in something like a file.

    Attributes
    ----------
    kind : str
        What it is, as messages say it: ``"Parquet"``.
    origin : str
        What it is called in messages: a path in quotes.
    columns : tuple of Column
        Its columns.
    named : bool
        Whether they have names of their own; if not, they are called ``x0``, ``x1``, and so on.
    parts : mapping of str to tuple of str
        The columns that stand for one of lists, by its name.
    n_rows : int or None
        Number of rows, if the file says so.
    replayable : bool
        Whether it can be read more than once.
    is_text : bool
        Whether it is text, of which `keep_text` gives columns as they stand there.
    null_texts : tuple of str
        What stands for a missing value in text.
    decimal : str
        The decimal mark in text.
    by_columns : bool
        Whether values lie together column by column rather than row by row.
    stamp : FileStamp or None
        What it was when it was opened; None for what is no file, and may change unnoticed.
    doubts : tuple of str
        What the user should know of how it is understood, if all columns are used.
    errors : tuple of type
        What the library that reads it raises, besides OSError, where the file is damaged.
    """

    kind: str
    origin: str
    columns: tuple[Column, ...]
    named: bool = True
    parts: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    n_rows: int | None = None
    replayable: bool = True
    is_text: bool = False
    null_texts: tuple[str, ...] = ()
    decimal: str = "."
    by_columns: bool = False
    stamp: FileStamp | None = None
    doubts: tuple[str, ...] = ()
    errors: tuple[type[Exception], ...] = ()

    @property
    def notices_changes(self) -> bool:
        """Whether `check_unchanged` can tell."""
        return self.stamp is not None

    @abstractmethod
    def pieces(
        self, names: Sequence[str], n_rows: int, rows_wanted: Any, damage: Damage
    ) -> Iterator[Piece]:
        """Return the rows from the first on.

        Parameters
        ----------
        names : sequence of str
            The columns that are wanted.
        n_rows : int
            How many rows a piece should have, about.
        rows_wanted : pyarrow.compute.Expression or None
            A condition on the rows; None where the format knows no filters.
        damage : Damage
            What to tell where the file is damaged.

        Returns
        -------
        iterator of Piece
            The rows.
        """

    def identity(self) -> dict[str, Any]:
        """Return what tells the file from others, in values that JSON knows."""
        return {"name": self.origin} if self.stamp is None else self.stamp.identity()

    def keep_text(self, names: Sequence[str]) -> None:  # noqa: B027
        """Read columns from now on as they stand in a file of text.

        Parameters
        ----------
        names : sequence of str
            The columns.
        """

    def check_filter(self, rows_wanted: Any) -> None:  # noqa: ARG002
        """Make sure that the file's rows can be filtered by a condition.

        Parameters
        ----------
        rows_wanted : pyarrow.compute.Expression
            The condition.

        Raises
        ------
        ValueError
            If they cannot.
        """
        raise ValueError(
            f"{self.origin} cannot be filtered: filter works on Parquet, Arrow and CSV files"
        )

    def check_unchanged(self) -> None:
        """Make sure that the file is what it was when it was opened, if it has a stamp.

        Raises
        ------
        DataError
            If it is not.
        """
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
            f"{name_list(shown, quoted=False)}: leave them out by naming the columns to use"
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
