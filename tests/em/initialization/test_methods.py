"""Where EM starts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization import hierarchical
from fastgmm.em.initialization import methods as initialization
from fastgmm.em.initialization.kmeans import fit_kmeans
from fastgmm.em.initialization.methods import (
    INIT_METHODS,
    InitializationInfo,
)
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from tests import mclust, oracle
from tests.em.batch_fits import fit_em, initialize
from tests.problems import problem
from tests.structures import covariances_of, every_structure

every_method = pytest.mark.parametrize("method", INIT_METHODS)
SMALL = Regularization(np.full(3, 1e-6), np.zeros(3, dtype=bool))


def start(X, name="full", n_components=3, *, weights=None, seed=0, regularization=SMALL, **options):
    return initialize(
        ArraySource(X, weights),
        n_components,
        structure(name),
        regularization,
        random_state=np.random.RandomState(seed),
        **options,
    )


def assert_mixture(name, parameters, expected, **tolerance):
    weights, means, covariances = expected
    assert_allclose(parameters.weights, weights, **tolerance)
    assert_allclose(parameters.means, means, **tolerance)
    assert_allclose(covariances_of(name, parameters), covariances, **tolerance)


@every_structure
def test_kmeans_starts_from_its_clusters(name):
    X = problem("overlapping").X
    labels = fit_kmeans(ArraySource(X), 3, np.random.RandomState(0)).labels
    parameters, info = start(X, name)
    expected = oracle.m_step(X, oracle.one_hot(labels, 3), name, SMALL.amounts)
    assert_mixture(name, parameters, expected, rtol=1e-10, atol=1e-12)
    assert info == InitializationInfo("kmeans", len(X), subsampled=False)


@every_structure
@pytest.mark.parametrize("weighted", [False, True])
def test_hierarchical_starts_from_the_clusters_of_agglomeration(name, weighted):
    X = problem("overlapping").X
    weights = np.random.default_rng(0).uniform(0.5, 2.0, size=len(X)) if weighted else None
    labels = hierarchical.labels(hierarchical.agglomerate(X, weights=weights), 3)
    assert np.bincount(labels).min() > 3
    parameters, info = start(X, name, weights=weights, method="hierarchical")
    responsibilities = oracle.one_hot(labels, 3)
    expected = oracle.m_step(X, responsibilities, name, SMALL.amounts, weights)
    assert_mixture(name, parameters, expected, rtol=1e-10, atol=1e-12)
    assert info == InitializationInfo("hierarchical", len(X), subsampled=False)


def test_many_rows_are_agglomerated_in_a_sample(monkeypatch):
    monkeypatch.setattr(hierarchical, "MOST_AGGLOMERATED", 100)
    X = problem("separated").X
    weights = np.where(np.arange(len(X)) < 20, 0.0, 1.0)
    draws = [start(X, method="hierarchical", weights=weights, seed=seed) for seed in (0, 0, 1)]
    assert draws[0][1] == InitializationInfo("hierarchical", 100, subsampled=True)
    assert_array_equal(draws[0][0].means, draws[1][0].means)
    assert (draws[0][0].means != draws[2][0].means).all()
    # 20 rows or more of unit variance stand for each of the groups, wherever they are
    groups = problem("separated").labels
    expected = np.array([X[groups == k].mean(axis=0) for k in range(3)])
    assert_allclose(np.sort(draws[0][0].means, axis=0), expected, atol=1.0)


def test_as_many_rows_as_components_are_agglomerated_at_least(monkeypatch):
    monkeypatch.setattr(hierarchical, "MOST_AGGLOMERATED", 10)
    X = problem("separated").X
    parameters, info = start(X, n_components=40, method="hierarchical")
    assert info.n_rows == 40
    assert len(np.unique(parameters.means, axis=0)) == 40


def test_a_cluster_of_few_distinct_rows_borrows_the_spread_of_the_others():
    X = problem("overlapping").X
    X = np.vstack([X, np.full((5, 3), 500.0)])
    parameters, _ = start(X, method="hierarchical", n_components=2)
    lonely = int(np.argmax(parameters.means[:, 0]))
    assert_allclose(parameters.means[lonely], 500.0)
    covariances = parameters.covariances()
    assert_allclose(covariances[lonely], covariances[1 - lonely], rtol=1e-9)


@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("data_set", mclust.DATA_SETS)
def test_em_from_agglomeration_ends_where_mclust_does_or_higher(data_set, n_components):
    X = mclust.rows(data_set)
    n, D = X.shape
    source, none = ArraySource(X), Regularization.none(D)
    parameters, _ = start(X, n_components=n_components, method="hierarchical", regularization=none)
    _, info = fit_em(source, parameters, structure("full"), none, tol=1e-9, max_iter=2000)
    n_parameters = n_components * (1 + D + D * (D + 1) // 2) - 1
    bic = 2.0 * n * info.trace[-1] - n_parameters * np.log(n)
    theirs = mclust.results(data_set)
    expected = theirs["bic"][n_components - 1][theirs["models"].index("VVV")]
    assert bic > expected - 1e-6 * abs(expected)


@every_structure
def test_labels_are_one_m_step(name):
    X = problem("overlapping").X
    labels = np.random.default_rng(0).integers(-1, 3, size=len(X))
    parameters, info = start(X, name, labels=labels)
    known = labels >= 0
    expected = oracle.m_step(X[known], oracle.one_hot(labels[known], 3), name, SMALL.amounts)
    assert_mixture(name, parameters, expected, rtol=1e-10, atol=1e-12)
    assert info.method == "labels"


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical"])
def test_random_responsibilities_are_scikit_learns_draws(name):
    X = problem("overlapping").X
    parameters, _ = start(X, name, method="random", seed=3)
    theirs = GaussianMixture(
        3, covariance_type=name, init_params="random", random_state=3, max_iter=0
    ).fit(X)
    assert_allclose(parameters.weights, theirs.weights_, rtol=1e-12)
    assert_allclose(parameters.means, theirs.means_, rtol=1e-10)
    assert_allclose(structure(name).covariances(parameters), theirs.covariances_, rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_random_responsibilities_in_pieces_are_the_same(monkeypatch, weighted):
    X = problem("overlapping").X
    weights = np.random.default_rng(0).uniform(0.5, 2.0, size=len(X)) if weighted else None
    whole, _ = start(X, method="random", weights=weights)
    monkeypatch.setattr(initialization, "RESPONSIBILITIES_AT_ONCE", 3 * 50)
    pieces, _ = start(X, method="random", weights=weights)
    assert_allclose(pieces.means, whole.means, rtol=1e-10)
    assert_allclose(pieces.covariances(), whole.covariances(), rtol=1e-10)


@every_structure
@pytest.mark.parametrize("method", ["k-means++", "random_from_data"])
def test_chosen_rows_are_means_with_the_spread_of_the_rows_nearest_to_them(name, method):
    X = problem("overlapping").X
    parameters, _ = start(X, name, method=method, seed=1)
    assert all((mean == X).all(axis=1).any() for mean in parameters.means)
    nearest, _ = oracle.nearest_centers(X, parameters.means)
    counts, _, second = oracle.moments(X, oracle.one_hot(nearest, 3), parameters.means)
    assert counts.min() > 3
    assert_allclose(parameters.weights, counts / len(X), rtol=1e-12)
    about = second / counts[:, None, None] + np.diag(SMALL.amounts)
    about = oracle.best_covariances(name, about, counts)
    assert_allclose(covariances_of(name, parameters), about, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["k-means++", "random_from_data"])
def test_a_chosen_row_with_few_neighbors_borrows_their_spread(method):
    X = problem("overlapping").X
    X = np.vstack([X, [[500.0, 500.0, 500.0]]])
    for seed in range(40):
        parameters, _ = start(X, method=method, n_components=3, seed=seed)
        lonely = np.flatnonzero((parameters.means == X[-1]).all(axis=1))
        if lonely.size:
            break
    others = np.delete(np.arange(3), lonely)
    covariances = parameters.covariances()
    shares = parameters.weights[others] / parameters.weights[others].sum()
    pooled = np.tensordot(shares, covariances[others], 1)
    assert_allclose(covariances[lonely[0]], pooled, rtol=1e-9)
    assert parameters.weights[lonely[0]] == pytest.approx(1 / len(X))


@every_method
@every_structure
def test_more_components_than_distinct_rows_start_and_fit_without_nan(method, name):
    hard = problem("duplicate_rows")
    regularization = Regularization(np.full(2, 1e-6), np.zeros(2, dtype=bool))
    parameters, _ = start(
        hard.X, name, hard.n_components, method=method, regularization=regularization
    )
    assert (parameters.weights > 0).all()
    fitted, info = fit_em(ArraySource(hard.X), parameters, structure(name), regularization)
    assert np.isfinite(fitted.means).all()
    assert np.isfinite(info.trace).all()


def test_a_label_without_rows_starts_with_one_row_of_weight_and_the_spread_of_the_others():
    X = problem("overlapping").X
    labels = np.zeros(len(X), dtype=np.int64)
    parameters, _ = start(X, labels=labels, n_components=2)
    assert parameters.weights[1] == pytest.approx(1 / (len(X) + 1))
    covariances = parameters.covariances()
    assert_allclose(covariances[1], covariances[0], rtol=1e-10)
    assert np.isfinite(parameters.means).all()


# -- what users give ------------------------------------------------------------------------------


@every_method
@every_structure
def test_what_is_given_replaces_what_was_found(method, name):
    X = problem("overlapping").X
    kind = structure(name)
    found, _ = start(X, name, method=method)
    weights = np.array([0.2, 0.0, 0.8])
    means = np.arange(9.0).reshape(3, 3)
    precisions = 2.0 * kind.precisions(found)
    given = {"weights": weights, "means": means, "precisions": precisions}
    for chosen in ("weights", "means", "precisions"):
        parameters, info = initialize(
            ArraySource(X),
            3,
            kind,
            SMALL,
            random_state=np.random.RandomState(0),
            method=method,
            **{chosen: given[chosen]},
        )
        assert info.method == method
        assert_array_equal(parameters.weights == 0.0, [False, chosen == "weights", False])
        assert_allclose(parameters.weights, weights if chosen == "weights" else found.weights)
        assert_array_equal(parameters.means, means if chosen == "means" else found.means)
        expected = precisions if chosen == "precisions" else kind.precisions(found)
        assert_allclose(kind.precisions(parameters), expected, rtol=1e-10, atol=1e-12)


@every_structure
def test_given_parameters_need_no_data(name):
    kind = structure(name)
    weights, means = np.array([0.25, 0.75]), np.arange(6.0).reshape(2, 3)
    shape = kind.covariance_shape(2, 3)
    precisions = np.full(shape, 2.0)
    if not kind.is_diagonal:
        precisions = np.broadcast_to(np.eye(3) * 2.0, shape).copy()
    untouchable = ArraySource(np.empty((0, 3)))
    parameters, info = initialize(
        untouchable,
        2,
        kind,
        SMALL,
        random_state=np.random.RandomState(0),
        weights=weights,
        means=means,
        precisions=precisions,
    )
    assert_array_equal(parameters.weights, weights)
    assert_array_equal(parameters.means, means)
    assert_allclose(kind.precisions(parameters), precisions, rtol=1e-14)
    assert info == InitializationInfo("given", 0, subsampled=False)


# -- errors ---------------------------------------------------------------------------------------


@every_method
def test_too_few_rows_are_reported(method):
    X = problem("overlapping").X[:4]
    with pytest.raises(ValueError, match="n_components=5 needs at least as many rows; got 4"):
        start(X, n_components=5, method=method)
    with pytest.raises(ValueError, match="many rows of positive sample_weight; got 2"):
        start(X, weights=np.array([1.0, 0.0, 0.0, 2.0]), method=method)


def test_precisions_that_are_not_positive_definite_are_reported():
    X = problem("overlapping").X
    with pytest.raises(ValueError, match="the precision of component 0 is not positive"):
        start(X, precisions=-np.repeat(np.eye(3)[None], 3, axis=0))


def test_labels_that_mark_no_row_are_reported():
    X = problem("overlapping").X
    with pytest.raises(ValueError, match=r"labels to start from are -1 .*at least one"):
        start(X, labels=np.full(len(X), -1))
