"""Fisher vectors against plain NumPy, and against numerical gradients."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.analysis.fisher import FisherEncoder, improved
from fastgmm.mixture.parameters import MixtureParameters
from tests import oracle


def mixture(K=3, D=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(K, 5.0)), rng.normal(size=(K, D)), rng.uniform(0.2, 2.0, (K, D))


def encoder(weights, means, variances):
    return FisherEncoder(MixtureParameters.from_covariances(weights, means, variances))


def mean_log_density(X, weights, means, variances):
    covariances = variances[..., None] * np.eye(means.shape[1])
    return oracle.log_density(X, weights, means, covariances).mean()


@pytest.mark.parametrize("separation", [1.0, 1e4])
@pytest.mark.parametrize("n_rows", [1, 7, 2500])
def test_plain_formula(n_rows, separation):
    weights, means, variances = mixture()
    means = means * separation
    rng = np.random.default_rng(1)
    X = means[rng.integers(3, size=n_rows)] + rng.normal(size=(n_rows, 4))
    found = encoder(weights, means, variances).gradients(X)
    shares = oracle.responsibilities(X, weights, means, variances[..., None] * np.eye(4))
    z = (X[:, None] - means) / np.sqrt(variances)
    by_mean = np.einsum("nk,nkd->kd", shares, z) / (n_rows * np.sqrt(weights)[:, None])
    by_deviation = np.einsum("nk,nkd->kd", shares, z**2 - 1.0)
    by_deviation /= n_rows * np.sqrt(2.0 * weights)[:, None]
    assert_allclose(found[0], (shares.mean(axis=0) - weights) / np.sqrt(weights), atol=1e-11)
    assert_allclose(found[1], by_mean, rtol=1e-8, atol=1e-10)
    assert_allclose(found[2], by_deviation, rtol=1e-8, atol=1e-10)


def test_numerical_gradient_in_the_metric_of_the_diagonal_information():
    weights, means, variances = mixture()
    X = np.random.default_rng(2).normal(size=(60, 4))
    by_weight, by_mean, by_deviation = encoder(weights, means, variances).gradients(X)
    deviations, step = np.sqrt(variances), 1e-5

    def slope(change):
        ends = [mean_log_density(X, *change(sign * step)) for sign in (1.0, -1.0)]
        return (ends[0] - ends[1]) / (2.0 * step)

    for k in range(3):
        unit = np.eye(3)[k]

        def softer(h, unit=unit):
            raised = weights * np.exp(h * unit)
            return raised / raised.sum(), means, variances

        assert_allclose(by_weight[k], slope(softer) / np.sqrt(weights[k]), atol=1e-8)
        for d in range(4):
            one = np.outer(unit, np.eye(4)[d])
            by_numbers = slope(lambda h, one=one: (weights, means + h * one, variances))
            information = weights[k] / variances[k, d]
            assert_allclose(by_mean[k, d], by_numbers / np.sqrt(information), atol=1e-8)
            by_numbers = slope(lambda h, one=one: (weights, means, (deviations + h * one) ** 2))
            assert_allclose(by_deviation[k, d], by_numbers / np.sqrt(2.0 * information), atol=1e-8)


def test_draws_of_the_mixture_have_no_gradient_and_unit_information():
    weights, means, variances = mixture(K=2, D=2)
    means = means * 20.0  # apart, where the information is diagonal
    rng = np.random.default_rng(3)
    drawn = rng.choice(2, size=40_000, p=weights)
    X = means[drawn] + rng.normal(size=(40_000, 2)) * np.sqrt(variances[drawn])
    encode = encoder(weights, means, variances).gradients
    for gradient in encode(X):
        assert (np.abs(gradient) < 4.5 / np.sqrt(40_000)).all()
    single = np.array(
        [np.concatenate([each.ravel() for each in encode(x[None])[1:]]) for x in X[:2000]]
    )
    assert_allclose((single**2).mean(axis=0), 1.0, atol=0.25)


def test_single_precision():
    weights, means, variances = mixture()
    X = np.random.default_rng(4).normal(size=(300, 4))
    encode = encoder(weights, means, variances).gradients
    for double, single in zip(encode(X), encode(X.astype(np.float32)), strict=True):
        assert_allclose(single, double, atol=2e-5)


def test_nothing_comes_of_no_rows_and_no_weight():
    weights, means, variances = mixture()
    encode = encoder(weights, means, variances).gradients
    assert all((each == 0.0).all() for each in encode(np.empty((0, 4))))
    halved = np.array([0.5, 0.5, 0.0])
    gradients = encoder(halved, means, variances).gradients(np.ones((5, 4)))
    for each in gradients:
        assert np.isfinite(each).all()
        assert_array_equal(each[2], np.zeros_like(each[2]))


def test_improved_vectors():
    assert_allclose(improved(np.array([9.0, -16.0, 0.0])), [0.6, -0.8, 0.0])
    assert_array_equal(improved(np.zeros(3)), np.zeros(3))
