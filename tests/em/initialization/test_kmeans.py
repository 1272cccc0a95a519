"""Lloyd's algorithm against scikit-learn's and against what defines a solution."""

import numpy as np
import pytest
import sklearn.cluster
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization.kmeans import (
    KMeansSettings,
    fit_kmeans,
    mean_variance,
    starting_centers,
)


def groups(rng, n_samples=600, n_features=3, n_groups=4, dtype=np.float64):
    centers = rng.normal(scale=4.0, size=(n_groups, n_features))
    return (
        centers[rng.integers(n_groups, size=n_samples)] + rng.normal(size=(n_samples, n_features))
    ).astype(dtype)


def fit(X, n_clusters, *, weights=None, seed=0, n_jobs=None, listener=None, **settings):
    return fit_kmeans(
        ArraySource(X, weights),
        n_clusters,
        np.random.RandomState(seed),
        KMeansSettings(**settings),
        n_jobs=n_jobs,
        listener=listener,
    )


@pytest.mark.parametrize("tol", [1e-4, 0.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_from_the_same_centers_the_result_is_that_of_scikit_learn(tol, weighted):
    rng = np.random.default_rng(1)
    X = groups(rng)
    weights = rng.uniform(0.5, 2.0, size=len(X)) if weighted else None
    start = X[:4]
    ours = fit(X, 4, weights=weights, init=start, tol=tol)
    theirs = sklearn.cluster.KMeans(4, init=start, n_init=1, tol=tol).fit(X, sample_weight=weights)
    assert_allclose(ours.centers, theirs.cluster_centers_, rtol=1e-10)
    assert_array_equal(ours.labels, theirs.labels_)
    assert ours.inertia == pytest.approx(theirs.inertia_)
    assert ours.n_iter == theirs.n_iter_
    assert ours.converged


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("max_iter", [1, 300])
def test_labels_and_inertia_are_those_of_the_returned_centers(init, dtype, max_iter):
    X = groups(np.random.default_rng(2), dtype=dtype)
    result = fit(X, 5, init=init, max_iter=max_iter)
    distances = ((X[:, None].astype(float) - result.centers) ** 2).sum(axis=2)
    assert_array_equal(result.labels, distances.argmin(axis=1))
    assert result.inertia == pytest.approx(distances.min(axis=1).sum())
    assert result.converged == (max_iter == 300)
    assert result.n_iter <= max_iter


def test_inertia_never_rises():
    X = groups(np.random.default_rng(3))
    inertias = []
    result = fit(X, 7, tol=0.0, init="random", listener=lambda *seen: inertias.append(seen[2]))
    assert len(inertias) == result.n_iter
    assert np.all(np.diff([*inertias, result.inertia]) <= 1e-9 * inertias[0])


def test_more_runs_are_never_worse():
    X = groups(np.random.default_rng(4), n_groups=9)
    runs = set()
    one = fit(X, 9, init="random")
    many = fit(X, 9, init="random", n_init=8, listener=lambda *seen: runs.add(seen[0]))
    assert many.inertia <= one.inertia
    assert runs == set(range(8))


def test_an_empty_cluster_moves_to_the_farthest_row():
    X = np.array([[0.0], [1.0], [2.0], [50.0]])
    start = np.array([[1.0], [1000.0]])
    result = fit(X, 2, init=start)
    theirs = sklearn.cluster.KMeans(2, init=start, n_init=1).fit(X)
    assert_allclose(result.centers, [[1.0], [50.0]])
    assert_allclose(result.centers, theirs.cluster_centers_)
    assert_array_equal(result.labels, [0, 0, 0, 1])


def test_a_row_of_no_weight_attracts_no_empty_cluster():
    X = np.array([[0.0], [1.0], [2.0], [9.0], [50.0]])
    result = fit(X, 2, weights=[1, 1, 1, 1, 0], init=np.array([[1.0], [1000.0]]))
    assert_allclose(result.centers, [[1.0], [9.0]])


def test_several_empty_clusters_fill_together():
    X = groups(np.random.default_rng(5))
    start = np.vstack([X[:1], np.full((3, 3), 1e6) + np.arange(3)[:, None]])
    assert set(fit(X, 4, init=start).labels) == {0, 1, 2, 3}


def test_fewer_distinct_rows_than_clusters():
    X = np.repeat([[0.0, 1.0], [2.0, 3.0]], 5, axis=0)
    result = fit(X, 3)
    assert result.inertia == 0.0
    assert np.all(np.isfinite(result.centers))


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_fewer_rows_than_clusters_is_refused(init):
    with pytest.raises(ValueError, match=r"n_samples=3 should be >= n_clusters=4\."):
        fit(np.eye(3), 4, init=init)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_fewer_weighted_rows_than_clusters_is_refused(init):
    with pytest.raises(
        ValueError, match=r"rows with a positive sample_weight, 2, should be >= n_clusters=3\."
    ):
        fit(np.eye(3), 3, weights=[1.0, 1.0, 0.0], init=init)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_starting_centers_are_rows_of_positive_weight(init):
    X = groups(np.random.default_rng(6), n_samples=40)
    weights = np.arange(40) % 2
    centers = starting_centers(ArraySource(X, weights), 8, np.random.RandomState(0), init)
    allowed = {tuple(row) for row in X[1::2]}
    assert centers.shape == (8, 3)
    assert {tuple(row) for row in centers} <= allowed


def test_a_function_draws_the_start_of_each_run():
    X = groups(np.random.default_rng(7))
    drawn = []

    def draw(random_state):
        drawn.append(X[random_state.randint(len(X), size=4)])
        return drawn[-1]

    fit(X, 4, init=draw, n_init=3)
    assert len(drawn) == 3
    assert not np.array_equal(drawn[0], drawn[1])


def test_repeating_rows_is_weighting_them():
    rng = np.random.default_rng(8)
    X = groups(rng, n_samples=200)
    weights = rng.integers(0, 4, size=len(X))
    weighted = fit(X, 4, weights=weights)
    repeated = fit(np.repeat(X, weights, axis=0), 4)
    assert_allclose(weighted.centers, repeated.centers)
    assert weighted.inertia == pytest.approx(repeated.inertia)
    assert weighted.n_iter == repeated.n_iter


def test_the_same_seed_gives_the_same_result():
    X = groups(np.random.default_rng(9))
    first, second = fit(X, 6, seed=3), fit(X, 6, seed=3)
    assert_array_equal(first.centers, second.centers)
    assert_array_equal(first.labels, second.labels)


def test_far_from_the_origin_nothing_changes():
    X = np.round(groups(np.random.default_rng(10)) * 2**20) / 2**20
    near, far = fit(X, 4, tol=0.0), fit(X + 2.0**26, 4, tol=0.0)
    assert_allclose(far.centers - 2.0**26, near.centers, atol=1e-6)
    assert_array_equal(far.labels, near.labels)
    assert far.converged


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_mean_variance(offset):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(300, 4)) + offset
    weights = rng.integers(0, 3, size=300)
    assert mean_variance(ArraySource(X)) == pytest.approx(X.var(axis=0).mean(), rel=1e-9)
    assert mean_variance(ArraySource(X, weights)) == pytest.approx(
        np.repeat(X, weights, axis=0).var(axis=0).mean(), rel=1e-9
    )


def test_mean_variance_begins_at_a_row_that_counts():
    X = np.array([[1e20], [1.0], [3.0]])
    assert mean_variance(ArraySource(X, [0.0, 1.0, 1.0])) == 1.0


def test_squares_that_overflow_are_an_error():
    with pytest.raises(ValueError, match=r"values of X are too large, up to 3e\+160 in size"):
        fit(np.array([[1e160], [3e160], [-2e160]]), 2)
