"""Quantiles in passes against sorting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastgmm.analysis.quantiles import halfway, quantile_cut, sorted_cut
from tests.pairwise import parametrize_pairwise


def naive_cut(values, weights, share):
    """Return the middle of the two values between which the weight below exceeds the share."""
    values, weights = np.asarray(values, dtype=np.float64), np.asarray(weights)
    values, weights = values[weights > 0], weights[weights > 0]
    different = np.unique(values)
    for number, value in enumerate(different):
        if weights[values <= value].sum() > share * weights.sum() * (1 + 1e-10):
            return value if number == 0 else different[number - 1] / 2 + value / 2
    raise AssertionError("a share below 1 is exceeded somewhere")


def pieces(values, weights, size):
    return lambda: (
        (values[first : first + size], None if weights is None else weights[first : first + size])
        for first in range(0, len(values), size)
    )


@parametrize_pairwise(
    kind=["normal", "far from zero", "all scales", "equal", "few values", "float32"],
    share=[1e-6, 0.01, 0.1, 0.29, 0.5, 0.999],
    most_kept=[1, 50, 10**6],
)
def test_is_that_of_sorted_values(kind, share, most_kept):
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(size=1000),
        "far from zero": rng.normal(size=1000) * 1e-6 - 1e6,
        "all scales": rng.choice([-1.0, 1.0], 1000) * 10.0 ** rng.uniform(-300, 300, 1000),
        "equal": np.full(1000, -3.5),
        "few values": rng.integers(-2, 3, 1000) * 1.0,
        "float32": rng.normal(size=1000).astype(np.float32),
    }[kind]
    for weights in (None, rng.uniform(0.0, 2.0, 1000) * (rng.random(1000) < 0.9)):
        found = quantile_cut(pieces(values, weights, 100), share, most_kept=most_kept)
        expected = naive_cut(values, np.ones(1000) if weights is None else weights, share)
        assert found == pytest.approx(expected, rel=1e-15)


@given(
    values=arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e300, 1e300)),
    share=st.floats(0.001, 0.999),
    most_kept=st.integers(1, 60),
    data=st.data(),
)
def test_no_more_than_the_share_is_below(values, share, most_kept, data):
    weights = data.draw(arrays(np.float64, len(values), elements=st.integers(1, 5)))
    cut = quantile_cut(pieces(values, weights, 7), share, most_kept=most_kept)
    total = weights.sum()
    assert weights[values < cut].sum() <= share * total * (1 + 1e-9)
    # With the next value, it would be more: the cut is the highest that is possible.
    at_least = values[values >= cut].min()
    assert weights[values <= at_least].sum() > share * total
    assert cut == quantile_cut(lambda: [(values, weights)], share)


def test_weights_are_copies():
    rng = np.random.default_rng(1)
    values, copies = rng.normal(size=300), rng.integers(0, 4, 300)
    repeated = np.repeat(values, copies)
    for share in (0.05, 0.1, 0.25):
        found = quantile_cut(lambda: [(values, copies.astype(float))], share)
        assert found == quantile_cut(lambda: [(repeated, None)], share)


@pytest.mark.parametrize("n_values", [7, 30, 300])
def test_shares_that_are_no_binary_fractions_are_met(n_values):
    values = np.arange(n_values, dtype=float)
    for n_below in range(1, n_values):
        for weight in (None, np.full(n_values, 0.1)):
            cut = quantile_cut(lambda: [(values, weight)], n_below / n_values)  # noqa: B023
            assert cut == n_below - 0.5


def test_so_few_values_that_none_is_below():
    assert quantile_cut(lambda: [(np.array([3.0, 1.0, 2.0]), None)], 0.1) == 1.0


def test_minus_infinity_is_a_value():
    values = np.array([-math.inf, 1.0, 2.0, 3.0])
    assert quantile_cut(lambda: [(values, None)], 0.25) == 1.0
    assert quantile_cut(lambda: [(values, None)], 0.5) == 1.5


@pytest.mark.parametrize("values", [[], np.zeros(3)])
def test_without_weight_there_is_no_quantile(values):
    with pytest.raises(ValueError, match="no values of positive weight"):
        quantile_cut(lambda: [(np.array(values), np.zeros(len(values)))], 0.5)


def test_memory_and_passes_are_bounded():
    rng = np.random.default_rng(2)
    values, n_passes, n_seen = rng.normal(size=20_000), 0, 0

    def go_through():
        nonlocal n_passes
        n_passes += 1
        yield from pieces(values, None, 1000)()

    def observe(some, weights):
        nonlocal n_seen
        assert len(some) == len(weights) == 1000
        n_seen += len(some)

    cut = quantile_cut(go_through, 0.01, most_kept=100, observe=observe)
    assert (values < cut).sum() == 200
    assert n_passes <= 3
    assert n_seen == 20_000
    n_passes = 0
    # The worst case: equal values, which no narrowing separates.
    values[:] = 0.1
    assert quantile_cut(go_through, 0.01, most_kept=100) == 0.1
    assert n_passes == 5


def test_sorted_values():
    values, weights = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 2.0])
    assert sorted_cut(values, weights, 0.25) == 1.5
    assert sorted_cut(values, weights, 0.5) == 3.0
    assert sorted_cut(values, weights, 0.1) == 1.0


def test_halfway_is_above_the_lower_number():
    assert halfway(1.0, 2.0) == 1.5
    assert halfway(-math.inf, 2.0) == 2.0
    assert halfway(1.0, np.nextafter(1.0, 2.0)) == np.nextafter(1.0, 2.0)
    assert halfway(-1.7e308, 1.7e308) == 1.7e308
    np.testing.assert_array_equal(halfway([0.0, 4.0], [1.0, 5.0]), [0.5, 4.5])
