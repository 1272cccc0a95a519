"""Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.formats.arrow_columns import ArrowTable, reason_of
from fastgmm.data.formats.table_file import (
    Column,
    FileFormat,
    FileStamp,
    Piece,
    TableFile,
    Wanted,
)
from fastgmm.data.remote import Location, path_or_file
from fastgmm.extras import import_pyarrow

_BATCH_BYTES = 2**21
"""Bytes that are decoded at once: they are still in the cache when they are copied."""

_FEWEST_ROWS = 2**10
"""Rows that are decoded at once at least: each column of them is an object of its own."""

_BUFFER_BYTES = 2**20
"""Read at a time of each column: without it a row group's columns are read whole."""

_BUFFERS_BYTES = 2**25
"""Read at a time of all columns together, if they are many, or each read is a request."""


class ParquetFile(ArrowTable):
    """A Parquet file, and the columns that the names of its folders give it."""

    kind = "Parquet"

    def __init__(self, path: Location, partitions: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        self.errors = (import_pyarrow("reading Parquet").ArrowException,)
        try:
            with self._opened() as file:
                self.n_rows = file.metadata.num_rows
                self._note_schema(
                    file.schema_arrow, lambda: next(file.iter_batches(_FEWEST_ROWS), None)
                )
        except (*self.errors, OSError) as error:
            raise DataError(f"cannot read {self.origin} as Parquet: {reason_of(error)}") from error
        names = {column.name for column in self.columns}
        self._partitions = {n: v for n, v in (partitions or {}).items() if n not in names}
        self.columns += tuple(_partition_column(*each) for each in self._partitions.items())

    def split(self) -> Sequence[TableFile]:
        """Return the row groups."""
        with self._opened() as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        ends = np.cumsum(sizes).tolist()
        return [self._rows_part(range(*each)) for each in zip([0, *ends], ends, strict=False)]

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, group by group, those that statistics rule out unread."""
        pyarrow = import_pyarrow("reading Parquet")
        own = [name for name in self._to_read(wanted) if name not in self._partitions]
        width = sum(len(self.parts.get(name, (name,))) for name in own)
        at_once = min(wanted.n_rows, max(_FEWEST_ROWS, _BATCH_BYTES // (8 * max(width, 1))))
        with self._opened(len(own)) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist()
            for group in self._groups(wanted.condition, len(sizes)):
                first, last = starts[group], starts[group + 1]
                if self.rows is not None and range(first, last) != self.rows:
                    continue
                done = first
                try:
                    # Arrow's own threads would take a third more of the cores' time.
                    for batch in file.iter_batches(
                        at_once, row_groups=[group], columns=own, use_threads=False
                    ):
                        batch.validate()
                        yield from self._pieces_of(self._with_partitions(batch), wanted, done)
                        done += batch.num_rows
                    if done != last:
                        raise pyarrow.ArrowInvalid(
                            f"it should have {last - first} rows, but has {done - first}"
                        )
                except (pyarrow.ArrowException, OSError) as error:
                    rows = f"rows {first} to {last - 1}, counted from 0"
                    where = f"{self.origin}, row group {group} ({rows})"
                    if done > first:
                        where += f" from row {done} on"
                    wanted.damage.report(where, reason_of(error))

    @contextmanager
    def _opened(self, n_columns: int = 1) -> Iterator[Any]:
        """Open the file to read so many columns."""
        import_pyarrow("reading Parquet")
        from pyarrow import parquet

        most = _BUFFER_BYTES if isinstance(self._path, Path) else _BUFFERS_BYTES
        with (
            path_or_file(self._path, buffering=0) as found,
            parquet.ParquetFile(
                found,
                pre_buffer=False,
                buffer_size=min(most, _BUFFERS_BYTES // max(n_columns, 1) + 1),
                page_checksum_verification=True,
            ) as file,
        ):
            yield file

    def _groups(self, condition: Any, count: int) -> list[int]:
        """Return the row groups in which rows may satisfy a condition."""
        if condition is None:
            return list(range(count))
        from pyarrow import dataset

        with self._path.open("rb", buffering=0) as file:
            fragment = dataset.ParquetFileFormat().make_fragment(
                file, partition_expression=self._partition_expression()
            )
            chosen = fragment.subset(condition, schema=self._whole_schema())
            return [group.id for group in chosen.row_groups]

    def _partition_expression(self) -> Any:
        from pyarrow import compute

        expression = None
        for name, value in self._partitions.items():
            field = compute.field(name)
            condition = field.is_null() if value is None else field == value
            expression = condition if expression is None else expression & condition
        return expression

    def _whole_schema(self) -> Any:
        return self._with_partitions(self._schema.empty_table()).schema

    def _with_partitions(self, rows: Any) -> Any:
        """Return rows with the columns that the names of folders give them."""
        pyarrow = import_pyarrow("reading Parquet")
        for name, value in self._partitions.items():
            rows = rows.append_column(name, pyarrow.repeat(pyarrow.scalar(value), rows.num_rows))
        return rows


def _partition_column(name: str, value: Any) -> Column:
    dtype = None if isinstance(value, str) else np.dtype(np.float64)
    return Column(name, "folder's name", dtype, aside="folder's name")


FORMATS = (
    FileFormat(
        "Parquet",
        lambda found, _: ParquetFile(found.path, found.partitions),
        suffixes=(".parquet", ".pq"),
        signatures=(b"PAR1",),
    ),
)
