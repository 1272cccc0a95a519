"""The pass of EM over rows of any patterns of missing values, row by row completed.

Symbols: N rows, D features, K components, T lanes of a tile, S accumulator slots.

A tile is handled as in ``mixture_pass``, about each component's own mean, except that under each
component what is missing in a row is first filled in by its conditional mean (``completion``).
The moments of the rows so completed, and the conditional covariance of what was filled in, are the
expected moments of the complete data (Ghahramani and Jordan, 1994, "Supervised learning from
incomplete data via an EM approach", NIPS 6, section 3).

This takes a factorisation for each component and pattern; rows of one pattern should follow each
other.  All is computed in double precision: it is precisions, squares of whiteners, that rows are
completed with.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.completion import complete, conditional_covariance, prepare
from fastgmm.kernels.densities import reset_largest
from fastgmm.kernels.density_microkernels import (
    find_labels,
    joint_log_density,
    joint_log_density_diagonal,
)
from fastgmm.kernels.mixture_pass import (
    LABELS,
    LOG_DENSITY,
    MOMENTS,
    RESPONSIBILITIES,
    add_log_likelihood,
    exponentiate,
    weigh_responsibilities,
    write_responsibilities,
)
from fastgmm.kernels.moment_microkernels import add_diagonal_moments, add_moments, lane_sum
from fastgmm.kernels.moments import diagonal_place
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.tile_microkernels import subtract_reference
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch, load_weights

_NEGLIGIBLE = 1e-26
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class CompletionParameters(NamedTuple):
    """A mixture as rows are completed with it.

    Parameters
    ----------
    constants : ndarray of shape (K,)
        Log-weights plus log-normalisers, less ``offset``.
    offset : float
        The largest of those sums.
    log_normalisers : ndarray of shape (K,)
        Log-density of each component at its mean.
    whiteners : ndarray of shape (K * packed length,) or (K * D,)
        Packed lower triangles, or inverse standard deviations.
    precisions, covariances : ndarray of shape (K * D * D,) or (K * D,)
        Λ and Σ, row by row, or inverse variances and variances.
    references : ndarray of shape (K * D,)
        The means.
    nothing : ndarray of shape (K * D,)
        Zeros: what is added to whitened rows, and the lower halves of the references.
    """

    constants: np.ndarray
    offset: float
    log_normalisers: np.ndarray
    whiteners: np.ndarray
    precisions: np.ndarray
    covariances: np.ndarray
    references: np.ndarray
    nothing: np.ndarray


class IncompleteTask(NamedTuple):
    """All that the pass reads and writes: ``CompletionParameters``, rows and results.

    The members that ``mixture_pass.PassTask`` has, too, are those described there.
    """

    X: np.ndarray
    weights: np.ndarray
    first_block: int
    lanes: int
    diagonal: bool
    mode: int
    n_slots: int
    constants: np.ndarray
    offset: float
    log_normalisers: np.ndarray
    whiteners: np.ndarray
    precisions: np.ndarray
    covariances: np.ndarray
    references: np.ndarray
    nothing: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray
    likelihood: np.ndarray
    log_density: np.ndarray
    labels: np.ndarray
    responsibilities: np.ndarray


@kernel()
def load_pattern(X, row, at, rows, present, missing, observed):
    """Write the values of a row, 0 where missing, and which features are missing and observed.

    Parameters
    ----------
    X, row : ndarray of shape (N, D), int
        The rows, and the number of the one to load.
    at : int
        Where its D entries start in what is written.
    rows, present : ndarray
        Receive the values, and 1 where there is one, else 0.
    missing, observed : ndarray of int64
        Receive the features.

    Returns
    -------
    int
        How many are missing.
    """
    m = o = 0
    for j in range(X.shape[1]):
        value = np.float64(X[row, j])
        if np.isnan(value):
            rows[at + j] = 0.0
            present[at + j] = 0.0
            missing[at + m] = j
            m += 1
        else:
            rows[at + j] = value
            present[at + j] = 1.0
            observed[at + o] = j
            o += 1
    return m


@kernel()
def same_pattern(present, lane, D):
    """Say whether a row has the pattern of the row before it."""
    same = lane > 0
    if same:
        for j in range(lane * D, (lane + 1) * D):
            same = same and present[j] == present[j - D]
    return same


@kernel()
def load_patterns(
    X, row, n, T, references, tile, rows, present, missing, observed, n_missing, fresh
):  # fmt: skip
    """Fill a tile, feature by feature, and what is known of the patterns of its rows.

    Lanes from ``n`` on hold the first component's mean.
    """
    D = X.shape[1]
    for lane in range(n):
        at = lane * D
        n_missing[lane] = load_pattern(X, row + lane, at, rows, present, missing, observed)
        fresh[lane] = not same_pattern(present, lane, D)
        for j in range(D):
            tile[j * T + lane] = rows[at + j]
    for j in range(D):
        for lane in range(n, T):
            tile[j * T + lane] = references[j]


@kernel()
def complete_tile(
    precisions, covariances, log_normalisers, references, k, n, T, D, rows, present, missing,
    observed, n_missing, fresh, factor, work, offsets, completed, about_mean, filled, terms,
):  # fmt: skip
    """Fill in what is missing in a tile under component k, and keep it.

    ``terms`` receives what is added to the log-densities of the completed rows.
    """
    term = 0.0
    for lane in range(n):
        at, m = lane * D, n_missing[lane]
        if fresh[lane]:
            term = prepare(
                precisions, covariances, log_normalisers, k, D, missing, observed, at, m, factor
            )
        for j in range(D):
            offsets[j] = (rows[at + j] - references[k * D + j]) * present[at + j]
        complete(
            precisions, covariances, k, D, missing, observed, at, m, factor, offsets, work,
            completed,
        )  # fmt: skip
        for i in range(m):
            place = missing[at + i] * T + lane
            about_mean[place] = completed[i]
            filled[k * D * T + place] = completed[i]
        terms[lane] = term


@kernel()
def complete_diagonal_tile(whiteners, k, n, T, D, missing, n_missing, about_mean, terms):
    """Fill in the mean for what is missing in a tile, where features are independent."""
    for lane in range(n):
        at = lane * D
        term = 0.0
        for i in range(n_missing[lane]):
            j = missing[at + i]
            about_mean[j * T + lane] = 0.0
            term += _HALF_LOG_TWO_PI - math.log(whiteners[k * D + j])
        terms[lane] = term


@kernel()
def refill_tile(k, n, T, D, missing, n_missing, filled, about_mean):
    """Fill in once more what was kept."""
    for lane in range(n):
        for i in range(n_missing[lane]):
            place = missing[lane * D + i] * T + lane
            about_mean[place] = filled[k * D * T + place]


@kernel()
def add_terms(joint, at, terms, largest, T):
    """Add what the completed rows' log-densities lack, and raise the running maximum."""
    for lane in range(T):
        value = joint[at + lane] + terms[lane]
        joint[at + lane] = value
        largest[lane] = value if value > largest[lane] else largest[lane]


@kernel()
def add_conditional_covariances(
    precisions, covariances, log_normalisers, k, n, T, D, missing, observed, n_missing, fresh,
    responsibilities, factor, work, covariance, blocks, b_at,
):  # fmt: skip
    """Add the conditional covariance of what is missing, for each row by its responsibility.

    ``blocks`` are those of ``packing.unpack_blocks``, from place ``b_at`` on.
    """
    lane = 0
    while lane < n:
        mass = responsibilities[k * T + lane]
        end = lane + 1
        while end < n and not fresh[end]:
            mass += responsibilities[k * T + end]
            end += 1
        if mass > _NEGLIGIBLE:
            at, m = lane * D, n_missing[lane]
            prepare(
                precisions, covariances, log_normalisers, k, D, missing, observed, at, m, factor
            )
            conditional_covariance(
                covariances, k, D, missing, observed, at, m, factor, work, covariance
            )
            for i in range(m):
                row = missing[at + i]
                panel = row // ROWS
                start = b_at + panel * (panel + 1) // 2 * ROWS * ROWS + row % ROWS * ROWS
                for j in range(i + 1):
                    column = missing[at + j]
                    place = start + column // ROWS * ROWS * ROWS + column % ROWS
                    blocks[place] += mass * covariance[i * m + j]
        lane = end


@kernel()
def add_variances(variances, k, n, T, D, n_columns, missing, n_missing, responsibilities, products):
    """Add the variances of what is missing, where features are independent."""
    for lane in range(n):
        share = responsibilities[k * T + lane]
        for i in range(n_missing[lane]):
            j = missing[lane * D + i]
            products[diagonal_place(k, D + j, n_columns)] += share * variances[k * D + j]


@kernel()
def incomplete_slot(task, slot):
    """Pass over the blocks of one slot."""
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    constants, offset, diagonal = task.constants, task.offset, task.diagonal
    log_normalisers, whiteners, nothing = task.log_normalisers, task.whiteners, task.nothing
    precisions, covariances, references = task.precisions, task.covariances, task.references
    counts, likelihood = task.counts[slot], task.likelihood[slot]
    first, second = task.first[slot], task.second[slot]
    log_density, labels, responsibilities = task.log_density, task.labels, task.responsibilities
    N, D = X.shape
    K = constants.shape[0]
    packed = whiteners.shape[0] // K
    n_second = second.shape[0] // K
    n_columns = (2 * D + ROWS - 1) // ROWS * ROWS
    tile = aligned_scratch(D * T, constants)
    about_mean = aligned_scratch(D * T, constants)
    joint = aligned_scratch(K * T, constants)
    filled = np.empty(0 if diagonal else K * D * T)
    panel = aligned_scratch(ROWS * T, constants)
    largest = aligned_scratch(T, constants)
    unused = aligned_scratch(T, constants)
    total = aligned_scratch(T, constants)
    share = aligned_scratch(T, constants)
    rows, present = np.empty(T * D), np.empty(T * D)
    missing, observed = np.empty(T * D, np.int64), np.empty(T * D, np.int64)
    n_missing, fresh = np.empty(T, np.int64), np.empty(T, np.bool_)
    square = 0 if diagonal else D * D
    factor, work, covariance = np.empty(square), np.empty(square), np.empty(square)
    offsets, completed = np.empty(D), np.empty(D)
    terms = np.zeros(T)
    tile_weights, density = np.empty(T), np.empty(T)
    active, best = np.empty(K, np.int64), np.empty(T, np.int64)
    reset_largest(unused, T)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_patterns(
                X, row, n, T, references, tile, rows, present, missing, observed, n_missing, fresh
            )
            load_weights(weights, row, n, tile_weights, T)
            reset_largest(largest, T)
            for k in range(K):
                subtract_reference(tile, T, D, references, nothing, k * D, about_mean)
                if diagonal:
                    complete_diagonal_tile(
                        whiteners, k, n, T, D, missing, n_missing, about_mean, terms
                    )
                    joint_log_density_diagonal(
                        about_mean, T, whiteners, k * D, nothing, 0, D, constants[k], joint,
                        k * T, unused,
                    )  # fmt: skip
                else:
                    complete_tile(
                        precisions, covariances, log_normalisers, references, k, n, T, D, rows,
                        present, missing, observed, n_missing, fresh, factor, work, offsets,
                        completed, about_mean, filled, terms,
                    )  # fmt: skip
                    joint_log_density(
                        about_mean, T, whiteners, k * packed, nothing, 0, D, constants[k], joint,
                        k * T, unused,
                    )  # fmt: skip
                add_terms(joint, k * T, terms, largest, T)
            if mode == LABELS:
                find_labels(joint, largest, T, K, best)
                for lane in range(n):
                    labels[row + lane] = best[lane]
                continue
            exponentiate(joint, largest, T, K, total, active)
            add_log_likelihood(largest, total, share, offset, tile_weights, T, density, likelihood)
            if mode == LOG_DENSITY:
                for lane in range(n):
                    log_density[row + lane] = density[lane]
            if mode == RESPONSIBILITIES:
                write_responsibilities(joint, total, T, K, row, n, responsibilities)
            if mode != MOMENTS:
                continue
            weigh_responsibilities(joint, total, tile_weights, T, K, active, share)
            for k in range(K):
                if active[k] == 0:
                    continue
                counts[k] += lane_sum(joint, k * T, T)
                subtract_reference(tile, T, D, references, nothing, k * D, about_mean)
                if diagonal:
                    for lane in range(n):
                        for i in range(n_missing[lane]):
                            about_mean[missing[lane * D + i] * T + lane] = 0.0
                    add_diagonal_moments(
                        about_mean, T, D, joint, k * T, first, diagonal_place(k, 0, n_columns)
                    )
                    add_variances(
                        covariances, k, n, T, D, n_columns, missing, n_missing, joint, first
                    )
                else:
                    refill_tile(k, n, T, D, missing, n_missing, filled, about_mean)
                    add_moments(
                        about_mean, T, D, joint, k * T, panel, first, k * D, second, k * n_second
                    )
                    add_conditional_covariances(
                        precisions, covariances, log_normalisers, k, n, T, D, missing, observed,
                        n_missing, fresh, joint, factor, work, covariance, second, k * n_second,
                    )  # fmt: skip
