"""Mixtures, and rows of them that lack values."""

from __future__ import annotations

import numpy as np

from fastgmm.mixture.parameters import MixtureParameters


def mixture(D, K, *, diagonal=False, separation=2.0, seed=0):
    rng = np.random.default_rng(seed)
    means = separation * rng.normal(size=(K, D))
    factors = rng.normal(size=(K, D, D)) / np.sqrt(D)
    covariances = factors @ factors.transpose(0, 2, 1) + 0.2 * np.eye(D)
    if diagonal:
        covariances = covariances * np.eye(D)
    return rng.dirichlet(np.full(K, 5.0)), means, covariances


def parameters_of(weights, means, covariances, *, diagonal=False):
    if diagonal:
        covariances = np.einsum("kii->ki", covariances)
    return MixtureParameters.from_covariances(weights, means, covariances)


def rows_of(truth, n_samples, share=0.3, dtype=np.float64, n_patterns=None, seed=1):
    """Return rows of a mixture with holes at random, in some patterns only if asked."""
    weights, means, covariances = truth
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(weights), size=n_samples, p=weights)
    X = np.array([rng.multivariate_normal(means[k], covariances[k]) for k in drawn])
    if n_patterns is None:
        holes = rng.random(X.shape) < share
    else:
        patterns = rng.random((n_patterns, X.shape[1])) < share
        holes = patterns[rng.integers(n_patterns, size=len(X))]
    X[holes] = np.nan
    return X.astype(dtype)
