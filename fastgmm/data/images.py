"""Pictures in files, through Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.atomic_file import atomic_file, check_destination, expanded
from fastgmm.extras import import_from_extra

_MOST_INDEXED = 256


def read_image(path: str | Path, *, with_alpha: bool = False) -> NDArray[np.uint8]:
    """Read a picture, the way up that its camera notes.

    Parameters
    ----------
    path : str or Path
        A file in any of Pillow's formats.
    with_alpha : bool
        Whether transparency is kept, as a last channel, of pictures that have any.

    Returns
    -------
    ndarray of shape (height, width, 3) or (height, width)
        Colours, or grey levels; with alpha, of shape (height, width, 4) or (height, width, 2).
        Levels of sixteen bits are rounded to eight.

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
    with _opened(expanded(path)) as opened:
        upright = orientation.exif_transpose(opened)
        if upright.mode.startswith("I;16"):  # which Pillow's convert would cut off at 255
            return np.rint(np.asarray(upright) / 257.0).astype(np.uint8)
        grey = upright.mode in ("1", "L", "LA")
        alpha = with_alpha and upright.has_transparency_data
        mode = ("L" if grey else "RGB") + "A" * alpha
        return np.asarray(upright.convert(mode))


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
    with _opened(expanded(path)) as opened:
        return int(opened.width) * int(opened.height)


def write_image(path: str | Path, image: NDArray[np.uint8]) -> None:
    """Write a picture, all of it or nothing.

    Parameters
    ----------
    path : str or Path
        The suffix says in which of Pillow's formats.
    image : ndarray of shape (height, width, 3) or (height, width)
        Colours, or grey levels; with alpha, a channel more.

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


def write_indexed_image(
    path: str | Path,
    indices: NDArray[np.unsignedinteger],
    palette: NDArray[np.uint8],
    *,
    hidden: NDArray[np.bool_] | None = None,
) -> int:
    """Write a PNG of a palette and a number for each pixel, all of it or nothing.

    Parameters
    ----------
    path : str or Path
        Where it is to be: a name that ends in .png.
    indices : ndarray of shape (height, width)
        The pixels' places in the palette.
    palette : ndarray of shape (n_colours, 3)
        The colours.
    hidden : ndarray of bool of shape (height, width) or None
        Which pixels are to be transparent.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If the name does not end in .png, or there are more colours than a palette holds.
    """
    path = Path(path)
    check_indexed_image(path, len(palette) + (hidden is not None))
    options: dict[str, Any] = {}
    if hidden is not None:
        options["transparency"] = len(palette)
        indices = np.where(hidden, len(palette), indices)
        palette = np.concatenate([palette, np.zeros((1, 3), dtype=np.uint8)])
    picture = _import_pillow("Image").fromarray(indices.astype(np.uint8, copy=False))
    picture.putpalette(palette.tobytes())
    with atomic_file(path) as file:
        picture.save(file, format="PNG", **options)
    return path.stat().st_size


def check_indexed_image(path: Path, n_colours: int) -> None:
    """Make sure before the work that an indexed picture can be written.

    Parameters
    ----------
    path : Path
        Where it is to be.
    n_colours : int
        Number of colours in its palette, of which transparency is one.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    OSError
        If the file cannot be written there.
    ValueError
        If the name does not end in .png, or there are more colours than a palette holds.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"cannot write {str(path)!r}: an indexed picture's name must end in .png")
    image_format(path)
    if n_colours > _MOST_INDEXED:
        raise ValueError(
            f"cannot write {str(path)!r}: a palette holds {_MOST_INDEXED} colours, and there are "
            f"{n_colours}, with one for transparency where there is any: fit fewer components"
        )


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
