"""Arrow files and streams, Feather, and whatever hands over a stream of Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

from fastgmm.data.errors import DataError
from fastgmm.data.formats.arrow_columns import ArrowTable, reason_of
from fastgmm.data.formats.byte_streams import DAMAGED, ByteStream, is_compressed, refuse_compressed
from fastgmm.data.formats.table_file import (
    FileFormat,
    FileStamp,
    FoundFile,
    Piece,
    TableFile,
    Wanted,
)
from fastgmm.data.options import ReadingOptions
from fastgmm.data.remote import Location
from fastgmm.extras import import_pyarrow

ARROW_STREAM = b"\xff\xff\xff\xff"
"""What an Arrow stream begins with."""

_STREAM_START = 8
"""Bytes of an Arrow file before the stream in it: its signature."""


class _ArrowBatches(ArrowTable):
    """Rows in Arrow's own format."""

    kind = "Arrow"

    def _options(self, names: Sequence[str] | None) -> Any:
        """Return what makes Arrow read some columns, or all."""
        ipc = import_pyarrow("reading Arrow files").ipc
        if names is None:
            return ipc.IpcReadOptions()
        return ipc.IpcReadOptions(
            included_fields=sorted(self._schema.get_field_index(name) for name in names)
        )

    def _stream_pieces(self, reader: Any, wanted: Wanted) -> Iterator[Piece]:
        """Yield the rows of a stream as far as it is sound."""
        pyarrow = import_pyarrow("reading Arrow streams")
        done = 0
        try:
            for batch in reader:
                batch.validate()
                yield from self._pieces_of(batch, wanted, done)
                done += batch.num_rows
        except (pyarrow.ArrowException, *DAMAGED) as error:
            where = f"{self.origin}, from row {done} on, counted from 0"
            wanted.damage.report(where, reason_of(error))


class ArrowFile(_ArrowBatches):
    """An Arrow or Feather file, whose batches can be found one by one."""

    def __init__(self, path: Location) -> None:
        pyarrow = import_pyarrow("reading Arrow files")
        from pyarrow import dataset

        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        self.errors = (pyarrow.ArrowException,)
        self._cut_short = ""
        self._batches: range | None = None  # of a part
        try:
            with self._opened(None) as reader:
                has_rows = reader.num_record_batches > 0
                self._note_schema(reader.schema, lambda: reader.get_batch(0) if has_rows else None)
            with self._file() as file:
                self.n_rows = dataset.IpcFileFormat().make_fragment(file).count_rows()
        except (pyarrow.ArrowException, OSError) as error:
            self._cut_short = reason_of(error)
            try:
                with self._opened_as_stream(None) as reader:
                    self._note_schema(reader.schema, lambda: next(iter(reader), None))
            except (pyarrow.ArrowException, OSError):
                raise DataError(
                    f"cannot read {self.origin} as an Arrow file: {self._cut_short}"
                ) from error

    def split(self) -> Sequence[TableFile]:
        """Return runs of batches, or the whole of a damaged file, whose reader says where."""
        pyarrow = import_pyarrow("reading Arrow files")
        assert self.stamp is not None
        try:
            with self._opened(self._schema.names[:1]) as reader:
                sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        except (pyarrow.ArrowException, OSError):
            return (self,)
        if not sizes:
            return (self,)
        ends = [0, *accumulate(sizes)]
        step = self._chunks_of_part(self.stamp.size / len(sizes))
        parts = []
        for first in range(0, len(sizes), step):
            last = min(first + step, len(sizes))
            part = self._rows_part(range(ends[first], ends[last]))
            part._batches = range(first, last)
            parts.append(part)
        return parts

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, batch by batch; of a file cut short, those before its end."""
        pyarrow = import_pyarrow("reading Arrow files")
        names = self._to_read(wanted)
        if self._cut_short:
            if wanted.damage.is_error:
                wanted.damage.report(self.origin, self._cut_short)
            with self._opened_as_stream(names) as reader:
                yield from self._stream_pieces(reader, wanted)
            return
        done = 0 if self.rows is None else self.rows.start
        with self._opened(names) as reader:
            for i in self._batches or range(reader.num_record_batches):
                try:
                    batch = reader.get_batch(i)
                    batch.validate()
                except (pyarrow.ArrowException, OSError) as error:
                    where = f"{self.origin}, batch {i} (from row {done} on, counted from 0)"
                    wanted.damage.report(where, reason_of(error))
                    continue
                yield from self._pieces_of(batch, wanted, done)
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
        pyarrow = import_pyarrow("reading Arrow files")
        if isinstance(self._path, Path):
            return pyarrow.OSFile(str(self._path))
        return pyarrow.PythonFile(self._path.open(buffering=0))


class ArrowStream(_ArrowBatches):
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

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, as far as the stream is sound."""
        ipc = import_pyarrow("reading Arrow streams").ipc
        options = self._options(self._to_read(wanted))
        with self._stream.opened() as file, ipc.open_stream(file, options=options) as reader:
            yield from self._stream_pieces(reader, wanted)

    def _first_rows(self) -> Any:
        """Return the first batch; None of a stream that cannot be read again."""
        if not self.replayable:
            return None
        ipc = import_pyarrow("reading Arrow streams").ipc
        with self._stream.opened() as file, ipc.open_stream(file) as reader:
            return next(iter(reader), None)


class ArrowBatches(_ArrowBatches):
    """What hands over a stream of Arrow batches: a reader, a query, a table of another library.

    It is read once if it is itself the stream.
    """

    origin = "the Arrow stream"

    def __init__(self, data: Any) -> None:
        pyarrow = import_pyarrow("reading Arrow streams")
        self.replayable = not isinstance(data, Iterator | pyarrow.RecordBatchReader)
        self._data = data
        reader = self._reader()
        self._first: list[Any] = []
        self._batches: Iterator[Any] | None = iter(reader)
        self._note_schema(reader.schema, self._first_rows)

    def identity(self) -> dict[str, Any]:
        """Return the names of the columns: a stream says no more."""
        return {"columns": self._schema.names}

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, batch by batch; whoever makes them raises errors of their own."""
        batches = iter(self._reader()) if self._batches is None else self._batches
        batches, self._batches, self._first = chain(self._first, batches), None, []
        done = 0
        for batch in batches:
            yield from self._pieces_of(batch, wanted, done)
            done += batch.num_rows

    def _reader(self) -> Any:
        return import_pyarrow("reading Arrow streams").RecordBatchReader.from_stream(self._data)

    def _first_rows(self) -> Any:
        """Return the first batch, and keep it for the first reading."""
        assert self._batches is not None
        self._first = list(islice(self._batches, 1))
        return self._first[0] if self._first else None


def _open(found: FoundFile, _: ReadingOptions) -> TableFile:
    """Open a file or stream; only a stream can be compressed as a whole."""
    compressed = is_compressed(found.path)
    stream = ByteStream(found.path, member=found.part if compressed else "")
    if stream.head().startswith(ARROW_STREAM):
        return ArrowStream(stream)
    refuse_compressed(found)
    return ArrowFile(found.path)


FORMATS = (
    FileFormat(
        "Arrow",
        _open,
        suffixes=(".arrow", ".arrows", ".feather", ".ipc"),
        signatures=(b"ARROW1", ARROW_STREAM),
        compressed=True,
    ),
)
