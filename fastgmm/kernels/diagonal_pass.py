"""The pass of EM for diagonal and spherical structures: the whitener is a vector.

Steps and symbols are those of ``mixture_pass``.  About a shared centre, first and second moments
are products of responsibilities with features and with squared features: one matrix product over
the lanes of a tile.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels import ROWS, add_products, joint_log_density_diagonal
from fastgmm.kernels.mixture_pass import (
    _LOWEST,
    GIVEN_LABELS,
    GIVEN_RESPONSIBILITIES,
    MOMENTS,
    load_given,
    normalise_tile,
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


def padded(count: int) -> int:
    """Return the smallest multiple of four that is not below ``count``."""
    return -(-count // ROWS) * ROWS


def unpack_products(products: np.ndarray, K: int, D: int) -> tuple[np.ndarray, np.ndarray]:
    """Return first and second moments from the blocks that ``diagonal_place`` describes.

    Parameters
    ----------
    products : ndarray of shape (padded(K) * padded(2 * D),)
        Sums of one slot or of all.
    K, D : int
        Numbers of components and of features.

    Returns
    -------
    first, second : ndarray of shape (K, D)
        Sums of responsibility × feature and × squared feature.
    """
    grid = products.reshape(padded(K) // ROWS, padded(2 * D) // ROWS, ROWS, ROWS)
    table = grid.transpose(0, 2, 1, 3).reshape(padded(K), padded(2 * D))
    return table[:K, :D].copy(), table[:K, D : 2 * D].copy()


@kernel()
def diagonal_place(k, column, n_columns):
    """Return where the product of component k and a column is kept: 4 × 4 blocks, row by row."""
    block = (k // ROWS) * (n_columns // ROWS) + column // ROWS
    return block * ROWS * ROWS + (k % ROWS) * ROWS + column % ROWS


@kernel(fastmath={"reassoc", "contract"})
def weighted_sums(weights, w_at, values, v_at, T):
    """Return Σ w·v and Σ w·v² over T lanes; ``reassoc`` keeps the sums in vector lanes."""
    first = values.dtype.type(0.0)
    second = values.dtype.type(0.0)
    for lane in range(T):
        product = weights[w_at + lane] * values[v_at + lane]
        first += product
        second += product * values[v_at + lane]
    return first, second


@kernel()
def diagonal_slot(X, weights, first_block, parameters, mode, n_slots, sums, rows, slot):
    """Pass over the blocks of one slot with inverse standard deviations per component."""
    N, D = X.shape
    K = parameters.constants.shape[0]
    T = lanes_of(parameters.constants)
    n_rows = (K + ROWS - 1) // ROWS * ROWS
    n_columns = (2 * D + ROWS - 1) // ROWS * ROWS
    tile = aligned_scratch(n_columns * T, parameters.constants)
    about_mean = aligned_scratch(1 if parameters.shared else D * T, parameters.constants)
    joint = aligned_scratch(n_rows * T, parameters.constants)
    largest = aligned_scratch(T, parameters.constants)
    total = aligned_scratch(T, parameters.constants)
    factor = aligned_scratch(T, parameters.constants)
    tile_weights = np.empty(T)
    density = np.empty(T)
    active = np.empty(K, np.int64)
    # rows and columns that only fill up the last blocks must be finite
    joint[K * T :] = 0.0
    tile[2 * D * T :] = 0.0
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
                    joint_log_density_diagonal(
                        source, T, parameters.whiteners, k * D, parameters.shifts, k * D, D,
                        parameters.constants[k], joint, k * T, largest,
                    )  # fmt: skip
                normalise_tile(
                    joint, largest, T, K, parameters, tile_weights, mode, row, n, total,
                    factor, density, active, sums.log_likelihood[slot], rows,
                )  # fmt: skip
            if mode & MOMENTS == 0:
                continue
            for k in range(K):
                if active[k]:
                    sums.counts[slot, k] += lane_sum(joint, k * T, T)
                else:
                    joint[k * T : (k + 1) * T] = 0.0
            if parameters.shared:
                for i in range(D * T):
                    tile[D * T + i] = tile[i] * tile[i]
                for k in range(0, K, ROWS):
                    add_products(
                        joint, k * T, tile, n_columns, T, sums.first[slot], k * n_columns
                    )
            else:
                for k in range(K):
                    if active[k] == 0:
                        continue
                    subtract_reference(
                        tile, T, D, parameters.references, parameters.references_low,
                        k * D, about_mean,
                    )  # fmt: skip
                    for j in range(D):
                        first, second = weighted_sums(joint, k * T, about_mean, j * T, T)
                        sums.first[slot, diagonal_place(k, j, n_columns)] += first
                        sums.first[slot, diagonal_place(k, D + j, n_columns)] += second


@kernel(parallel=True)
def diagonal_pass(X, weights, first_block, parameters, mode, n_slots, sums, rows):
    """Run ``diagonal_slot`` for every slot that has a block, over numba's threads."""
    for slot in prange(sums.counts.shape[0]):
        diagonal_slot(X, weights, first_block, parameters, mode, n_slots, sums, rows, slot)
