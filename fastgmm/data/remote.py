"""Files at URLs, by fsspec, with as much of pathlib's interface as reading needs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from fastgmm.data.errors import DataError
from fastgmm.extras import import_from_extra

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z0-9+.-]+)*://")

_READ_BYTES = 2**22
"""Requested at a time where a file is read from its beginning to its end."""

_BUFFER_BYTES = 2**16
_HEAD_BYTES = 2**10

_VERSIONS = (
    *("ETag", "etag", "generation", "sha", "mtime", "LastModified", "last_modified"),
    *("Last-Modified", "Content-MD5", "Digest", "created"),
)
"""What stores state that is another once a file has been replaced; the first is taken."""


class RemoteStat(NamedTuple):
    """What a store states of a file."""

    st_size: int
    version: str  # empty if it states none


class RemotePath:
    """A file or folder at a URL."""

    def __init__(self, store: Any, key: str, url: str = "", info: Any = None) -> None:
        self._store = store  # of fsspec
        self._key = key  # its name there
        self._url = url or store.unstrip_protocol(key)
        self._info = info

    def __str__(self) -> str:
        return self._url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self._store, f"{self._key.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL, without a query."""
        return PurePosixPath(self._key.partition("?")[0] if self._is_web else self._key).name

    @property
    def parent(self) -> PurePosixPath:
        """The folders that it is in."""
        return PurePosixPath(self._key).parent

    @property
    def has_wildcards(self) -> bool:
        """Whether the URL is a pattern; a question mark begins a query on the web."""
        return any(each in self._key for each in ("*" if self._is_web else "*?["))

    @property
    def _is_web(self) -> bool:
        return self._key.startswith(("http://", "https://"))

    @cached_property
    def head(self) -> bytes:
        """The first bytes, requested once."""
        with self.open() as file:
            return file.read(_HEAD_BYTES)

    def latest(self) -> RemotePath:
        """Return the path without what is remembered of it."""
        self._store.invalidate_cache(self._key)
        return RemotePath(self._store, self._key, self._url)

    def stat(self) -> RemoteStat:
        """Return size and version."""
        info = self._stated()
        if info["size"] is None:
            raise DataError(f"cannot read {self._url!r}: its server does not state its size")
        version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
        return RemoteStat(int(info["size"]), version)

    def exists(self) -> bool:
        """Say whether it is there."""
        try:
            return bool(self._stated())
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Say whether it is a folder."""
        return self._key.endswith("/") or self._stated()["type"] == "directory"

    def is_file(self) -> bool:
        """Say whether it is a file."""
        return not self.is_dir()

    def resolve(self) -> RemotePath:
        """Return the path."""
        return self

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """Return the path from a folder."""
        return PurePosixPath(self._key).relative_to(folder._key)

    def glob(self) -> list[RemotePath]:
        """Return what matches the URL, which is a pattern."""
        with _explained(self._url):
            return self._paths(self._store.glob(self._key, detail=True))

    def visible_files(self) -> list[RemotePath]:
        """Return the files below a folder, without what programs keep for themselves."""
        with _explained(self._url):
            found = self._paths(self._store.find(self._key, detail=True))
        return [
            path for path in found if not any(p[0] in "._" for p in path.relative_to(self).parts)
        ]

    def open(self, mode: str = "rb", buffering: int = -1) -> IO[bytes]:
        """Open a file; without buffering, each read is a request."""
        cache = "readahead" if buffering else "none"

        def opened(block_size: int) -> Any:
            with _explained(self._url):
                return self._store.open(self._key, mode, block_size=block_size, cache_type=cache)

        raw = _RemoteFile(self._url, opened)
        return cast(IO[bytes], io.BufferedReader(raw, _BUFFER_BYTES) if buffering else raw)

    def read_bytes(self) -> bytes:
        """Return the whole content of a file."""
        with self.open() as file:
            return file.read()

    def _stated(self) -> Mapping[str, Any]:
        """Return what the store states of it, the size among it if there is one."""
        if self._info is None or self._info.get("size", 0) is None:
            with _explained(self._url):
                self._info = self._store.info(self._key)
        return cast(Mapping[str, Any], self._info)

    def _paths(self, found: Mapping[str, Any]) -> list[RemotePath]:
        return [RemotePath(self._store, key, info=info) for key, info in found.items()]


Location = Path | RemotePath
"""Where a file is."""


class _RemoteFile(io.RawIOBase):
    """An open file of fsspec's, with a position of its own, and errors that name its URL."""

    def __init__(self, url: str, open_in_blocks: Callable[[int], Any]) -> None:
        super().__init__()
        self._url = url
        self._open = open_in_blocks
        self._file = open_in_blocks(_READ_BYTES)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = self._position if whence == io.SEEK_CUR else 0
        if whence == io.SEEK_END:
            try:
                start = self._file.seek(0, whence)
            except ValueError as error:
                raise self._without_parts() from error
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        with _explained(self._url):
            try:
                found = self._read(len(view))
            except ValueError:  # what serves the file sends no parts of it
                self._file.close()
                self._file = self._open(0)
                found = self._read(len(view))
        view[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _read(self, n_bytes: int) -> bytes:
        """Read from the position, which files in memory do not keep for each who opens them."""
        ahead = self._position - self._file.tell()
        if ahead:
            try:
                self._file.seek(self._position)
            except ValueError as error:  # only what lies ahead can be had
                if not 0 < ahead <= _READ_BYTES:
                    raise self._without_parts() from error
                while ahead and (skipped := self._file.read(ahead)):
                    ahead -= len(skipped)
        return cast(bytes, self._file.read(n_bytes))

    def _without_parts(self) -> DataError:
        return DataError(
            f"cannot read {self._url!r}: its server sends files only from the beginning to the "
            "end: download it, or put simplecache:: in front of the URL"
        )


def is_url(name: str) -> bool:
    """Say whether a name is a URL."""
    return _URL.match(name) is not None


def located(url: str) -> Location:
    """Return where a URL leads."""
    fsspec = import_from_extra("fsspec", package="fsspec", extra="remote", purpose="reading URLs")
    with _explained(url):
        store, key = fsspec.core.url_to_fs(url)
        store.invalidate_cache()  # there may be other files than last time
    if "local" in store.protocol:
        return Path(key)
    return RemotePath(store, key, url)


@contextmanager
def path_or_file(location: Location, buffering: int = -1) -> Iterator[Any]:
    """Yield what other libraries open: the path, or if it is remote, the file, opened."""
    if isinstance(location, Path):
        yield location
        return
    with location.open(buffering=buffering) as file:
        yield file


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Name the URL in whatever a store raises."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except FileNotFoundError as error:
        reason = f": {error.__cause__}" if error.__cause__ and url.startswith("http") else ""
        raise FileNotFoundError(f"there is no file {url!r}{reason}") from error
    except ImportError as error:
        hint = 'pip install "fastgmm[remote]" brings s3:// and https://'
        raise ImportError(f"cannot open {url!r}: {error} ({hint})") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"cannot read {url!r}: {error or type(error).__name__}") from error
