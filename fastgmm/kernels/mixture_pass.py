"""The pass of EM: log-densities, log-sum-exp, responsibilities and moments, tile by tile.

Symbols: N rows, D features, K components, T lanes of a tile, S accumulator slots.

What is wanted comes out; nothing of size N × K is stored unless responsibilities are asked for.
A tile is handled in four steps, each over all lanes at once:

1. its rows are transposed into lanes (``tiles.load_tile``);
2. per component, log-weight plus log-density (``microkernels.joint_log_density``) while the
   largest is kept (Bishop, PRML, eq. 9.23);
3. exponentials about the largest, their sum, and from it the log-density of the mixture;
4. per component, the moments of the points weighted by responsibility (eqs. 9.24–9.27).

Rows are taken about one *shared* centre where the caller found that this loses less than the
last digits (``PassParameters.shared``), else about each component's own mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels import (
    ROWS,
    add_moments,
    joint_log_density,
)
from fastgmm.kernels.tiles import (
    BLOCK_ROWS,
    aligned_scratch,
    lane_sum,
    lanes_of,
    load_tile,
    load_weights,
    subtract_reference,
)
from fastgmm.kernels.vector_math import exp, log

MOMENTS = 1
LOG_DENSITY = 2
LABELS = 4
RESPONSIBILITIES = 8
GIVEN_LABELS = 16
GIVEN_RESPONSIBILITIES = 32

# A component whose responsibilities in a tile are all below this adds no moments: even a million
# such points move a mean by less than 1e-20 standard deviations of a component with one point.
_NEGLIGIBLE = 1e-26
# finite, so that lanes where every log-density is −inf do not become NaN
_LOWEST = -1e38


class PassParameters(NamedTuple):
    """A mixture as the kernels read it, in the type of the data.

    Parameters
    ----------
    constants : ndarray of shape (K,)
        Log-weights plus log-normalisers, less ``offset``.
    offset : float
        The largest of those sums: added back in double precision.
    whiteners : ndarray of shape (K * packed length,) or (K * D,)
        Packed lower triangles, or inverse standard deviations.
    shifts : ndarray of shape (K * D,)
        Whitener × (centre − mean): what is added to a whitened row.
    centre, centre_low : ndarray of shape (D,)
        What is subtracted from every row, as a sum of two numbers; zero if not ``shared``.
    references, references_low : ndarray of shape (K * D,)
        The means, as sums of two numbers; read only if not ``shared``.
    shared : bool
        Whether all components' moments are about the centre.
    """

    constants: np.ndarray
    offset: float
    whiteners: np.ndarray
    shifts: np.ndarray
    centre: np.ndarray
    centre_low: np.ndarray
    references: np.ndarray
    references_low: np.ndarray
    shared: bool


class Accumulators(NamedTuple):
    """Where the slots add up what they see, always in double precision.

    Parameters
    ----------
    counts : ndarray of shape (S, K)
        Sums of weighted responsibilities.
    first : ndarray of shape (S, K * D)
        Sums of responsibility × row; with diagonal structures, those of responsibility × row²
        too, in the order of ``diagonal_place``.
    second : ndarray of shape (S, K * blocks * 16)
        Lower triangles of the second moments in blocks (``unpack_blocks``); empty with diagonal
        structures.
    log_likelihood : ndarray of shape (S, T)
        Weighted log-densities, lane by lane.
    """

    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray
    log_likelihood: np.ndarray


class RowValues(NamedTuple):
    """Values of single rows: written if asked for, read if given; empty otherwise.

    Parameters
    ----------
    log_density : ndarray of shape (N,)
        Log-density of the mixture, in nats.
    labels : ndarray of shape (N,)
        Most probable component; where given, −1 leaves a row out.
    responsibilities : ndarray of shape (N, K)
        Posterior probabilities of the components.
    """

    log_density: np.ndarray
    labels: np.ndarray
    responsibilities: np.ndarray


@kernel()
def write_labels(joint, largest, T, row, n, labels):
    """Write the first component whose log-density is the largest."""
    n_components = joint.shape[0] // T
    for lane in range(n):
        labels[row + lane] = 0
    for k in range(n_components - 1, 0, -1):
        at = k * T
        for lane in range(n):
            if joint[at + lane] == largest[lane]:
                labels[row + lane] = k
    for lane in range(n):
        if joint[lane] == largest[lane]:
            labels[row + lane] = 0


@kernel(fastmath={"contract"})
def exponentiate(joint, largest, T, K, total, active):
    """Replace log-densities by exponentials about the largest; sum them over components."""
    for lane in range(T):
        total[lane] = 0.0
    for k in range(K):
        at = k * T
        count = 0
        for lane in range(T):
            e = exp(joint[at + lane] - largest[lane])
            joint[at + lane] = e
            total[lane] += e
            count += e > _NEGLIGIBLE
        active[k] = count


@kernel(fastmath={"contract"})
def add_log_likelihood(largest, total, offset, tile_weights, T, density, sums):
    """Write the log-densities of the mixture in double precision and add them to the lanes."""
    for lane in range(T):
        density[lane] = np.float64(largest[lane]) + np.float64(log(total[lane])) + offset
    for lane in range(T):
        weight = tile_weights[lane]
        sums[lane] += weight * density[lane] if weight > 0.0 else 0.0


@kernel()
def reciprocal_totals(total, tile_weights, T, factor):
    """Write weight / total: what turns exponentials into weighted responsibilities."""
    for lane in range(T):
        weight = factor.dtype.type(tile_weights[lane])
        factor[lane] = weight / total[lane] if total[lane] > 0.0 else factor.dtype.type(0.0)


@kernel()
def scale_lanes(values, at, factor, T):
    """Multiply T lanes by others."""
    for lane in range(T):
        values[at + lane] *= factor[lane]


@kernel()
def load_given(rows, mode, row, n, tile_weights, T, K, responsibilities, active):
    """Fill the tile's weighted responsibilities from given labels or responsibilities."""
    for k in range(K):
        at = k * T
        for lane in range(n):
            if mode & GIVEN_LABELS:
                r = 1.0 if rows.labels[row + lane] == k else 0.0
            else:
                r = np.float64(rows.responsibilities[row + lane, k])
            responsibilities[at + lane] = r * tile_weights[lane]
        for lane in range(n, T):
            responsibilities[at + lane] = 0.0
        count = 0
        for lane in range(n):
            count += responsibilities[at + lane] > 0.0
        active[k] = count


@kernel()
def normalise_tile(
    joint, largest, T, K, parameters, tile_weights, mode, row, n, total, factor, density,
    active, likelihood_lanes, rows,
):  # fmt: skip
    """Turn a tile's log-densities into weighted responsibilities and write the row values."""
    if mode & LABELS:
        write_labels(joint[: K * T], largest, T, row, n, rows.labels)
        if mode == LABELS:
            return
    exponentiate(joint, largest, T, K, total, active)
    add_log_likelihood(
        largest, total, parameters.offset, tile_weights, T, density, likelihood_lanes
    )
    if mode & LOG_DENSITY:
        for lane in range(n):
            rows.log_density[row + lane] = density[lane]
    if mode & RESPONSIBILITIES:
        for lane in range(n):
            scale = 1.0 / np.float64(total[lane]) if total[lane] > 0.0 else 0.0
            for k in range(K):
                rows.responsibilities[row + lane, k] = joint[k * T + lane] * scale
    if mode & MOMENTS:
        reciprocal_totals(total, tile_weights, T, factor)
        for k in range(K):
            if active[k]:
                scale_lanes(joint, k * T, factor, T)


@kernel()
def full_slot(X, weights, first_block, parameters, mode, n_slots, sums, rows, slot):
    """Pass over the blocks of one slot with a full whitener per component."""
    N, D = X.shape
    K = parameters.constants.shape[0]
    T = lanes_of(parameters.constants)
    packed = parameters.whiteners.shape[0] // K
    blocks = sums.second.shape[1] // K
    tile = aligned_scratch(D * T, parameters.constants)
    about_mean = aligned_scratch(1 if parameters.shared else D * T, parameters.constants)
    joint = aligned_scratch(K * T, parameters.constants)
    panel = aligned_scratch(ROWS * T, parameters.constants)
    largest = aligned_scratch(T, parameters.constants)
    total = aligned_scratch(T, parameters.constants)
    factor = aligned_scratch(T, parameters.constants)
    tile_weights = np.empty(T)
    density = np.empty(T)
    active = np.empty(K, np.int64)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - first_block) % n_slots, n_blocks, n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_tile(X, row, n, parameters.centre, parameters.centre_low, tile, T)
            load_weights(weights, row, n, tile_weights, T)
            if mode & (GIVEN_LABELS | GIVEN_RESPONSIBILITIES):
                load_given(rows, mode, row, n, tile_weights, T, K, joint, active)
            else:
                for lane in range(T):
                    largest[lane] = _LOWEST
                for k in range(K):
                    source = tile
                    if not parameters.shared:
                        subtract_reference(
                            tile, T, D, parameters.references, parameters.references_low,
                            k * D, about_mean,
                        )  # fmt: skip
                        source = about_mean
                    joint_log_density(
                        source, T, parameters.whiteners, k * packed, parameters.shifts, k * D,
                        D, parameters.constants[k], joint, k * T, largest,
                    )  # fmt: skip
                normalise_tile(
                    joint, largest, T, K, parameters, tile_weights, mode, row, n, total,
                    factor, density, active, sums.log_likelihood[slot], rows,
                )  # fmt: skip
            if mode & MOMENTS:
                for k in range(K):
                    if active[k] == 0:
                        continue
                    source = tile
                    if not parameters.shared:
                        subtract_reference(
                            tile, T, D, parameters.references, parameters.references_low,
                            k * D, about_mean,
                        )  # fmt: skip
                        source = about_mean
                    sums.counts[slot, k] += lane_sum(joint, k * T, T)
                    add_moments(
                        source, T, D, joint, k * T, panel, sums.first[slot], k * D,
                        sums.second[slot], k * blocks,
                    )  # fmt: skip


@kernel(parallel=True)
def full_pass(X, weights, first_block, parameters, mode, n_slots, sums, rows):
    """Run ``full_slot`` for every slot that has a block, over numba's threads."""
    for slot in prange(sums.counts.shape[0]):
        full_slot(X, weights, first_block, parameters, mode, n_slots, sums, rows, slot)
