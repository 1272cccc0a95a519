"""The pass of EM over rows of any patterns of missing values, row by row completed.

Symbols: N rows, D features, K components, T lanes of a tile, S accumulator slots.

A tile is handled as in ``mixture_pass``, about each component's own mean, except that under each
component what is missing in a row is first filled in by its conditional mean (``completion``).
The moments of the rows so completed, and the conditional covariance of what was filled in, are the
expected moments of the complete data (Ghahramani and Jordan, 1994, "Supervised learning from
incomplete data via an EM approach", NIPS 6, section 3).

This takes a factorization for each component and pattern; rows of one pattern should follow each
other.  All is computed in double precision: it is precisions, squares of whiteners, that rows are
completed with.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_kernel, task_at
from fastgmm.kernels.completion import complete_lanes, covariance_lanes
from fastgmm.kernels.densities import reset_largest
from fastgmm.kernels.microkernels.densities import (
    joint_log_density,
    joint_log_density_diagonal,
)
from fastgmm.kernels.microkernels.moments import add_diagonal_moments, add_moments, lane_sum
from fastgmm.kernels.microkernels.tiles import subtract_reference
from fastgmm.kernels.mixture_pass import (
    RESULT_MEMBERS,
    ROW_MEMBERS,
    finish_tile,
    whole_spans,
)
from fastgmm.kernels.moments import diagonal_place
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch, load_weights

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class CompletionParameters(NamedTuple):
    """A mixture as rows are completed with it.

    Parameters
    ----------
    constants : ndarray of shape (K,)
        Log-weights plus log-normalizers, less ``offset``.
    offset : float
        The largest of those sums.
    log_normalizers : ndarray of shape (K,)
        Log-density of each component at its mean.
    whiteners : ndarray of shape (K * packed length,) or (K * D,)
        Packed lower triangles, or inverse standard deviations.
    precisions, covariances : ndarray of shape (K * D * P,)
        Λ and Σ of every component, row by row, each padded with zeros to P numbers. For diagonal
        covariances, nothing and the K * D variances.
    centers : ndarray of shape (K * P,)
        The means, padded likewise.
    references : ndarray of shape (K * D,)
        The means.
    nothing : ndarray of shape (K * D,)
        Zeros: what is added to whitened rows, and the lower halves of the references.
    """

    constants: np.ndarray
    offset: float
    log_normalizers: np.ndarray
    whiteners: np.ndarray
    precisions: np.ndarray
    covariances: np.ndarray
    centers: np.ndarray
    references: np.ndarray
    nothing: np.ndarray

    @property
    def pooled(self) -> bool:
        """Second moments are those of each component: rows lack other values each."""
        return False


IncompleteTask = namedtuple(
    "IncompleteTask",
    (*ROW_MEMBERS, "diagonal", *CompletionParameters._fields, *RESULT_MEMBERS),
)
"""All that the pass reads and writes, as described in ``mixture_pass.PassTask``."""


@inner_kernel()
def load_patterns(
    X, row, n, T, P, references, tile, rows, present, missing, observed, n_missing, n_observed
):  # fmt: skip
    """Fill a tile, feature by feature, and what is known of the patterns of its rows.

    Lanes from ``n`` on hold the first component's mean, and neither miss nor have a value.

    Parameters
    ----------
    X, row, n : ndarray of shape (N, D), int, int
        Rows, the first one to load, and how many.
    T, P : int
        Number of lanes, and length of a padded row.
    references : ndarray of shape (K * D,)
        The means.
    tile : ndarray of shape (D * T,)
        Receives the values, 0 where missing.
    rows, present, missing, observed, n_missing, n_observed : ndarray
        Receive what ``completion.complete_lanes`` reads.
    """
    D = X.shape[1]
    for lane in range(n):
        m = o = 0
        for j in range(D):
            value = np.float64(X[row + lane, j])
            absent = np.isnan(value)
            value = 0.0 if absent else value
            rows[lane * P + j] = value
            tile[j * T + lane] = value
            present[lane * P + j] = 0.0 if absent else 1.0
            if absent:
                missing[lane * D + m] = j
                m += 1
            else:
                observed[lane * D + o] = j
                o += 1
        n_missing[lane], n_observed[lane] = m, o
    for lane in range(n, T):
        n_missing[lane] = n_observed[lane] = 0
        for j in range(D):
            tile[j * T + lane] = references[j]


@inner_kernel()
def fill_tile(values, missing, n_missing, D, T, kept, at, about_mean):
    """Write what is missing in a tile, and keep it from place ``at`` on."""
    for lane in range(T):
        for i in range(n_missing[lane]):
            place = missing[lane * D + i] * T + lane
            about_mean[place] = values[i * T + lane]
            kept[at + place] = values[i * T + lane]


@inner_kernel()
def refill_tile(missing, n_missing, D, T, kept, at, about_mean):
    """Write what was kept where it is missing in a tile."""
    for lane in range(T):
        for i in range(n_missing[lane]):
            place = missing[lane * D + i] * T + lane
            about_mean[place] = kept[at + place]


@inner_kernel()
def clear_missing(missing, n_missing, D, T, about_mean):
    """Write the mean where a value is missing in a tile."""
    for lane in range(T):
        for i in range(n_missing[lane]):
            about_mean[missing[lane * D + i] * T + lane] = 0.0


@inner_kernel()
def diagonal_terms(log_scales, k, D, missing, n_missing, terms):
    """Write what is added to the log-densities of rows, where features are independent."""
    for lane in range(len(terms)):
        term = 0.0
        for i in range(n_missing[lane]):
            term += _HALF_LOG_TWO_PI - log_scales[k * D + missing[lane * D + i]]
        terms[lane] = term


@inner_kernel()
def add_terms(joint, at, terms, largest):
    """Add what the completed rows' log-densities lack, and raise the running maximum."""
    for lane in range(len(terms)):
        value = joint[at + lane] + terms[lane]
        joint[at + lane] = value
        largest[lane] = value if value > largest[lane] else largest[lane]


@inner_kernel()
def find_places(missing, n_missing, D, T, row_places, column_places):
    """Write where the rows and columns of what is missing are in ``packing.unpack_blocks``.

    Entry (i, j) of the lower triangle is at the sum of the place of row i and that of column j.
    """
    for lane in range(T):
        for i in range(lane * D, lane * D + n_missing[lane]):
            panel, within = divmod(missing[i], ROWS)
            row_places[i] = (panel * (panel + 1) // 2 * ROWS + within) * ROWS
            column_places[i] = panel * ROWS * ROWS + within


@inner_kernel()
def add_conditional(
    conditional, row_places, column_places, n_missing, order, k, D, T, shares, blocks, n_second
):  # fmt: skip
    """Add the conditional covariances of what is missing, weighted by responsibility.

    The blocks of ``packing.unpack_blocks`` are ``n_second`` numbers for each component.
    """
    for lane in range(T):
        share = shares[k * T + lane]
        at = lane * D
        for i in range(n_missing[lane]):
            start = k * n_second + row_places[at + i]
            entry = i * order * T + lane
            for j in range(i + 1):
                place = start + column_places[at + j]
                blocks[place] += share * conditional[entry + j * T]


@inner_kernel()
def add_variances(variances, missing, n_missing, k, D, T, shares, products, n_columns):
    """Add the variances of what is missing, weighted, where features are independent."""
    for lane in range(T):
        share = shares[k * T + lane]
        for i in range(n_missing[lane]):
            j = missing[lane * D + i]
            products[diagonal_place(k, D + j, n_columns)] += share * variances[k * D + j]


@slot_kernel()
def incomplete_slot(address, slot):
    """Pass over the blocks of one slot."""
    task = task_at(address)
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    constants, offset, diagonal = task.constants, task.offset, task.diagonal
    log_normalizers, whiteners, nothing = task.log_normalizers, task.whiteners, task.nothing
    precisions, covariances = task.precisions, task.covariances
    centers, references = task.centers, task.references
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
    panel = aligned_scratch(ROWS * T, constants)
    largest = aligned_scratch(T, constants)
    unused = aligned_scratch(T, constants)
    total = aligned_scratch(T, constants)
    share = aligned_scratch(T, constants)
    P = centers.shape[0] // K
    rows, present = np.zeros(T * P), np.zeros(T * P)
    missing, observed = np.empty(T * D, np.int64), np.empty(T * D, np.int64)
    n_missing, n_observed = np.empty(T, np.int64), np.empty(T, np.int64)
    row_places, column_places = np.empty(T * D, np.int64), np.empty(T * D, np.int64)
    # of no use where features are independent
    square = 0 if diagonal else D * D * T
    factors, solved, conditional = np.empty(square), np.empty(square), np.empty(square)
    kept, values = np.empty(0 if diagonal else K * D * T), np.empty(D * T)
    offsets, ones = np.zeros(P), np.ones(T)
    pivots, signs = np.empty(T), np.empty(T)
    log_scales = np.log(whiteners) if diagonal else whiteners
    terms = np.empty(T)
    tile_weights, density = np.empty(T), np.empty(T)
    active, best = np.empty(K, np.int64), np.empty(T, np.int64)
    reset_largest(unused, T)
    spans = whole_spans(K, T)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_patterns(
                X, row, n, T, P, references, tile, rows, present, missing, observed, n_missing,
                n_observed,
            )  # fmt: skip
            most_missing, most_observed = n_missing.max(), n_observed.max()
            load_weights(weights, row, n, tile_weights, T)
            reset_largest(largest, T)
            for k in range(K):
                subtract_reference(tile, T, D, references, nothing, k * D, about_mean)
                if diagonal:
                    clear_missing(missing, n_missing, D, T, about_mean)
                    diagonal_terms(log_scales, k, D, missing, n_missing, terms)
                    joint_log_density_diagonal(
                        about_mean, T, whiteners, k * D, nothing, 0, D, constants[k], joint,
                        k * T, unused,
                    )  # fmt: skip
                else:
                    complete_lanes(
                        precisions, covariances, log_normalizers[k], centers, k, D, T, rows,
                        present, missing, observed, n_missing, n_observed, most_missing,
                        most_observed, factors, values, offsets, ones, pivots, terms,
                    )  # fmt: skip
                    fill_tile(values, missing, n_missing, D, T, kept, k * D * T, about_mean)
                    joint_log_density(
                        about_mean, T, whiteners, k * packed, nothing, 0, D, constants[k], joint,
                        k * T, unused, np.inf, spans, k,
                    )  # fmt: skip
                add_terms(joint, k * T, terms, largest)
            if not finish_tile(
                row, n, T, K, mode, joint, largest, best, total, share, offset, tile_weights,
                density, likelihood, spans, active, log_density, labels, responsibilities,
            ):  # fmt: skip
                continue
            find_places(missing, n_missing, D, T, row_places, column_places)
            for k in range(K):
                if active[k] == 0:
                    continue
                counts[k] += lane_sum(joint, k * T, T)
                subtract_reference(tile, T, D, references, nothing, k * D, about_mean)
                if diagonal:
                    clear_missing(missing, n_missing, D, T, about_mean)
                    add_diagonal_moments(
                        about_mean, T, D, joint, k * T, first, diagonal_place(k, 0, n_columns)
                    )
                    add_variances(covariances, missing, n_missing, k, D, T, joint, first, n_columns)
                    continue
                refill_tile(missing, n_missing, D, T, kept, k * D * T, about_mean)
                add_moments(
                    about_mean, T, 0, T, D, joint, k * T, panel, first, k * D, second, k * n_second
                )
                covariance_lanes(
                    precisions, covariances, k, D, P, T, missing, observed, n_missing, n_observed,
                    most_missing, most_observed, factors, solved, conditional, ones, pivots, signs,
                    terms,
                )  # fmt: skip
                add_conditional(
                    conditional, row_places, column_places, n_missing, most_missing, k, D, T,
                    joint, second, n_second,
                )  # fmt: skip
