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
    typer.Option(
        metavar="A,B,…",
        help="Columns to use; all by default. Columns without a name are called x0, x1, …",
        show_default=False,
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
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of text.", show_default=False)
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column with the known components of rows, counted from 0; -1 or empty where unknown.",
        show_default=False,
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
ModelOrError = Annotated[
    Literal["error", "model"] | None,
    typer.Option(
        "--missing",
        help="Rows with missing values: raise an error, or use their observed values; by default "
        "as in the fit.",
        show_default=False,
    ),
]
ModelFile = Annotated[
    Path,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="Model file written by fit.", show_default=False
    ),
]
NComponents = Annotated[
    int,
    typer.Option("--n-components", "-k", min=1, help="Number of components.", show_default=False),
]
NInit = Annotated[
    int, typer.Option(min=1, help="Number of initializations; the best result is kept.")
]
NJobs = Annotated[
    int | None, typer.Option(help="Number of threads; all by default.", show_default=False)
]
NoiseVolume = Annotated[
    str | None,
    typer.Option(
        metavar="auto|NUMBER",
        help="Add a uniform noise component over a region of this volume; auto takes the volume "
        "of a box around the rows.",
        show_default=False,
    ),
]
Priors = Annotated[
    Literal["mclust"] | None,
    typer.Option(help="Maximum a posteriori estimation with mclust's priors.", show_default=False),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Do not show progress.", show_default=False)
]
RandomState = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Seed of the random number generator, for reproducible results.",
        show_default=False,
    ),
]
RegCovar = Annotated[
    float, typer.Option(min=0.0, help="Non-negative regularization added to the variances.")
]
RegCovarScale = Annotated[
    Literal["auto", "absolute", "relative"],
    typer.Option(help="Scale of reg-covar: absolute, or relative to the features' variances."),
]
WeightColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Column with the sample weights.", show_default=False),
]
Tolerance = Annotated[
    float,
    typer.Option(
        min=0.0, help="Convergence threshold: the smallest gain per iteration, in nats per row."
    ),
]

CsvReading = Mapping[str, Any]
"""CSV options, as `open_data` takes them."""

_CSV_OPTIONS = {
    "header": Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="CSV: whether the first row is a header; detected by default.",
            show_default=False,
        ),
    ],
    "na_values": Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="CSV: additional markers of missing values, besides NA, None, empty fields etc.",
            show_default=False,
        ),
    ],
    "decimal": Annotated[
        str | None,
        typer.Option(metavar="MARK", help="CSV: decimal mark, . or ,", show_default=False),
    ],
    "delimiter": Annotated[
        str | None,
        typer.Option(
            metavar="MARK",
            help="CSV: field separator, a blank for any number of blanks; detected by default.",
            show_default=False,
        ),
    ],
    "comment": Annotated[
        str | None,
        typer.Option(metavar="MARK", help="CSV: comment marker.", show_default=False),
    ],
    "encoding": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="CSV: character encoding; UTF-8 by default, unless a byte order mark is found.",
            show_default=False,
        ),
    ],
}


def reading_csv(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the options for CSV, which it takes together as `csv`."""
    own = inspect.signature(command, eval_str=True)
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
        option = next(iter(csv)).replace("_", "-")
        raise ValueError(f"--{option} is for CSV, and {why}: leave it out")


def volume(given: str | None) -> float | Literal["auto"] | None:
    """Return the volume of noise that was asked for, a number unless it is to be found."""
    if given is None or given == "auto":
        return given  # type: ignore[return-value]  # mypy takes the comparison for nothing
    try:
        number = float(given)
    except ValueError:
        number = 0.0
    if not 0.0 < number < math.inf:
        raise ValueError(f"--noise-volume must be auto or a number above 0; got {given!r}")
    return number


def split_columns(columns: str | None) -> list[str] | None:
    """Return the names in a list separated by commas, or None for None."""
    return None if columns is None else [name.strip() for name in columns.split(",")]
