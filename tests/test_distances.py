"""Distances between fitted mixtures, as users ask for them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from sklearn.exceptions import NotFittedError

from fastgmm import BayesianGaussianMixture, GaussianMixture
from fastgmm.analysis.divergences import gaussian_divergences
from fastgmm.distances import (
    component_divergences,
    component_wasserstein,
    differential_entropy,
    kl_approximations,
    kl_divergence,
    mixture_wasserstein,
)
from tests.structures import every_structure

EVERY = [
    component_divergences,
    component_wasserstein,
    kl_approximations,
    kl_divergence,
    mixture_wasserstein,
]


def rows(shift=0.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 2))
    X[200:] += 6.0
    return X + shift


def fitted(shift=0.0, name="full", **parameters):
    return GaussianMixture(2, covariance_type=name, random_state=0, **parameters).fit(rows(shift))


@every_structure
def test_a_shift_is_what_it_is(name):
    p, q = fitted(name=name), fitted(np.array([0.3, 0.4]), name)
    distances = component_wasserstein(p, q)
    assert_allclose(np.diag(distances), 0.5, rtol=1e-6)
    assert_allclose(mixture_wasserstein(p, q).distance, 0.5, rtol=1e-6)
    value, error = kl_divergence(p, q, random_state=0)
    bounds = kl_approximations(p, q)
    assert 0.0 < value - 4.0 * error < bounds.variational_upper_bound
    assert_allclose(bounds.variational_approximation, value, atol=0.05 + 5.0 * error)
    assert_array_equal(
        component_divergences(p, q), gaussian_divergences(p._parameters(), q._parameters())
    )


def test_the_same_seed_draws_the_same():
    p, q = fitted(), fitted(1.0)
    first = kl_divergence(p, q, n_draws=500, random_state=3)
    assert first == kl_divergence(p, q, n_draws=500, random_state=3)
    assert first != kl_divergence(p, q, n_draws=500, random_state=4)
    assert (
        kl_divergence(p, q, n_draws=50_000, random_state=3).standard_error
        < first.standard_error / 5
    )


def test_a_variational_mixture_counts_as_its_expected_components():
    bayes = BayesianGaussianMixture(2, max_iter=500, random_state=0).fit(rows())
    plain = GaussianMixture(2)
    for name in ("weights_", "means_", "precisions_cholesky_"):
        setattr(plain, name, getattr(bayes, name))
    assert mixture_wasserstein(bayes, plain).distance < 1e-6
    assert kl_divergence(bayes, bayes, random_state=0).value == 0.0


@pytest.mark.parametrize("function", EVERY, ids=lambda each: each.__name__)
def test_mixtures_that_cannot_be_compared(function):
    other = GaussianMixture().fit(np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(ValueError, match=rf"{function.__name__} compares .* these have 2 and 3"):
        function(fitted(), other)
    with pytest.raises(ValueError, match=rf"{function.__name__} takes .* this one has noise"):
        function(fitted(), fitted(noise_volume="auto"))
    with pytest.raises(NotFittedError):
        function(GaussianMixture(), fitted())


def test_a_standard_error_takes_two_draws():
    with pytest.raises(ValueError, match=r"n_draws must be at least 2.*; got 1"):
        kl_divergence(fitted(), fitted(), n_draws=1)


def test_the_entropy_of_one_component_is_closed():
    mixture = GaussianMixture().fit(rows())
    value, error = differential_entropy(mixture, n_draws=100)
    expected = 0.5 * np.linalg.slogdet(2.0 * np.pi * np.e * mixture.covariances_[0])[1]
    assert_allclose(value, expected, rtol=1e-12)
    assert error == 0.0


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0, 5.0])
def test_the_entropy_is_that_of_quadrature(distance):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=500), rng.normal(distance, 0.5, size=300)])[:, None]
    mixture = GaussianMixture(2, random_state=0, max_iter=5, tol=1e-2).fit(X)

    def integrand(x):
        log_density = mixture.score_samples([[x]])[0]
        return -np.exp(log_density) * log_density

    expected = quad(integrand, -10.0, 20.0, points=mixture.means_[:, 0], limit=200)[0]
    value, error = differential_entropy(mixture, random_state=0)
    assert abs(value - expected) < 4.0 * error + 1e-7
    plain = -mixture.score_samples(mixture.set_params(random_state=0).sample(100_000)[0])
    assert error < 0.5 * plain.std() / np.sqrt(100_000)
