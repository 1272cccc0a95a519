"""Cutting a picture into regions of like colour: a mixture over its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastgmm.estimators.gaussian_mixture import GaussianMixture


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A picture with each pixel in the colour of its component's mean.

    Attributes
    ----------
    image : ndarray of shape (height, width, n_channels) or (height, width)
        The picture, of the type and shape of the one given.
    labels : ndarray of shape (height, width)
        The component of each pixel.
    model : GaussianMixture
        The mixture, fitted to colours between 0 and 1.
    """

    image: NDArray[Any]
    labels: NDArray[np.int64]
    model: GaussianMixture


def segment_image(
    image: NDArray[Any],
    model: GaussianMixture,
    *,
    fit: Callable[[GaussianMixture, NDArray[np.float32]], object] | None = None,
) -> Segmentation:
    """Fit a mixture to a picture's colours and paint each pixel in its component's mean.

    Parameters
    ----------
    image : ndarray of shape (height, width, n_channels) or (height, width)
        Grey levels or colours of type uint8 or uint16, or floats between 0 and 1.
    model : GaussianMixture
        The mixture to fit, in place.
    fit : callable, optional
        Called with the model and the rows in place of ``model.fit``, for instance to show progress.

    Returns
    -------
    Segmentation
        The new picture and what it was made from.

    Raises
    ------
    ValueError
        If the array is no picture, or has fewer pixels than the mixture has components.
    """
    if image.ndim not in (2, 3) or image.dtype.kind not in "uf":
        raise ValueError(
            "an image is an array of shape (height, width) or (height, width, n_channels) of "
            f"unsigned integers or floats; got shape {image.shape} and type {image.dtype}"
        )
    n_channels = 1 if image.ndim == 2 else image.shape[2]
    largest = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    # float32 holds every level of both integer types exactly enough, in half the memory.
    rows = image.reshape(-1, n_channels).astype(np.float32)
    rows /= np.float32(largest)
    if fit is None:
        model.fit(rows)
    else:
        fit(model, rows)
    labels = model.predict(rows)
    colours = np.clip(model.means_ * largest, 0, largest)
    if image.dtype.kind == "u":
        colours = np.rint(colours)
    painted = colours.astype(image.dtype)[labels]
    return Segmentation(painted.reshape(image.shape), labels.reshape(image.shape[:2]), model)
