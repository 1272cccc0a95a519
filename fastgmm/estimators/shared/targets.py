"""Rows of inputs and targets, as users give them to a regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.utils import check_array, check_consistent_length

from fastgmm.data.column_names import name_list
from fastgmm.data.opening import is_data_reference
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.array_like import not_numbers, unmasked
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.exactness import check_no_times
from fastgmm.data.sources.frames import is_frame
from fastgmm.estimators.shared.evaluation import Rows, Weights
from fastgmm.estimators.shared.validation import (
    Missing,
    check_source,
    complete_rows,
    missing_advice,
)

Targets = Any
"""An array-like of shape (n_samples,) or (n_samples, n_targets), or names of columns of `X`."""


@dataclass(frozen=True, slots=True, eq=False)
class TargetColumns:
    """Which columns of a mixture are targets.

    Attributes
    ----------
    numbers : ndarray of int of shape (n_targets,)
        Their numbers among the columns of the mixture.
    names : tuple of str or None
        Their names, if they were given by name.
    single : bool
        Whether there is one that was not given as a table of one: results have no axis for it.
    """

    numbers: npt.NDArray[np.intp]
    names: tuple[str, ...] | None
    single: bool


@dataclass(frozen=True, slots=True, eq=False)
class JointRows:
    """Rows of inputs and targets side by side.

    Attributes
    ----------
    source : Source
        The rows.
    targets : TargetColumns
        Which of their columns are targets.
    """

    source: Source
    targets: TargetColumns


def joint_rows(
    estimator: Any,
    mixture: Any,
    X: Rows,
    y: Targets,
    sample_weight: Weights = None,
    *,
    before: TargetColumns | None = None,
    ensure_min_samples: int = 1,
    each_row: bool = False,
) -> JointRows:
    """Return the inputs and targets given to a method of a regression."""
    missing: Missing = estimator.missing
    if each_row and missing == "drop":
        missing = "error"
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    names = _names(y)
    if names is not None:
        joint = _named(estimator, mixture, X, names, sample_weight, before, missing)
    else:
        joint = _arrays(estimator, X, y, sample_weight, before, missing, ensure_min_samples)
    if before is not None and len(before.numbers) != len(joint.targets.numbers):
        raise ValueError(
            f"y has {len(joint.targets.numbers)} targets, but {type(estimator).__name__} was "
            f"fitted to {len(before.numbers)}"
        )
    return joint


def _names(y: Any) -> tuple[str, ...] | None:
    """Return the names of target columns, if they are given by name."""
    if isinstance(y, str):
        return (y,)
    if isinstance(y, list | tuple) and y and all(isinstance(each, str) for each in y):
        return tuple(y)
    return None


def _named(
    estimator: Any,
    mixture: Any,
    X: Any,
    names: tuple[str, ...],
    sample_weight: Any,
    before: TargetColumns | None,
    missing: Missing,
) -> JointRows:
    """Return rows whose targets are columns of their own table."""
    if not is_frame(X) and not is_data_reference(X):
        raise ValueError(
            f"y={list(names)} names columns, and X has no names: give an array of targets, one for "
            "each row"
        )
    if before is not None and before.names != names:
        known = "an array" if before.names is None else f"the columns {name_list(before.names)}"
        raise ValueError(
            f"y names the columns {name_list(names)}, but {type(estimator).__name__} was fitted to "
            f"{known} as y: give the same"
        )
    source = check_source(mixture, X, sample_weight, reset=before is None, missing=missing)
    columns = source.feature_names
    if columns is None:
        raise ValueError(
            f"y={list(names)} names columns, and those of X have no names: give an array of "
            "targets, one for each row"
        )
    for name in names:
        if name not in columns:
            raise ValueError(f"X has no column {name!r}: its columns are {name_list(columns)}")
    if len(set(names)) < len(names):
        raise ValueError(f"y names a column twice; got {list(names)}")
    inputs = [name for name in columns if name not in names]
    if not inputs:
        raise ValueError(f"y names all columns of X, {name_list(columns)}: which leaves no input")
    if before is None:
        estimator.n_features_in_ = len(inputs)
        estimator.feature_names_in_ = np.array(inputs, dtype=object)
    numbers = np.array([columns.index(name) for name in names], dtype=np.intp)
    return JointRows(source, TargetColumns(numbers, names, len(names) == 1))


def _arrays(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    before: TargetColumns | None,
    missing: Missing,
    ensure_min_samples: int,
) -> JointRows:
    """Return rows in memory with targets in an array."""
    source = check_source(
        estimator,
        X,
        sample_weight,
        reset=before is None,
        ensure_min_samples=ensure_min_samples,
        missing="error" if missing == "error" else "model",  # left out once y is there
    )
    if not isinstance(source, ArraySource):
        raise TypeError(
            "rows that are not in memory have their targets in a column: name it, as in y='price'"
        )
    given = unmasked(y)
    check_no_times("y", given)
    try:
        with config_context(array_api_dispatch=False):
            values = check_array(
                given,
                dtype=[np.float64, np.float32],
                ensure_2d=False,
                ensure_all_finite="allow-nan",
                ensure_min_samples=0,
                input_name="y",
                estimator=estimator,
            )
    except (TypeError, ValueError) as error:
        raise not_numbers("y", given, error) from error
    absent = np.isnan(values)
    if missing == "error" and absent.any():
        raise ValueError(
            f"Input y contains NaN, first in row {np.argwhere(absent)[0, 0]}, counted from 0: "
            f"{missing_advice(estimator)}"
        )
    check_consistent_length(source.stored, values)
    single = values.ndim == 1
    both = np.column_stack([source.X, values])
    targets = np.arange(source.n_features, both.shape[1])
    if before is not None and before.names is not None:
        # the columns of the mixture are in the order of the table that it was fitted to
        inputs = np.setdiff1d(np.arange(both.shape[1]), before.numbers)
        if len(before.numbers) == len(targets):
            reordered = np.empty_like(both)
            reordered[:, inputs] = both[:, : len(inputs)]
            reordered[:, before.numbers] = both[:, len(inputs) :]
            both, targets = reordered, before.numbers
    rows = ArraySource(both, source.weights, incomplete=not all_finite(both))
    if missing == "drop" and rows.incomplete:
        rows = complete_rows(rows, ensure_min_samples)
    return JointRows(rows, TargetColumns(targets, None, single))
