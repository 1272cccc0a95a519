"""Passes of k-means against the oracle."""

import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization.kmeans_passes import (
    kmeans_plus_plus,
    lloyd_statistics,
    markov_chain_rows,
    nearest_centers,
)
from tests import oracle


def grouped(D, K, dtype, scale=1.0, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    centers = 5.0 * rng.normal(size=(K, D))
    X = centers[rng.integers(K, size=300)] + rng.normal(size=(300, D))
    X = (scale * X + offset).astype(dtype)
    return X, (scale * centers + offset).astype(dtype).astype(np.float64)


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [
        (np.float64, 1.0, 0.0),
        (np.float64, 1.0, 1e8),
        (np.float64, 1e150, 0.0),
        (np.float64, 1e-150, 0.0),
        (np.float32, 1.0, 1e3),
        (np.float32, 1e30, 0.0),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_nearest_centers_and_lloyd_sums(dtype, scale, offset, weighted):
    X, centers = grouped(3, 5, dtype, scale, offset)
    weights = np.random.default_rng(1).uniform(0, 2, len(X)) if weighted else None
    source = ArraySource(X, weights)
    exact = (X.astype(np.float64) - offset) / scale, (centers - offset) / scale
    labels, squares = oracle.nearest_centers(*exact)
    tolerance = 1e-9 if dtype is np.float64 else 1e-4
    found, distances = nearest_centers(source, centers)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_allclose(distances / scale / scale, squares, rtol=tolerance, atol=tolerance)
    counts, sums, inertia = lloyd_statistics(source, centers)
    expected = oracle.lloyd_moments(*exact, weights)
    np.testing.assert_allclose(counts, expected[0])
    np.testing.assert_allclose(sums / scale, expected[1], atol=300 * tolerance)
    assert inertia / scale / scale == pytest.approx(expected[2], rel=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_features", [1, 3, 17])
def test_centers_too_close_for_products_are_told_apart(n_features, dtype):
    """Two pairs of centers, each pair closer than products of their size have digits for."""
    rng = np.random.default_rng(n_features)
    apart, close = (1000.3, 2.0**-20) if dtype is np.float64 else (10.3, 2.0**-10)
    centers = np.zeros((4, n_features))
    centers[1:3, 0] = close, apart
    centers[3, 0] = apart + close
    labels = rng.integers(4, size=2000)
    centers = centers.astype(dtype).astype(np.float64)
    X = (centers[labels] + close * rng.uniform(-0.1, 0.1, (2000, n_features))).astype(dtype)
    counts, sums, inertia = lloyd_statistics(ArraySource(X), centers)
    expected = oracle.lloyd_moments(X.astype(np.float64), centers)
    np.testing.assert_array_equal(counts, np.bincount(labels))
    np.testing.assert_allclose(sums, expected[1], atol=1e-3 * close * len(X))
    assert inertia == pytest.approx(expected[2], rel=1e-2)


@pytest.mark.filterwarnings("ignore:overflow")  # as plain Python, NumPy warns of it
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_far_rows_go_to_the_nearest_center(dtype):
    X, centers = grouped(3, 5, dtype)
    far = np.finfo(dtype).max / 2
    X[0], X[1] = far, -far
    counts, sums, inertia = lloyd_statistics(ArraySource(X), centers)
    labels = oracle.nearest_centers(X[2:], centers)[0]
    towards = centers @ np.ones(3)
    labels = np.r_[towards.argmax(), towards.argmin(), labels]
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=5))
    assert np.isfinite(sums).all()
    assert inertia > far


either_seeding = pytest.mark.parametrize("seeding", [kmeans_plus_plus, markov_chain_rows])


@either_seeding
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_seeding_finds_every_far_group(dtype, seeding):
    X, _ = grouped(4, 6, dtype)
    labels = np.repeat(np.arange(6), 50)
    X = X + 1000 * labels[:, None].astype(dtype)
    for seed in range(3):
        chosen = seeding(ArraySource(X), 6, np.random.RandomState(seed))
        assert chosen.dtype == np.int64
        assert set(labels[chosen]) == set(range(6))


@either_seeding
def test_seeding_is_reproducible_and_never_takes_a_row_without_weight(seeding):
    X, _ = grouped(2, 3, np.float64)
    weights = np.zeros(len(X))
    weights[::7] = 1.0
    source = ArraySource(X, weights)
    first = seeding(source, 5, np.random.RandomState(3))
    again = seeding(source, 5, np.random.RandomState(3), n_jobs=1)
    np.testing.assert_array_equal(first, again)
    assert (first % 7 == 0).all()
    assert len(set(first)) == 5


@either_seeding
def test_seeding_with_fewer_distinct_rows_than_centers_repeats_rows(seeding):
    source = ArraySource(np.repeat([[0.0], [1.0]], 10, axis=0))
    chosen = seeding(source, 4, np.random.RandomState(0))
    assert len(chosen) == 4
    assert set(source.X[chosen, 0]) == {0.0, 1.0}


@pytest.mark.filterwarnings("ignore:overflow")  # as plain Python, NumPy warns of it
@pytest.mark.parametrize(
    ("dtype", "fill"), [(np.float64, 1e200), (np.float64, 9.97e36), (np.float32, 9.97e36)]
)
def test_rows_without_weight_are_absent_whatever_they_hold(dtype, fill):
    X, centers = grouped(2, 3, dtype)
    filled = np.r_[np.full((1500, 2), fill, dtype), X]
    weights = np.r_[np.zeros(1500), np.ones(len(X))]
    expected = lloyd_statistics(ArraySource(X), centers)
    found = lloyd_statistics(ArraySource(filled, weights), centers)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-4)
    for seeding in (kmeans_plus_plus, markov_chain_rows):
        chosen = seeding(ArraySource(filled, weights), 3, np.random.RandomState(0))
        assert (chosen >= 1500).all()


def test_chains_draw_rows_as_weights_and_distances_say():
    X = np.repeat([[0.0], [1.0], [3.0]], 5, axis=0)
    weights = np.repeat([2.0, 4.0, 1.0], 5)
    drawn = [
        X[markov_chain_rows(ArraySource(X, weights), 2, np.random.RandomState(seed)), 0]
        for seed in range(300)
    ]
    first = np.bincount(np.array(drawn)[:, 0].astype(int), minlength=4) / 300
    np.testing.assert_allclose(first, [2 / 7, 4 / 7, 0, 1 / 7], atol=0.1)
    after_zero = [second for one, second in drawn if one == 0.0]
    assert 0.0 not in after_zero
    assert np.mean(np.array(after_zero) == 3.0) == pytest.approx(9 / 13, abs=0.15)


@pytest.mark.parametrize("distance", [1e7, 1e9])
def test_a_center_far_out_costs_the_others_no_digits(distance):
    X, centers = grouped(2, 6, np.float32)
    X[0] = distance
    centers[5] = distance
    found, distances = nearest_centers(ArraySource(X), centers)
    labels, squares = oracle.nearest_centers(X, centers)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_allclose(distances[1:], squares[1:], rtol=1e-4, atol=1e-3)
