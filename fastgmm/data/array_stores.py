"""Arrays in HDF5 and Zarr, read some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.file_stamps import FileStamp
from fastgmm.data.table_file import (
    Column,
    Damage,
    Piece,
    TableFile,
    check_matrix,
    chosen_columns,
    column_numbers,
    numeric_dtype,
    unnamed_columns,
)
from fastgmm.extras import import_from_extra

_LARGEST_CHUNK = 8
"""Chunks of up to this many blocks are read whole: to read parts is to decode each more often."""


class _Table(NamedTuple):
    """What in a store is a table.

    Attributes
    ----------
    matrix : array of shape (n_rows, n_columns) or None
        The rows.
    columns : mapping of str to array of shape (n_rows,)
        The columns; beside a matrix, those that lie next to it.
    """

    matrix: Any
    columns: Mapping[str, Any]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        first = next(iter(self.columns.values())) if self.matrix is None else self.matrix
        return int(first.shape[0])


class ArrayStore(TableFile):
    """A matrix in HDF5 or Zarr, or arrays of equal length that are the columns of a table.

    The matrix is the one that is named, or that is called X, or the only one. Arrays of its length
    beside it can be used by their names, as weights for instance.

    Parameters
    ----------
    open_root : callable
        Returns a context in which arrays can be read: an array, or a group of them.
    kind : str
        What it is.
    origin : str
        What messages call it.
    part : str
        Path of the array or group within it; empty for the whole.
    stamp : FileStamp or None
        What tells whether it changes.

    Raises
    ------
    DataError
        If it cannot be opened, or has no such arrays of real numbers.
    """

    def __init__(
        self,
        open_root: Callable[[], AbstractContextManager[Any]],
        kind: str,
        origin: str,
        part: str = "",
        stamp: FileStamp | None = None,
    ) -> None:
        self._open_root = open_root
        self.kind = kind
        self.origin = origin
        self._part = part
        self.stamp = stamp
        try:
            with open_root() as root:
                table = self._table_in(root)
                self._note(table)
        except (DataError, ImportError):
            raise
        except Exception as error:  # a damaged store raises whatever its codecs come to
            raise DataError(f"cannot read {origin} as {kind}: {error}") from error

    def identity(self) -> dict[str, Any]:
        """Return name, size and time of change, or the shape of what is no file."""
        own = {"part": self._part, "n_rows": self.n_rows, "columns": len(self.columns)}
        return own if self.stamp is None else {**super().identity(), **own}

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,
        rows_wanted: Any,  # noqa: ARG002
        damage: Damage,
    ) -> Iterator[Piece]:
        """Return the rows, slices that cannot be read left out."""
        assert self.n_rows is not None
        step = n_rows
        if self._chunk_rows and self._chunk_rows <= _LARGEST_CHUNK * n_rows:
            step = self._chunk_rows * max(1, n_rows // self._chunk_rows)
        with self._open_root() as root:
            table = self._table_in(root)
            for first in range(0, self.n_rows, step):
                last = min(first + step, self.n_rows)
                try:
                    values = self._values(table, names, slice(first, last))
                except Exception as error:  # codecs raise whatever they like
                    damage.report(f"{self.origin}, rows {first + 1} to {last}", error)
                    continue
                yield Piece(values, first)

    def _note(self, table: _Table) -> None:
        """Take over what the table's columns are."""
        self.n_rows = table.n_rows
        self.named = self.by_columns = table.matrix is None
        arrays = list(table.columns.values())
        own = [
            Column(
                name,
                str(array.dtype),
                numeric_dtype(array.dtype),
                aside="" if self.named else "beside the matrix",
            )
            for name, array in table.columns.items()
        ]
        if table.matrix is not None:
            check_matrix(self.origin, table.matrix.shape, table.matrix.dtype)
            own = [*unnamed_columns(table.matrix.dtype, int(table.matrix.shape[1])), *own]
            arrays = [table.matrix]
        self.columns = tuple(own)
        self._chunk_rows = max(map(_chunk_rows, arrays))

    def _values(
        self, table: _Table, names: Sequence[str], rows: slice
    ) -> npt.NDArray[Any] | list[npt.NDArray[Any]]:
        if table.matrix is None:
            return [np.asarray(table.columns[name][rows]) for name in names]
        matrix = np.asarray(table.matrix[rows])
        if not any(name in table.columns for name in names):
            return chosen_columns(matrix, column_numbers(self.columns, names))
        places = dict(zip(names, column_numbers(self.columns, names), strict=True))
        return [
            np.asarray(table.columns[name][rows]) if name in table.columns else matrix[:, place]
            for name, place in places.items()
        ]

    def _table_in(self, root: Any) -> _Table:
        """Return the table among the arrays of a store."""
        node = root
        if self._part:
            if not _is_group(root) or self._part not in root:
                raise DataError(
                    f"{self.origin} holds nothing called {self._part!r}: {_contents(root)}"
                )
            node = root[self._part]
        if not _is_group(node):
            return _Table(node, {})
        arrays = {name: node[name] for name in sorted(node) if not _is_group(node[name])}
        columns = {name: array for name, array in arrays.items() if len(array.shape) == 1}
        matrix = arrays.get("X")
        if matrix is None or len(matrix.shape) != 2:
            matrices = [array for _, array in _arrays_below(node) if len(array.shape) == 2]
            matrix = matrices[0] if len(matrices) == 1 else None
            lengths = {array.shape[0] for array in columns.values()}
            if matrix is None and (matrices or len(lengths) != 1):
                raise DataError(
                    f"{self.origin} must hold one matrix, or one called X, or arrays of the same "
                    f"length as columns: {_contents(node)}; choose one as in name.h5::group/array"
                )
        if matrix is not None:
            n_rows = matrix.shape[0]
            columns = {name: each for name, each in columns.items() if each.shape[0] == n_rows}
        return _Table(matrix, columns)


def open_hdf5(path: Path, part: str) -> ArrayStore:
    """Open an array or group in an HDF5 file; `ArrayStore` says which, and what it raises."""
    h5py = import_from_extra("h5py", package="h5py", extra="hdf5", purpose="reading HDF5")
    stamp = FileStamp.of(path)
    return ArrayStore(lambda: h5py.File(path, "r"), "HDF5", repr(str(path)), part, stamp)


def open_zarr(path: Path, part: str) -> ArrayStore:
    """Open an array or group in a folder of Zarr, version 2 or 3, as `open_hdf5` does."""
    zarr = import_from_extra("zarr", package="zarr", extra="zarr", purpose="reading Zarr")

    @contextmanager
    def opened() -> Iterator[Any]:
        yield zarr.open(path, mode="r")

    return ArrayStore(opened, "Zarr", repr(str(path)), part, FileStamp.of(path))


def open_stored(node: Any) -> ArrayStore:
    """Return an array or group of h5py or zarr, which the user has opened, as a table."""
    kind = "HDF5" if type(node).__module__.startswith("h5py") else "Zarr"
    return ArrayStore(lambda: nullcontext(node), kind, f"the {kind} data {node.name!r}")


def _is_group(node: Any) -> bool:
    return not hasattr(node, "shape")


def _chunk_rows(array: Any) -> int:
    """Return how many rows are stored together, 0 if any can be read alone."""
    chunks = getattr(array, "shards", None) or array.chunks
    return int(chunks[0]) if chunks else 0


def _arrays_below(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in sorted(group):
        node = group[name]
        if _is_group(node):
            yield from _arrays_below(node, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", node


def _contents(node: Any) -> str:
    if not _is_group(node):
        return "it is an array"
    shapes = [f"{name!r} of shape {tuple(array.shape)}" for name, array in _arrays_below(node)]
    return f"it holds {name_list(shapes, quoted=False)}" if shapes else "it holds no array"
