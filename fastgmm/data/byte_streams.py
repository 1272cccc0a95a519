"""Bytes that are read from the first to the last: files, compressed or not, pipes, open files."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from fastgmm.data.file_stamps import FileStamp

DAMAGED = (OSError, EOFError, zlib.error)
"""What the reading of damaged bytes may raise."""

GZIP = b"\x1f\x8b"

_GZIP_WINDOW = 31
"""What tells zlib to expect gzip's header."""

HEAD_BYTES = 2**20
"""How much of a stream is looked at before it is read."""


class ByteStream:
    """Bytes that can be opened at their beginning, as often as what they come from allows.

    Parameters
    ----------
    source : Path or binary file object
        A file, or an open one that is read once from where it stands.
    origin : str
        What it is called in messages; for a path the path if empty.
    closes : bool
        Whether to close an open file when it has been read.

    Attributes
    ----------
    stamp : FileStamp or None
        What a path's file was when it was opened; None for an open file.
    """

    def __init__(self, source: Path | IO[bytes], origin: str = "", *, closes: bool = False) -> None:
        self._source = source
        self._closes = closes
        self.origin = origin or repr(str(source))
        self.replayable = isinstance(source, Path)
        self.stamp = FileStamp.of(source) if isinstance(source, Path) else None
        self._raw_head = b"" if isinstance(source, Path) else source.read(HEAD_BYTES)

    def head(self) -> bytes:
        """Return the first bytes decompressed, `HEAD_BYTES` if there are as many undamaged."""
        if isinstance(self._source, Path):
            found = b""
            with self.opened() as file, suppress(*DAMAGED):
                while len(found) < HEAD_BYTES:
                    more = file.read1(HEAD_BYTES - len(found))  # type: ignore[attr-defined]
                    if not more:
                        break
                    found += more
            return found
        if not self._raw_head.startswith(GZIP):
            return self._raw_head
        return zlib.decompressobj(_GZIP_WINDOW).decompress(self._raw_head, HEAD_BYTES)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open the bytes at their beginning, decompressed."""
        if isinstance(self._source, Path):
            with self._source.open("rb") as file, _decompressed(file) as plain:
                yield plain
        else:
            joined = io.BufferedReader(_Joined(self._raw_head, self._source), HEAD_BYTES)
            try:
                with _decompressed(joined) as plain:
                    yield plain
            finally:
                if self._closes:
                    self._source.close()


def read_array(file: IO[bytes], array: npt.NDArray[Any]) -> None:
    """Fill an array with a file's next bytes.

    Parameters
    ----------
    file : binary file object
        The file.
    array : ndarray, C-contiguous
        What is filled.

    Raises
    ------
    EOFError
        If there are too few.
    """
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


@contextmanager
def _decompressed(file: io.BufferedReader[Any]) -> Iterator[IO[bytes]]:
    if not file.peek(len(GZIP)).startswith(GZIP):
        yield file
        return
    with gzip.GzipFile(fileobj=file) as plain:
        yield cast(IO[bytes], plain)
