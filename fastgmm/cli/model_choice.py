"""The command ``select``: covariance structure and number of components by a criterion."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import numpy as np
import numpy.typing as npt
import typer

from fastgmm.cli import options
from fastgmm.cli.models import (
    as_modeled,
    check_model_path,
    data_document,
    data_pairs,
    open_for_fit,
    replayable,
)
from fastgmm.cli.output import (
    STANDARD_OUTPUT,
    check_output,
    print_result,
    write,
    write_columns,
)
from fastgmm.mixture import covariance_types

if TYPE_CHECKING:
    from fastgmm.estimators.mixture_search import MixtureSearch

_SHOWN = 10
"""Candidates that are printed; a table has all of them."""

_FEWEST_COLUMNS = 100
"""What is no terminal has no width of its own."""

_MOST_COMPONENTS = 10_000


def select(
    data: options.Data,
    n_components: Annotated[
        str,
        typer.Option(
            "--n-components",
            "-k",
            metavar="A:B",
            help="Numbers of components to try, as a range (1:9) or a list (2,4,8).",
        ),
    ] = "1:9",
    structures: Annotated[
        str,
        typer.Option(
            metavar="all|A,B,…",
            help="Covariance structures to try: all fourteen, or a subset of "
            f"{', '.join(get_args(covariance_types.CovarianceType))}.",
        ),
    ] = "all",
    criterion: Annotated[
        Literal["bic", "aic", "icl"], typer.Option(help="Criterion to minimize.")
    ] = "bic",
    output: Annotated[
        Path | None,
        options.table(
            "File to write the table of all candidates to, .csv or .parquet; - writes CSV to "
            "standard output."
        ),
    ] = None,
    model: Annotated[
        Path | None, options.model("File to save the best mixture to, ending in .fgm.")
    ] = None,
    init_params: Annotated[
        Literal["hierarchical", "kmeans"], typer.Option(help="Method of initialization.")
    ] = "hierarchical",
    tol: Annotated[
        float,
        typer.Option(
            min=0.0, help="Convergence threshold on the relative gain of the log-likelihood."
        ),
    ] = 1e-5,
    max_iter: options.MaxIter = 1000,
    reg_covar: options.RegCovar = 0.0,
    random_state: options.RandomState = None,
    columns: options.Columns = None,
    weight_column: options.WeightColumn = None,
    memory: options.Memory = "1GB",
    missing: options.MissingPolicy = "error",
    on_error: options.ErrorPolicy = "raise",
    n_jobs: options.NJobs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    csv: options.CsvReading,
) -> None:
    """Select the covariance structure and number of components by an information criterion."""
    numbers = numbers_of(n_components)
    names = structures_of(structures)
    check_output(output, data, as_json)
    if output is not None and output.suffix.lower() == ".npy":
        raise ValueError(
            f"cannot write {str(output)!r}: the table names structures, which .npy files cannot "
            "hold: take .csv or .parquet"
        )
    check_model_path(model, data)
    source = open_for_fit(
        data,
        columns,
        weight_column=weight_column,
        memory=memory,
        missing=missing,
        on_error=on_error,
        csv=csv,
    )
    rows = replayable(source, memory)
    # Loaded only now, so that errors are raised at once.
    from fastgmm import MixtureSearch
    from fastgmm.cli.fit_with_progress import fit_with_progress

    search = MixtureSearch(
        numbers,
        structures=names,
        criterion=criterion,
        init_params=init_params,
        tol=tol,
        reg_covar=reg_covar,
        max_iter=max_iter,
        random_state=random_state,
        n_jobs=n_jobs,
        **as_modeled(missing),
    )
    fit_with_progress(search, rows, quiet=quiet)
    results = search.results_
    # NaN is the largest of all. Of equals the first is the best, as for the search.
    order = np.argsort(results[criterion], kind="stable")
    if output is not None:
        write_columns(output, [{name: each[order] for name, each in results.items()}])
    if model is not None:
        search.best_estimator_.save(model)
    if output == STANDARD_OUTPUT:
        return  # which the table has for itself
    best = search.best_params_
    fitted = order[results["failure"][order] == ""]
    document = {
        **data_document(data, rows.n_samples, rows),
        "criterion": criterion,
        "best": {**best, criterion: search.best_score_},
        "candidates": [{name: column[i] for name, column in results.items()} for i in order],
        "output": output,
        "model": model,
    }
    pairs = {
        **data_pairs(rows.n_samples, rows),
        "candidates": f"{len(fitted)} of {len(order)} could be fitted",
        "best": f"{best['n_components']} components, {best['covariance_type']}, "
        f"{criterion.upper()} {search.best_score_:.2f}",
        "table": output,
        "model": model,
    }
    if not as_json:
        _print_candidates(search, fitted[:_SHOWN])
    print_result(as_json, document, pairs)


def numbers_of(given: str) -> list[int]:
    """Return the numbers of components in a text."""
    numbers: set[int] = set()
    try:
        for part in given.split(","):
            first, colon, last = part.partition(":")
            numbers.update(range(int(first), int(last) + 1) if colon else [int(first)])
    except ValueError:
        numbers = set()
    if not numbers or min(numbers) < 1 or max(numbers) > _MOST_COMPONENTS:
        raise ValueError(
            "--n-components must be numbers from 1 on, as 1:9 for those from 1 to 9, or 2,4,8; got "
            f"{given!r}"
        )
    return sorted(numbers)


def structures_of(given: str) -> Literal["all"] | list[str]:
    """Return the covariance structures that were asked for."""
    if given == "all":
        return "all"
    names = [name.strip() for name in given.split(",")]
    known = get_args(covariance_types.CovarianceType)
    for name in names:
        if name not in known:
            raise ValueError(
                f"--structures must be all, or some of {', '.join(known)}; got {name!r}"
            )
    return names


def _print_candidates(search: MixtureSearch, numbers: npt.NDArray[np.int64]) -> None:
    """Print a table of some candidates."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    results = search.results_
    table = Table(box=box.SIMPLE_HEAD)
    titles = ("structure", "components", "parameters", "log-likelihood", "BIC", "AIC", "ICL")
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left")
    for i in numbers:
        names = (results[name][i] for name in ("covariance_type", "n_components", "n_parameters"))
        figures = (results[name][i] for name in ("log_likelihood", "bic", "aic", "icl"))
        table.add_row(
            *map(str, names),
            *(f"{value:.2f}" for value in figures),
            style="bold" if i == search.best_index_ else "",
        )
    text = io.StringIO()
    Console(
        file=text,
        force_terminal=sys.stdout is not None and sys.stdout.isatty(),
        width=max(_FEWEST_COLUMNS, shutil.get_terminal_size().columns),
        highlight=False,
    ).print(table)
    write([text.getvalue()])
