"""One pass over rows of which some values are only known to lie between two limits.

Symbols: N rows, D features, K components, T lanes of a tile.

The values of a row are measured (set O), bounded by a limit (set B), or missing (set M). With the
features in this order, and Σ = L Lᵀ of a component, x = μ + L z with independent z: those of O
follow from the values, those of B lie in a box (``intervals``), those of M are free. The row counts
with the density of O times the probability of the box given O, and its expected moments are L times
those of z (Lee and Scott, 2012, "EM algorithms for multivariate Gaussian mixture models with
truncated and censored data", Computational Statistics & Data Analysis 56, section 4).

Of the features in B, the one whose interval is the least probable given those before comes first
(Gibson, Glasbey and Elston, 1994, "Monte Carlo evaluation of multivariate normal integrals and
sensitivity to variate ordering"), so that weights of points vary little.

Where features are independent, the moments are those of single intervals, and exact. All is
computed in double precision.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_kernel, task_at
from fastgmm.kernels.densities import reset_largest
from fastgmm.kernels.mixture_pass import (
    RESULT_MEMBERS,
    ROW_MEMBERS,
    finish_tile,
    whole_spans,
)
from fastgmm.kernels.passes.intervals import box_moments, interval_moments
from fastgmm.kernels.tiles import aligned_scratch, load_weights

EXPECTED_ROWS = 128
"""A mode of its own: the expected rows are written in place of responsibilities."""

LIMIT_BLOCK_ROWS = 64
"""Rows of a block: fewer than those of other passes, for each takes long."""

_LOG_TWO_PI = math.log(2.0 * math.pi)

_SMALLEST_PIVOT = 2.0**-52
"""Rounding can leave nothing, or less, of a pivot where features nearly depend on each other."""


class LimitPassParameters(NamedTuple):
    """A mixture as the kernel reads it.

    Parameters
    ----------
    diagonal : bool
        Whether features are independent.
    constants : ndarray of shape (K,)
        Logarithms of the weights.
    references : ndarray of shape (K * D,)
        The means.
    covariances : ndarray of shape (K, D, D) or (K, D, 1)
        Covariances, or variances.
    line, line_scales, lattice, lattice_scales : ndarray
        Points and weights for two features in B, and for more, as ``box_moments`` takes them.
    """

    diagonal: bool
    constants: np.ndarray
    references: np.ndarray
    covariances: np.ndarray
    line: np.ndarray
    line_scales: np.ndarray
    lattice: np.ndarray
    lattice_scales: np.ndarray


LimitTask = namedtuple("LimitTask", (*ROW_MEMBERS, *LimitPassParameters._fields, *RESULT_MEMBERS))
"""All that the pass reads and writes, as described in ``mixture_pass.PassTask``, but for

* ``X``, of shape (N, 2 D): for each row the least and then the greatest values that its features
  may have, float64: the same where they are measured, infinite where nothing is known;
* ``first``, of shape (S, K * D): the sums of r (x − μ);
* ``second``, of shape (S, K * D * D) or (S, K * D): the sums of r (x − μ)(x − μ)ᵀ, of which the
  upper triangles stay 0; or their diagonals.
"""


@inner_kernel()
def load_row(X, row, D, order, lows, highs):
    """Write the features in the order O, B, M, and the sides of the box; return the sizes of O, B.

    Parameters
    ----------
    X, row, D
        Rows and the one to load; features.
    order : ndarray of int64 of shape (D,)
        Receives the features.
    lows, highs : ndarray of shape (D,)
        Receive the sides, by feature; the value itself where it is measured.
    """
    n_measured = n_bounded = 0
    for j in range(D):
        lows[j], highs[j] = X[row, j], X[row, D + j]
        if lows[j] == highs[j]:
            n_measured += 1
        elif lows[j] > -np.inf or highs[j] < np.inf:
            n_bounded += 1
    o, b, m = 0, n_measured, n_measured + n_bounded
    for j in range(D):
        if lows[j] == highs[j]:
            order[o] = j
            o += 1
        elif lows[j] > -np.inf or highs[j] < np.inf:
            order[b] = j
            b += 1
        else:
            order[m] = j
            m += 1
    return n_measured, n_bounded


@inner_kernel()
def swap_places(i, j, order, lower, offsets, spreads, lows, highs):
    """Let two features change places, of which the first i columns of L are known."""
    order[i], order[j] = order[j], order[i]
    offsets[i], offsets[j] = offsets[j], offsets[i]
    spreads[i], spreads[j] = spreads[j], spreads[i]
    lows[i], lows[j] = lows[j], lows[i]
    highs[i], highs[j] = highs[j], highs[i]
    for c in range(i):
        lower[i, c], lower[j, c] = lower[j, c], lower[i, c]


@inner_kernel()
def decompose_row(
    covariance, means, at, D, n_measured, n_bounded, order, lower, offsets, spreads, lows, highs
):  # fmt: skip
    """Factorize a covariance in the order of a row, and return the log-density of what is measured.

    Parameters
    ----------
    covariance : ndarray of shape (D, D)
        Σ.
    means, at : ndarray, int
        The means, and where that of the component begins.
    D, n_measured, n_bounded : int
        Numbers of features, and of those in O and B.
    order, lows, highs : ndarray of shape (D,)
        As ``load_row`` leaves them, but sides by place; the features in B are put in their order.
    lower : ndarray of shape (D, D)
        Receives L.
    offsets : ndarray of shape (D,)
        Receives the means given what is measured, by place.
    spreads : ndarray of shape (D,)
        Scratch.
    """
    log_density = 0.0
    bounded = n_measured + n_bounded
    for i in range(D):
        offsets[i] = means[at + order[i]]
        spreads[i] = covariance[order[i], order[i]]
    for i in range(D):
        if n_measured <= i < bounded - 1:
            best, least = i, np.inf
            for j in range(i, bounded):
                expected = offsets[j]
                for c in range(n_measured, i):
                    expected += lower[j, c] * spreads[c]
                scale = 1.0 / math.sqrt(spreads[j])
                mass, _, _ = interval_moments(
                    (lows[j] - expected) * scale, (highs[j] - expected) * scale
                )
                if mass < least:
                    best, least = j, mass
            swap_places(i, best, order, lower, offsets, spreads, lows, highs)
        pivot = math.sqrt(spreads[i])
        lower[i, i] = pivot
        for j in range(i + 1, D):
            entry = covariance[order[j], order[i]]
            for c in range(i):
                entry -= lower[j, c] * lower[i, c]
            lower[j, i] = entry / pivot
            own = covariance[order[j], order[j]]
            spreads[j] = max(spreads[j] - lower[j, i] * lower[j, i], _SMALLEST_PIVOT * own)
        if i < n_measured:
            z = (lows[i] - offsets[i]) / pivot
            log_density -= 0.5 * (z * z + _LOG_TWO_PI) + math.log(pivot)
            for j in range(i + 1, D):
                offsets[j] += lower[j, i] * z
        elif i < bounded - 1:
            expected = offsets[i]
            for c in range(n_measured, i):
                expected += lower[i, c] * spreads[c]
            # in place of the variance, of no more use, what is expected of z
            _, spreads[i], _ = interval_moments(
                (lows[i] - expected) / pivot, (highs[i] - expected) / pivot
            )
    return log_density


@inner_kernel()
def expand_moments(
    D, n_measured, n_bounded, order, lower, offsets, lows, z_mean, z_second, means, at, mean, spread
):  # fmt: skip
    """Write the expected row less the mean, and the lower triangle of its covariance.

    Parameters
    ----------
    D, n_measured, n_bounded, order, lower, offsets, lows, means, at
        As ``decompose_row`` has them.
    z_mean, z_second : ndarray of shape (D,) and (D, D)
        Moments of z, for the features in B; ``z_second`` is changed.
    mean, spread : ndarray of shape (D,) and (D, D)
        Receive the result, by feature.
    """
    bounded = n_measured + n_bounded
    for i in range(n_measured):
        mean[order[i]] = lows[i] - means[at + order[i]]
    spread[:, :] = 0.0
    for i in range(n_measured, D):
        value = offsets[i] - means[at + order[i]]
        for c in range(n_measured, min(i + 1, bounded)):
            value += lower[i, c] * z_mean[c]
        mean[order[i]] = value
    for i in range(n_measured, bounded):
        for j in range(n_measured, i):
            z_second[j, i] = z_second[i, j]
    for i in range(n_measured, D):
        for j in range(n_measured, i + 1):
            value = 0.0
            for p in range(n_measured, min(i + 1, bounded)):
                inner = 0.0
                for q in range(n_measured, min(j + 1, bounded)):
                    inner += z_second[p, q] * lower[j, q]
                value += lower[i, p] * inner
            for p in range(bounded, j + 1):
                value += lower[i, p] * lower[j, p]
            one, other = max(order[i], order[j]), min(order[i], order[j])
            spread[one, other] = value


@inner_kernel()
def independent_row(variances, means, at, D, lows, highs, mean, spread):
    """Do all for one row and component where features are independent; return the log-density."""
    log_density = 0.0
    for j in range(D):
        deviation = math.sqrt(variances[j, 0])
        low, high = (lows[j] - means[at + j]) / deviation, (highs[j] - means[at + j]) / deviation
        if low == high:
            log_density -= 0.5 * (low * low + _LOG_TWO_PI) + math.log(deviation)
            z, variance = low, 0.0
        else:
            found, z, variance = interval_moments(low, high)
            log_density += found
        mean[j] = deviation * z
        spread[j, 0] = deviation * deviation * variance
    return log_density


@inner_kernel()
def add_row(share, D, diagonal, at, mean, spread, first, second):
    """Add the expected moments of a row under a component."""
    for i in range(D):
        first[at + i] += share * mean[i]
        if diagonal:
            second[at + i] += share * (mean[i] * mean[i] + spread[i, 0])
        else:
            for j in range(i + 1):
                second[(at + i) * D + j] += share * (mean[i] * mean[j] + spread[i, j])


@inner_kernel()
def write_expected(row, n, T, K, D, joint, total, references, kept_means, out):
    """Write the expected rows from the exponentials of a tile."""
    for lane in range(n):
        for j in range(D):
            value = 0.0
            for k in range(K):
                expected = references[k * D + j] + kept_means[k, lane, j]
                value += joint[k * T + lane] / total[lane] * expected
            out[row + lane, j] = value


@slot_kernel()
def limit_slot(address, slot):
    """Pass over the blocks of one slot."""
    task = task_at(address)
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    diagonal, constants, references = task.diagonal, task.constants, task.references
    covariances = task.covariances
    line, line_scales = task.line, task.line_scales
    lattice, lattice_scales = task.lattice, task.lattice_scales
    counts, likelihood = task.counts[slot], task.likelihood[slot]
    first, second = task.first[slot], task.second[slot]
    log_density, labels, responsibilities = task.log_density, task.labels, task.responsibilities
    N, K = X.shape[0], constants.shape[0]
    D, width = covariances.shape[1], covariances.shape[2]
    kept_means, kept_spreads = np.empty((K, T, D)), np.empty((K, T, D, width))
    of_row, order = np.empty(D, np.int64), np.empty(D, np.int64)
    row_lows, row_highs, lows, highs = np.empty(D), np.empty(D), np.empty(D), np.empty(D)
    lower, z_second = np.zeros((D, D)), np.zeros((D, D))
    offsets, spreads, z, z_mean = np.empty(D), np.empty(D), np.empty(D), np.empty(D)
    joint, largest = aligned_scratch(K * T, constants), aligned_scratch(T, constants)
    total, share = aligned_scratch(T, constants), aligned_scratch(T, constants)
    tile_weights, density = np.empty(T), np.empty(T)
    active, best = np.empty(K, np.int64), np.empty(T, np.int64)
    spans = whole_spans(K, T)
    n_blocks = (N + LIMIT_BLOCK_ROWS - 1) // LIMIT_BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        begin = block * LIMIT_BLOCK_ROWS
        for row in range(begin, min(begin + LIMIT_BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_weights(weights, row, n, tile_weights, T)
            reset_largest(largest, T)
            joint[:] = 0.0
            for lane in range(n):
                n_measured, n_bounded = load_row(X, row + lane, D, of_row, row_lows, row_highs)
                for k in range(K):
                    at = k * D
                    mean, spread = kept_means[k, lane], kept_spreads[k, lane]
                    if diagonal:
                        value = independent_row(
                            covariances[k], references, at, D, row_lows, row_highs, mean, spread
                        )
                    else:
                        for i in range(D):
                            order[i] = of_row[i]
                            lows[i], highs[i] = row_lows[order[i]], row_highs[order[i]]
                        value = decompose_row(
                            covariances[k], references, at, D, n_measured, n_bounded, order, lower,
                            offsets, spreads, lows, highs,
                        )  # fmt: skip
                        if n_bounded > 2:
                            value += box_moments(
                                lower, n_measured, n_bounded, offsets, lows, highs, lattice,
                                lattice_scales, z, z_mean, z_second,
                            )  # fmt: skip
                        elif n_bounded > 0:
                            value += box_moments(
                                lower, n_measured, n_bounded, offsets, lows, highs, line,
                                line_scales, z, z_mean, z_second,
                            )  # fmt: skip
                        expand_moments(
                            D, n_measured, n_bounded, order, lower, offsets, lows, z_mean, z_second,
                            references, at, mean, spread,
                        )  # fmt: skip
                    value += constants[k]
                    joint[k * T + lane] = value
                    largest[lane] = max(largest[lane], value)
            for lane in range(n, T):
                largest[lane] = 0.0
            wanted = finish_tile(
                row, n, T, K, mode, joint,
                largest, best, total, share, 0.0, tile_weights, density, likelihood, spans, active,
                log_density, labels, responsibilities,
            )  # fmt: skip
            if mode == EXPECTED_ROWS:
                write_expected(
                    row, n, T, K, D, joint, total, references, kept_means, responsibilities
                )
            if not wanted:
                continue
            for k in range(K):
                if active[k] == 0:
                    continue
                for lane in range(n):
                    counts[k] += joint[k * T + lane]
                    add_row(
                        joint[k * T + lane], D, diagonal, k * D, kept_means[k, lane],
                        kept_spreads[k, lane], first, second,
                    )  # fmt: skip
