"""How triangles and sums of products are laid out for the microkernels: in rows of four.

Plain NumPy, once a pass: from matrices to what the kernels read, and back from what they add up.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ROWS = 4
"""Rows of a panel of the whitener, and of features, that are processed together."""


def packed_length(n_features: int) -> int:
    """Return the length of a lower triangle packed for ``joint_log_density``.

    Parameters
    ----------
    n_features : int
        Order of the triangle.

    Returns
    -------
    int
        Number of elements.
    """
    return sum(
        (first + (rows := min(ROWS, n_features - first))) * rows
        for first in range(0, n_features, ROWS)
    )


def pack_lower(triangles: np.ndarray) -> np.ndarray:
    """Pack lower triangles into panels of four rows, each panel column by column.

    Parameters
    ----------
    triangles : ndarray of shape (K, D, D)
        Lower triangular matrices.

    Returns
    -------
    ndarray of shape (K, packed_length(D))
        For every panel, the entries of its rows in column 0, then in column 1, and so on.
    """
    n, order = triangles.shape[:2]
    return np.take(triangles.reshape(n, -1), _places_in_triangle(order), axis=1)


@lru_cache(maxsize=4)
def _places_in_triangle(order: int) -> np.ndarray:
    """Return which entry of a matrix each of its packed lower triangle is."""
    matrix = np.arange(order * order).reshape(order, order)
    ends = ((first, min(first + ROWS, order)) for first in range(0, order, ROWS))
    return np.concatenate([matrix[first:last, :last].T.ravel() for first, last in ends])


def block_count(n_features: int) -> int:
    """Return the number of 4 × 4 blocks on and below the diagonal of a matrix."""
    n_panels = -(-n_features // ROWS)
    return n_panels * (n_panels + 1) // 2


def unpack_blocks(blocks: np.ndarray, n_features: int) -> np.ndarray:
    """Return symmetric matrices from the blocks of their lower triangles.

    Parameters
    ----------
    blocks : ndarray of shape (K, 16 * block_count(D))
        The blocks row by row of the block triangle, each row by row.
    n_features : int
        Order D of the matrices.

    Returns
    -------
    ndarray of shape (K, D, D)
        The full symmetric matrices.
    """
    places = _places_in_blocks(n_features)
    return np.take(blocks, places, axis=1).reshape(-1, n_features, n_features)


@lru_cache(maxsize=4)
def _places_in_blocks(order: int) -> np.ndarray:
    """Return where each entry of a symmetric matrix is in the blocks of its lower triangle."""
    row, column = np.indices((order, order))
    i, j = np.maximum(row, column), np.minimum(row, column)
    block = block_count(i - i % ROWS) + j // ROWS
    return (block * ROWS * ROWS + i % ROWS * ROWS + j % ROWS).ravel()


def padded(count: int) -> int:
    """Return the smallest multiple of four that is not below ``count``."""
    return -(-count // ROWS) * ROWS


def unpack_products(products: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    """Return a matrix from the blocks that ``diagonal_place`` describes.

    Parameters
    ----------
    products : ndarray of shape (padded(n_rows) * padded(n_columns),)
        Sums of one slot or of all.
    n_rows, n_columns : int
        Shape of the matrix: one row for each component, and a column for each feature; with
        diagonal structures, another one for its square.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        Sums of responsibility × feature.
    """
    grid = products.reshape(padded(n_rows) // ROWS, padded(n_columns) // ROWS, ROWS, ROWS)
    table = grid.transpose(0, 2, 1, 3).reshape(padded(n_rows), padded(n_columns))
    return table[:n_rows, :n_columns].copy()
