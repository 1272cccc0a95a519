"""Rows whose component is uncertain."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm import GaussianMixture
from fastgmm.plotting import UncertaintyDisplay, panels
from fastgmm.plotting.projection import project
from tests.plotting.drawn_mixtures import SCATTERED, fitted


def test_areas_are_in_proportion_to_the_uncertainty():
    mixture, X = fitted(n_features=2)
    display = UncertaintyDisplay.from_estimator(mixture, X)
    labels = mixture.predict(X)
    uncertainties = 1.0 - mixture.predict_proba(X).max(axis=1)
    assert uncertainties.max() > 0.05
    for k, points in enumerate(display.points_):
        order = np.argsort(uncertainties[labels == k], kind="stable")
        assert_array_equal(points.get_offsets(), X[labels == k][order])
        expected = uncertainties[labels == k][order]
        slope = np.ptp(points.get_sizes()) / np.ptp(expected)
        assert_allclose(np.diff(points.get_sizes()), slope * np.diff(expected), atol=1e-9)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[-1] == "uncertainty 0.5"


def test_a_single_column_is_drawn_against_the_uncertainty():
    mixture, X = fitted(n_features=4)
    display = UncertaintyDisplay.from_estimator(mixture, X, columns=[2])
    places = np.concatenate([points.get_offsets() for points in display.points_])
    order = np.argsort(places[:, 0])
    assert_allclose(places[order, 0], np.sort(X[:, 2]))
    uncertainties = 1.0 - mixture.predict_proba(X).max(axis=1)
    assert_allclose(places[order, 1], uncertainties[np.argsort(X[:, 2])], atol=1e-12)
    assert display.ax_.get_ylabel() == "Uncertainty"


def test_many_rows_are_averaged(monkeypatch):
    monkeypatch.setattr(panels, "MOST_POINTS", 99)
    mixture, X = fitted(n_features=2)
    display = UncertaintyDisplay.from_estimator(mixture, X)
    assert display.points_ == []
    uncertainties = 1.0 - mixture.predict_proba(X).max(axis=1)
    assert display.hexbin_.get_array().max() <= uncertainties.max()
    assert display.hexbin_.get_array().max() > 0.0


def test_noise_and_axes():
    mixture = GaussianMixture(2, noise_volume="auto", random_state=0).fit(SCATTERED)
    _, ax = plt.subplots()
    display = UncertaintyDisplay.from_estimator(mixture, SCATTERED, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert len(display.points_) == 3


def test_rows_are_needed():
    mixture, _ = fitted()
    with pytest.raises(ValueError, match="only rows have uncertain components: give rows as X"):
        UncertaintyDisplay(project(mixture, None, None, at_most=2)).plot()
