"""What to do about text that is no number, or no row of a table: the option that reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastgmm.data.formats.csv_options import CsvOptions
from fastgmm.data.formats.csv_text import count_lines

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"

_THOUSANDS = re.compile("[+-]?\\d{1,3}(([ _'’,.\u00a0\u2009\u202f])\\d{3})(\\2\\d{3})*([.,]\\d+)?")

_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")

_DECIMAL_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")

_SEPARATED = re.compile(rf"{_NUMBER}(\s+|[^\w\s.+\"-]){_NUMBER}(\3{_NUMBER})*")

_COMMENT = re.compile(r"\s*(?:(#)|([%;!/])\2?\s*[^\W\d])")
"""What may begin a comment: the mark in front of words."""

_SPREADSHEET_ERROR = re.compile(r"#(N/?A( N/A)?|[A-Z0-9/]+[!?])")

_WORD_LENGTH = 12
"""What stands for a missing value is no longer."""


def is_commented(cell: str) -> bool:
    """Say whether a field looks like the beginning of a comment."""
    return _COMMENT.match(cell) is not None


def no_number(cell: str, options: CsvOptions) -> str:
    """Return what to say of a field that is no number."""
    if "\0" in cell:
        return f"{cell!r} holds a NUL byte, which is no text"
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
    is_error = _SPREADSHEET_ERROR.fullmatch(text) is not None
    if options.comment is None and not is_error:
        if found := _COMMENT.match(text):
            return _comment_advice(found[1] or found[2])
        if "#" in text:
            return _comment_advice("#")
    if found := _SEPARATED.fullmatch(text):
        mark = " " if found[3].isspace() else found[3]
        return f"if {mark!r} separates fields, give delimiter={mark!r} (--delimiter {mark!r})"
    is_word = is_exception and len(text) <= _WORD_LENGTH and not re.search(r"\d", text)
    if is_word or is_error or not re.search(r"[^\W_]", text):
        return (
            f"if {cell!r} stands for a missing value, give na_values=[{cell!r}] "
            f"(--na-values {cell!r})"
        )
    return ""


_THOUSANDS_ADVICE = "write numbers without separators of thousands"


def advice_on_row(row: str, names: Sequence[str], delimiter: str, options: CsvOptions) -> str:
    """Return what may help to read a row with a wrong number of fields."""
    found = _COMMENT.match(row)
    if found and options.comment is None and (mark := found[1] or found[2]) != delimiter:
        return f": {_comment_advice(mark)}"
    if len(names) == 1 and options.header == "infer":
        return f": the first line has one field, {names[0]!r}: if it is a title, remove it"
    return ""


def _comment_advice(mark: str) -> str:
    return f"if {mark!r} begins a comment, give comment={mark!r} (--comment {mark!r})"


def about_nul(text: bytes) -> str:
    """Return what to say of text in which there are NUL bytes."""
    n_pairs, n_even, n_odd = len(text) // 2, text[::2].count(0), text[1::2].count(0)
    for order, n_zero, n_others in (("le", n_odd, n_even), ("be", n_even, n_odd)):
        if n_zero > n_pairs / 2 and n_others < n_pairs / 10:
            return (
                f"it seems to be UTF-16 without a byte order mark, which encoding='utf-16-{order}' "
                f"(--encoding utf-16-{order}) reads"
            )
    line = count_lines(text[: text.index(0)]) + 1
    return f"line {line} holds a NUL byte: it is damaged, or no text; write it again"


def about_bytes(error: BaseException) -> str:
    """Return what to say of bytes that are not of an encoding."""
    assert isinstance(error, UnicodeDecodeError)
    found = error.object[error.start : error.start + 1].hex()
    return (
        f"the byte 0x{found} is not {error.encoding.upper()}: say how the text is encoded, as "
        "encoding='latin-1' (--encoding latin-1)"
    )
