"""The command ``segment``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fastgmm.cli import options
from fastgmm.cli.interruption import Interruption
from fastgmm.cli.output import MODEL_SUFFIX, check_model_path, check_not_read, print_result

if TYPE_CHECKING:
    from fastgmm.data.source import Source
    from fastgmm.estimators.gaussian_mixture import GaussianMixture


def segment(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file.", show_default=False)],
    n_components: options.NComponents,
    output: Annotated[
        list[Path],
        options.option(
            "File to write: the segmented image, or the mixture of colors if it ends in .fgm. "
            "Give it twice for both.",
            "--output",
            "-o",
            metavar="FILE",
        ),
    ],
    side_by_side: Annotated[
        Path | None,
        options.option(
            "File to write the original and the segmented image to, side by side.", metavar="IMAGE"
        ),
    ] = None,
    palette: Annotated[
        Path | None,
        options.option(
            "File to write the segmented image to, with a palette and an index per pixel.",
            metavar="FILE.png",
        ),
    ] = None,
    color_space: Annotated[
        Literal["rgb", "lab", "luv"],
        options.shown("Color space: RGB levels, CIE L*a*b* or CIE L*u*v*.", panel=options.MODEL),
    ] = "rgb",
    spatial_weight: Annotated[
        float,
        options.shown(
            "Weight of the pixel coordinates; with 1, the image is as long as the distance "
            "from black to white.",
            panel=options.MODEL,
            min=0.0,
        ),
    ] = 0.0,
    covariance_type: options.CovarianceType = "full",
    init_params: options.InitParams = "kmeans",
    memory: options.Memory = "1GB",
    *,
    em: options.Em,
    printing: options.Printing,
) -> int:
    """Segment an image: paint each pixel in the mean color of its component.

    Example: fastgmm segment photo.jpg -k 8 -o painted.png
    """
    from fastgmm.data.formats.images import (
        check_indexed_image,
        holds_levels,
        image_format,
        read_image,
        write_image,
    )

    models = [path for path in output if path.suffix == MODEL_SUFFIX]
    painted = [path for path in output if path.suffix != MODEL_SUFFIX]
    if len(models) > 1 or len(painted) > 1:
        raise ValueError("--output names several images, or several models: give one of each")
    model = models[0] if models else None
    images = [*painted, *(path for path in (side_by_side,) if path is not None)]
    formats = {image_format(path): path for path in images}
    if palette is not None:
        check_indexed_image(palette, n_components)
    check_model_path(model, [str(image)], force=printing.force)
    _check_different([*images, *(path for path in (palette, model) if path is not None)])
    for path in (*images, palette):
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
    import numpy as np

    from fastgmm import segment_image
    from fastgmm.cli.fit_with_progress import end_of_fit, fit_with_progress, status_of_fit
    from fastgmm.segmentation.pixels import Levels

    interruption: Interruption = context.obj

    def fit(mixture: GaussianMixture, rows: Source) -> None:
        fit_with_progress(mixture, rows, interruption=interruption, quiet=printing.quiet)

    if not np.isfinite(pixels).all():
        raise ValueError(
            f"{str(image)!r} has pixels that are no numbers or infinite: replace their levels"
        )
    segmentation = segment_image(
        pixels,
        n_components,
        color_space=color_space,
        spatial_weight=spatial_weight,
        memory_budget=memory,
        fit=fit,
        covariance_type=covariance_type,
        init_params=init_params,
        **vars(em),
    )
    for path in images:
        written = segmentation.image if path in painted else segmentation.side_by_side()
        if not holds_levels(path, pixels):
            written = Levels.of(pixels).to_unit(written)
        write_image(path, written)
    n_bytes = None if palette is None else segmentation.save_indexed(palette)
    if model is not None:
        segmentation.model.save(model)
    mixture, psnr = segmentation.model, segmentation.psnr()
    document = {
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
        "n_passes": mixture.fit_info_.n_passes,
        "seconds": mixture.fit_info_.seconds,
        "weights": mixture.weights_,
        "colors": segmentation.palette,
        "psnr": psnr,
        "output": painted[0] if painted else None,
        "side_by_side": side_by_side,
        "palette": palette,
        "palette_bytes": n_bytes,
        "model": model,
    }
    pairs = {
        "image": f"{width} × {height} pixels",
        "end": end_of_fit(mixture, interruption),
        "psnr": f"{psnr:.2f} dB",
        "output": painted[0] if painted else None,
        "side by side": side_by_side,
        "palette": None if n_bytes is None else f"{palette}, {n_bytes:,} bytes",
        "model": model,
    }
    print_result(printing.as_json, document, pairs)
    return status_of_fit(interruption, f"the result so far is in {str(output[0])!r}")


def _check_different(paths: Sequence[Path]) -> None:
    """Raise if two results would be written to the same file."""
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise ValueError(f"two results are to be {str(path)!r}: give each a name of its own")
