"""The command ``segment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.interruption import Interruption
from fastgmm.cli.models import check_model_path
from fastgmm.cli.output import check_not_read, print_json, print_pairs


def segment(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.", show_default=False)],
    n_components: options.NComponents,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="IMAGE",
            help="Where to write the new picture.",
            show_default=False,
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Where to save the mixture of colours: a .fgm file.",
            show_default=False,
        ),
    ] = None,
    covariance_type: options.CovarianceType = "full",
    tol: options.Tolerance = 1e-3,
    max_iter: options.MaxIter = 100,
    n_init: options.NInit = 1,
    init_params: options.InitParams = "kmeans",
    random_state: options.RandomState = None,
    n_jobs: options.NJobs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Paint each pixel of a picture in the mean colour of its component."""
    from fastgmm.data.images import image_format, read_image, write_image

    image_format(output)
    check_model_path(model)
    check_not_read(output, [str(image)])
    pixels = read_image(image)
    height, width = pixels.shape[:2]
    if height * width < n_components:
        raise ValueError(
            f"{str(image)!r} has {height * width} pixels, too few for {n_components} components: "
            "choose a smaller -k"
        )
    # Loaded only now, so that mistakes are told at once.
    from fastgmm import GaussianMixture
    from fastgmm.cli.watched_fit import end_of_fit, fit_watched, status_of_fit
    from fastgmm.segmentation import segment_image

    mixture = GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        tol=tol,
        max_iter=max_iter,
        n_init=n_init,
        init_params=init_params,
        random_state=random_state,
        n_jobs=n_jobs,
    )
    interruption: Interruption = context.obj

    def fit(mixture: GaussianMixture, rows: Any) -> None:
        fit_watched(mixture, rows, interruption, quiet=quiet)

    segmentation = segment_image(pixels, mixture, fit=fit)
    write_image(output, segmentation.image)
    if model is not None:
        mixture.save(model)
    if as_json:
        info = mixture.fit_info_
        print_json(
            {
                "image": image,
                "width": width,
                "height": height,
                "n_components": n_components,
                "covariance_type": covariance_type,
                "log_likelihood": mixture.lower_bound_,
                "converged": mixture.converged_,
                "interrupted": interruption.signal_number is not None,
                "n_passes": info.n_passes,
                "seconds": info.seconds,
                "weights": mixture.weights_,
                "colours": mixture.means_,
                "output": output,
                "model": model,
            }
        )
    else:
        print_pairs(
            {
                "image": f"{width} × {height} pixels",
                "end": end_of_fit(mixture, interruption),
                "output": output,
            }
        )
    return status_of_fit(interruption, f"the picture so far is in {str(output)!r}")
