"""The plot of why a row is an outlier."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fastgmm import GaussianMixture, GaussianMixtureOutlierDetector
from fastgmm.plotting import ExplanationDisplay

X = np.random.default_rng(0).normal(size=(200, 3))


def test_draws_the_most_surprising_feature_first():
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    detector = GaussianMixtureOutlierDetector().fit(table)
    row = pd.DataFrame([[0.5, 7.0, 1.0]], columns=["a", "b", "c"])
    display = ExplanationDisplay.from_estimator(detector, row)
    found = detector.explain(row)
    widths = [bar.get_width() for bar in display.bars_]
    assert_allclose(widths, np.sort(found.surprises[0])[::-1])
    assert display.ax_.get_yticklabels()[0].get_text() == "b = 7"
    assert f"{found.expected[0, 1]:.4g} expected" in display.ax_.texts[0].get_text()
    assert display.ax_.get_xlabel() == "Surprise given the other features [nats]"


def test_many_features_are_cut_to_the_most_surprising():
    display = ExplanationDisplay(np.zeros(50), np.arange(50.0), np.ones(50)).plot()
    assert len(display.bars_) == 20
    assert display.ax_.get_yticklabels()[0].get_text() == "x49 = 0"


def test_the_display_is_of_one_row():
    with pytest.raises(ValueError, match="the display is of one row; got 2"):
        ExplanationDisplay.from_estimator(GaussianMixture().fit(X), X[:2])
