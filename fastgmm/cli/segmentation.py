"""The command ``segment``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import typer

from fastgmm.cli import options
from fastgmm.cli.interruption import Interruption
from fastgmm.cli.models import check_model_path
from fastgmm.cli.output import check_not_read, print_json, print_pairs

if TYPE_CHECKING:
    from fastgmm.data.source import Source
    from fastgmm.estimators.gaussian_mixture import GaussianMixture
    from fastgmm.segmentation import Segmentation


def segment(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file.", show_default=False)],
    n_components: options.NComponents,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="IMAGE",
            help="File to write the segmented image to.",
            show_default=False,
        ),
    ],
    side_by_side: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE",
            help="File to write the original and the segmented image to, side by side.",
            show_default=False,
        ),
    ] = None,
    palette: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="File to write the segmented image to, with a palette and an index per pixel.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="File to save the mixture of colors to, ending in .fgm.",
            show_default=False,
        ),
    ] = None,
    color_space: Annotated[
        Literal["rgb", "lab", "luv"],
        typer.Option(help="Color space: RGB levels, CIE L*a*b* or CIE L*u*v*."),
    ] = "rgb",
    spatial_weight: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Weight of the pixel coordinates; with 1, the image is as long as the distance "
            "from black to white.",
        ),
    ] = 0.0,
    covariance_type: options.CovarianceType = "full",
    tol: options.Tolerance = 1e-3,
    max_iter: options.MaxIter = 100,
    n_init: options.NInit = 1,
    init_params: options.InitParams = "kmeans",
    reg_covar: options.RegCovar = 1e-6,
    random_state: options.RandomState = None,
    memory: options.Memory = "1GB",
    n_jobs: options.NJobs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Segment an image: paint each pixel in the mean color of its component."""
    from fastgmm.data.formats.images import (
        check_indexed_image,
        holds_levels,
        image_format,
        read_image,
        write_image,
    )

    pictures = [path for path in (output, side_by_side) if path is not None]
    formats = {image_format(path): path for path in pictures}
    if palette is not None:
        check_indexed_image(palette, n_components)
    check_model_path(model)
    _check_different([*pictures, *(path for path in (palette, model) if path is not None)])
    for path in (*pictures, palette):
        check_not_read(path, [str(image)])
    pixels = read_image(image, with_alpha=True)
    height, width = pixels.shape[:2]
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    if has_alpha and "JPEG" in formats:
        raise ValueError(
            f"{str(image)!r} has transparent pixels, which JPEG does not support: write a .png, "
            f"not {str(formats['JPEG'])!r}"
        )
    if has_alpha and palette is not None:
        check_indexed_image(palette, n_components + 1)
    if height * width < n_components:
        raise ValueError(
            f"{str(image)!r} has {height * width} pixels, too few for {n_components} components: "
            "choose a smaller -k"
        )
    # Loaded only now, so that errors are raised at once.
    from fastgmm import segment_image
    from fastgmm.cli.watched_fit import fit_watched, status_of_fit

    interruption: Interruption = context.obj

    def fit(mixture: GaussianMixture, rows: Source) -> None:
        fit_watched(mixture, rows, interruption, quiet=quiet)

    scale = _Scale.of(str(image), pixels)
    scaled = scale.from_zero_to_one(pixels)
    segmentation = segment_image(
        scaled,
        n_components,
        color_space=color_space,
        spatial_weight=spatial_weight,
        memory_budget=memory,
        fit=fit,
        covariance_type=covariance_type,
        tol=tol,
        max_iter=max_iter,
        n_init=n_init,
        init_params=init_params,
        reg_covar=reg_covar,
        random_state=random_state,
        n_jobs=n_jobs,
    )
    as_read = pixels, scale.levels(segmentation.image)
    for path in pictures:
        both = as_read if holds_levels(path, pixels) else (scaled, segmentation.image)
        write_image(path, both[1] if path == output else np.concatenate(both, axis=1))
    n_bytes = None if palette is None else segmentation.save_indexed(palette)
    if model is not None:
        segmentation.model.save(model)
    written = {
        "output": output,
        "side_by_side": side_by_side,
        "palette": palette,
        "palette_bytes": n_bytes,
        "model": model,
    }
    colors = scale.levels(segmentation.palette)
    _summarize(
        image, segmentation, colors, written, color_space, spatial_weight, interruption, as_json
    )
    return status_of_fit(interruption, f"the image so far is in {str(output)!r}")


class _Scale(NamedTuple):
    """How levels of an image are brought to 0 to 1 and back.

    Attributes
    ----------
    low, high : float
        The levels that become 0 and 1.
    dtype : dtype
        Type of the levels.
    """

    low: float
    high: float
    dtype: Any

    @classmethod
    def of(cls, name: str, pixels: Any) -> _Scale:
        """Return the scale of an image: its own range where its type sets none."""
        low, high = float(pixels.min()), float(pixels.max())
        if not (-math.inf < low and high < math.inf):
            raise ValueError(
                f"{name!r} has pixels that are no numbers or infinite: replace their levels"
            )
        is_unit = pixels.dtype.kind == "f" and low >= 0.0 and high <= 1.0
        if is_unit or pixels.dtype in (np.uint8, np.uint16):
            return cls(0.0, 1.0, None)
        return cls(low, high if high > low else low + 1.0, pixels.dtype)

    def from_zero_to_one(self, pixels: Any) -> Any:
        """Return levels from 0 to 1; those of 8 and 16 bits as they are."""
        if self.dtype is None:
            return pixels
        return (pixels.astype(float) - self.low) / (self.high - self.low)

    def levels(self, image: Any) -> Any:
        """Return the levels that an image from 0 to 1 stands for."""
        if self.dtype is None:
            return image
        levels = image * (self.high - self.low) + self.low
        return (levels.round() if self.dtype.kind in "iu" else levels).astype(self.dtype)


def _check_different(paths: Sequence[Path]) -> None:
    """Raise if two results would be written to the same file."""
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise ValueError(f"two results are to be {str(path)!r}: give each a name of its own")


def _summarize(
    image: Path,
    segmentation: Segmentation,
    colors: Any,
    written: dict[str, Any],
    color_space: str,
    spatial_weight: float,
    interruption: Interruption,
    as_json: bool,
) -> None:
    """Print what was found and written."""
    from fastgmm.cli.watched_fit import end_of_fit

    mixture = segmentation.model
    height, width = segmentation.labels.shape
    psnr = segmentation.psnr()
    if as_json:
        info = mixture.fit_info_
        print_json(
            {
                "image": image,
                "width": width,
                "height": height,
                "n_components": mixture.n_components,
                "covariance_type": mixture.covariance_type,
                "color_space": color_space,
                "spatial_weight": spatial_weight,
                "log_likelihood": mixture.lower_bound_,
                "converged": mixture.converged_,
                "interrupted": interruption.signal_number is not None,
                "n_passes": info.n_passes,
                "seconds": info.seconds,
                "weights": mixture.weights_,
                "colors": colors,
                "psnr": psnr,
                **written,
            }
        )
        return
    pairs: dict[str, object] = {
        "image": f"{width} × {height} pixels",
        "end": end_of_fit(mixture, interruption),
        "psnr": f"{psnr:.2f} dB",
        "output": written["output"],
    }
    if written["side_by_side"] is not None:
        pairs["side by side"] = written["side_by_side"]
    if written["palette"] is not None:
        pairs["palette"] = f"{written['palette']}, {written['palette_bytes']:,} bytes"
    print_pairs(pairs)
