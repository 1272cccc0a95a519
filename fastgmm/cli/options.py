"""Arguments and options that several commands take, under scikit-learn's names."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from fastgmm.mixture import covariance_types

# Panels of the help, by topic.
MODEL = "Model"
FIT = "Fitting"
DATA = "Data"
CSV = "CSV files"
RESULT = "Results"
CHECKPOINTS = "Checkpoints"


def option(help: str, *names: str, panel: str = RESULT, **settings: Any) -> Any:
    """Return an option, in a panel of the help; its default is not shown unless that is asked."""
    settings.setdefault("show_default", False)
    if "min" in settings:
        settings.setdefault("metavar", "N" if isinstance(settings["min"], int) else "NUMBER")
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


def shown(help: str, *names: str, panel: str = FIT, **settings: Any) -> Any:
    """Return an option whose default is shown."""
    return option(help, *names, panel=panel, show_default=True, **settings)


def flag(help: str, *names: str, **settings: Any) -> Any:
    """Return an option without a value."""
    return option(help, *names, metavar="", **settings)


def outputs(model: str, table: str) -> Any:
    """Return the option ``--output`` of a command that writes a model, a table, or both."""
    return option(
        f"File to write: {model} if it ends in .fgm, {table} if in .csv, .npy or .parquet; - "
        "writes CSV to standard output. Give it twice for both.",
        "--output",
        "-o",
        metavar="FILE",
    )


def _print_version(asked: bool) -> None:
    if asked:
        import fastgmm

        print(f"fastgmm {fastgmm.__version__}")
        raise typer.Exit


def _print_help(context: typer.Context, asked: bool) -> None:
    if asked:
        context.get_help()
        raise typer.Exit


def model(help: str) -> Any:
    """Return the option ``--model``, which names a file to read."""
    return option(help, "--model", "-m", panel=MODEL, metavar="MODEL")


Checkpoint = Annotated[
    Path | None,
    option("Save the state of the fit to this file.", panel=CHECKPOINTS, metavar="FILE"),
]
CheckpointInterval = Annotated[
    float, shown("Seconds between checkpoints.", panel=CHECKPOINTS, min=0.0)
]
Resume = Annotated[
    bool, flag("Resume from the checkpoint, if there is one.", "--resume", panel=CHECKPOINTS)
]
CovarianceType = Annotated[
    covariance_types.CovarianceType,
    shown(
        "Type of the covariance parameters: "
        f"{', '.join(get_args(covariance_types.CovarianceType))}.",
        panel=MODEL,
        metavar="NAME",
    ),
]
AnyCovarianceType = Annotated[
    Literal[covariance_types.CovarianceType, covariance_types.FactorType],
    shown(
        "Type of the covariance parameters: "
        f"{', '.join(get_args(covariance_types.CovarianceType))}; or, of factor analyzers, "
        f"{', '.join(get_args(covariance_types.FactorType))}.",
        panel=MODEL,
        metavar="NAME",
    ),
]
Dask = Annotated[
    str | None,
    option(
        "Let the workers of a Dask cluster read the data and work on them: the address of its "
        "scheduler, or local:N for N processes here.",
        metavar="tcp://…|local:N",
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="Files, folders or glob patterns: Parquet, CSV, Arrow, .npy, .npz, HDF5, Zarr or "
        "images; - reads standard input.",
        show_default=False,
    ),
]
Frozen = Annotated[
    list[str] | None,
    option(
        "Keep the weights, means or covariances of --init-from, those of all components or, as in "
        "means=0,2, of some; may be given several times.",
        panel=FIT,
        metavar="NAME[=K,K,…]",
    ),
]
Help = Annotated[
    bool,
    flag(
        "Show this message and exit.",
        "--help",
        "-h",
        panel="Options",
        callback=_print_help,
        is_eager=True,
    ),
]
InitParams = Annotated[
    Literal["kmeans", "k-means++", "afk-mc2", "random", "random_from_data", "hierarchical"],
    shown(
        "Method of initialization: kmeans, k-means++, afk-mc2, random, random_from_data or "
        "hierarchical.",
        metavar="NAME",
    ),
]
ErrorPolicy = Annotated[
    Literal["raise", "skip"],
    shown("Damaged files: raise an error, or skip the damaged parts.", "--on-error", panel=DATA),
]
Json = Annotated[bool, flag("Print one JSON object instead of text.", "--json")]
LabelColumn = Annotated[
    str | None,
    option(
        "Column with the known components of rows, counted from 0; -1 or empty where unknown.",
        panel=DATA,
        metavar="NAME",
    ),
]
MaxIter = Annotated[int, shown("Maximum number of iterations.", min=1)]
Memory = Annotated[
    str,
    shown("Memory limit for reading the data, such as 500MB or 2GB.", panel=DATA, metavar="SIZE"),
]
MissingPolicy = Annotated[
    Literal["error", "drop", "model"],
    shown(
        "Rows with missing values: raise an error, drop, or fit using their observed values.",
        "--missing",
        panel=DATA,
    ),
]
MissingOrAsInFit = Annotated[
    Literal["error", "drop", "model"] | None,
    option(
        "Rows with missing values: raise an error, drop, or use their observed values; by "
        "default as in the fit of the model, or raise an error.",
        "--missing",
        panel=DATA,
    ),
]
ModelFile = Annotated[Path, model("Model file to use, as fit writes it.")]
NComponents = Annotated[
    int, option("Number of components.", "--n-components", "-k", panel=MODEL, min=1)
]
NJobs = Annotated[int | None, option("Number of threads; all by default.", panel=FIT, min=1)]
NoiseVolume = Annotated[
    str | None,
    option(
        "Add a uniform noise component over a region of this volume; auto takes the volume "
        "of a box around the rows.",
        panel=MODEL,
        metavar="auto|NUMBER",
    ),
]
Priors = Annotated[
    Literal["mclust"] | None,
    option("Maximum a posteriori estimation with mclust's priors.", panel=MODEL),
]
Quiet = Annotated[bool, flag("Do not show progress.", "--quiet", "-q")]
RandomState = Annotated[
    int | None,
    option(
        "Seed of the random number generator, for reproducible results.",
        "--seed",
        panel=FIT,
        min=0,
    ),
]
RegCovar = Annotated[
    float, shown("Non-negative regularization added to the variances.", panel=MODEL, min=0.0)
]
RegCovarScale = Annotated[
    Literal["auto", "absolute", "relative"],
    shown("Scale of reg-covar: absolute, or relative to the features' variances.", panel=MODEL),
]
Version = Annotated[
    bool,
    flag(
        "Print the version and exit.",
        "--version",
        "-V",
        panel="Options",
        callback=_print_version,
        is_eager=True,
    ),
]
TableOutput = Annotated[
    Path | None,
    option(
        "Output file: .csv, .npy or .parquet; CSV on standard output by default, or with -.",
        "--output",
        "-o",
        metavar="TABLE",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Csv:
    """How CSV is read; a command that takes a group of options has all of them."""

    header: Annotated[
        bool | None,
        flag(
            "Whether the first row is a header; detected by default.",
            "--header/--no-header",
            panel=CSV,
        ),
    ] = None
    na_values: Annotated[
        str | None,
        option(
            "Additional markers of missing values, besides NA, None, empty fields etc.",
            panel=CSV,
            metavar="A,B,…",
        ),
    ] = None
    decimal: Annotated[str | None, option("Decimal mark, . or ,", panel=CSV, metavar="MARK")] = None
    delimiter: Annotated[
        str | None,
        option(
            "Field separator, a blank for any number of blanks; detected by default.",
            panel=CSV,
            metavar="MARK",
        ),
    ] = None
    comment: Annotated[str | None, option("Comment marker.", panel=CSV, metavar="MARK")] = None
    encoding: Annotated[
        str | None,
        option(
            "Character encoding; UTF-8 by default, unless a byte order mark is found.",
            panel=CSV,
            metavar="NAME",
        ),
    ] = None

    def csv(self) -> dict[str, Any]:
        """Return what is given of CSV, as `open_data` takes it."""
        given = {field.name: getattr(self, field.name) for field in fields(Csv)}
        given["na_values"] = None if self.na_values is None else self.na_values.split(",")
        return {name: value for name, value in given.items() if value is not None}

    def refuse_csv(self, why: str) -> None:
        """Raise if something is said of CSV where none is read."""
        for name in self.csv():
            raise ValueError(f"--{name.replace('_', '-')} is for CSV, and {why}: leave it out")


@dataclass(frozen=True, kw_only=True)
class Reading(Csv):
    """How rows are read."""

    memory: Memory = "1GB"


@dataclass(frozen=True, kw_only=True)
class FitReading(Reading):
    """How the rows of a fit are read."""

    columns: Annotated[
        str | None,
        option(
            "Columns to use; all by default. Columns without a name are called x0, x1, …",
            panel=DATA,
            metavar="A,B,…",
        ),
    ] = None
    exclude: Annotated[
        str | None,
        option("Columns not to use, of all that there are.", panel=DATA, metavar="A,B,…"),
    ] = None
    weight_column: Annotated[
        str | None, option("Column with the sample weights.", panel=DATA, metavar="NAME")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Em:
    """How a mixture is fitted, under the names of the estimators' parameters."""

    tol: Annotated[
        float,
        shown("Convergence threshold: the smallest gain per iteration, in nats per row.", min=0.0),
    ] = 1e-3
    max_iter: MaxIter = 100
    n_init: Annotated[int, shown("Number of initializations; the best result is kept.", min=1)] = 1
    reg_covar: RegCovar = 1e-6
    random_state: RandomState = None
    n_jobs: NJobs = None


@dataclass(frozen=True, kw_only=True)
class Printing:
    """What is printed of a fit, and what it may replace."""

    force: Annotated[
        bool,
        flag("Also replace a file that holds a model of another kind, or none.", "--force"),
    ] = False
    as_json: Json = False
    quiet: Quiet = False


FOR_A_FIT = [
    each.name
    for each in (*fields(Em), *fields(FitReading))
    if each not in fields(Reading) and each.name != "n_jobs"
]
"""Options of these groups that only apply where something is fitted."""


def with_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command whose parameters that are groups of options are these options, one by one.

    All commands take ``--quiet``, those that show no progress, too, ``--version`` and ``--help``.
    """
    own = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: each.annotation
        for name, each in own.parameters.items()
        if is_dataclass(each.annotation)
    }
    parameters = {name: each for name, each in own.parameters.items() if name not in groups}
    extra: dict[str, tuple[Any, Any]] = {}
    for group in groups.values():
        kinds = get_type_hints(group, include_extras=True)
        extra |= {each.name: (kinds[each.name], each.default) for each in fields(group)}
    common = {"quiet": (Quiet, False), "version": (Version, False), "help": (Help, False)}
    common = {name: each for name, each in common.items() if name not in {*parameters, *extra}}
    for name, (kind, default) in {**extra, **common}.items():
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters[name] = inspect.Parameter(name, keyword, default=default, annotation=kind)

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        for name in common:
            del values[name]
        for name, group in groups.items():
            values[name] = group(**{each.name: values.pop(each.name) for each in fields(group)})
        return command(**values)

    ordered = sorted(parameters.values(), key=lambda each: each.kind)
    run.__signature__ = own.replace(parameters=ordered)  # type: ignore[attr-defined]
    return run


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


def frozen_parameters(given: list[str], n_components: int) -> dict[str, bool | list[int]]:
    """Return which parameters ``--frozen`` names, in the form of the estimators' parameter."""
    found: dict[str, bool | list[int]] = {}
    for each in given:
        kind, equals, numbers = each.partition("=")
        listed = numbers.split(",") if equals else []
        known = kind in ("weights", "means", "covariances") and kind not in found
        if not known or not set(listed) <= set(map(str, range(n_components))):
            raise ValueError(
                "--frozen takes weights, means and covariances, each once, alone or with "
                f"components from 0 to {n_components - 1}, as in means=0; got {each!r}"
            )
        found[kind] = list(map(int, listed)) if equals else True
    return found


def split_columns(columns: str | None) -> list[str] | None:
    """Return the names in a list separated by commas, or None for None."""
    return None if columns is None else [name.strip() for name in columns.split(",")]
