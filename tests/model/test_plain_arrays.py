"""Values taken apart into arrays, and put together again."""

import numpy as np
import pytest

from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.plain_arrays import arrays_of, from_arrays
from fastgmm.model.regularisation import Regularisation
from fastgmm.model.statistics import SufficientStatistics

PARAMETERS = MixtureParameters.from_whiteners(
    np.array([0.25, 0.75]), np.arange(4.0).reshape(2, 2), np.full((2, 2), 3.0)
)
STATISTICS = SufficientStatistics(
    np.zeros((2, 1)), np.ones(2), np.full((2, 1), 2.0), np.full((2, 1), 3.0), -1.5, 2.0
)
NUMBERS = {"log_likelihood": -1.5, "weight": 2.0}


@pytest.mark.parametrize(
    ("value", "others", "names"),
    [
        (PARAMETERS, {}, ["log_weights", "means", "whiteners", "log_normalisers"]),
        (STATISTICS, NUMBERS, ["reference", "counts", "first", "second"]),
        (Regularisation.none(2), {}, ["amounts", "constant"]),
    ],
    ids=["parameters", "statistics", "regularisation"],
)
def test_a_value_comes_back_from_its_arrays_among_others(value, others, names):
    arrays = arrays_of(value, "best")
    # These names stand in files.
    assert list(arrays) == [f"best_{name}" for name in names]
    among = {**arrays_of(value, "current"), **arrays, "best": np.zeros(1)}
    again = from_arrays(type(value), "best", among, **others)
    for name in names:
        assert getattr(again, name) is getattr(value, name)
    assert {name: getattr(again, name) for name in others} == others


def test_a_missing_array_is_named():
    arrays = arrays_of(PARAMETERS, "best")
    del arrays["best_means"]
    with pytest.raises(KeyError, match="best_means"):
        from_arrays(MixtureParameters, "best", arrays)
