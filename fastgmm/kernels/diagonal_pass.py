"""The pass of EM for diagonal and spherical structures: the whitener is a vector.

Steps and symbols are those of ``mixture_pass``.  About a shared centre, first and second moments
are products of responsibilities with features and with squared features: one matrix product over
the lanes of a tile.
"""

from __future__ import annotations

import numpy as np

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels import (
    ROWS,
    add_products,
    joint_log_density_diagonal,
    lane_sum,
)
from fastgmm.kernels.mixture_pass import (
    GIVEN,
    GIVEN_LABELS,
    LABELS,
    LOG_DENSITY,
    MOMENTS,
    RESPONSIBILITIES,
    add_log_likelihood,
    exponentiate,
    find_labels,
    load_given,
    reset_largest,
    weigh_responsibilities,
    write_responsibilities,
)
from fastgmm.kernels.tiles import (
    BLOCK_ROWS,
    aligned_scratch,
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
def diagonal_densities(
    tile, T, D, K, shared, scales, shifts, constants, references, references_low, about_mean,
    joint, largest,
):  # fmt: skip
    """Write every component's log-weight plus log-density and the largest of them."""
    reset_largest(largest, T)
    for k in range(K):
        if shared:
            joint_log_density_diagonal(
                tile, T, scales, k * D, shifts, k * D, D, constants[k], joint, k * T, largest
            )
        else:
            subtract_reference(tile, T, D, references, references_low, k * D, about_mean)
            joint_log_density_diagonal(
                about_mean, T, scales, k * D, shifts, k * D, D, constants[k], joint, k * T,
                largest,
            )  # fmt: skip


@kernel()
def diagonal_moments(
    tile, T, D, K, n_columns, shared, references, references_low, about_mean, joint, active,
    counts, products,
):  # fmt: skip
    """Add every component's moments of the tile, weighted by responsibility."""
    for k in range(K):
        if active[k]:
            counts[k] += lane_sum(joint, k * T, T)
        else:
            for lane in range(k * T, (k + 1) * T):
                joint[lane] = 0.0
    if shared:
        # an infinite square would turn a responsibility of zero into NaN
        largest_square = np.finfo(tile.dtype).max
        for i in range(D * T):
            square = tile[i] * tile[i]
            tile[D * T + i] = square if square < largest_square else largest_square
        for k in range(0, K, ROWS):
            add_products(joint, k * T, tile, n_columns, T, products, k * n_columns)
        return
    for k in range(K):
        if active[k] == 0:
            continue
        subtract_reference(tile, T, D, references, references_low, k * D, about_mean)
        for j in range(D):
            first, second = weighted_sums(joint, k * T, about_mean, j * T, T)
            products[diagonal_place(k, j, n_columns)] += first
            products[diagonal_place(k, D + j, n_columns)] += second


@kernel()
def diagonal_slot(task, slot):
    """Pass over the blocks of one slot with inverse standard deviations per component."""
    # Members of tuples and rows of arrays are taken once: each time counts a reference.
    X, weights, T, mode = task.X, task.weights, task.lanes, task.mode
    constants, offset, shared = task.constants, task.offset, task.shared
    scales, shifts = task.whiteners, task.shifts
    centre, centre_low = task.centre, task.centre_low
    references, references_low = task.references, task.references_low
    counts, likelihood, products = task.counts[slot], task.likelihood[slot], task.first[slot]
    log_density, labels, responsibilities = task.log_density, task.labels, task.responsibilities
    N, D = X.shape
    K = constants.shape[0]
    n_rows = (K + ROWS - 1) // ROWS * ROWS
    n_columns = (2 * D + ROWS - 1) // ROWS * ROWS
    tile = aligned_scratch(n_columns * T, constants)
    about_mean = aligned_scratch(1 if shared else D * T, constants)
    joint = aligned_scratch(n_rows * T, constants)
    largest = aligned_scratch(T, constants)
    total = aligned_scratch(T, constants)
    factor = aligned_scratch(T, constants)
    tile_weights = np.empty(T)
    density = np.empty(T)
    active = np.empty(K, np.int64)
    best = np.empty(T, np.int64)
    # rows and columns that only fill up the last blocks must be finite
    joint[K * T :] = 0.0
    tile[2 * D * T :] = 0.0
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % task.n_slots, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_tile(X, row, n, centre, centre_low, tile, T)
            load_weights(weights, row, n, tile_weights, T)
            if mode & GIVEN:
                load_given(
                    labels, responsibilities, mode == GIVEN_LABELS, row, n, tile_weights, T, K,
                    joint, active,
                )  # fmt: skip
            else:
                diagonal_densities(
                    tile, T, D, K, shared, scales, shifts, constants, references,
                    references_low, about_mean, joint, largest,
                )  # fmt: skip
                if mode == LABELS:
                    find_labels(joint, largest, T, K, best)
                    for lane in range(n):
                        labels[row + lane] = best[lane]
                    continue
                exponentiate(joint, largest, T, K, total, active)
                add_log_likelihood(largest, total, offset, tile_weights, T, density, likelihood)
                if mode == LOG_DENSITY:
                    for lane in range(n):
                        log_density[row + lane] = density[lane]
                if mode == RESPONSIBILITIES:
                    write_responsibilities(joint, total, T, K, row, n, responsibilities)
                if mode == MOMENTS:
                    weigh_responsibilities(joint, total, tile_weights, T, K, active, factor)
            if mode & (MOMENTS | GIVEN):
                diagonal_moments(
                    tile, T, D, K, n_columns, shared, references, references_low, about_mean,
                    joint, active, counts, products,
                )  # fmt: skip
