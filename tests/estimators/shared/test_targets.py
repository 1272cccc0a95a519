"""Targets as users give them: what cannot be used."""

import numpy as np
import pandas as pd
import pytest

from fastgmm import GaussianMixtureRegressor


def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(50, 3)), columns=["a", "b", "c"])


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (frame(), "z", "X has no column 'z': its columns are 'a', 'b', 'c'"),
        (frame(), ["a", "a"], "names a column twice"),
        (frame(), ["a", "b", "c"], "which leaves no input"),
        (frame().to_numpy(), "c", "X has no names: give an array of targets"),
        (lambda: iter([frame().to_numpy()]), "c", "those of X have no names"),
        (frame(), None, "requires y to be passed, but the target y is None"),
        (frame(), np.zeros(49), "inconsistent numbers of samples"),
        (
            frame(),
            np.ma.array(np.zeros(50), mask=np.arange(50) == 7),
            "Input y contains NaN, first in row 7, counted from 0: remove such rows, fill in",
        ),
        (frame(), np.full(50, np.inf), "Input y contains infinity"),
        (frame(), np.zeros((50, 1, 1)), "Found array with dim 3"),
    ],
)
def test_targets_that_cannot_be(X, y, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixtureRegressor().fit(X, y)


def test_a_file_has_its_targets_in_a_column(tmp_path):
    frame().to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(TypeError, match="have their targets in a column: name it"):
        GaussianMixtureRegressor().fit(str(tmp_path / "rows.csv"), np.zeros(50))


def test_targets_are_those_of_the_fit():
    data = frame()
    by_name = GaussianMixtureRegressor().fit(data, "c")
    with pytest.raises(ValueError, match=r"y names the columns 'b', but .* the columns 'c' as y"):
        by_name.log_density(data, "b")
    by_array = GaussianMixtureRegressor().fit(data[["a", "b"]], data["c"])
    with pytest.raises(ValueError, match="was fitted to an array as y"):
        by_array.log_density(data, "c")
