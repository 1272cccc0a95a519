"""Rows cut into blocks, blocks into tiles, and tiles loaded feature by feature.

Symbols: N rows, D features, K components, T lanes of a tile, S accumulator slots.

A *block* is a fixed range of global row numbers; block b is added to slot b modulo S.  Neither
depends on the number of threads or on how the rows arrive, so neither do the results.
"""

from __future__ import annotations

import numpy as np

from fastgmm.kernels.compilation import inner_kernel
from fastgmm.kernels.microkernels.tiles import ROW_GROUP, load_columns, load_rows

TILE_BYTES = 1024
"""Bytes of one row of the smallest tile: 128 float64 or 256 float32 lanes."""

BLOCK_ROWS = 1024
"""Rows of a block: a multiple of the lanes of a tile of either type."""

_GREATEST_DOUBLE, _GREATEST_SINGLE = (float(np.finfo(each).max) for each in "df")
_ALIGNMENT = 64
_TILE_MEMORY = 48 * 1024
_MAX_SLOTS = 64
_MIN_SLOTS = 8
_SLOT_MEMORY = 32 * 2**20


def slot_count(bytes_per_slot: int) -> int:
    """Return how many slots a problem has: 64, fewer where they would take over 32 MB, at least 8.

    Parameters
    ----------
    bytes_per_slot : int
        Size of one slot's accumulators, which depends on K, D and the covariance structure only.

    Returns
    -------
    int
        Number of slots, S.
    """
    return max(_MIN_SLOTS, min(_MAX_SLOTS, _SLOT_MEMORY // max(bytes_per_slot, 1)))


def lane_count(n_features: int, n_components: int, itemsize: int) -> int:
    """Return T, the lanes of a tile, a power of two.

    Parameters
    ----------
    n_features, n_components : int
        A tile holds a row of T lanes for each of them.
    itemsize : int
        Bytes of an element, 4 or 8.

    Returns
    -------
    int
        Lanes that fill ``TILE_BYTES`` a row, or twice as many if the tile still fits the
        first-level cache: longer rows spread the cost of summing over lanes. Rows of 4096 bytes
        would all lie in the same places of the cache, and a load would wait for stores to others.
    """
    lanes = TILE_BYTES // itemsize
    fits = 2 * lanes * itemsize * (n_features + n_components) <= _TILE_MEMORY
    return 2 * lanes if fits else lanes


@inner_kernel()
def aligned_scratch(size, like):
    """Return ``size`` elements of the type of ``like`` that start on a cache line."""
    buffer = np.empty(size + _ALIGNMENT // like.itemsize, like.dtype)
    skip = (_ALIGNMENT - buffer.ctypes.data % _ALIGNMENT) % _ALIGNMENT // like.itemsize
    return buffer[skip : skip + size]


@inner_kernel()
def greatest(like):
    """Return the greatest finite number of the type of an array; numba's own takes compiling."""
    return like.dtype.type(_GREATEST_SINGLE if like.itemsize == 4 else _GREATEST_DOUBLE)


@inner_kernel()
def load_tile(X, row, n, center, center_low, tile, T):
    """Write features of rows ``row``… ``row + n`` about the center, feature by feature.

    Lanes from ``n`` on are filled with the center itself.  The center comes as the sum of two
    numbers, so that single-precision data far from the origin lose nothing.
    """
    whole = n // ROW_GROUP * ROW_GROUP
    # columns first: a single one that is contiguous has rows of adjacent entries too
    if X.strides[0] == X.itemsize:
        load_columns(X, row, whole, center, center_low, tile, T)
    elif X.strides[1] == X.itemsize:
        load_rows(X, row, whole, center, center_low, tile, T)
    else:
        whole = 0
    if whole == T:
        return
    for j in range(X.shape[1]):
        at = j * T
        high = center[j]
        low = center_low[j]
        for lane in range(whole, n):
            tile[at + lane] = (X[row + lane, j] - high) - low
        for lane in range(n, T):
            tile[at + lane] = 0.0


@inner_kernel()
def load_weights(weights, row, n, tile_weights, T):
    """Write the weights of rows ``row``… ``row + n``, ones if there are none, then zeros."""
    if weights.shape[0] == 0:
        for lane in range(n):
            tile_weights[lane] = 1.0
    else:
        for lane in range(n):
            tile_weights[lane] = weights[row + lane]
    for lane in range(n, T):
        tile_weights[lane] = 0.0
