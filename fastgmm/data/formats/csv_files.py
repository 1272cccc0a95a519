"""CSV files, read some rows at a time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.formats.arrow_columns import (
    ROW_INDEX,
    ArrowTable,
    reason_of,
    schema_columns,
)
from fastgmm.data.formats.byte_streams import DAMAGED, HEAD_BYTES, ByteStream
from fastgmm.data.formats.csv_dialect import (
    MISSING,
    CsvForm,
    about_bytes,
    about_nul,
    advice_on_cell,
    advice_on_row,
    is_commented,
    is_number,
    no_number,
)
from fastgmm.data.formats.csv_text import (
    LONGEST_LINE,
    UTF8,
    RowPattern,
    count_lines,
    decoded,
    encoding_of,
    end_of_rows,
    in_utf8,
    whole_rows,
)
from fastgmm.data.formats.foreign_files import foreign_kind
from fastgmm.data.formats.table_file import Column, FileFormat, Piece, Wanted
from fastgmm.data.options import BLANKS, CsvOptions
from fastgmm.extras import import_pyarrow

_CHUNK_BYTES = 2**21
"""Text that is parsed at a time, of files with few columns."""

_CHUNK_BYTES_OF_COLUMN = 2**11
"""Text that is parsed at a time for each column, of which Arrow makes an array of its own."""

_MOST_CHUNK_BYTES = 2**23

_WIDE = 2**12
"""Beyond so many columns, Arrow's arrays take more time and memory than the numbers in them."""

_GUESSED_ROWS = 20
"""Rows of a wide file that say which columns hold numbers."""

_WRONG_CELL = re.compile(r"In CSV column #(\d+): Row #(\d+): .* invalid value '(.*)'", re.DOTALL)
_WRONG_ROW = re.compile(r"Row #(\d+): (Expected \d+ columns, got \d+): (.*)", re.DOTALL)

OnMalformed = Callable[[int, str], str]
"""Takes a row's number in its text, from 1, and the row, and says "error" or "skip"."""


class _WrongRowError(ValueError):
    """What is wrong with a row: its number in the text, from 1, a column or none, and why."""

    def __init__(self, number: int, column: str | None, reason: str) -> None:
        super().__init__(reason)
        self.number = number
        self.column = column


class _Part(NamedTuple):
    """Rows of the file in the order that they have there."""

    text: Any  # the rows
    line: int  # number of the first line
    pattern: RowPattern  # what separates rows
    malformed: list[int]  # numbers of the rows, from 1, that are left out

    def line_of_row(self, number: int) -> int:
        """Return on which line a row begins, the first of which has the number 1."""
        rows = self.pattern.rows(self.text.to_pybytes(), self.line)
        return next(islice(rows, number - 1, None)).line

    def line_of(self, index: int) -> int:
        """Return the same for one of the rows that are not left out, the first of which is 0."""
        number = index + 1
        for other in self.malformed:
            number += other <= number
        return self.line_of_row(number)


class CsvFile(ArrowTable):
    """A CSV file, or text that comes from elsewhere."""

    kind = "CSV"
    is_text = True
    _kept_as_text: frozenset[str] = frozenset()

    def __init__(self, stream: ByteStream, options: CsvOptions) -> None:
        pyarrow = import_pyarrow("reading CSV")
        self._stream = stream
        self._options = options
        self.null_texts = (*MISSING, *options.na_values)
        self.decimal = options.decimal
        self.origin = stream.origin
        self.replayable = stream.replayable
        self.stamp = stream.stamp
        try:
            head = self._head()
            self._form = CsvForm.of(head, options)
            self._pattern = RowPattern(self._form.delimiter, options.comment)
            blanks = self._form.delimiter == BLANKS
            self._delimiter = "\t" if blanks else self._form.delimiter  # in `_plain` text
            text = head[self._form.start :]
            malformed: list[int] = []
            self._schema, sample = self._guessed(text, malformed)
        except (pyarrow.ArrowException, ValueError, csv.Error, *DAMAGED) as error:
            is_decoding = isinstance(error, UnicodeDecodeError)
            reason = about_bytes(error) if is_decoding else reason_of(error)
            raise DataError(f"cannot read {self.origin} as CSV: {reason}") from error
        self.named = self._form.has_header
        part = _Part(pyarrow.py_buffer(text), self._form.line, self._pattern, malformed)
        self.columns = tuple(
            column
            if column.name and column.dtype is not None and j >= self._form.n_row_names
            else self._understood(j, column, sample(j), part)
            for j, column in enumerate(schema_columns(self.origin, self._schema))
        )
        self.by_columns = len(self.columns) <= _WIDE
        self.doubts = self._doubts(sample(0))

    def keep_text(self, names: Sequence[str]) -> None:
        """Read columns from now on as they stand in the file."""
        self._kept_as_text = frozenset(names)

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, as far as the text can be read, as many at a time as some text has."""
        pyarrow = import_pyarrow("reading CSV")
        damage = wanted.damage
        types = self._types(self._to_read(wanted))
        done = n_malformed = first_malformed = 0
        part = _Part(pyarrow.py_buffer(b""), self._form.line, self._pattern, [])

        def on_malformed(number: int, row: str) -> str:  # noqa: ARG001
            part.malformed.append(number)
            return "error" if damage.is_error else "skip"

        try:
            for text, line, next_line in self._texts():
                part = _Part(text, line, self._pattern, [])
                plain = self._plain(text, damage.is_error)
                if len(self.columns) > _WIDE:
                    rows = list(self._rows(plain, on_malformed))
                    found = self._wide_pieces(rows, wanted, types, done)
                    done += len(rows)
                else:
                    table = self._table(plain, types, on_malformed)
                    batches = table.to_batches()  # one, as there was one block of text
                    found = chain(*(self._pieces_of(each, wanted, done) for each in batches))
                    done += table.num_rows
                if part.malformed:
                    first_malformed = first_malformed or part.line_of_row(part.malformed[0])
                    n_malformed += len(part.malformed)
                for piece in found:
                    yield piece._replace(line_of=part.line_of)
                part = _Part(text, next_line, self._pattern, [])
        except (pyarrow.ArrowException, UnicodeError, csv.Error, _WrongRowError, *DAMAGED) as error:
            where, reason = self._explained(error, part)
            if damage.is_error and where:
                damage.report(where, reason)
            reason = f"{where}: {reason}" if where else reason
            damage.report(f"{self.origin}, from line {part.line} on", reason)
        if n_malformed:
            damage.report(
                f"{self.origin}, {n_malformed} rows",
                f"a number of fields other than {len(self.columns)}, first in line "
                f"{first_malformed}",
            )

    def _head(self) -> bytes:
        """Return the first rows in UTF-8, as many as show how the file is written."""
        n_bytes = HEAD_BYTES
        while True:
            raw = self._stream.head(n_bytes)
            if (kind := foreign_kind(raw)) is not None:
                raise DataError(f"it is {kind}")
            self._encoding = self._options.encoding or encoding_of(raw)
            head = decoded(raw, self._encoding)
            if b"\0" in head:
                raise DataError(about_nul(head))
            if len(raw) < n_bytes:
                return head
            head = head[: end_of_rows(head, RowPattern(",", self._options.comment))]
            if count_lines(head) > 2 or (head and n_bytes >= LONGEST_LINE):
                return head
            if n_bytes >= LONGEST_LINE:
                raise DataError(f"its first line has more than {n_bytes} bytes")
            n_bytes *= 8

    def _texts(self) -> Iterator[tuple[Any, int, int]]:
        """Yield the text behind the header, some rows at a time, its line and that behind it."""
        before, line = self._form.start, self._form.line
        n_bytes = _CHUNK_BYTES_OF_COLUMN * len(self.columns)
        n_bytes = min(max(n_bytes, _CHUNK_BYTES), _MOST_CHUNK_BYTES)
        with self._stream.opened() as file, in_utf8(file, self._encoding) as text:
            for rows in whole_rows(text, n_bytes, self._pattern):
                skipped = min(before, rows.size)
                before -= skipped
                if skipped < rows.size:
                    kept = rows.slice(skipped)
                    next_line = line + count_lines(kept)
                    yield kept, line, next_line
                    line = next_line

    def _plain(self, text: Any, strict: bool) -> Any:
        """Return text as Arrow's parser takes it: in UTF-8, without blank lines and comments."""
        content = changed = text.to_pybytes()
        if not content.isascii():
            # Arrow stumbles over other bytes in lines that it complains of.
            changed = content.decode(errors="strict" if strict else "replace").encode()
        if self._options.comment is not None:
            changed = self._pattern.without_comments(changed)
        if self._form.delimiter == BLANKS:
            changed = self._pattern.by_tabs(changed)
        else:
            changed = self._pattern.without_blank_lines(changed)
        if changed is content:
            return text
        buffer = import_pyarrow("reading CSV").allocate_buffer(len(changed))
        memoryview(buffer).cast("B")[:] = changed
        return buffer

    def _guessed(self, text: bytes, malformed: list[int]) -> tuple[Any, Callable[[int], Any]]:
        """Return the guessed types of the columns, and what returns one of the first rows."""
        pyarrow = import_pyarrow("reading CSV")

        def skip(number: int, row: str) -> str:  # noqa: ARG001
            malformed.append(number)
            return "skip"

        names = self._form.names
        plain = self._plain(pyarrow.py_buffer(text), False)
        if not plain.to_pybytes().strip(b"\r\n"):
            return pyarrow.schema(
                [(name, pyarrow.null()) for name in names]
            ), lambda _: pyarrow.nulls(0)
        if len(names) <= _WIDE:
            table = self._table(plain, {}, skip)
            return table.schema, table.column
        rows = list(islice(self._rows(plain, skip), _GUESSED_ROWS))
        numeric = [all(is_number(row[j], self._options) for row in rows) for j in range(len(names))]
        kinds = (pyarrow.float64() if each else pyarrow.string() for each in numeric)
        schema = pyarrow.schema(list(zip(names, kinds, strict=True)))
        return schema, lambda j: self._one_column([row[j] for row in rows], {})

    def _understood(self, j: int, column: Column, values: Any, part: _Part) -> Column:
        """Return a column as it is to be used: its type, and what of it is no number."""
        if j < self._form.n_row_names and self._is_row_index(values):
            column = column._replace(aside=ROW_INDEX)
        elif not column.name and values.type == import_pyarrow("reading CSV").null():
            column = column._replace(aside="empty")  # behind a delimiter at the end of each line
        if column.dtype is not None:
            return column
        wrong = [
            cell is not None and not is_number(str(cell), self._options)
            for cell in values.to_pylist()
        ]
        if not any(wrong):
            return column
        index = wrong.index(True)
        text = str(values[index].as_py())
        near = wrong[max(0, index - _GUESSED_ROWS) : index + _GUESSED_ROWS]
        line = part.line_of(index)
        if self._form.has_text_below and index == 0 and not is_commented(text):
            remedy = (
                f"line {line} is text above numbers: if it names the columns, remove the title "
                "above it; if it holds their units, remove it"
            )
        elif self._options.header is False and index == 0 and sum(near) == 1:
            remedy = "if the first line names the columns, leave header=False (--no-header) out"
        else:
            remedy = advice_on_cell(text, self._options, 2 * sum(near) <= len(near))
        return column._replace(example=f"{text!r} in line {line}", remedy=remedy)

    def _is_row_index(self, values: Any) -> bool:
        """Say whether a column without a name, at the beginning, numbers or names the rows."""
        pyarrow = import_pyarrow("reading CSV")
        return not pyarrow.types.is_floating(values.type) or _counts(values)

    def _doubts(self, first: Any) -> tuple[str, ...]:
        """Return what the user should know of how the file is understood."""
        doubts = []
        if self._form.doubts:
            doubts.append(
                f"the first row of {self.origin} is read as "
                + ("a header, but may be data" if self.named else "data, but may be a header")
                + f", as {self._form.doubts}: say so with header=True (--header), or header=False "
                "(--no-header)"
            )
        if self._form.titles:
            doubts.append(
                f"{self._form.titles} of {self.origin} is left out, as a title above the header: "
                "if it is none, remove it or mend it"
            )
        nameless = [each for each in self.columns[: self._form.n_row_names] if not each.aside]
        if nameless:
            doubts.append(
                f"the first column of {self.origin}, {nameless[0].name!r}, has no name, and may "
                "be a row index: if it is no feature, leave it out by naming the columns to use "
                "(columns=, --columns)"
            )
        counts = len(first) > 2 and _counts(first) and first[0].as_py() in (0, 1)
        if not self.named and len(self.columns) > 1 and counts:
            names = ", ".join(repr(column.name) for column in self.columns[1:3])
            doubts.append(
                f"the first column of {self.origin} counts the rows: if it is no feature, leave "
                f"it out with columns=[{names}{', …' if len(self.columns) > 3 else ''}]"
            )
        index = [column for column in self.columns if column.aside == ROW_INDEX]
        if index:
            doubts.append(
                f"the first column of {self.origin}, {index[0].name!r}, is left out, as it has no "
                "name and numbers or names the rows: to use it, name it among columns (--columns)"
            )
        return tuple(doubts)

    def _types(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the types that columns are read as: the first rows say whether of numbers."""
        pyarrow = import_pyarrow("reading CSV")
        numeric = {column.name for column in self.columns if column.dtype is not None}
        types = {}
        for name in names:
            kind = self._schema.field(name).type
            is_number = name in numeric and not pyarrow.types.is_boolean(kind)
            types[name] = pyarrow.float64() if is_number else kind
            if name in self._kept_as_text:
                types[name] = pyarrow.string()
        return types

    def _table(self, text: Any, types: Mapping[str, Any], on_malformed: OnMalformed) -> Any:
        """Return columns of some rows; all, with their types guessed, if none are named."""
        from pyarrow import csv as arrow_csv

        how = arrow_csv.ParseOptions(
            delimiter=self._delimiter,
            invalid_row_handler=lambda row: on_malformed(row.number, row.text),
        )
        return self._parsed(text, list(self._form.names), how, types)

    def _parsed(self, text: Any, names: list[str], how: Any, types: Mapping[str, Any]) -> Any:
        """Return what Arrow makes of some rows."""
        pyarrow = import_pyarrow("reading CSV")
        from pyarrow import csv as arrow_csv

        return arrow_csv.read_csv(
            pyarrow.BufferReader(text),
            # Threads parse hardly faster, and do not know the numbers of the rows.
            arrow_csv.ReadOptions(use_threads=False, block_size=text.size, column_names=names),
            how,
            arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=list(self.null_texts),
                decimal_point=self.decimal,
                strings_can_be_null=not self._kept_as_text,
            ),
        )

    def _rows(self, text: Any, on_malformed: OnMalformed) -> Iterator[list[str]]:
        """Yield the fields of rows that have as many as there are columns."""
        n_columns = len(self._form.names)
        lines = io.StringIO(text.to_pybytes().decode(), newline="")
        rows = filter(None, csv.reader(lines, delimiter=self._delimiter))
        for number, row in enumerate(rows, 1):
            if len(row) == n_columns:
                yield row
            elif on_malformed(number, "") == "error":
                raise _WrongRowError(number, None, f"Expected {n_columns} columns, got {len(row)}")

    def _one_column(self, cells: Sequence[str], types: Mapping[str, Any]) -> Any:
        """Return fields as a column of Arrow's, of the type of the name x if one is given."""
        from pyarrow import csv as arrow_csv

        quoted = "\n".join(f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in cells)
        text = import_pyarrow("reading CSV").py_buffer(quoted.encode())
        return self._parsed(text, ["x"], arrow_csv.ParseOptions(), types)["x"]

    def _wide_pieces(
        self, rows: list[list[str]], wanted: Wanted, types: Mapping[str, Any], done: int
    ) -> Iterator[Piece]:
        """Yield some rows of a file that has many columns: their numbers are parsed as one.

        An array of Arrow's for each column takes more than the few numbers in it. Only those that
        are text, or that a condition is about, become one.
        """
        pyarrow = import_pyarrow("reading CSV")
        names = wanted.names
        if not rows:
            return
        places = {name: j for j, name in enumerate(self._form.names)}
        numeric = [name for name in names if types[name] == pyarrow.float64()]
        cells = [row[j] for row in rows for j in map(places.__getitem__, numeric)]
        matrix = np.zeros((len(rows), len(names)))
        try:
            numbers = self._one_column(cells, {"x": pyarrow.float64()}) if cells else None
        except pyarrow.ArrowInvalid as error:
            found = _WRONG_CELL.search(str(error))
            if found is None:
                raise
            row, j = divmod(int(found[2]) - 1, len(numeric))
            reason = no_number(found[3], self._options)
            raise _WrongRowError(row + 1, numeric[j], reason) from error
        if numbers is not None:
            is_numeric = [types[name] == pyarrow.float64() for name in names]
            matrix[:, is_numeric] = numbers.to_numpy().reshape(len(rows), -1)
        everything = wanted.condition is not None
        stored = [name for name in types if everything or types[name] != pyarrow.float64()]
        if not stored:
            yield Piece(matrix, done)
            return
        arrays = [
            self._one_column([row[places[name]] for row in rows], {"x": types[name]})
            for name in stored
        ]
        batch = pyarrow.table(arrays, stored).combine_chunks().to_batches()[0]
        for piece in self._pieces_of(batch, wanted._replace(names=[]), done):
            kept = slice(None) if piece.numbers is None else piece.numbers
            yield piece._replace(values=matrix[kept])

    def _explained(self, error: BaseException, part: _Part) -> tuple[str, str]:
        """Return on which line an error is, nothing if that is unknown, and what it is."""
        if isinstance(error, UnicodeDecodeError) and error.encoding == UTF8:
            line = part.line + count_lines(error.object[: error.start])
            return f"line {line} of {self.origin}", about_bytes(error)
        if isinstance(error, UnicodeDecodeError):
            return "", about_bytes(error)
        if found := _WRONG_CELL.search(str(error)):
            name = self.columns[int(found[1])].name
            error = _WrongRowError(int(found[2]), name, no_number(found[3], self._options))
        elif found := _WRONG_ROW.search(str(error)):
            row = found[3].splitlines()[0] if found[3] else ""
            reason = f"{found[2]}: {row if row.isprintable() else repr(row)}"
            is_first = self._form.has_header and found[1] == "1" and part.line == self._form.line
            reason += advice_on_row(row, is_first, self._form.delimiter, self._options)
            error = _WrongRowError(int(found[1]), None, reason)
        if not isinstance(error, _WrongRowError):
            return "", reason_of(error)
        column = "" if error.column is None else f", column {error.column!r}"
        return f"line {part.line_of_row(error.number)} of {self.origin}{column}", str(error)


def _counts(values: Any) -> bool:
    """Say whether each number of a column is by 1 more than the one before it."""
    types = import_pyarrow("reading CSV").types
    is_number = types.is_integer(values.type) or types.is_floating(values.type)
    if not is_number or values.null_count or not len(values):
        return False
    numbers = values.to_numpy()
    return bool((numbers == numbers[0] + np.arange(len(numbers))).all())


FORMATS = (
    FileFormat(
        "CSV",
        lambda found, options: CsvFile(ByteStream(found.path, member=found.part), options.csv),
        suffixes=(".csv", ".tsv"),
        compressed=True,
        is_csv=True,
    ),
)
