"""From what the user names, paths, folders and patterns, to files in a fixed order."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.file_kinds import file_kind, looks_like_text

PART = "::"
"""What parts a file's path from that of an array inside it."""

_WILDCARDS = re.compile(r"[*?\[]")
_DIGITS = re.compile(r"(\d+)")
_HIVE = re.compile(r"([^=]+)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class FoundFile(NamedTuple):
    """A file of data.

    Attributes
    ----------
    path : Path
        The file, or the folder of a Zarr store.
    kind : str
        Its format, as `file_kind` names it.
    part : str
        Which array in it was asked for; empty if none was.
    partitions : dict of str to int, float, str or None
        Columns that the names of its folders give it, as in ``year=2024/part.parquet``.
    """

    path: Path
    kind: str
    part: str
    partitions: dict[str, int | float | str | None]


def find_files(data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[FoundFile]:
    """Return the files that the user means.

    Parameters
    ----------
    data : path-like or sequence of path-like
        Files, folders and patterns such as ``data/*.parquet``.

    Returns
    -------
    list of FoundFile
        Those of a folder or a pattern in the order of their names, numbers in them by value;
        those of a list in the list's order.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    DataError
        If a pattern matches nothing, a folder holds no data, or files are of different kinds.
    """
    given = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not given:
        raise DataError("there are no files in an empty list")
    found = [file for each in given for file in _files_of(os.fspath(each))]
    kinds = Counter(file.kind for file in found)
    if len(kinds) > 1:
        counts = [f"{count} {kind}" for kind, count in kinds.items()]
        first = {file.kind: file.path for file in reversed(found)}
        examples = [str(path) for path in list(first.values())[::-1]]
        raise DataError(
            f"files of one kind can be read together, but these are of several "
            f"({', '.join(counts)}): {name_list(examples)}; name those to read, or give a pattern "
            "as 'folder/*.parquet'"
        )
    return found


def natural_key(path: str | Path) -> tuple[list[str | tuple[int, str]], str]:
    """Return what to sort paths by so that ``part10`` comes after ``part9``.

    Parameters
    ----------
    path : str or Path
        A path.

    Returns
    -------
    tuple
        The key.
    """
    parts = _DIGITS.split(str(path))
    return [(int(p), p) if i % 2 else p for i, p in enumerate(parts)], str(path)


def _files_of(name: str) -> list[FoundFile]:
    """Return the files that one name stands for."""
    path, part = Path(name), ""
    if not path.exists() and PART in name:
        before, part = name.rsplit(PART, 1)
        path = Path(before)
    if path.exists():
        return _files_in(path, part)
    if "://" in name:
        raise DataError(
            f"{name!r} is an address, not a file: open it with another library and give its "
            "batches, for instance a pyarrow.RecordBatchReader"
        )
    if _WILDCARDS.search(str(path)):
        # pathlib's own glob wants to know which part of the pattern is a folder.
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207
        matches = sorted(found, key=natural_key)
        if not matches:
            raise DataError(f"no file matches the pattern {str(path)!r}")
        return [file for match in matches for file in _files_in(Path(match), part)]
    raise FileNotFoundError(f"there is no file {str(path)!r}")


def _files_in(path: Path, part: str) -> list[FoundFile]:
    """Return a file, or the files in a folder."""
    kind = file_kind(path)
    if path.is_dir() and kind is None:
        return _files_in_folder(path)
    if kind is None and looks_like_text(path):
        kind = "CSV"
    if kind is None:
        raise DataError(
            f"cannot tell what {str(path)!r} is: it is none of Parquet, Arrow, CSV, NumPy, HDF5, "
            "Zarr or a picture"
        )
    return [FoundFile(path, kind, part, {})]


def _files_in_folder(folder: Path) -> list[FoundFile]:
    found = []
    for path in sorted(_visible_files(folder), key=natural_key):
        kind = file_kind(path)
        if kind is not None:
            found.append(FoundFile(path, kind, "", _partitions(path.relative_to(folder).parent)))
    if not found:
        raise DataError(f"the folder {str(folder)!r} holds no files of data")
    return found


def _visible_files(folder: Path) -> list[Path]:
    """Return all files below a folder, without those that programs keep for themselves."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] not in "._"]
        found += [Path(where, name) for name in names if name[0] not in "._"]
    return found


def _partitions(folders: Path) -> dict[str, int | float | str | None]:
    """Return the columns that folders named ``column=value`` stand for."""
    pairs = [match.groups() for name in folders.parts if (match := _HIVE.fullmatch(name))]
    return {name: _partition_value(text) for name, text in pairs}


def _partition_value(text: str) -> int | float | str | None:
    if text == _NO_VALUE:
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
