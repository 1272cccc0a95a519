"""The pass of EM: log-densities, log-sum-exp, responsibilities and moments, tile by tile.

Symbols: N rows, D features, K components, T lanes of a tile, S accumulator slots.

What is wanted comes out; nothing of size N × K is stored unless responsibilities are asked for.
A tile is handled in four steps, each over all lanes at once:

1. its rows are transposed into lanes (``tiles.load_tile``);
2. per component, log-weight plus log-density while the largest is kept (``densities``; Bishop,
   PRML, eq. 9.23);
3. exponentials about the largest, their sum, and from it the log-density of the mixture;
4. per component, the moments of the points weighted by responsibility (``moments``;
   eqs. 9.24–9.27).

Rows too far from all components for this are seen to between steps three and four (``far_rows``).

Where components lie apart, rows are sorted first, and components far from all of a tile are left
out of all steps (``pruning``).

Rows are taken about one *shared* center where the caller found that this loses less than the
last digits (``PassParameters.shared``), else about each component's own mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_address, slot_kernel, task_at
from fastgmm.kernels.densities import diagonal_densities, full_densities
from fastgmm.kernels.far_rows import count_far, lowest_density, mend_exponentials, mend_labels
from fastgmm.kernels.kmeans_pass import (
    ASSIGNING,
    KMEANS,
    LLOYD,
    LLOYD_BY_PRODUCTS,
    add_sums,
    kmeans_tile,
    lloyd_scratch,
)
from fastgmm.kernels.microkernels.densities import find_labels
from fastgmm.kernels.microkernels.kmeans import find_cheapest
from fastgmm.kernels.microkernels.tiles import whiten
from fastgmm.kernels.microkernels.vector_math import exp, log
from fastgmm.kernels.moments import diagonal_moments, first_moments, full_moments
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.tiles import (
    BLOCK_ROWS,
    aligned_scratch,
    load_tile,
    load_weights,
)

# What a pass is run for; exactly one of these, or of those in ``kmeans_pass``, or the sum of
# moments and labels.
LOG_LIKELIHOOD = 1
MOMENTS = 2
LOG_DENSITY = 4
LABELS = 8
RESPONSIBILITIES = 16
GIVEN_LABELS = 32
GIVEN_RESPONSIBILITIES = 64
GIVEN = GIVEN_LABELS | GIVEN_RESPONSIBILITIES

# What the tasks of all passes have, besides the parameters.
ROW_MEMBERS = ("X", "weights", "first_block", "lanes", "mode", "n_slots")
RESULT_MEMBERS = (
    "counts", "first", "second", "likelihood", "log_density", "labels", "responsibilities",
)  # fmt: skip

# A component whose responsibilities in a tile sum to less than this adds no moments: even a million
# such tiles move the mean of a component with one point by less than 1e-19 standard deviations.
_NEGLIGIBLE = 1e-26


class PassParameters(NamedTuple):
    """A mixture as the kernels read it, in the type that they compute in.

    Parameters
    ----------
    constants : ndarray of shape (K,)
        Log-weights plus log-normalizers, less ``offset``.
    offset : float
        The largest of those sums: added back in double precision.
    whiteners : ndarray of shape (K * packed length,) or (K * D,)
        Packed lower triangles, or inverse standard deviations.
    shifts : ndarray of shape (K * D,)
        Whitener × (center − mean): what is added to a whitened row.
    center, center_low : ndarray of shape (D,)
        What is subtracted from every row, as a sum of two numbers; zero if not ``shared``.
    references, references_low : ndarray of shape (K * D,)
        The means, as sums of two numbers; read only if not ``shared``.
    shared : bool
        Whether all components' moments are about the center.
    pooled : bool
        Whether all components share one whitener, and second moments are wanted of all rows
        together only: rows are whitened once then, and not for each component.
    slopes, intercepts : ndarray of shape (K * D,), ndarray of shape (K,)
        Functions that are affine in a row about the center, the least of which says which component
        it is near to; empty where it does not pay to sort rows by that (``pruning``).
    halves, inverse_dofs : ndarray of shape (K,) or None
        Of t-distributions, (ν + D)/2 and 1/ν for ν degrees of freedom (``student_pass``).
    """

    constants: np.ndarray
    offset: float
    whiteners: np.ndarray
    shifts: np.ndarray
    center: np.ndarray
    center_low: np.ndarray
    references: np.ndarray
    references_low: np.ndarray
    shared: bool
    pooled: bool
    slopes: np.ndarray
    intercepts: np.ndarray
    halves: np.ndarray | None = None
    inverse_dofs: np.ndarray | None = None


class PassTask(NamedTuple):
    """All that a pass reads and writes: flat, for ``prange`` cannot take tuples in tuples.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Rows, of any strides; the first is the first of a block.
    weights : ndarray of shape (N,) or (0,)
        Weights of the rows; none for ones.
    first_block : int
        Global number of the block of the first row.
    lanes : int
        Lanes of a tile, T.
    diagonal : bool
        Whether the whiteners are vectors.
    mode : int
        What the pass is run for: one of the constants above.
    n_slots : int
        S; the accumulators may hold fewer where there are fewer blocks.
    constants, offset, whiteners, shifts, center, center_low, references, references_low, shared, \
            pooled
        As in ``PassParameters``.
    margin : float
        How far below the largest log-weight plus log-density another one is of no interest;
        infinite if rows are not sorted.
    near : ndarray of int64 of shape (N,)
        A component that each row is near to, in ascending order within a block; read if the margin
        is finite.
    counts : ndarray of shape (S, K)
        Sums of weighted responsibilities, as all sums in double precision.
    first : ndarray of shape (S, K * D)
        Sums of responsibility × row; with diagonal structures, those of responsibility × row²
        too, in the order of ``diagonal_place``, as are pooled ones.
    second : ndarray of shape (S, K * blocks * 16)
        Lower triangles of the second moments in blocks (``unpack_blocks``); empty with diagonal
        structures, and only one triangle if pooled.
    likelihood : ndarray of shape (S, T)
        Weighted log-densities, lane by lane.
    log_density : ndarray of shape (N,)
        Log-density of the mixture, in nats; this and what follows is empty unless asked for.
    labels : ndarray of shape (N,)
        Most probable component. Read where they are given: −1 leaves a row out then; and, if
        there are any, for moments and likelihoods, where they say which component a row is known
        to come from, or −1.
    responsibilities : ndarray of shape (N, K)
        Posterior probabilities of the components.
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
    whiteners: np.ndarray
    shifts: np.ndarray
    center: np.ndarray
    center_low: np.ndarray
    references: np.ndarray
    references_low: np.ndarray
    shared: bool
    pooled: bool
    margin: float
    near: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray
    likelihood: np.ndarray
    log_density: np.ndarray
    labels: np.ndarray
    responsibilities: np.ndarray


@inner_kernel()
def whole_spans(K, T):
    """Return, for each component, the first lane of interest and the first past them: all of T."""
    spans = np.empty(2 * K, np.int64)
    for k in range(K):
        spans[2 * k], spans[2 * k + 1] = 0, T
    return spans


@inner_kernel(rare=True)
def fill_left_out(joint, T, K, spans):
    """Write zeros where exponentials were left out, and make all lanes of interest."""
    for k in range(K):
        if spans[2 * k] >= spans[2 * k + 1]:
            for lane in range(T):
                joint[k * T + lane] = 0.0
        spans[2 * k], spans[2 * k + 1] = 0, T


@inner_kernel(fastmath={"reassoc", "contract"})
def exponentiate(joint, largest, T, K, spans, total, active):
    """Replace log-densities by exponentials about the largest; sum them over components.

    ``reassoc`` lets the sum over lanes be kept in vector lanes; it does not reach into ``exp``,
    which is compiled with flags of its own.
    """
    for lane in range(T):
        total[lane] = 0.0
    for k in range(K):
        at = k * T
        mass = joint.dtype.type(0.0)
        # all lanes, and not the span: a loop that does not begin at 0 would not be vectorized
        for lane in range(T if spans[2 * k] < spans[2 * k + 1] else 0):
            e = exp(joint[at + lane] - largest[lane])
            joint[at + lane] = e
            total[lane] += e
            mass += e
        active[k] = mass > _NEGLIGIBLE


@inner_kernel(fastmath={"contract"})
def add_log_likelihood(largest, total, logarithms, offset, tile_weights, T, density, sums):
    """Write the log-densities of the mixture in double precision and add them to the lanes.

    Logarithms have a loop of their own, which in single precision takes twice as many lanes.
    """
    for lane in range(T):
        logarithms[lane] = log(total[lane])
    for lane in range(T):
        density[lane] = np.float64(largest[lane]) + np.float64(logarithms[lane]) + offset
    for lane in range(T):
        weight = tile_weights[lane]
        sums[lane] += weight * density[lane] if weight > 0.0 else 0.0


@inner_kernel()
def weigh_responsibilities(joint, total, tile_weights, T, K, active, factor):
    """Turn exponentials into responsibilities times the weights of the rows."""
    for lane in range(T):
        weight = factor.dtype.type(tile_weights[lane])
        factor[lane] = weight / total[lane] if total[lane] > 0.0 else factor.dtype.type(0.0)
    for k in range(K):
        if active[k]:
            for lane in range(T):
                joint[k * T + lane] *= factor[lane]


@inner_kernel()
def keep_known(labels, row, n, T, K, joint, largest):
    """Rule out all components but the one that a row is known to come from."""
    for lane in range(n):
        known = labels[row + lane]
        if known >= 0:
            largest[lane] = joint[known * T + lane]
            for k in range(K):
                if k != known:
                    joint[k * T + lane] = -np.inf


@inner_kernel()
def load_given(
    labels, given, by_label, row, n, tile_weights, T, K, responsibilities, active
):  # fmt: skip
    """Fill the tile's weighted responsibilities from given labels or responsibilities."""
    for k in range(K):
        at = k * T
        count = 0
        for lane in range(n):
            if by_label:
                r = 1.0 if labels[row + lane] == k else 0.0
            else:
                r = np.float64(given[row + lane, k])
            responsibilities[at + lane] = r * tile_weights[lane]
            count += r > 0.0
        for lane in range(n, T):
            responsibilities[at + lane] = 0.0
        active[k] = count


@inner_kernel()
def write_responsibilities(joint, total, T, K, row, n, out):
    """Write exponentials over their total, row by row."""
    for lane in range(n):
        scale = 1.0 / np.float64(total[lane]) if total[lane] > 0.0 else 0.0
        for k in range(K):
            out[row + lane, k] = joint[k * T + lane] * scale


@inner_kernel()
def finish_tile(
    row, n, T, K, mode, joint, largest, best, total, factor, offset, tile_weights, density,
    likelihood, spans, active, log_density, labels, responsibilities,
):  # fmt: skip
    """Do all that is wanted of a tile's log-densities but moments; say whether these are.

    For passes whose densities need no mending of far rows.
    """
    if mode == LABELS:
        find_labels(joint, largest, T, K, best)
        for lane in range(n):
            labels[row + lane] = best[lane]
        return False
    if labels.shape[0] > 0 and mode & (MOMENTS | LOG_LIKELIHOOD):
        keep_known(labels, row, n, T, K, joint, largest)
    exponentiate(joint, largest, T, K, spans, total, active)
    add_log_likelihood(largest, total, factor, offset, tile_weights, T, density, likelihood)
    if mode == LOG_DENSITY:
        for lane in range(n):
            log_density[row + lane] = density[lane]
    if mode == RESPONSIBILITIES:
        write_responsibilities(joint, total, T, K, row, n, responsibilities)
    if mode == MOMENTS:
        weigh_responsibilities(joint, total, tile_weights, T, K, active, factor)
        return True
    return False


@slot_kernel()
def mixture_slot(address, slot):
    """Pass over the blocks of one slot."""
    task = task_at(address)
    # Members of tuples and rows of arrays are taken once: each time counts a reference.
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    constants, offset, shared, diagonal = task.constants, task.offset, task.shared, task.diagonal
    pooled, margin, near = task.pooled, task.margin, task.near
    whiteners, shifts = task.whiteners, task.shifts
    center, center_low = task.center, task.center_low
    references, references_low = task.references, task.references_low
    counts, likelihood = task.counts[slot], task.likelihood[slot]
    first, second = task.first[slot], task.second[slot]
    log_density, labels, responsibilities = task.log_density, task.labels, task.responsibilities
    N, D = X.shape
    K = constants.shape[0]
    # about a shared center, products of responsibilities and features are taken four by four
    n_columns = (2 * D if diagonal else D) + ROWS - 1
    n_columns = n_columns // ROWS * ROWS if diagonal or pooled else D
    n_rows = (K + ROWS - 1) // ROWS * ROWS if diagonal or pooled else K
    n_white, n_about = D if pooled else 0, 0 if shared else D
    # One piece of memory: to get one takes as long as to work on a few lanes.
    kept = (n_columns + n_rows) * T
    lanes = aligned_scratch(kept + (n_white + n_about + ROWS + 3) * T, constants)
    tile, joint, rest = lanes[: n_columns * T], lanes[n_columns * T : kept], lanes[kept:]
    white, rest = rest[: n_white * T], rest[n_white * T :]
    about_mean, rest = rest[: n_about * T], rest[n_about * T :]
    panel, rest = rest[: ROWS * T], rest[ROWS * T :]
    largest, total, factor = rest[:T], rest[T : 2 * T], rest[2 * T :]
    doubles, integers = np.empty(2 * T), np.empty(T + K, np.int64)
    tile_weights, density = doubles[:T], doubles[T:]
    best, active = integers[:T], integers[T:]
    scales = aligned_scratch(K * D, constants) if pooled else whiteners
    points = white if pooled else tile
    if shared or mode & KMEANS:
        tile[D * T :] = 0.0
        joint[K * T :] = 0.0
    # what second moments are taken of: pooled, of the rows as if they were of one component
    n_second, present, weights_of_second = K, active, joint
    second_counts, second_first = counts, first
    if pooled:
        scales[:] = 1.0
        n_second, present, weights_of_second = 1, np.empty(1, np.int64), factor
        present[0] = 1
        second_counts, second_first = np.empty(1), np.empty(D)
    some_known = labels.shape[0] > 0 and mode in (MOMENTS, LOG_LIKELIHOOD)
    known = labels if some_known else labels[:0]
    n_centers = K if mode & (LLOYD | LLOYD_BY_PRODUCTS) else 0
    padded, costs, member_sums = shifts, shifts, density  # read by Lloyd's passes only
    if n_centers > 0:
        padded, costs, member_sums = lloyd_scratch(shifts, whiteners, D, K)
    lowest = lowest_density(constants)
    if mode == LLOYD_BY_PRODUCTS:
        lowest = -np.inf  # affine functions lose no digits far out
    spans = whole_spans(K, T)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            leading = near[row] if margin < np.inf else 0
            load_tile(X, row, n, center, center_low, tile, T)
            load_weights(weights, row, n, tile_weights, T)
            if mode & GIVEN:
                load_given(
                    labels, responsibilities, mode == GIVEN_LABELS, row, n, tile_weights, T, K,
                    joint, active,
                )  # fmt: skip
            else:
                if mode == LLOYD_BY_PRODUCTS:
                    step = padded.shape[0] // K
                    find_cheapest(tile, T, D, padded, step, costs, K, best, largest)
                elif diagonal or pooled:
                    if pooled:
                        whiten(tile, T, D, whiteners, white)
                    diagonal_densities(
                        points, T, D, K, shared, scales, shifts, constants, references,
                        references_low, about_mean, joint, largest,
                    )  # fmt: skip
                else:
                    full_densities(
                        tile, T, D, K, shared, whiteners, shifts, constants, references,
                        references_low, about_mean, joint, largest, margin, leading, spans,
                    )  # fmt: skip
                if mode & (LABELS | ASSIGNING):
                    if mode != LLOYD_BY_PRODUCTS:
                        find_labels(joint, largest, T, K, best)
                    for lane in range(n):
                        density[lane] = largest[lane]
                    mend_labels(
                        X, row, n, references, references_low, whiteners, constants, diagonal, D,
                        K, largest, lowest, best, density,
                    )  # fmt: skip
                if mode & KMEANS:
                    kmeans_tile(
                        row, n, T, D, K, mode, whiteners[0], tile, joint, largest, best, density,
                        tile_weights, padded, member_sums, counts, likelihood, labels, log_density,
                    )  # fmt: skip
                    continue
                if mode & LABELS:
                    for lane in range(n):
                        labels[row + lane] = best[lane]
                if mode == LABELS:
                    continue
                if some_known:
                    keep_known(labels, row, n, T, K, joint, largest)
                exponentiate(joint, largest, T, K, spans, total, active)
                if count_far(largest, total, n, lowest) > 0:
                    if margin < np.inf:
                        fill_left_out(joint, T, K, spans)
                    mend_exponentials(
                        X, row, n, T, references, references_low, whiteners, constants, diagonal,
                        D, K, known, joint, largest, total, lowest, active, _NEGLIGIBLE,
                    )  # fmt: skip
                add_log_likelihood(
                    largest, total, factor, offset, tile_weights, T, density, likelihood
                )
                if mode == LOG_DENSITY:
                    for lane in range(n):
                        log_density[row + lane] = density[lane]
                if mode == RESPONSIBILITIES:
                    write_responsibilities(joint, total, T, K, row, n, responsibilities)
                if mode & MOMENTS:
                    weigh_responsibilities(joint, total, tile_weights, T, K, active, factor)
            if mode & (MOMENTS | GIVEN) and diagonal:
                diagonal_moments(
                    tile, T, D, K, n_columns, shared, references, references_low, about_mean,
                    joint, active, counts, first,
                )  # fmt: skip
            elif mode & (MOMENTS | GIVEN):
                if pooled:
                    first_moments(tile, T, K, n_columns, joint, active, counts, first)
                    for lane in range(T):
                        factor[lane] *= total[lane]
                full_moments(
                    tile, T, D, n_second, shared, references, references_low, about_mean,
                    weights_of_second, present, spans, panel, second_counts, second_first, second,
                )  # fmt: skip
    add_sums(member_sums, D, n_centers, first)


def pass_address() -> Any:
    """Return what ``call_slot`` runs passes in double precision by: the code of every such pass."""
    vector, matrix = np.empty(0), np.empty((0, 0))
    members = dict.fromkeys(PassTask._fields, vector)
    members |= dict.fromkeys(("first_block", "lanes", "mode", "n_slots"), 0)
    members |= dict.fromkeys(("diagonal", "shared", "pooled"), False)
    members |= dict.fromkeys(("offset", "margin"), 0.0)
    members |= dict.fromkeys(("X", "counts", "first", "second", "likelihood"), matrix)
    members |= dict.fromkeys(("labels", "near"), np.empty(0, np.int64))
    members |= {"responsibilities": matrix}
    return slot_address(mixture_slot, PassTask(**members))
