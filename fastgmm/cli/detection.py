"""The command ``detect``: outliers by the density of a mixture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from fastgmm.cli import options
from fastgmm.cli.models import (
    as_modeled,
    check_fit_or_model,
    load_for,
    names_of,
    open_for_fit,
    open_rows,
    print_fitted,
    replayable,
)
from fastgmm.cli.output import outputs_of, write_if_asked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastgmm.data.source import Source
    from fastgmm.estimators.operating_point import OperatingPoint, Target
    from fastgmm.estimators.outlier_detector import GaussianMixtureOutlierDetector

_FOR_A_FIT = ("contamination", "covariance_type")
"""Parameters that only apply to a fit, besides those of all fits."""

THRESHOLD = "Threshold"

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
        options.option(
            "Number of components, to fit a detector; without it, the detector in --model is used.",
            "--n-components",
            "-k",
            panel=options.MODEL,
            min=1,
        ),
    ] = None,
    model: Annotated[
        Path | None, options.model("Detector to use, as an earlier detect wrote it.")
    ] = None,
    output: Annotated[
        list[Path] | None,
        options.outputs("the detector", "log_density and is_outlier of each row"),
    ] = None,
    contamination: Annotated[
        str,
        options.shown(
            "Proportion of outliers in the data, up to 0.5; auto takes a density level of the "
            "mixture.",
            panel=THRESHOLD,
            metavar="auto|SHARE",
        ),
    ] = "auto",
    label_column: Annotated[
        str | None,
        options.option(
            "Column with true labels, -1 for outliers and 1 for inliers, or 1 for outliers "
            "and 0 for inliers; prints how well the threshold separates them.",
            panel=THRESHOLD,
            metavar="NAME",
        ),
    ] = None,
    f1: Annotated[
        bool,
        options.flag("Choose the threshold with the highest F1 score.", "--f1", panel=THRESHOLD),
    ] = False,
    target_precision: Annotated[
        float | None,
        options.option(
            "Choose the threshold that finds most outliers at a precision of at least this.",
            panel=THRESHOLD,
            min=0.0,
            max=1.0,
        ),
    ] = None,
    target_fpr: Annotated[
        float | None,
        options.option(
            "Choose the threshold that finds most outliers at a false positive rate of at "
            "most this.",
            panel=THRESHOLD,
            min=0.0,
            max=1.0,
        ),
    ] = None,
    explain: Annotated[
        bool,
        options.flag(
            "Add to the table why each row is an outlier or not: the nearest component, the "
            "distance from it, how surprising each feature is given the others, and the smallest "
            "change that makes the row ordinary.",
            "--explain",
            panel=options.MODEL,
        ),
    ] = False,
    covariance_type: options.CovarianceType = "full",
    missing: options.MissingOrAsInFit = None,
    *,
    em: options.Em,
    reading: options.FitReading,
    printing: options.Printing,
) -> None:
    """Detect outliers: rows where the density of a mixture is low.

    With -k a detector is fitted; -m names one to use, and -o a file for it with a new threshold.

    Example: fastgmm detect data.csv -k 3 -o usual.fgm -o found.csv
    """
    choice = _choice(f1, target_precision, target_fpr)
    if choice is not None and label_column is None:
        raise ValueError(
            f"{choice.option} chooses a threshold by labels: name the column that holds them with "
            "--label-column"
        )
    fits = check_fit_or_model(context, model, "detector", _FOR_A_FIT)
    has_new = fits or choice is not None
    kind = "an outlier detector" if has_new else None
    outputs = outputs_of(output, data, kind=kind, printing=printing, missing=missing)
    if explain and outputs.table is None:
        raise ValueError("--explain adds columns to the table of rows: name one with -o")
    if model is not None:
        given = {} if em.n_jobs is None else {"n_jobs": em.n_jobs}
        stored = load_for("detect", model, **given, **as_modeled(missing))
        detector, names = stored
        rows = open_rows(data, stored, reading, label_column=label_column, missing=missing)
    else:
        assert n_components is not None  # as was checked
        share = options.number_or_auto("--contamination", contamination, 0.5, ", at most 0.5")
        source = open_for_fit(data, reading, label_column=label_column, missing=missing or "error")
        rows = replayable(source, reading.memory)
        # Loaded only now, so that errors are raised at once.
        from fastgmm import GaussianMixtureOutlierDetector
        from fastgmm.cli.fit_with_progress import fit_with_progress

        detector = GaussianMixtureOutlierDetector(
            n_components,
            covariance_type=covariance_type,
            contamination=share,
            **vars(em),
            **as_modeled(missing),
        )
        fit_with_progress(detector, rows, quiet=printing.quiet)
        names = names_of(detector)
    import numpy as np

    point = _operating_point(detector, rows, choice)
    found = _Counted()
    columns = found.columns(detector.score_samples_blocks(rows), detector.offset_)
    if explain:
        vars(detector).pop("feature_names_in_", None)  # blocks of rows have none
        columns = found.explained(detector, rows, names)
    write_if_asked(outputs.table, columns)
    if outputs.model is not None:
        if names is not None:
            detector.feature_names_in_ = np.array(names, dtype=object)
        detector.save(outputs.model)
    mixture = detector.mixture_
    figures = {} if point is None else {name: getattr(point, name) for name in _FIGURES}
    document = {
        "n_components": mixture.n_components,
        "covariance_type": mixture.covariance_type,
        "contamination": detector.contamination,
        "threshold": detector.offset_,
        "n_outliers": found.n_outliers,
        "operating_point": figures or None,
    }
    pairs = {
        "mixture": f"{mixture.n_components} components, {mixture.covariance_type}",
        "threshold": f"log-density {detector.offset_:.6f}",
        "outliers": f"{found.n_outliers} rows, {found.n_outliers / max(found.n_samples, 1):.2%}",
        **{_FIGURES[name]: f"{value:.4f}" for name, value in figures.items()},
    }
    n_samples = found.n_samples
    print_fitted(printing.as_json, data, rows, outputs, document, pairs, n_samples=n_samples)


class _Choice(NamedTuple):
    """The option that asks for a threshold, and what `choose_threshold` is to be given."""

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
        import numpy as np

        for block in scores:
            is_outlier = (np.asarray(block, dtype=np.float64) < offset).astype(np.int64)
            self.n_samples += len(block)
            self.n_outliers += int(is_outlier.sum())
            yield {"log_density": block, "is_outlier": is_outlier}

    def explained(
        self,
        detector: GaussianMixtureOutlierDetector,
        rows: Source,
        names: Sequence[str] | None,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the columns of a table with the reasons, block by block of rows."""
        for X, _ in rows.blocks():
            found = detector.explain(X.copy())
            (columns,) = self.columns([found.log_densities], detector.offset_)
            columns |= {"component": found.components, "distance": found.distances}
            for j, name in enumerate(names or [f"x{j}" for j in range(X.shape[1])]):
                columns[f"surprise_{name}"] = found.surprises[:, j]
                columns[f"change_{name}"] = found.changes[:, j]
            yield columns
