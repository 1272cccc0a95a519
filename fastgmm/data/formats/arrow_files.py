"""Arrow files and streams, Feather, and whatever hands over a stream of Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from fastgmm.data.errors import DataError
from fastgmm.data.file_stamps import FileStamp
from fastgmm.data.formats.arrow_columns import (
    import_pyarrow,
    list_parts,
    reason_of,
    schema_columns,
    with_parts_of_lists,
)
from fastgmm.data.formats.arrow_filters import columns_to_read, filter_columns
from fastgmm.data.formats.arrow_rows import pieces_of
from fastgmm.data.formats.byte_streams import DAMAGED, ByteStream
from fastgmm.data.formats.table_file import Damage, Piece, TableFile
from fastgmm.data.sources.vector_columns import stored_names

_STREAM_START = 8
"""Bytes of an Arrow file before the stream in it: its signature."""


class _ArrowTable(TableFile):
    """Rows in Arrow batches."""

    kind = "Arrow"
    by_columns = True
    _schema: Any

    def check_filter(self, rows_wanted: Any) -> None:
        """Make sure that there are the columns of a condition."""
        filter_columns(self.origin, self._schema, rows_wanted)

    def _options(self, names: Sequence[str] | None) -> Any:
        """Return what tells Arrow to read some columns, or all."""
        ipc = import_pyarrow("reading Arrow files").ipc
        if names is None:
            return ipc.IpcReadOptions()
        return ipc.IpcReadOptions(
            included_fields=sorted(self._schema.get_field_index(name) for name in names)
        )

    def _to_read(self, names: Sequence[str], rows_wanted: Any) -> list[str]:
        """Return the columns that have to be read."""
        stored = stored_names(names, self.parts)
        return columns_to_read(self.origin, self._schema, stored, rows_wanted)

    def _pieces_of(
        self, batch: Any, names: Sequence[str], row: int, rows_wanted: Any
    ) -> Iterator[Piece]:
        """Yield the rows of a batch that are wanted."""
        flat = with_parts_of_lists(self.origin, batch, self.parts, names, row)
        return pieces_of(flat, names, row, rows_wanted)

    def _stream_pieces(
        self, reader: Any, names: Sequence[str], rows_wanted: Any, damage: Damage
    ) -> Iterator[Piece]:
        """Yield the rows of a stream as far as it is sound."""
        pyarrow = import_pyarrow("reading Arrow streams")
        done = 0
        try:
            for batch in reader:
                batch.validate()
                yield from self._pieces_of(batch, names, done, rows_wanted)
                done += batch.num_rows
        except (pyarrow.ArrowException, *DAMAGED) as error:
            damage.report(f"{self.origin}, from row {done} on, counted from 0", reason_of(error))

    def _note_schema(self, schema: Any, give_rows: Callable[[], Any]) -> None:
        self._schema = schema.remove_metadata()
        self.parts = list_parts(schema, give_rows)
        self.columns = schema_columns(self.origin, schema, self.parts)


class ArrowFile(_ArrowTable):
    """An Arrow or Feather file, whose batches can be found one by one."""

    def __init__(self, path: Path) -> None:
        pyarrow = import_pyarrow("reading Arrow files")
        from pyarrow import dataset

        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        self.errors = (pyarrow.ArrowException,)
        self._cut_short = ""
        try:
            with self._opened(None) as reader:
                has_rows = reader.num_record_batches > 0
                self._note_schema(reader.schema, lambda: reader.get_batch(0) if has_rows else None)
            self.n_rows = dataset.dataset(str(path), format="ipc").count_rows()
        except (pyarrow.ArrowException, OSError) as error:
            self._cut_short = reason_of(error)
            try:
                with self._opened_as_stream(None) as reader:
                    self._note_schema(reader.schema, lambda: next(iter(reader), None))
            except (pyarrow.ArrowException, OSError):
                raise DataError(
                    f"cannot read {self.origin} as an Arrow file: {self._cut_short}"
                ) from error

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,  # noqa: ARG002  # as many as batches have
        rows_wanted: Any,
        damage: Damage,
    ) -> Iterator[Piece]:
        """Return the rows, batch by batch; of a file cut short, those before its end."""
        pyarrow = import_pyarrow("reading Arrow files")
        wanted = self._to_read(names, rows_wanted)
        if self._cut_short:
            if damage.is_error:
                damage.report(self.origin, self._cut_short)
            with self._opened_as_stream(wanted) as reader:
                yield from self._stream_pieces(reader, names, rows_wanted, damage)
            return
        done = 0
        with self._opened(wanted) as reader:
            for i in range(reader.num_record_batches):
                try:
                    batch = reader.get_batch(i)
                    batch.validate()
                except (pyarrow.ArrowException, OSError) as error:
                    where = f"{self.origin}, batch {i} (from row {done} on, counted from 0)"
                    damage.report(where, reason_of(error))
                    continue
                yield from self._pieces_of(batch, names, done, rows_wanted)
                done += batch.num_rows

    @contextmanager
    def _opened(self, names: Sequence[str] | None) -> Iterator[Any]:
        """Open the file to read some columns, or all."""
        ipc = import_pyarrow("reading Arrow files").ipc
        with self._file() as file, ipc.open_file(file, options=self._options(names)) as reader:
            yield reader

    @contextmanager
    def _opened_as_stream(self, names: Sequence[str] | None) -> Iterator[Any]:
        """Open the stream that is inside an Arrow file, behind the signature."""
        ipc = import_pyarrow("reading Arrow files").ipc
        with self._file() as file:
            file.seek(_STREAM_START)
            with ipc.open_stream(file, options=self._options(names)) as reader:
                yield reader

    def _file(self) -> Any:
        return import_pyarrow("reading Arrow files").OSFile(str(self._path))


class ArrowStream(_ArrowTable):
    """An Arrow stream, whose batches come one after the other."""

    def __init__(self, stream: ByteStream) -> None:
        pyarrow = import_pyarrow("reading Arrow streams")
        self._stream = stream
        self.origin = stream.origin
        self.replayable = stream.replayable
        self.stamp = stream.stamp
        self.errors = (pyarrow.ArrowException,)
        try:
            with pyarrow.ipc.open_stream(pyarrow.py_buffer(stream.head())) as reader:
                self._note_schema(reader.schema, self._first_rows)
        except (pyarrow.ArrowException, *DAMAGED) as error:
            raise DataError(
                f"cannot read {self.origin} as an Arrow stream: {reason_of(error)}"
            ) from error

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,  # noqa: ARG002  # as many as batches have
        rows_wanted: Any,
        damage: Damage,
    ) -> Iterator[Piece]:
        """Return the rows, as far as the stream is sound."""
        ipc = import_pyarrow("reading Arrow streams").ipc
        wanted = self._to_read(names, rows_wanted)
        options = self._options(wanted)
        with self._stream.opened() as file, ipc.open_stream(file, options=options) as reader:
            yield from self._stream_pieces(reader, names, rows_wanted, damage)

    def _first_rows(self) -> Any:
        """Return the first batch; None of a stream that cannot be read again."""
        if not self.replayable:
            return None
        ipc = import_pyarrow("reading Arrow streams").ipc
        with self._stream.opened() as file, ipc.open_stream(file) as reader:
            return next(iter(reader), None)


class ArrowBatches(_ArrowTable):
    """What hands over a stream of Arrow batches: a reader, a query, a table of another library."""

    origin = "the Arrow stream"

    def __init__(self, give_reader: Callable[[], Any], replayable: bool) -> None:
        self._give_reader = give_reader
        self.replayable = replayable
        reader = give_reader()
        self._first: list[Any] = []
        self._batches: Iterator[Any] | None = iter(reader)
        self._note_schema(reader.schema, self._first_rows)

    def identity(self) -> dict[str, Any]:
        """Return the names of the columns: a stream tells no more."""
        return {"columns": self._schema.names}

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,  # noqa: ARG002  # as many as batches have
        rows_wanted: Any,
        damage: Damage,  # noqa: ARG002  # whoever makes them raises errors of their own
    ) -> Iterator[Piece]:
        """Return the rows, batch by batch."""
        batches = iter(self._give_reader()) if self._batches is None else self._batches
        batches, self._batches, self._first = chain(self._first, batches), None, []
        done = 0
        for batch in batches:
            yield from self._pieces_of(batch, names, done, rows_wanted)
            done += batch.num_rows

    def _first_rows(self) -> Any:
        """Return the first batch, and keep it for the first reading."""
        assert self._batches is not None
        self._first = list(islice(self._batches, 1))
        return self._first[0] if self._first else None
