"""Mixtures parted into features that are observed and others, against plain formulas."""

import numpy as np
import pytest

from fastgmm.mixture.marginals import completed_statistics, conditioned, marginal, partition
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import SufficientStatistics
from tests import oracle


def mixture(D, K, seed=0, scales=1.0):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(K, D, D)) * np.broadcast_to(scales, D)[:, None]
    covariances = factors @ factors.transpose(0, 2, 1)
    return rng.dirichlet(np.ones(K)), rng.normal(size=(K, D)), covariances


@pytest.mark.parametrize("scales", [1.0, [1e-9, 1.0, 1e5, 1.0, 1e-3]])
@pytest.mark.parametrize("observed", [[0, 1, 2], [1, 4], [4], [0, 1, 2, 3, 4]])
def test_marginal_and_conditional(observed, scales):
    weights, means, covariances = mixture(5, 3, scales=scales)
    seen = np.isin(np.arange(5), observed)
    parts = partition(MixtureParameters.from_covariances(weights, means, covariances), seen)
    scales = np.broadcast_to(scales, 5)
    S = covariances / np.outer(scales, scales)
    np.testing.assert_array_equal(parts.observed, observed)
    np.testing.assert_array_equal(parts.marginal.means, means[:, seen])
    np.testing.assert_allclose(parts.marginal.weights, weights)
    outer = np.outer(scales[seen], scales[seen])
    marginal = parts.marginal.covariances() / outer
    np.testing.assert_allclose(marginal, S[:, seen][:, :, seen], rtol=1e-9, atol=1e-12)
    alone = MixtureParameters.from_covariances(
        weights, means[:, seen], covariances[:, seen][:, :, seen]
    )
    np.testing.assert_allclose(parts.marginal.log_normalizers, alone.log_normalizers, rtol=1e-9)
    gains = S[:, ~seen][:, :, seen] @ np.linalg.inv(S[:, seen][:, :, seen])
    found = parts.coefficients * scales[seen] / scales[~seen][:, None]
    np.testing.assert_allclose(found, gains, rtol=1e-7, atol=1e-9)
    rest = S[:, ~seen][:, :, ~seen] - gains @ S[:, seen][:, :, ~seen]
    found = parts.covariances / np.outer(scales[~seen], scales[~seen])
    np.testing.assert_allclose(found, rest, rtol=1e-7, atol=1e-9)
    assert (np.triu(parts.factors, 1) == 0.0).all()


def test_independent_features():
    weights, means, covariances = mixture(4, 2)
    variances = np.einsum("kii->ki", covariances)
    seen = np.array([True, False, True, False])
    parts = partition(MixtureParameters.from_covariances(weights, means, variances), seen)
    assert parts.coefficients is None
    np.testing.assert_allclose(parts.marginal.covariances(), variances[:, seen])
    np.testing.assert_allclose(parts.covariances, variances[:, ~seen])


@pytest.mark.parametrize("diagonal", [False, True])
def test_statistics_are_those_of_completed_rows(diagonal):
    rng = np.random.default_rng(3)
    weights, means, covariances = mixture(5, 2)
    if diagonal:
        covariances = covariances * np.eye(5)
    given = np.einsum("kii->ki", covariances) if diagonal else covariances
    seen = np.array([False, True, True, False, True])
    parts = partition(MixtureParameters.from_covariances(weights, means, given), seen)
    rows, shares = rng.normal(size=(30, 3)), rng.dirichlet(np.ones(2), size=30)
    reference = rng.normal(size=(2, 3))
    offsets = rows[:, None] - reference
    second = np.einsum("nk,nki,nkj->kij", shares, offsets, offsets)
    second = (second + second.transpose(0, 2, 1)) / 2.0
    statistics = SufficientStatistics(
        reference,
        shares.sum(axis=0),
        np.einsum("nk,nki->ki", shares, offsets),
        np.einsum("kii->ki", second) if diagonal else second,
        -7.0,
        30.0,
    )
    found = completed_statistics(statistics, parts)
    assert (found.log_likelihood, found.weight) == (-7.0, 30.0)
    np.testing.assert_array_equal(found.counts, statistics.counts)
    gains = covariances[:, ~seen][:, :, seen] @ np.linalg.inv(covariances[:, seen][:, :, seen])
    filled = np.empty((30, 2, 5))
    filled[:, :, seen] = rows[:, None]
    predicted = np.einsum("kmo,nko->nkm", gains, rows[:, None] - means[:, seen])
    filled[:, :, ~seen] = means[:, ~seen] + predicted
    offsets = filled - found.reference
    np.testing.assert_allclose(found.first, np.einsum("nk,nki->ki", shares, offsets), atol=1e-10)
    expected = np.einsum("nk,nki,nkj->kij", shares, offsets, offsets)
    rest = covariances[:, ~seen][:, :, ~seen] - gains @ covariances[:, seen][:, :, ~seen]
    missing = np.flatnonzero(~seen)
    expected[:, missing[:, None], missing] += found.counts[:, None, None] * rest
    if diagonal:
        expected = np.einsum("kii->ki", expected)
    np.testing.assert_allclose(found.second, expected, atol=1e-10)
    if not diagonal:
        np.testing.assert_array_equal(found.second, found.second.transpose(0, 2, 1))


@pytest.mark.parametrize("scales", [1.0, [1e-9, 1.0, 1e5, 1.0, 1e-3]])
def test_features_in_any_order(scales):
    weights, means, covariances = mixture(5, 3, scales=scales)
    order = np.array([3, 0, 4])
    found = marginal(MixtureParameters.from_covariances(weights, means, covariances), order)
    np.testing.assert_array_equal(found.means, means[:, order])
    unit = np.broadcast_to(scales, 5)[order]
    expected = (covariances[:, order][:, :, order]) / np.outer(unit, unit)
    np.testing.assert_allclose(found.covariances() / np.outer(unit, unit), expected, rtol=1e-9)


@pytest.mark.parametrize("diagonal", [False, True])
def test_given_values_change_weights_and_means(diagonal):
    weights, means, covariances = mixture(4, 3)
    if diagonal:
        covariances = covariances * np.eye(4)
    given = np.einsum("kii->ki", covariances) if diagonal else covariances
    parameters = MixtureParameters.from_covariances(weights, means, given)
    seen = np.array([False, True, False, True])
    x = np.array([0.4, -0.2])
    S = covariances
    shares = oracle.responsibilities(x[None], weights, means[:, seen], S[:, seen][:, :, seen])[0]
    found = conditioned(parameters, seen, x, shares)
    gains = S[:, ~seen][:, :, seen] @ np.linalg.inv(S[:, seen][:, :, seen])
    expected = means[:, ~seen] + np.einsum("kij,kj->ki", gains, x - means[:, seen])
    np.testing.assert_allclose(found.means, expected, rtol=1e-9, atol=1e-12)
    rest = S[:, ~seen][:, :, ~seen] - gains @ S[:, seen][:, :, ~seen]
    wanted = np.einsum("kii->ki", rest) if diagonal else rest
    np.testing.assert_allclose(found.covariances(), wanted, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.weights, shares, rtol=1e-9)


def test_a_component_without_weight_keeps_none():
    _, means, covariances = mixture(3, 2)
    parameters = MixtureParameters.from_covariances(np.array([1.0, 0.0]), means, covariances)
    given = np.array([True, False, False])
    found = conditioned(parameters, given, np.array([1e3]), np.array([1.0, 0.0]))
    np.testing.assert_array_equal(found.weights, [1.0, 0.0])
