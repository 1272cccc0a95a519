"""M-steps of factor analyzers against the oracle, and the numbers of their parameters."""

import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.mixture.parameters import noise_and_loadings
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import FACTOR_NAMES, FactorStructure, factor_structure
from tests import oracle
from tests.factors import factor_mixture, factor_rows, parameters_of, truth_of

NONE = Regularization.none(7)
every_model = pytest.mark.parametrize("name", FACTOR_NAMES[1:])


def permitted(name, mixture):
    """Return a mixture whose noise the structure allows."""
    weights, means, loadings, noise = mixture
    if name[1] == "C":
        noise = np.repeat(noise[:1], len(weights), axis=0)
    if name[2] == "C":
        noise = np.repeat(noise[:, :1], means.shape[1], axis=1)
    return weights, means, loadings, noise


@every_model
def test_a_step_is_that_of_expanded_em(name):
    mixture = permitted(name, factor_mixture(3, 7, 2, common=name[0] == "C"))
    X = factor_rows(mixture, 400)[0]
    before = parameters_of(*mixture)
    statistics = passes.mixture_statistics(ArraySource(X), before)
    found = FactorStructure(name, 2).solve(statistics, NONE, before)
    shares = oracle.responsibilities(X, *truth_of(*mixture))
    weights, means, covariances = oracle.m_step(X, shares, "full")
    np.testing.assert_allclose(found.weights, weights, rtol=1e-10)
    np.testing.assert_allclose(found.means, means, rtol=1e-9)
    loadings, noise = oracle.factor_m_step(covariances, weights, *mixture[2:], name)
    own_noise, own_loadings = noise_and_loadings(found.whiteners)
    np.testing.assert_allclose(own_noise, noise, rtol=1e-9)
    expected = oracle.factor_covariances(loadings, noise)
    np.testing.assert_allclose(found.covariances(), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.precisions() @ expected, [np.eye(7)] * 3, atol=1e-9)
    if name[0] == "C":
        np.testing.assert_allclose(own_loadings[1:], own_loadings[:1].repeat(2, 0), rtol=1e-12)


@every_model
def test_the_number_of_parameters_is_that_of_mcnicholas_and_murphy(name):
    p, G, q = 10, 4, 3
    loadings = p * q - q * (q - 1) // 2
    expected = {
        "CCC": loadings + 1, "CCU": loadings + p, "CUC": loadings + G, "CUU": loadings + G * p,
        "UCC": G * loadings + 1, "UCU": G * loadings + p, "UUC": G * loadings + G,
        "UUU": G * loadings + G * p,
    }[name]  # fmt: skip
    assert FactorStructure(name, q).n_covariance_parameters(G, p) == expected
    assert FactorStructure(name, q).n_parameters(G, p) == expected + G * p + G - 1


@every_model
def test_covariances_of_the_model_are_found_again(name):
    weights, means, loadings, noise = permitted(
        name, factor_mixture(2, 7, 2, common=name[0] == "C")
    )
    covariances = oracle.factor_covariances(loadings, noise)
    kind = FactorStructure(name, 2)
    found = kind.from_covariances(weights, means, covariances)
    np.testing.assert_allclose(found.covariances(), covariances, rtol=2e-3, atol=2e-3)
    assert kind.nearest(found) is found


def test_factors_are_ordered_by_what_they_explain():
    mixture = factor_mixture(3, 7, 3)
    parameters = parameters_of(*mixture)
    turned = FactorStructure("factors", 3).canonical(parameters)
    noise, loadings = noise_and_loadings(turned.whiteners)
    np.testing.assert_allclose(turned.covariances(), parameters.covariances(), atol=1e-12)
    products = loadings.transpose(0, 2, 1) @ (loadings / noise[:, :, None])
    explained = np.einsum("kii->ki", products)
    assert (np.diff(explained) < 0.0).all()
    np.testing.assert_allclose(products, [np.diag(each) for each in explained], atol=1e-10)
    assert (turned.whiteners[:, :, 1:].sum(axis=1) >= 0.0).all()


def test_a_component_without_points_stays_as_it_was():
    mixture = factor_mixture(3, 7, 2)
    before = parameters_of(*mixture)
    found = passes.mixture_statistics(ArraySource(factor_rows(mixture, 200)[0]), before)
    parts = {name: getattr(found, name).copy() for name in ("counts", "first", "second")}
    for each in parts.values():
        each[1] = 0.0
    emptied = SufficientStatistics(
        found.reference, **parts, log_likelihood=0.0, weight=parts["counts"].sum()
    )
    after = FactorStructure("factors", 2).solve(emptied, NONE, before)
    assert after.weights[1] == 0.0
    np.testing.assert_allclose(after.whiteners[1], before.whiteners[1], rtol=1e-12)
    assert np.isfinite(after.whiteners).all()


def test_noise_stays_above_the_regularization_or_is_an_error():
    weights, means, loadings, noise = factor_mixture(1, 7, 2)
    X = factor_rows((weights, means, loadings, noise), 300)[0]
    X[:, 1] = X[:, 0]
    X[:, 3] = X[:, 2]
    X[:, 5] = X[:, 4]
    kind, before = FactorStructure("factors", 2), parameters_of(weights, means, loadings, noise)
    held = Regularization(np.full(7, 0.01), np.zeros(7, dtype=bool))
    for _ in range(200):
        statistics = passes.mixture_statistics(ArraySource(X), before)
        before = kind.solve(statistics, held, before)
    assert 1.0 / before.whiteners[:, :, 0].max() ** 2 == pytest.approx(0.01)
    X[:, 6] = 5.0
    with pytest.raises(IllDefinedCovarianceError, match=r"feature 6.*reg_covar > 0"):
        kind.solve(passes.mixture_statistics(ArraySource(X), before), NONE, before)


@pytest.mark.parametrize(
    ("n_factors", "n_features", "words"),
    [
        (1, 2, "beyond 0 .the Ledermann bound.*covariance_type='full'"),
        (2, 3, "n_factors=1 or fewer"),
        (4, 6, "n_factors=3 or fewer"),
        (9, 9, "n_factors=9 is too many for 9 features"),
    ],
)
def test_more_factors_than_covariances_can_have_are_refused(n_factors, n_features, words):
    with pytest.raises(ValueError, match=words):
        FactorStructure("factors", n_factors).check_features(n_features)


@pytest.mark.parametrize("n_features", range(3, 40))
def test_the_bound_is_where_factors_have_as_many_parameters_as_a_covariance(n_features):
    def n_parameters(q):
        return FactorStructure("UUU", q).n_covariance_parameters(1, n_features)

    whole = n_features * (n_features + 1) // 2
    most = max(q for q in range(n_features) if (n_features - q) ** 2 >= n_features + q)
    FactorStructure("UUU", most).check_features(n_features)
    with pytest.raises(ValueError, match="Ledermann"):
        FactorStructure("UUU", most + 1).check_features(n_features)
    assert n_parameters(most) <= whole


def test_dense_matrices_are_those_of_the_same_mixture():
    parameters = parameters_of(*factor_mixture(2, 7, 2))
    dense = parameters.with_matrices()
    assert not dense.is_low_rank
    assert dense.with_matrices() is dense
    np.testing.assert_allclose(dense.log_normalizers, parameters.log_normalizers, rtol=1e-12)
    np.testing.assert_allclose(dense.covariances(), parameters.covariances(), atol=1e-12)


def test_the_number_of_factors_is_needed():
    with pytest.raises(ValueError, match="needs the number of factors: give n_factors"):
        factor_structure("factors", None)
