"""The command ``classify``: classes with a mixture each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fastgmm.cli import options
from fastgmm.cli.model_choice import numbers_of, structures_of
from fastgmm.cli.models import (
    as_modeled,
    check_fit_or_model,
    check_labels_can_be_read,
    check_no_rows_dropped,
    check_only_for_a_fit,
    data_document,
    data_pairs,
    load_for,
    open_for_fit,
    open_rows,
)
from fastgmm.cli.output import STANDARD_OUTPUT, outputs_of, print_result, write_if_asked
from fastgmm.data.column_names import name_list

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastgmm.data.options import MissingPolicy
    from fastgmm.data.source import Source
    from fastgmm.estimators.classifier import GaussianMixtureClassifier

_FOR_A_FIT = (
    "structures",
    "selection",
    "semi_supervised",
    "reject_below",
    "tol",
    "max_iter",
    "n_init",
    "reg_covar",
    "random_state",
    "columns",
    "exclude",
    "weight_column",
)
"""Parameters that only apply to a fit."""


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
        bool, options.option("Write the class probabilities instead.", "--proba")
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
        options.option(
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
    tol: options.Tolerance = 1e-3,
    max_iter: options.MaxIter = 100,
    n_init: options.NInit = 1,
    reg_covar: options.RegCovar = 1e-6,
    random_state: options.RandomState = None,
    columns: options.Columns = None,
    exclude: options.Exclude = None,
    weight_column: options.WeightColumn = None,
    memory: options.Memory = "1GB",
    missing: options.MissingOrAsInFit = None,
    n_jobs: options.NJobs = None,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    *,
    csv: options.CsvReading,
) -> None:
    """Fit a mixture to each class, and predict the class of each row.

    With -k a classifier is fitted; -m names one to use.

    Example: fastgmm classify data.csv -k 1 --label-column species -o kinds.fgm
    """
    check_fit_or_model(n_components, model, "classifier")
    outputs = outputs_of(
        output,
        data,
        kind=None if n_components is None else "a classifier",
        force=force,
        as_json=as_json,
    )
    table = outputs.table
    if proba and table is None:
        raise ValueError("--proba is for the table that --output names")
    if table is not None:
        check_no_rows_dropped(missing, "--output")
    y: npt.NDArray[Any] | None = None
    if n_components is None:
        assert model is not None  # as was checked
        check_only_for_a_fit(context, _FOR_A_FIT)
        used = load_for("classify", model, n_jobs=n_jobs, **as_modeled(missing))
        classifier = used.model
        missing = missing or ("model" if classifier.missing == "model" else "error")
        if label_column is not None:
            labeled = open_rows(data, used, memory=memory, missing=_of_labels(missing), csv=csv)
            y = _labels(labeled, label_column, missing)
            if not set(y.tolist()) & set(classifier.classes_.tolist()):
                raise ValueError(
                    f"no row has one of the classifier's classes in column {label_column!r}: these "
                    f"are {name_list(list(map(str, classifier.classes_)))}"
                )
        rows = open_rows(data, used, memory=memory, missing=missing, csv=csv)
    else:
        if label_column is None:
            raise ValueError("a fit needs the classes of rows: name their column, --label-column")
        missing = missing or "error"
        numbers, kinds = numbers_of(n_components), structures_of(structures)
        others = options.split_columns(exclude)
        if columns is None:
            others = [label_column, *(others or ())]
        opened = partial(
            open_for_fit, data, columns, others, weight_column=weight_column, memory=memory, csv=csv
        )
        rows = opened(missing=missing)
        check_labels_can_be_read(rows)
        y = _labels(opened(missing=_of_labels(missing)), label_column, missing)
        # Loaded only now, so that errors are raised at once.
        from fastgmm import GaussianMixtureClassifier
        from fastgmm.cli.fit_with_progress import fit_with_progress

        classifier = GaussianMixtureClassifier(
            numbers[0] if len(numbers) == 1 else numbers,
            covariance_type=kinds,
            selection=selection,
            semi_supervised=semi_supervised,
            reject_below=reject_below,
            tol=tol,
            reg_covar=reg_covar,
            max_iter=max_iter,
            n_init=n_init,
            random_state=random_state,
            n_jobs=n_jobs,
            **as_modeled(missing),
        )
        known = _unknown_as_minus_one(y) if semi_supervised else y
        fit_with_progress(classifier, rows, known, quiet=quiet)
    if label_column is not None:
        rows.unused_columns = {**rows.unused_columns, label_column: "classes"}
    if table is not None and table.suffix.lower() == ".npy" and not proba:
        _check_numbers(table, classifier.classes_)
    found = _Found(classifier, y)
    blocks = found.probabilities(rows) if proba else found.classes(rows)
    write_if_asked(table, blocks)
    if outputs.model is not None:
        classifier.save(outputs.model)
    if table == STANDARD_OUTPUT:
        return  # which the table has for itself
    # An average of structures has the components of each, one after the other.
    n_averaged = max(1, len(classifier.structure_shares_))
    numbers_of_classes = [each.n_components // n_averaged for each in classifier.mixtures_]
    structures_found = classifier.structure_shares_ or [
        mixture.covariance_type for mixture in classifier.mixtures_
    ]
    document = {
        **data_document(data, found.n_samples, rows),
        "classes": classifier.classes_,
        "class_prior": classifier.class_prior_,
        "n_components": numbers_of_classes,
        "structures": structures_found,
        "predicted": found.predicted,
        "accuracy": found.accuracy,
        "output": table,
        "model": outputs.model,
    }
    pairs = {
        **data_pairs(found.n_samples, rows),
        "classes": ", ".join(map(str, classifier.classes_)),
        "components": ", ".join(map(str, numbers_of_classes)),
        "structures": ", ".join(
            [f"{name} {share:.0%}" for name, share in structures_found.items()]
            if isinstance(structures_found, dict)
            else structures_found
        ),
        "predicted": ", ".join(f"{name} {count}" for name, count in found.predicted.items()),
        "accuracy" if n_components is None else "training accuracy": (
            None if found.accuracy is None else f"{found.accuracy:.4f}"
        ),
        "output": table,
        "model": outputs.model,
    }
    print_result(as_json, document, pairs)


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
