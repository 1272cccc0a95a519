"""Bytes that are read from the first to the last: files, compressed or not, pipes, open files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.formats.table_file import FileStamp, FoundFile
from fastgmm.data.remote import Location, RemotePath, path_or_file
from fastgmm.extras import import_from_extra

DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""What the reading of damaged bytes may raise."""

ZIP = b"PK\x03\x04"

_COMPRESSIONS = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}
"""What compressed bytes begin with."""

_LONGEST_SIGNATURE = 10
_SIGNATURE_BYTES = 2**10

_READ_BYTES = 2**16

HEAD_BYTES = 2**20
"""How much of a stream is looked at before it is read."""


class ByteStream:
    """Bytes that can be opened at their beginning, as often as what they come from allows."""

    def __init__(
        self,
        source: Location | IO[bytes],
        origin: str = "",
        *,
        closes: bool = False,
        member: str = "",
    ) -> None:
        self._source = source
        self._closes = closes
        self._member = member
        self.origin = origin or repr(f"{source}::{member}" if member else str(source))
        self.replayable = isinstance(source, Location)
        self.stamp = FileStamp.of(source) if isinstance(source, Location) else None
        self._raw_head = b"" if isinstance(source, Location) else source.read(HEAD_BYTES)

    def head(self, n_bytes: int = HEAD_BYTES) -> bytes:
        """Return the first bytes decompressed, so many if there are as many undamaged."""
        if isinstance(self._source, Location):
            with self.opened() as file:
                return _first_bytes(file, n_bytes)
        if len(self._raw_head) >= HEAD_BYTES:
            self._raw_head += self._source.read(max(0, n_bytes - len(self._raw_head)))
        with _decompressed(io.BufferedReader(io.BytesIO(self._raw_head))) as file:
            return _first_bytes(file, n_bytes)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open the bytes at their beginning, decompressed."""
        if isinstance(self._source, Location):
            with _opened_path(self._source, self._member) as file, _decompressed(file) as plain:
                yield plain
        else:
            joined = io.BufferedReader(_Joined(self._raw_head, self._source), HEAD_BYTES)
            try:
                with _decompressed(joined) as plain:
                    yield plain
            finally:
                if self._closes:
                    self._source.close()


def raw_head(path: Location) -> bytes:
    """Return as many of a file's first bytes as show its kind, as they are."""
    if isinstance(path, RemotePath):
        return path.head
    try:
        with path.open("rb") as file:
            return file.read(_SIGNATURE_BYTES)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # some name no file


def is_zip(path: Location) -> bool:
    """Say whether a file is a zip archive."""
    return path.is_file() and raw_head(path).startswith(ZIP)


def is_compressed(path: Location) -> bool:
    """Say whether a file is compressed as a whole, by itself or in a zip archive."""
    return path.is_file() and (is_zip(path) or compression_of(raw_head(path)) is not None)


def refuse_compressed(found: FoundFile) -> None:
    """Raise if a file of a format is compressed that is not read so."""
    if is_compressed(found.path):
        raise DataError(
            f"{str(found.path)!r} is a compressed file of the kind {found.kind}: extract it first"
        )


def read_array(file: IO[bytes], array: npt.NDArray[Any]) -> None:
    """Fill an array with a file's next bytes."""
    rest = array.reshape(-1).view(np.uint8).data
    while rest:
        count = file.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the file ends early")
        rest = rest[count:]


class _Joined(io.RawIOBase):
    """Bytes that were read already, and then those that come after them."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        super().__init__()
        self._head = io.BytesIO(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._head.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


def compression_of(head: bytes) -> str | None:
    """Return how bytes are compressed."""
    return next((name for name, start in _COMPRESSIONS.items() if start.match(head)), None)


def zip_members(path: Location) -> list[str]:
    """Return the names of the files in a zip archive, without those of the system's own."""
    try:
        with path_or_file(path) as file, zipfile.ZipFile(file) as archive:
            names = [each.filename for each in archive.infolist() if not each.is_dir()]
    except DAMAGED as error:
        raise _damaged_zip(path, error) from error
    return [
        name
        for name in names
        if not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith(".")
    ]


def _damaged_zip(path: Location, error: Exception) -> DataError:
    return DataError(
        f"cannot read {str(path)!r} as a zip archive: {error}: it is damaged or cut short"
    )


def zip_member(path: Location, member: str) -> str:
    """Return the name of a file in a zip archive."""
    names = zip_members(path)
    if member in names:
        return member
    if not member and len(names) == 1:
        return names[0]
    example = repr(f"{path.name}::{names[0]}") if names else ""
    if member:
        raise DataError(f"{str(path)!r} holds no file {member!r}, but {name_list(names)}")
    raise DataError(
        f"{str(path)!r} holds {f'{len(names)} files, {name_list(names)}' if names else 'no file'}"
        + (f": name one of them, as in {example}" if names else "")
    )


@contextmanager
def _opened_path(path: Location, member: str) -> Iterator[Any]:
    """Open a file, or the one that is meant in a zip archive."""
    with cast(io.BufferedReader, path.open("rb")) as file:
        if not file.peek(len(ZIP)).startswith(ZIP):
            yield file
            return
    name = zip_member(path, member)
    with path_or_file(path) as file, zipfile.ZipFile(file) as archive:
        try:
            opened = archive.open(name)
        except (NotImplementedError, RuntimeError) as error:  # a password, a rare compression
            raise DataError(f"cannot read {str(path)!r}: {error}: extract it first") from error
        except DAMAGED as error:
            raise _damaged_zip(path, error) from error
        with opened:
            yield opened


def _first_bytes(file: Any, n_bytes: int) -> bytes:
    """Return a file's first bytes, as many as are undamaged."""
    found = bytearray()
    with suppress(*DAMAGED):
        while len(found) < n_bytes and (more := file.read1(n_bytes - len(found))):
            found += more
    return bytes(found)


@contextmanager
def _decompressed(file: Any) -> Iterator[IO[bytes]]:
    compression = compression_of(file.peek(_LONGEST_SIGNATURE)[:_LONGEST_SIGNATURE])
    if compression is None:
        yield file
        return
    with _DECOMPRESSORS[compression](file) as plain:
        yield cast(IO[bytes], plain)


def _opened_zstd(file: Any) -> Any:
    pyarrow = import_from_extra(
        "pyarrow", package="pyarrow", extra="parquet", purpose="reading zstd"
    )
    return io.BufferedReader(_InSteps(pyarrow.CompressedInputStream(file, "zstd")), _READ_BYTES)


class _InSteps(io.RawIOBase):
    """A stream of Arrow's, read a little at a time: a read that meets damage gives nothing."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self._n_read = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._n_read

    def readinto(self, buffer: Any) -> int:
        n_bytes = int(self._stream.readinto(memoryview(buffer)[:_READ_BYTES]))
        self._n_read += n_bytes
        return n_bytes


_DECOMPRESSORS: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zstd": _opened_zstd,
}
