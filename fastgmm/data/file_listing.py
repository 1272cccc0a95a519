"""From what the user names, paths, folders and patterns, to files in a fixed order."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from urllib.parse import unquote

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.formats.registry import file_kind, kind_of_named
from fastgmm.data.formats.table_file import FoundFile
from fastgmm.data.remote import Location, RemotePath, is_url, located
from fastgmm.extras import import_pyarrow

PART = "::"
"""What parts a file's path from that of an array inside it."""

_WILDCARDS = re.compile(r"[*?\[]")
_DIGITS = re.compile(r"(\d+)")
_HIVE = re.compile(r"([^=]+)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def find_files(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    left_out: list[str] | None = None,
) -> list[FoundFile]:
    """Return the files that the user means."""
    given = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not given:
        raise DataError("there are no files in an empty list")
    left_out = [] if left_out is None else left_out
    found = [file for each in given for file in _once(_files_of(os.fspath(each), left_out))]
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
    return _with_types(found)


def natural_key(path: str | Location) -> tuple[list[str | tuple[int, str]], str]:
    """Return what to sort paths by so that ``part10`` comes after ``part9``."""
    parts = _DIGITS.split(str(path))
    return [(int(p), p) if i % 2 else p for i, p in enumerate(parts)], str(path)


def _files_of(name: str, left_out: list[str]) -> list[FoundFile]:
    """Return the files that one name stands for."""
    if not name:
        raise FileNotFoundError("there is no file of the name ''")
    if is_url(name):
        return _files_at_url(name, left_out)
    path, part = Path(name), ""
    if name.startswith("~") and not path.exists():
        with suppress(RuntimeError):  # there is no such user
            path = path.expanduser()
        name = str(path)
    try:
        path.exists()
    except (OSError, ValueError) as error:
        raise DataError(f"{name!r} cannot be the name of a file: {error}") from error
    if not path.exists() and PART in name:
        before, part = name.rsplit(PART, 1)
        path = Path(before)
    if path.exists():
        if _is_folder_of_files(path):
            return _files_in_folder(path, left_out, matched=False)
        return [_named_file(path, part)]
    if _WILDCARDS.search(str(path)):
        # pathlib's own glob wants to know which part of the pattern is a folder.
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207
        return _files_matched(path, map(Path, found), part, left_out)
    _refuse_broken_link(path)
    raise FileNotFoundError(f"there is no file {str(path)!r}")


def _files_at_url(url: str, left_out: list[str]) -> list[FoundFile]:
    """Return the files that a URL stands for."""
    before, _, part = url.rpartition(PART)
    if not before or "://" in part:  # fsspec's own mark between URLs
        before, part = url, ""
    path = located(before)
    if isinstance(path, Path):
        return _files_of(f"{path}{PART}{part}" if part else str(path), left_out)
    if path.has_wildcards:
        return _files_matched(path, path.glob(), part, left_out)
    if _is_folder_of_files(path):
        return _files_in_folder(path, left_out, matched=False)
    return [_named_file(path, part)]


def _files_matched(
    pattern: Location, matches: Iterable[Location], part: str, left_out: list[str]
) -> list[FoundFile]:
    """Return the files that a pattern stands for."""
    found: list[FoundFile] = []
    for path in sorted(matches, key=natural_key):
        _refuse_broken_link(path)
        if _is_folder_of_files(path):
            found += _files_in_folder(path, left_out, matched=True)
        elif path.is_file() and not path.stat().st_size:
            left_out.append(f"{str(path)!r} (empty)")
        else:
            found.append(_named_file(path, part))
    if not found:
        raise DataError(f"no file matches the pattern {str(pattern)!r}{_but(left_out)}")
    return found


def _is_folder_of_files(path: Location) -> bool:
    return path.is_dir() and file_kind(path) is None


def _named_file(path: Location, part: str) -> FoundFile:
    """Return a file that is named by itself."""
    if isinstance(path, Path) and not path.is_dir() and not path.is_file():
        raise DataError(
            f"{str(path)!r} is {_special_kind(path)}, which can only be read alone: give one of "
            "them, or files"
        )
    return FoundFile(path, kind_of_named(path, part), part, _partitions(path.parent))


def _files_in_folder(folder: Location, left_out: list[str], *, matched: bool) -> list[FoundFile]:
    """Return the files in a folder.

    Folders above one that is named make no columns, but those above one that a pattern matches do.
    """
    found, others = [], []
    for path in sorted(_visible_files(folder), key=natural_key):
        _refuse_broken_link(path)
        if isinstance(path, Path) and not path.is_dir() and not path.is_file():
            others.append(f"{str(path)!r} ({_special_kind(path)})")
        elif path.is_file() and not path.stat().st_size:
            others.append(f"{str(path)!r} (empty)")
        elif (kind := file_kind(path)) is None:
            others.append(f"{str(path)!r} (neither its name nor its content says that it is data)")
        else:
            where = path if matched else path.relative_to(folder)  # type: ignore[arg-type]
            found.append(FoundFile(path, kind, "", _partitions(where.parent)))
    if not found:
        raise DataError(f"the folder {str(folder)!r} holds no files of data{_but(others)}")
    left_out += others
    return found


def _but(others: Sequence[str]) -> str:
    """Return what to say of files that are not read, after a sentence that there are none."""
    return f", but {name_list(others, quoted=False)}" if others else ""


def _visible_files(folder: Location) -> Sequence[Location]:
    """Return all below a folder that is no folder, without what programs keep for themselves."""
    if isinstance(folder, RemotePath):
        return folder.visible_files()
    found: list[Path] = []
    entered = {folder.resolve()}
    for where, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        below = {name: Path(where, name).resolve() for name in sorted(folders, key=natural_key)}
        folders[:] = []
        for name, path in below.items():
            if name[0] in "._" or path in entered:  # links may lead in circles
                continue
            entered.add(path)
            if file_kind(path) is None:
                folders.append(name)
            else:
                found.append(Path(where, name))
        found += [Path(where, name) for name in names if name[0] not in "._"]
    return found


def _raise(error: OSError) -> None:
    raise error


def _special_kind(path: Path) -> str:
    """Return what something is that is neither a file nor a folder."""
    mode = path.stat().st_mode
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a pipe or a device"


def _refuse_broken_link(path: Location) -> None:
    """Raise if a path is a link that leads nowhere: it stands for data that are missing."""
    if isinstance(path, Path) and path.is_symlink() and not path.exists():
        raise DataError(
            f"{str(path)!r} is a link to {str(path.readlink())!r}, which is not there: mend the "
            "link or remove it"
        )


def _once(files: list[FoundFile]) -> list[FoundFile]:
    """Return files that one name stands for, those found in several ways where they come first."""
    found: dict[tuple[Location, str], FoundFile] = {}
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


def _partitions(folders: PurePath) -> dict[str, str | None]:
    """Return the columns that folders named ``column=value`` stand for, values as text."""
    pairs = [match.groups() for name in folders.parts if (match := _HIVE.fullmatch(name))]
    try:
        return {
            unquote(name, errors="strict"): (
                None if text == _NO_VALUE else unquote(text, errors="strict")
            )
            for name, text in pairs
        }
    except UnicodeDecodeError as error:
        raise DataError(
            f"the folder {str(folders)!r} is named after a value that is no UTF-8 once its "
            f"percent signs are decoded: {error}"
        ) from error


def _with_types(files: list[FoundFile]) -> list[FoundFile]:
    """Return files with columns of integers where folders hold nothing else, else of text."""
    names = dict.fromkeys(name for file in files for name in file.partitions)
    if not names:
        return files
    pyarrow = import_pyarrow("reading folders named after values")
    columns = {}
    for name in names:
        column = pyarrow.array([file.partitions.get(name) for file in files], pyarrow.string())
        with suppress(pyarrow.ArrowInvalid):  # it stays text
            column = column.cast(pyarrow.int32())
        columns[name] = column.to_pylist()
    return [
        file._replace(partitions={name: values[i] for name, values in columns.items()})
        for i, file in enumerate(files)
    ]
