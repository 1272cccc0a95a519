"""Rows of two groups, where fits to them begin, and whether two fits came to the same."""

import numpy as np
from numpy.testing import assert_allclose


def drawn(means, covariances, n_samples, rng):
    """Return rows of two groups of equal weight."""
    groups = rng.integers(2, size=n_samples)
    factors = np.linalg.cholesky(covariances)
    noise = rng.normal(size=(n_samples, means.shape[1]))
    return means[groups] + np.einsum("nij,nj->ni", factors[groups], noise)


def start_near(means, covariances):
    """Return parameters of a start near the groups."""
    return {
        "weights_init": [0.4, 0.6],
        "means_init": means + 0.3,
        "precisions_init": np.linalg.inv(2.0 * covariances),
    }


def assert_same_fit(one, other, rtol=1e-10):
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        value = getattr(other, name)
        assert_allclose(getattr(one, name), value, rtol=rtol, atol=rtol * np.abs(value).max())
