"""Components of rows that are known: what semi-supervised fits take as y."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.utils import check_array

from fastgmm.data.label_columns import given_labels
from fastgmm.data.source import Source
from fastgmm.data.sources.array_like import unmasked


def label_column(estimator: Any, y: Any) -> str | None:
    """Return the column that holds labels, if `y` names one."""
    if not isinstance(y, str):
        return None
    if not estimator.semi_supervised:
        raise ValueError(
            f"y={y!r} names a column of labels, which {type(estimator).__name__} takes only with "
            "semi_supervised=True; without, the column would be a feature like the others"
        )
    return y


def known_components(estimator: Any, source: Source, y: Any) -> npt.NDArray[np.int64] | None:
    """Return the components that rows are known to come from."""
    if not estimator.semi_supervised:
        if _holds_unknown(y):
            warnings.warn(
                "y holds -1, as components of rows do where they are not known, and is ignored: "
                "use semi_supervised=True for a fit in which rows keep the component that y says",
                UserWarning,
                # The caller of fit is four frames up: this one, _fit, fit and its decorator.
                stacklevel=5,
            )
        return None
    labels = source.labels() if y is None or isinstance(y, str) else _numbers(y)
    if labels is None:
        raise ValueError(
            f"{type(estimator).__name__} with semi_supervised=True requires y to be passed, but "
            "the target y is None: give the component of each row, or -1 where it is not known"
        )
    if source.n_samples is None:
        _ = source.total_weight  # which goes through the rows
    left_out = None if y is None or isinstance(y, str) else source.left_out
    n_rows = source.n_samples if left_out is None else len(left_out)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"y should have one component for each of the {n_rows} rows, -1 where it is not "
            f"known, but got an array of shape {labels.shape}"
        )
    labels = np.where(np.isnan(labels), -1.0, labels)
    wrong = (labels != np.floor(labels)) | (labels < -1) | (labels >= estimator.n_components)
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            "y should hold integers from 0 to n_components - 1 = "
            f"{estimator.n_components - 1}, or -1 for rows of unknown component, but got "
            f"{labels[i]:g} in row {i}, counted from 0"
        )
    return labels.astype(np.int64) if left_out is None else labels[~left_out].astype(np.int64)


def _numbers(y: Any) -> npt.NDArray[np.float64]:
    values, _ = given_labels(y)
    try:
        with config_context(array_api_dispatch=False):
            checked: npt.NDArray[np.float64] = check_array(
                values,
                dtype=np.float64,
                ensure_2d=False,
                allow_nd=True,
                ensure_all_finite="allow-nan",
                ensure_min_samples=0,
                input_name="y",
            )
    except ValueError as error:
        raise ValueError(
            "y should hold the numbers of components, from 0 on, or -1 where they are not known "
            f"(names of classes are for GaussianMixtureClassifier): {error}"
        ) from error
    return checked


def _holds_unknown(y: Any) -> bool:
    """Say whether something is an array, or a list, of integers with -1 among them."""
    if isinstance(y, list | tuple):
        return all(isinstance(each, Integral) for each in y) and -1 in y
    if not hasattr(y, "__array__"):
        return False
    values = np.asarray(unmasked(y))
    return values.dtype.kind == "i" and bool((values == -1).any())
