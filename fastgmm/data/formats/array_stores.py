"""Arrays in HDF5 and Zarr, read some rows at a time.

A file that is named is not trusted: it may point to other files of the machine, claim more than it
holds, or have lost a part. An array that the user has opened is read as the library gives it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.formats.table_file import (
    Column,
    FileFormat,
    FileStamp,
    Piece,
    TableFile,
    Wanted,
    check_matrix,
    chosen_columns,
    column_numbers,
    numeric_dtype,
    unnamed_columns,
)
from fastgmm.data.remote import Location, path_or_file
from fastgmm.extras import import_from_extra

_LARGEST_CHUNK = 8
"""Chunks of up to this many blocks are read whole: to read parts is to decode each more often."""


_LARGEST_RATIO = 2**15
"""How many bytes one that is compressed can stand for: so many, all alike, with zstd."""

_MOST_ABSENT = 1000
"""Chunks for each that is there; where there are more, nothing of use was written."""

_CHUNK_NAME = re.compile(r"c?[\d.]+")
"""Names of the files of chunks, beside which there are metadata, and what programs left behind."""

_MOST_LINKS = 16
"""Soft links that may follow one another."""

_SPARSE = {"data", "indices", "indptr"}
"""What the group of a sparse matrix holds, whoever writes it."""

_NOT_A_CHOICE = "must hold one matrix, or one called X, or arrays of the same length as columns"


class _ElsewhereError(Exception):
    """A link leads to another file."""


class _Member(NamedTuple):
    """An array below a group, or something that stands where one could be."""

    path: str  # its path from the group
    array: Any  # the array; None if it is none that can be read
    what: str  # what messages say of it
    is_table: bool  # whether it could be the table that is meant

    @property
    def is_column(self) -> bool:
        """Whether it could be a column of a table."""
        return not self.is_table and self.array is not None and len(self.array.shape) == 1


class _Table(NamedTuple):
    """What in a store is a table."""

    matrix: Any  # (n_rows, n_columns): the rows
    columns: Mapping[str, Any]  # (n_rows,): the columns; beside a matrix, those that lie next to it

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        first = next(iter(self.columns.values())) if self.matrix is None else self.matrix
        return int(first.shape[0])

    def arrays(self, names: Sequence[str]) -> list[Any]:
        """Return the arrays that hold some columns."""
        found = [self.columns[name] for name in names if name in self.columns]
        return found if len(found) == len(names) else [self.matrix, *found]


class ArrayStore(TableFile):
    """A matrix in HDF5 or Zarr, or arrays of equal length that are the columns of a table.

    The matrix is the one that is named, or that is called X, or the only array that could be meant.
    Arrays of its length beside it can be used by their names, as weights for instance.
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
        self._incomplete: list[str] = []
        try:
            with open_root() as root:
                table = self._table_in(root)
                self._note(table)
        except (DataError, ImportError):
            raise
        except Exception as error:  # a damaged store raises whatever its codecs come to
            reason = str(error) or type(error).__name__
            advice = "it is damaged, or no such file; write it again"
            if isinstance(error, BlockingIOError):
                advice = "wait until the program that writes to it has closed it"
            raise DataError(f"cannot read {origin} as {kind}: {reason}: {advice}") from error

    def identity(self) -> dict[str, Any]:
        """Return name, size and time of change, or the shape of what is no file."""
        own = {"part": self._part, "n_rows": self.n_rows, "columns": len(self.columns)}
        return own if self.stamp is None else {**super().identity(), **own}

    def split(self) -> Sequence[TableFile]:
        """Return runs of chunks."""
        sizes = [0 if each.dtype is None else each.dtype.itemsize for each in self.columns]
        return self._runs(max(1, sum(sizes)), max(1, self._chunk_rows))

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the rows, slices that cannot be read left out."""
        assert self.n_rows is not None
        names, n_rows, _, damage = wanted
        step = n_rows
        if self._chunk_rows and self._chunk_rows <= _LARGEST_CHUNK * n_rows:
            step = self._chunk_rows * max(1, n_rows // self._chunk_rows)
        with self._open_root() as root:
            table = self._table_in(root)
            span = range(self.n_rows) if self.rows is None else self.rows
            for first in range(span.start, span.stop, step):
                rows = slice(first, min(first + step, span.stop))
                where = f"{self.origin}, rows {first} to {rows.stop - 1}, counted from 0"
                used = [each for each in table.arrays(names) if self._lacks(each, rows)]
                if used:
                    damage.report(where, _absent_chunks(used[0], self.kind))
                    continue
                try:
                    values = self._values(table, names, rows)
                except Exception as error:  # codecs raise whatever they like
                    damage.report(where, error)
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
        for array in [*arrays] if table.matrix is None else [table.matrix, *arrays]:
            self._check_size(array)
        if table.matrix is not None:
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
        node = self._named(root) if self._part else root
        if not _is_group(node):
            member = _member(self._part, node)
            self._check_own(member)
            if member.array is None:
                raise DataError(f"{self.origin}: {member.what}")
            return _Table(member.array, {})
        if set(node) >= _SPARSE:
            raise DataError(f"{self.origin} holds {_sparse(self._part or node.name)}")
        own = {each.path: each for each in _members(node, deep=False)}
        columns = {path: each for path, each in own.items() if each.is_column}
        named = "X" in own and "X" not in columns
        members = list(own.values()) if named else list(_members(node))
        tables = [own["X"]] if named else [each for each in members if each.is_table]
        if len(tables) == 1 and _is_matrix(tables[0].array):
            self._check_own(tables[0], self._prefix)
            matrix = tables[0].array
            n_rows = matrix.shape[0]
            beside = {
                path: each.array
                for path, each in columns.items()
                if each.array.shape[0] == n_rows and not self._is_elsewhere(each)
            }
            return _Table(matrix, beside)
        deeper = any(each.is_column for each in members if "/" in each.path)
        lengths = {each.array.shape[0] for each in columns.values()}
        if tables or deeper or len(lengths) != 1:
            contents = self._contents(list(_members(node)), self._prefix)
            raise DataError(f"{self.origin} {_NOT_A_CHOICE}: {contents}")
        for each in columns.values():
            self._check_own(each, self._prefix)
        return _Table(None, {path: each.array for path, each in columns.items()})

    def _named(self, root: Any) -> Any:
        """Return the array or group that was asked for."""
        try:
            return _node_at(root, self._part)
        except KeyError:
            members = list(_members(root)) if _is_group(root) else []
            contents = self._contents(members, "") if _is_group(root) else "it is an array"
            raise DataError(
                f"{self.origin} holds nothing called {self._part!r}: {contents}"
            ) from None
        except _ElsewhereError:
            raise DataError(self._elsewhere(self._part)) from None

    def _contents(self, members: Sequence[_Member], prefix: str) -> str:
        """Return what a group holds, and how to choose from it."""
        if not members:
            return "it holds no array"
        ordered = sorted(members, key=lambda each: not each.is_table)
        held = name_list([each.what for each in ordered], quoted=False)
        if self.stamp is None:
            return f"it holds {held}; give one of them, not the group"
        example = next((each for each in ordered if _is_matrix(each.array)), ordered[0])
        place = f"{self.stamp.path.name}::{prefix}{example.path}"
        return f"it holds {held}; choose one as in {place}"

    def _is_elsewhere(self, member: _Member) -> bool:
        """Say whether an array that the user has not opened takes values from other files."""
        array = member.array
        if self.stamp is None and not member.path:
            return False
        return bool(getattr(array, "external", None) or getattr(array, "is_virtual", False))

    @property
    def _prefix(self) -> str:
        """The path of the group that arrays are chosen from, as it begins theirs."""
        return f"{self._part.strip('/')}/" if self._part else ""

    def _check_own(self, member: _Member, prefix: str = "") -> None:
        if self._is_elsewhere(member):
            raise DataError(self._elsewhere(prefix + member.path))

    def _elsewhere(self, path: str) -> str:
        return (
            f"{self.origin}: {path!r} takes its values from other files, and could so read any on "
            "this machine: if you trust it, open it with h5py and give the array itself, as "
            f"h5py.File(...)[{path!r}]"
        )

    def _check_size(self, array: Any) -> None:
        """Make sure that a row at least of what an array claims can be there."""
        if self.stamp is None or not array.shape[0]:
            return
        row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
        chunk_bytes = math.prod(_chunks(array)) * array.dtype.itemsize
        if self.kind == "HDF5":
            stored = array.id.get_storage_size()
            present = array.id.get_num_chunks() if array.chunks else int(stored > 0)
        else:
            sizes = [
                Path(folder, name).stat().st_size
                for folder, _, names in os.walk(self._folder_of(array))
                for name in names
                if _CHUNK_NAME.fullmatch(name)
            ]
            stored, present = sum(sizes), len(sizes)
        n_chunks = math.prod(len(starts) for starts in _chunk_starts(array, slice(array.shape[0])))
        if (
            present * min(chunk_bytes, row_bytes * array.shape[0]) < row_bytes
            or present * _MOST_ABSENT < n_chunks
            or row_bytes > stored * _LARGEST_RATIO
            or (not array.chunks and row_bytes * array.shape[0] > stored)
        ):
            raise DataError(
                f"{self.origin} claims an array of shape {tuple(array.shape)} and type "
                f"{array.dtype}, but {stored} bytes are too few for it: it was never written, or "
                "is cut short or damaged"
            )
        if present < n_chunks:
            self._incomplete.append(array.name)

    def _lacks(self, array: Any, rows: slice) -> bool:
        """Say whether chunks of some rows are not there, for which fill values would be read."""
        if array.name not in self._incomplete:
            return False
        for start in product(*_chunk_starts(array, rows)):
            if self.kind == "HDF5":
                present = array.id.get_chunk_info_by_coord(start).byte_offset is not None
            else:
                chunk = tuple(at // size for at, size in zip(start, _chunks(array), strict=True))
                key = array.metadata.encode_chunk_key(chunk)
                present = (self._folder_of(array) / key).is_file()
            if not present:
                return True
        return False

    def _folder_of(self, array: Any) -> Path:
        """Return where the chunks of an array of Zarr are."""
        assert self.stamp is not None
        assert isinstance(self.stamp.path, Path)
        return self.stamp.path / str(array.path)


def open_hdf5(path: Location, part: str) -> ArrayStore:
    """Open an array or group in an HDF5 file; `ArrayStore` says which, and what it raises."""
    h5py = import_from_extra("h5py", package="h5py", extra="hdf5", purpose="reading HDF5")

    @contextmanager
    def opened() -> Iterator[Any]:
        with path_or_file(path) as found, h5py.File(found, "r") as file:
            yield file

    return ArrayStore(opened, "HDF5", repr(str(path)), part, FileStamp.of(path))


def open_zarr(path: Location, part: str) -> ArrayStore:
    """Open an array or group in a folder of Zarr, version 2 or 3, as `open_hdf5` does."""
    if not isinstance(path, Path):
        raise DataError(
            f"{str(path)!r} is Zarr, which is not read from URLs: open it with zarr.open and give "
            "the array"
        )
    zarr = import_from_extra("zarr", package="zarr", extra="zarr", purpose="reading Zarr")

    @contextmanager
    def opened() -> Iterator[Any]:
        yield zarr.open(path, mode="r")

    return ArrayStore(opened, "Zarr", repr(str(path)), part, FileStamp.of(path))


def open_stored(node: Any) -> ArrayStore:
    """Return an array or group of h5py or zarr, which the user has opened, as a table."""
    kind = "HDF5" if _is_hdf5(node) else "Zarr"
    return ArrayStore(lambda: nullcontext(node), kind, f"the {kind} data {node.name!r}")


def _is_hdf5(node: Any) -> bool:
    return type(node).__module__.startswith("h5py")


def _is_group(node: Any) -> bool:
    return hasattr(node, "keys")


def _is_matrix(array: Any) -> bool:
    return array is not None and len(array.shape) == 2


def _chunks(array: Any) -> tuple[int, ...]:
    """Return the shape of what is stored together, the array's own where that is all of it."""
    return tuple(getattr(array, "shards", None) or array.chunks or array.shape)


def _chunk_rows(array: Any) -> int:
    """Return how many rows are stored together, 0 if any can be read alone."""
    return _chunks(array)[0] if array.chunks else 0


def _chunk_starts(array: Any, rows: slice) -> list[range]:
    """Return for each axis where the chunks begin that hold some rows."""
    chunks = _chunks(array)
    first = (rows.start or 0) // chunks[0] * chunks[0]
    others = zip(array.shape[1:], chunks[1:], strict=True)
    return [range(first, rows.stop, chunks[0]), *(range(0, end, size) for end, size in others)]


def _absent_chunks(array: Any, kind: str) -> str:
    """Return what to say where chunks are not there."""
    return (
        f"parts of the array {array.name!r} were never written, or are lost; if they are meant to "
        f"be its fill value, {array.fillvalue if kind == 'HDF5' else array.fill_value}, open it "
        f"with {'h5py' if kind == 'HDF5' else 'zarr'} and give the array itself"
    )


def _node_at(group: Any, path: str, n_links: int = 0) -> Any:
    """Return what is at a path, following no link into another file.

    Raises `KeyError` if nothing is there, and `_ElsewhereError` if it is in another file.
    """
    if not _is_hdf5(group):
        if not _is_group(group):
            raise KeyError(path)
        return group[path.strip("/")]
    import h5py

    node = group.file if path.startswith("/") else group
    for name in filter(None, path.split("/")):
        if not _is_group(node) or n_links > _MOST_LINKS:
            raise KeyError(path)
        link = node.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise _ElsewhereError
        is_soft = isinstance(link, h5py.SoftLink)
        node = _node_at(node, link.path, n_links + 1) if is_soft else node[name]
    return node


def _members(
    group: Any, prefix: str = "", seen: set[Any] | None = None, *, deep: bool = True
) -> Iterator[_Member]:
    """Yield the arrays in a group, or below it, each once, and what stands where one could be."""
    seen = set() if seen is None else seen
    seen.add(_identity(group))
    for name in sorted(group, key=lambda name: (name != "X", name)):
        path = prefix + name
        try:
            node = _node_at(group, name)
        except _ElsewhereError:
            yield _Member(path, None, f"{path!r} in another file", False)
            continue
        except Exception:  # a damaged one may raise anything; a link that leads nowhere does, too
            is_link = _is_soft_link(group, name)
            what = f"{path!r}, a link that leads nowhere" if is_link else f"{path!r}, damaged"
            yield _Member(path, None, what, not is_link)
            continue
        mark = _identity(node)
        if mark is not None and mark in seen:
            continue
        if not _is_group(node):
            seen.add(mark)
            if hasattr(node, "shape"):  # else it is a type with a name
                yield _member(path, node)
        elif set(node) >= _SPARSE:
            yield _Member(path, None, _sparse(path), True)
        elif deep:
            yield from _members(node, f"{path}/", seen)


def _identity(node: Any) -> Any:
    """Return what an array or group has in common by whatever links it is found, if anything."""
    if _is_hdf5(node):
        return node.id
    root = getattr(node.store_path.store, "root", None)
    return None if root is None else (root / node.path).resolve()


def _is_soft_link(group: Any, name: str) -> bool:
    """Say whether a name in an HDF5 group is that of a link by path."""
    if not _is_hdf5(group):
        return False
    import h5py

    return isinstance(group.get(name, getlink=True), h5py.SoftLink)


def _member(path: str, array: Any) -> _Member:
    """Return an array with what is to be said of it."""
    if array.shape is None:
        return _Member(path, None, f"{path!r}, which is empty", False)
    what = f"{path!r} of shape {tuple(array.shape)}"
    try:
        dtype = array.dtype
    except Exception:  # NumPy has no type for it
        return _Member(path, None, f"{what}, of an unknown type", len(array.shape) > 0)
    vectors = (dtype.metadata or {}).get("vlen")
    is_nested = bool(dtype.names or dtype.subdtype or isinstance(vectors, np.dtype))
    what += ", of records or vectors" if is_nested else ""
    return _Member(path, array, what, len(array.shape) > 1 or (is_nested and array.shape != ()))


def _sparse(path: str) -> str:
    return f"{path!r}, a sparse matrix, which must be made dense first"


FORMATS = (
    FileFormat(
        "HDF5",
        lambda found, _: open_hdf5(found.path, found.part),
        suffixes=(".h5", ".hdf5", ".h5ad"),
        signatures=(b"\x89HDF\r\n\x1a\n",),
        has_parts=True,
    ),
    FileFormat(
        "Zarr",
        lambda found, _: open_zarr(found.path, found.part),
        markers=("zarr.json", ".zgroup", ".zarray"),
        has_parts=True,
    ),
)
