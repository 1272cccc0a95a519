"""Values decomposed into arrays, and put together again."""

import numpy as np
import pytest

from fastgmm.io.arrays import Size, arrays_of, from_arrays
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics

PARAMETERS = MixtureParameters.from_whiteners(
    np.array([0.25, 0.75]), np.arange(4.0).reshape(2, 2), np.full((2, 2), 3.0)
)
STATISTICS = SufficientStatistics(
    np.zeros((2, 2)), np.ones(2), np.full((2, 2), 2.0), np.full((2, 2), 3.0), -1.5, 2.0
)
SIZE = Size(2, 2, is_diagonal=True)
NUMBERS = {"log_likelihood": -1.5, "weight": 2.0}


@pytest.mark.parametrize(
    ("value", "others", "names"),
    [
        (PARAMETERS, {}, ["log_weights", "means", "whiteners", "log_normalizers"]),
        (STATISTICS, NUMBERS, ["reference", "counts", "first", "second"]),
        (Regularization.none(2), {}, ["amounts", "constant"]),
    ],
    ids=["parameters", "statistics", "regularization"],
)
def test_a_value_comes_back_from_its_arrays_among_others(value, others, names):
    arrays = arrays_of(value, "best")
    # These names stand in files.
    assert list(arrays) == [f"best_{name}" for name in names]
    among = {**arrays_of(value, "current"), **arrays, "best": np.zeros(1)}
    again = from_arrays(type(value), "best", among, SIZE, **others)
    for name in names:
        assert getattr(again, name) is getattr(value, name)
    assert {name: getattr(again, name) for name in others} == others


def test_a_missing_array_is_named():
    arrays = arrays_of(PARAMETERS, "best")
    del arrays["best_means"]
    with pytest.raises(KeyError, match="best_means"):
        from_arrays(MixtureParameters, "best", arrays, SIZE)


FULL = MixtureParameters.from_whiteners(
    np.array([0.25, 0.75]), np.arange(4.0).reshape(2, 2), np.stack([np.eye(2)] * 2)
)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("means", np.zeros((2, 3)), r"best_means has shape \(2, 3\), not \(2, 2\)"),
        (
            "means",
            np.zeros((2, 2), dtype=np.float32),
            "best_means is of dtype float32, not float64",
        ),
        ("log_weights", np.ones(2), "holds 1, the logarithm of more than 1"),
        ("whiteners", np.zeros((2, 2, 2)), "holds 0, which is not positive"),
        ("whiteners", np.ones((2, 2, 2)), "not lower triangular"),
        ("whiteners", np.ones((2, 2)), "has shape"),
    ],
)
def test_an_array_that_cannot_be_what_its_name_says_is_refused(name, array, words):
    arrays = {**arrays_of(FULL, "best"), f"best_{name}": array}
    with pytest.raises(ValueError, match=words):
        from_arrays(MixtureParameters, "best", arrays, SIZE._replace(is_diagonal=False))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("counts", np.array([1.0, -1.0]), "holds -1, which is negative"),
        ("second", np.arange(8.0).reshape(2, 2, 2), "not symmetric"),
        ("second", -np.stack([np.eye(2)] * 2), "holds -1, which is negative"),
    ],
)
def test_statistics_that_no_rows_have_are_refused(name, array, words):
    arrays = {
        **arrays_of(STATISTICS, "best"),
        "best_second": np.stack([np.eye(2)] * 2),
        f"best_{name}": array,
    }
    with pytest.raises(ValueError, match=words):
        from_arrays(
            SufficientStatistics, "best", arrays, SIZE._replace(is_diagonal=False), **NUMBERS
        )


def test_noise_has_no_spread():
    whiteners = np.array([[1.0, 1.0], [0.0, 0.0]])
    arrays = {**arrays_of(PARAMETERS, "best"), "best_whiteners": whiteners}
    again = from_arrays(MixtureParameters, "best", arrays, SIZE._replace(has_noise=True))
    assert again.whiteners is whiteners
    with pytest.raises(ValueError, match="which is not positive"):
        from_arrays(MixtureParameters, "best", arrays, SIZE)
    with pytest.raises(ValueError, match="has a spread for the noise"):
        from_arrays(
            MixtureParameters,
            "best",
            {**arrays, "best_whiteners": np.ones((2, 2))},
            SIZE._replace(has_noise=True),
        )
