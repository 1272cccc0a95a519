"""Arguments and options that several commands take, under scikit-learn's names."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from fastgmm.mixture import covariance_types


def option(help: str, *names: str, **settings: Any) -> Any:
    """Return an option whose default is not shown."""
    return typer.Option(*names, help=help, show_default=False, **settings)


def table(help: str) -> Any:
    """Return the option ``--output`` for a table."""
    return option(help, "--output", "-o", metavar="TABLE")


def model(help: str) -> Any:
    """Return the option ``--model``."""
    return option(help, "--model", "-m", metavar="MODEL")


CovarianceType = Annotated[
    covariance_types.CovarianceType,
    typer.Option(
        metavar="NAME",
        help="Type of the covariance parameters: "
        f"{', '.join(get_args(covariance_types.CovarianceType))}.",
    ),
]
Columns = Annotated[
    str | None,
    option(
        "Columns to use; all by default. Columns without a name are called x0, x1, …",
        metavar="A,B,…",
    ),
]
Dask = Annotated[
    str | None,
    option(
        "Let a Dask cluster read and fit Parquet or CSV: the address of its scheduler, or local:N "
        "for N processes here.",
        metavar="tcp://…|local:N",
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Files, folders or glob patterns: Parquet, CSV, Arrow, .npy, .npz, HDF5, Zarr or "
        "images; - reads standard input.",
        show_default=False,
    ),
]
InitParams = Annotated[
    Literal["kmeans", "k-means++", "random", "random_from_data", "hierarchical"],
    typer.Option(help="Method of initialization."),
]
ErrorPolicy = Annotated[
    Literal["raise", "skip"],
    typer.Option("--on-error", help="Damaged files: raise an error, or skip the damaged parts."),
]
Json = Annotated[bool, option("Print one JSON object instead of text.", "--json")]
LabelColumn = Annotated[
    str | None,
    option(
        "Column with the known components of rows, counted from 0; -1 or empty where unknown.",
        metavar="NAME",
    ),
]
MaxIter = Annotated[int, typer.Option(min=1, help="Maximum number of iterations.")]
Memory = Annotated[
    str,
    typer.Option(metavar="SIZE", help="Memory limit for reading the data, such as 500MB or 2GB."),
]
MissingPolicy = Annotated[
    Literal["error", "drop", "model"],
    typer.Option(
        "--missing",
        help="Rows with missing values: raise an error, drop, or fit using their observed values.",
    ),
]
MissingOrAsInFit = Annotated[
    Literal["error", "drop", "model"] | None,
    typer.Option(
        "--missing",
        help="Rows with missing values: raise an error, drop, or use their observed values; by "
        "default as in the fit of the model, or raise an error.",
        show_default=False,
    ),
]
ModelFile = Annotated[Path, model("Model file written by fit.")]
NComponents = Annotated[int, option("Number of components.", "--n-components", "-k", min=1)]
NInit = Annotated[
    int, typer.Option(min=1, help="Number of initializations; the best result is kept.")
]
NJobs = Annotated[int | None, option("Number of threads; all by default.")]
NoiseVolume = Annotated[
    str | None,
    option(
        "Add a uniform noise component over a region of this volume; auto takes the volume "
        "of a box around the rows.",
        metavar="auto|NUMBER",
    ),
]
Priors = Annotated[
    Literal["mclust"] | None, option("Maximum a posteriori estimation with mclust's priors.")
]
Quiet = Annotated[bool, option("Do not show progress.", "--quiet", "-q")]
RandomState = Annotated[
    int | None,
    option("Seed of the random number generator, for reproducible results.", min=0),
]
RegCovar = Annotated[
    float, typer.Option(min=0.0, help="Non-negative regularization added to the variances.")
]
RegCovarScale = Annotated[
    Literal["auto", "absolute", "relative"],
    typer.Option(help="Scale of reg-covar: absolute, or relative to the features' variances."),
]
TableOutput = Annotated[
    Path | None,
    table("Output file: .csv, .npy or .parquet; CSV on standard output by default, or with -."),
]
WeightColumn = Annotated[str | None, option("Column with the sample weights.", metavar="NAME")]
Tolerance = Annotated[
    float,
    typer.Option(
        min=0.0, help="Convergence threshold: the smallest gain per iteration, in nats per row."
    ),
]

CsvReading = Mapping[str, Any]
"""CSV options, as `open_data` takes them; a command with a parameter `csv` has all of them."""

_CSV_OPTIONS = {
    "header": Annotated[
        bool | None,
        option(
            "CSV: whether the first row is a header; detected by default.", "--header/--no-header"
        ),
    ],
    "na_values": Annotated[
        str | None,
        option(
            "CSV: additional markers of missing values, besides NA, None, empty fields etc.",
            metavar="A,B,…",
        ),
    ],
    "decimal": Annotated[str | None, option("CSV: decimal mark, . or ,", metavar="MARK")],
    "delimiter": Annotated[
        str | None,
        option(
            "CSV: field separator, a blank for any number of blanks; detected by default.",
            metavar="MARK",
        ),
    ],
    "comment": Annotated[str | None, option("CSV: comment marker.", metavar="MARK")],
    "encoding": Annotated[
        str | None,
        option(
            "CSV: character encoding; UTF-8 by default, unless a byte order mark is found.",
            metavar="NAME",
        ),
    ],
}


def with_csv_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the options for CSV in place of `csv`, if it has such a parameter."""
    own = inspect.signature(command, eval_str=True)
    if "csv" not in own.parameters:
        return command
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _CSV_OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        given = {name: values.pop(name) for name in _CSV_OPTIONS}
        if given["na_values"] is not None:
            given["na_values"] = given["na_values"].split(",")
        csv = {name: value for name, value in given.items() if value is not None}
        return command(**values, csv=csv)

    parameters = [each for name, each in own.parameters.items() if name != "csv"]
    run.__signature__ = own.replace(parameters=[*parameters, *added])  # type: ignore[attr-defined]
    return run


def refuse_csv_options(csv: CsvReading, why: str) -> None:
    """Raise if something is said of CSV where none is read."""
    if csv:
        name = next(iter(csv)).replace("_", "-")
        raise ValueError(f"--{name} is for CSV, and {why}: leave it out")


def number_or_auto(
    name: str, given: str, largest: float = math.inf, limit: str = ""
) -> float | Literal["auto"]:
    """Return the value of an option that is auto or a number above 0."""
    if given == "auto":
        return "auto"
    try:
        number = float(given)
    except ValueError:
        number = 0.0
    if not 0.0 < number <= largest or number == math.inf:
        raise ValueError(f"{name} must be auto or a number above 0{limit}; got {given!r}")
    return number


def split_columns(columns: str | None) -> list[str] | None:
    """Return the names in a list separated by commas, or None for None."""
    return None if columns is None else [name.strip() for name in columns.split(",")]
