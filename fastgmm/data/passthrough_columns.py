"""Columns that are no features, carried beside the rows through whatever is done with these.

Those of text get the narrowest type that holds all of their cells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.formats.table_file import TableFile
from fastgmm.extras import import_pyarrow

CarriedForm = Literal["stored", "numbers", "text", "typed"]
"""As a file has them; as an array of float64; of text, as it stands there, or in a type."""


class CarriedColumns:
    """Columns that wait until as many rows of features have been worked on.

    A reader puts them in, perhaps from a thread of its own, and runs ahead of the rows by no more
    than it does anyway.
    """

    def __init__(
        self, names: Sequence[str], order: Sequence[str], index: Sequence[str] = ()
    ) -> None:
        self.names = tuple(names)
        self.order = tuple(order)
        self.index = tuple(index)
        self._waiting: deque[Sequence[Any]] = deque()

    def clear(self) -> None:
        """Forget what waits: the rows begin anew."""
        self._waiting.clear()

    def put(self, columns: Sequence[Any]) -> None:
        """Add rows at the end."""
        if columns and len(columns[0]):
            self._waiting.append(columns)

    def take(self, n_rows: int) -> dict[str, Any]:
        """Return the next rows, which were put in before."""
        parts: list[Sequence[Any]] = []
        while n_rows and self.names:
            columns = self._waiting.popleft()
            n_here = len(columns[0])
            if n_here > n_rows:
                self._waiting.appendleft([column[n_rows:] for column in columns])
                columns = [column[:n_rows] for column in columns]
            parts.append(columns)
            n_rows -= min(n_here, n_rows)
        if not parts:
            return {}
        return {
            name: _joined(column)
            for name, column in zip(self.names, zip(*parts, strict=True), strict=True)
        }


def _joined(parts: Sequence[Any]) -> Any:
    """Return pieces of a column as one."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import pyarrow

    return pyarrow.chunked_array(parts)


def first_type(name: str, *, guessed: bool) -> Any:
    """Return the type to begin with for a column."""
    pyarrow = import_pyarrow("reading CSV")
    if name == "double" and not guessed:
        return pyarrow.int64()
    types = [pyarrow.null(), pyarrow.bool_(), *(each for types in _ladders() for each in types)]
    return next((each for each in types if str(each) == name), pyarrow.string())


def wide_enough(file: TableFile, kind: Any, cells: Any) -> Any:
    """Return the narrowest type from one on that holds cells."""
    pyarrow = import_pyarrow("reading CSV")
    ladders = [[kind, *_ladders()[0]]] if pyarrow.types.is_null(kind) else _ladders()
    wider = next((types[types.index(kind) :] for types in ladders if kind in types), [kind])
    present = _present(file, cells)
    if _have_leading_zeros(present):  # codes, such as those of places, which numbers would shorten
        return pyarrow.string()
    for each in wider:
        if pyarrow.types.is_floating(each) and kind != each and _are_integers(present):
            continue
        try:
            _as_type(cells, present, each)
        except pyarrow.ArrowInvalid:  # Arrow's answer to whether all cells are of a type
            continue
        return each
    return pyarrow.string()


def with_type(file: TableFile, name: str, cells: Any, kind: Any) -> Any:
    """Return cells in a type."""
    pyarrow = import_pyarrow("reading CSV")
    try:
        return _as_type(cells, _present(file, cells), kind)
    except pyarrow.ArrowInvalid as error:
        raise DataError(
            f"{file.origin}: column {name!r} begins as {kind} and continues otherwise ({error}): "
            "give a file, which is looked through first, or write .csv"
        ) from error


def _ladders() -> list[list[Any]]:
    """Return types of numbers and of times, from narrow to wide."""
    pyarrow = import_pyarrow("reading CSV")
    return [
        [pyarrow.int64(), pyarrow.uint64(), pyarrow.float64()],
        [pyarrow.date32(), pyarrow.timestamp("s"), pyarrow.timestamp("ns")],
        [pyarrow.timestamp("s", "UTC"), pyarrow.timestamp("ns", "UTC")],
    ]


def _as_type(cells: Any, present: Any, kind: Any) -> Any:
    """Return cells in a type, or let Arrow raise its error."""
    pyarrow = import_pyarrow("reading CSV")
    if pyarrow.types.is_string(kind):
        return cells
    if pyarrow.types.is_integer(kind):
        if not _are_integers(present):  # of which Arrow takes hexadecimal ones, too
            raise pyarrow.ArrowInvalid("a cell is no integer")
        from pyarrow import compute

        present = compute.utf8_ltrim(present, "+")
    if not pyarrow.types.is_null(kind):
        return present.cast(kind)
    if present.null_count < len(present):
        raise pyarrow.ArrowInvalid("a cell is not empty")
    return pyarrow.nulls(len(present))


def _present(file: TableFile, cells: Any) -> Any:
    """Return cells as Arrow spells numbers, null where they are empty or spell it."""
    pyarrow = import_pyarrow("reading CSV")
    from pyarrow import compute

    trimmed = compute.utf8_trim_whitespace(cells)
    missing = compute.is_in(trimmed, value_set=pyarrow.array(file.null_texts, pyarrow.string()))
    if file.decimal != ".":
        # A point is then something else, perhaps between thousands.
        trimmed = compute.replace_substring(trimmed, ".", "?")
        trimmed = compute.replace_substring(trimmed, file.decimal, ".")
    return compute.if_else(missing, pyarrow.scalar(None, pyarrow.string()), trimmed)


def _have_leading_zeros(present: Any) -> bool:
    """Say whether one of the texts is digits after a zero."""
    from pyarrow import compute

    return bool(compute.any(compute.match_substring_regex(present, r"^0[0-9]+$")).as_py())


def _are_integers(present: Any) -> bool:
    """Say whether all cells are integers of any length, or missing."""
    from pyarrow import compute

    matches = compute.match_substring_regex(present, r"^[+-]?[0-9]+$")
    return compute.all(matches).as_py() is not False
