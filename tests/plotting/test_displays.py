"""What all Displays have in common."""

import sys

import pytest

from fastgmm import plotting
from tests.plotting.drawn_mixtures import fitted


@pytest.mark.parametrize(
    "draw",
    [
        plotting.DensityDisplay.from_estimator,
        plotting.EllipsesDisplay.from_estimator,
        plotting.PairsDisplay.from_estimator,
        plotting.UncertaintyDisplay.from_estimator,
        lambda *_: plotting.ConvergenceDisplay([-2.0, -1.0]).plot(),
        lambda *_: plotting.CriterionDisplay({}).plot(),
        lambda *_: plotting.EntropyDisplay([2, 1], [1.0, 0.0]).plot(),
        lambda *_: plotting.OperatingPointDisplay(None).plot(),
    ],
)
def test_missing_matplotlib_names_the_extra(draw, monkeypatch):
    mixture, X = fitted(n_features=2)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'drawing needs matplotlib: .*"fastgmm\[plot\]"'):
        draw(mixture, X)
