"""How a CSV file is written: what separates its fields, and whether it names them.

And what to do about text that is no number, or no row of a table: the option that reads it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from fastgmm.data.column_names import default_names, is_nameless
from fastgmm.data.errors import DataError
from fastgmm.data.formats.csv_text import RowPattern, count_lines
from fastgmm.data.options import BLANKS, CsvOptions

_DELIMITERS = "\t;|,"
"""Tried in this order: where one of the first separates fields, commas may belong to numbers."""

_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?')
"""What Excel takes for a delimiter where it is the first line."""

_N_ROWS = 20
"""How many rows are looked at."""

MISSING = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
)
"""What pandas takes for a missing value."""

_MOST_TITLES = 5

_MONOTONIC = 6
"""So many values or more do not ascend by chance."""

_NUMBER = re.compile(
    r"[ \t]*[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)[ \t]*", re.ASCII | re.IGNORECASE
)

_INTEGER = re.compile(r"[ \t]*[+-]?\d+[ \t]*", re.ASCII)


_PLAIN_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"

_THOUSANDS = re.compile("[+-]?\\d{1,3}(([ _'’,.\u00a0\u2009\u202f])\\d{3})(\\2\\d{3})*([.,]\\d+)?")

_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")

_DECIMAL_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")

_SEPARATED = re.compile(rf"{_PLAIN_NUMBER}(\s+|[^\w\s.+\"-]){_PLAIN_NUMBER}(\3{_PLAIN_NUMBER})*")

_COMMENT = re.compile(r"\s*(?:(#)|([%;!/])\2?\s*[^\W\d])")
"""What may begin a comment: the mark in front of words."""

_SPREADSHEET_ERROR = re.compile(r"#(N/?A( N/A)?|[A-Z0-9/]+[!?])")

_WORD_LENGTH = 12
"""What stands for a missing value is no longer."""

_THOUSANDS_ADVICE = "write numbers without separators of thousands"


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How a CSV file is written."""

    delimiter: str  # what stands between fields; a blank for any number of blanks and tabs
    names: tuple[str, ...]  # names of the columns, ``x0``, ``x1``, … where the file has none
    has_header: bool  # whether the first row names the columns
    start: int = 0  # how many bytes come before the rows of data
    line: int = 1  # number of the line that the rows of data begin on, or a blank one before it
    n_row_names: int = 0
    """How many of the first columns have no name where the others do: an index may be there."""
    doubts: str = ""
    """What makes it likely that a header is taken for data, or the reverse; mostly empty."""
    titles: str = ""
    """The lines above the header that are left out, as messages name them; mostly empty."""
    has_text_below: bool = False
    """Whether the first row below the header is text, and that below it is not."""

    @classmethod
    def of(cls, head: bytes, options: CsvOptions) -> CsvForm:
        """Find out how a file is written.

        There is a header unless each field of the first row is a number, missing or empty. Fields
        end with a comma, or with a tab, a semicolon or a bar if these cut the first two rows into
        equally many fields, or with blanks if these separate numbers. Numbers from 0 on are a
        header above a row of others than integers: they are what pandas calls columns that have
        no names. Lines of one field above a header of several are titles, and left out.
        """
        pattern = RowPattern(options.delimiter or _DELIMITERS + BLANKS, options.comment)
        places = list(islice(pattern.rows(head), _N_ROWS + 2))
        if not places:
            raise DataError("it is empty, or compressed and cut short")
        texts = [pattern.without_comments(head[row.start : row.end]) for row in places]
        lines = [text.decode(errors="replace") for text in texts]
        delimiter = options.delimiter
        if found := _SEP_LINE.fullmatch(lines[0]):
            delimiter = delimiter or found[1]
            del lines[0], places[0], texts[0]
            if not lines:
                raise DataError("it is empty")
        if delimiter is None:
            _refuse_comments(lines, 2)
        titles = ""
        if n_titles := _n_titles(lines, delimiter, options):
            titles = f"line {places[0].line}, {lines[0].strip()!r},"
            del lines[:n_titles], places[:n_titles], texts[:n_titles]
        delimiter = delimiter or _delimiter_of(lines, options)
        rows = [_fields(line, delimiter) for line in lines]
        has_text_below = _is_text_above_numbers(rows[1:], options)
        if lines[0].startswith("#") and (has_text_below or len(rows[0]) != len(rows[-1])):
            _refuse_comments(lines, 1)
        has_header = (
            _is_header(rows, options) if options.header == "infer" else bool(options.header)
        )
        if not has_header:
            names = default_names(len(rows[0]))
            doubts = _doubts(rows, options) if options.header == "infer" else ""
            return cls(delimiter, names, False, places[0].start, places[0].line, doubts=doubts)
        try:
            texts[0].decode()  # names must not be misread
        except UnicodeDecodeError as error:
            raise DataError(f"line {places[0].line}: {about_bytes(error)}") from error
        start, line = (
            (places[1].start, places[1].line) if len(places) > 1 else (len(head), places[0].line)
        )
        names, n_row_names = _names(rows, options)
        doubts = _doubts_of_header(rows[0], options) if options.header == "infer" else ""
        return cls(delimiter, names, True, start, line, n_row_names, doubts, titles, has_text_below)


def is_number(text: str, options: CsvOptions) -> bool:
    """Say whether a field is a number, or stands for a missing one."""
    if text in MISSING or text in options.na_values:
        return True
    if options.decimal != ".":
        text = text.replace(".", "?").replace(options.decimal, ".")
    return _NUMBER.fullmatch(text) is not None


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter == BLANKS:
        line = line.strip(" \t")
        if '"' not in line:
            return line.split()
    elif delimiter not in line and '"' not in line:
        return [line]  # which may be longer than fields may be
    try:
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error as error:
        if "new-line" not in str(error):
            raise
        return [line]  # it belongs to a field that is in quotes: this is not the delimiter
    return [field for field in fields if field] if delimiter == BLANKS else fields


def _refuse_comments(lines: Sequence[str], least: int) -> None:
    """Raise if so many of the first lines look like comments, and are not said to be."""
    n_marked = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if n_marked >= least:
        raise DataError(
            "its first line begins with '#': if such lines are comments, leave them out with "
            "comment='#' (--comment '#')"
        )


def _delimiter_of(lines: Sequence[str], options: CsvOptions) -> str:
    """Return what cuts the first rows into equally many fields, or else one more or less below."""
    first, second = lines[0], lines[min(1, len(lines) - 1)]
    for differences in ((0,), (-1, 1)):
        for delimiter in _DELIMITERS:
            if delimiter == options.decimal and '"' not in second:
                continue  # it belongs to numbers unless these are in quotes
            n_fields = len(_fields(first, delimiter))
            if n_fields > 1 and len(_fields(second, delimiter)) - n_fields in differences:
                return delimiter
        names, fields = _fields(first, BLANKS), _fields(second, BLANKS)
        extra = len(fields) - len(names)
        # Blanks may also be within fields, but not within numbers.
        if (
            min(len(names), len(fields)) > 1
            and extra >= 0
            and extra in differences
            and all(is_number(field, options) for field in fields[extra:])
        ):
            return BLANKS
    return ";" if options.decimal == "," else ","


def _n_titles(lines: Sequence[str], delimiter: str | None, options: CsvOptions) -> int:
    """Return how many lines are titles: of one field each, above names and rows of numbers."""
    for count in range(
        1, min(_MOST_TITLES, len(lines) - 2) + 1 if options.header == "infer" else 0
    ):
        mark = delimiter or _delimiter_of(lines[count:], options)
        titles = [list(filter(None, _fields(line, mark))) for line in lines[:count]]
        if any(len(fields) != 1 or fields[0][0] in '#"' for fields in titles):
            return 0
        header, *rows = (_fields(line, mark) for line in lines[count:])
        same_length = all(len(row) - len(header) in (0, 1) for row in rows)
        if len(header) > 1 and same_length and _is_text_above_numbers([header, *rows], options):
            return count
    return 0


def _is_text_above_numbers(rows: Sequence[Sequence[str]], options: CsvOptions) -> bool:
    """Say whether a row has no number, and the next one has: names of columns, or their units."""
    return (
        len(rows) > 1
        and not any(is_number(field, options) for field in rows[0])
        and any(field and is_number(field, options) for field in rows[1])
    )


def _is_header(rows: Sequence[Sequence[str]], options: CsvOptions) -> bool:
    first = rows[0]
    return (
        not all(is_number(field, options) for field in first)
        or not any(first)
        or (_is_count(first) and not _is_integers(rows[min(1, len(rows) - 1)]))
    )


def _is_count(fields: Sequence[str]) -> bool:
    """Say whether several fields count from 0, behind an empty one for an index or not."""
    return len(fields) > 1 and list(fields[not fields[0] :]) == [
        str(j) for j in range(len(fields) - (not fields[0]))
    ]


def _is_integers(fields: Sequence[str]) -> bool:
    return all(map(_INTEGER.fullmatch, filter(None, fields)))


def _names(rows: Sequence[Sequence[str]], options: CsvOptions) -> tuple[tuple[str, ...], int]:
    """Return the names of the columns, and how many of the first have none.

    Rows may have one field more than the header, in front for the rows' names, as R writes them, or
    at the end of each line an empty one; or the header may end with a delimiter that rows do not.
    """
    names, others = [field.strip() for field in rows[0]], rows[1:]
    counts = {len(row) for row in others}
    if counts == {len(names) + 1}:
        if not any(row[-1].strip() for row in others):
            names.append("")
        elif _are_row_names([row[0] for row in others], len(names), options):
            names.insert(0, "")
    elif counts == {len(names) - 1} and not names[-1]:
        del names[-1]
    nameless = [j for j, name in enumerate(names) if not name]
    n_row_names = next((j for j, name in enumerate(names) if not is_nameless(name)), 0)
    if len(nameless) > 1:
        for j in nameless:
            names[j] = f"Unnamed: {j}"
    return tuple(names), n_row_names


def _are_row_names(fields: Sequence[str], n_names: int, options: CsvOptions) -> bool:
    """Say whether fields may number or name the rows: different integers, or text.

    One name above two columns may also be a title, above rows that are not counted.
    """
    if _is_integers(fields) and all(fields):
        numbers = list(map(int, fields))
        is_count = all(after == before + 1 for before, after in pairwise(numbers))
        return is_count or (n_names > 1 and len(set(numbers)) == len(numbers))
    return n_names > 1 and not all(is_number(field, options) for field in fields)


def _doubts(rows: Sequence[Sequence[str]], options: CsvOptions) -> str:
    """Return what makes it likely that the first of rows of numbers is a header."""
    first, others = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if len(others) < 2 or any(not field for field in first):
        return ""
    values = [_values(row, options) for row in (first, *others)]
    if _is_integers(first) and not any(_INTEGER.fullmatch(cell) for row in others for cell in row):
        return "it holds integers, and no other row does"
    if _is_even(values[0]) and not any(map(_is_even, values[1:])):
        return "its values are evenly spaced, and those of no other row are"
    if (
        len(first) >= _MONOTONIC
        and _is_monotonic(values[0])
        and not any(map(_is_monotonic, values[1:]))
    ):
        return "its values ascend or descend, and those of no other row do"
    columns = list(zip(*values[1:], strict=True))
    if len(others) > 2 and all(
        value is not None and _is_far(value, column)
        for value, column in zip(values[0], columns, strict=True)
    ):
        return "its values are far from those below them"
    return ""


def _doubts_of_header(fields: Sequence[str], options: CsvOptions) -> str:
    """Return what makes it likely that what is taken for a header is a row of data."""
    texts = [field for field in fields if field and not is_number(field, options)]
    marks = [text for text in texts if not any(map(str.isalnum, text))]
    if marks:
        return f"its field {marks[0]!r} is no name"
    if texts and len(texts) < len(list(filter(None, fields))):
        odd = [text for text in texts if not any(map(str.isalpha, text))]
        return f"it holds numbers, and {odd[0]!r} is no name" if len(odd) == len(texts) else ""
    return ""


def _values(row: Sequence[str], options: CsvOptions) -> list[float | None]:
    """Return the numbers of a row, None for what is missing."""
    return [
        None
        if field in MISSING or field in options.na_values
        else float(field.replace(options.decimal, "."))
        if is_number(field, options)
        else None
        for field in row
    ]


def _is_even(values: Sequence[float | None]) -> bool:
    """Say whether three values or more are evenly spaced."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < max(3, len(values)) or numbers[0] == numbers[1]:
        return False
    steps = [after - before for before, after in pairwise(numbers)]
    return max(steps) - min(steps) <= 1e-6 * max(map(abs, steps))


def _is_monotonic(values: Sequence[float | None]) -> bool:
    """Say whether values ascend or descend."""
    numbers = [value for value in values if value is not None]
    signs = {(after > before) - (after < before) for before, after in pairwise(numbers)}
    return signs in ({1}, {-1})


def _is_far(value: float, column: Sequence[float | None]) -> bool:
    """Say whether a value is farther from those of a column than these are from each other."""
    numbers = [each for each in column if each is not None]
    if not numbers:
        return False
    low, high = min(numbers), max(numbers)
    return value < low - 2 * (high - low) or value > high + 2 * (high - low)


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


def advice_on_row(row: str, is_first: bool, delimiter: str, options: CsvOptions) -> str:
    """Return what may help to read a row with a wrong number of fields."""
    found = _COMMENT.match(row)
    if found and options.comment is None and (mark := found[1] or found[2]) != delimiter:
        return f": {_comment_advice(mark)}"
    if row.count('"') % 2:
        return ": a quotation mark in it is not closed"
    if is_first:
        return ": if the line above it is a title, and not the header, remove that"
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
