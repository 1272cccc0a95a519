"""Machine code of the moments against its twins in NumPy, and these against formulas."""

import numpy as np
import pytest

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels.moments import (
    add_diagonal_moments,
    add_moments,
    add_products,
    lane_sum,
)
from fastgmm.kernels.microkernels.simd import BLOCK
from fastgmm.kernels.packing import ROWS, block_count, padded, unpack_blocks, unpack_products
from tests.kernels.lane_arrays import ORDERS, TYPES, aligned, lanes, tolerance


@kernel()
def run_moments(tile, T, begin, end, D, weights, r_at, panel, first, f_at, blocks, b_at):
    add_moments(tile, T, begin, end, D, weights, r_at, panel, first, f_at, blocks, b_at)


@kernel()
def run_products(rows, r_at, columns, n_columns, T, out, out_at):
    add_products(rows, r_at, columns, n_columns, T, out, out_at)


@kernel()
def run_diagonal_moments(tile, T, D, weights, r_at, products, at):
    add_diagonal_moments(tile, T, D, weights, r_at, products, at)


@kernel()
def run_sum(values, at, T):
    return lane_sum(values, at, T)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
@pytest.mark.parametrize("some", [False, True])
def test_moments_are_those_of_the_weighted_points(D, dtype, some):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    block = ROWS * BLOCK.n_bytes // dtype().itemsize
    begin, end = (block, T) if some else (0, T)
    x, weights = rng.normal(size=(D, T)), rng.uniform(size=T)
    taken, shares = x[:, begin:end], weights[begin:end]
    size = 16 * block_count(D)
    for run in (run_moments, add_moments.twin):
        first, blocks = np.ones(2 * D), np.zeros(2 * size)
        run(
            aligned(x, dtype), T, begin, end, D, aligned(np.tile(weights, 2), dtype), T,
            aligned(np.zeros(4 * T), dtype), first, D, blocks, size,
        )  # fmt: skip
        np.testing.assert_array_equal(first[:D], 1.0)
        np.testing.assert_allclose(first[D:], 1 + taken @ shares, rtol=tolerance(dtype), atol=1e-4)
        assert not blocks[:size].any()
        second = unpack_blocks(blocks[size:][None], D)[0]
        np.testing.assert_allclose(
            second, (taken * shares) @ taken.T, rtol=tolerance(dtype), atol=T * tolerance(dtype)
        )
        np.testing.assert_array_equal(second, second.T)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_diagonal_moments_of_one_component_in_blocks_of_four(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x, weights = rng.normal(size=(D, T)), rng.uniform(size=T)
    n_columns = padded(2 * D)
    for run in (run_diagonal_moments, add_diagonal_moments.twin):
        products = np.zeros(8 * n_columns)
        at = 4 * n_columns + 4  # the row of component 5
        run(aligned(x, dtype), T, D, aligned(np.tile(weights, 2), dtype), T, products, at)
        found = unpack_products(products, 8, 2 * D)
        assert not np.delete(found, 5, axis=0).any()
        np.testing.assert_allclose(found[5, :D], x @ weights, rtol=tolerance(dtype), atol=1e-3)
        np.testing.assert_allclose(found[5, D:], x**2 @ weights, rtol=tolerance(dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_products_of_four_rows_with_many(dtype):
    rng = np.random.default_rng(0)
    T = lanes(dtype)
    rows, columns = rng.normal(size=(8, T)), rng.normal(size=(12, T))
    expected = (rows[4:] @ columns.T).reshape(4, 3, 4).transpose(1, 0, 2).ravel()
    for run in (run_products, add_products.twin):
        out = np.ones(8 + 48)
        run(aligned(rows, dtype), 4 * T, aligned(columns, dtype), 12, T, out, 8)
        np.testing.assert_array_equal(out[:8], 1.0)
        np.testing.assert_allclose(out[8:], 1 + expected, atol=T * tolerance(dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_sum_of_lanes_is_in_double_precision(dtype):
    T = lanes(dtype)
    values = aligned(np.random.default_rng(0).uniform(size=2 * T), dtype)
    for run in (run_sum, lane_sum.twin):
        total = run(values, T, T)
        assert total == pytest.approx(values[T:].sum(dtype=np.float64), rel=1e-6)
