"""The commands ``predict``, ``score``, ``impute`` and ``sample``: using a fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from fastgmm.cli import options
from fastgmm.cli.models import component_columns, load_model, noise_of, open_rows
from fastgmm.cli.output import check_not_read, check_output, print_json, print_pairs, write_columns
from fastgmm.data.column_names import default_names

TableOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="TABLE",
        help="A .csv, .npy or .parquet file; CSV on standard output if not given, or -.",
        show_default=False,
    ),
]


def predict(
    data: options.Data,
    model: options.ModelFile,
    output: TableOutput = None,
    memory: options.Memory = "1GB",
    proba: Annotated[
        bool,
        typer.Option("--proba", help="Write the responsibility of each component instead."),
    ] = False,
    n_jobs: options.NJobs = None,
) -> None:
    """Tell which component each row belongs to; -1 is noise."""
    check_output(output)
    check_not_read(output, data)
    stored = load_model(model, n_jobs=n_jobs)
    mixture, rows = stored.mixture, open_rows(data, stored, memory=memory)
    blocks = (
        (
            component_columns(block, bool(noise_of(mixture)))
            for block in mixture.predict_proba_blocks(rows)
        )
        if proba
        else ({"component": labels} for labels in mixture.predict_blocks(rows))
    )
    write_columns(output, blocks)


def score(
    data: options.Data,
    model: options.ModelFile,
    output: TableOutput = None,
    memory: options.Memory = "1GB",
    samples: Annotated[
        bool, typer.Option("--samples", help="Write the log-likelihood of each row instead.")
    ] = False,
    as_json: options.Json = False,
    n_jobs: options.NJobs = None,
) -> None:
    """Tell how well a model explains the rows: mean log-likelihood in nats, BIC, AIC."""
    if samples and as_json:
        raise ValueError("--samples writes a table, and --json an object: choose one of them")
    if output is not None and not samples:
        raise ValueError("--output is for the table that --samples writes")
    check_output(output)
    check_not_read(output, data)
    stored = load_model(model, n_jobs=n_jobs)
    mixture, rows = stored.mixture, open_rows(data, stored, memory=memory)
    if samples:
        densities = mixture.score_samples_blocks(rows)
        write_columns(output, ({"log_likelihood": block} for block in densities))
        return
    found = mixture._scores(rows)
    mean = found.log_likelihood / found.weight
    # A mixture that was not fitted by its likelihood has none of its criteria.
    criteria = {"bic": found.bic, "aic": found.aic} if hasattr(mixture, "bic") else {}
    if as_json:
        print_json({"n_samples": rows.n_samples, "log_likelihood": mean, **criteria})
    else:
        told = {name.upper(): f"{value:.2f}" for name, value in criteria.items()}
        print_pairs({"rows": rows.n_samples, "log-likelihood": f"{mean:.6f} nats a row", **told})


def impute(
    data: options.Data,
    model: options.ModelFile,
    output: TableOutput = None,
    memory: options.Memory = "1GB",
    draw: Annotated[
        bool,
        typer.Option("--draw", help="Draw what is missing, instead of taking its expected value."),
    ] = False,
    random_state: options.RandomState = None,
    n_jobs: options.NJobs = None,
) -> None:
    """Fill in what is missing in the rows."""
    check_output(output)
    check_not_read(output, data)
    stored = load_model(model, missing="model", n_jobs=n_jobs, random_state=random_state)
    rows = open_rows(data, stored, memory=memory)
    names = stored.feature_names or default_names(rows.n_features)
    blocks = stored.mixture.impute_blocks(rows, 1 if draw else None)
    tables = (block[0] if draw else block for block in blocks)
    write_columns(output, ({name: X[:, j] for j, name in enumerate(names)} for X in tables))


def sample(
    model: options.ModelFile,
    n_samples: Annotated[
        int, typer.Option("--n-samples", "-n", min=1, help="How many rows to draw.")
    ] = 1,
    output: TableOutput = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Add the component that each row was drawn from.")
    ] = False,
    random_state: options.RandomState = None,
) -> None:
    """Draw rows from a model."""
    check_output(output)
    stored = load_model(model, random_state=random_state)
    rows, components = stored.mixture.sample(n_samples)
    names = stored.feature_names or default_names(rows.shape[1])
    columns: dict[str, NDArray[Any]] = {name: rows[:, j] for j, name in enumerate(names)}
    if labels:
        columns["component"] = components
    write_columns(output, [columns])
