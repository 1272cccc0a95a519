"""The pass of EM for mixtures of Student's t-distributions.

A pass as in ``mixture_pass``, with the same tiles, distances and moments. With the squared distance
δ = |W (x − m)|² and ν degrees of freedom, the log-density of a row is

    constant − (ν + D)/2 · log(1 + δ/ν),

and its moments are weighted by u = (ν + D)/(ν + δ) beside the responsibility (Peel and McLachlan,
2000, "Robust mixture modelling using the t distribution", Statistics and Computing 10).

Rows far out need no care of their own, as logarithms of distances keep all their digits; where the
square of a distance overflows, u is 0.

Symbols: N rows, D features, K components, T lanes of a tile, S accumulator slots.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_kernel, task_at
from fastgmm.kernels.densities import diagonal_densities, full_densities, reset_largest
from fastgmm.kernels.microkernels.moments import lane_sum
from fastgmm.kernels.microkernels.vector_math import log
from fastgmm.kernels.mixture_pass import (
    PassTask,
    finish_tile,
    whole_spans,
)
from fastgmm.kernels.moments import diagonal_moments, full_moments
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch, greatest, load_tile, load_weights

StudentTask = namedtuple("StudentTask", (*PassTask._fields, "halves", "inverse_dofs"))
"""A ``PassTask``, with what ``PassParameters`` has of t-distributions.

Its ``counts``, of shape (S, 3 * K), are sums of responsibilities, then of these times u, then of
these times log(1 + δ/ν).
"""

_FARTHEST = 2.0**-20
"""The largest square of a distance that counts, as a share of the greatest number."""


@inner_kernel(fastmath={"contract"})
def student_densities(joint, T, K, constants, halves, inverse_dofs, largest, scales, logs):
    """Turn −δ/2 into log-weights plus log-densities, and write u, log(1 + δ/ν) and the largest.

    ``contract`` leaves 1 + δ/ν rounded once, which the quotient below makes up for.
    """
    reset_largest(largest, T)
    one = joint.dtype.type(1.0)
    none = joint.dtype.type(0.0)
    farthest = greatest(joint) * joint.dtype.type(_FARTHEST)
    for k in range(K):
        at = k * T
        constant, half = constants[k], halves[k]
        twice = inverse_dofs[k] + inverse_dofs[k]
        gain = half * twice
        for lane in range(T):
            so_far = largest[lane]
            distance = -joint[at + lane]
            is_near = distance < farthest  # which NaN, of infinities that cancel, is not
            share = twice * (distance if is_near else farthest)
            above = one + share
            logarithm = log(above) + (share - (above - one)) / above
            value = constant - half * logarithm
            logs[at + lane] = logarithm
            scales[at + lane] = gain / above if is_near else none
            joint[at + lane] = value
            largest[lane] = value if value > so_far else so_far


@inner_kernel()
def scale_responsibilities(joint, scales, logs, T, K, active, counts):
    """Multiply responsibilities by u; add their sums, and those of them times the logarithms."""
    for k in range(K):
        if active[k]:
            at = k * T
            counts[k] += lane_sum(joint, at, T)
            for lane in range(T):
                logs[at + lane] *= joint[at + lane]
                joint[at + lane] *= scales[at + lane]
            counts[2 * K + k] += lane_sum(logs, at, T)


@slot_kernel()
def student_slot(address, slot):
    """Pass over the blocks of one slot."""
    task = task_at(address)
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    constants, offset, shared, diagonal = task.constants, task.offset, task.shared, task.diagonal
    halves, inverse_dofs = task.halves, task.inverse_dofs
    whiteners, shifts = task.whiteners, task.shifts
    center, center_low = task.center, task.center_low
    references, references_low = task.references, task.references_low
    counts, likelihood = task.counts[slot], task.likelihood[slot]
    first, second = task.first[slot], task.second[slot]
    log_density, labels, responsibilities = task.log_density, task.labels, task.responsibilities
    N, D = X.shape
    K = constants.shape[0]
    n_columns = (2 * D + ROWS - 1) // ROWS * ROWS if diagonal else D
    n_rows = (K + ROWS - 1) // ROWS * ROWS if diagonal else K
    n_about = 0 if shared else D
    kept = (n_columns + n_rows) * T
    lanes = aligned_scratch(kept + (2 * K + n_about + ROWS + 3) * T, constants)
    tile, joint, rest = lanes[: n_columns * T], lanes[n_columns * T : kept], lanes[kept:]
    scales, logs, rest = rest[: K * T], rest[K * T : 2 * K * T], rest[2 * K * T :]
    about_mean, rest = rest[: n_about * T], rest[n_about * T :]
    panel, rest = rest[: ROWS * T], rest[ROWS * T :]
    largest, total, factor = rest[:T], rest[T : 2 * T], rest[2 * T :]
    doubles, integers = np.empty(2 * T), np.empty(T + K, np.int64)
    tile_weights, density = doubles[:T], doubles[T:]
    best, active = integers[:T], integers[T:]
    nothing = aligned_scratch(K, constants)
    nothing[:] = 0.0
    tile[D * T :] = 0.0
    joint[K * T :] = 0.0
    scaled = counts[K : 2 * K]
    spans = whole_spans(K, T)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_tile(X, row, n, center, center_low, tile, T)
            load_weights(weights, row, n, tile_weights, T)
            if diagonal:
                diagonal_densities(
                    tile, T, D, K, shared, whiteners, shifts, nothing, references,
                    references_low, about_mean, joint, largest,
                )  # fmt: skip
            else:
                full_densities(
                    tile, T, D, K, shared, whiteners, shifts, nothing, references,
                    references_low, about_mean, joint, largest, np.inf, 0, spans,
                )  # fmt: skip
            student_densities(joint, T, K, constants, halves, inverse_dofs, largest, scales, logs)
            if not finish_tile(
                row, n, T, K, mode, joint, largest, best, total, factor, offset, tile_weights,
                density, likelihood, spans, active, log_density, labels, responsibilities,
            ):  # fmt: skip
                continue
            scale_responsibilities(joint, scales, logs, T, K, active, counts)
            if diagonal:
                diagonal_moments(
                    tile, T, D, K, n_columns, shared, references, references_low, about_mean,
                    joint, active, scaled, first,
                )  # fmt: skip
            else:
                full_moments(
                    tile, T, D, K, shared, references, references_low, about_mean, joint, active,
                    spans, panel, scaled, first, second,
                )  # fmt: skip
