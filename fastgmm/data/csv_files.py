"""CSV files, read a few lines at a time."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from fastgmm.data.arrow_columns import arrow_dtype, import_pyarrow, reason_of, schema_columns
from fastgmm.data.arrow_filters import filter_columns
from fastgmm.data.arrow_rows import pieces_of
from fastgmm.data.byte_streams import HEAD_BYTES, ByteStream
from fastgmm.data.errors import DataError
from fastgmm.data.table_file import Damage, Piece, TableFile

_CHUNK_BYTES = HEAD_BYTES
"""Text that is parsed at a time, and from which the columns' types are guessed."""

_LINE_LENGTH = 2**16

_DELIMITERS = "\t;|,"
"""Tried in this order: where one of the first ends a field, commas may belong to numbers."""

_WRONG_CELL = re.compile(r"In CSV column #(\d+): Row #(\d+): .* invalid value '(.*)'")
_WRONG_ROW = re.compile(r"Row #(\d+): (.*)", re.DOTALL)


class CsvFile(TableFile):
    """A CSV file, or text that comes from elsewhere.

    There is a header unless each field of the first line is a number. Fields end with a comma, or
    with a tab, a semicolon or a bar if these cut the first two lines into equally many.

    Parameters
    ----------
    stream : ByteStream
        What it is read from.

    Raises
    ------
    DataError
        If it is empty, or no text of that form.
    """

    kind = "CSV"
    by_columns = True

    def __init__(self, stream: ByteStream) -> None:
        pyarrow = import_pyarrow("reading CSV")
        self._stream = stream
        self.origin = stream.origin
        self.replayable = stream.replayable
        try:
            head = stream.head()
            lines = _first_lines(head)
            self._delimiter = _delimiter_of(lines)
            fields = next(csv.reader(lines[:1], delimiter=self._delimiter), [])
            self._header = self.named = _is_header(fields)
            self._n_fields = len(fields)
            if len(head) == HEAD_BYTES:
                head = head[: head.rfind(b"\n") + 1] or head
            with self._reader(io.BytesIO(head), None, lambda _: "skip") as reader:
                self._schema = reader.schema
        except (pyarrow.ArrowException, OSError, EOFError, ValueError, zlib.error) as error:
            raise DataError(f"cannot read {self.origin} as CSV: {reason_of(error)}") from error
        self.columns = tuple(
            column._replace(dtype=None if column.dtype is None else np.dtype(np.float64))
            for column in schema_columns(self.origin, self._schema)
        )

    def identity(self) -> dict[str, Any]:
        """Return name, size and time of change."""
        return self._stream.identity()

    def check_unchanged(self) -> None:
        """Make sure that the file is what it was when it was opened."""
        self._stream.check_unchanged()

    def check_filter(self, rows_wanted: Any) -> None:
        """Make sure that the file has the columns of a condition."""
        filter_columns(self.origin, self._schema, rows_wanted)

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,  # noqa: ARG002
        rows_wanted: Any,
        damage: Damage,
    ) -> Iterator[Piece]:
        """Return the rows, as many as there are in some text."""
        pyarrow = import_pyarrow("reading CSV")
        wanted = list(dict.fromkeys(names))
        if rows_wanted is not None:
            conditions = filter_columns(self.origin, self._schema, rows_wanted)
            wanted = list(dict.fromkeys([*wanted, *conditions]))
        malformed: list[Any] = []

        def on_malformed(row: Any) -> str:
            malformed.append(row)
            return "error" if damage.is_error else "skip"

        done = 0
        try:
            with self._stream.opened() as file, self._reader(file, wanted, on_malformed) as reader:
                for batch in reader:
                    yield from pieces_of(batch, names, done, rows_wanted)
                    done += batch.num_rows
        except (pyarrow.ArrowException, OSError, EOFError, zlib.error) as error:
            row, reason = self._explained(error)
            if damage.is_error and row:
                damage.report(f"{self.origin}, row {row}", reason)
            damage.report(f"{self.origin}, from row {done + 1} on", reason)
        if malformed and not damage.is_error:
            damage.report(
                f"{self.origin}, {len(malformed)} rows",
                f"a number of fields other than {len(self.columns)}, first in row "
                f"{malformed[0].number - self._header}",
            )

    def _reader(self, file: IO[bytes], wanted: Sequence[str] | None, on_malformed: Any) -> Any:
        """Return a reader of the chosen columns; with None of all, with types guessed."""
        pyarrow = import_pyarrow("reading CSV")
        from pyarrow import csv as arrow_csv

        generated = None if self._header else [f"x{j}" for j in range(self._n_fields)]
        kinds = {}
        for name in wanted or ():
            kind = self._schema.field(name).type
            is_number = arrow_dtype(kind) is not None and not pyarrow.types.is_boolean(kind)
            kinds[name] = pyarrow.float64() if is_number else kind
        return arrow_csv.open_csv(
            file,
            # Threads parse hardly faster, and do not know the numbers of the rows.
            arrow_csv.ReadOptions(
                use_threads=False, block_size=_CHUNK_BYTES, column_names=generated
            ),
            arrow_csv.ParseOptions(delimiter=self._delimiter, invalid_row_handler=on_malformed),
            arrow_csv.ConvertOptions(column_types=kinds, include_columns=wanted),
        )

    def _explained(self, error: BaseException) -> tuple[int, str]:
        """Return in which row an error is, 0 if unknown, and what it is."""
        text = str(error)
        if found := _WRONG_CELL.search(text):
            name = self.columns[int(found[1])].name
            return int(found[2]) - self._header, f"{found[3]!r} in column {name!r} is no number"
        if found := _WRONG_ROW.search(text):
            return int(found[1]) - self._header, found[2].splitlines()[0]
        return 0, reason_of(error)


def _first_lines(head: bytes) -> list[str]:
    if b"\0" in head:
        raise DataError("it is no text")
    text = head.decode("utf-8-sig", errors="replace")
    return [line for line in text[: 2 * _LINE_LENGTH].splitlines() if line.strip()][:2]


def _delimiter_of(lines: Sequence[str]) -> str:
    for delimiter in _DELIMITERS:
        counts = {len(next(csv.reader([line], delimiter=delimiter))) for line in lines}
        if len(counts) == 1 and counts != {1}:
            return delimiter
    return ","


def _is_header(fields: Sequence[str]) -> bool:
    given = [field for field in fields if field]
    return not given or not all(map(_is_number, given))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
