"""The command ``fit``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.clusters import rows_on_cluster
from fastgmm.cli.interruption import Interrupted, Interruption
from fastgmm.cli.models import (
    check_model_path,
    data_document,
    data_pairs,
    noise_of,
    objective_name,
    open_for_fit,
    replayable,
)
from fastgmm.cli.output import print_result

if TYPE_CHECKING:
    from fastgmm.estimators.gaussian_mixture import GaussianMixture


def fit(
    context: typer.Context,
    data: options.Data,
    n_components: options.NComponents,
    output: Annotated[
        Path | None,
        options.option(
            "File to save the model to, ending in .fgm.", "--output", "-o", metavar="MODEL"
        ),
    ] = None,
    covariance_type: options.CovarianceType = "full",
    tol: options.Tolerance = 1e-3,
    max_iter: options.MaxIter = 100,
    n_init: options.NInit = 1,
    init_params: options.InitParams = "kmeans",
    reg_covar: options.RegCovar = 1e-6,
    reg_covar_scale: options.RegCovarScale = "auto",
    priors: options.Priors = None,
    noise_volume: options.NoiseVolume = None,
    random_state: options.RandomState = None,
    columns: options.Columns = None,
    weight_column: options.WeightColumn = None,
    label_column: options.LabelColumn = None,
    memory: options.Memory = "1GB",
    missing: options.MissingPolicy = "error",
    on_error: options.ErrorPolicy = "raise",
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Learn online, one batch at a time, in one pass over the data."
        ),
    ] = False,
    epochs: Annotated[
        int, typer.Option(min=1, help="With --online: maximum number of passes over the data.")
    ] = 1,
    batch_size: Annotated[
        int | None, options.option("With --online: number of rows per batch.", min=1)
    ] = None,
    checkpoint: Annotated[
        Path | None, options.option("Save the state of the fit to this file.", metavar="FILE")
    ] = None,
    checkpoint_interval: Annotated[
        float, typer.Option(min=0.0, help="Seconds between checkpoints.")
    ] = 60.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the checkpoint, if there is one.")
    ] = False,
    dask: options.Dask = None,
    n_jobs: options.NJobs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    csv: options.CsvReading,
) -> int:
    """Fit a mixture to tables, which may be larger than memory.

    Ctrl-C stops the fit early and saves the parameters reached, or the checkpoint if there is one.
    """
    check_model_path(output, data)
    if checkpoint is not None and output is not None and checkpoint.resolve() == output.resolve():
        raise ValueError(
            f"--checkpoint and --output are both {str(output)!r}: give the model another name"
        )
    if resume and checkpoint is None:
        raise ValueError("--resume continues from a checkpoint: name its file with --checkpoint")
    if not online and (epochs != 1 or batch_size is not None):
        raise ValueError("--epochs and --batch-size are for --online")
    volume = (
        None if noise_volume is None else options.number_or_auto("--noise-volume", noise_volume)
    )
    for option, value in (
        ("--priors", priors),
        ("--noise-volume", volume),
        ("--label-column", label_column),
    ):
        if online and value is not None:
            raise ValueError(f"{option} is not for --online, which learns without")
    with ExitStack() as stack:
        if dask is not None:
            source = stack.enter_context(
                rows_on_cluster(
                    dask,
                    data,
                    columns=columns,
                    weight_column=weight_column,
                    label_column=label_column,
                    missing=missing,
                    csv=csv,
                )
            )
        else:
            source = open_for_fit(
                data,
                columns,
                weight_column=weight_column,
                label_column=label_column,
                memory=memory,
                missing=missing,
                on_error=on_error,
                csv=csv,
            )
        parameters: dict[str, Any] = {
            "covariance_type": covariance_type,
            "tol": tol,
            "init_params": init_params,
            "reg_covar": reg_covar,
            "reg_covar_scale": reg_covar_scale,
            "missing": "model" if missing == "model" else "error",
            "random_state": random_state,
            "n_jobs": n_jobs,
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "checkpoint_interval": checkpoint_interval,
            "resume": resume,
        }
        # Loaded only now, so that errors are raised at once.
        from fastgmm.cli.fit_with_progress import end_of_fit, fit_with_progress, status_of_fit

        model: GaussianMixture
        if online:
            from fastgmm import MiniBatchGaussianMixture

            if batch_size is not None:
                parameters["batch_size"] = batch_size
            model = MiniBatchGaussianMixture(n_components, max_epochs=epochs, **parameters)
        else:
            from fastgmm import GaussianMixture

            model = GaussianMixture(
                n_components,
                max_iter=max_iter,
                n_init=n_init,
                priors=priors,
                noise_volume=volume,
                semi_supervised=label_column is not None,
                **parameters,
            )
            source = replayable(source, memory)
        interruption: Interruption = context.obj
        try:
            fit_with_progress(model, source, interruption=interruption, quiet=quiet)
        except Interrupted as signaled:
            if checkpoint is None or not checkpoint.exists():
                raise
            print(
                f"interrupted: the state of the fit is in {str(checkpoint)!r}, and --resume "
                "continues from it",
                file=sys.stderr,
            )
            return 128 + signaled.signal_number
        if output is not None:
            model.save(output)
        objective, noise = objective_name(model), noise_of(model)
        document = {
            **data_document(data, source.n_samples, source),
            "n_components": model.n_components,
            "covariance_type": model.covariance_type,
            objective.replace("-", "_"): model.lower_bound_,
            "converged": model.converged_,
            "interrupted": interruption.signal_number is not None,
            "n_iter": model.n_iter_,
            "n_passes": model.fit_info_.n_passes,
            "seconds": model.fit_info_.seconds,
            "trace": model.trace_,
            "weights": model.weights_,
            **noise,
            "output": output,
        }
        pairs = {
            **data_pairs(source.n_samples, source),
            "mixture": f"{model.n_components} components, {model.covariance_type}",
            "end": end_of_fit(model, interruption),
            objective: f"{model.lower_bound_:.6f} nats a row",
            "noise": f"weight {noise['noise_weight']:.4f}" if noise else None,
            "model": output,
        }
        print_result(as_json, document, pairs)
        kept = f"the parameters reached are in {str(output)!r}" if output else "nothing was saved"
        return status_of_fit(interruption, kept)
