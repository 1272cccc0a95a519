"""The statistics are a monoid, and moving their reference changes nothing but rounding."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.statistics import SufficientStatistics, pool
from tests import oracle

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 5))


def statistics_of(X, shares, reference, diagonal=False, log_likelihood=0.0):
    counts, first, second = oracle.moments(X, shares, reference)
    if diagonal:
        second = np.einsum("kii->ki", second).copy()
    return SufficientStatistics(
        reference, counts, first, second, log_likelihood, float(shares.sum())
    )


def draw(seed, n_components, n_features, n_samples=12):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(n_components), size=n_samples)
    return rng.normal(size=(n_samples, n_features)), shares, rng


def assert_same(left, right, **tolerance):
    for name in ("reference", "counts", "first", "second", "log_likelihood", "weight"):
        assert_allclose(getattr(left, name), getattr(right, name), err_msg=name, **tolerance)


@given(seeds, shapes, st.booleans())
def test_statistics_of_two_parts_add_up_to_those_of_the_whole(seed, shape, diagonal):
    X, shares, rng = draw(seed, *shape)
    reference = rng.normal(size=shape)
    whole = statistics_of(X, shares, reference, diagonal)
    parts = [
        statistics_of(X[rows], shares[rows], reference, diagonal)
        for rows in (slice(0, 5), slice(5, None))
    ]
    assert_same(parts[0] + parts[1], whole, atol=1e-12)


@given(seeds, shapes, st.booleans())
def test_parts_with_different_references_add_up_too(seed, shape, diagonal):
    X, shares, rng = draw(seed, *shape)
    parts = [
        statistics_of(X[rows], shares[rows], rng.normal(size=shape), diagonal)
        for rows in (slice(0, 5), slice(5, None))
    ]
    total = parts[0] + parts[1]
    assert_same(total, statistics_of(X, shares, total.reference, diagonal), atol=1e-12)
    assert_allclose((parts[1] + parts[0]).covariances(), total.covariances(), atol=1e-12)


@given(seeds, shapes)
def test_addition_is_associative_and_commutative(seed, shape):
    X, shares, rng = draw(seed, *shape)
    reference = rng.normal(size=shape)
    a, b, c = (
        statistics_of(X[rows], shares[rows], reference)
        for rows in (slice(0, 3), slice(3, 8), slice(8, None))
    )
    assert_same((a + b) + c, a + (b + c), rtol=1e-12, atol=1e-12)
    assert_same(a + b, b + a, rtol=0)


@given(seeds, shapes, st.booleans())
def test_moving_the_reference_and_back_changes_nothing(seed, shape, diagonal):
    X, shares, rng = draw(seed, *shape)
    original = statistics_of(X, shares, rng.normal(size=shape), diagonal)
    elsewhere = rng.normal(size=shape)
    moved = original.about(elsewhere)
    assert_same(moved, statistics_of(X, shares, elsewhere, diagonal), atol=1e-12)
    assert_same(moved.about(original.reference), original, atol=1e-12)


@given(seeds, st.floats(0.0, 1.0))
def test_a_blend_weighs_both_sides(seed, step):
    X, shares, rng = draw(seed, 2, 3)
    reference = rng.normal(size=(2, 3))
    a = statistics_of(X[:6], shares[:6], reference)
    b = statistics_of(X[6:], shares[6:], reference)
    assert_same(a.blended(b, step), a.scaled(1.0 - step) + b.scaled(step), rtol=0)
    assert a.blended(b, step).weight == pytest.approx((1 - step) * a.weight + step * b.weight)


@given(seeds, st.integers(1, 5))
def test_scaling_equals_repetition(seed, copies):
    X, shares, rng = draw(seed, 2, 3)
    reference = rng.normal(size=(2, 3))
    repeated = statistics_of(
        np.repeat(X, copies, axis=0), np.repeat(shares, copies, axis=0), reference
    )
    assert_same(
        statistics_of(X, shares, reference).scaled(copies), repeated, rtol=1e-12, atol=1e-12
    )


def test_means_and_covariances_are_those_of_the_rows():
    X, shares, rng = draw(0, 3, 4, n_samples=50)
    statistics = statistics_of(X, shares, rng.normal(size=(3, 4)))
    weights, means, covariances = oracle.m_step(X, shares, "full")
    assert_allclose(statistics.weights(), weights, rtol=1e-13)
    assert_allclose(statistics.means(), means, rtol=1e-12, atol=1e-14)
    assert_allclose(statistics.covariances(), covariances, rtol=1e-12, atol=1e-14)
    assert_allclose(statistics.variances(), np.einsum("kii->ki", covariances), rtol=1e-12)


def test_covariances_are_exactly_symmetric():
    X, shares, rng = draw(1, 3, 6, n_samples=50)
    statistics = statistics_of(X, shares, rng.normal(size=(3, 6)))
    second = statistics.second + statistics.second.transpose(0, 2, 1)
    covariances = replace(statistics, second=0.5 * second).covariances()
    assert_array_equal(covariances, covariances.transpose(0, 2, 1))


def test_a_component_without_points_stays_and_has_the_covariance_of_the_others():
    X, shares, rng = draw(2, 3, 2)
    shares[:, 1] = 0.0
    reference = rng.normal(size=(3, 2))
    statistics = statistics_of(X, shares, reference)
    assert_array_equal(statistics.empty(), [False, True, False])
    assert statistics.weights()[1] == 0.0
    assert_array_equal(statistics.means()[1], reference[1])
    covariances = statistics.covariances()
    assert_allclose(
        covariances[1], pool(covariances[[0, 2]], statistics.counts[[0, 2]]), rtol=1e-14
    )


def test_a_variance_below_rounding_is_exactly_zero():
    X = np.column_stack([np.full(9, 0.1), np.linspace(-1, 1, 9)])
    statistics = statistics_of(X, np.ones((9, 1)), np.array([[0.3, 0.2]]))
    covariance = statistics.covariances()[0]
    assert_array_equal(covariance[0], [0.0, 0.0])
    assert_array_equal(covariance[:, 0], [0.0, 0.0])
    assert covariance[1, 1] == pytest.approx(np.var(X[:, 1]))


def test_statistics_of_different_structures_do_not_add():
    X, shares, rng = draw(3, 2, 2)
    reference = rng.normal(size=(2, 2))
    full = statistics_of(X, shares, reference)
    diagonal = statistics_of(X, shares, reference, diagonal=True)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\) and \(2, 2\).*same covariance"):
        full + diagonal
    with pytest.raises(TypeError):
        full + 1


def test_nothing_pools_to_zero():
    assert_array_equal(pool(np.ones((2, 3)), np.zeros(2)), np.zeros(3))


def test_what_overflows_far_from_the_reference_says_nothing():
    huge = np.array([[1e300, -1e300]])
    statistics = SufficientStatistics(
        counts=np.ones(1), first=huge, second=np.full((1, 2), np.inf), reference=np.zeros((1, 2)),
        log_likelihood=0.0, weight=1.0,
    )  # fmt: skip
    assert statistics.covariances().shape == (1, 2)
