"""The comparison of variational Bayes with scikit-learn's, on few rows."""

import pytest

from comparisons import variational
from comparisons.variational import Comparison, compare, main
from fastgmm.bench.grid import Case


def test_both_arrive_at_the_same_bounds():
    found = compare(Case("fit", "full", 20_000, 3, 4), rounds=2)
    assert found.difference < 1e-10


def test_the_ratio_is_that_of_the_times():
    assert Comparison(0.5, 20.0, 0.0).ratio == 40.0


@pytest.mark.parametrize(("ratio", "difference", "status"), [(60, 0, 0), (40, 0, 1), (60, 1e-3, 1)])
def test_targets_are_put_beside_what_was_measured(monkeypatch, capsys, ratio, difference, status):
    found = Comparison(1.0, float(ratio), difference)
    monkeypatch.setattr(variational, "compare", lambda *_, **__: found)
    assert main(["--rows", "5000"]) == status
    shown = capsys.readouterr()
    assert f"5,000×8, K=16, one iteration: fastgmm 1.0000 s, scikit-learn {ratio}.00 s" in shown.out
    assert ("differ" in shown.err) == (difference > 0)
