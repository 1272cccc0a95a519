"""The command ``select``: covariance structure and number of components by a criterion."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from fastgmm.cli import options
from fastgmm.cli.interruption import Interrupted
from fastgmm.cli.models import as_modeled, open_for_fit, print_fitted, replayable
from fastgmm.cli.output import STANDARD_OUTPUT, outputs_of, write, write_columns
from fastgmm.mixture import covariance_types

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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
        options.shown(
            "Numbers of components to try, as a range (1:9) or a list (2,4,8).",
            "--n-components",
            "-k",
            panel=options.MODEL,
            metavar="A:B",
        ),
    ] = "1:9",
    structures: Annotated[
        str,
        options.shown(
            "Covariance structures to try: all fourteen, or a subset of "
            f"{', '.join(get_args(covariance_types.CovarianceType))}; or, with --n-factors, of "
            f"{', '.join(get_args(covariance_types.FactorType))}.",
            panel=options.MODEL,
            metavar="all|A,B,…",
        ),
    ] = "all",
    n_factors: Annotated[
        str | None,
        options.option(
            "Numbers of factors to try for factor analyzers, as a range (1:4) or a list (1,2,4).",
            panel=options.MODEL,
            metavar="A:B",
        ),
    ] = None,
    criterion: Annotated[
        Literal["bic", "aic", "icl"],
        options.shown("Criterion to minimize.", panel=options.MODEL),
    ] = "bic",
    output: Annotated[
        list[Path] | None,
        options.outputs("the best mixture", "the table of all candidates"),
    ] = None,
    every: Annotated[
        bool, options.flag(f"Print all candidates, not the best {_SHOWN} only.", "--all")
    ] = False,
    checkpoint: options.Checkpoint = None,
    checkpoint_interval: options.CheckpointInterval = 60.0,
    resume: options.Resume = False,
    init_params: Annotated[
        Literal["hierarchical", "kmeans"], options.shown("Method of initialization.")
    ] = "hierarchical",
    tol: Annotated[
        float,
        options.shown("Convergence threshold on the relative gain of the log-likelihood.", min=0.0),
    ] = 1e-5,
    max_iter: options.MaxIter = 1000,
    reg_covar: options.RegCovar = 0.0,
    random_state: options.RandomState = None,
    missing: options.MissingPolicy = "error",
    on_error: options.ErrorPolicy = "raise",
    n_jobs: options.NJobs = None,
    *,
    reading: options.FitReading,
    printing: options.Printing,
) -> int:
    """Select the covariance structure and number of components by an information criterion.

    Ctrl-C ends the search early, and the best of what is fitted so far is saved.

    Example: fastgmm select data.csv -k 1:9 -o best.fgm -o candidates.csv
    """
    numbers = numbers_of(n_components)
    factors = None if n_factors is None else numbers_of(n_factors, "--n-factors")
    names = structures_of(structures, with_factors=factors is not None)
    outputs = outputs_of(output, data, kind="a mixture", printing=printing)
    table = outputs.table
    if table is not None and table.suffix.lower() == ".npy":
        raise ValueError(
            f"cannot write {str(table)!r}: the table names structures, which .npy files cannot "
            "hold: take .csv or .parquet"
        )
    source = open_for_fit(data, reading, missing=missing, on_error=on_error)
    rows = replayable(source, reading.memory)
    # Loaded only now, so that errors are raised at once.
    from fastgmm import MixtureSearch
    from fastgmm.cli.fit_with_progress import SearchProgress, watch

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
        checkpoint=checkpoint,
        checkpoint_interval=checkpoint_interval,
        resume=resume,
        n_factors=factors,
        **as_modeled(missing),
    )
    status = 0
    try:
        with SearchProgress("starting", quiet=printing.quiet) as progress:
            watch(rows, progress)
            search.on_candidate = progress.add_candidate
            search.fit(rows)
    except Interrupted as signaled:
        n_fitted = 0 if progress.known is None else search._keep_known(progress.known)
        if not n_fitted:
            raise
        status = 128 + signaled.signal_number
        print(f"interrupted: {n_fitted} candidates are fitted so far", file=sys.stderr)
    import numpy as np

    results = search.results_
    # NaN is the largest of all. Of equals the first is the best, as for the search.
    order = np.argsort(results[criterion], kind="stable")
    if table is not None:
        write_columns(table, [{name: each[order] for name, each in results.items()}])
    if outputs.model is not None:
        search.best_estimator_.save(outputs.model)
    if table == STANDARD_OUTPUT:
        return status  # which the table has for itself
    best = search.best_params_
    fitted = order[results["failure"][order] == ""]
    document = {
        "criterion": criterion,
        "best": {**best, criterion: search.best_score_},
        "candidates": [{name: column[i] for name, column in results.items()} for i in order],
    }
    shown = len(fitted) if every else min(_SHOWN, len(fitted))
    with_factors = f" with {best['n_factors']} factors" if "n_factors" in best else ""
    pairs = {
        "candidates": f"{len(fitted)} of {len(order)} could be fitted"
        + (f", {shown} of {len(fitted)} shown" if shown < len(fitted) else ""),
        "best": f"{best['n_components']} components, {best['covariance_type']}{with_factors}, "
        f"{criterion.upper()} {search.best_score_:.2f}",
        "note": "the best number of components is the largest tried: try more, with -k"
        if best["n_components"] == numbers[-1] and len(numbers) > 1
        else None,
    }
    if not printing.as_json:
        _print_candidates(search, fitted[:shown])
    print_fitted(printing.as_json, data, rows, outputs, document, pairs)
    return status


def numbers_of(given: str, option: str = "--n-components") -> list[int]:
    """Return the numbers in the text of an option."""
    numbers: set[int] = set()
    try:
        for part in given.split(","):
            first, colon, last = part.partition(":")
            numbers.update(range(int(first), int(last) + 1) if colon else [int(first)])
    except ValueError:
        numbers = set()
    if not numbers or min(numbers) < 1 or max(numbers) > _MOST_COMPONENTS:
        raise ValueError(
            f"{option} must be numbers from 1 on, as 1:9 for those from 1 to 9, or 2,4,8; got "
            f"{given!r}"
        )
    return sorted(numbers)


def structures_of(given: str, *, with_factors: bool = False) -> Literal["all"] | list[str]:
    """Return the covariance structures that were asked for."""
    if given == "all":
        return "all"
    names = [name.strip() for name in given.split(",")]
    known = get_args(covariance_types.CovarianceType)
    if with_factors:
        known += get_args(covariance_types.FactorType)
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
        q = results["n_factors"][i] if "n_factors" in results else 0
        sizes = (results[name][i] for name in ("n_components", "n_parameters"))
        figures = (results[name][i] for name in ("log_likelihood", "bic", "aic", "icl"))
        table.add_row(
            results["covariance_type"][i] + (f", q={q}" if q else ""),
            *map(str, sizes),
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
