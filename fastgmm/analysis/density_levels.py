"""Levels that a mixture's density seldom falls below."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import gammaincc, gammainccinv

from fastgmm.mixture.marginals import marginal
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

_SMALLEST_SHARE = 1e-250

_BISECTIONS = 50


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
    bound = _TailBound(parameters)
    low, high = bound.bracket(share)
    return float(
        brentq(lambda level: bound.shares(level) - share, low, high, xtol=1e-12, rtol=1e-14)
    )


def whole_row_scores(
    parameters: MixtureParameters, X: npt.NDArray[Any], scores: npt.NDArray[Any]
) -> FloatArray:
    """Return log-densities of rows that can be compared though some lack values.

    Those of incomplete rows are densities of fewer features. Each becomes the level that whole
    rows stay below as seldom as the features that are observed stay below their log-density, by
    the bound of `density_level`.
    """
    found = scores.astype(np.float64)
    whole = _TailBound(parameters)
    patterns, pattern_of = np.unique(np.isnan(X), axis=0, return_inverse=True)
    for number, lacking in enumerate(patterns):
        if not lacking.any():
            continue
        rows = np.flatnonzero(pattern_of.ravel() == number)
        if lacking.all():
            found[rows] = whole.highest.max()
            continue
        part = _TailBound(marginal(parameters, np.flatnonzero(~lacking)))
        shares = part.shares(found[rows])
        # Beyond what a float64 can hold, levels fall as the log-densities do.
        beyond = found[rows] - part.levels(np.array([_SMALLEST_SHARE]))
        levels = whole.levels(np.maximum(shares, _SMALLEST_SHARE))
        found[rows] = levels + np.where(shares < _SMALLEST_SHARE, beyond, 0.0)
    return found


def level_of_features(
    parameters: MixtureParameters, features: npt.NDArray[np.intp], level: float
) -> float:
    """Return what some features stay below as seldom as whole rows stay below a level."""
    whole, part = _TailBound(parameters), _TailBound(marginal(parameters, features))
    share = float(whole.shares(level))
    shares = np.array([max(share, _SMALLEST_SHARE)])
    found = float(part.levels(shares)[0])
    return found if share >= _SMALLEST_SHARE else found + level - float(whole.levels(shares)[0])


class _TailBound:
    """The bound of how probable it is that a mixture's log-density is below a level."""

    def __init__(self, parameters: MixtureParameters) -> None:
        present = np.isfinite(parameters.log_weights)
        self.weights = parameters.weights[present]
        self.weights /= self.weights.sum()
        self.highest = (parameters.log_weights + parameters.log_normalizers)[present]
        self.shape = parameters.n_features / 2.0

    def shares(self, levels: FloatArray | float) -> Any:
        """Return the bound at levels."""
        # The upper tail of chi-square at 2 x is the regularized incomplete gamma function at x.
        depths = self.highest - np.asarray(levels)[..., None]
        return gammaincc(self.shape, np.maximum(depths, 0.0)) @ self.weights

    def bracket(self, shares: FloatArray | float) -> tuple[Any, Any]:
        """Return levels on both sides of those at which the bound has some values."""
        # Those of single components are; a nat more keeps rounding out of it.
        depths = gammainccinv(self.shape, shares)
        return self.highest.min() - depths - 1.0, self.highest.max() - depths + 1.0

    def levels(self, shares: FloatArray) -> FloatArray:
        """Return the levels at which the bound has some values."""
        low, high = self.bracket(shares)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            above = self.shares(middle) > shares
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.asarray(0.5 * (low + high))
