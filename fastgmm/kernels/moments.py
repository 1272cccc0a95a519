"""Step four of a pass: moments of a tile's points, weighted by responsibility.

Symbols and layout are those of ``mixture_pass``.  With diagonal structures about a shared center,
first and second moments are products of responsibilities with features and with squared features:
one matrix product over the lanes of a tile.
"""

from __future__ import annotations

from fastgmm.kernels.compilation import inner_kernel
from fastgmm.kernels.microkernels.moments import (
    add_diagonal_moments,
    add_moments,
    add_products,
    lane_sum,
)
from fastgmm.kernels.microkernels.tiles import subtract_reference
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.tiles import greatest


@inner_kernel()
def diagonal_place(k, column, n_columns):
    """Return where the product of component k and a column is kept: 4 × 4 blocks, row by row."""
    block = (k // ROWS) * (n_columns // ROWS) + column // ROWS
    return block * ROWS * ROWS + (k % ROWS) * ROWS + column % ROWS


@inner_kernel()
def block_place(i, j):
    """Return where the product of columns i ≥ j is kept: ``packing.unpack_blocks``."""
    panel = i // ROWS
    block = panel * (panel + 1) // 2 + j // ROWS
    return block * ROWS * ROWS + (i % ROWS) * ROWS + j % ROWS


@inner_kernel()
def full_moments(
    tile, T, D, K, shared, references, references_low, about_mean, joint, active, spans, panel,
    counts, first, second,
):  # fmt: skip
    """Add every component's moments of the tile, weighted by responsibility."""
    blocks = second.shape[0] // K
    points = tile if shared else about_mean
    for k in range(K):
        if active[k] == 0:
            continue
        begin, end = spans[2 * k], spans[2 * k + 1]
        counts[k] += lane_sum(joint, k * T + begin, end - begin)
        if not shared:
            subtract_reference(tile, T, D, references, references_low, k * D, about_mean)
        add_moments(points, T, begin, end, D, joint, k * T, panel, first, k * D, second, k * blocks)


@inner_kernel()
def first_moments(tile, T, K, n_columns, joint, active, counts, products):
    """Add every component's sums of the tile's first columns, weighted by responsibility."""
    for k in range(K):
        if active[k]:
            counts[k] += lane_sum(joint, k * T, T)
        else:
            for lane in range(k * T, (k + 1) * T):
                joint[lane] = 0.0
    for k in range(0, K, ROWS):
        add_products(joint, k * T, tile, n_columns, T, products, k * n_columns)


@inner_kernel()
def diagonal_moments(
    tile, T, D, K, n_columns, shared, references, references_low, about_mean, joint, active,
    counts, products,
):  # fmt: skip
    """Add every component's moments of the tile, weighted by responsibility."""
    if shared:
        # an infinite square would turn a responsibility of zero into NaN
        largest_square = greatest(tile)
        for i in range(D * T):
            square = tile[i] * tile[i]
            tile[D * T + i] = square if square < largest_square else largest_square
        first_moments(tile, T, K, n_columns, joint, active, counts, products)
        return
    for k in range(K):
        if active[k] == 0:
            continue
        counts[k] += lane_sum(joint, k * T, T)
        subtract_reference(tile, T, D, references, references_low, k * D, about_mean)
        at = diagonal_place(k, 0, n_columns)
        add_diagonal_moments(about_mean, T, D, joint, k * T, products, at)
