"""Arguments and options that several commands take, under scikit-learn's names."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from fastgmm.mixture.structures import covariance_types

CovarianceType = Annotated[
    covariance_types.CovarianceType,
    typer.Option(
        metavar="NAME",
        help="What the components' covariances have in common: "
        f"{', '.join(get_args(covariance_types.CovarianceType))}.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…",
        help="The columns to use; all if not given. Columns without a name are x0, x1, …",
        show_default=False,
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Files, folders or patterns: Parquet, CSV, Arrow, .npy, .npz, HDF5, Zarr, images; - "
        "is standard input.",
        show_default=False,
    ),
]
InitParams = Annotated[
    Literal["kmeans", "k-means++", "random", "random_from_data", "hierarchical"],
    typer.Option(help="Where the components start."),
]
ErrorPolicy = Annotated[
    Literal["raise", "skip"],
    typer.Option("--on-error", help="Damaged files: end there, or leave out what is damaged."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of text.", show_default=False)
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The column that holds the components of rows that are known, from 0; -1 or nothing "
        "for the others.",
        show_default=False,
    ),
]
MaxIter = Annotated[int, typer.Option(min=1, help="At most so many passes over the data.")]
Memory = Annotated[
    str,
    typer.Option(metavar="SIZE", help="What reading the data may take, as 500MB or 2GB."),
]
MissingPolicy = Annotated[
    Literal["error", "drop", "model"],
    typer.Option(
        "--missing",
        help="Rows with missing values: an error, left out, or fitted by what is there.",
    ),
]
DropOrError = Annotated[
    Literal["error", "drop"],
    typer.Option("--missing", help="Rows with missing values: an error, or left out."),
]
ModelOrError = Annotated[
    Literal["error", "model"] | None,
    typer.Option(
        "--missing",
        help="Rows with missing values: an error, or judged by what is there; as in the fit, if "
        "not given.",
        show_default=False,
    ),
]
ModelFile = Annotated[
    Path,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="A model that fit wrote.", show_default=False
    ),
]
NComponents = Annotated[
    int,
    typer.Option("--n-components", "-k", min=1, help="How many components.", show_default=False),
]
NInit = Annotated[int, typer.Option(min=1, help="Start so many times and keep the best.")]
NJobs = Annotated[
    int | None, typer.Option(help="How many threads; all if not given.", show_default=False)
]
NoiseVolume = Annotated[
    str | None,
    typer.Option(
        metavar="auto|NUMBER",
        help="Fit uniform noise beside the components, spread over a region of this volume; auto "
        "is that of a box around the rows.",
        show_default=False,
    ),
]
Priors = Annotated[
    Literal["mclust"] | None,
    typer.Option(
        help="Fit the most probable parameters under mclust's priors.", show_default=False
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.", show_default=False)]
RandomState = Annotated[
    int | None,
    typer.Option(min=0, help="Seed: the same one gives the same result.", show_default=False),
]
RegCovar = Annotated[
    float, typer.Option(min=0.0, help="Added to the variances, to keep them above zero.")
]
RegCovarScale = Annotated[
    Literal["auto", "absolute", "relative"],
    typer.Option(help="What reg-covar is relative to: 1, or the features' variances."),
]
WeightColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The column that holds the rows' weights.", show_default=False
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(min=0.0, help="Stop when a pass gains less than this, in nats a row."),
]

CsvReading = Mapping[str, Any]
"""How CSV is written, as `open_data` takes it."""

_CSV_OPTIONS = {
    "header": Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="CSV: whether the first row names the columns; found out if not given.",
            show_default=False,
        ),
    ],
    "na_values": Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="CSV: what stands for a missing value, besides NA, None, nothing and such.",
            show_default=False,
        ),
    ],
    "decimal": Annotated[
        str | None,
        typer.Option(metavar="MARK", help="CSV: the decimal mark, . or ,", show_default=False),
    ],
    "delimiter": Annotated[
        str | None,
        typer.Option(
            metavar="MARK",
            help="CSV: what separates fields, a blank for any number of blanks; found out if not "
            "given.",
            show_default=False,
        ),
    ],
    "comment": Annotated[
        str | None,
        typer.Option(metavar="MARK", help="CSV: what begins a comment.", show_default=False),
    ],
    "encoding": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="CSV: how characters are encoded; UTF-8 if not given and unmarked.",
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
