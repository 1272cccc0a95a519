"""Each structure's M-step against the oracle, and its shapes against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture

from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.regularisation import IllDefinedCovarianceError, Regularisation
from fastgmm.model.statistics import SufficientStatistics
from fastgmm.model.structures import STRUCTURE_NAMES, structure
from tests import oracle

every_structure = pytest.mark.parametrize("name", STRUCTURE_NAMES)


def draw(seed=0, n_samples=60, n_components=3, n_features=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features))
    return X, rng.dirichlet(np.full(n_components, 0.3), size=n_samples)


def statistics_of(name, X, shares):
    reference = np.repeat(X.mean(axis=0)[None], shares.shape[1], axis=0)
    counts, first, second = oracle.moments(X, shares, reference)
    if structure(name).is_diagonal:
        second = np.einsum("kii->ki", second).copy()
    return SufficientStatistics(reference, counts, first, second, np.nan, float(shares.sum()))


def regularisation(amounts):
    amounts = np.asarray(amounts, dtype=np.float64)
    return Regularisation(amounts, np.zeros(amounts.shape, dtype=bool))


def full_covariances(name, parameters):
    return oracle.covariance_matrices(
        name,
        structure(name).covariances(parameters),
        parameters.n_components,
        parameters.n_features,
    )


@every_structure
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_solve_is_the_m_step(name, seed):
    X, shares = draw(seed)
    amounts = np.array([1e-3, 1e-6, 0.0, 1e-2])
    expected = oracle.m_step(X, shares, name, amounts)
    parameters = structure(name).solve(statistics_of(name, X, shares), regularisation(amounts))
    assert_allclose(parameters.weights, expected[0], rtol=1e-12)
    assert_allclose(parameters.means, expected[1], rtol=1e-10, atol=1e-12)
    assert_allclose(full_covariances(name, parameters), expected[2], rtol=1e-9, atol=1e-11)


@every_structure
def test_solve_of_full_statistics_serves_diagonal_structures_too(name):
    X, shares = draw()
    full = structure(name).solve(statistics_of("full", X, shares), regularisation(np.zeros(4)))
    own = structure(name).solve(statistics_of(name, X, shares), regularisation(np.zeros(4)))
    assert_allclose(full.whiteners, own.whiteners, rtol=1e-12)


@every_structure
@pytest.mark.parametrize("scale", [1e-150, 1e-4, 1e150])
def test_solve_follows_the_scale_of_the_data(name, scale):
    X, shares = draw()
    ordinary = structure(name).solve(statistics_of(name, X, shares), regularisation(np.zeros(4)))
    scaled = structure(name).solve(
        statistics_of(name, X * scale, shares), regularisation(np.zeros(4))
    )
    assert_allclose(scaled.whiteners * scale, ordinary.whiteners, rtol=1e-11, atol=1e-13)
    assert_allclose(scaled.means / scale, ordinary.means, rtol=1e-12)


@every_structure
def test_shapes_and_counts_of_parameters_are_those_users_know(name):
    X, shares = draw()
    kind = structure(name)
    parameters = kind.solve(statistics_of(name, X, shares), regularisation(np.zeros(4)))
    shape = kind.covariance_shape(3, 4)
    for values in (
        kind.covariances(parameters),
        kind.precisions(parameters),
        kind.precisions_cholesky(parameters),
    ):
        assert values.shape == shape
        assert values.flags.c_contiguous
        assert values.base is None
    if name in ("full", "tied", "diag", "spherical"):
        theirs = GaussianMixture(3, covariance_type=name, random_state=0).fit(X)
        assert theirs.covariances_.shape == shape
        assert theirs._n_parameters() == kind.n_parameters(3, 4)
    else:
        n_covariances = {"tied_diag": 4, "tied_spherical": 1}[name]
        assert kind.n_parameters(3, 4) == n_covariances + 12 + 2


@every_structure
def test_covariances_and_precisions_in_the_users_shape_make_the_same_parameters(name):
    X, shares = draw()
    kind = structure(name)
    parameters = kind.solve(statistics_of(name, X, shares), regularisation(np.zeros(4)))
    weights, means = parameters.weights, parameters.means
    for again in (
        kind.from_covariances(weights, means, kind.covariances(parameters)),
        kind.from_precisions(weights, means, kind.precisions(parameters)),
    ):
        assert_allclose(again.whiteners, parameters.whiteners, rtol=1e-8, atol=1e-10)
        assert_allclose(again.log_normalisers, parameters.log_normalisers, rtol=1e-10)


@pytest.mark.parametrize("name", ["full", "tied"])
def test_the_factor_of_the_precision_is_scikit_learns(name):
    X, shares = draw()
    kind = structure(name)
    parameters = kind.solve(statistics_of(name, X, shares), regularisation(np.zeros(4)))
    factor = kind.precisions_cholesky(parameters)
    assert_array_equal(np.tril(factor, -1), 0.0)
    assert_allclose(factor @ np.swapaxes(factor, -1, -2), kind.precisions(parameters), rtol=1e-12)


@every_structure
def test_a_shape_that_does_not_fit_is_told(name):
    kind = structure(name)
    expected = str(kind.covariance_shape(2, 3)).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"'{name}' should have shape {expected}.*got \(7, 7\)"):
        kind.from_precisions(np.full(2, 0.5), np.zeros((2, 3)), np.ones((7, 7)))


@every_structure
def test_without_regularisation_a_component_on_one_point_is_an_error(name):
    X = np.repeat([[0.0, 1.0], [5.0, -3.0]], 5, axis=0)
    statistics = statistics_of(name, X, oracle.one_hot(np.repeat([0, 1], 5), 2))
    whose = "the mixture" if name.startswith("tied") else "component 0"
    with pytest.raises(
        IllDefinedCovarianceError, match=rf"{whose} is ill-defined.*variance.*reg_covar > 0"
    ):
        structure(name).solve(statistics, Regularisation.none(2))


@pytest.mark.parametrize("name", ["full", "tied"])
def test_without_regularisation_dependent_features_are_an_error(name):
    X, shares = draw(n_features=2)
    X = np.column_stack([X, X.sum(axis=1)])
    with pytest.raises(IllDefinedCovarianceError, match="features are linearly dependent"):
        structure(name).solve(statistics_of(name, X, shares), Regularisation.none(3))


@pytest.mark.parametrize("name", ["full", "tied"])
def test_a_regularisation_lost_in_rounding_still_gives_a_covariance(name):
    X, shares = draw(n_features=2)
    X = 1e7 * np.column_stack([X, X.sum(axis=1)])
    parameters = structure(name).solve(
        statistics_of(name, X, shares), regularisation(np.full(3, 1e-6))
    )
    expected = oracle.m_step(X, shares, name)[2]
    covariances = parameters.covariances()
    assert np.isfinite(parameters.whiteners).all()
    assert_allclose(covariances, expected, rtol=1e-11, atol=1e-11 * expected.max())
    assert (np.linalg.eigvalsh(covariances) > 0).all()


def test_only_the_singular_covariance_is_raised():
    X, shares = draw(n_components=2, n_features=3)
    labels = (np.arange(len(X)) % 2).astype(int)
    X[labels == 1, 2] = X[labels == 1, 0]
    X *= 1e7
    shares = oracle.one_hot(labels, 2)
    expected = oracle.m_step(X, shares, "full")[2]
    parameters = structure("full").solve(
        statistics_of("full", X, shares), regularisation(np.full(3, 1e-9))
    )
    assert_allclose(parameters.covariances()[0], expected[0], rtol=1e-12)
    assert np.isfinite(parameters.whiteners).all()


def test_an_unknown_structure_is_named():
    with pytest.raises(ValueError, match=r"covariance_type must be one of full, tied.*got 'round'"):
        structure("round")


@every_structure
def test_a_component_without_points_gets_weight_zero_and_usable_numbers(name):
    X, shares = draw()
    shares[:, 1] = 0.0
    parameters = structure(name).solve(statistics_of(name, X, shares), regularisation(np.zeros(4)))
    assert parameters.log_weights[1] == -np.inf
    assert isinstance(parameters, MixtureParameters)
    assert np.isfinite(parameters.whiteners).all()
    assert np.isfinite(parameters.means).all()
