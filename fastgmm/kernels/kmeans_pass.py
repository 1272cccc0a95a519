"""The passes of k-means: the limit of a spherical mixture whose variance goes to zero.

Squared distances come from the densities of a spherical mixture with one common variance; the
responsibilities become one for the nearest center and zero for the others (Bishop, PRML, 9.3.2).
Symbols are those of ``mixture_pass``; so is the task, where

* ``whiteners`` holds one number K·D times, a scale that keeps squares within range, and every
  squared distance here is in units of 1/scale²;
* ``labels`` receives the nearest center, ``log_density`` its squared distance; in seeding,
  ``log_density`` is the squared distance to the nearest center chosen so far.
"""

from __future__ import annotations

import numpy as np

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.densities import diagonal_densities
from fastgmm.kernels.far_rows import count_far, lowest_density
from fastgmm.kernels.microkernels.densities import find_labels
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch, load_tile, load_weights

# What a pass is run for; exactly one of these.
LLOYD = 1
NEAREST = 2
POTENTIALS = 4
CHOOSE = 8


@kernel()
def add_members(tile, T, D, n, best, tile_weights, counts, sums):
    """Add each row of a tile to the sums of its nearest center."""
    for lane in range(n):
        weight = tile_weights[lane]
        if weight == 0.0:
            continue
        k = best[lane]
        counts[k] += weight
        for j in range(D):
            sums[k * D + j] += weight * tile[j * T + lane]


@kernel(fastmath={"reassoc", "contract"})
def add_potentials(joint, T, K, nearest, tile_weights, counts):
    """Add, per candidate, what the squared distances would sum to if it were chosen.

    ``reassoc`` lets the sum be kept in vector lanes.
    """
    for k in range(K):
        total = 0.0
        for lane in range(T):
            distance = -2.0 * np.float64(joint[k * T + lane])
            smaller = distance if distance < nearest[lane] else nearest[lane]
            # without weight there may be no finite distance either
            total += tile_weights[lane] * smaller if tile_weights[lane] > 0.0 else 0.0
        counts[k] += total


@kernel()
def mend_nearest(
    X, row, n, D, K, scale, shifts, center, center_low, largest, lowest, best, squares
):  # fmt: skip
    """Write nearest centers, and squared distances to them, of rows far from all centers.

    Differences of squared distances, ``(s_k - s_0)·(2 y + s_k + s_0)`` with y the row and s_k the
    shifts, neither cancel nor overflow in units of the row's own size.
    """
    offsets = np.empty(D)
    for lane in range(n):
        if largest[lane] > lowest:
            continue
        size = 0.0
        for j in range(D):
            size = max(size, abs(np.float64(X[row + lane, j])), abs(np.float64(center[j])))
        for j in range(D):
            middle = np.float64(center[j]) / size + np.float64(center_low[j]) / size
            offsets[j] = np.float64(X[row + lane, j]) / size - middle
        unit = min(size * np.float64(scale), 1e300)
        smallest = np.inf
        for k in range(K):
            difference = 0.0
            for j in range(D):
                shift, first = np.float64(shifts[k * D + j]), np.float64(shifts[j])
                difference += (shift - first) * (2.0 * offsets[j] + (shift + first) / unit)
            if difference < smallest:
                best[lane], smallest = k, difference
        square = 0.0
        for j in range(D):
            square += (unit * offsets[j] + np.float64(shifts[best[lane] * D + j])) ** 2
        squares[lane] = square


@kernel()
def kmeans_slot(task, slot):
    """Pass over the blocks of one slot."""
    # Members of tuples and rows of arrays are taken once: each time counts a reference.
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    constants, scales, shifts = task.constants, task.whiteners, task.shifts
    center, center_low = task.center, task.center_low
    references, references_low = task.references, task.references_low
    counts, sums, inertia = task.counts[slot], task.first[slot], task.likelihood[slot]
    distances, labels = task.log_density, task.labels
    N, D = X.shape
    K = constants.shape[0]
    tile = aligned_scratch(D * T, constants)
    joint = aligned_scratch(K * T, constants)
    largest = aligned_scratch(T, constants)
    tile_weights = np.empty(T)
    nearest = np.zeros(T)
    best = np.empty(T, np.int64)
    ones, lowest = np.ones(T), lowest_density(constants)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_tile(X, row, n, center, center_low, tile, T)
            load_weights(weights, row, n, tile_weights, T)
            diagonal_densities(
                tile, T, D, K, True, scales, shifts, constants, references, references_low,
                tile, joint, largest,
            )  # fmt: skip
            if mode == POTENTIALS:
                for lane in range(n):
                    nearest[lane] = distances[row + lane]
                add_potentials(joint, T, K, nearest, tile_weights, counts)
            elif mode == CHOOSE:
                for lane in range(n):
                    distance = -2.0 * np.float64(largest[lane])
                    distances[row + lane] = min(distance, distances[row + lane])
            else:
                find_labels(joint, largest, T, K, best)
                for lane in range(n):
                    nearest[lane] = -2.0 * np.float64(largest[lane])
                if count_far(largest, ones, n, lowest) > 0:
                    mend_nearest(
                        X, row, n, D, K, scales[0], shifts, center, center_low, largest, lowest,
                        best, nearest,
                    )  # fmt: skip
                if mode == LLOYD:
                    add_members(tile, T, D, n, best, tile_weights, counts, sums)
                    for lane in range(n):
                        if tile_weights[lane] > 0.0:
                            inertia[lane] += tile_weights[lane] * nearest[lane]
                else:
                    for lane in range(n):
                        labels[row + lane] = best[lane]
                        distances[row + lane] = nearest[lane]
