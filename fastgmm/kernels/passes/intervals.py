"""Gaussian probabilities and moments of intervals, and of boxes by a lattice of fixed points.

A box is integrated over by separation of variables (Genz, 1992, "Numerical computation of
multivariate normal probabilities", Journal of Computational and Graphical Statistics 1): with
x = m + L z, L lower triangular, z_i lies in an interval that follows from z_1, …, z_i−1. All but
the last are drawn from their intervals, by the coordinates w of the points of a lattice, and
weighted by the probabilities of the intervals. The sums of weights, of z and of z zᵀ give the
probability and both moments. The last z, and a single one, take the exact moments of the interval.

Logarithms of probabilities are kept, so that an interval may lie as far out as a row does.
"""

from __future__ import annotations

import math

import numpy as np

from fastgmm.kernels.compilation import inner_kernel

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_SQRT_HALF = math.sqrt(0.5)
_FAR, _VERY_FAR = -13.0, -50.0
_NARROW = 1e-3


@inner_kernel()
def tail_deficit(t):
    """Return 1 + t Φ(t)/φ(t) for t < −13, by its asymptotic series."""
    x = 1.0 / (t * t)
    r = 1.0
    for n in range(17, 1, -2):
        r = 1.0 - n * x * r
    return x * r


@inner_kernel()
def log_cdf(t):
    """Return log Φ(t)."""
    if t < _FAR:
        return -0.5 * t * t - math.log(-t) - _HALF_LOG_TWO_PI + math.log1p(-tail_deficit(t))
    if t < 0.0:
        return math.log(0.5 * math.erfc(-t * _SQRT_HALF))
    return math.log1p(-0.5 * math.erfc(t * _SQRT_HALF))


@inner_kernel()
def excess_below(t):
    """Return φ(t)/Φ(t) + t, by which the mean of z ≤ t lies below t, and the variance of z."""
    if t >= _FAR:
        hazard = math.exp(-0.5 * t * t - _HALF_LOG_TWO_PI - log_cdf(t))
        return hazard + t, 1.0 - hazard * (hazard + t)
    deficit = tail_deficit(t)
    excess = -t * deficit / (1.0 - deficit)
    x = 1.0 / (t * t)
    if t < _VERY_FAR:
        return excess, x * (1.0 - x * (6.0 - x * (50.0 - x * 518.0)))
    return excess, 1.0 - (excess - t) * excess


@inner_kernel()
def quantile(log_p):
    """Return z with log Φ(z) = log p.

    The rational approximation of Abramowitz and Stegun (1964, eq. 26.2.23), and a step of Halley's
    method.
    """
    upper = log_p > -math.log(2.0)
    tail = math.log(-math.expm1(log_p)) if upper else log_p
    t = math.sqrt(-2.0 * tail)
    z = (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    ) - t
    value = log_cdf(z)
    hazard = math.exp(-0.5 * z * z - _HALF_LOG_TWO_PI - value)
    step = (value - tail) / hazard
    z -= step / (1.0 + 0.5 * step * (z + hazard))
    return -z if upper else z


@inner_kernel()
def log_mass(low, high):
    """Return the logarithm of the probability of an interval, and how much of Φ lies below it.

    For low ≤ -high. The latter is Φ(low)/Φ(high).
    """
    log_high = log_cdf(high)
    log_share = log_cdf(low) - log_high
    return log_high + math.log(-math.expm1(log_share)), log_high, math.exp(log_share)


@inner_kernel()
def interval_draw(low, high, w):
    """Return the logarithm of the probability of an interval, and its point at w from 0 to 1."""
    if low > -high:
        found, z = interval_draw_below(-high, -low, 1.0 - w)
        return found, -z
    return interval_draw_below(low, high, w)


@inner_kernel()
def interval_draw_below(low, high, w):
    """Return the same for low ≤ -high."""
    if low == -np.inf:
        log_high = log_cdf(high)
        return log_high, min(quantile(log_high + math.log(w)), high)
    found, log_high, share = log_mass(low, high)
    z = quantile(log_high + math.log(w + (1.0 - w) * share))
    return found, min(max(z, low), high)


@inner_kernel()
def interval_moments(low, high):
    """Return the logarithm of the probability of an interval, and the mean and variance there."""
    if low > -high:
        found, mean, variance = interval_moments_below(-high, -low)
        return found, -mean, variance
    return interval_moments_below(low, high)


@inner_kernel()
def interval_moments_below(low, high):
    """Return the same for low ≤ -high."""
    if low == -np.inf:
        if high == np.inf:
            return 0.0, 0.0, 1.0
        excess, variance = excess_below(high)
        return log_cdf(high), high - excess, variance
    width, middle = high - low, 0.5 * (low + high)
    if width * max(1.0, -low) < _NARROW:  # the density is as good as linear
        found = math.log(width) - 0.5 * middle * middle - _HALF_LOG_TWO_PI
        return found, middle - middle * width * width / 12.0, width * width / 12.0
    found, _, share = log_mass(low, high)
    # what is below `high`, less what is below `low`
    excess, variance = excess_below(high)
    excess_low, variance_low = excess_below(low)
    less = width + excess_low
    scale = 1.0 / (1.0 - share)
    mean = (excess - share * less) * scale
    second = (variance + excess * excess - share * (variance_low + less * less)) * scale
    return found, high - mean, max(second - mean * mean, 0.0)


@inner_kernel()
def box_moments(lower, first, n, offsets, lows, highs, points, scales, z, mean, second):
    """Return the logarithm of the probability of a box, and write the moments of z in it.

    Parameters
    ----------
    lower : ndarray of shape (D, D)
        L, from row and column ``first`` on.
    first, n : int
        Where the n features of the box are, of those that have places in the arrays.
    offsets, lows, highs : ndarray of shape (D,)
        m, and the sides of the box.
    points, scales : ndarray of shape (P, n − 1 or more) and (P, n or more)
        Coordinates of the points, and by how many of them what weights.
    z : ndarray of shape (D,)
        Scratch.
    mean, second : ndarray of shape (D,) and (D, D)
        Receive the mean of z, and the lower triangle of its covariance.
    """
    last = first + n - 1
    mean[first : last + 1] = 0.0
    second[first : last + 1, first : last + 1] = 0.0
    total, largest = 0.0, -np.inf
    n_points = points.shape[0] if n > 1 else 1
    variance = 0.0
    for p in range(n_points):
        log_weight = 0.0
        for i in range(first, last + 1):
            center = offsets[i]
            for j in range(first, i):
                center += lower[i, j] * z[j]
            low, high = (lows[i] - center) / lower[i, i], (highs[i] - center) / lower[i, i]
            if i < last:
                found, z[i] = interval_draw(low, high, points[p, i - first])
            else:
                found, z[i], variance = interval_moments(low, high)
            log_weight += found
        if not log_weight > -np.inf:
            continue
        if log_weight > largest:
            shrink = math.exp(largest - log_weight)
            largest = log_weight
            total *= shrink
            for i in range(first, last + 1):
                for j in range(first, i + 1):
                    second[i, j] *= shrink
        weight = math.exp(log_weight - largest) * (scales[p, n - 1] if n > 1 else 1.0)
        if weight == 0.0:
            continue
        total += weight
        # by increments: variances may be small beside the means
        share = weight / total
        for i in range(first, last + 1):
            z[i] -= mean[i]
        for i in range(first, last + 1):
            for j in range(first, i + 1):
                second[i, j] += weight * (1.0 - share) * z[i] * z[j]
        for i in range(first, last + 1):
            offset = z[i]
            z[i] += mean[i]
            mean[i] += share * offset
        second[last, last] += weight * variance
    if total == 0.0:
        return -np.inf
    for i in range(first, last + 1):
        for j in range(first, i + 1):
            second[i, j] /= total
    return largest + math.log(total / n_points)
