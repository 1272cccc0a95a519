"""Limits of axes and colors that are seen."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from fastgmm.plotting import DensityDisplay, EllipsesDisplay, UncertaintyDisplay, panels
from fastgmm.plotting.projection import Projection, project
from tests.plotting.drawn_mixtures import fitted


def with_a_far_row():
    """Return a mixture in two columns, and its rows with one that is far from all others."""
    mixture, X = fitted(n_features=2)
    return project(mixture, np.vstack([X, [[1e4, -1e4]]]), None, at_most=2, with_uncertainties=True)


@pytest.mark.parametrize("kind", [EllipsesDisplay, DensityDisplay, UncertaintyDisplay])
@pytest.mark.parametrize("most", [50, 10**6], ids=["hexagons", "points"])
def test_a_far_row_does_not_set_the_limits(monkeypatch, kind, most):
    monkeypatch.setattr(panels, "MOST_POINTS", most)
    shown = with_a_far_row()
    ax = kind(shown).plot().ax_
    for low, high, column in ((*ax.get_xlim(), 0), (*ax.get_ylim(), 1)):
        others = shown.rows[:-1, column]
        assert low <= others.min()
        assert others.max() <= high
        assert high - low < 3.0 * np.ptp(others)


def test_a_histogram_is_of_the_density_of_all_rows():
    shown = with_a_far_row().of([0])
    bars = DensityDisplay(shown).plot().histogram_
    area = sum(bar.get_width() * bar.get_height() for bar in bars)
    n_rows = len(shown.rows)
    assert area == pytest.approx((n_rows - 1) / n_rows)


def test_rows_of_one_value_have_limits():
    mixture, X = fitted(n_features=2)
    same = np.repeat(X[:1], 5, axis=0)
    labels = np.zeros(5, dtype=np.int64)
    shown = Projection(mixture._parameters(), ("a", "b"), same, labels, np.zeros(5))
    low, high = UncertaintyDisplay(shown).plot().ax_.get_xlim()
    assert low < X[0, 0] < high


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("name", ["Greys", "Greys_r", "cividis"])
def test_no_color_is_that_of_the_background(style, name):
    with plt.style.context(style):
        _, ax = plt.subplots()
        colors = panels.visible_colors(ax, name)(np.linspace(0.0, 1.0, 50))
        background = np.array(to_rgb(ax.get_facecolor()))
    assert np.abs(colors[:, :3] - background).mean(axis=1).min() > 0.2


def test_sure_rows_are_points_that_are_seen():
    mixture, X = fitted(n_features=2)
    display = UncertaintyDisplay.from_estimator(mixture, np.tile(X, (300, 1)))
    assert min(points.get_sizes().min() for points in display.points_) >= 4.0
