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
from fastgmm.kernels.microkernels.kmeans import PADDING, add_members
from fastgmm.kernels.tiles import aligned_scratch

# What a pass is run for, beside the modes of ``mixture_pass``; exactly one of these.
LLOYD = 128
NEAREST = 256
POTENTIALS = 512
CHOOSE = 1024
LLOYD_BY_PRODUCTS = 2048
KMEANS = LLOYD | NEAREST | POTENTIALS | CHOOSE | LLOYD_BY_PRODUCTS
ASSIGNING = LLOYD | NEAREST | LLOYD_BY_PRODUCTS


@inner_kernel(rare=True)
def lloyd_scratch(shifts, scales, D, K):
    """Return what Lloyd's passes need of K centers, and room for the sums of their members.

    That |x − c|² less |x|² is affine in x gives nearest centers for one multiplication a feature:
    with shifts −scale·c, half of it divided by scale is ``shift·x + ½|shift|²/scale``, in numbers
    that stay in range.  Returned are the shifts, with zeros between one center's and the next, and
    the other terms.
    """
    step = (D + PADDING - 1) // PADDING * PADDING
    padded = aligned_scratch(K * step, shifts)
    costs = np.empty(K, shifts.dtype)
    sums = aligned_scratch(K * step, np.empty(0))
    padded[:] = 0.0
    sums[:] = 0.0
    for k in range(K):
        square = 0.0
        for j in range(D):
            shift = shifts[k * D + j]
            padded[k * step + j] = shift
            square += np.float64(shift) * np.float64(shift)
        costs[k] = square / (2.0 * np.float64(scales[0]))
    return padded, costs, sums


@inner_kernel(rare=True)
def add_sums(sums, D, K, first):
    """Add the sums of members to the slot's."""
    step = sums.shape[0] // max(K, 1)
    for k in range(K):
        for j in range(D):
            first[k * D + j] += sums[k * step + j]


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
    row, n, T, D, K, mode, scale, tile, joint, largest, best, nearest, tile_weights, padded, sums,
    counts, inertia, labels, distances,
):  # fmt: skip
    """Do with a tile's densities, or its nearest centers, what the pass is run for.

    ``nearest`` are −½ the squared distances to these, unless those were found by products.
    """
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
    if mode == NEAREST:
        for lane in range(n):
            labels[row + lane] = best[lane]
            distances[row + lane] = -2.0 * nearest[lane]
        return
    for lane in range(n):
        counts[best[lane]] += tile_weights[lane]
        if tile_weights[lane] == 0.0:
            for j in range(D):
                tile[j * T + lane] = 0.0  # its square may be infinite
    step = sums.shape[0] // K
    add_members(tile, T, D, n, best, tile_weights, scale, padded, step, sums, inertia)
