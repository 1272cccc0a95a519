"""The command ``fit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgmm.cli import options
from fastgmm.cli.interruption import Interruption
from fastgmm.cli.models import check_model_path
from fastgmm.cli.output import print_json, print_pairs

if TYPE_CHECKING:
    from fastgmm.data.files import Table
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
            help="Where to save the model: a .fgm file.",
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
    random_state: options.RandomState = None,
    columns: options.Columns = None,
    weight_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The column that holds the rows' weights.", show_default=False
        ),
    ] = None,
    n_jobs: options.NJobs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Fit a mixture to the rows of a table.

    Ctrl-C ends the fit early: what it has reached is saved.
    """
    from fastgmm.data.files import check_finite, read_table

    check_model_path(output)
    table = read_table(data, columns=options.split_columns(columns), weight_column=weight_column)
    check_finite(table)
    if len(table.values) < n_components:
        raise ValueError(
            f"{str(data)!r} has {len(table.values)} rows, too few for {n_components} components: "
            "choose a smaller -k"
        )
    # Loaded only now, so that mistakes are told at once.
    from fastgmm import GaussianMixture
    from fastgmm.cli.watched_fit import fit_watched, status_of_fit

    model = GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        tol=tol,
        max_iter=max_iter,
        n_init=n_init,
        init_params=init_params,
        reg_covar=reg_covar,
        reg_covar_scale=reg_covar_scale,
        random_state=random_state,
        n_jobs=n_jobs,
    )
    interruption: Interruption = context.obj
    fit_watched(model, table.values, interruption, sample_weight=table.weights, quiet=quiet)
    if table.feature_names is not None:
        model.feature_names_in_ = table.feature_names
    if output is not None:
        model.save(output)
    _summarise(model, table, output, interruption, as_json)
    kept = f"the parameters reached are in {str(output)!r}" if output else "nothing was saved"
    return status_of_fit(interruption, kept)


def _summarise(
    model: GaussianMixture,
    table: Table,
    output: Path | None,
    interruption: Interruption,
    as_json: bool,
) -> None:
    from fastgmm.cli.watched_fit import end_of_fit

    n_samples, n_features = table.values.shape
    if as_json:
        info = model.fit_info_
        document: dict[str, Any] = {
            "data": table.path,
            "n_samples": n_samples,
            "n_features": n_features,
            "n_components": model.n_components,
            "covariance_type": model.covariance_type,
            "log_likelihood": model.lower_bound_,
            "converged": model.converged_,
            "interrupted": interruption.signal_number is not None,
            "n_iter": model.n_iter_,
            "n_passes": info.n_passes,
            "seconds": info.seconds,
            "trace": model.trace_,
            "weights": model.weights_,
            "output": output,
        }
        print_json(document)
        return
    pairs: dict[str, object] = {
        "data": f"{n_samples} rows, {n_features} columns",
        "mixture": f"{model.n_components} components, {model.covariance_type}",
        "end": end_of_fit(model, interruption),
        "log-likelihood": f"{model.lower_bound_:.6f} nats a row",
    }
    if output is not None:
        pairs["model"] = output
    print_pairs(pairs)
