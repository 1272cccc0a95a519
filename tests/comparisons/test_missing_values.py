"""The comparison of passes over rows that lack values with those over whole rows, on few rows."""

import numpy as np
import pytest

from comparisons import missing_values
from comparisons.missing_values import Timing, compare, main
from fastgmm.bench.grid import Case
from harness.missing_patterns import few_patterns


@pytest.mark.parametrize("n_features", [3, 8, 30])
def test_values_are_missing_in_few_patterns(n_features):
    X = few_patterns(np.zeros((20_000, n_features)), 0.1, 20)
    patterns = np.unique(np.isnan(X), axis=0)
    assert len(patterns) == min(20, 2**n_features - 1)
    assert np.isnan(X).mean() == pytest.approx(0.1, rel=0.3)


def test_each_kind_of_rows_is_timed():
    timings, imputing = compare(Case("pass", "full", 5_000, 6, 3), rounds=1)
    assert [each.n_patterns for each in timings][:2] == [1, 20]
    assert timings[2].n_patterns > 20
    assert timings[0].ratio == 1.0
    assert timings[1].share == pytest.approx(0.1, rel=0.2)
    assert imputing > 0.0


@pytest.mark.parametrize(("ratio", "status"), [(2.5, 0), (3.5, 1)])
def test_targets_are_put_beside_what_was_measured(monkeypatch, capsys, ratio, status):
    timings = [
        Timing("nothing missing", 0.0, 1, 1.0, 1.0, 10**6),
        Timing("20 patterns", 0.1, 20, ratio, ratio, 10**7),
        Timing("any pattern", 0.1, 4000, 9.0, 9.0, 10**7),
    ]
    monkeypatch.setattr(missing_values, "compare", lambda *_, **__: (timings, 0.5))
    assert main(["--rows", "5000"]) == status
    shown = capsys.readouterr().out
    assert "5,000 rows, D=8, K=16, full" in shown
    assert "20 patterns against whole rows" in shown
    assert f"≤ 3.0×       {ratio}×" in shown
