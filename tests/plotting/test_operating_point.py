"""The plot of an outlier detector's threshold."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from fastgmm import GaussianMixtureOutlierDetector
from fastgmm.plotting import OperatingPointDisplay


def labeled(seed=0):
    X = np.random.default_rng(seed).normal(size=(300, 2))
    is_outlier = np.arange(300) < 30
    X[is_outlier] *= 4.0
    return X, is_outlier


@pytest.fixture(scope="module")
def detector():
    found = GaussianMixtureOutlierDetector().fit(labeled()[0])
    found.choose_threshold(*labeled(), "precision", 0.9)
    return found


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_draws_the_curves_and_the_threshold(detector):
    point = detector.operating_point_
    display = OperatingPointDisplay.from_estimator(detector)
    roc, precision_recall = display.lines_
    assert_array_equal(roc.get_xdata(), point.false_positive_rates)
    assert_array_equal(roc.get_ydata(), point.recalls)
    assert_array_equal(precision_recall.get_xdata(), point.recalls)
    assert_array_equal(precision_recall.get_ydata(), point.precisions)
    assert precision_recall.get_drawstyle() == "steps-pre"
    assert_array_equal(
        display.markers_[0].get_xydata(), [[point.false_positive_rate, point.recall]]
    )
    assert_array_equal(display.markers_[1].get_xydata(), [[point.recall, point.precision]])
    assert_array_equal(display.chance_lines_[0].get_xydata(), [[0.0, 0.0], [1.0, 1.0]])
    assert_allclose(display.chance_lines_[1].get_ydata(), 0.1)
    assert [ax.get_ylabel() for ax in display.ax_] == ["Recall (true positive rate)", "Precision"]
    assert [ax.get_xlabel() for ax in display.ax_] == ["False positive rate", "Recall"]
    assert display.figure_ is display.ax_[0].figure is display.ax_[1].figure


def test_legends_say_what_it_does(detector):
    point = detector.operating_point_
    display = OperatingPointDisplay.from_estimator(detector)
    where = f"threshold −{-point.offset:.4g} nats: recall {point.recall:.3f}"
    assert legend_of(display.ax_[0]) == [
        f"GaussianMixtureOutlierDetector: area {point.roc_auc:.3f}",
        f"{where}, false positive rate {point.false_positive_rate:.3f}",
        "chance",
    ]
    assert legend_of(display.ax_[1]) == [
        f"GaussianMixtureOutlierDetector: average precision {point.average_precision:.3f}",
        f"{where}, precision {point.precision:.3f}",
        "chance: precision 0.100",
    ]
    bare = OperatingPointDisplay.from_operating_point(point)
    assert legend_of(bare.ax_[0])[0] == f"area {point.roc_auc:.3f}"
    named = OperatingPointDisplay(point, estimator_name="a").plot(name="b")
    assert legend_of(named.ax_[0])[0].startswith("b: ")


def test_draws_other_rows_in_the_axes_given(detector):
    _, axes = plt.subplots(2, 1)
    X, y = labeled(1)
    display = OperatingPointDisplay.from_estimator(
        detector, X, y, name="mine", ax=axes, color="r", linestyle=":"
    )
    assert list(display.ax_) == list(axes)
    assert {line.get_color() for line in (*display.lines_, *display.markers_)} == {"r"}
    assert display.lines_[0].get_linestyle() == ":"
    point = detector.operating_point(X, y)
    assert_array_equal(display.lines_[0].get_ydata(), point.recalls)
    assert display.operating_point.recall == point.recall
    weighted = OperatingPointDisplay.from_estimator(detector, X, y, sample_weight=1.0 + y)
    assert_allclose(weighted.operating_point.outlier_share, 2 / 11)


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_the_threshold_stands_out_in_every_style(detector, style):
    with plt.style.context(style):
        display = OperatingPointDisplay.from_estimator(detector)
        for ax, marker in zip(display.ax_, display.markers_, strict=True):
            assert marker.get_markeredgecolor() == plt.rcParams["axes.labelcolor"]
            assert marker.get_markeredgecolor() != ax.get_facecolor()


def test_the_legends_are_in_the_figure_and_beside_the_axes(detector):
    display = OperatingPointDisplay.from_estimator(detector)
    display.figure_.canvas.draw()
    for ax in display.ax_:
        legend = ax.get_legend().get_window_extent()
        assert legend.y1 < ax.get_window_extent().y0
        assert legend.y0 >= 0


def test_one_axes_is_not_enough(detector):
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="two curves to draw: give two axes; got 1"):
        OperatingPointDisplay.from_estimator(detector, ax=ax)


def test_there_must_be_labeled_rows(detector):
    X, y = labeled()
    unlabeled = GaussianMixtureOutlierDetector().fit(X)
    with pytest.raises(ValueError, match="use choose_threshold first, or give labeled rows"):
        OperatingPointDisplay.from_estimator(unlabeled)
    assert OperatingPointDisplay.from_estimator(unlabeled, X, y).operating_point.target is None
    with pytest.raises(ValueError, match="X and y go together"):
        OperatingPointDisplay.from_estimator(detector, X)
    with pytest.raises(NotFittedError, match="not fitted"):
        OperatingPointDisplay.from_estimator(GaussianMixtureOutlierDetector())
