"""The distinct colors of an image and how often each occurs.

A row of weight w counts as w copies of it, so that a mixture of the distinct colors with their
counts as weights is that of all pixels. A photograph of twelve megapixels has a tenth as many
colors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgmm.segmentation.pixels import Image, Pixels

_MOST_BITS = 24
"""A table of more colors would be larger than the images that have them."""

_WORTHWHILE = 2
"""How many pixels there must be to a color for the counts to pay."""


@dataclass(frozen=True, slots=True, eq=False)
class DistinctColors:
    """The distinct colors of an image of integers.

    Attributes
    ----------
    pixels : Pixels
        The image.
    codes : ndarray of intp of shape (n_colors,)
        Each color as a single number, its channels' bits one after the other. They ascend.
    weights : ndarray of shape (n_colors,)
        Number of pixels of each color, each as far as it is opaque.
    """

    pixels: Pixels
    codes: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float64]

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
