"""The command ``fit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from fastgmm.cli import options
from fastgmm.cli.clusters import client_of
from fastgmm.cli.interruption import Interrupted, Interruption
from fastgmm.cli.models import (
    as_modeled,
    data_document,
    data_pairs,
    given_options,
    load_mixture,
    noise_of,
    objective_name,
    objective_value,
    open_for_fit,
    replayable,
)
from fastgmm.cli.output import check_model_path, print_result
from fastgmm.mixture import covariance_types

ONLINE = "Online learning"


_NOT_FOR = {
    "online": ("bayesian", "message_length", "priors", "noise_volume", "label_column", "n_factors"),
    "bayesian": (
        *("message_length", "priors", "noise_volume", "label_column", "init_from", "frozen"),
        "n_factors",
    ),
    "message_length": (
        *("priors", "noise_volume", "label_column", "init_from", "init_params", "frozen"),
        "n_factors",
        *("checkpoint", "checkpoint_interval", "resume"),
    ),
}
"""Parameters that other kinds of fits than EM with a given number of components do without."""


def fit(
    context: typer.Context,
    data: options.Data,
    n_components: Annotated[
        int | None,
        options.option(
            "Number of components, the largest with --message-length; with --init-from, that of "
            "the model.",
            "--n-components",
            "-k",
            panel=options.MODEL,
            min=1,
        ),
    ] = None,
    covariance_type: options.AnyCovarianceType = "full",
    n_factors: Annotated[
        int | None,
        options.option("Number of factors of factor analyzers.", panel=options.MODEL, min=1),
    ] = None,
    bayesian: Annotated[
        bool,
        options.flag(
            "Fit by variational Bayes, which shrinks the weights of superfluous components.",
            "--bayesian",
            panel=options.MODEL,
        ),
    ] = False,
    message_length: Annotated[
        bool,
        options.flag(
            "Find the number of components, up to -k, by the minimum message length.",
            "--message-length",
            panel=options.MODEL,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        options.option(
            "File to save the model to, ending in .fgm.", "--output", "-o", metavar="MODEL"
        ),
    ] = None,
    init_params: options.InitParams = "kmeans",
    init_from: Annotated[
        Path | None,
        options.option(
            "Begin with the mixture in this file, of the same covariance type and columns.",
            panel=options.FIT,
            metavar="MODEL",
        ),
    ] = None,
    frozen: options.Frozen = None,
    reg_covar_scale: options.RegCovarScale = "auto",
    priors: options.Priors = None,
    noise_volume: options.NoiseVolume = None,
    label_column: options.LabelColumn = None,
    missing: options.MissingPolicy = "error",
    on_error: options.ErrorPolicy = "raise",
    online: Annotated[
        bool,
        options.flag(
            "Learn online, one batch at a time, in one pass over the data.",
            "--online",
            panel=ONLINE,
        ),
    ] = False,
    epochs: Annotated[
        int, options.shown("Maximum number of passes over the data.", panel=ONLINE, min=1)
    ] = 1,
    batch_size: Annotated[
        int | None, options.option("Number of rows per batch.", panel=ONLINE, min=1)
    ] = None,
    checkpoint: options.Checkpoint = None,
    checkpoint_interval: options.CheckpointInterval = 60.0,
    resume: options.Resume = False,
    dask: options.Dask = None,
    *,
    em: options.Em,
    reading: options.FitReading,
    printing: options.Printing,
) -> int:
    """Fit a mixture to tables, which may be larger than memory.

    Ctrl-C stops the fit early and saves the parameters reached, or the checkpoint if there is one.

    Example: fastgmm fit "data/*.parquet" -k 8 --exclude id -o model.fgm
    """
    check_model_path(output, data, force=printing.force)
    if checkpoint is not None and output is not None and checkpoint.resolve() == output.resolve():
        raise ValueError(
            f"--checkpoint and --output are both {str(output)!r}: give the model another name"
        )
    if resume and checkpoint is None:
        raise ValueError("--resume continues from a checkpoint: name its file with --checkpoint")
    if not online and (epochs != 1 or batch_size is not None):
        raise ValueError("--epochs and --batch-size are for --online")
    given = given_options(context)
    for kind, names in _NOT_FOR.items():
        for name in names if kind in given else ():
            if name in given:
                option, kind = name.replace("_", "-"), kind.replace("_", "-")
                raise ValueError(f"--{option} is not for --{kind}, which learns without")
    volume = (
        None if noise_volume is None else options.number_or_auto("--noise-volume", noise_volume)
    )
    initial = None if init_from is None else load_mixture(init_from)
    if initial is not None:
        if (n_components or len(initial.model.weights_)) != len(initial.model.weights_):
            raise ValueError(
                f"{str(init_from)!r} has {len(initial.model.weights_)} components, and -k is "
                f"{n_components}: leave -k out"
            )
        if "covariance_type" in given and covariance_type != initial.model.covariance_type:
            raise ValueError(
                f"{str(init_from)!r} is of covariance type {initial.model.covariance_type!r}: "
                "leave --covariance-type out"
            )
        n_components = len(initial.model.weights_)
        covariance_type = initial.model.covariance_type
        n_factors = n_factors or getattr(initial.model, "n_factors", None)
    if frozen and initial is None:
        raise ValueError("--frozen keeps parameters of a mixture: name its file with --init-from")
    if (covariance_type in get_args(covariance_types.FactorType)) != (n_factors is not None):
        raise ValueError(
            "factor analyzers take both their type and their number of factors: give "
            "--covariance-type factors --n-factors 2, say, or neither"
        )
    if n_components is None:
        raise ValueError("give the number of components, -k, or a mixture to begin with")
    kept = options.frozen_parameters(frozen, n_components) if frozen else None
    source = open_for_fit(
        data,
        reading,
        columns_if_named=None if initial is None else initial.feature_names,
        label_column=label_column,
        missing=missing,
        on_error=on_error,
        client=None if dask is None else context.with_resource(client_of(dask)),
    )
    parameters: dict[str, Any] = {
        **vars(em),
        "covariance_type": covariance_type,
        "reg_covar_scale": reg_covar_scale,
        **as_modeled(missing),
    }
    initialized: dict[str, Any] = {
        "init_params": init_params,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "checkpoint_interval": checkpoint_interval,
        "resume": resume,
    }
    # Loaded only now, so that errors are raised at once.
    import fastgmm
    from fastgmm.cli.fit_with_progress import end_of_fit, fit_with_progress, status_of_fit

    if initial is not None:
        initialized |= {
            "weights_init": initial.model.weights_,
            "means_init": initial.model.means_,
            "precisions_init": initial.model.precisions_,
        }
    model: Any
    if online:
        size: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
        del parameters["n_init"], parameters["max_iter"]
        model = fastgmm.MiniBatchGaussianMixture(
            n_components, max_epochs=epochs, frozen=kept, **parameters, **initialized, **size
        )
    elif message_length:
        for name in {"tol", "max_iter"} - given:  # whose defaults are other ones
            del parameters[name]
        model = fastgmm.MessageLengthGaussianMixture(n_components, **parameters)
    elif bayesian:
        model = fastgmm.BayesianGaussianMixture(n_components, **parameters, **initialized)
    else:
        model = fastgmm.GaussianMixture(
            n_components,
            priors=priors,
            noise_volume=volume,
            semi_supervised=label_column is not None,
            frozen=kept,
            n_factors=n_factors,
            **parameters,
            **initialized,
        )
    if not online:
        source = replayable(source, reading.memory)
    interruption: Interruption = context.obj
    try:
        watched = None if message_length else interruption
        fit_with_progress(model, source, interruption=watched, quiet=printing.quiet)
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
        "n_components": len(model.weights_),
        "covariance_type": model.covariance_type,
        objective.replace("-", "_").replace(" ", "_"): model.lower_bound_,
        "converged": model.converged_,
        "interrupted": interruption.signal_number is not None,
        "n_iter": model.n_iter_,
        "n_passes": None if message_length else model.fit_info_.n_passes,
        "seconds": None if message_length else model.fit_info_.seconds,
        "trace": model.trace_,
        "weights": model.weights_,
        **noise,
        "output": output,
    }
    pairs = {
        **data_pairs(source.n_samples, source),
        "mixture": f"{len(model.weights_)} components, {model.covariance_type}",
        "end": end_of_fit(model, interruption),
        objective: objective_value(model),
        "noise": f"weight {noise['noise_weight']:.4f}" if noise else None,
        "model": output,
    }
    print_result(printing.as_json, document, pairs)
    left = f"the parameters reached are in {str(output)!r}" if output else "nothing was saved"
    return status_of_fit(interruption, left)
