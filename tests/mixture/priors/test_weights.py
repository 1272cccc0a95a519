"""Priors of the weights against SciPy's distributions and exact integrals."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import dirichlet

from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES, weight_prior

COUNTS = np.array([3.0, 0.0, 40.0, 1e-12, 7.5])

every_prior = pytest.mark.parametrize("name", WEIGHT_PRIOR_NAMES)


def drawn_weights(name, concentrations, n_draws=200_000):
    rng = np.random.default_rng(0)
    if name == "dirichlet_distribution":
        return rng.dirichlet(concentrations, size=n_draws)
    shares = rng.beta(*concentrations, size=(n_draws, concentrations.shape[1]))
    left = np.cumprod(1.0 - shares[:, :-1], axis=1)
    return shares * np.column_stack([np.ones(n_draws), left])


@every_prior
def test_the_counts_come_back_from_the_posterior(name):
    prior = weight_prior(name, 0.7)
    assert_allclose(prior.counts(prior.posterior(COUNTS)), COUNTS, atol=1e-14)


def test_concentrations_of_the_dirichlet_distribution():
    assert_allclose(
        weight_prior("dirichlet_distribution", 0.5).posterior(COUNTS),
        [3.5, 0.5, 40.5, 0.5 + 1e-12, 8.0],
    )


def test_concentrations_of_the_dirichlet_process():
    broken, left = weight_prior("dirichlet_process", 0.5).posterior(COUNTS)
    assert_allclose(broken, [4.0, 1.0, 41.0, 1.0 + 1e-12, 8.5])
    assert_allclose(left, [48.0, 48.0, 8.0, 8.0, 0.5])


@every_prior
def test_expected_weights_and_logarithms_are_those_of_draws(name):
    prior = weight_prior(name, 2.0)
    concentrations = prior.posterior(np.array([5.0, 20.0, 0.5]))
    drawn = drawn_weights(name, concentrations)
    # What the last stick leaves is given back in proportion.
    assert_allclose(
        prior.weights(concentrations), drawn.mean(axis=0) / drawn.mean(axis=0).sum(), rtol=5e-3
    )
    assert_allclose(prior.log_weights(concentrations), np.log(drawn).mean(axis=0), rtol=5e-3)


@every_prior
def test_one_component_has_all_weight(name):
    prior = weight_prior(name, 0.1)
    assert_allclose(prior.weights(prior.posterior(np.array([12.0]))), [1.0])


@every_prior
def test_tiny_concentrations_and_huge_counts_stay_finite(name):
    prior = weight_prior(name, 1e-10)
    concentrations = prior.posterior(np.array([1e12, 0.0, 0.0]))
    weights = prior.weights(concentrations)
    assert_allclose(weights.sum(), 1.0)
    assert np.isfinite(prior.log_weights(concentrations)).all()
    assert np.isfinite(prior.divergence(concentrations))


def test_divergence_of_the_dirichlet_distribution_is_that_of_draws():
    prior = weight_prior("dirichlet_distribution", 1.5)
    divergences = []
    for counts in ([3.0, 8.0, 1.0], [0.2, 0.1, 4.0]):
        concentrations = prior.posterior(np.array(counts))
        drawn = drawn_weights(prior.name, concentrations).T
        exact = (
            dirichlet.logpdf(drawn, concentrations) - dirichlet.logpdf(drawn, np.full(3, 1.5))
        ).mean()
        divergences.append((prior.divergence(concentrations), exact))
    (one, one_exact), (other, other_exact) = divergences
    assert_allclose(one - other, one_exact - other_exact, atol=0.02)


def exact_beta_divergence(a, b, gamma):
    """Return the divergence of Beta(a, b) from Beta(1, gamma), integrated numerically."""

    def integrand(v):
        log_posterior = (a - 1) * mpmath.log(v) + (b - 1) * mpmath.log1p(-v)
        log_posterior -= mpmath.log(mpmath.beta(a, b))
        log_prior = (gamma - 1) * mpmath.log1p(-v) - mpmath.log(mpmath.beta(1, gamma))
        return mpmath.exp(log_posterior) * (log_posterior - log_prior)

    return mpmath.quad(integrand, [0, 0.05, 0.2, 0.5, 0.8, 0.95, 1])


def test_divergence_of_the_dirichlet_process_is_that_of_its_sticks():
    prior = weight_prior("dirichlet_process", 1.5)
    concentrations = prior.posterior(np.array([3.0, 8.0, 2.0]))
    exact = sum(exact_beta_divergence(a, b, 1.5) for a, b in concentrations.T)
    left_out = -3 * np.log(1.5)  # the logarithms of the integrals that normalize the prior
    assert_allclose(prior.divergence(concentrations), float(exact) - left_out, rtol=1e-9)


@every_prior
def test_the_divergence_is_least_at_the_prior(name):
    prior = weight_prior(name, 0.5)
    at_prior = prior.posterior(np.zeros(4))
    assert prior.divergence(at_prior) < prior.divergence(at_prior * 1.01)
    assert prior.divergence(at_prior) < prior.divergence(at_prior * 0.99)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"weight_concentration_prior_type must be one of .*'gem'"):
        weight_prior("gem", 1.0)
