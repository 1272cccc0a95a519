"""Ellipses of components."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2

from fastgmm import GaussianMixture
from fastgmm.plotting import EllipsesDisplay, panels
from tests import oracle
from tests.plotting.drawn_mixtures import SCATTERED, fitted


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_an_ellipse_holds_its_share_of_the_component(covariance_type):
    mixture, X = fitted(covariance_type)
    masses = (0.9, 0.3)
    display = EllipsesDisplay.from_estimator(mixture, X, columns=[2, 0], masses=masses[::-1])
    assert [len(each) for each in display.ellipses_] == [2, 2]
    chosen = oracle.fitted_covariances(mixture)[:, [2, 0]][:, :, [2, 0]]
    turn = np.linspace(0.0, 2.0 * np.pi, 9)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for k, ellipses in enumerate(display.ellipses_):
        assert_allclose(ellipses[0].center, mixture.means_[k, [2, 0]])
        for mass, ellipse in zip(masses, ellipses, strict=True):
            # Every point of it is as far from the mean as the quantile of χ² says.
            outline = ellipse.get_patch_transform().transform(circle) - ellipse.center
            distances = np.einsum("ij,jk,ik->i", outline, np.linalg.inv(chosen[k]), outline)
            assert_allclose(distances, chi2(2).ppf(mass), rtol=1e-8)


def test_rows_have_the_colors_of_their_components():
    mixture, X = fitted(n_features=2)
    display = EllipsesDisplay.from_estimator(mixture, X)
    labels = mixture.predict(X)
    assert len(display.points_) == 2
    for k, points in enumerate(display.points_):
        assert_array_equal(points.get_offsets(), X[labels == k])
        color = to_hex(points.get_facecolor()[0])
        assert color == to_hex(display.ellipses_[k][0].get_edgecolor())
    assert display.hexbin_ is None
    assert_allclose(display.means_.get_xydata(), mixture.means_)
    assert display.figure_ is display.ax_.figure
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("x0", "x1")
    legend = display.ax_.get_legend()
    assert "50 % and 95 %" in legend.get_title().get_text()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [f"{k}: weight {w:.3f}" for k, w in enumerate(mixture.weights_)]


def test_without_rows_all_ellipses_are_in_the_figure():
    mixture, _ = fitted(n_features=2)
    display = EllipsesDisplay.from_estimator(mixture)
    assert display.points_ == []
    assert len(display.ax_.patches) == 4
    reach = np.sqrt(chi2(2).ppf(0.95) * np.einsum("kii->ki", mixture.covariances_))
    for limits, j in ((display.ax_.get_xlim(), 0), (display.ax_.get_ylim(), 1)):
        assert limits[0] <= (mixture.means_ - reach)[:, j].min()
        assert limits[1] >= (mixture.means_ + reach)[:, j].max()


def test_noise_is_marked():
    mixture = GaussianMixture(2, noise_volume="auto", random_state=0).fit(SCATTERED)
    display = EllipsesDisplay.from_estimator(mixture, SCATTERED)
    assert (mixture.predict(SCATTERED) == -1).sum() == len(display.points_[0].get_offsets()) > 0
    assert display.ax_.get_legend().get_texts()[-1].get_text() == "noise"


@pytest.mark.parametrize(("style", "grays"), [("default", "Greys"), ("dark_background", "Greys_r")])
def test_many_rows_are_counted(monkeypatch, style, grays):
    monkeypatch.setattr(panels, "MOST_POINTS", 99)
    mixture, X = fitted(n_features=2)
    with plt.style.context(style):
        display = EllipsesDisplay.from_estimator(mixture, X)
    assert display.points_ == []
    assert display.hexbin_.get_array().sum() == 100
    assert display.hexbin_.get_cmap().name == grays


def test_draws_in_the_axes_given_and_over_what_is_there():
    mixture, X = fitted()
    _, ax = plt.subplots()
    first = EllipsesDisplay.from_estimator(mixture, X, ax=ax)
    second = EllipsesDisplay(first.projection).plot(ax=ax, masses=[0.5])
    assert first.ax_ is second.ax_ is ax
    assert len(ax.patches) == 6


def test_components_differ_in_color_or_line():
    styles = panels.component_styles(24)
    assert len(set(styles)) == 24
    assert panels.component_styles(30)[24:] == styles[:6]


def test_long_legends_are_cut():
    rows = np.random.default_rng(0).random((400, 2))
    display = EllipsesDisplay.from_estimator(GaussianMixture(20, random_state=0).fit(rows))
    texts = display.ax_.get_legend().get_texts()
    assert (len(texts), texts[-1].get_text()) == (17, "and 4 more")


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_the_legend_is_beside_the_axes_and_in_the_figure(style):
    mixture, X = fitted(n_features=2)
    with plt.style.context(style):
        display = EllipsesDisplay.from_estimator(mixture, X)
        display.figure_.canvas.draw()
        legend = display.ax_.get_legend().get_window_extent()
        assert legend.x0 >= display.ax_.get_window_extent().x1
        assert legend.x1 <= display.figure_.bbox.x1
        assert display.means_.get_color() == plt.rcParams["text.color"]


def test_refusals():
    mixture, _ = fitted(n_features=1)
    with pytest.raises(ValueError, match="DensityDisplay draws a single column"):
        EllipsesDisplay.from_estimator(mixture)
    mixture, _ = fitted()
    for masses in ([], [1.0], [0.0, 0.5]):
        with pytest.raises(ValueError, match="masses must be numbers between 0 and 1"):
            EllipsesDisplay.from_estimator(mixture, masses=masses)
