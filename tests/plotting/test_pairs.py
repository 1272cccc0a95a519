"""Pairs of columns."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2

from fastgmm.plotting import PairsDisplay
from tests import oracle
from tests.plotting.drawn_mixtures import fitted


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_each_panel_shows_its_columns(covariance_type):
    mixture, X = fitted(covariance_type)
    display = PairsDisplay.from_estimator(mixture, X, columns=[0, 2, 3])
    columns = [0, 2, 3]
    assert display.axes_.shape == (3, 3)
    assert sorted(display.ellipses_) == [(1, 0), (2, 0), (2, 1)]
    covariances = oracle.fitted_covariances(mixture)
    for (i, j), drawn in display.ellipses_.items():
        pair = [columns[j], columns[i]]
        for k, ellipses in enumerate(drawn):
            assert_allclose(ellipses[0].center, mixture.means_[k, pair])
            area = np.pi * ellipses[0].width * ellipses[0].height / 4.0
            spread = np.sqrt(np.linalg.det(covariances[k][np.ix_(pair, pair)]))
            assert area == pytest.approx(np.pi * chi2(2).ppf(0.95) * spread)
        points = np.concatenate([each.get_offsets() for each in display.axes_[i, j].collections])
        assert_array_equal(np.unique(points, axis=0), np.unique(X[:, pair], axis=0))
    assert len(display.lines_) == 3
    assert not display.axes_[0, 1].axison
    assert display.figure_ is display.axes_[0, 0].figure


def test_panels_share_limits_and_labels_are_outside():
    mixture, X = fitted()
    axes = PairsDisplay.from_estimator(mixture, X).axes_
    for j in range(4):
        limits = {ax.get_xlim() for ax in axes[j:, j]} | {ax.get_ylim() for ax in axes[j, :j]}
        assert len(limits) == 1
        assert X[:, j].min() >= axes[j, j].get_xlim()[0]
        assert X[:, j].max() <= axes[j, j].get_xlim()[1]
    assert [ax.get_xlabel() for ax in axes[-1]] == ["x0", "x1", "x2", "x3"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["x0", "x1", "x2", "x3"]
    assert not any(ax.get_xlabel() for ax in axes[:-1].ravel())


@pytest.mark.parametrize("n_columns", [2, 4])
def test_the_legend_hides_nothing(n_columns):
    mixture, X = fitted(n_features=n_columns)
    display = PairsDisplay.from_estimator(mixture, X)
    display.figure_.canvas.draw()
    legend = display.axes_[0, -1].get_legend().get_window_extent()
    assert legend.x1 <= display.figure_.bbox.x1 + 1
    assert legend.x0 >= display.axes_[0, 0].get_window_extent().x1
    assert legend.y0 >= display.axes_[1, 1].get_window_extent().y1 or n_columns > 2


def test_draws_in_the_axes_given():
    mixture, _ = fitted()
    _, axes = plt.subplots(2, 2)
    display = PairsDisplay.from_estimator(mixture, columns=[3, 1], axes=axes)
    assert display.axes_[1, 0] is axes[1, 0]
    assert axes[1, 0].get_xlabel() == "x3"
    with pytest.raises(ValueError, match=r"2 columns have 2 × 2 panels: .*; got \(2,\)"):
        PairsDisplay.from_estimator(mixture, columns=[3, 1], axes=axes[0])


def test_a_single_column_has_no_pair():
    with pytest.raises(ValueError, match="pairs need two columns: DensityDisplay"):
        PairsDisplay.from_estimator(fitted(n_features=1)[0])
