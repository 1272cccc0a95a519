"""Performance of score thresholds on labeled rows, and the choice of a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from sklearn.metrics import auc, average_precision_score
from sklearn.utils.validation import column_or_1d

from fastgmm.analysis.quantiles import halfway
from fastgmm.data.label_columns import given_labels
from fastgmm.mixture.statistics import FloatArray

Target = Literal["f1", "precision", "false_positive_rate"]

_LOWEST = float(np.finfo(np.float64).min)


@dataclass(frozen=True, slots=True, eq=False)
class OperatingPoint:
    """Performance of a threshold on labeled rows, and of all others.

    A row is predicted to be an outlier if its score is below the threshold. Outliers are the
    positive class: a true positive is an outlier that is predicted as one. Rows count by their
    weights.

    Attributes
    ----------
    offset : float
        The threshold, in the units of the scores: nats for log-densities.
    precision : float
        Proportion of outliers among the predicted outliers; 1 if there are none.
    recall : float
        Proportion of the outliers that are predicted as outliers: the true positive rate.
    false_positive_rate : float
        Proportion of the inliers that are predicted as outliers.
    f1 : float
        Harmonic mean of precision and recall; 0 if no outlier is predicted as one.
    offsets : ndarray of shape (n_points,)
        Thresholds of the curves, from the one below which there is no row to the one below which
        are all. Those at which only inliers are added, next to others of that kind, are left out:
        both curves are straight there.
    precisions, recalls, false_positive_rates : ndarray of shape (n_points,)
        What each of them does. The receiver operating characteristic (ROC) has the recalls over
        the false positive rates, the precision-recall curve the precisions over the recalls.
    roc_auc : float
        Area under the receiver operating characteristic: the probability that an outlier scores
        lower than an inlier.
    average_precision : float
        Area under the precision-recall curve, in steps: each gain of recall times the precision
        after it.
    outlier_share : float
        The share of outliers among the rows: the precision of calling all of them so.
    target : {"f1", "precision", "false_positive_rate"} or None
        What the threshold was chosen for; None if it was given.
    value : float or None
        The precision or false positive rate that was asked for.
    """

    offset: float
    precision: float
    recall: float
    false_positive_rate: float
    f1: float
    offsets: FloatArray
    precisions: FloatArray
    recalls: FloatArray
    false_positive_rates: FloatArray
    roc_auc: float
    average_precision: float
    outlier_share: float
    target: Target | None = None
    value: float | None = None


def check_point(point: OperatingPoint) -> None:
    """Raise unless the numbers of an operating point can be what their names say."""
    for name in set(OperatingPoint.__slots__) - {"offset", "offsets", "target", "value"}:
        values = np.asarray(getattr(point, name))
        if not ((values >= 0.0) & (values <= 1.0 + 1e-9)).all():
            raise ValueError(f"{name} is not from 0 to 1")
    if not (np.diff(point.offsets) >= 0.0).all():
        raise ValueError("the offsets of an operating point do not ascend")


def outlier_labels(y: ArrayLike, n_samples: int) -> npt.NDArray[np.bool_]:
    """Return which rows are outliers."""
    values, missing = given_labels(y)
    labels: npt.NDArray[Any] = column_or_1d(values)
    if len(labels) != n_samples:
        raise ValueError(f"y has {len(labels)} labels for the {n_samples} rows of X: give one each")
    if missing.any():
        raise ValueError(
            f"y holds no label in row {int(missing.argmax())}, counted from 0: give that of each "
            "row, or leave out rows that have none"
        )
    if labels.dtype.kind == "O" and not any(isinstance(each, str) for each in labels):
        labels = np.array(labels.tolist())
    found = np.unique(labels).tolist()
    if found == [-1, 1]:
        return np.asarray(labels == -1)
    if found in ([0, 1], [False, True]):
        return np.asarray(labels == 1)
    if found in ([-1], [0], [1], [False], [True]):
        raise ValueError(
            f"y should hold labels of outliers and of inliers, but all are {found[0]!r}: a "
            "threshold cannot be judged on rows of one kind"
        )
    shown = ", ".join(map(repr, found[:5])) + (", ..." if len(found) > 5 else "")
    raise ValueError(
        "y should hold -1 for outliers and 1 for inliers, or True (1) for outliers and False (0) "
        f"for inliers, but got the labels {shown}"
    )


def point_at(
    offset: float,
    is_outlier: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    weights: FloatArray | None = None,
) -> OperatingPoint:
    """Return the performance of a threshold on labeled rows."""
    curve = _Curve(is_outlier, scores, weights)
    chosen = int(np.searchsorted(curve.scores, offset))
    return curve.point(chosen, offset)


def choose_point(
    is_outlier: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    weights: FloatArray | None = None,
    *,
    target: Target,
    value: float | None = None,
) -> OperatingPoint:
    """Return the best threshold for a target, on labeled rows.

    Among equally good ones, it is the one that predicts the fewest outliers.
    """
    _check_target(target, value)
    curve = _Curve(is_outlier, scores, weights)
    if target == "f1":
        chosen = int(np.argmax(curve.f1))
    else:
        assert value is not None  # checked above
        if target == "precision":
            allowed = curve.precisions >= value
            allowed[0] = False  # which calls nothing an outlier, and has a precision by convention
            if not allowed.any():
                best = 1 + int(np.argmax(curve.precisions[1:]))
                raise ValueError(
                    f"no threshold has a precision of {value:g} on these rows: the highest is "
                    f"{curve.precisions[best]:.4g}, with a recall of {curve.recalls[best]:.4g}; "
                    "ask for less"
                )
        else:
            allowed = curve.false_positive_rates <= value
        chosen = int(np.argmax(np.where(allowed, curve.recalls, -1.0)))
    return curve.point(chosen, float(curve.offsets[chosen]), target, value)


class _Curve:
    """What each threshold does to labeled rows.

    The first i of the different `scores`, which ascend, are below number i of the n_scores + 1
    thresholds, of which the other arrays are.
    """

    def __init__(
        self,
        is_outlier: npt.NDArray[np.bool_],
        scores: npt.NDArray[np.floating],
        weights: FloatArray | None,
    ) -> None:
        for kind, these in (("outliers", is_outlier), ("inliers", ~is_outlier)):
            if weights is not None and not weights[these].sum() > 0.0:
                raise ValueError(
                    f"the {kind} in y have no weight: give some of them a weight above 0"
                )
        # Rows beyond all bounds score minus infinity, which scikit-learn's metrics do not take.
        outlyingness = -np.maximum(np.asarray(scores, dtype=np.float64), _LOWEST)
        counts = np.ones(len(outlyingness)) if weights is None else weights
        thresholds, at = np.unique(outlyingness[counts > 0.0], return_inverse=True)
        kinds = is_outlier[counts > 0.0]
        false, true = (
            np.concatenate([[0.0], np.bincount(at, counts[counts > 0.0] * kind)[::-1].cumsum()])
            for kind in (~kinds, kinds)
        )
        n_outliers, n_inliers = true[-1], false[-1]
        called = true + false
        self.scores: FloatArray = -thresholds[::-1]
        least, most = self.scores[:1], np.nextafter(self.scores[-1:], np.inf)
        between = halfway(self.scores[:-1], self.scores[1:])
        self.offsets = np.concatenate([least, between, most])
        self.precisions = np.divide(true, called, out=np.ones_like(true), where=called > 0.0)
        self.recalls = true / n_outliers
        self.false_positive_rates = false / n_inliers
        self.f1 = 2.0 * true / (called + n_outliers)
        gains = np.diff(true, prepend=-1.0, append=np.inf) > 0.0
        self._corners = gains[:-1] | gains[1:]  # not between two on straight parts of both curves
        self._roc_auc = float(auc(self.false_positive_rates, self.recalls))
        self._average_precision = float(
            average_precision_score(is_outlier, outlyingness, sample_weight=weights)
        )
        self._outlier_share = float(n_outliers / (n_outliers + n_inliers))

    def point(
        self, chosen: int, offset: float, target: Target | None = None, value: float | None = None
    ) -> OperatingPoint:
        """Return the performance of one of the thresholds, and of all that are corners."""
        return OperatingPoint(
            offset,
            float(self.precisions[chosen]),
            float(self.recalls[chosen]),
            float(self.false_positive_rates[chosen]),
            float(self.f1[chosen]),
            self.offsets[self._corners],
            self.precisions[self._corners],
            self.recalls[self._corners],
            self.false_positive_rates[self._corners],
            self._roc_auc,
            self._average_precision,
            self._outlier_share,
            target,
            value,
        )


def _check_target(target: str, value: float | None) -> None:
    known = ("f1", "precision", "false_positive_rate")
    if target not in known:
        raise ValueError(f"target should be one of {', '.join(map(repr, known))}; got {target!r}")
    if target == "f1":
        if value is not None:
            raise ValueError(f"target='f1' takes no value, but got value={value!r}: leave it out")
    elif value is None or not 0.0 <= value <= 1.0:
        raise ValueError(
            f"target={target!r} needs the {target.replace('_', ' ')} that is wanted as value, from "
            f"0 to 1; got value={value!r}"
        )
