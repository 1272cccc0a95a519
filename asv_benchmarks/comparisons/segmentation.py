"""Segmenting a photograph of twelve megapixels.

This program makes the photograph from one of the two that
scikit-learn ships, enlarged by bicubic interpolation, with noise added as a camera's sensor would:
the enlargement alone would have fewer colors than a photograph taken at that size. It then times
`segment_image` in memory, from the array to the painted image, after a first call that compiles.
scikit-learn's mixture is fitted to some of the pixels, as nobody would wait for all.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn.mixture
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning

from fastgmm.extras import import_from_extra
from fastgmm.segmentation import Segmentation, segment_image
from harness.lines import megabytes, print_line
from harness.memory import peak_memory
from harness.targets import Target, report_targets

MOST_SECONDS = 5.0

_LINES_AT_ONCE = 256

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Timing:
    """What segmenting an image took.

    Attributes
    ----------
    name : str
        How it was segmented.
    seconds : float
        Shortest time.
    n_bytes : int or None
        Peak of memory above the image; None where the system does not say.
    n_passes : int
        Passes over the rows.
    log_likelihood : float
        Mean log-likelihood that the fit reached, in nats a pixel.
    psnr : float
        Peak signal-to-noise ratio of the new image, in dB.
    """

    name: str
    seconds: float
    n_bytes: int | None
    n_passes: int
    log_likelihood: float
    psnr: float


def photograph(name: str, height: int, width: int, noise: float, seed: int = 0) -> Image:
    """Return one of scikit-learn's photographs in another size.

    Parameters
    ----------
    name : str
        ``"china.jpg"`` or ``"flower.jpg"``.
    height, width : int
        Its new size in pixels.
    noise : float
        Standard deviation of the noise, in levels of 255.
    seed : int
        Seed of the noise.

    Returns
    -------
    ndarray of uint8 of shape (height, width, 3)
        The image.
    """
    pillow = import_from_extra(
        "PIL.Image", package="Pillow", extra="plot", purpose="enlarging an image"
    )
    small = pillow.fromarray(load_sample_image(name))
    image = np.array(small.resize((width, height), pillow.Resampling.BICUBIC))
    random = np.random.default_rng(seed)
    for first in range(0, height, _LINES_AT_ONCE):
        lines = image[first : first + _LINES_AT_ONCE]
        noisy = lines + np.float32(noise) * random.standard_normal(lines.shape, dtype=np.float32)
        lines[...] = np.clip(np.rint(noisy), 0, 255)
    return image


def measure(
    name: str, image: Image, n_components: int, rounds: int, **options: Any
) -> tuple[Timing, Segmentation]:
    """Time the segmentation of an image, once its kernels are compiled.

    Parameters
    ----------
    name : str
        What to call it.
    image : ndarray of shape (height, width, 3)
        The image.
    n_components : int
        Number of components.
    rounds : int
        How often it is timed.
    **options
        Of `segment_image`.

    Returns
    -------
    timing : Timing
        What it took.
    segmentation : Segmentation
        The last result.
    """
    segment_image(image[::4, ::4], n_components, random_state=0, **options)
    found: list[Segmentation] = []

    def segment() -> None:
        found[:] = [segment_image(image, n_components, random_state=0, **options)]

    n_bytes = peak_memory(segment).n_bytes
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        segment()
        seconds.append(time.perf_counter() - began)
    model = found[0].model
    timing = Timing(
        name,
        min(seconds),
        n_bytes,
        model.fit_info_.n_passes,
        model.lower_bound_,
        found[0].psnr(),
    )
    return timing, found[0]


def time_scikit_learn(image: Image, n_components: int, n_pixels: int) -> tuple[int, float, int]:
    """Time scikit-learn's fit of some of an image's pixels.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
        The image.
    n_components : int
        Number of components.
    n_pixels : int
        About how many pixels, at equal distances.

    Returns
    -------
    n_pixels : int
        Number of pixels.
    seconds : float
        Time of the fit.
    n_iterations : int
        Number of iterations.
    """
    rows = image.reshape(-1, 3)[:: max(1, image.shape[0] * image.shape[1] // n_pixels)] / 255.0
    mixture = sklearn.mixture.GaussianMixture(n_components, random_state=0)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(rows)
    return len(rows), time.perf_counter() - began, mixture.n_iter_


def main(arguments: list[str] | None = None) -> int:
    """Measure and print.

    Parameters
    ----------
    arguments : list of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0, or 1 if the target was missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default, what in (
        ("height", 3000, "lines of the image"),
        ("width", 4000, "pixels of a line"),
        ("components", 8, "components"),
        ("rounds", 3, "timings"),
        ("peer-pixels", 200_000, "pixels that scikit-learn fits; 0 for none"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, help=f"{what} (default: %(default)s)"
        )
    parser.add_argument(
        "--photograph",
        default="china.jpg",
        choices=("china.jpg", "flower.jpg"),
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=2.0,
        help="standard deviation of the noise, in levels of 255 (default: %(default)s)",
    )
    parser.add_argument(
        "--all", action="store_true", help="time other color spaces and the place, too"
    )
    options = parser.parse_args(arguments)
    image = photograph(options.photograph, options.height, options.width, options.noise)
    n_pixels = image.shape[0] * image.shape[1]
    print(
        f"{options.photograph}, enlarged to {options.width} × {options.height}, noise "
        f"{options.noise:g}: {n_pixels:,} pixels, {image.nbytes / 1e6:.0f} MB, "
        f"K={options.components}"
    )
    ways: dict[str, dict[str, Any]] = {"rgb": {}}
    if options.all:
        ways["lab"] = {"color_space": "lab"}
        ways["luv"] = {"color_space": "luv"}
        ways["rgb and place"] = {"spatial_weight": 1.0}
    print_line("colors", "seconds", "passes", "memory", "nats", "PSNR", width=10)
    timings = []
    for name, way in ways.items():
        timing, _ = measure(name, image, options.components, options.rounds, **way)
        timings.append(timing)
        print_line(
            name,
            f"{timing.seconds:.2f}",
            f"{timing.n_passes}",
            megabytes(timing.n_bytes),
            f"{timing.log_likelihood:.4f}",
            f"{timing.psnr:.2f} dB",
            width=10,
        )
    if options.peer_pixels:
        n_rows, seconds, n_iterations = time_scikit_learn(
            image, options.components, options.peer_pixels
        )
        print(
            f"scikit-learn's fit alone of {n_rows:,} of the pixels: {seconds:.2f} s, "
            f"{n_iterations} iterations"
        )
    target = Target(f"{n_pixels:,} pixels, rgb", MOST_SECONDS, "s", False, timings[0].seconds)
    return report_targets([target])


if __name__ == "__main__":
    sys.exit(main())
