"""Rows so far from all components that squared distances overflow, or differ by less than rounding.

Which component such a row comes from follows from differences of squared distances. With ``a =
W_k (x - m_k)`` and ``b = W_l (x - m_l)``, l the nearest component,

    |a|² - |b|² = (a - b)·(a + b)   and   a - b = (W_k - W_l)(x - m_l) - W_k (m_k - m_l),

which neither cancels nor, in units of the row's own size, overflows.  Such rows are rare: they are
handled one by one, in double precision.

Symbols: N rows, D features, K components, T lanes of a tile.
"""

from __future__ import annotations

import math

import numpy as np

from fastgmm.kernels.compilation import inner_kernel
from fastgmm.kernels.packing import ROWS

LOWEST_DOUBLE, LOWEST_SINGLE = -(2.0**49), -(2.0**22)
"""Log-densities below which differences between components are lost in rounding, in each type."""

_LARGEST = 1e300


@inner_kernel()
def lowest_density(like):
    """Return the lowest log-density that is good enough, in the type of an array."""
    return LOWEST_SINGLE if like.itemsize == 4 else LOWEST_DOUBLE


@inner_kernel()
def count_far(largest, total, n, lowest):
    """Return how many of n lanes are too far from all components, or have no density at all."""
    near = 0
    for lane in range(n):
        # not `and`, whose branch would keep the loop from being vectorized
        near += (largest[lane] > lowest) & (total[lane] > 0.0)
    return n - near


@inner_kernel(rare=True)
def _whiten(whiteners, at, diagonal, vector, D, out):
    """Write the whitener that starts at a place, packed or diagonal, times a vector."""
    if diagonal:
        for i in range(D):
            out[i] = np.float64(whiteners[at + i]) * vector[i]
        return
    for first in range(0, D, ROWS):
        last = min(first + ROWS, D)
        rows = last - first
        for i in range(first, last):
            total = 0.0
            for j in range(i + 1):
                total += np.float64(whiteners[at + j * rows + i - first]) * vector[j]
            out[i] = total
        at += rows * last


@inner_kernel(rare=True)
def far_log_densities(
    X, row, means, means_low, whiteners, constants, diagonal, D, K, relative
):  # fmt: skip
    """Write a row's log-weights plus log-densities, less the largest.

    Parameters
    ----------
    X, row : ndarray of shape (N, D), int
        Rows, and which of them.
    means, means_low : ndarray of shape (K * D,)
        Means, as sums of two numbers.
    whiteners, constants, diagonal
        As in ``mixture_pass.PassTask``.
    D, K : int
        Numbers of features and of components.
    relative : ndarray of float64 of shape (K,)
        Receives the differences.

    Returns
    -------
    float
        The largest, but for the constants' offset; minus infinity where no float64 holds it.
    """
    packed = len(whiteners) // K
    size = 0.0
    for j in range(D):
        size = max(size, abs(np.float64(X[row, j])))
    for i in range(K * D):
        size = max(size, abs(np.float64(means[i])))
    size = size if size > 0.0 else 1.0
    offsets, white = np.empty(K * D), np.empty(K * D)
    top = 0.0
    for k in range(K):
        for j in range(D):
            mean = np.float64(means[k * D + j]) / size + np.float64(means_low[k * D + j]) / size
            offsets[k * D + j] = np.float64(X[row, j]) / size - mean
        _whiten(whiteners, k * packed, diagonal, offsets[k * D :], D, white[k * D :])
    for i in range(K * D):
        top = max(top, abs(white[i]))
    top = top if top > 0.0 else 1.0
    nearest, smallest = 0, np.inf
    for k in range(K):
        if constants[k] == -np.inf:
            continue  # of no weight
        square = 0.0
        for i in range(D):
            part = white[k * D + i] / top
            square += part * part  # a power takes numba a tenth of a second to compile
        if square < smallest:
            nearest, smallest = k, square
    unit = min(size * top, _LARGEST)
    between, first, second = np.empty(D), np.empty(D), np.empty(D)
    near = nearest * D
    offset = offsets[near:]
    best = -np.inf
    for k in range(K):
        for j in range(D):
            high = np.float64(means[near + j]) / size - np.float64(means[k * D + j]) / size
            low = np.float64(means_low[near + j]) - np.float64(means_low[k * D + j])
            between[j] = high + low / size
        _whiten(whiteners, k * packed, diagonal, offset, D, first)
        _whiten(whiteners, k * packed, diagonal, between, D, second)
        difference = 0.0
        for i in range(D):
            less = (first[i] - white[near + i]) + second[i]
            difference += less / top * ((white[k * D + i] + white[near + i]) / top)
        change = np.float64(constants[k]) - np.float64(constants[nearest])
        relative[k] = change - 0.5 * unit * (unit * difference)
        best = max(best, relative[k])
    for k in range(K):
        relative[k] -= best
    return np.float64(constants[nearest]) + best - 0.5 * unit * (unit * smallest)


@inner_kernel(rare=True)
def mend_labels(
    X, row, n, means, means_low, whiteners, constants, diagonal, D, K, largest, lowest, best,
    highest,
):  # fmt: skip
    """Write the most probable components of the far rows of a tile, and their log-densities."""
    for lane in range(n):
        if not lowest < largest[lane] < np.inf:
            relative = np.empty(K)
            highest[lane] = far_log_densities(
                X, row + lane, means, means_low, whiteners, constants, diagonal, D, K, relative
            )
            for k in range(K - 1, -1, -1):
                if relative[k] == 0.0:
                    best[lane] = k


@inner_kernel(rare=True)
def mend_exponentials(
    X, row, n, T, means, means_low, whiteners, constants, diagonal, D, K, known, joint, largest,
    total, lowest, active, negligible,
):  # fmt: skip
    """Write the exponentials of the far rows of a tile, and what follows from those of all.

    Parameters
    ----------
    X, row, n, T : ndarray of shape (N, D), int, int, int
        Rows, the first one of the tile, their number, and that of lanes.
    means, means_low, whiteners, constants, diagonal, D, K
        As in ``far_log_densities``.
    known : ndarray of int64 of shape (N,) or (0,)
        Component that each row is known to come from, or -1, where that is of interest.
    joint : ndarray of shape (K * T,)
        Exponentials about the largest log-density.
    largest, total : ndarray of shape (T,)
        The largest log-density, and the sum of exponentials.
    lowest : float
        Of the log-densities that are left as they are.
    active : ndarray of shape (K,)
        Whether a component has more of the tile than ``negligible``.
    """
    relative = np.empty(K)
    for lane in range(n):
        if largest[lane] > lowest and total[lane] > 0.0:
            continue
        highest = far_log_densities(
            X, row + lane, means, means_low, whiteners, constants, diagonal, D, K, relative
        )
        component = known[row + lane] if len(known) > 0 else -1
        if component >= 0:
            highest += relative[component]
            relative[:] = -np.inf
            relative[component] = 0.0
        sum_of_lane = 0.0
        for k in range(K):
            share = math.exp(relative[k])
            joint[k * T + lane] = share
            sum_of_lane += share
        largest[lane], total[lane] = highest, sum_of_lane
    for k in range(K):
        mass = 0.0
        for lane in range(T):
            mass += joint[k * T + lane]
        active[k] = mass > negligible
