"""The plot of entropies."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm import GaussianMixture, merge_components
from fastgmm.plotting import EntropyDisplay

NUMBERS = [5, 4, 3, 2, 1]
ENTROPIES = [90.0, 60.0, 30.0, 1.0, 0.0]
MERGED = [0.0, 20.0, 60.0, 90.0, 150.0]


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


def test_draws_the_entropies_and_the_elbow():
    display = EntropyDisplay(NUMBERS, ENTROPIES, elbow=2).plot(color="k", linestyle=":")
    assert_array_equal(display.line_.get_xdata(), NUMBERS)
    assert_array_equal(display.line_.get_ydata(), ENTROPIES)
    assert (display.line_.get_color(), display.line_.get_linestyle()) == ("k", ":")
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_xlabel() == "Number of clusters"
    assert display.ax_.get_ylabel() == "Entropy of the assignment [nats]"
    left, right = display.fitted_lines_
    assert_array_equal(left.get_xdata(), [5, 4, 3, 2])
    expected = np.polyval(np.polyfit([5, 4, 3, 2], ENTROPIES[:4], 1), [5, 4, 3, 2])
    assert_allclose(left.get_ydata(), expected)
    assert_array_equal(right.get_xdata(), [2, 1])
    assert_allclose(right.get_ydata(), [1.0, 0.0])
    assert texts(display) == ["2 clusters"]


@pytest.mark.parametrize("elbow", [None, 5, 1])
def test_without_a_knot_there_are_no_lines(elbow):
    display = EntropyDisplay(NUMBERS, ENTROPIES, elbow=elbow).plot()
    assert display.fitted_lines_ == ()
    assert texts(display) == ([] if elbow is None else [f"{elbow} clusters"])


def test_against_the_rows_that_were_merged():
    _, ax = plt.subplots()
    display = EntropyDisplay(NUMBERS, ENTROPIES, n_merged=MERGED, elbow=2)
    display.plot(against="n_merged", ax=ax)
    assert display.ax_ is ax
    assert_array_equal(display.line_.get_xdata(), MERGED)
    assert display.fitted_lines_ == ()
    assert sorted(texts(display)) == ["1", "2 clusters", "3", "4", "5"]
    assert "merged clusters" in ax.get_xlabel()


def test_draws_what_merging_found():
    X = np.random.default_rng(0).normal(size=(200, 2))
    mixture = GaussianMixture(4, random_state=0).fit(X)
    merged = merge_components(mixture, X)
    for display in (
        EntropyDisplay.from_merging(merged),
        EntropyDisplay.from_estimator(mixture, X),
        EntropyDisplay.from_estimator(mixture, X, np.ones(len(X))),
    ):
        assert_allclose(display.line_.get_ydata(), merged.entropies)
        assert texts(display) == [f"{merged.elbow} clusters"]
    against = EntropyDisplay.from_merging(merged, against="n_merged", color="r")
    assert_array_equal(against.line_.get_xdata(), merged.n_merged)
    assert against.line_.get_color() == "r"


def test_arguments_are_checked():
    display = EntropyDisplay(NUMBERS, ENTROPIES)
    with pytest.raises(ValueError, match="against must be one of n_clusters, n_merged; got 'x'"):
        display.plot(against="x")
    with pytest.raises(ValueError, match="needs the numbers: give n_merged"):
        display.plot(against="n_merged")


@pytest.mark.parametrize(("style", "color"), [("default", "black"), ("dark_background", "white")])
def test_the_ring_is_seen_on_any_background(style, color):
    with plt.style.context(style):
        display = EntropyDisplay([3, 2, 1], [9.0, 3.0, 0.0], elbow=2).plot()
    (ring,) = [line for line in display.ax_.lines if line.get_markersize() == 12]
    assert ring.get_color() == color
