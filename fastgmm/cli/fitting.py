"""The command ``fit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.interruption import Interrupted, Interruption
from fastgmm.cli.models import (
    check_labels_can_be_read,
    check_model_path,
    column_document,
    column_pairs,
    noise_of,
    objective_name,
    replayable,
)
from fastgmm.cli.output import check_not_read, print_json, print_pairs

if TYPE_CHECKING:
    from fastgmm.data.source import Source
    from fastgmm.estimators.gaussian_mixture import GaussianMixture


def fit(
    context: typer.Context,
    data: options.Data,
    n_components: options.NComponents,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="MODEL",
            help="File to save the model to, ending in .fgm.",
            show_default=False,
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
        int | None,
        typer.Option(min=1, help="With --online: number of rows per batch.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Save the state of the fit to this file.", show_default=False
        ),
    ] = None,
    checkpoint_interval: Annotated[
        float, typer.Option(min=0.0, help="Seconds between checkpoints.")
    ] = 60.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the checkpoint, if there is one.")
    ] = False,
    n_jobs: options.NJobs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    csv: options.CsvReading,
) -> int:
    """Fit a mixture to tables, which may be larger than memory.

    Ctrl-C stops the fit early and saves the parameters reached, or the checkpoint if there is one.
    """
    from fastgmm.data.opening import open_data

    check_model_path(output)
    check_not_read(output, data)
    if checkpoint is not None and output is not None and checkpoint.resolve() == output.resolve():
        raise ValueError(
            f"--checkpoint and --output are both {str(output)!r}: give the model another name"
        )
    if resume and checkpoint is None:
        raise ValueError("--resume continues from a checkpoint: name its file with --checkpoint")
    if not online and (epochs != 1 or batch_size is not None):
        raise ValueError("--epochs and --batch-size are for --online")
    volume = options.volume(noise_volume)
    for option, value in (
        ("--priors", priors),
        ("--noise-volume", volume),
        ("--label-column", label_column),
    ):
        if online and value is not None:
            raise ValueError(f"{option} is not for --online, which learns without")
    source = open_data(
        data,
        columns=options.split_columns(columns),
        weight_column=weight_column,
        label_column=label_column,
        memory_budget=memory,
        missing=missing,
        on_error=on_error,
        **csv,
    )
    if label_column is not None:
        check_labels_can_be_read(source)
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
    # Loaded only now, so that mistakes are told at once.
    from fastgmm.cli.watched_fit import fit_watched, status_of_fit

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
        fit_watched(model, source, interruption, quiet=quiet)
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
    _summarize(model, data, source, output, interruption, as_json)
    kept = f"the parameters reached are in {str(output)!r}" if output else "nothing was saved"
    return status_of_fit(interruption, kept)


def _summarize(
    model: GaussianMixture,
    data: list[str],
    source: Source,
    output: Path | None,
    interruption: Interruption,
    as_json: bool,
) -> None:
    from fastgmm.cli.watched_fit import end_of_fit

    info = model.fit_info_
    objective, noise = objective_name(model), noise_of(model)
    if as_json:
        document: dict[str, Any] = {
            "data": data,
            "n_samples": source.n_samples,
            "n_features": source.n_features,
            **column_document(source),
            "n_components": model.n_components,
            "covariance_type": model.covariance_type,
            objective.replace("-", "_"): model.lower_bound_,
            "converged": model.converged_,
            "interrupted": interruption.signal_number is not None,
            "n_iter": model.n_iter_,
            "n_passes": info.n_passes,
            "seconds": info.seconds,
            "trace": model.trace_,
            "weights": model.weights_,
            **noise,
            "output": output,
        }
        print_json(document)
        return
    # A finished fit that is resumed need not look at the rows.
    rows = "" if source.n_samples is None else f"{source.n_samples} rows, "
    pairs: dict[str, object] = {
        "data": f"{rows}{source.n_features} columns",
        **column_pairs(source),
        "mixture": f"{model.n_components} components, {model.covariance_type}",
        "end": end_of_fit(model, interruption),
        objective: f"{model.lower_bound_:.6f} nats a row",
    }
    if noise:
        pairs["noise"] = f"weight {noise['noise_weight']:.4f}"
    if output is not None:
        pairs["model"] = output
    print_pairs(pairs)
