"""How a CSV file is written: what parts its fields, and whether it names them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from fastgmm.data.column_names import default_names
from fastgmm.data.errors import DataError

_DELIMITERS = "\t;|,"
"""Tried in this order: where one of the first parts fields, commas may belong to numbers."""

_LINE_LENGTH = 2**16
"""How much of the text is looked at for its first lines, if they are no longer."""

_MISSING = frozenset(
    [
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "1.#IND",
        "1.#QNAN",
        "N/A",
        "NA",
        "NULL",
        "n/a",
        "null",
    ]
)
"""What Arrow takes for a missing value, beside nothing and what Python reads as NaN."""


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How a CSV file is written.

    Attributes
    ----------
    delimiter : str
        What stands between fields.
    names : tuple of str
        Names of the columns, ``x0``, ``x1``, … where the file has none.
    has_header : bool
        Whether the first line that is not empty names the columns.
    """

    delimiter: str
    names: tuple[str, ...]
    has_header: bool

    @classmethod
    def of(cls, head: bytes) -> CsvForm:
        """Find out how a file is written.

        There is a header unless each field of the first line is a number, missing or empty. Fields
        end with a comma, or with a tab, a semicolon or a bar if these cut the first two lines into
        equally many fields. Numbers from 0 on are a header above a line of others than integers:
        they are what pandas calls columns that have no names.

        Parameters
        ----------
        head : bytes
            The first lines, or more.

        Returns
        -------
        CsvForm
            How it is written.

        Raises
        ------
        DataError
            If there is no line, or something that no text has.
        """
        if b"\0" in head:
            raise DataError("it is no text")
        lines = _first_lines(head[:_LINE_LENGTH])
        if len(lines) < 3:  # the last may have been cut
            lines = _first_lines(head)
        if not lines:
            raise DataError("it is empty")
        lines = lines[:2]
        delimiter = _delimiter_of(lines)
        fields = _fields(lines[0], delimiter)
        has_header = (
            not all(map(_is_number, filter(None, fields)))
            or not any(fields)
            or (_is_count(fields) and not _is_integers(_fields(lines[-1], delimiter)))
        )
        names = (
            tuple(field.strip() for field in fields) if has_header else default_names(len(fields))
        )
        return cls(delimiter, names, has_header)

    def header_length(self, text: bytes) -> int:
        """Return how many of a text's first bytes are its header.

        Parameters
        ----------
        text : bytes
            Whole lines.

        Returns
        -------
        int
            Number of bytes, empty lines before the header with it.
        """
        if not self.has_header:
            return 0
        start = len(text) - len(text.lstrip())
        end = text.find(b"\n", start)
        return len(text) if end < 0 else end + 1


def _first_lines(text: bytes) -> list[str]:
    lines = text.decode("utf-8-sig", errors="replace").splitlines()
    return [line for line in lines if line.strip()]


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter not in line and '"' not in line:
        return [line]  # which may be longer than fields may be
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def _delimiter_of(lines: Sequence[str]) -> str:
    for delimiter in _DELIMITERS:
        counts = {len(_fields(line, delimiter)) for line in lines}
        if len(counts) == 1 and counts != {1}:
            return delimiter
    return ","


def _is_count(fields: Sequence[str]) -> bool:
    """Say whether several fields count from 0, behind an empty one for an index or not."""
    return len(fields) > 1 and list(fields[not fields[0] :]) == [
        str(j) for j in range(len(fields) - (not fields[0]))
    ]


def _is_integers(fields: Sequence[str]) -> bool:
    return all(field.strip().lstrip("+-").isdigit() for field in filter(None, fields))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text in _MISSING
    return True
