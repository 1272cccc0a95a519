"""Step four of a pass: moments of a tile's points, weighted by responsibility.

Symbols and layout are those of ``mixture_pass``.  With diagonal structures about a shared centre,
first and second moments are products of responsibilities with features and with squared features:
one matrix product over the lanes of a tile.
"""

from __future__ import annotations

import numpy as np

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels import (
    ROWS,
    add_diagonal_moments,
    add_moments,
    add_products,
    lane_sum,
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


@kernel()
def full_moments(
    tile, T, D, K, shared, references, references_low, about_mean, joint, active, panel, counts,
    first, second,
):  # fmt: skip
    """Add every component's moments of the tile, weighted by responsibility."""
    blocks = second.shape[0] // K
    for k in range(K):
        if active[k] == 0:
            continue
        counts[k] += lane_sum(joint, k * T, T)
        if shared:
            add_moments(tile, T, D, joint, k * T, panel, first, k * D, second, k * blocks)
        else:
            subtract_reference(tile, T, D, references, references_low, k * D, about_mean)
            add_moments(about_mean, T, D, joint, k * T, panel, first, k * D, second, k * blocks)


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
        at = diagonal_place(k, 0, n_columns)
        add_diagonal_moments(about_mean, T, D, joint, k * T, products, at)
