"""Pictures in files, through Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.atomic_file import atomic_file, check_destination
from fastgmm.extras import import_from_extra


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture, the way up that its camera notes.

    Parameters
    ----------
    path : str or Path
        A file in any of Pillow's formats. Transparency is dropped.

    Returns
    -------
    ndarray of shape (height, width, 3) or (height, width)
        Colours, or grey levels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If Pillow is not installed.
    ValueError
        If it is no picture, or a damaged one.
    """
    orientation = _import_pillow("ImageOps")
    with _opened(Path(path)) as opened:
        upright = orientation.exif_transpose(opened)
        grey = upright.mode in ("1", "L", "LA")
        return np.asarray(upright.convert("L" if grey else "RGB"))


def pixel_count(path: str | Path) -> int:
    """Return how many pixels a picture has, without reading them.

    Parameters
    ----------
    path : str or Path
        A file in any of Pillow's formats.

    Returns
    -------
    int
        Width times height.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If Pillow is not installed.
    ValueError
        If it is no picture.
    """
    with _opened(Path(path)) as opened:
        return int(opened.width) * int(opened.height)


def write_image(path: str | Path, image: NDArray[np.uint8]) -> None:
    """Write a picture, all of it or nothing.

    Parameters
    ----------
    path : str or Path
        The suffix says in which of Pillow's formats.
    image : ndarray of shape (height, width, 3) or (height, width)
        Colours, or grey levels.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If Pillow knows no format of that suffix.
    """
    path = Path(path)
    format_name = image_format(path)
    with atomic_file(path) as file:
        _import_pillow("Image").fromarray(image).save(file, format=format_name)


def image_format(path: Path) -> str:
    """Return Pillow's name for the format that a suffix stands for.

    Parameters
    ----------
    path : Path
        Where the picture is to be.

    Returns
    -------
    str
        The format.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If the suffix stands for no format that Pillow writes.
    OSError
        If the file cannot be written there.
    """
    pillow = _import_pillow("Image")
    format_name = pillow.registered_extensions().get(path.suffix.lower())
    if format_name not in pillow.SAVE:
        raise ValueError(
            f"cannot write {str(path)!r}: its name must end in that of an image format, as .png"
        )
    check_destination(path)
    return str(format_name)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a picture, and say of all that goes wrong with it which it was."""
    pillow = _import_pillow("Image")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with pillow.open(path) as opened:
            yield opened
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise ValueError(f"cannot read {str(path)!r} as an image: {error}") from error


def _import_pillow(module: str) -> Any:
    return import_from_extra(
        f"PIL.{module}", package="Pillow", extra="plot", purpose="reading and writing images"
    )
