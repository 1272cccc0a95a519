"""How data are to be read: memory, missing values, damage, and how CSV files are written."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MissingPolicy = Literal["error", "drop", "model"]
ErrorPolicy = Literal["raise", "skip"]
Header = bool | Literal["infer"]

DEFAULT_BUDGET = 10**9

BLANKS = " "
"""The delimiter that stands for any number of blanks and tabs."""

_SPELLINGS = {"\\t": "\t", "\\s+": BLANKS}
"""What a shell, or a user of pandas, gives for a delimiter."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How CSV files are written, where their text does not say it clearly."""

    header: Header = "infer"
    na_values: tuple[str, ...] = ()
    decimal: str = "."
    delimiter: str | None = None  # a blank for any number of blanks and tabs
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


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How a source is to be read, whatever holds it; `open_data` describes each."""

    memory_budget: int = DEFAULT_BUDGET  # of which half is for blocks that are kept
    block_rows: int | None = None
    missing: MissingPolicy = "error"
    on_error: ErrorPolicy = "raise"
    csv: CsvOptions = CsvOptions()

    def __post_init__(self) -> None:
        for name, value, known in (
            ("missing", self.missing, ("error", "drop", "model")),
            ("on_error", self.on_error, ("raise", "skip")),
        ):
            if value not in known:
                allowed = " or ".join(map(repr, known))
                raise ValueError(f"{name} must be {allowed}; got {value!r}")
        if self.block_rows is not None and self.block_rows < 1:
            raise ValueError(f"block_rows must be at least 1; got {self.block_rows}")


def bytes_of_memory(amount: int | str) -> int:
    """Return an amount of memory in bytes."""
    if isinstance(amount, str):
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?)b?\s*", amount, re.IGNORECASE)
        if found is None or (found[3] and not found[2]):
            raise ValueError(
                f"{amount!r} is no amount of memory: give a number and a unit, as 500MB or 2GB"
            )
        units = _BINARY_UNITS if found[3] else _UNITS
        amount = int(float(found[1]) * units[found[2].lower()])
    if amount <= 0:
        raise ValueError(f"an amount of memory must be more than nothing; got {amount}")
    return int(amount)
