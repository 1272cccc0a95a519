"""One pass over rows that are measured with errors of known covariance, another for each row.

Symbols: N rows, D features, K components, T lanes of a tile, E numbers that say a row's errors;
S the covariance of a row's errors; component k with mean μ and covariance Σ = L Lᵀ, L lower
triangular.

A row is its true values plus errors (Bovy, Hogg and Roweis, 2011, "Extreme deconvolution: inferring
complete distribution functions from noisy, heterogeneous and incomplete observations", Annals of
Applied Statistics 5, eqs. 8 to 13). It has the density of N(μ, T) with T = Σ + S under component k,
and its true values, given that component, have mean and covariance

    b = μ + Σ T⁻¹ (x − μ),    B = Σ − Σ T⁻¹ Σ.

In units of L these take a triangle only: with T = C Cᵀ, Z = C⁻¹ L and y = C⁻¹ (x − μ),

    b = μ + L Zᵀ y,    B = L (I − Zᵀ Z) Lᵀ.

So what is added up is r Zᵀ y and r (Zᵀ y yᵀ Z − Zᵀ Z); L and I are put in at the end. No digit is
lost where errors are 0, nor where they are far larger than Σ, as users say that a value is missing.

Of missing values (NaN) the rows of Z and of y are 0, and those of C are the identity's.

Tiles are laid out feature by feature, matrices of lanes as in ``microkernels.lanes``. All is
computed in double precision.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_kernel, task_at
from fastgmm.kernels.completion import factorize, solve_lower
from fastgmm.kernels.densities import reset_largest
from fastgmm.kernels.microkernels.lanes import subtract_products
from fastgmm.kernels.microkernels.moments import lane_sum
from fastgmm.kernels.microkernels.vector_math import log
from fastgmm.kernels.mixture_pass import (
    RESULT_MEMBERS,
    ROW_MEMBERS,
    finish_tile,
    whole_spans,
)
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch, load_weights

DEVIATIONS, VARIANCES, COVARIANCES = range(3)
"""What the numbers are that say a row's errors: of each feature, or a lower triangle row by row."""

_LOG_TWO_PI = math.log(2.0 * math.pi)


class ErrorPassParameters(NamedTuple):
    """A mixture of true values as the kernel reads it.

    Parameters
    ----------
    diagonal : bool
        Whether Σ and S are diagonal.
    form : int
        ``DEVIATIONS``, ``VARIANCES`` or ``COVARIANCES``.
    constants : ndarray of shape (K,)
        Logarithms of the weights.
    references : ndarray of shape (K * D,)
        The means.
    covariances, triangles : ndarray of shape (K * D * D,) or (K * D,)
        Σ and L of every component, row by row; or variances and standard deviations.
    """

    diagonal: bool
    form: int
    constants: np.ndarray
    references: np.ndarray
    covariances: np.ndarray
    triangles: np.ndarray


ErrorTask = namedtuple("ErrorTask", (*ROW_MEMBERS, *ErrorPassParameters._fields, *RESULT_MEMBERS))
"""All that the pass reads and writes, as described in ``mixture_pass.PassTask``, but for

* ``X``, of shape (N, D + E): the rows, each followed by what says its errors, float64 of any
  strides;
* ``first``, of shape (S, K * D): the sums of r Zᵀ y;
* ``second``, of shape (S, K * D (D + 1) / 2) or (S, K * D): the lower triangles, row by row, of the
  sums of r (Zᵀ y yᵀ Z − Zᵀ Z); or their diagonals.
"""


@inner_kernel()
def load_measured(X, row, n, T, D, form, values, present, spreads, constants):
    """Fill a tile with values and the covariances of their errors, both 0 where one is missing.

    Lanes from ``n`` on lack all values. Returns whether no value of the tile is missing.

    Parameters
    ----------
    X, row, n, T, D, form
        Rows, the first one to load and how many; lanes and features; as in ``ErrorTask``.
    values, present : ndarray of shape (D, T)
        Receive the values, and 1 where there is one or else 0.
    spreads : ndarray of shape (D (D + 1) / 2, T)
        Receives the variances of the errors, or the lower triangles of their covariances.
    constants : ndarray of shape (T,)
        Receives log 2π times the number of values.
    """
    constants[:] = 0.0
    complete = n == T
    for j in range(D):
        for lane in range(n):
            value = X[row + lane, j]
            known = not np.isnan(value)
            complete = complete and known
            values[j, lane] = value if known else 0.0
            present[j, lane] = 1.0 if known else 0.0
            constants[lane] += _LOG_TWO_PI if known else 0.0
        for lane in range(n, T):
            values[j, lane] = present[j, lane] = 0.0
    e = 0
    for i in range(D):
        for j in range(i + 1 if form == COVARIANCES else 1):
            other = j if form == COVARIANCES else i
            for lane in range(n):
                error = X[row + lane, D + e]
                error = error * error if form == DEVIATIONS else error
                known = present[i, lane] * present[other, lane] > 0.0
                spreads[e, lane] = error if known else 0.0
            for lane in range(n, T):
                spreads[e, lane] = 0.0
            e += 1
    return complete


@inner_kernel()
def add_spreads(covariances, k, D, T, complete, present, spreads, form, lower):
    """Write the lower triangles of T = Σ + S, the identity where values are missing.

    ``lower`` has a row of T lanes for each entry of a matrix, as ``solved`` of ``add_sums`` has.
    """
    e = 0
    for i in range(D):
        for j in range(i + 1):
            covariance = covariances[(k * D + i) * D + j]
            place = i * D + j
            if complete:
                for lane in range(T):
                    lower[place, lane] = covariance
            else:
                for lane in range(T):
                    lower[place, lane] = covariance * present[i, lane] * present[j, lane]
            if form == COVARIANCES:
                for lane in range(T):
                    lower[place, lane] += spreads[e, lane]
            e += 1
        place = i * D + i
        for lane in range(T):
            lower[place, lane] += 1.0 - present[i, lane]
        if form < COVARIANCES:
            for lane in range(T):
                lower[place, lane] += spreads[i, lane]


@inner_kernel()
def subtract_mean(values, present, means, k, D, T, offsets):
    """Write rows less a mean, 0 where a value is missing."""
    for j in range(D):
        mean = means[k * D + j]
        place = k * D + j
        for lane in range(T):
            offsets[place, lane] = (values[j, lane] - mean) * present[j, lane]


@inner_kernel()
def write_joint(log_weight, squares, constants, k, T, joint, largest):
    """Write log-densities from what is squared in them, and raise the running maximum."""
    for lane in range(T):
        value = log_weight - 0.5 * (squares[lane] + constants[lane])
        joint[k, lane] = value
        largest[lane] = value if value > largest[lane] else largest[lane]


@inner_kernel()
def whiten_diagonal(variances, k, D, T, present, spreads, offsets, kept, squares):
    """Divide offsets by T, and keep 1 / T: where features are independent."""
    squares[:] = 0.0
    for j in range(D):
        place = k * D + j
        variance = variances[place]
        for lane in range(T):
            there = present[j, lane]
            total = variance * there + spreads[j, lane] + (1.0 - there)
            inverse = 1.0 / total
            offset = offsets[place, lane]
            squares[lane] += log(total) + offset * offset * inverse
            kept[place, lane] = inverse * there
            offsets[place, lane] = offset * inverse


@inner_kernel()
def add_diagonal_sums(deviations, k, D, T, offsets, kept, shares, products, first, second):
    """Add up what one component's rows leave, where features are independent."""
    for j in range(D):
        place = k * D + j
        deviation = deviations[place]
        for lane in range(T):
            products[lane] = shares[k, lane] * deviation * offsets[place, lane]
        first[place] += lane_sum(products, 0, T)
        for lane in range(T):
            scaled = deviation * offsets[place, lane]
            gain = deviation * deviation * kept[place, lane]
            products[lane] = shares[k, lane] * (scaled * scaled - gain)
        second[place] += lane_sum(products, 0, T)


@inner_kernel()
def solve_triangles(triangles, k, D, T, complete, present, factors, solved, lanes_solved):
    """Write Z = C⁻¹ L for each lane.

    Parameters
    ----------
    triangles, k, D, T, complete, present
        L of all components, the component, and as in ``load_measured``.
    factors : ndarray of shape (D * D * T,)
        C, of which the diagonal is inverted.
    solved, lanes_solved : ndarray of shape (D * D, T) and (D * D * T,)
        Receives Z: the same numbers in two forms.
    """
    for c in range(D):
        for i in range(c, D):
            entry = triangles[(k * D + i) * D + c]
            place = i * D + c
            if complete:
                for lane in range(T):
                    solved[place, lane] = entry
            else:
                for lane in range(T):
                    solved[place, lane] = entry * present[i, lane]
            subtract_products(
                factors, place * T, T, lanes_solved, (c * D + c) * T, D * T, i - c, T,
                factors, (i * D + i) * T, lanes_solved, place * T,
            )  # fmt: skip


@inner_kernel()
def add_sums(
    k, D, T, whitened, lanes_solved, gains, lanes_gains, shares, lanes_shares, minus, products,
    first, second,
):  # fmt: skip
    """Add up what one component's rows leave.

    Parameters
    ----------
    k, D, T, lanes_solved, first, second
        As above.
    whitened : ndarray of shape (K * D * T,)
        y under each component.
    gains, lanes_gains : ndarray of shape (D, T) and (D * T,)
        Scratch for Zᵀ y, the same numbers in two forms.
    shares, lanes_shares : ndarray of shape (K, T) and (K * T,)
        Responsibilities, likewise.
    minus, products : ndarray of shape (T,)
        Minus ones, and scratch.
    """
    for c in range(D):
        for lane in range(T):
            gains[c, lane] = 0.0
        subtract_products(
            lanes_solved, (c * D + c) * T, D * T, whitened, (k * D + c) * T, T, D - c, T,
            minus, 0, lanes_gains, c * T,
        )  # fmt: skip
        for lane in range(T):
            products[lane] = gains[c, lane] * shares[k, lane]
        first[k * D + c] += lane_sum(products, 0, T)
    e = k * (D * (D + 1) // 2)
    for i in range(D):
        for j in range(i + 1):
            for lane in range(T):
                products[lane] = gains[i, lane] * gains[j, lane]
            subtract_products(
                lanes_solved, (i * D + i) * T, D * T, lanes_solved, (i * D + j) * T, D * T, D - i,
                T, lanes_shares, k * T, products, 0,
            )  # fmt: skip
            second[e] += lane_sum(products, 0, T)
            e += 1


@slot_kernel()
def error_slot(address, slot):
    """Pass over the blocks of one slot."""
    task = task_at(address)
    X, weights, T, mode, form = task.X, task.weights, task.lanes, task.mode, task.form
    log_weights, means, diagonal = task.constants, task.references, task.diagonal
    covariances, triangles = task.covariances, task.triangles
    counts, likelihood = task.counts[slot], task.likelihood[slot]
    first, second = task.first[slot], task.second[slot]
    log_density, labels, responsibilities = task.log_density, task.labels, task.responsibilities
    N, K = X.shape[0], log_weights.shape[0]
    D = means.shape[0] // K
    square = D if diagonal else D * D
    # what the microkernels read as lanes that follow each other is for loops a row for each number
    values = aligned_scratch(D * T, means).reshape(D, T)
    present = aligned_scratch(D * T, means).reshape(D, T)
    n_spreads = D * (D + 1) // 2
    spreads = aligned_scratch(n_spreads * T, means).reshape(n_spreads, T)
    lanes_whitened = aligned_scratch(K * D * T, means)
    whitened = lanes_whitened.reshape(K * D, T)
    lanes_kept = aligned_scratch(K * square * T, means)
    kept = lanes_kept.reshape(K * square, T)
    lanes_solved, lanes_gains = aligned_scratch(square * T, means), aligned_scratch(D * T, means)
    solved, gains = lanes_solved.reshape(square, T), lanes_gains.reshape(D, T)
    lanes_joint = aligned_scratch(K * T, means)
    joint = lanes_joint.reshape(K, T)
    share, largest = aligned_scratch(T, means), aligned_scratch(T, means)
    total, squares = aligned_scratch(T, means), aligned_scratch(T, means)
    constants, pivots = aligned_scratch(T, means), aligned_scratch(T, means)
    ones, minus = np.ones(T), np.full(T, -1.0)
    tile_weights, density = np.empty(T), np.empty(T)
    active, best = np.empty(K, np.int64), np.empty(T, np.int64)
    spans = whole_spans(K, T)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            complete = load_measured(X, row, n, T, D, form, values, present, spreads, constants)
            load_weights(weights, row, n, tile_weights, T)
            reset_largest(largest, T)
            for k in range(K):
                subtract_mean(values, present, means, k, D, T, whitened)
                if diagonal:
                    whiten_diagonal(covariances, k, D, T, present, spreads, whitened, kept, squares)
                else:
                    rows = slice(k * square, (k + 1) * square)
                    add_spreads(covariances, k, D, T, complete, present, spreads, form, kept[rows])
                    factors = lanes_kept[k * square * T : (k + 1) * square * T]
                    factorize(factors, D, T, ones, pivots, squares)
                    at = k * D * T
                    solve_lower(factors, D, T, lanes_whitened, at, 0)
                    for lane in range(T):
                        squares[lane] = -squares[lane]
                    subtract_products(
                        lanes_whitened, at, T, lanes_whitened, at, T, D, T, minus, 0, squares, 0
                    )
                write_joint(log_weights[k], squares, constants, k, T, joint, largest)
            if not finish_tile(
                row, n, T, K, mode, lanes_joint, largest, best, total, share, 0.0, tile_weights,
                density, likelihood, spans, active, log_density, labels, responsibilities,
            ):  # fmt: skip
                continue
            for k in range(K):
                if active[k] == 0:
                    continue
                counts[k] += lane_sum(lanes_joint, k * T, T)
                if diagonal:
                    add_diagonal_sums(
                        triangles, k, D, T, whitened, kept, joint, share, first, second
                    )
                else:
                    factors = lanes_kept[k * square * T : (k + 1) * square * T]
                    solve_triangles(
                        triangles, k, D, T, complete, present, factors, solved, lanes_solved
                    )
                    add_sums(
                        k, D, T, lanes_whitened, lanes_solved, gains, lanes_gains, joint,
                        lanes_joint, minus, share, first, second,
                    )  # fmt: skip
