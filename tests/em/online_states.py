"""States of online EM to go on from, and rows for them."""

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.online.start import OnlineStart, begin_online
from fastgmm.mixture.structures import structure


def two_groups(n_rows, seed=0, distance=6.0):
    """Return rows of two groups in two dimensions, a third of them in the first, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n_rows) > 1 / 3
    return rng.normal(size=(n_rows, 2)) + distance * labels[:, None]


def begin(X, n_components=2, *, weights=None, name="full", unit=None, seed=0, **options):
    """Return the state after first rows, without the scores beside it."""
    options = {"reg_covar": 1e-6, "scale": "auto", "method": "k-means++"} | options
    settings = OnlineStart(random_state=np.random.RandomState(seed), **options)
    state, _ = begin_online(
        ArraySource(X, weights), n_components, structure(name), settings, unit=unit
    )
    return state
