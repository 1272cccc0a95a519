"""Mixtures of factor analyzers, and rows of them, for tests."""

import numpy as np

from fastgmm.mixture.parameters import MixtureParameters, whiteners_from_factors
from tests import oracle


def factor_mixture(n_components, n_features, n_factors, *, common=False, noise=0.3, seed=0):
    """Return weights, means, loadings and noise."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_components, n_features, n_factors))
    if common:
        loadings[:] = loadings[0]
    variances = noise * rng.uniform(0.5, 2.0, size=(n_components, n_features))
    means = 2.0 * rng.normal(size=(n_components, n_features))
    return rng.dirichlet(np.full(n_components, 5.0)), means, loadings, variances


def parameters_of(weights, means, loadings, noise):
    """Return the mixture as the passes take it."""
    return MixtureParameters.from_whiteners(weights, means, whiteners_from_factors(noise, loadings))


def truth_of(weights, means, loadings, noise):
    """Return the mixture as the oracle takes it."""
    return weights, means, oracle.factor_covariances(loadings, noise)


def factor_rows(mixture, n_samples, seed=1):
    """Return rows of a mixture, and the component of each."""
    weights, means, loadings, noise = mixture
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(weights), size=n_samples, p=weights)
    factors = rng.normal(size=(n_samples, loadings.shape[2]))
    rows = means[labels] + np.einsum("ndq,nq->nd", loadings[labels], factors)
    return rows + rng.normal(size=rows.shape) * np.sqrt(noise[labels]), labels
