"""What a user says of how CSV files are written, where their text does not say it clearly."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Header = bool | Literal["infer"]

BLANKS = " "
"""The delimiter that stands for any number of blanks and tabs."""

_SPELLINGS = {"\\t": "\t", "\\s+": BLANKS}
"""What a shell, or a user of pandas, gives for a delimiter."""


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How CSV files are written.

    Attributes
    ----------
    header : bool or "infer"
        Whether the first line names the columns; ``"infer"`` to see by its fields.
    na_values : tuple of str
        What stands for a missing value, beside pandas' usual texts.
    decimal : str
        The decimal mark.
    delimiter : str or None
        What separates fields, a blank for any number of blanks and tabs; None to find out.
    comment : str or None
        What begins the rest of a line that is no data; None if nothing does.
    encoding : str or None
        How characters are encoded; None for UTF-8, or what a byte order mark says.
    """

    header: Header = "infer"
    na_values: tuple[str, ...] = ()
    decimal: str = "."
    delimiter: str | None = None
    comment: str | None = None
    encoding: str | None = None

    def given(self) -> list[str]:
        """Return the names of the options that are not left at their defaults."""
        usual = CsvOptions()
        return [name for name in self.__slots__ if getattr(self, name) != getattr(usual, name)]


def csv_options(
    header: Header = "infer",
    na_values: str | Sequence[str] | None = None,
    decimal: str = ".",
    delimiter: str | None = None,
    comment: str | None = None,
    encoding: str | None = None,
) -> CsvOptions:
    """Return options as a user gave them, checked."""
    if not (isinstance(header, bool) or header == "infer"):
        raise ValueError(f"header must be True, False or 'infer'; got {header!r}")
    values = (na_values,) if isinstance(na_values, str) else tuple(na_values or ())
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"na_values must be texts, as they stand in the file; got {value!r}")
    if decimal not in (".", ","):
        raise ValueError(f"decimal must be '.' or ','; got {decimal!r}")
    if delimiter is not None:
        delimiter = _SPELLINGS.get(delimiter, delimiter)
        if not _is_mark(delimiter):
            raise ValueError(
                "delimiter must be one character other than a quotation mark or a line end, a "
                f"blank for any number of blanks; got {delimiter!r}"
            )
    if comment is not None and (not _is_mark(comment) or comment.isspace()):
        raise ValueError(f"comment must be one character, such as '#'; got {comment!r}")
    for name, mark in (("delimiter", delimiter), ("comment", comment)):
        if mark is not None and mark in "0123456789.+-":
            raise ValueError(f"{name} is {mark!r}, which is a part of numbers: give another one")
    if comment is not None and comment == delimiter:
        raise ValueError(f"delimiter and comment are both {comment!r}: give another one")
    if encoding is not None:
        try:
            encoding = codecs.lookup(encoding).name
            "a".encode(encoding)
        except LookupError:
            raise ValueError(
                f"encoding must be one that Python knows, as 'latin-1'; got {encoding!r}"
            ) from None
    return CsvOptions(header, values, decimal, delimiter, comment, encoding)


def _is_mark(text: str) -> bool:
    return len(text) == 1 and text.isascii() and text not in '"\r\n\0'
