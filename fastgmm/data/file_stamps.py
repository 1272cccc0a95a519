"""Noticing that a file is no longer what it was when it was opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgmm.data.errors import DataError


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and time of change of a file, or of all files in a folder.

    Attributes
    ----------
    path : Path
        The file or folder.
    n_files : int
        Number of files, 1 for a file.
    size : int
        Their bytes.
    changed_ns : int
        When the last of them changed, in nanoseconds since 1970.
    """

    path: Path
    n_files: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Return the present stamp of a file or folder."""
        found = [path.stat()]
        if path.is_dir():
            for folder, _, names in os.walk(path):
                files = (Path(folder, name) for name in names)
                # A link that leads nowhere has a stamp of its own.
                found += [each.stat() if each.exists() else each.lstat() for each in files]
        return cls(
            path, len(found), sum(s.st_size for s in found), max(s.st_mtime_ns for s in found)
        )

    def check(self) -> None:
        """Make sure that the file is as it was."""
        try:
            now = FileStamp.of(self.path)
        except OSError as error:
            raise DataError(
                f"{str(self.path)!r} has vanished since it was opened: {error.strerror}"
            ) from error
        if now != self:
            raise DataError(
                f"{str(self.path)!r} changed since it was opened ({self.size} bytes then, "
                f"{now.size} now): start again on files that stay as they are"
            )

    def identity(self) -> dict[str, Any]:
        """Return the stamp in values that JSON knows."""
        return {"name": self.path.name, "size": self.size, "changed_ns": self.changed_ns}
