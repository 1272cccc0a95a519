"""What to do about text that is no number, or no row of a table: the option that reads it."""

from __future__ import annotations

import re

from fastgmm.data.formats.csv_options import CsvOptions

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(([ _'’,.])\d{3})(\2\d{3})*([.,]\d+)?")

_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")

_DECIMAL_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")

_SEPARATED = re.compile(rf"{_NUMBER}(\s+|[^\w\s.+\"-]){_NUMBER}(\3{_NUMBER})*")

_WORD_LENGTH = 12
"""What stands for a missing value is no longer."""


def no_number(cell: str, options: CsvOptions) -> str:
    """Return what to say of a field that is no number."""
    advice = advice_on_cell(cell, options, True)
    return f"{cell!r} is no number{f': {advice}' if advice else ''}"


def advice_on_cell(cell: str, options: CsvOptions, is_exception: bool) -> str:
    """Return the option that may read a field that is no number."""
    text = cell.strip()
    if options.decimal == "." and _DECIMAL_COMMA.fullmatch(text):
        advice = "if the comma is a decimal mark, give decimal=',' (--decimal ,)"
        return f"{advice}; if not, {_THOUSANDS_ADVICE}" if _THOUSANDS.fullmatch(text) else advice
    if options.decimal == "," and _DECIMAL_POINT.fullmatch(text):
        return "the decimal mark was said to be ',': leave decimal=',' (--decimal ,) out"
    if _THOUSANDS.fullmatch(text):
        return _THOUSANDS_ADVICE
    if options.comment is None and "#" in text and not text.startswith("#N"):
        return "if '#' begins a comment, give comment='#' (--comment '#')"
    if found := _SEPARATED.fullmatch(text):
        mark = " " if found[3].isspace() else found[3]
        return f"if {mark!r} separates fields, give delimiter={mark!r} (--delimiter {mark!r})"
    if is_exception and len(text) <= _WORD_LENGTH and not re.search(r"\d", text):
        return (
            f"if {cell!r} stands for a missing value, give na_values=[{cell!r}] "
            f"(--na-values {cell!r})"
        )
    return ""


_THOUSANDS_ADVICE = "write numbers without separators of thousands"


def advice_on_row(row: str, options: CsvOptions) -> str:
    """Return the option that may read a row with a wrong number of fields."""
    if options.comment is None and row.lstrip().startswith(("#", "%")):
        mark = row.lstrip()[0]
        return f": if {mark!r} begins a comment, give comment={mark!r} (--comment {mark!r})"
    return ""


def about_bytes(error: BaseException) -> str:
    """Return what to say of bytes that are not of an encoding."""
    assert isinstance(error, UnicodeDecodeError)
    found = error.object[error.start : error.start + 1].hex()
    return (
        f"the byte 0x{found} is not {error.encoding.upper()}: say how the text is encoded, as "
        "encoding='latin-1' (--encoding latin-1)"
    )
