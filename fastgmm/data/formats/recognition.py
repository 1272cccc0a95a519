"""Telling what a file is: by its first bytes, and where these say nothing, by its name."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fastgmm.data.errors import DataError
from fastgmm.data.formats.byte_streams import (
    ZIP,
    ByteStream,
    compression_of,
    zip_member,
    zip_members,
)
from fastgmm.data.formats.csv_text import UTF8, encoding_of

ARROW_STREAM = b"\xff\xff\xff\xff"
"""What an Arrow stream begins with."""

_SIGNATURES = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    ARROW_STREAM: "Arrow",
    b"\x93NUMPY": "NumPy",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x89PNG": "image",
    b"\xff\xd8\xff": "image",
    b"GIF8": "image",
    b"II*\0": "image",
    b"MM\0*": "image",
}

_SUFFIXES = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".arrow": "Arrow",
    ".arrows": "Arrow",
    ".feather": "Arrow",
    ".ipc": "Arrow",
    ".npy": "NumPy",
    ".npz": "NumPy archive",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".h5ad": "HDF5",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".bmp": "image",
    ".gif": "image",
    ".jpeg": "image",
    ".jpg": "image",
    ".png": "image",
    ".pbm": "image",
    ".pfm": "image",
    ".pgm": "image",
    ".pnm": "image",
    ".ppm": "image",
    ".tif": "image",
    ".tiff": "image",
    ".webp": "image",
}

_COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")

_READ_IN_PANDAS = "read it with pandas and give the data frame"

_FOREIGN = (
    (
        r"\s*<(!doctype html|html|head|body)\b",
        "an HTML page, not the data: it may be an error message in place of a download",
    ),
    (r"\s*<\?xml\b", f"XML: {_READ_IN_PANDAS}, pandas.read_xml"),
    (r"%PDF-", "a PDF document: export the table in it as CSV"),
    (r"SIMPLE  =", "a FITS file: read it with astropy.table.Table.read and give to_pandas() of it"),
    (r"\xd0\xcf\x11\xe0", f"an old Excel workbook: {_READ_IN_PANDAS}, pandas.read_excel"),
    (
        r"\x80[\x02-\x05][\x95}c(\]]",
        "a pickle, which can run programs when it is read: load it yourself and give what it holds",
    ),
    (r"version https://git-lfs", "a pointer of Git LFS, not the data: fetch these by git lfs pull"),
    (
        r"(RDX[23]|RDA[23]|RDB[23])\n|[XAB]\n\0\0\0[\2\3]",
        "a file of R's: write CSV there",
    ),
    (r"SQLite format 3\0", f"an SQLite database: {_READ_IN_PANDAS}, pandas.read_sql"),
    (r"MATLAB 5\.0", "a file of MATLAB's: read it with scipy.io.loadmat and give the array"),
    (r"ORC", f"an ORC file: {_READ_IN_PANDAS}, pandas.read_orc"),
    (r"Obj\x01", "an Avro file: write it as Parquet"),
    (r"<stata_dta>", f"a file of Stata's: {_READ_IN_PANDAS}, pandas.read_stata"),
    (r"\$FL[23]", f"a file of SPSS's: {_READ_IN_PANDAS}, pandas.read_spss"),
    (r"CDF[\x01\x02\x05]", "a NetCDF file: read it with xarray and give the array"),
    (r"7z\xbc\xaf|Rar!", "an archive: extract it first"),
    (r"[\s\S]{257}ustar", "a tar archive: extract it first"),
    (
        r"\s*(\{\s*(\"|\})|\[\s*([\[{\"\]]|-?\d+(\.\d+)?([eE][+-]?\d+)?\s*[,\]]))",
        f"JSON: {_READ_IN_PANDAS}, pandas.read_json, lines=True for a row a line",
    ),
)
"""What other files begin with, and what to do with them."""

_FOREIGN_STARTS = tuple(
    (re.compile(start.encode("latin-1"), re.IGNORECASE), said) for start, said in _FOREIGN
)

_OFFICE = {
    "xl/": f"an Excel workbook: {_READ_IN_PANDAS}, pandas.read_excel, or save it as CSV",
    "word/": "a Word document: export the table in it as CSV",
    "content.xml": f"an OpenDocument file: {_READ_IN_PANDAS}, pandas.read_excel, or save it as CSV",
}
"""What zip archives are that hold files of such names."""

_HEAD_BYTES = 2**10
_ZARR_MARKERS = ("zarr.json", ".zgroup", ".zarray")


def file_kind(path: Path, part: str = "") -> str | None:
    """Return what a file or folder is."""
    if path.is_dir():
        return "Zarr" if any((path / marker).exists() for marker in _ZARR_MARKERS) else None
    raw = _raw_head(path)
    name = path.name.lower()
    name = name.removesuffix(_ending(name, _COMPRESSED_SUFFIXES))
    if raw.startswith(ZIP):
        readable = not name.endswith(".npz") and zipfile.is_zipfile(path)
        members = zip_members(path) if readable else []
        if name.endswith(".npz") or (members and all(each.endswith(".npy") for each in members)):
            return "NumPy archive"
        if part not in members and len(members) != 1:
            return None
        name = (part or members[0]).lower()
    elif compression_of(raw) is None:
        return kind_of_head(raw) or _SUFFIXES.get(Path(name).suffix)
    head = ByteStream(path, member=part).head(_HEAD_BYTES)
    return kind_of_head(head) or _SUFFIXES.get(Path(name).suffix)


def kind_of_named(path: Path, part: str) -> str:
    """Return what a file is that the user names, and so is one of data."""
    if (kind := file_kind(path, part)) is not None:
        return kind
    if is_zip(path):
        members = zip_members(path)
        for start, said in _OFFICE.items():
            if any(member.startswith(start) for member in members):
                raise DataError(f"{str(path)!r} is {said}")
        part = zip_member(path, part)
    head = ByteStream(path, member=part).head(_HEAD_BYTES)
    if (foreign := foreign_kind(head)) is not None:
        raise DataError(f"{str(path)!r} is {foreign}")
    if head and (b"\0" not in head or encoding_of(head) != UTF8):
        return "CSV"
    raise DataError(
        f"cannot tell what {str(path)!r} is: it is "
        + ("empty" if not head else "none of Parquet, Arrow, CSV, NumPy, HDF5, Zarr or an image")
    )


def is_zip(path: Path) -> bool:
    """Say whether a file is a zip archive."""
    return path.is_file() and _raw_head(path).startswith(ZIP)


def is_compressed(path: Path) -> bool:
    """Say whether a file is compressed as a whole, by itself or in a zip archive."""
    if not path.is_file():
        return False
    head = _raw_head(path)
    return head.startswith(ZIP) or compression_of(head) is not None


def foreign_kind(head: bytes) -> str | None:
    """Return what begins with some bytes that is no table, though its name may say so."""
    text = head.removeprefix(b"\xef\xbb\xbf")[:_HEAD_BYTES]
    return next((said for start, said in _FOREIGN_STARTS if start.match(text)), None)


def kind_of_head(head: bytes) -> str | None:
    """Return what begins with some bytes."""
    kinds = (kind for signature, kind in _SIGNATURES.items() if head.startswith(signature))
    return next(kinds, None)


def _raw_head(path: Path) -> bytes:
    """Return as many of a file's first bytes as tell its kind."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _ending(name: str, suffixes: Sequence[str]) -> str:
    """Return the suffix that a name ends in, empty if it is none of some."""
    return next((suffix for suffix in suffixes if name.endswith(suffix)), "")
