"""From what the user names, paths, folders and patterns, to files in a fixed order."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
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
        If a pattern matches nothing, a folder holds no data, files are of different kinds, or a
        list names a file twice.
    """
    given = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not given:
        raise DataError("there are no files in an empty list")
    found = [file for each in given for file in _once(_files_of(os.fspath(each)))]
    _refuse_repeated(found)
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
    if not name:
        raise FileNotFoundError("there is no file of the name ''")
    path, part = Path(name), ""
    if name.startswith("~") and not path.exists():
        with suppress(RuntimeError):  # there is no such user
            path = path.expanduser()
        name = str(path)
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
    if not path.is_dir() and not path.is_file():
        raise DataError(
            f"{str(path)!r} is a pipe or a device, which can only be read alone: give one of them, "
            "or files"
        )
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
    found: list[Path] = []
    entered = {folder.resolve()}
    for where, folders, names in os.walk(folder, followlinks=True):
        below = {name: Path(where, name).resolve() for name in sorted(folders, key=natural_key)}
        folders[:] = []
        for name, path in below.items():
            if name[0] not in "._" and path not in entered:  # links may lead in circles
                entered.add(path)
                folders.append(name)
        files = [Path(where, name) for name in names if name[0] not in "._"]
        # A link that leads nowhere is kept: it stands for data that are missing.
        found += [path for path in files if path.is_file() or not path.exists()]
    return found


def _once(files: list[FoundFile]) -> list[FoundFile]:
    """Return files that one name stands for, those found in several ways where they come first."""
    found: dict[tuple[Path, str], FoundFile] = {}
    for file in files:
        found.setdefault((file.path.resolve(), file.part), file)
    return list(found.values())


def _refuse_repeated(files: list[FoundFile]) -> None:
    """Raise if two names in a list stand for one file."""
    counts = Counter((file.path.resolve(), file.part) for file in files)
    repeated = [str(path) for (path, _), count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"the list names {name_list(repeated)} twice: name each file once, and give rows that "
            "count twice a weight of 2"
        )


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
