"""Levels of a mixture's density against draws from the mixture."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2, multivariate_normal, norm

from fastgmm.analysis.density_levels import density_level
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_density
from fastgmm.mixture.parameters import MixtureParameters


def mixture(weights, means, variances):
    means = np.asarray(means, dtype=np.float64)
    covariances = np.asarray(variances)[:, None] * np.ones_like(means)
    return MixtureParameters.from_covariances(np.asarray(weights, float), means, covariances)


def share_below(parameters, level, n_draws=200_000):
    """Return the share of rows drawn from a mixture whose log-density is below a level."""
    rng = np.random.default_rng(0)
    labels = rng.choice(parameters.n_components, size=n_draws, p=parameters.weights)
    X = rng.normal(size=(n_draws, parameters.n_features)) / parameters.whiteners[labels]
    scores = log_density(ArraySource(X + parameters.means[labels]), parameters)
    return np.mean(scores < level)


@pytest.mark.parametrize("share", [1e-9, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("n_features", [1, 2, 30])
def test_one_component_has_the_level_of_its_distance(n_features, share):
    rng = np.random.default_rng(n_features)
    root = np.tril(rng.normal(size=(n_features, n_features))) + 3.0 * np.eye(n_features)
    mean, covariance = rng.normal(size=n_features), root @ root.T
    parameters = MixtureParameters.from_covariances(np.ones(1), mean[None], covariance[None])
    at_mean = multivariate_normal(mean, covariance).logpdf(mean)
    expected = at_mean - chi2(n_features).isf(share) / 2.0
    assert_allclose(density_level(parameters, share), expected, rtol=1e-10)


def test_one_feature_against_the_normal_distribution():
    level = density_level(mixture([1.0], [[7.0]], [4.0]), 0.05)
    assert_allclose(level, norm(7.0, 2.0).logpdf(7.0 + 2.0 * norm.isf(0.025)), rtol=1e-12)


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_components_that_are_apart(share):
    means = [[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]
    parameters = mixture([0.7, 0.28, 0.02], means, [1.0, 9.0, 0.25])
    assert_allclose(share_below(parameters, density_level(parameters, share)), share, rtol=0.05)


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0])
def test_components_that_overlap_have_no_more(distance):
    parameters = mixture([0.5, 0.5], [[0.0, 0.0], [distance, 0.0]], [1.0, 1.0])
    found = share_below(parameters, density_level(parameters, 0.05))
    assert 0.02 < found < 0.05


def test_components_without_weight_do_not_count():
    one = mixture([1.0], [[0.0]], [1.0])
    two = mixture([1.0, 0.0], [[0.0], [9.0]], [1.0, 1e-8])
    assert density_level(two, 0.1) == density_level(one, 0.1)


def test_the_level_moves_with_the_scale_only():
    base = mixture([0.6, 0.4], [[0.0, 0.0], [3.0, 1.0]], [1.0, 2.0])
    other = mixture([0.6, 0.4], [[1e6, 1e6], [1e6 + 3e-3, 1e6 + 1e-3]], [1e-6, 2e-6])
    difference = density_level(other, 0.05) - density_level(base, 0.05)
    assert_allclose(difference, -2.0 * np.log(1e-3), rtol=1e-12)
