"""Telling what a file is: by its first bytes, and where these say nothing, by its name."""

from __future__ import annotations

from pathlib import Path

from fastgmm.data.byte_streams import GZIP

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

_ZIP = b"PK"
_HEAD_BYTES = 2**10
_ZARR_MARKERS = ("zarr.json", ".zgroup", ".zarray")


def file_kind(path: Path) -> str | None:
    """Return what a file or folder is.

    Parameters
    ----------
    path : Path
        The file, or the folder of a Zarr store.

    Returns
    -------
    str or None
        The name of a format; None if it is none of those that are known.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if path.is_dir():
        return "Zarr" if any((path / marker).exists() for marker in _ZARR_MARKERS) else None
    head = _head(path)
    if (kind := kind_of_head(head)) is not None:
        return kind
    names = [suffix.lower() for suffix in path.suffixes]
    if names[-1:] == [".gz"]:
        names.pop()
    suffix = names[-1] if names else ""
    if head.startswith(_ZIP):
        return "NumPy archive" if suffix == ".npz" else None
    return _SUFFIXES.get(suffix)


def kind_of_head(head: bytes) -> str | None:
    """Return what begins with some bytes.

    Parameters
    ----------
    head : bytes
        The first bytes.

    Returns
    -------
    str or None
        The name of a format; None if the bytes are those of none that has a signature.
    """
    kinds = (kind for signature, kind in _SIGNATURES.items() if head.startswith(signature))
    return next(kinds, None)


def looks_like_text(path: Path) -> bool:
    """Say whether a file whose kind is unknown may hold rows of text.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bool
        Whether it does not begin with bytes that no text has.
    """
    head = _head(path)
    if head.startswith(GZIP):
        return True
    return bool(head) and b"\0" not in head and not head.startswith(_ZIP)


def _head(path: Path) -> bytes:
    """Return as many of a file's first bytes as tell its kind."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)
