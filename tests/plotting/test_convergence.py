"""The convergence plot."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fastgmm import BayesianGaussianMixture, GaussianMixture
from fastgmm.plotting import ConvergenceDisplay

TRACE = [-3.0, -2.5, -2.25]


def test_draws_the_trace():
    display = ConvergenceDisplay(TRACE, estimator_name="mixture").plot(color="k", linestyle=":")
    np.testing.assert_array_equal(display.line_.get_ydata(), TRACE)
    np.testing.assert_array_equal(display.line_.get_xdata(), [0, 1, 2])
    assert display.line_.get_color() == "k"
    assert display.line_.get_linestyle() == ":"
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_xlabel() == "Iteration"
    assert display.ax_.get_ylabel() == "Mean log-likelihood [nats]"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["mixture"]
    assert display.ax_.texts[0].get_text() == "-2.2500"


def test_draws_in_the_axes_given_and_under_the_name_given():
    _, ax = plt.subplots()
    display = ConvergenceDisplay(TRACE).plot(ax=ax, name="a")
    assert display.ax_ is ax
    assert display.line_.get_label() == "a"


def test_without_a_name_there_is_no_legend():
    assert ConvergenceDisplay(TRACE).plot().ax_.get_legend() is None


def test_many_passes_have_no_markers():
    assert ConvergenceDisplay(np.arange(100.0)).plot().line_.get_marker() in (None, "None")


def test_draws_the_trace_of_an_estimator():
    rows = np.random.default_rng(0).normal(size=(200, 2))
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    display = ConvergenceDisplay.from_estimator(mixture)
    np.testing.assert_array_equal(display.line_.get_ydata(), mixture.trace_)
    assert display.line_.get_label() == "GaussianMixture, 2 components"
    other = ConvergenceDisplay.from_estimator(mixture, name="other", ax=display.ax_, color="r")
    assert other.ax_ is display.ax_
    assert (other.line_.get_label(), other.line_.get_color()) == ("other", "r")


def test_the_axis_says_what_the_fit_raises():
    rows = np.random.default_rng(0).normal(size=(200, 2))
    mixture = BayesianGaussianMixture(1).fit(rows)
    assert ConvergenceDisplay.from_estimator(mixture).ax_.get_ylabel() == "Lower bound [nats]"


def test_estimator_must_be_fitted():
    with pytest.raises(NotFittedError, match="not fitted"):
        ConvergenceDisplay.from_estimator(GaussianMixture())
