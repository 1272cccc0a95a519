"""The formats of files, and telling which a file is of: by its first bytes, else by its name."""

from __future__ import annotations

import zipfile
from functools import cache
from importlib import import_module
from pathlib import Path

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.formats.byte_streams import (
    ZIP,
    ByteStream,
    compression_of,
    is_zip,
    raw_head,
    refuse_compressed,
    zip_member,
    zip_members,
)
from fastgmm.data.formats.csv_text import UTF8, encoding_of
from fastgmm.data.formats.foreign_files import foreign_kind, office_kind
from fastgmm.data.formats.table_file import FileFormat, FoundFile, TableFile
from fastgmm.data.options import ReadingOptions
from fastgmm.data.remote import Location, path_or_file

_MODULES = (
    "parquet_files",
    "arrow_files",
    "csv_files",
    "numpy_files",
    "array_stores",
    "images",
)
"""The modules of this package that each have a format, or several: a new one takes a line here."""

_COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
_HEAD_BYTES = 2**10


@cache
def formats() -> dict[str, FileFormat]:
    """Return the formats by kind; their modules are imported once a file is to be read."""
    modules = (import_module(f"fastgmm.data.formats.{name}") for name in _MODULES)
    return {each.kind: each for module in modules for each in module.FORMATS}


def open_file(found: FoundFile, options: ReadingOptions) -> TableFile:
    """Open a file by its format."""
    path, name = found.path, repr(str(found.path))
    file_format = formats()[found.kind]
    if not file_format.is_csv:
        refuse_csv_options(name, options)
        _refuse_foreign(path)
    if not file_format.compressed:
        refuse_compressed(found)
    if found.part and not file_format.has_parts and not is_zip(path):
        raise DataError(f"{name} holds no arrays with names: leave out '::{found.part}'")
    return file_format.open(found, options)


def refuse_csv_options(origin: str, options: ReadingOptions) -> None:
    """Raise if something is said of CSV, and the data are none."""
    if given := options.csv.given():
        raise ValueError(f"{origin} is not CSV, which {name_list(given)} is for: leave it out")


def file_kind(path: Location, part: str = "") -> str | None:
    """Return what a file or folder is."""
    if path.is_dir():
        kinds = (
            each.kind
            for each in formats().values()
            if any((path / marker).exists() for marker in each.markers)
        )
        return next(kinds, None)
    raw = raw_head(path)
    name = path.name.lower()
    name = name.removesuffix(next(filter(name.endswith, _COMPRESSED_SUFFIXES), ""))
    if raw.startswith(ZIP):
        members = []
        if not name.endswith(".npz"):
            with path_or_file(path) as file:
                readable = zipfile.is_zipfile(file)
            members = zip_members(path) if readable else []
        if name.endswith(".npz") or (members and all(each.endswith(".npy") for each in members)):
            return "NumPy archive"
        if part not in members and len(members) != 1:
            return None
        name = (part or members[0]).lower()
    elif compression_of(raw) is None:
        return kind_of_head(raw) or _kind_of_name(name)
    head = ByteStream(path, member=part).head(_HEAD_BYTES)
    return kind_of_head(head) or _kind_of_name(name)


def kind_of_named(path: Location, part: str) -> str:
    """Return what a file is that the user names, and so is one of data."""
    if (kind := file_kind(path, part)) is not None:
        return kind
    if is_zip(path):
        if (said := office_kind(zip_members(path))) is not None:
            raise DataError(f"{str(path)!r} is {said}")
        part = zip_member(path, part)
    head = ByteStream(path, member=part).head(_HEAD_BYTES)
    if (foreign := foreign_kind(head)) is not None:
        raise DataError(f"{str(path)!r} is {foreign}")
    if head and (b"\0" not in head or encoding_of(head) != UTF8):
        return "CSV"
    what = f"none of {', '.join(formats())}" if head else "empty"
    raise DataError(f"cannot tell what {str(path)!r} is: it is {what}")


def kind_of_head(head: bytes) -> str | None:
    """Return what begins with some bytes."""
    kinds = (each.kind for each in formats().values() if head.startswith(each.signatures))
    return next(kinds, None)


def _kind_of_name(name: str) -> str | None:
    suffix = Path(name).suffix
    return next((each.kind for each in formats().values() if suffix in each.suffixes), None)


def _refuse_foreign(path: Location) -> None:
    """Raise if a file is none of ours, whatever its name says."""
    raw = raw_head(path) if path.is_file() else ZIP
    if raw.startswith(ZIP) or kind_of_head(raw) is not None:
        return
    if not raw:
        raise DataError(f"{str(path)!r} is empty")
    head = raw if compression_of(raw) is None else ByteStream(path).head(_HEAD_BYTES)
    if (foreign := foreign_kind(head)) is not None:
        raise DataError(f"{str(path)!r} is {foreign}")
