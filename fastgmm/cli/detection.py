"""The command ``detect``: outliers by the density of a mixture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from fastgmm.cli import options
from fastgmm.cli.models import (
    LoadedModel,
    Names,
    as_modeled,
    check_labels_can_be_read,
    check_model_path,
    check_no_rows_dropped,
    check_only_for_a_fit,
    column_document,
    column_pairs,
    load_detector,
    open_rows,
    replayable,
)
from fastgmm.cli.output import (
    STANDARD_OUTPUT,
    check_not_read,
    check_output,
    print_json,
    print_pairs,
    write_columns,
)

if TYPE_CHECKING:
    from fastgmm.data.source import Source
    from fastgmm.estimators.operating_point import OperatingPoint, Target
    from fastgmm.estimators.outlier_detector import GaussianMixtureOutlierDetector

_FOR_A_FIT = (
    "contamination",
    "covariance_type",
    "tol",
    "max_iter",
    "n_init",
    "reg_covar",
    "random_state",
    "columns",
    "weight_column",
)
"""Parameters that only apply to a fit."""

_CHOICES = ("--f1", "--target-precision", "--target-fpr")

_FIGURES = {
    "precision": "precision",
    "recall": "recall",
    "false_positive_rate": "false positives",
    "f1": "F1 score",
    "average_precision": "average precision",
    "roc_auc": "area of ROC",
}
"""What is reported of an operating point, and its titles."""


def detect(
    context: typer.Context,
    data: options.Data,
    n_components: Annotated[
        int | None,
        typer.Option(
            "--n-components",
            "-k",
            min=1,
            help="Number of components, to fit a detector; without it, the detector in --model is "
            "used.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="TABLE",
            help="File to write log_density and is_outlier of each row to, .csv, .npy or .parquet; "
            "- writes CSV to standard output.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="With -k, file to save the detector to, ending in .fgm; without, the detector to "
            "use.",
            show_default=False,
        ),
    ] = None,
    contamination: Annotated[
        str,
        typer.Option(
            metavar="auto|SHARE",
            help="Proportion of outliers in the data, up to 0.5; auto takes a density level of the "
            "mixture.",
        ),
    ] = "auto",
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column with true labels, -1 for outliers and 1 for inliers, or 1 for outliers "
            "and 0 for inliers; prints how well the threshold separates them.",
            show_default=False,
        ),
    ] = None,
    f1: Annotated[
        bool, typer.Option("--f1", help="Choose the threshold with the highest F1 score.")
    ] = False,
    target_precision: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Choose the threshold that finds most outliers at a precision of at least this.",
            show_default=False,
        ),
    ] = None,
    target_fpr: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Choose the threshold that finds most outliers at a false positive rate of at "
            "most this.",
            show_default=False,
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Without -k: save the chosen threshold to the model."),
    ] = False,
    covariance_type: options.CovarianceType = "full",
    tol: options.Tolerance = 1e-3,
    max_iter: options.MaxIter = 100,
    n_init: options.NInit = 1,
    reg_covar: options.RegCovar = 1e-6,
    random_state: options.RandomState = None,
    columns: options.Columns = None,
    weight_column: options.WeightColumn = None,
    memory: options.Memory = "1GB",
    missing: options.MissingOrAsInFit = None,
    n_jobs: options.NJobs = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    csv: options.CsvReading,
) -> None:
    """Detect outliers: rows where the density of a mixture is low."""
    choice = _choice(f1, target_precision, target_fpr)
    if choice is not None and label_column is None:
        raise ValueError(
            f"{choice.option} chooses a threshold by labels: name the column that holds them with "
            "--label-column"
        )
    if output is not None:
        check_no_rows_dropped(missing, "--output")
    check_output(output, as_json)
    for result in (output, model if n_components is not None else None):
        check_not_read(result, data)
    if n_components is None:
        if model is None:
            raise ValueError("give -k to fit a detector, or --model for an existing one")
        check_only_for_a_fit(context, _FOR_A_FIT)
        if update and choice is None:
            raise ValueError(
                f"--update saves a new threshold: choose one with {', '.join(_CHOICES)}"
            )
        detector, names = load_detector(
            model, **({} if n_jobs is None else {"n_jobs": n_jobs}), **as_modeled(missing)
        )
        used = LoadedModel(detector.mixture_, names)
        rows = open_rows(
            data, used, memory=memory, label_column=label_column, missing=missing, csv=csv
        )
        if label_column is not None:
            check_labels_can_be_read(rows)
    else:
        if update:
            raise ValueError("--update is for an existing detector: leave out --update or -k")
        share = _share(contamination)
        check_model_path(model)
        from fastgmm.data.opening import open_data

        source = open_data(
            data,
            columns=options.split_columns(columns),
            weight_column=weight_column,
            label_column=label_column,
            memory_budget=memory,
            missing=missing or "error",
            **csv,
        )
        if label_column is not None:
            check_labels_can_be_read(source)
        rows = replayable(source, memory)
        # Loaded only now, so that mistakes are told at once.
        from fastgmm import GaussianMixtureOutlierDetector
        from fastgmm.cli.watched_fit import fit_while_reading_is_shown

        detector = GaussianMixtureOutlierDetector(
            n_components,
            covariance_type=covariance_type,
            contamination=share,
            tol=tol,
            reg_covar=reg_covar,
            max_iter=max_iter,
            n_init=n_init,
            random_state=random_state,
            n_jobs=n_jobs,
            **as_modeled(missing),
        )
        fit_while_reading_is_shown(detector, rows, quiet=quiet)
        names = _names_of(detector)
    point = _operating_point(detector, rows, choice)
    found = _Counted()
    blocks = found.columns(detector.score_samples_blocks(rows), detector.offset_)
    if output is None:
        for _ in blocks:
            pass
    else:
        write_columns(output, blocks)
    if model is not None and (n_components is not None or update):
        if names is not None:
            detector.feature_names_in_ = np.array(names, dtype=object)
        detector.save(model)
    if output == STANDARD_OUTPUT:
        return  # which the table has for itself
    told = _Told(data, detector, rows, found, point, output, model)
    if as_json:
        print_json(told.document())
    else:
        print_pairs(told.pairs())


class _Choice(NamedTuple):
    """How a threshold is to be chosen.

    Attributes
    ----------
    option : str
        The option that asks for it.
    target : str
        The same as `choose_threshold` takes it.
    value : float or None
        What is wanted.
    """

    option: str
    target: Target
    value: float | None


def _choice(f1: bool, precision: float | None, rate: float | None) -> _Choice | None:
    """Return the one of three ways that was asked for, if one was."""
    wanted = (f1 or None, precision, rate)
    targets: tuple[Target, ...] = ("f1", "precision", "false_positive_rate")
    asked = [
        _Choice(option, target, None if target == "f1" else value)
        for option, target, value in zip(_CHOICES, targets, wanted, strict=True)
        if value is not None
    ]
    if len(asked) > 1:
        raise ValueError(
            f"{asked[0].option} and {asked[1].option} each choose the threshold: give one of them"
        )
    return asked[0] if asked else None


def _share(contamination: str) -> float | Literal["auto"]:
    """Return the share of outliers that was asked for, a number unless it follows."""
    if contamination == "auto":
        return "auto"
    try:
        share = float(contamination)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 0.5:
        raise ValueError(
            f"--contamination must be auto or a number above 0, at most 0.5; got {contamination!r}"
        )
    return share


def _names_of(detector: GaussianMixtureOutlierDetector) -> Names:
    names = getattr(detector, "feature_names_in_", None)
    return None if names is None else tuple(map(str, names))


def _operating_point(
    detector: GaussianMixtureOutlierDetector, rows: Source, choice: _Choice | None
) -> OperatingPoint | None:
    """Choose the threshold, if that is wanted, and return what it does to rows with labels."""
    labels = rows.labels()
    if labels is None:
        return None
    if choice is None:
        return detector.operating_point(rows, labels)
    return detector.choose_threshold(rows, labels, choice.target, choice.value)


class _Counted:
    """Counts rows and outliers while they are written."""

    def __init__(self) -> None:
        self.n_samples = self.n_outliers = 0

    def columns(
        self, scores: Iterable[NDArray[Any]], offset: float
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the columns of a table from blocks of log-densities."""
        for block in scores:
            is_outlier = (np.asarray(block, dtype=np.float64) < offset).astype(np.int64)
            self.n_samples += len(block)
            self.n_outliers += int(is_outlier.sum())
            yield {"log_density": block, "is_outlier": is_outlier}


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said of a detector and of the rows it was used on."""

    data: list[str]
    detector: GaussianMixtureOutlierDetector
    rows: Source
    found: _Counted
    point: OperatingPoint | None
    output: Path | None
    model: Path | None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        mixture, point = self.detector.mixture_, self.point
        chosen = {} if point is None else {name: getattr(point, name) for name in _FIGURES}
        return {
            "data": self.data,
            "n_samples": self.found.n_samples,
            "n_features": self.rows.n_features,
            **column_document(self.rows),
            "n_components": mixture.n_components,
            "covariance_type": mixture.covariance_type,
            "contamination": self.detector.contamination,
            "threshold": self.detector.offset_,
            "n_outliers": self.found.n_outliers,
            "operating_point": chosen or None,
            "output": self.output,
            "model": self.model,
        }

    def pairs(self) -> dict[str, object]:
        """Return the summary as text."""
        mixture, found = self.detector.mixture_, self.found
        share = found.n_outliers / max(found.n_samples, 1)
        pairs: dict[str, object] = {
            "data": f"{found.n_samples} rows, {self.rows.n_features} columns",
            **column_pairs(self.rows),
            "mixture": f"{mixture.n_components} components, {mixture.covariance_type}",
            "threshold": f"log-density {self.detector.offset_:.6f}",
            "outliers": f"{found.n_outliers} rows, {share:.2%}",
        }
        if self.point is not None:
            for name, title in _FIGURES.items():
                pairs[title] = f"{getattr(self.point, name):.4f}"
        for title, path in (("output", self.output), ("model", self.model)):
            if path is not None:
                pairs[title] = path
        return pairs
