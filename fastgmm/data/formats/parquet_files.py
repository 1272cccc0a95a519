"""Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

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
from fastgmm.data.formats.table_file import Column, Damage, Piece, TableFile
from fastgmm.data.sources.vector_columns import stored_names

_BATCH_BYTES = 2**21
"""Bytes that are decoded at once: they are still in the cache when they are copied."""

_FEWEST_ROWS = 2**10
"""Rows that are decoded at once at least: each column of them is an object of its own."""

_BUFFER_BYTES = 2**20
"""Read at a time of each column: without it a row group's columns are read whole."""

_BUFFERS_BYTES = 2**25
"""Read at a time of all columns together, if they are many."""


class ParquetFile(TableFile):
    """A Parquet file."""

    kind = "Parquet"
    by_columns = True

    def __init__(self, path: Path, partitions: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self.origin = repr(str(path))
        self._partitions = dict(partitions or {})
        self.stamp = FileStamp.of(path)
        self.errors = (import_pyarrow("reading Parquet").ArrowException,)
        try:
            with self._opened() as file:
                schema = file.schema_arrow
                self.n_rows = file.metadata.num_rows
                self.parts = list_parts(schema, lambda: next(file.iter_batches(_FEWEST_ROWS), None))
        except (*self.errors, OSError) as error:
            raise DataError(f"cannot read {self.origin} as Parquet: {reason_of(error)}") from error
        self._schema = schema.remove_metadata()
        own = schema_columns(self.origin, schema, self.parts)
        names = {column.name for column in own}
        self._partitions = {n: v for n, v in self._partitions.items() if n not in names}
        self.columns = (*own, *(_partition_column(*each) for each in self._partitions.items()))

    def check_filter(self, rows_wanted: Any) -> None:
        """Make sure that the file has the columns of a condition."""
        filter_columns(self.origin, self._whole_schema(), rows_wanted)

    def pieces(
        self, names: Sequence[str], n_rows: int, rows_wanted: Any, damage: Damage
    ) -> Iterator[Piece]:
        """Return the rows, group by group, those that statistics rule out unread."""
        pyarrow = import_pyarrow("reading Parquet")
        stored = stored_names(names, self.parts)
        wanted = columns_to_read(self.origin, self._whole_schema(), stored, rows_wanted)
        own = [name for name in wanted if name not in self._partitions]
        width = sum(len(self.parts.get(name, (name,))) for name in own)
        at_once = min(n_rows, max(_FEWEST_ROWS, _BATCH_BYTES // (8 * max(width, 1))))
        with self._opened(len(own)) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist()
            for group in self._groups(rows_wanted, len(sizes)):
                first, last = starts[group], starts[group + 1]
                done = first
                try:
                    # Arrow's own threads would take a third more of the cores' time.
                    for batch in file.iter_batches(
                        at_once, row_groups=[group], columns=own, use_threads=False
                    ):
                        batch.validate()
                        whole = self._with_partitions(
                            with_parts_of_lists(self.origin, batch, self.parts, names, done)
                        )
                        yield from pieces_of(whole, names, done, rows_wanted)
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
                    damage.report(where, reason_of(error))

    @contextmanager
    def _opened(self, n_columns: int = 1) -> Iterator[Any]:
        """Open the file to read so many columns."""
        import_pyarrow("reading Parquet")
        from pyarrow import parquet

        with parquet.ParquetFile(
            self._path,
            pre_buffer=False,
            buffer_size=min(_BUFFER_BYTES, _BUFFERS_BYTES // max(n_columns, 1) + 1),
            page_checksum_verification=True,
        ) as file:
            yield file

    def _groups(self, rows_wanted: Any, count: int) -> list[int]:
        """Return the row groups in which rows may satisfy a condition."""
        if rows_wanted is None:
            return list(range(count))
        from pyarrow import dataset
        from pyarrow.fs import LocalFileSystem

        partition = self._partition_expression()
        fragment = dataset.ParquetFileFormat().make_fragment(
            str(self._path), LocalFileSystem(), partition
        )
        chosen = fragment.subset(rows_wanted, schema=self._whole_schema())
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
    is_number = not isinstance(value, str)
    dtype = np.dtype(np.float64) if is_number else None
    return Column(name, "folder's name", dtype, aside="folder's name")
