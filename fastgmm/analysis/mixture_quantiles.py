"""Quantiles of mixtures of normal distributions, one mixture for each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from fastgmm.mixture.statistics import FloatArray

_MOST_STEPS = 200
"""Bisection alone needs fewer to halve an interval down to neighboring numbers."""

_SQRT_TWO_PI = np.sqrt(2.0 * np.pi)


def mixture_quantiles(
    shares: FloatArray, means: FloatArray, deviations: FloatArray, level: float
) -> FloatArray:
    """Return the quantile of one level of each row's mixture.

    It is the root of the distribution function, and lies between the least and the greatest of
    the components' own quantiles. Newton's method on the logarithm of the function finds it, with
    a bisection wherever a step leaves that interval or does not halve the step before it. Levels
    above one half are those of the mirrored mixture, so that both tails keep their digits.
    """
    if level > 0.5:
        return -mixture_quantiles(shares, -means, deviations, 1.0 - level)
    z = float(ndtri(level))
    own = means + deviations * z
    low = np.where(shares > 0.0, own, np.inf).min(axis=1)
    high = np.where(shares > 0.0, own, -np.inf).max(axis=1)
    middle = (shares * means).sum(axis=1)
    squares = deviations**2 + (means - middle[:, None]) ** 2
    found: FloatArray = np.clip(middle + z * np.sqrt((shares * squares).sum(axis=1)), low, high)
    tolerance = 1e-14 * deviations.min() + 2e-16 * np.maximum(np.abs(low), np.abs(high))
    active = np.flatnonzero(high - low > tolerance)
    low, high, tolerance = low[active], high[active], tolerance[active]
    before = high - low
    for _ in range(_MOST_STEPS):
        if not len(active):
            break
        at = found[active]
        moved, low, high = _step(
            shares[active], means[active], deviations, level, at, low, high, before
        )
        found[active] = moved
        before = np.abs(moved - at)
        going_on = (before > tolerance) & (high - low > tolerance)
        active, before, tolerance = active[going_on], before[going_on], tolerance[going_on]
        low, high = low[going_on], high[going_on]
    return found


def _step(
    shares: FloatArray,
    means: FloatArray,
    deviations: FloatArray,
    level: float,
    at: FloatArray,
    low: FloatArray,
    high: FloatArray,
    before: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the next points, and the intervals that hold the roots."""
    standard = (at[:, None] - means) / deviations
    probability: FloatArray = (shares * ndtr(standard)).sum(axis=1)
    density = (shares / deviations * np.exp(-0.5 * standard**2)).sum(axis=1) / _SQRT_TWO_PI
    below: npt.NDArray[np.bool_] = probability < level
    low, high = np.where(below, at, low), np.where(below, high, at)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        newton = at - np.log(probability / level) * probability / density
        usable = (newton >= low) & (newton <= high) & (np.abs(newton - at) <= 0.5 * before)
    return np.where(usable, newton, 0.5 * (low + high)), low, high
