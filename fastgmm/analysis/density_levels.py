"""Levels that a mixture's density seldom falls below."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincc, gammainccinv

from fastgmm.mixture.parameters import MixtureParameters


def density_level(parameters: MixtureParameters, share: float) -> float:
    """Return a log-density that a mixture stays below at most a share of the time.

    The rows above it are a highest-density region (Hyndman, 1996, "Computing and graphing highest
    density regions", The American Statistician 50). Its probability is bounded without any
    draws. A mixture is nowhere less dense than one of its components with its weight, and
    -2 times the log-density of a normal distribution, but for a constant, is chi-square
    distributed under it. Hence, with a_k the logarithm of weight times density at mean k,

        P(log p(X) < t) <= sum_k w_k P(chi2_D > 2 (a_k - t)),

    where both sides are equal for one component, and nearly so for components that are well
    apart. The level is the t at which the right side is the share.
    """
    present = np.isfinite(parameters.log_weights)
    weights = parameters.weights[present]
    weights /= weights.sum()
    highest = (parameters.log_weights + parameters.log_normalizers)[present]
    # The upper tail of chi-square at 2 x is the regularized incomplete gamma function at x.
    shape = parameters.n_features / 2.0

    def excess(level: float) -> float:
        tails = gammaincc(shape, np.maximum(highest - level, 0.0))
        return float(weights @ tails) - share

    # The levels of single components lie on both sides; a nat more keeps rounding out of it.
    depth = gammainccinv(shape, share)
    low, high = highest.min() - depth - 1.0, highest.max() - depth + 1.0
    return float(brentq(excess, low, high, xtol=1e-12, rtol=1e-14))
