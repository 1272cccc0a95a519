"""The comparison from array to fit with scikit-learn's defaults, on few rows."""

import numpy as np
import pytest

from comparisons import time_to_likelihood
from comparisons.time_to_likelihood import Result, drawn, main, time_to


def test_the_time_is_that_of_all_fits_until_one_is_good_enough():
    results = [Result(1.0, -3.0), Result(2.0, -2.0), Result(4.0, -1.0)]
    assert time_to(-3.0, results.__getitem__, 0) == 1.0
    assert time_to(-1.9995, results.__getitem__, 0) == 3.0
    assert time_to(-1.0, results.__getitem__, 1) == 6.0
    assert time_to(0.0, lambda _seed: results[0], 0) is None


@pytest.mark.parametrize("name", ["photograph", "flights"])
def test_real_data_are_finite(name):
    rows, n_components = time_to_likelihood.SETS[name]()
    assert len(rows) > 200_000
    assert np.isfinite(rows).all()
    assert n_components > 1


def test_fits_are_shown_beside_each_other(monkeypatch, capsys):
    sets = {"few": lambda: drawn(2_000, 2, 3), "stars": lambda: None}
    monkeypatch.setattr(time_to_likelihood, "SETS", sets)
    main(["--seeds", "2"])
    shown = capsys.readouterr().out
    assert "few: 2,000 × 2, K=3" in shown
    assert "stars: left out" in shown
    assert "median of the sets" in shown
