"""The passes of k-means: the limit of a spherical mixture whose variance goes to zero.

Squared distances come from the densities of a spherical mixture with one common variance; the
responsibilities become one for the nearest center and zero for the others (Bishop, PRML, 9.3.2).
The pass itself is that of ``mixture_pass``, which calls ``kmeans_tile`` with the densities of each
tile.  Symbols are the same, and so is the task, where

* ``whiteners`` holds one number K·D times, a scale that keeps squares within range, and every
  squared distance here is in units of 1/scale²;
* ``labels`` receives the nearest center, ``log_density`` its squared distance; in seeding,
  ``log_density`` is the squared distance to the nearest center chosen so far.
"""

from __future__ import annotations

import numpy as np

from fastgmm.kernels.compilation import inner_kernel
from fastgmm.kernels.far_rows import mend_labels
from fastgmm.kernels.microkernels.densities import find_labels

# What a pass is run for, beside the modes of ``mixture_pass``; exactly one of these.
LLOYD = 128
NEAREST = 256
POTENTIALS = 512
CHOOSE = 1024
KMEANS = LLOYD | NEAREST | POTENTIALS | CHOOSE


@inner_kernel()
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


@inner_kernel(fastmath={"reassoc", "contract"})
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


@inner_kernel()
def kmeans_tile(
    X, row, n, T, D, K, mode, scales, constants, centers, centers_low, tile, joint, largest, lowest,
    best, nearest, tile_weights, counts, sums, inertia, labels, distances,
):  # fmt: skip
    """Do with a tile's densities what the pass is run for."""
    if mode == POTENTIALS:
        for lane in range(n):
            nearest[lane] = distances[row + lane]
        add_potentials(joint, T, K, nearest, tile_weights, counts)
        return
    if mode == CHOOSE:
        for lane in range(n):
            distance = -2.0 * np.float64(largest[lane])
            distances[row + lane] = min(distance, distances[row + lane])
        return
    find_labels(joint, largest, T, K, best)
    for lane in range(n):
        nearest[lane] = largest[lane]
    mend_labels(
        X, row, n, centers, centers_low, scales, constants, True, D, K, largest, lowest, best,
        nearest,
    )  # fmt: skip
    if mode == LLOYD:
        add_members(tile, T, D, n, best, tile_weights, counts, sums)
        for lane in range(n):
            if tile_weights[lane] > 0.0:
                inertia[lane] -= 2.0 * tile_weights[lane] * nearest[lane]
    else:
        for lane in range(n):
            labels[row + lane] = best[lane]
            distances[row + lane] = -2.0 * nearest[lane]
