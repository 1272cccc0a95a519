"""Machine code of the microkernels against their twins in NumPy, and these against formulas."""

import numba
import numpy as np
import pytest

from fastgmm.kernels import microkernels as mk
from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.moments import padded, unpack_products
from fastgmm.kernels.tiles import aligned_scratch

ORDERS = [1, 2, 3, 4, 5, 7, 8, 12, 19, 66, 129]
TYPES = [np.float64, np.float32]


@kernel()
def run_densities(tile, T, whitener, w_at, shift, s_at, D, c, out, out_at, maximum):
    mk.joint_log_density(tile, T, whitener, w_at, shift, s_at, D, c, out, out_at, maximum)


@kernel()
def run_diagonal(tile, T, scale, w_at, shift, s_at, D, c, out, out_at, maximum):
    mk.joint_log_density_diagonal(tile, T, scale, w_at, shift, s_at, D, c, out, out_at, maximum)


@kernel()
def run_moments(tile, T, D, weights, r_at, panel, first, f_at, blocks, b_at):
    mk.add_moments(tile, T, D, weights, r_at, panel, first, f_at, blocks, b_at)


@kernel()
def run_products(rows, r_at, columns, n_columns, T, out, out_at):
    mk.add_products(rows, r_at, columns, n_columns, T, out, out_at)


@kernel()
def run_load_rows(X, row, n, centre, centre_low, tile, T):
    mk.load_rows(X, row, n, centre, centre_low, tile, T)


@kernel()
def run_load_columns(X, row, n, centre, centre_low, tile, T):
    mk.load_columns(X, row, n, centre, centre_low, tile, T)


@kernel()
def run_diagonal_moments(tile, T, D, weights, r_at, products, at):
    mk.add_diagonal_moments(tile, T, D, weights, r_at, products, at)


@kernel()
def run_subtract(tile, T, D, reference, low, at, out):
    mk.subtract_reference(tile, T, D, reference, low, at, out)


@kernel()
def run_sum(values, at, T):
    return mk.lane_sum(values, at, T)


def aligned(values, dtype):
    values = np.asarray(values, dtype).ravel()
    out = aligned_scratch(len(values), values)
    out[:] = values
    return out


def lanes(dtype):
    return mk.TILE_BYTES // np.dtype(dtype).itemsize


def tolerance(dtype):
    return 1e-12 if dtype is np.float64 else 2e-4


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_log_density_of_a_full_whitener(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x = rng.normal(size=(D, T))
    whiteners = np.tril(rng.normal(size=(2, D, D)))
    packed = mk.pack_lower(whiteners)
    assert packed.shape == (2, mk.packed_length(D))
    shift = rng.normal(size=(2, D))
    expected = 1.5 - 0.5 * ((whiteners[1] @ x + shift[1][:, None]) ** 2).sum(axis=0)
    before = rng.normal(size=T) - D
    for run in (run_densities, mk.joint_log_density_twin):
        out = aligned(np.zeros(2 * T), dtype)
        maximum = aligned(before, dtype)
        run(
            aligned(x, dtype), T, aligned(packed, dtype), packed.shape[1], aligned(shift, dtype),
            D, D, dtype(1.5), out, T, maximum,
        )  # fmt: skip
        np.testing.assert_allclose(
            out[T:], expected, rtol=tolerance(dtype), atol=1e-4 * (dtype is np.float32)
        )
        assert not out[:T].any()
        np.testing.assert_array_equal(maximum, np.maximum(before.astype(dtype), out[T:]))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_log_density_of_a_diagonal_whitener(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x, scale, shift = rng.normal(size=(D, T)), rng.uniform(1, 2, (2, D)), rng.normal(size=(2, D))
    y = scale[1][:, None] * x + shift[1][:, None]
    for run in (run_diagonal, mk.joint_log_density_diagonal_twin):
        out = aligned(np.zeros(T), dtype)
        maximum = aligned(np.full(T, -1e30), dtype)
        run(
            aligned(x, dtype), T, aligned(scale, dtype), D, aligned(shift, dtype), D, D,
            dtype(-0.5), out, 0, maximum,
        )  # fmt: skip
        np.testing.assert_allclose(
            out, -0.5 - 0.5 * (y * y).sum(axis=0), rtol=tolerance(dtype), atol=1e-6
        )
        np.testing.assert_array_equal(maximum, out)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_moments_are_those_of_the_weighted_points(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x, weights = rng.normal(size=(D, T)), rng.uniform(size=T)
    size = 16 * mk.block_count(D)
    for run in (run_moments, mk.add_moments_twin):
        first, blocks = np.ones(2 * D), np.zeros(2 * size)
        run(
            aligned(x, dtype), T, D, aligned(np.tile(weights, 2), dtype), T,
            aligned(np.zeros(4 * T), dtype), first, D, blocks, size,
        )  # fmt: skip
        np.testing.assert_array_equal(first[:D], 1.0)
        np.testing.assert_allclose(first[D:], 1 + x @ weights, rtol=tolerance(dtype), atol=1e-4)
        assert not blocks[:size].any()
        second = mk.unpack_blocks(blocks[size:][None], D)[0]
        np.testing.assert_allclose(
            second, (x * weights) @ x.T, rtol=tolerance(dtype), atol=T * tolerance(dtype)
        )
        np.testing.assert_array_equal(second, second.T)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_diagonal_moments_of_one_component_in_blocks_of_four(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x, weights = rng.normal(size=(D, T)), rng.uniform(size=T)
    n_columns = padded(2 * D)
    for run in (run_diagonal_moments, mk.add_diagonal_moments_twin):
        products = np.zeros(8 * n_columns)
        at = 4 * n_columns + 4  # the row of component 5
        run(aligned(x, dtype), T, D, aligned(np.tile(weights, 2), dtype), T, products, at)
        first, second = unpack_products(products, 8, D)
        assert not np.delete(first, 5, axis=0).any()
        assert not np.delete(second, 5, axis=0).any()
        np.testing.assert_allclose(first[5], x @ weights, rtol=tolerance(dtype), atol=1e-3)
        np.testing.assert_allclose(second[5], x**2 @ weights, rtol=tolerance(dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_products_of_four_rows_with_many(dtype):
    rng = np.random.default_rng(0)
    T = lanes(dtype)
    rows, columns = rng.normal(size=(8, T)), rng.normal(size=(12, T))
    expected = (rows[4:] @ columns.T).reshape(4, 3, 4).transpose(1, 0, 2).ravel()
    for run in (run_products, mk.add_products_twin):
        out = np.ones(8 + 48)
        run(aligned(rows, dtype), 4 * T, aligned(columns, dtype), 12, T, out, 8)
        np.testing.assert_array_equal(out[:8], 1.0)
        np.testing.assert_allclose(out[8:], 1 + expected, atol=T * tolerance(dtype))


@pytest.mark.parametrize(
    ("order", "runs"),
    [
        ("C", (run_load_rows, mk.load_rows_twin)),
        ("F", (run_load_columns, mk.load_columns_twin)),
    ],
)
@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_rows_are_loaded_feature_by_feature_about_the_centre(D, dtype, stored, order, runs):
    rng = np.random.default_rng(D)
    T, n = lanes(dtype), 2 * mk.ROW_GROUP
    X = np.asarray(rng.normal(size=(n + 3, D)), stored, order)
    centre = rng.normal(size=D)
    high = centre.astype(dtype)
    low = (centre - high).astype(dtype)
    for run in runs:
        tile = aligned(np.full(D * T, 7.0), dtype)
        run(X, 3, n, high, low, tile, T)
        table = tile.reshape(D, T)
        np.testing.assert_array_equal(table[:, :n], (X[3:].astype(dtype) - high - low).T)
        np.testing.assert_array_equal(table[:, n:], 7.0)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", [1, 5])
def test_features_about_a_reference_keep_the_digits_of_both_its_parts(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    reference = 1e4 + rng.normal(size=2 * D)
    high = reference.astype(dtype)
    x = (1e4 + rng.normal(size=(D, T))).astype(dtype)
    for run in (run_subtract, mk.subtract_reference_twin):
        out = aligned(np.zeros(D * T), dtype)
        run(aligned(x, dtype), T, D, high, (reference - high).astype(dtype), D, out)
        np.testing.assert_allclose(out.reshape(D, T), x - reference[D:, None], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", TYPES)
def test_sum_of_lanes_is_in_double_precision(dtype):
    T = lanes(dtype)
    values = aligned(np.random.default_rng(0).uniform(size=2 * T), dtype)
    for run in (run_sum, mk.lane_sum_twin):
        total = run(values, T, T)
        assert total == pytest.approx(values[T:].sum(dtype=np.float64), rel=1e-6)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no machine code without the JIT")
@pytest.mark.parametrize("features", ["+avx2,+fma,+avx", "+sse2", ""])
def test_other_processors_get_narrower_blocks(features, monkeypatch):
    from fastgmm.kernels import simd

    monkeypatch.setattr(numba.config, "CPU_FEATURES", features)
    block = simd.register_block()
    assert block.n_bytes == (32 if "avx" in features else 16)
    assert lanes(np.float64) % (block.n_vectors * block.n_bytes // 8) == 0
