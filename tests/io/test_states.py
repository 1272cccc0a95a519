"""Values decomposed into states, and put together again."""

import json
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm.io.states import (
    Size,
    State,
    from_state,
    parameters_from_state,
    posterior_from_state,
    posterior_to_state,
    require,
    to_state,
    typed,
    typed_members,
)
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES, weight_prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics

PARAMETERS = MixtureParameters.from_whiteners(
    np.array([0.25, 0.75]), np.arange(4.0).reshape(2, 2), np.full((2, 2), 3.0)
)
STATISTICS = SufficientStatistics(
    np.zeros((2, 2)), np.ones(2), np.full((2, 2), 1.5), np.full((2, 2), 3.0), -1.5, 2.0
)
SIZE = Size(2, 2, is_diagonal=True)


def held(value, prefix):
    return to_state(value, prefix).arrays


def restored(kind, arrays, size, **numbers):
    if kind is MixtureParameters:
        return parameters_from_state("best", State(numbers, arrays), size)
    return from_state(kind, "best", State(numbers, arrays), size)


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
    arrays = held(value, "best")
    # These names stand in files.
    assert list(arrays) == [f"best_{name}" for name in names]
    among = {**held(value, "current"), **arrays, "best": np.zeros(1)}
    again = restored(type(value), among, SIZE, **others)
    for name in names:
        assert getattr(again, name) is getattr(value, name)
    assert {name: getattr(again, name) for name in others} == others


def test_a_missing_array_is_named():
    arrays = held(PARAMETERS, "best")
    del arrays["best_means"]
    with pytest.raises(KeyError, match="best_means"):
        restored(MixtureParameters, arrays, SIZE)


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
        ("whiteners", np.stack([np.eye(2)] * 2) * 1e200, r"holds 1e\+200, whose square overflows"),
        ("means", np.full((2, 2), 1e300), r"holds 1e\+300, whose square overflows"),
        ("log_weights", np.log([0.25, 0.5]), r"weights of best, 0\.75 in all, sum to 1"),
        ("log_normalizers", np.ones(2), "best_log_normalizers are those of best_whiteners"),
    ],
)
def test_an_array_that_cannot_be_what_its_name_says_is_refused(name, array, words):
    arrays = {**held(FULL, "best"), f"best_{name}": array}
    with pytest.raises(ValueError, match=words):
        restored(MixtureParameters, arrays, SIZE._replace(is_diagonal=False))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("counts", np.array([1.0, -1.0]), "holds -1, which is negative"),
        ("second", np.arange(8.0).reshape(2, 2, 2), "not symmetric"),
        ("second", -np.stack([np.eye(2)] * 2), "holds -1, which is negative"),
        ("second", np.full((2, 2, 2), 2.0) - np.eye(2), r"not positive definite: .* eigenvalue -1"),
        ("counts", np.array([5.0, 1.0]), "best_counts, 6 in all, sum to the weight 2"),
        ("first", np.full((2, 2), 9.0), "moments of the same rows"),
    ],
)
def test_statistics_that_no_rows_have_are_refused(name, array, words):
    arrays = {
        **held(STATISTICS, "best"),
        "best_second": np.stack([np.eye(2)] * 2),
        f"best_{name}": array,
    }
    with pytest.raises(ValueError, match=words):
        restored(SufficientStatistics, arrays, SIZE._replace(is_diagonal=False), **NUMBERS)


def test_noise_has_no_spread():
    whiteners = np.array([[3.0, 3.0], [0.0, 0.0]])
    arrays = {**held(PARAMETERS, "best"), "best_whiteners": whiteners}
    again = restored(MixtureParameters, arrays, SIZE._replace(has_noise=True))
    assert again.whiteners is whiteners
    with pytest.raises(ValueError, match="which is not positive"):
        restored(MixtureParameters, arrays, SIZE)
    with pytest.raises(ValueError, match="has a spread for the noise"):
        restored(
            MixtureParameters,
            {**arrays, "best_whiteners": np.ones((2, 2))},
            SIZE._replace(has_noise=True),
        )


FULL_SIZE = Size(3, 2, is_diagonal=False)


@pytest.mark.parametrize("weights", WEIGHT_PRIOR_NAMES)
def test_a_posterior_comes_back_with_its_prior(weights):
    random = np.random.default_rng(0)
    prior = VariationalPrior(
        weight_prior(weights, 1.0 / 3.0), random.normal(size=2), 0.1, np.eye(2) / 3.0, 2.5
    )
    posterior = VariationalPosterior(
        prior,
        prior.weights.posterior(random.uniform(size=3)),
        random.normal(size=(3, 2)),
        random.uniform(size=3),
        np.broadcast_to(np.eye(2), (3, 2, 2)),
        np.broadcast_to(7.5, 3),
    )
    values, arrays = posterior_to_state(posterior, "best")
    assert all(name.startswith("best_") for name in arrays)
    assert all(array.flags.c_contiguous for array in arrays.values())
    held = State(json.loads(json.dumps(values)), {**arrays, "other": np.zeros(1)})
    again = posterior_from_state("best", held, FULL_SIZE)
    for one, other in ((again, posterior), (again.prior, prior)):
        for each in fields(one):
            if isinstance(getattr(one, each.name), np.ndarray):
                assert_array_equal(getattr(one, each.name), getattr(other, each.name))
    assert again.prior.weights == prior.weights
    assert again.prior.mean_precision == prior.mean_precision
    assert again.prior.degrees_of_freedom == prior.degrees_of_freedom


def test_a_missing_array_of_a_posterior_is_named():
    with pytest.raises(KeyError, match="best_prior_mean"):
        posterior_from_state(
            "best",
            State(
                {
                    "weights": "dirichlet_process",
                    "concentration": 1.0,
                    "mean_precision": 1.0,
                    "degrees_of_freedom": 2.0,
                },
                {},
            ),
            FULL_SIZE,
        )


@dataclass
class Point:
    x: float
    label: str | None = None


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, bool, True),
        (3, int, 3),
        (3, float, 3.0),
        (0.5, float | None, 0.5),
        (None, float | None, None),
        ("a", Literal["a", "b"], "a"),
        (None, Literal["a", "b"] | None, None),
        ([1.0, 2], tuple[float, ...], (1.0, 2.0)),
        ([1, 2.0], tuple[int, float], (1, 2.0)),
        ([], tuple[str, ...], ()),
        ({"x": 1}, Point, Point(1.0)),
        ([{"x": 1.0, "label": "a"}], tuple[Point, ...], (Point(1.0, "a"),)),
        ({"a": 1}, dict[str, Any], {"a": 1}),
        ([1], object, [1]),
    ],
)
def test_a_value_of_its_type_comes_back(value, kind, expected):
    found = typed(value, kind, "value")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (1, bool, "value is 1, not bool"),
        (True, int, "value is True, not int"),
        (1.0, int, "value is 1.0, not int"),
        (True, float, "value is True, not float"),
        ("1", float, "value is '1', not float"),
        (float("nan"), float, "value is nan"),
        (10**400, float, "value is 1000"),
        (2**63, int, "value is 9223372036854775808, not int"),
        (None, float, "value is None, not float"),
        ("c", Literal["a", "b"], "value is 'c', not"),
        (["a"], Literal["a", "b"], "value is"),
        ("ab", tuple[str, ...], "value is 'ab', not"),
        ([1, "b"], tuple[int, ...], r"value\[1\] is 'b', not int"),
        ([1], tuple[int, float], r"value is \[1\], not"),
        ({}, Point, "'value.x' is missing"),
        ({"x": 1.0, "y": 2.0}, Point, "value has an unknown member 'y'"),
        ([], Point, r"value is \[\], not Point"),
        ("x" * 100, int, r"value is 'x+\.\.\., not int"),
    ],
)
def test_a_value_of_another_type_is_refused(value, kind, words):
    with pytest.raises(ValueError, match=words):
        typed(value, kind, "value")


def test_members_are_those_of_a_dict():
    with pytest.raises(ValueError, match="state is list, not dict"):
        typed_members([], {"a": int}, "state")
    assert typed_members({}, {"a": int | None}, "state") == {"a": None}


def test_what_does_not_hold_is_refused():
    require(True, "one is one")
    with pytest.raises(ValueError, match="it does not hold that one is two"):
        require(False, "one is two")
