"""Classes of rows: what classifiers take as y."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import partial
from operator import add
from typing import Any, NamedTuple

import narwhals
import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from fastgmm.data.label_columns import class_labels, columns_without, given_labels
from fastgmm.data.opening import open_data
from fastgmm.data.source import Source
from fastgmm.data.sources.dask_collection import DaskSource, is_array_collection, is_collection
from fastgmm.data.sources.file_source import FileSource
from fastgmm.data.sources.frames import is_frame, known_to_narwhals
from fastgmm.data.sources.wrapped import observed_rows
from fastgmm.data.tables import is_list_of_paths, is_path
from fastgmm.em.initialization.labels import label_counts
from fastgmm.em.models.class_mixtures import Codes, labeled_pieces
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.validation import Missing, check_source
from fastgmm.mixture.statistics import FloatArray

ClassLabels = ArrayLike | str | None
"""Classes of the rows, or the name of the column that holds them."""


class LabeledRows(NamedTuple):
    """Rows and their classes.

    Attributes
    ----------
    source : Source
        The rows and their weights.
    classes : ndarray of shape (n_classes,)
        The classes there are, in ascending order.
    codes : ndarray of int64 of shape (n_samples,), or an array or series of Dask's
        Number of each row's class; −1 where it is not known.
    """

    source: Source
    classes: npt.NDArray[Any]
    codes: Any

    def sizes(self) -> npt.NDArray[np.int64]:
        """Return how many rows each class has."""
        return label_counts(self.source, self.codes, len(self.classes))

    def observed(self) -> LabeledRows:
        """Return the rows that have a value, which fits are of."""
        source = observed_rows(self.source)
        if isinstance(source, DaskSource):
            return self._replace(source=source)
        if source is self.source or source.left_out is None:
            return self
        return self._replace(source=source, codes=self.codes[~source.left_out])


def check_labeled(
    estimator: Any,
    X: Rows,
    y: ClassLabels,
    sample_weight: Weights,
    *,
    reset: bool,
    semi_supervised: bool = False,
    classes: npt.NDArray[Any] | None = None,
) -> LabeledRows:
    """Return rows with their classes."""
    left_out = None
    if is_collection(X) or isinstance(X, DaskSource):
        return _of_collection(
            estimator, X, y, sample_weight, reset, semi_supervised=semi_supervised, classes=classes
        )
    if isinstance(y, str) and is_frame(X):
        frame = narwhals.from_native(known_to_narwhals(X))
        _check_column(y, frame.columns)
        values, missing = given_labels(frame[y].to_native())
        X = narwhals.to_native(frame.drop(y))
        source = check_source(estimator, X, sample_weight, reset=reset)
        left_out = source.left_out
    elif isinstance(y, str) and (is_path(X) or is_list_of_paths(X)):
        source, of_files = _of_files(estimator, X, y, sample_weight, reset)
        values, missing = _column(of_files)
    else:
        column = y if isinstance(y, str) else None
        source = check_source(estimator, X, sample_weight, reset=reset, label_column=column)
        found = source.labels() if y is None or column is not None else y
        if found is None:
            raise _no_classes(estimator)
        values, missing = _column(found)
        if found is y:
            left_out = source.left_out
    if source.n_samples is None:
        _ = source.total_weight  # which reads the rows
    n_rows = source.n_samples if left_out is None else len(left_out)
    if values.shape != (n_rows,):
        raise ValueError(
            f"y should have one class for each of the {n_rows} rows: found input variables with "
            f"inconsistent numbers of samples, {n_rows} and {len(values)}"
        )
    if left_out is not None:
        missing = missing & ~left_out
    # Columns are read as floats, and so are integers beside what is missing.
    whole = semi_supervised or y is None or isinstance(y, str)
    if missing.any() and not semi_supervised:
        advice = "give the class of each row, or leave out rows whose class is not known"
        if reset and classes is None:
            advice = "give the class of each row, or use semi_supervised=True for rows whose class "
            advice += "is not known"
        raise ValueError(
            f"Input y contains NaN or nothing, first in row {int(missing.argmax())}, counted from "
            f"0: {advice}"
        )
    if left_out is not None:
        values, missing = values[~left_out], missing[~left_out]
    found_classes, codes = _codes(values, missing, classes, semi_supervised, whole)
    # -1 followed by 0 and 1 looks like classes from 0 on, not all of them known.
    counted = found_classes.dtype.kind == "i" and found_classes[:3].tolist() == [-1, 0, 1]
    if classes is None and counted and not semi_supervised:
        warnings.warn(
            "y holds -1, which is taken for a class: use semi_supervised=True if it stands for "
            "rows whose class is not known",
            UserWarning,
            # The caller of fit is three frames up: this one, fit and its decorator.
            stacklevel=4,
        )
    return LabeledRows(source, found_classes, codes)


def _of_files(
    estimator: Any, paths: Any, name: str, sample_weight: Weights, reset: bool
) -> tuple[Source, npt.NDArray[Any]]:
    """Return rows of files, and a column of theirs that holds classes of any type."""
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise ValueError(
            "rows that are not in memory take their weights from a column: name it, as in "
            "sample_weight='weight'"
        )
    files = [paths] if is_path(paths) else list(paths)
    apart = [name] if sample_weight is None else [name, sample_weight]
    columns = columns_without(list(map(str, files)), apart)
    known = getattr(estimator, "feature_names_in_", None)
    if not reset and known is not None:
        columns = list(known)

    def opened(missing: Missing) -> Source:
        return open_data(files, columns=columns, weight_column=sample_weight, missing=missing)

    missing: Missing = estimator.missing
    labeled = opened("error" if missing == "error" else "model")
    assert isinstance(labeled, FileSource)  # as paths are opened
    labels = class_labels(labeled, name, of_complete_rows=missing == "drop")
    source = opened(missing)
    if not labeled.files[0].named:
        source.feature_names = None
    source.unused_columns = {**source.unused_columns, name: "classes"}
    return check_source(estimator, source, reset=reset), labels


def _check_column(name: str, columns: Iterable[Any]) -> None:
    """Raise unless a table has the column that is to hold the classes."""
    if name not in columns:
        raise ValueError(
            f"y={name!r} names no column of X, which has {', '.join(map(str, columns))}"
        )


def _no_classes(estimator: Any) -> ValueError:
    """Return the error of a fit without y."""
    return ValueError(
        f"{type(estimator).__name__} requires y to be passed, but the target y is None: give the "
        "class of each row, or the name of the column that holds it"
    )


def _of_collection(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    reset: bool,
    *,
    semi_supervised: bool,
    classes: npt.NDArray[Any] | None,
) -> LabeledRows:
    """Return rows of Dask's with their classes, which lie beside them."""
    column = y if isinstance(y, str) else None
    if column is not None and not isinstance(X, DaskSource) and not is_array_collection(X):
        _check_column(column, X.columns)
        y, X, column = X[column], X.drop(columns=[column]), None
    source = check_source(estimator, X, sample_weight, reset=reset, label_column=column)
    assert isinstance(source, DaskSource)  # as collections are opened
    if y is None or column is not None:
        y = source.labels()
    if y is None:
        raise _no_classes(estimator)
    values, lacking = source.fold(_found_classes, _both_classes)(y=y)
    if lacking >= 0 and not semi_supervised:
        raise ValueError(
            f"Input y contains NaN or nothing in partition {lacking} of the collection: give the "
            "class of each row, or leave out rows whose class is not known"
        )
    unknown = np.zeros(len(values), dtype=bool)
    classes, _ = _codes(values, unknown, classes, semi_supervised, whole=True)
    change = partial(_class_codes, classes=classes, semi_supervised=semi_supervised)
    return LabeledRows(source, classes, source.mapped("y", y, change, np.int64))


def _found_classes(
    source: Source,
    *,
    n_jobs: int | None,  # noqa: ARG001 - no kernel runs
    y: Any,
) -> tuple[npt.NDArray[Any], int]:
    """Return the classes of a partition, and its number if some rows have none, else -1."""
    values, missing = _column(y)
    assert source.partition is not None  # rows that lie in partitions
    return np.unique(values[~missing]), source.partition if missing.any() else -1


def _both_classes(
    one: tuple[npt.NDArray[Any], int], other: tuple[npt.NDArray[Any], int]
) -> tuple[npt.NDArray[Any], int]:
    """Return the classes of both sets of rows."""
    return np.union1d(one[0], other[0]), one[1] if one[1] >= 0 else other[1]


def _class_codes(y: Any, *, classes: npt.NDArray[Any], semi_supervised: bool) -> Codes:
    """Return the number of each row's class; -1 where it is not known."""
    values, missing = _column(y)
    known = ~_unknown(values, missing, semi_supervised)
    codes = np.full(len(values), -1, dtype=np.int64)
    codes[known] = np.searchsorted(classes, values[known].astype(classes.dtype))
    return codes


def _column(y: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return labels in one dimension, and where there is none."""
    values, missing = given_labels(y)
    with config_context(array_api_dispatch=False):
        return column_or_1d(values, warn=True), missing.ravel()


def _codes(
    values: npt.NDArray[Any],
    missing: npt.NDArray[np.bool_],
    classes: npt.NDArray[Any] | None,
    semi_supervised: bool,
    whole: bool,
) -> tuple[npt.NDArray[Any], Codes]:
    """Return the classes, and the number of each row's."""
    unknown = _unknown(values, missing, semi_supervised)
    if semi_supervised and unknown.all():
        raise ValueError("y holds no class: all of its rows are -1 or missing")
    known = values[~unknown]
    if known.dtype.kind == "O" and not any(isinstance(each, str) for each in known):
        known = np.array(known.tolist())
    if known.dtype.kind == "f":
        if not np.isfinite(known).all():
            raise ValueError("Input y contains infinity")
        if whole and (known == np.floor(known)).all():
            known = known.astype(np.int64)
    check_classification_targets(known)
    if classes is None:
        classes = np.unique(known)
    places = np.searchsorted(classes, known)
    places = np.minimum(places, len(classes) - 1)
    strange = classes[places] != known
    if strange.any():
        raise ValueError(
            f"y holds {known[strange].tolist()[0]!r}, which is not among the classes "
            f"{classes.tolist()}: give rows of these only"
        )
    codes = np.full(len(values), -1, dtype=np.int64)
    codes[~unknown] = places
    return classes, codes


def _unknown(
    values: npt.NDArray[Any], missing: npt.NDArray[np.bool_], semi_supervised: bool
) -> npt.NDArray[np.bool_]:
    """Return which rows have no known class."""
    if not semi_supervised:
        return missing
    # NumPy makes text of a -1 beside text.
    found: npt.NDArray[np.bool_] = missing | (values == ("-1" if values.dtype.kind == "U" else -1))
    return found


def class_factors(class_weight: Any, rows: LabeledRows) -> FloatArray:
    """Return what the weights of the rows of each class are multiplied by."""
    n_classes = len(rows.classes)
    if class_weight is None:
        return np.ones(n_classes)
    if not isinstance(class_weight, str):
        factors = compute_class_weight(class_weight, classes=rows.classes, y=rows.classes)
        return np.asarray(factors, dtype=np.float64)
    totals = class_totals(rows)
    with np.errstate(divide="ignore"):
        balanced = totals.sum() / (np.count_nonzero(totals) * totals)
    return np.where(totals > 0.0, balanced, 1.0)


def class_totals(rows: LabeledRows) -> FloatArray:
    """Return the weight of the rows of each class."""
    work = partial(_totals, n_classes=len(rows.classes))
    totals: FloatArray = rows.source.fold(work, add)(codes=rows.codes)
    return totals


def _totals(
    source: Source,
    *,
    n_classes: int,
    codes: Codes,
    n_jobs: int | None = None,  # noqa: ARG001 - no kernel runs
) -> FloatArray:
    totals = np.zeros(n_classes)
    for some, own in labeled_pieces(source, codes):
        weights = None if some.weights is None else some.weights[own >= 0]
        totals += np.bincount(own[own >= 0], weights, minlength=n_classes)
    return totals
