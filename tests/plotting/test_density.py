"""Densities over one column and two."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal, norm

from fastgmm.plotting import DensityDisplay
from fastgmm.plotting.density import levels_of_masses
from tests import oracle
from tests.plotting.drawn_mixtures import fitted


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("n_features", [1, 4])
def test_lines_of_one_column(covariance_type, n_features):
    mixture, X = fitted(covariance_type, n_features)
    column = n_features - 1
    display = DensityDisplay.from_estimator(mixture, X, columns=[column])
    variances = oracle.fitted_covariances(mixture)[:, column, column]
    total = 0.0
    for k, line in enumerate(display.component_lines_):
        x, y = line.get_data()
        expected = norm(mixture.means_[k, column], np.sqrt(variances[k])).pdf(x)
        assert_allclose(y, mixture.weights_[k] * expected, atol=1e-12)
        total = total + y
    assert_allclose(display.line_.get_ydata(), total)
    assert np.trapezoid(total, display.line_.get_xdata()) == pytest.approx(1.0, abs=1e-3)
    bars = display.histogram_
    assert sum(bar.get_height() * bar.get_width() for bar in bars) == pytest.approx(1.0)
    assert display.contours_ is None
    assert display.ax_.get_xlabel() == f"x{column}"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[0] == "mixture"
    assert len(texts) == 3


def test_a_narrow_component_is_not_missed():
    mixture, _ = fitted(n_features=1)
    mixture.means_ = np.array([[0.0], [1.0]])
    mixture.precisions_cholesky_ = np.array([[[1.0]], [[1e5]]])
    display = DensityDisplay.from_estimator(mixture)
    peak = mixture.weights_[1] * 1e5 * norm.pdf(0.0)
    assert display.component_lines_[1].get_ydata().max() == pytest.approx(peak, rel=1e-6)


def test_contours_hold_their_shares():
    mixture, X = fitted()
    masses = (0.9, 0.5)
    display = DensityDisplay.from_estimator(mixture, X, columns=[1, 2], masses=masses)
    levels = display.contours_.levels
    drawn, _ = mixture.sample(200_000)
    points = drawn[:, [1, 2]]
    density = sum(
        weight * multivariate_normal(mean[[1, 2]], covariance[1:3, 1:3]).pdf(points)
        for weight, mean, covariance in zip(*oracle.mixture_of(mixture), strict=True)
    )
    for level, mass in zip(levels, masses, strict=True):
        assert np.mean(density > level) == pytest.approx(mass, abs=0.01)
    assert_array_equal(display.points_[0].get_offsets(), X[:, [1, 2]])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["90 %", "50 %"]
    assert display.line_ is None


def test_levels_are_those_of_a_table():
    density = np.array([1.0, 4.0, 2.0, 3.0])
    assert_array_equal(levels_of_masses(density, [0.95, 0.7, 0.4, 0.1]), [1.0, 3.0, 4.0, 4.0])


def test_draws_in_the_axes_given_without_rows():
    mixture, _ = fitted()
    _, ax = plt.subplots()
    display = DensityDisplay.from_estimator(mixture, ax=ax)
    assert display.ax_ is ax
    assert display.points_ == []
    display = DensityDisplay.from_estimator(mixture, columns=[0])
    assert display.histogram_ is None
