"""The pixels of an image as rows: their colors, where they are, and how opaque."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.options import ReadingOptions
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.batch import Batch
from fastgmm.data.sources.stream import StreamSource
from fastgmm.segmentation.color_spaces import (
    COLOR_SPACES,
    LARGEST,
    ColorSpace,
    coordinates,
    decoded,
)

_PIXELS_AT_ONCE = 2**18

_MOST_BITS = 24
"""A table of more colors would be larger than the images that have them."""

_WORTHWHILE = 2
"""How many pixels there must be to a color for the counts to pay."""

Image = npt.NDArray[Any]


class Strip(NamedTuple):
    """Some lines of an image."""

    lines: slice  # which lines
    levels: Image  # (n_pixels, 1) or (n_pixels, 3): gray levels, or colors
    alpha: Image | None  # (n_pixels,): how opaque the pixels are, if the image says


class Levels(NamedTuple):
    """The range of an image's levels: that of its type, or its own where the type sets none."""

    low: float  # black and white; transparent and opaque
    high: float  # black and white; transparent and opaque

    @classmethod
    def of(cls, image: Image) -> Levels:
        """Return the range of an image's levels."""
        if image.dtype in (np.uint8, np.uint16):
            return cls(0.0, float(np.iinfo(image.dtype).max))
        low, high = float(image.min()), float(image.max())
        if not (-math.inf < low and high < math.inf):
            raise ValueError(
                "the image has pixels that are no numbers or infinite: replace their levels"
            )
        if image.dtype.kind == "f" and low >= 0.0 and high <= 1.0:
            return cls(0.0, 1.0)
        # One level is black, at any size.
        return cls(low, high if high > low else max(low + 1.0, math.nextafter(low, math.inf)))

    def to_unit(self, levels: Image) -> Image:
        """Return levels from 0 to 1."""
        if self == (0.0, 1.0):
            return levels
        return (levels.astype(np.float64) - self.low) / (self.high - self.low)

    def from_unit(self, levels: Image, dtype: np.dtype[Any]) -> Image:
        """Return what levels from 0 to 1 stand for."""
        found = levels * (self.high - self.low) + self.low
        return (np.rint(found) if dtype.kind in "iu" else found).astype(dtype)


class Pixels:
    """The pixels of an image."""

    def __init__(self, image: Image, space: ColorSpace, spatial_weight: float) -> None:
        _check_image(image)
        if space not in COLOR_SPACES:
            raise ValueError(f"color_space must be one of {', '.join(COLOR_SPACES)}; got {space!r}")
        if not 0.0 <= spatial_weight < math.inf:
            raise ValueError(f"spatial_weight must be a number of at least 0; got {spatial_weight}")
        self.image = image
        self.space: ColorSpace = space
        self.spatial_weight = float(spatial_weight)
        self.height, self.width = image.shape[:2]
        self.n_pixels = self.height * self.width
        n_channels = 1 if image.ndim == 2 else image.shape[2]
        self.has_alpha = n_channels in (2, 4)
        self.n_colors = n_channels - self.has_alpha
        self.n_features = self.n_colors + 2 * (self.spatial_weight > 0.0)
        self.levels = Levels.of(image)
        self._decoded_levels: npt.NDArray[np.float32] | None = None
        if image.dtype in (np.uint8, np.uint16):
            every_level = np.arange(self.levels.high + 1.0) / self.levels.high
            self._decoded_levels = decoded(every_level, space).astype(np.float32)

    def strips(self) -> Iterator[Strip]:
        """Yield the image from the top to the bottom, some lines at a time."""
        step = max(1, _PIXELS_AT_ONCE // self.width)
        for first in range(0, self.height, step):
            lines = slice(first, min(first + step, self.height))
            channels = self.image[lines].reshape((lines.stop - first) * self.width, -1)
            alpha = channels[:, -1] if self.has_alpha else None
            yield Strip(lines, channels[:, : self.n_colors], alpha)

    def colors(self, levels: Image) -> npt.NDArray[np.float32]:
        """Return colors in the space of the mixture."""
        if self._decoded_levels is not None:
            linear = self._decoded_levels[levels]
        else:
            unit = self.levels.to_unit(levels).astype(np.float32)
            linear = decoded(unit, self.space).astype(np.float32)
        return coordinates(linear, self.space).astype(np.float32, copy=False)

    def rows(self, strip: Strip) -> npt.NDArray[np.float32]:
        """Return the rows of some lines."""
        colors = self.colors(strip.levels)
        if self.n_features == self.n_colors:
            return colors
        rows = np.empty((len(colors), self.n_features), dtype=np.float32)
        rows[:, : self.n_colors] = colors
        step = self.spatial_weight * LARGEST[self.space] / max(self.height, self.width)
        lines = np.arange(strip.lines.start, strip.lines.stop) * step
        rows[:, -2] = np.repeat(lines, self.width)
        rows[:, -1] = np.tile(np.arange(self.width) * step, len(lines))
        return rows


class PixelSource(StreamSource):
    """The pixels of an image, a row for each.

    They are kept from pass to pass if they fit in half the memory budget, and else made anew.
    """

    _stays_the_same = True

    def __init__(self, pixels: Pixels, options: ReadingOptions) -> None:
        super().__init__(
            dtype=np.float32,
            n_features=pixels.n_features,
            feature_names=None,
            has_weights=pixels.has_alpha,
            options=options,
            expected_samples=pixels.n_pixels,
        )
        self._pixels = pixels

    def description(self) -> str:
        """Return what messages call the image."""
        return "the image"

    def _batches(self) -> Iterator[Batch]:
        """Yield the rows of strips; an invisible pixel has no weight."""
        pixels = self._pixels
        for strip in pixels.strips():
            weights = None if strip.alpha is None else pixels.levels.to_unit(strip.alpha)
            first = strip.lines.start * pixels.width
            yield Batch(pixels.rows(strip), weights, self.description(), first)

    def _identity(self) -> dict[str, Any]:
        """Return what distinguishes the rows from those of other images."""
        pixels = self._pixels
        lines = pixels.image.reshape(pixels.height, -1)
        return {
            "kind": "picture",
            "shape": list(pixels.image.shape),
            "color_space": pixels.space,
            "spatial_weight": pixels.spatial_weight,
            "digest": ArraySource(lines).fingerprint()["digest"],
        }


@dataclass(frozen=True, slots=True, eq=False)
class DistinctColors:
    """The distinct colors of an image of integers, and how often each occurs.

    A row of weight w counts as w copies of it, so that a mixture of the distinct colors with their
    counts as weights is that of all pixels. A photograph of twelve megapixels has a tenth as many
    colors.
    """

    pixels: Pixels  # the image
    codes: npt.NDArray[np.intp]
    """(n_colors,): each color as a single number, its channels' bits one after the other. They
    ascend.
    """
    weights: npt.NDArray[np.float64]
    """(n_colors,): number of pixels of each color, each as far as it is opaque."""

    @classmethod
    def of(cls, pixels: Pixels) -> DistinctColors | None:
        """Return the distinct colors of an image, or None where its pixels are to be used."""
        dtype = pixels.image.dtype
        n_bits = 8 * dtype.itemsize * pixels.n_colors
        if dtype.kind != "u" or n_bits > _MOST_BITS or pixels.n_features > pixels.n_colors:
            return None
        # Memory of colors that do not occur is never touched.
        counts = np.zeros(2**n_bits, dtype=np.min_scalar_type(pixels.n_pixels))
        opacity = np.zeros(2**n_bits) if pixels.has_alpha else None
        for strip in pixels.strips():
            codes = _codes(strip.levels)
            np.add.at(counts, codes, counts.dtype.type(1))
            if opacity is not None and strip.alpha is not None:
                np.add.at(opacity, codes, strip.alpha)
        present = np.flatnonzero(counts)
        if _WORTHWHILE * len(present) > pixels.n_pixels:
            return None
        if opacity is None:
            weights = counts[present].astype(np.float64)
        else:
            weights = pixels.levels.to_unit(opacity[present])
        return cls(pixels, present, weights)

    def rows(self) -> npt.NDArray[np.float32]:
        """Return the colors in the space of the mixture, shape (n_colors, n_features)."""
        dtype, n_channels = self.pixels.image.dtype, self.pixels.n_colors
        n_bits = 8 * dtype.itemsize
        levels = np.empty((len(self.codes), n_channels), dtype=dtype)
        for channel in range(n_channels):
            shifted = self.codes >> (n_bits * (n_channels - 1 - channel))
            levels[:, channel] = shifted & (2**n_bits - 1)
        return self.pixels.colors(levels)

    def of_pixels(self, values: npt.NDArray[np.unsignedinteger]) -> Image:
        """Return for each pixel what was found for its color."""
        pixels = self.pixels
        table = np.zeros(int(self.codes[-1]) + 1, dtype=values.dtype)
        table[self.codes] = values
        found = np.empty((pixels.height, pixels.width), dtype=values.dtype)
        for strip in pixels.strips():
            found[strip.lines] = table[_codes(strip.levels)].reshape(-1, pixels.width)
        return found


def _codes(levels: Image) -> npt.NDArray[np.intp]:
    """Return colors as single numbers."""
    codes = levels[:, 0].astype(np.intp)
    for channel in range(1, levels.shape[1]):
        codes <<= 8 * levels.dtype.itemsize
        codes |= levels[:, channel]
    return codes


def _check_image(image: Image) -> None:
    """Raise if an array is no image."""
    shape = image.shape
    is_image = len(shape) == 2 or (len(shape) == 3 and 1 <= shape[2] <= 4)
    if not is_image or image.dtype.kind not in "iuf" or image.dtype.itemsize > 8:
        raise ValueError(
            "an image is an array of shape (height, width) or (height, width, n_channels), with 1 "
            f"to 4 channels, of integers or floats; got shape {shape} and type {image.dtype}"
        )
    if not image.size:
        raise ValueError(f"an image has one pixel at least; got shape {shape}")
