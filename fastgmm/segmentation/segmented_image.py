"""An image in the mean colors of the components of a mixture over its pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.formats.images import write_indexed_image
from fastgmm.data.options import DEFAULT_BUDGET, ReadingOptions, bytes_of_memory
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.segmentation.color_spaces import ColorSpace, levels_of
from fastgmm.segmentation.pixels import DistinctColors, Image, Pixels, PixelSource


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """An image with each pixel in the color of its component's mean.

    Attributes
    ----------
    original : ndarray of shape (height, width) or (height, width, n_channels)
        The original image.
    image : ndarray
        The segmented image, of the type and shape of `original`. Its alpha channel, if it has one,
        is that of `original`.
    labels : ndarray of unsigned integers of shape (height, width)
        The component of each pixel, in the smallest type that holds them: uint8 for up to 256.
    palette : ndarray of shape (n_components, n_colors)
        The components' colors, in the type of `original`, without alpha.
    model : GaussianMixture
        The mixture, fitted to colors of the space that was asked for: red, green and blue from 0
        to 1, or L* from 0 to 100 and the others in its unit; then line and column of the pixel, if
        they have a weight.
    """

    original: Image
    image: Image
    labels: npt.NDArray[np.unsignedinteger]
    palette: Image
    model: GaussianMixture

    def side_by_side(self) -> Image:
        """Return the original and, to its right, the segmented image.

        Returns
        -------
        ndarray of shape (height, 2 * width) or (height, 2 * width, n_channels)
            Both images, in their type.
        """
        return np.concatenate([self.original, self.image], axis=1)

    def psnr(self) -> float:
        """Return the peak signal-to-noise ratio of the segmented image to the original.

        Returns
        -------
        float
            ``10 log10(peak² / e)`` in dB, with white less black as peak and e the mean squared
            difference over all pixels and channels; infinite if there is none. A pixel counts as
            far as it is opaque. Not a number if all of them are transparent.
        """
        pixels, painted = Pixels(self.original, "rgb", 0.0), Pixels(self.image, "rgb", 0.0)
        squares = weight = 0.0
        for before, after in zip(pixels.strips(), painted.strips(), strict=True):
            differences = before.levels.astype(np.float64)
            differences -= after.levels
            differences *= differences
            if before.alpha is None:
                squares += float(differences.sum())
                weight += differences.size
            else:
                opacity = before.alpha.astype(np.float64) - pixels.levels.low
                squares += float(opacity @ differences.sum(axis=1))
                weight += pixels.n_colors * float(opacity.sum())
        if not weight:
            return math.nan
        peak = pixels.levels.high - pixels.levels.low
        return 10.0 * math.log10(peak**2 * weight / squares) if squares else math.inf

    def save_indexed(self, path: str | Path) -> int:
        """Write the segmented image as a PNG with a palette and an index for each pixel.

        Channels have eight bits there. Pixels that are less than half opaque become transparent,
        all others opaque.

        Parameters
        ----------
        path : str or Path
            Where it is to be: a name that ends in .png.

        Returns
        -------
        int
            Size of the file in bytes.

        Raises
        ------
        ImportError
            If Pillow is not installed.
        ValueError
            If the name does not end in .png, or the palette has more than 256 colors, of which
            transparency needs one.
        """
        pixels = Pixels(self.original, "rgb", 0.0)
        hidden = None
        if pixels.has_alpha:
            hidden = pixels.levels.to_unit(self.original[..., -1]) < 0.5
        levels = np.rint(255.0 * pixels.levels.to_unit(self.palette)).astype(np.uint8)
        palette = np.broadcast_to(levels, (len(levels), 3))
        return write_indexed_image(path, self.labels, palette, hidden=hidden)


def segment_image(
    image: npt.ArrayLike,
    n_components: int,
    *,
    color_space: ColorSpace = "rgb",
    spatial_weight: float = 0.0,
    memory_budget: int | str = DEFAULT_BUDGET,
    fit: Callable[[GaussianMixture, Source], object] | None = None,
    **parameters: Any,
) -> Segmentation:
    """Segment an image: fit a mixture to its colors and paint each pixel in its component's mean.

    Where colors repeat, as in images of eight bits a channel, the mixture is fitted to the distinct
    colors with their numbers of pixels as weights, which is the fit of all pixels for less. The
    image is processed a few lines at a time.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, n_channels)
        Gray levels (1 channel) or colors of sRGB (3): uint8, uint16, or floats from 0 to 1. Other
        integers and floats are scaled, their lowest level to black and their highest to white. The
        last of 2 or of 4 channels is alpha, opaque at the highest level; it is the weight of the
        pixel in the fit.
    n_components : int
        Number of components, and of colors of the segmented image.
    color_space : {"rgb", "lab", "luv"}, default="rgb"
        Space of the colors that the mixture is fitted to: the levels as they are, CIE L*a*b* or CIE
        L*u*v*, where distances are closer to those that the eye perceives. For gray images it is L*
        alone.
    spatial_weight : float, default=0.0
        Above 0 for two features more, line and column of the pixel. They are scaled so that the
        longer side of the image is this many times as long as the distance from black to white.
    memory_budget : int or str, default=10**9
        How much memory the rows may take, about, where they are not distinct colors: bytes, or
        text such as ``"2GB"``. If all of them need more than half of it, they are made anew in
        each pass.
    fit : callable, optional
        Called with the model and the rows in place of ``model.fit``, for instance to show progress.
    **parameters
        Of the `GaussianMixture`, such as ``covariance_type`` or ``random_state``.

    Returns
    -------
    Segmentation
        The segmented image, with its labels, palette and model.

    Raises
    ------
    ValueError
        If the array is no image, or has fewer pixels or distinct colors than the mixture has
        components, or if a parameter has a value that it cannot have.

    Notes
    -----
    The likelihood of a mixture with its own covariances does not change when features are scaled:
    then `spatial_weight` says where the fit starts, and how much the place counts in the result is
    found from the image. With ``covariance_type="spherical"`` or "tied_spherical" the weight is one
    of the model.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import segment_image
    >>> image = np.array([[10, 11, 12, 200, 202], [11, 12, 10, 202, 204]], dtype=np.uint8)
    >>> segment_image(image, 2, random_state=0).image
    array([[ 11,  11,  11, 202, 202],
           [ 11,  11,  11, 202, 202]], dtype=uint8)
    """
    if isinstance(image, np.ma.MaskedArray) and np.ma.is_masked(image):
        line, column = np.argwhere(image.mask)[0, :2]
        raise ValueError(
            f"the image is masked, first in line {line}, column {column}, counted from 0: fill "
            "such pixels in, as with image.filled(0), or give an alpha channel that is 0 there"
        )
    pixels = Pixels(np.asarray(image), color_space, spatial_weight)
    if parameters.get("noise_volume") is not None:
        raise ValueError(
            "noise_volume is not for segment_image: noise has no color to paint its pixels in"
        )
    model = GaussianMixture(n_components, **parameters)
    if pixels.n_pixels < n_components:
        raise ValueError(
            f"the image has {pixels.n_pixels} pixels, too few for n_components={n_components}"
        )
    distinct = DistinctColors.of(pixels)
    rows: Source
    if distinct is None:
        rows = PixelSource(pixels, ReadingOptions(bytes_of_memory(memory_budget)))
    else:
        visible = int(np.count_nonzero(distinct.weights))
        if visible < n_components:
            raise ValueError(
                f"the image has {visible} distinct colors, too few for n_components={n_components}"
            )
        rows = ArraySource(distinct.rows(), distinct.weights)
    if fit is None:
        model.fit(rows)
    else:
        fit(model, rows)
    labels = _labels(model, rows, pixels, distinct)
    levels = levels_of(model.means_[:, : pixels.n_colors].astype(np.float64), color_space)
    palette = pixels.levels.from_unit(levels, pixels.image.dtype)
    return Segmentation(pixels.image, _painted(pixels, labels, palette), labels, palette, model)


def _labels(
    model: GaussianMixture, rows: Source, pixels: Pixels, distinct: DistinctColors | None
) -> npt.NDArray[np.unsignedinteger]:
    """Return the component of each pixel, shape (height, width)."""
    dtype = np.min_scalar_type(len(model.means_) - 1)
    if distinct is not None:
        return distinct.of_pixels(model.predict(rows).astype(dtype))
    labels = np.empty(pixels.n_pixels, dtype=dtype)
    first = 0
    for block in model.predict_blocks(rows):
        labels[first : first + len(block)] = block
        first += len(block)
    return labels.reshape(pixels.height, pixels.width)


def _painted(pixels: Pixels, labels: npt.NDArray[np.unsignedinteger], palette: Image) -> Image:
    """Return each pixel in the color of its component, as opaque as it was."""
    painted = np.empty(pixels.image.shape, dtype=pixels.image.dtype)
    for strip in pixels.strips():
        channels = painted[strip.lines].reshape(len(strip.levels), -1)
        # "clip" spares a check that costs more than the work
        colors = np.take(palette, labels[strip.lines].ravel(), axis=0, mode="clip")
        channels[:, : pixels.n_colors] = colors
        if strip.alpha is not None:
            channels[:, -1] = strip.alpha
    return painted
