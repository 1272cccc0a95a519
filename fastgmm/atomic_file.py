"""Writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_SUFFIX = ".part"


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its place under its name only when it is complete.

    What is written goes to a new file in the same folder. At the end that file replaces the old one
    in a single step; if anything is raised before, it is removed, and the old one stays as it was.

    Parameters
    ----------
    path : str or Path
        Where the file is to be. A symbolic link is followed; a device or a pipe, which cannot be
        replaced, is written to at the end.

    Yields
    ------
    file object
        Open for writing bytes.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to, or the disk is full.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        # Not all that write files can do without positions in them.
        with path.open("wb") as device, tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            shutil.copyfileobj(file, device)
        return
    path = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(prefix=_prefix(path), suffix=_SUFFIX, dir=path.parent)
    try:
        with _marked_as_used(Path(name)):
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                # Without this a crash of the machine could leave the new name on an empty file.
                os.fsync(file.fileno())
            Path(name).chmod(_mode(path))
            Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_destination(path: str | Path) -> None:
    """Make sure before long work that `atomic_file` can write its result.

    Parameters
    ----------
    path : str or Path
        Where the file is to be.

    Raises
    ------
    OSError
        If it is a folder, or its folder does not exist or takes no new files: the message names it.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {str(path)!r}: it is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {str(path)!r}: there is no folder {_shown_folder(path)!r}"
        )
    if not (target.exists() and not target.is_file()) and not os.access(target.parent, os.W_OK):
        raise PermissionError(
            f"cannot write {str(path)!r}: the folder {_shown_folder(path)!r} takes no new files"
        )


def _shown_folder(path: str | Path) -> str:
    """Return the folder of a file as the user named it, or where a link leads."""
    parent = Path(path).parent
    return str(Path(os.path.realpath(path)).parent if Path(path).is_symlink() else parent)


def remove_abandoned(path: str | Path) -> None:
    """Remove what was left of writing a file by processes that were killed over it.

    Parameters
    ----------
    path : str or Path
        Where the file is, or is to be. What a living process is writing stays.
    """
    path = Path(os.path.realpath(path))
    for found in path.parent.glob(f"{glob.escape(_prefix(path))}*{_SUFFIX}"):
        with suppress(OSError), _marked_as_used(found):
            found.unlink()


@contextmanager
def _marked_as_used(path: Path) -> Iterator[None]:
    """Hold a lock on a file, which ends with this process; raise if another process holds it."""
    if sys.platform == "win32":  # files that are open cannot be removed there
        yield
        return
    import fcntl

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            # The file system knows no locks.
        yield


def _prefix(path: Path) -> str:
    # A name may be as long as the file system takes, so that there is no room for more of it.
    return f".{path.name[:32]}."


def _mode(path: Path) -> int:
    """Return the permissions of the old file, or those a new file would get."""
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
