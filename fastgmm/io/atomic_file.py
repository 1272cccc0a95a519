"""Writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import errno
import glob
import io
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_SUFFIX = ".part"
_BUFFER = 2**17

_REMEDIES = {
    errno.ENOSPC: "free some space, or give a file on another disk",
    errno.EDQUOT: "free some space, or give a file on another disk",
    errno.EFBIG: "give a file on a file system that takes larger ones",
    errno.ENAMETOOLONG: "give a shorter name",
}


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its place under its name only when it is complete.

    What is written goes to a new file in the same folder. At the end that file replaces the old one
    in a single step; if anything is raised before, it is removed, and the old one stays as it was.
    What was left by processes that were killed while they wrote the same file is removed.
    """
    check_destination(path)
    target = _target(path)
    if _is_device(target):
        # Not all that write files can do without positions in them.
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with _naming(path), target.open("wb") as device:
                shutil.copyfileobj(file, device)
        return
    _remove_abandoned(target)
    with _naming(path):
        part, raw = _new_part(target, path)
    # Another descriptor of the same open file: the lock lasts until it is closed.
    lock = None if sys.platform == "win32" else os.dup(raw.descriptor)
    try:
        with io.BufferedWriter(raw, _BUFFER) as file:
            yield file
            file.flush()
            with _naming(path):
                # Without this a crash of the machine could leave the new name on an empty file.
                os.fsync(raw.descriptor)
        with _naming(path):
            if target.exists():
                part.chmod(target.stat().st_mode & 0o7777)
            part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def check_destination(path: str | Path) -> None:
    """Make sure before long work that `atomic_file` can write its result."""
    with _naming(path):
        target = _target(path)
        if target.is_dir():
            raise IsADirectoryError(
                f"cannot write {str(path)!r}: it is a folder; give the name of a file"
            )
        if not target.parent.is_dir():
            raise FileNotFoundError(
                f"cannot write {str(path)!r}: there is no folder {_shown_folder(path)!r}; make it, "
                "or give another file"
            )
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(
                f"cannot write {str(path)!r}: it is write-protected; change that, or give another "
                "file"
            )
        if not _is_device(target) and not os.access(target.parent, os.W_OK):
            raise PermissionError(
                f"cannot write {str(path)!r}: the folder {_shown_folder(path)!r} takes no new "
                "files; change that, or give a file in another"
            )


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in the place of ``~``, or ``~user``, at its beginning."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises for unknown users


def _target(path: str | Path) -> Path:
    """Return where a file is to be in the end: links are followed, but those to open pipes."""
    path = expanded(path)
    return path if _is_device(path) else Path(os.path.realpath(path))


def _is_device(path: Path) -> bool:
    """Say whether something can be written to, but not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _shown_folder(path: str | Path) -> str:
    """Return the folder of a file as the user named it, or where a link leads."""
    path = expanded(path)
    return str(_target(path).parent if path.is_symlink() else path.parent)


class _OutputFile(io.FileIO):
    """A new file, unbuffered, whose errors name the file that it is to become."""

    def __init__(self, part: Path, path: str | Path) -> None:
        super().__init__(part, "xb")
        self.descriptor = super().fileno()
        self._path = path

    def fileno(self) -> int:
        """Raise, so that all writing goes through `write`."""
        raise io.UnsupportedOperation("fileno")

    def write(self, data: Any) -> int:
        """Write bytes."""
        with _naming(self._path):
            return super().write(data)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Let errors of the operating system name the file that the user gave, and say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # it is one of ours
            raise
        reason = os.strerror(error.errno)
        remedy = _REMEDIES.get(error.errno, "give another file")
        named = type(OSError(error.errno, reason))(
            f"cannot write {str(path)!r}: {reason[:1].lower()}{reason[1:]}; {remedy}"
        )
        named.errno = error.errno
        raise named from error


def _new_part(target: Path, path: str | Path) -> tuple[Path, _OutputFile]:
    """Return a new file beside the one to be, locked, so that no other process removes it."""
    while True:
        part = target.parent / f"{_prefix(target)}{uuid.uuid4().hex[:12]}{_SUFFIX}"
        raw = _OutputFile(part, path)
        try:
            _lock(raw.descriptor)
            if part.exists():
                return part, raw
        except (BlockingIOError, FileNotFoundError):
            pass  # Another process took it for abandoned before it was locked, and removes it.
        except OSError:
            return part, raw  # The file system knows no locks, so that nobody removes anything.
        raw.close()


def _remove_abandoned(target: Path) -> None:
    """Remove what was left of writing a file by processes that were killed over it."""
    for found in target.parent.glob(f"{glob.escape(_prefix(target))}*{_SUFFIX}"):
        with suppress(OSError), ExitStack() as stack:
            if sys.platform != "win32":  # files that are open cannot be removed there
                _lock(stack.enter_context(found.open("rb")).fileno())
            found.unlink()


def _lock(descriptor: int) -> None:
    """Lock a file until it is closed; raise BlockingIOError if another process holds it."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _prefix(target: Path) -> str:
    # A name may be as long as the file system takes, so that there is no room for more of it.
    return f".{target.name[:32]}."
