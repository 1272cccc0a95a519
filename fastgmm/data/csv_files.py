"""CSV files, read some lines at a time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from fastgmm.data.arrow_columns import import_pyarrow, reason_of, schema_columns
from fastgmm.data.arrow_filters import columns_to_read, filter_columns
from fastgmm.data.arrow_rows import pieces_of
from fastgmm.data.byte_streams import DAMAGED, HEAD_BYTES, ByteStream
from fastgmm.data.csv_form import CsvForm
from fastgmm.data.errors import DataError
from fastgmm.data.table_file import Damage, Piece, TableFile

_CHUNK_BYTES = 2**20
"""Text that is parsed at a time."""

_LONGEST_LINE = 2**26

_WRONG_CELL = re.compile(r"In CSV column #(\d+): Row #(\d+): .* invalid value '(.*)'", re.DOTALL)
_WRONG_ROW = re.compile(r"Row #(\d+): (.*)", re.DOTALL)


class CsvFile(TableFile):
    """A CSV file, or text that comes from elsewhere.

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
    is_text = True
    by_columns = True
    _kept_as_text: frozenset[str] = frozenset()

    def __init__(self, stream: ByteStream) -> None:
        pyarrow = import_pyarrow("reading CSV")
        self._stream = stream
        self.origin = stream.origin
        self.replayable = stream.replayable
        self.stamp = stream.stamp
        try:
            head = stream.head()
            if len(head) == HEAD_BYTES:
                head = head[: head.rfind(b"\n") + 1]
                if not head:
                    raise DataError(f"its first line has more than {HEAD_BYTES} bytes")
            self._form = CsvForm.of(head)
            text = head[self._form.header_length(head) :]
            self._schema = self._guessed_schema(text)
        except (pyarrow.ArrowException, ValueError, csv.Error, *DAMAGED) as error:
            raise DataError(f"cannot read {self.origin} as CSV: {reason_of(error)}") from error
        self.named = self._form.has_header
        self.columns = schema_columns(self.origin, self._schema)

    def keep_text(self, names: Sequence[str]) -> None:
        """Read columns from now on as they stand in the file."""
        self._kept_as_text = frozenset(names)

    def check_filter(self, rows_wanted: Any) -> None:
        """Make sure that the file has the columns of a condition."""
        filter_columns(self.origin, self._schema, rows_wanted)

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,  # noqa: ARG002  # as many as there are in some text
        rows_wanted: Any,
        damage: Damage,
    ) -> Iterator[Piece]:
        """Return the rows, as far as the text can be read."""
        pyarrow = import_pyarrow("reading CSV")
        types = self._types(columns_to_read(self.origin, self._schema, names, rows_wanted))
        done = 0
        malformed: list[int] = []

        def on_malformed(row: Any) -> str:
            malformed.append(done + row.number)
            return "error" if damage.is_error else "skip"

        try:
            for text in self._texts():
                before = len(malformed)
                table = self._table(text, types, on_malformed)
                for batch in table.to_batches():
                    yield from pieces_of(batch, names, done, rows_wanted)
                done += table.num_rows + len(malformed) - before
        except (pyarrow.ArrowException, *DAMAGED) as error:
            row, reason = self._explained(error)
            if damage.is_error and row:
                damage.report(f"{self.origin}, row {done + row}", reason)
            damage.report(f"{self.origin}, from row {done + 1} on", reason)
        if malformed:
            damage.report(
                f"{self.origin}, {len(malformed)} rows",
                f"a number of fields other than {len(self.columns)}, first in row {malformed[0]}",
            )

    def _texts(self) -> Iterator[Any]:
        """Yield the text behind the header, some lines at a time."""
        begun = False
        with self._stream.opened() as file:
            for lines in _whole_lines(file):
                skipped = 0 if begun else self._form.header_length(lines.to_pybytes())
                begun = True
                if skipped < lines.size:
                    yield _utf8(lines.slice(skipped))

    def _guessed_schema(self, text: bytes) -> Any:
        pyarrow = import_pyarrow("reading CSV")
        if not text.strip():
            return pyarrow.schema([(name, pyarrow.null()) for name in self._form.names])
        return self._table(_utf8(pyarrow.py_buffer(text)), {}, lambda _: "skip").schema

    def _types(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the types that columns are read as: the first lines tell whether of numbers."""
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

    def _table(self, text: Any, types: Mapping[str, Any], on_malformed: Any) -> Any:
        """Return columns of some lines; all, with their types guessed, if none are named."""
        pyarrow = import_pyarrow("reading CSV")
        from pyarrow import csv as arrow_csv

        return arrow_csv.read_csv(
            pyarrow.BufferReader(text),
            # Threads parse hardly faster, and do not know the numbers of the rows.
            arrow_csv.ReadOptions(
                use_threads=False, block_size=text.size, column_names=self._form.names
            ),
            arrow_csv.ParseOptions(
                delimiter=self._form.delimiter, invalid_row_handler=on_malformed
            ),
            arrow_csv.ConvertOptions(column_types=types, include_columns=list(types)),
        )

    def _explained(self, error: BaseException) -> tuple[int, str]:
        """Return in which row of its text an error is, 0 if unknown, and what it is."""
        if found := _WRONG_CELL.search(str(error)):
            name = self.columns[int(found[1])].name
            return int(found[2]), f"{found[3]!r} in column {name!r} is no number"
        if found := _WRONG_ROW.search(str(error)):
            return int(found[1]), found[2].splitlines()[0]
        return 0, reason_of(error)


def _whole_lines(file: IO[bytes]) -> Iterator[Any]:
    """Yield a file's text in Arrow buffers that end where lines end.

    Arrow's threads may outlive the interpreter, which ends the process if they hold its memory:
    they are given neither the file nor bytes.
    """
    pyarrow = import_pyarrow("reading CSV")
    rest = b""
    ended: bool | BaseException = False
    while not ended:
        buffer = pyarrow.allocate_buffer(len(rest) + _CHUNK_BYTES)
        view = memoryview(buffer).cast("B")
        view[: len(rest)] = rest
        filled = len(rest)
        while filled < len(view) and not ended:
            try:
                count = file.readinto1(view[filled:])  # type: ignore[attr-defined]
            except DAMAGED as error:
                ended = error
            else:
                filled += count
                ended = not count
        end = filled if ended is True else _end_of_rows(bytes(view[:filled]))
        rest = bytes(view[end:filled])
        if len(rest) > _LONGEST_LINE:
            raise pyarrow.ArrowInvalid(f"there is a line of more than {_LONGEST_LINE} bytes")
        if end:
            yield buffer.slice(0, end)
        if isinstance(ended, BaseException):
            raise ended


def _end_of_rows(text: bytes) -> int:
    """Return where the last whole row ends: behind the last line end that is not in quotes.

    Where a quotation mark belongs to no pair, behind the last line end.
    """
    end = last = text.rfind(b"\n") + 1
    quoted = text.count(b'"', 0, end) % 2
    while quoted and end:
        before = text.rfind(b"\n", 0, end - 1) + 1
        quoted ^= text.count(b'"', before, end) % 2
        end = before
    return end or last


def _utf8(text: Any) -> Any:
    """Return text in UTF-8: Arrow stumbles over other bytes in lines that it complains of."""
    content = text.to_pybytes()
    if content.isascii():
        return text
    valid = content.decode("utf-8", errors="replace").encode()
    buffer = import_pyarrow("reading CSV").allocate_buffer(len(valid))
    memoryview(buffer).cast("B")[:] = valid
    return buffer
