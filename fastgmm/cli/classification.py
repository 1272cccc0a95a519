"""The command ``classify``: classes with a mixture each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fastgmm.cli import options
from fastgmm.cli.model_choice import numbers_of, structures_of
from fastgmm.cli.models import (
    as_modeled,
    check_fit_or_model,
    check_labels_can_be_read,
    load_for,
    open_for_fit,
    open_rows,
    print_fitted,
)
from fastgmm.cli.output import outputs_of, write_if_asked
from fastgmm.data.column_names import name_list

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastgmm.data.options import MissingPolicy
    from fastgmm.data.source import Source
    from fastgmm.estimators.classifier import GaussianMixtureClassifier

_FOR_A_FIT = ("structures", "selection", "semi_supervised", "reject_below")
"""Parameters that only apply to a fit, besides those of all fits."""


def classify(
    context: typer.Context,
    data: options.Data,
    n_components: Annotated[
        str | None,
        options.option(
            "Number of components per class, or a range A:B to choose from, to fit a "
            "classifier; without it, the classifier in --model is used.",
            "--n-components",
            "-k",
            panel=options.MODEL,
            metavar="K|A:B",
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        options.option(
            "Column with the classes: the target of the fit, or of the accuracy.",
            panel=options.DATA,
            metavar="NAME",
        ),
    ] = None,
    model: Annotated[
        Path | None, options.model("Classifier to use, as an earlier classify wrote it.")
    ] = None,
    output: Annotated[
        list[Path] | None, options.outputs("the classifier", "the class of each row")
    ] = None,
    proba: Annotated[
        bool, options.flag("Write the class probabilities instead.", "--proba")
    ] = False,
    structures: Annotated[
        str,
        options.shown(
            "Covariance structures to choose from.", panel=options.MODEL, metavar="all|A,B,…"
        ),
    ] = "all",
    selection: Annotated[
        Literal["average", "bic"],
        options.shown(
            "With one component per class: average over the structures, or the best.",
            panel=options.MODEL,
        ),
    ] = "average",
    semi_supervised: Annotated[
        bool,
        options.flag(
            "Also learn from rows without a class, or with -1.",
            "--semi-supervised",
            panel=options.FIT,
        ),
    ] = False,
    reject_below: Annotated[
        float | None,
        options.option(
            "Reject rows that no class explains, at most this share of each class's own.",
            panel=options.MODEL,
            metavar="SHARE",
        ),
    ] = None,
    missing: options.MissingOrAsInFit = None,
    *,
    em: options.Em,
    reading: options.FitReading,
    printing: options.Printing,
) -> None:
    """Fit a mixture to each class, and predict the class of each row.

    With -k a classifier is fitted; -m names one to use.

    Example: fastgmm classify data.csv -k 1 --label-column species -o kinds.fgm
    """
    fits = check_fit_or_model(context, model, "classifier", _FOR_A_FIT)
    kind = "a classifier" if fits else None
    outputs = outputs_of(output, data, kind=kind, printing=printing, missing=missing)
    table = outputs.table
    if proba and table is None:
        raise ValueError("--proba is for the table that --output names")
    y: npt.NDArray[Any] | None = None
    if n_components is None:
        assert model is not None  # as was checked
        used = load_for("classify", model, n_jobs=em.n_jobs, **as_modeled(missing))
        classifier = used.model
        missing = missing or ("model" if classifier.missing == "model" else "error")
        if label_column is not None:
            labeled = open_rows(data, used, reading, missing=_of_labels(missing))
            y = _labels(labeled, label_column, missing)
            if not set(y.tolist()) & set(classifier.classes_.tolist()):
                raise ValueError(
                    f"no row has one of the classifier's classes in column {label_column!r}: these "
                    f"are {name_list(list(map(str, classifier.classes_)))}"
                )
        rows = open_rows(data, used, reading, missing=missing)
    else:
        if label_column is None:
            raise ValueError("a fit needs the classes of rows: name their column, --label-column")
        missing = missing or "error"
        numbers, kinds = numbers_of(n_components), structures_of(structures)
        without = [label_column] if reading.columns is None else []
        rows = open_for_fit(data, reading, without=without, missing=missing)
        check_labels_can_be_read(rows)
        labeled = open_for_fit(data, reading, without=without, missing=_of_labels(missing))
        y = _labels(labeled, label_column, missing)
        # Loaded only now, so that errors are raised at once.
        from fastgmm import GaussianMixtureClassifier
        from fastgmm.cli.fit_with_progress import fit_with_progress

        classifier = GaussianMixtureClassifier(
            numbers[0] if len(numbers) == 1 else numbers,
            covariance_type=kinds,
            selection=selection,
            semi_supervised=semi_supervised,
            reject_below=reject_below,
            **vars(em),
            **as_modeled(missing),
        )
        known = _unknown_as_minus_one(y) if semi_supervised else y
        fit_with_progress(classifier, rows, known, quiet=printing.quiet)
    if label_column is not None:
        rows.unused_columns = {**rows.unused_columns, label_column: "classes"}
    if table is not None and table.suffix.lower() == ".npy" and not proba:
        _check_numbers(table, classifier.classes_)
    found = _Found(classifier, y)
    write_if_asked(table, found.probabilities(rows) if proba else found.classes(rows))
    if outputs.model is not None:
        classifier.save(outputs.model)
    # An average of structures has the components of each, one after the other.
    n_averaged = max(1, len(classifier.structure_shares_))
    numbers_of_classes = [each.n_components // n_averaged for each in classifier.mixtures_]
    shares = classifier.structure_shares_
    names = [mixture.covariance_type for mixture in classifier.mixtures_]
    document = {
        "classes": classifier.classes_,
        "class_prior": classifier.class_prior_,
        "n_components": numbers_of_classes,
        "structures": shares or names,
        "predicted": found.predicted,
        "accuracy": found.accuracy,
    }
    accuracy = None if found.accuracy is None else f"{found.accuracy:.4f}"
    pairs = {
        "classes": ", ".join(map(str, classifier.classes_)),
        "components": ", ".join(map(str, numbers_of_classes)),
        "structures": ", ".join([f"{name} {share:.0%}" for name, share in shares.items()] or names),
        "predicted": ", ".join(f"{name} {count}" for name, count in found.predicted.items()),
        "training accuracy" if fits else "accuracy": accuracy,
    }
    n_samples = found.n_samples
    print_fitted(printing.as_json, data, rows, outputs, document, pairs, n_samples=n_samples)


def _of_labels(missing: MissingPolicy) -> MissingPolicy:
    """Return how to open rows whose labels are read: all of them, as columns go along with all."""
    return "error" if missing == "error" else "model"


def _labels(rows: Source, name: str, missing: MissingPolicy) -> npt.NDArray[Any]:
    from fastgmm.data.label_columns import class_labels
    from fastgmm.data.sources.file_source import FileSource

    check_labels_can_be_read(rows)
    assert isinstance(rows, FileSource)  # as paths are opened
    return class_labels(rows, name, of_complete_rows=missing == "drop")


def _unknown_as_minus_one(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels in which -1 stands where there is none, so that the others keep their type."""
    import numpy as np

    if labels.dtype.kind == "O":
        return np.array(["-1" if value is None else value for value in labels])
    known = np.where(np.isnan(labels), -1.0, labels) if labels.dtype.kind == "f" else labels
    whole = known.dtype.kind == "f" and (known == np.floor(known)).all()
    return known.astype(np.int64) if whole else known


def _check_numbers(output: Path, classes: npt.NDArray[Any]) -> None:
    if classes.dtype.kind not in "biuf":
        raise ValueError(
            f"cannot write {str(output)!r}: .npy files cannot hold classes that are text: take "
            ".csv or .parquet, or --proba"
        )


class _Found:
    """Counts what is predicted while it is written."""

    def __init__(
        self, classifier: GaussianMixtureClassifier, labels: npt.NDArray[Any] | None
    ) -> None:
        self._classifier = classifier
        self._labels = labels
        self._n_right = self._n_known = 0
        self.n_samples = 0
        self.predicted: dict[str, int] = {}

    @property
    def accuracy(self) -> float | None:
        """The share of the rows of known class that are predicted right."""
        return self._n_right / self._n_known if self._n_known else None

    def classes(self, rows: Source) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield the class of each row as a table, block by block."""
        for block in self._classifier.predict_blocks(rows):
            self._count(block)
            yield {"class": block}

    def probabilities(self, rows: Source) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield the probabilities of the classes as a table, block by block."""
        import numpy as np

        classes = self._classifier.classes_
        for block in self._classifier.predict_proba_blocks(rows):
            self._count(classes[block.argmax(axis=1)])
            yield {
                f"class_{name}": np.ascontiguousarray(block[:, c]) for c, name in enumerate(classes)
            }

    def _count(self, predicted: npt.NDArray[Any]) -> None:
        import numpy as np

        names, counts = np.unique(predicted, return_counts=True)
        for name, count in zip(names.tolist(), counts.tolist(), strict=True):
            self.predicted[str(name)] = self.predicted.get(str(name), 0) + count
        if self._labels is not None:
            true = self._labels[self.n_samples : self.n_samples + len(predicted)]
            known = np.isin(true, self._classifier.classes_)
            self._n_known += int(known.sum())
            self._n_right += int((true[known] == predicted[known]).sum())
        self.n_samples += len(predicted)
