"""Images in files, through Pillow, and OpenCV where Pillow would cut their levels.

As data, their pixels are rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.errors import DataError
from fastgmm.data.formats.table_file import (
    Column,
    FileFormat,
    FileStamp,
    Piece,
    TableFile,
    Wanted,
    chosen_columns,
    column_numbers,
)
from fastgmm.data.remote import Location, RemotePath, path_or_file
from fastgmm.extras import import_from_extra
from fastgmm.io.atomic_file import atomic_file, check_destination, expanded

_MOST_INDEXED = 256

_DEEP_FORMATS = ("PNG", "PPM", "TIFF")
"""Formats that hold sixteen bits a channel."""

_FORMATS_OF_SEVERAL = ("GIF", "PNG", "TIFF", "WEBP")
"""Formats whose files may hold several images, of which none is a mere preview of the first."""

_FORMATS_OF_BOUNDED_RATIO = ("BMP", "GIF", "JPEG", "MPO", "PNG", "PPM")
_MOST_PIXELS_OF_BYTE = 8 * 1032
"""Pixels that a byte of these formats can stand for: pixels of one bit, and deflate."""

_SUBFILE_TYPE, _BITS_PER_SAMPLE, _SAMPLE_FORMAT, _ORIENTATION = 254, 258, 339, 0x0112
"""Tags of TIFF and Exif."""

_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What to do with an image for each orientation that a camera may note."""


_COLORS = ("red", "green", "blue")
_LARGEST = {np.dtype(np.uint8): np.float32(255), np.dtype(np.uint16): np.float32(65535)}
"""White in the types whose levels are brought to 0 to 1."""


class _ImageError(Exception):
    """What is wrong with an image, in words for those who use it."""


class ImageHeader(NamedTuple):
    """What an image says of itself before its pixels are read."""

    n_pixels: int  # width times height
    dtype: np.dtype[Any]  # type of its levels, as `read_image` returns them


def read_image(path: str | Location, *, with_alpha: bool = False) -> NDArray[Any]:
    """Read an image, the way up that its camera notes."""
    orientation = _import_pillow("ImageOps")
    path = path if isinstance(path, RemotePath) else expanded(path)
    if (levels := _unknown_to_pillow(path)) is not None:
        return levels
    with _opened(path) as opened:
        dtype = _level_type(opened)
        if _is_deep_color(opened):
            return _deep_color(path, opened, with_alpha=with_alpha)
        upright = orientation.exif_transpose(opened)
        if dtype != np.uint8:  # of which Pillow's convert would cut off what is above 255
            levels = np.asarray(upright)
            return levels.view(dtype) if dtype == np.uint32 else levels.astype(dtype)
        gray = upright.mode in ("1", "L", "LA")
        alpha = with_alpha and upright.has_transparency_data
        mode = ("L" if gray else "RGB") + "A" * alpha
        return np.asarray(upright.convert(mode))


def image_header(path: str | Location) -> ImageHeader:
    """Return what an image says of itself, without reading its pixels."""
    path = path if isinstance(path, RemotePath) else expanded(path)
    if (levels := _unknown_to_pillow(path)) is not None:
        return ImageHeader(levels.shape[0] * levels.shape[1], levels.dtype)
    with _opened(path) as opened:
        if _is_deep_color(opened):
            _import_opencv()
        return ImageHeader(int(opened.width) * int(opened.height), _level_type(opened))


def holds_levels(path: Path, image: NDArray[Any]) -> bool:
    """Say whether a format holds the levels of an image, if perhaps with fewer bits."""
    format_name = image_format(path)
    low, high = image.min(), image.max()
    if image.dtype in (np.uint8, np.uint16):
        return True
    if format_name == "TIFF" and image.dtype != np.uint32:
        return True
    if image.dtype.kind == "f":
        return bool(low >= 0.0 and high <= 1.0)
    largest = {"TIFF": 2**31, **dict.fromkeys(("PNG", "PPM"), 2**16)}.get(format_name, 0)
    return bool(low >= 0 and high < largest)


def write_image(path: str | Path, image: NDArray[Any]) -> None:
    """Write an image, all of it or nothing."""
    path = Path(path)
    format_name = image_format(path)
    levels = _written_levels(format_name, image)
    if levels.dtype == np.uint8 or levels.ndim == 2:
        pillow_image = _import_pillow("Image").fromarray(levels)
        with atomic_file(path) as file:
            pillow_image.save(file, format=format_name)
        return
    opencv = _import_opencv()
    if levels.shape[2] < 3:
        levels = levels[..., [0, 0, 0, 1][: 2 + levels.shape[2]]]
    content = opencv.imencode(f".{format_name.lower()}", _reversed_colors(levels))[1]
    with atomic_file(path) as file:
        file.write(content.tobytes())


def write_indexed_image(
    path: str | Path,
    indices: NDArray[np.unsignedinteger],
    palette: NDArray[np.uint8],
    *,
    hidden: NDArray[np.bool_] | None = None,
) -> int:
    """Write a PNG of a palette and a number for each pixel, all of it or nothing."""
    path = Path(path)
    check_indexed_image(path, len(palette) + (hidden is not None))
    options: dict[str, Any] = {}
    if hidden is not None:
        options["transparency"] = len(palette)
        indices = np.where(hidden, len(palette), indices)
        palette = np.concatenate([palette, np.zeros((1, 3), dtype=np.uint8)])
    pillow_image = _import_pillow("Image").fromarray(indices.astype(np.uint8, copy=False))
    pillow_image.putpalette(palette.tobytes())
    with atomic_file(path) as file:
        pillow_image.save(file, format="PNG", **options)
    return path.stat().st_size


def check_indexed_image(path: Path, n_colors: int) -> None:
    """Make sure before the work that an indexed image can be written."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"cannot write {str(path)!r}: an indexed image's name must end in .png")
    image_format(path)
    if n_colors > _MOST_INDEXED:
        raise ValueError(
            f"cannot write {str(path)!r}: a palette holds {_MOST_INDEXED} colors, and there are "
            f"{n_colors}, with one for transparency where there is any: fit fewer components"
        )


def image_format(path: Path) -> str:
    """Return Pillow's name for the format that a suffix stands for."""
    pillow = _import_pillow("Image")
    format_name = pillow.registered_extensions().get(path.suffix.lower())
    if format_name not in pillow.SAVE:
        raise ValueError(
            f"cannot write {str(path)!r}: its name must end in that of an image format, as .png"
        )
    check_destination(path)
    return str(format_name)


def _written_levels(format_name: str, image: NDArray[Any]) -> NDArray[Any]:
    """Return an image in the type that a format holds, the nearest to its own."""
    is_deep = format_name in _DEEP_FORMATS
    if image.dtype == np.uint8 or (image.dtype == np.uint16 and is_deep):
        return image
    if image.dtype == np.uint16:
        return np.rint(image / 257.0).astype(np.uint8)
    if format_name == "TIFF":
        return image.astype(np.float32 if image.dtype.kind == "f" else np.int32, copy=False)
    dtype = np.uint16 if is_deep else np.uint8
    if image.dtype.kind == "f":
        image = np.rint(image * float(np.iinfo(dtype).max))
    return image.astype(dtype)


@contextmanager
def _opened(path: Location) -> Iterator[Any]:
    """Open an image, and say of all that goes wrong with it which it was."""
    pillow = _import_pillow("Image")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with path_or_file(path) as file, pillow.open(file) as opened:
            _check_header(opened, path.stat().st_size)
            yield opened
    except ImportError:
        raise
    except Exception as error:  # of a damaged image Pillow raises anything
        reason = str(error) or type(error).__name__
        if isinstance(error, pillow.DecompressionBombError):
            reason += ": if you trust it, set PIL.Image.MAX_IMAGE_PIXELS to more pixels"
        elif isinstance(error, MemoryError):
            reason = "its pixels do not fit in memory: make it smaller"
        elif not isinstance(error, _ImageError):
            reason += ": it is damaged, or no image; write it again"
        raise DataError(f"cannot read {str(path)!r} as an image: {reason}") from error


def _unknown_to_pillow(path: Location) -> NDArray[Any] | None:
    """Return the levels of a TIFF such as one of colors of 32 bits; None of what Pillow knows."""
    pillow = _import_pillow("Image")
    try:
        with path_or_file(path) as file, pillow.open(file):
            return None
    except pillow.UnidentifiedImageError:
        content = path.read_bytes()
    except Exception:  # which becomes an error of ours where Pillow is to read the image
        return None
    if not content.startswith((b"II*\0", b"MM\0*")):
        return None
    opencv = _import_opencv()
    levels = opencv.imdecode(np.frombuffer(content, np.uint8), opencv.IMREAD_UNCHANGED)
    if levels is None or levels.ndim == 2:
        return cast(NDArray[Any] | None, levels)
    return _reversed_colors(levels[..., :3])


def _check_header(opened: Any, size: int) -> None:
    """Raise if an image is several, or claims more pixels than its bytes can stand for."""
    n_frames = getattr(opened, "n_frames", 1) if opened.format in _FORMATS_OF_SEVERAL else 1
    if n_frames > 1 and opened.format == "TIFF":
        n_frames -= sum(map(_is_reduced, _import_pillow("ImageSequence").Iterator(opened)))
        opened.seek(0)
    if n_frames > 1:
        raise _ImageError(f"it holds {n_frames} images: save each in a file of its own")
    n_pixels = opened.width * opened.height
    if opened.format in _FORMATS_OF_BOUNDED_RATIO and n_pixels > _MOST_PIXELS_OF_BYTE * size:
        raise _ImageError(
            f"it claims {opened.width} x {opened.height} pixels, for which {size} bytes are too "
            "few: it is cut short or damaged; write it again"
        )


def _is_reduced(opened: Any) -> bool:
    """Say whether a TIFF's page is a smaller copy of another, or its mask."""
    return bool(opened.tag_v2.get(_SUBFILE_TYPE, 0) & 5)


def _level_type(opened: Any) -> np.dtype[Any]:
    """Return the type of an image's levels."""
    if _is_deep_color(opened) or opened.mode.startswith("I;16"):
        return np.dtype(np.uint16)
    if opened.mode == "F":
        return np.dtype(np.float32)
    if opened.mode != "I":
        return np.dtype(np.uint8)
    if opened.format in ("PPM", "PNG"):  # Pillow brings their levels to sixteen bits
        return np.dtype(np.uint16)
    tags = getattr(opened, "tag_v2", {})
    is_unsigned = tags.get(_BITS_PER_SAMPLE) == (32,) and tags.get(_SAMPLE_FORMAT, (1,)) == (1,)
    return np.dtype(np.uint32 if is_unsigned else np.int32)


def _is_deep_color(opened: Any) -> bool:
    """Say whether Pillow would cut the levels of colors to eight bits."""
    if opened.mode not in ("RGB", "RGBA"):
        return False
    if opened.format == "TIFF":
        return bool(max(opened.tag_v2.get(_BITS_PER_SAMPLE, (8,))) > 8)
    if opened.format == "PNG":
        return any(";16" in str(tile[3]) for tile in opened.tile)
    return opened.format == "PPM" and _largest_level(opened) > 255


def _largest_level(opened: Any) -> int:
    """Return the level of a PPM's white."""
    arguments = opened.tile[0][3]
    return 255 if isinstance(arguments, str) else int(arguments[-1])


def _deep_color(path: Location, opened: Any, *, with_alpha: bool) -> NDArray[Any]:
    """Return colors of more than eight bits a channel."""
    opencv = _import_opencv()
    has_alpha = with_alpha and opened.has_transparency_data
    orientation = 1 if opened.format == "TIFF" else opened.getexif().get(_ORIENTATION, 1)
    largest = _largest_level(opened) if opened.format == "PPM" else 65535
    opened.load()  # Pillow notices damage that OpenCV passes over
    # Of text, OpenCV wants the last line to end.
    content = np.frombuffer(path.read_bytes() + b"\n", np.uint8)
    levels = opencv.imdecode(content, opencv.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.ndim != 3:
        raise _ImageError("its colors have more than eight bits in a form that is not known")
    if opened.format == "PPM":  # whose white may be any level: as Pillow has it where it is gray
        levels = np.rint(levels * (65535.0 / largest)).astype(np.uint16)
    colors = _reversed_colors(levels if has_alpha else levels[..., :3])
    return np.ascontiguousarray(_UPRIGHT.get(orientation, np.asarray)(colors))


def _reversed_colors(image: NDArray[Any]) -> NDArray[Any]:
    """Return colors as OpenCV orders them, or back: blue first."""
    return np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])


def _import_opencv() -> Any:
    opencv = import_from_extra(
        "cv2", package="OpenCV", extra="images", purpose="images with 16 bits for each color"
    )
    opencv.utils.logging.setLogLevel(0)  # it would write of odd tags to standard error
    return opencv


def _import_pillow(module: str) -> Any:
    return import_from_extra(
        f"PIL.{module}", package="Pillow", extra="plot", purpose="reading and writing images"
    )


class ImageFile(TableFile):
    """An image: a row for each pixel, line by line, with its colors.

    Levels of 8 and of 16 bits are brought to 0 to 1; others are as the file has them.
    """

    kind = "image"

    def __init__(self, path: Location) -> None:
        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        self.n_rows, levels = image_header(path)
        dtype = np.dtype(np.float32) if levels in _LARGEST else levels
        self.columns = tuple(Column(name, str(dtype), dtype) for name in _COLORS)

    def pieces(self, wanted: Wanted) -> Iterator[Piece]:
        """Return the pixels."""
        try:
            image = read_image(self._path)
        except DataError as error:
            wanted.damage.report(f"{self.origin} ({self.n_rows} rows)", error)
            return
        pixels = image.reshape(-1, 1 if image.ndim == 2 else 3)
        indices = column_numbers(self.columns, wanted.names)
        for first in range(0, len(pixels), wanted.n_rows):
            part = pixels[first : first + wanted.n_rows]
            if image.dtype in _LARGEST:
                part = part.astype(np.float32) / _LARGEST[image.dtype]
            colors = np.broadcast_to(part, (len(part), len(_COLORS)))
            yield Piece(chosen_columns(colors, indices), first)


FORMATS = (
    FileFormat(
        "image",
        lambda found, _: ImageFile(found.path),
        suffixes=(
            *(".bmp", ".gif", ".jpeg", ".jpg", ".png", ".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
            *(".tif", ".tiff", ".webp"),
        ),
        signatures=(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"),
    ),
)
