"""Rows that lack values, in few patterns or anywhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def few_patterns(X: FloatArray, share: float, n_patterns: int, seed: int = 0) -> FloatArray:
    """Return rows with values missing in some patterns.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The rows.
    share : float
        About the share of the values to leave out.
    n_patterns : int
        Number of patterns, all different, one of which is that of whole rows. The others are as
        if each value was missing with a probability of `share`, and occur equally often.
    seed : int
        Seed of the patterns.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        A copy with NaN for what is missing.
    """
    random = np.random.default_rng(seed)
    n_features = X.shape[1]
    patterns: dict[bytes, npt.NDArray[np.bool_]] = {}
    while len(patterns) < min(n_patterns, 2**n_features - 1) - 1:
        pattern: npt.NDArray[np.bool_] = np.less(random.random(n_features), share)
        if pattern.any() and not pattern.all():
            patterns[pattern.tobytes()] = pattern
    incomplete = np.array(list(patterns.values()))
    chosen = incomplete[random.integers(len(incomplete), size=len(X))]
    some_whole = 1.0 - 1.0 / n_patterns
    lacking = random.random(len(X)) < min(share / incomplete.mean(), some_whole)
    return np.where(chosen & lacking[:, None], np.nan, X)


def scattered(X: FloatArray, share: float, seed: int = 0) -> FloatArray:
    """Return rows with values missing anywhere.

    Parameters
    ----------
    X, share, seed
        As for `few_patterns`.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        A copy with NaN for what is missing.
    """
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)
