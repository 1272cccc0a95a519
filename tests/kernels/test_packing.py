"""What is packed into panels and blocks of four comes out as it went in."""

import numpy as np
import pytest

from fastgmm.kernels.packing import (
    ROWS,
    block_count,
    pack_lower,
    packed_length,
    padded,
    unpack_blocks,
    unpack_products,
)

ORDERS = [1, 3, 4, 5, 8, 11]


@pytest.mark.parametrize("D", ORDERS)
def test_a_packed_triangle_holds_its_panels_column_by_column(D):
    triangles = np.tril(np.random.default_rng(D).normal(size=(2, D, D)))
    packed = pack_lower(triangles)
    assert packed.shape == (2, packed_length(D))
    for k in range(2):
        expected = [
            triangles[k, row, column]
            for first in range(0, D, ROWS)
            for column in range(min(first + ROWS, D))
            for row in range(first, min(first + ROWS, D))
        ]
        np.testing.assert_array_equal(packed[k], expected)


@pytest.mark.parametrize("D", ORDERS)
def test_blocks_of_a_lower_triangle_become_a_symmetric_matrix(D):
    matrix = np.random.default_rng(D).normal(size=(D, D))
    matrix += matrix.T
    lower = np.zeros((padded(D), padded(D)))
    lower[:D, :D] = np.tril(matrix)
    blocks = [
        lower[row : row + ROWS, column : column + ROWS].ravel()
        for row in range(0, D, ROWS)
        for column in range(0, row + 1, ROWS)
    ]
    assert len(blocks) == block_count(D)
    np.testing.assert_array_equal(unpack_blocks(np.concatenate(blocks)[None], D), matrix[None])


@pytest.mark.parametrize("D", [1, 2, 5])
def test_blocks_of_products_become_a_matrix(D):
    K = 6
    table = np.random.default_rng(D).normal(size=(padded(K), padded(2 * D)))
    products = [
        table[row : row + ROWS, column : column + ROWS].ravel()
        for row in range(0, padded(K), ROWS)
        for column in range(0, padded(2 * D), ROWS)
    ]
    found = unpack_products(np.concatenate(products), K, 2 * D)
    np.testing.assert_array_equal(found, table[:K, : 2 * D])
