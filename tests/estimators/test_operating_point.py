"""Thresholds on labeled rows against counting, and the curves against scikit-learn's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from fastgmm.estimators.operating_point import choose_point, outlier_labels, point_at


def scores_and_labels(n_rows=400, seed=0, n_different=None):
    """Return scores, low for the tenth of the rows that are outliers, and which those are."""
    rng = np.random.default_rng(seed)
    is_outlier = rng.random(n_rows) < 0.1
    scores = rng.normal(size=n_rows) - 1.5 * is_outlier
    if n_different is not None:
        scores = np.round(scores * n_different / 6)
    return scores, is_outlier


def counted(offset, is_outlier, scores, weights):
    """Return precision, recall, false positive rate and F1 of a threshold."""
    called = scores < offset
    true = weights[called & is_outlier].sum()
    precision = true / weights[called].sum() if called.any() else 1.0
    recall = true / weights[is_outlier].sum()
    rate = weights[called & ~is_outlier].sum() / weights[~is_outlier].sum()
    f1 = 2 * precision * recall / (precision + recall) if true else 0.0
    return precision, recall, rate, f1


def figures(point):
    return point.precision, point.recall, point.false_positive_rate, point.f1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_different", [None, 12])
def test_figures_and_curves_are_those_counted(n_different, weighted):
    scores, is_outlier = scores_and_labels(n_different=n_different)
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 4, len(scores)) * 1.0 if weighted else None
    each = np.ones(len(scores)) if weights is None else weights
    for offset in (-9.0, -2.0, -1.0, 0.0, 9.0):
        point = point_at(offset, is_outlier, scores, weights)
        assert point.offset == offset
        assert_allclose(figures(point), counted(offset, is_outlier, scores, each))
        assert (point.target, point.value) == (None, None)
    for i, offset in enumerate(point.offsets):
        found = (point.precisions[i], point.recalls[i], point.false_positive_rates[i])
        assert_allclose(found, counted(offset, is_outlier, scores, each)[:3])
    assert np.all(np.diff(point.offsets) > 0)
    assert (point.recalls[0], point.recalls[-1]) == (0.0, 1.0)
    assert_allclose(point.outlier_share, each[is_outlier].sum() / each.sum())
    assert_allclose(point.precisions[-1], point.outlier_share)
    assert_allclose(point.roc_auc, roc_auc_score(is_outlier, -scores, sample_weight=weights))
    assert_allclose(
        point.average_precision, average_precision_score(is_outlier, -scores, sample_weight=weights)
    )
    # What was left out of the curves changes neither area.
    area = np.trapezoid(point.recalls, point.false_positive_rates)
    assert_allclose(area, point.roc_auc)
    steps = np.sum(np.diff(point.recalls) * point.precisions[1:])
    assert_allclose(steps, point.average_precision)


def test_the_precision_recall_curve_is_scikit_learns():
    scores, is_outlier = scores_and_labels(n_rows=3000)
    point = point_at(0.0, is_outlier, scores)
    precisions, recalls, _ = precision_recall_curve(is_outlier, -scores, drop_intermediate=True)
    # It begins with the highest recall, and has no point for calling all rows outliers of itself.
    theirs = {(round(p, 12), round(r, 12)) for p, r in zip(precisions, recalls, strict=True)}
    ours = {(round(p, 12), round(r, 12)) for p, r in zip(point.precisions, point.recalls)}  # noqa: B905
    assert theirs <= ours
    assert len(point.offsets) <= 2 * is_outlier.sum() + 2


def every_threshold(scores):
    different = np.unique(scores)
    return [different[0], *(different[:-1] + different[1:]) / 2, different[-1] + 1.0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_different", [None, 12])
@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("f1", None),
        ("precision", 0.5),
        ("precision", 0.05),
        ("precision", 0.0),
        ("false_positive_rate", 0.0),
        ("false_positive_rate", 0.05),
        ("false_positive_rate", 1.0),
    ],
)
def test_the_best_of_all_thresholds_is_chosen(target, value, n_different, weighted):
    scores, is_outlier = scores_and_labels(n_different=n_different)
    each = np.random.default_rng(1).uniform(0.1, 3.0, len(scores)) if weighted else None
    weights = np.ones(len(scores)) if each is None else each
    point = choose_point(is_outlier, scores, each, target=target, value=value)
    found = counted(point.offset, is_outlier, scores, weights)
    assert_allclose(figures(point), found)
    assert (point.target, point.value) == (target, value)
    best = None
    for offset in every_threshold(scores):
        precision, recall, rate, f1 = counted(offset, is_outlier, scores, weights)
        n_called = np.sum(scores < offset)
        if target == "f1":
            merit = f1
        elif target == "precision":
            merit = recall if n_called and precision >= value else -1.0
        else:
            merit = recall if rate <= value else -1.0
        if best is None or merit > best[0] + 1e-12:
            best = (merit, n_called)
    assert_allclose(found[3] if target == "f1" else found[1], best[0])
    assert np.sum(scores < point.offset) == best[1]


def test_a_threshold_lies_halfway_between_scores():
    is_outlier = np.array([True, True, False, False])
    point = choose_point(is_outlier, np.array([1.0, 2.0, 5.0, 6.0]), target="f1")
    assert point.offset == 3.5
    assert figures(point) == (1.0, 1.0, 0.0, 1.0)
    assert (point.roc_auc, point.average_precision) == (1.0, 1.0)


def test_scores_without_room_between_them():
    scores = np.array([1.0, np.nextafter(1.0, 2.0)])
    point = choose_point(np.array([True, False]), scores, target="f1")
    assert scores[0] < point.offset <= scores[1]


def test_equal_scores_leave_all_or_nothing():
    is_outlier, scores = np.array([True, False, False]), np.full(3, -4.0)
    point = choose_point(is_outlier, scores, target="f1")
    assert figures(point) == (1 / 3, 1.0, 1.0, 0.5)
    assert point.offset > -4.0
    none = choose_point(is_outlier, scores, target="false_positive_rate", value=0.5)
    assert figures(none) == (1.0, 0.0, 0.0, 0.0)
    assert none.offset == -4.0
    assert_array_equal(none.offsets, [none.offset, point.offset])


def test_rows_beyond_all_bounds_are_found():
    is_outlier = np.array([True, False, False])
    point = choose_point(is_outlier, np.array([-np.inf, -2.0, -1.0]), target="f1")
    assert point.f1 == 1.0
    assert np.isfinite(point.offsets).all()


def test_a_precision_out_of_reach():
    is_outlier = np.array([False, True, True, False])
    with pytest.raises(
        ValueError,
        match=r"no threshold has a precision of 0\.9 .* highest is 0\.6667, .* recall of 1",
    ):
        choose_point(is_outlier, np.arange(4.0), target="precision", value=0.9)


@pytest.mark.parametrize(
    ("target", "value", "words"),
    [
        ("recall", 0.5, "target should be one of 'f1', 'precision', 'false_positive_rate'; got"),
        ("f1", 0.5, r"target='f1' takes no value, but got value=0\.5"),
        ("precision", None, "needs the precision that is wanted as value, from 0 to 1; got .*None"),
        ("precision", 90.0, r"value=90\.0"),
        ("false_positive_rate", -0.1, "needs the false positive rate that is wanted"),
        ("false_positive_rate", np.nan, "value=nan"),
    ],
)
def test_impossible_targets(target, value, words):
    with pytest.raises(ValueError, match=words):
        choose_point(np.array([True, False]), np.arange(2.0), target=target, value=value)


@pytest.mark.parametrize("kind", ["outliers", "inliers"])
def test_kinds_without_weight(kind):
    is_outlier = np.array([True, False, True])
    weights = (is_outlier != (kind == "outliers")).astype(float)
    with pytest.raises(ValueError, match=f"the {kind} in y have no weight"):
        point_at(0.0, is_outlier, np.arange(3.0), weights)


@pytest.mark.parametrize(
    "y",
    [
        [-1, 1, 1, -1],
        [-1.0, 1.0, 1.0, -1.0],
        [True, False, False, True],
        [1, 0, 0, 1],
        np.array([1, 0, 0, 1], dtype=np.uint8),
        np.array([[-1], [1], [1], [-1]]).ravel(),
    ],
)
def test_labels(y):
    assert_array_equal(outlier_labels(y, 4), [True, False, False, True])


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1, -1, 1], "y has 3 labels for the 4 rows of X"),
        ([1, 1, 1, 1], "all are 1: a threshold cannot be judged on rows of one kind"),
        ([False] * 4, "all are False"),
        ([0, 1, 2, -1], r"-1 for outliers and 1 for inliers, .* got the labels -1, 0, 1, 2"),
        ([-1, 0, 0, -1], "got the labels -1, 0"),
        (["good", "bad", "good", "bad"], "got the labels 'bad', 'good'"),
        ([0, 1, 2, 3], "got the labels 0, 1, 2, 3"),
    ],
)
def test_labels_that_say_nothing(y, words):
    with pytest.raises(ValueError, match=words):
        outlier_labels(y, 4)


@pytest.mark.parametrize(
    "y", [[1, None, -1], np.ma.array([1, 1, -1], mask=[0, 1, 0]), np.array([1.0, np.nan, -1.0])]
)
def test_labels_that_are_missing_are_refused(y):
    with pytest.raises(ValueError, match="no label in row 1, counted from 0: give that of each"):
        outlier_labels(y, 3)
    assert outlier_labels(np.array([True, False, True], object), 3).tolist() == [True, False, True]
