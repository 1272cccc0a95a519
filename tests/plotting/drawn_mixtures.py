"""Fitted mixtures that several tests of plots draw."""

from __future__ import annotations

import numpy as np

from fastgmm import GaussianMixture

_RANDOM = np.random.default_rng(0)
ROWS = np.concatenate(
    [
        _RANDOM.normal(0.0, 1.0, (60, 4)) @ np.triu(np.full((4, 4), 0.6)),
        _RANDOM.normal(2.5, 0.7, (40, 4)),
    ]
)
SCATTERED = np.concatenate([ROWS[:, :2], _RANDOM.uniform(-8.0, 8.0, (12, 2))])


def fitted(covariance_type="full", n_features=4, n_components=2, **parameters):
    """Return a mixture of two groups of rows, and the rows."""
    X = ROWS[:, :n_features]
    mixture = GaussianMixture(
        n_components, covariance_type=covariance_type, random_state=0, **parameters
    )
    return mixture.fit(X), X
