"""Machine code of the densities against its twins in NumPy, and these against formulas."""

import numpy as np
import pytest

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels.densities import (
    find_labels,
    joint_log_density,
    joint_log_density_diagonal,
)
from fastgmm.kernels.microkernels.simd import BLOCK
from fastgmm.kernels.packing import ROWS, pack_lower, packed_length
from tests.kernels.lane_arrays import ORDERS, TYPES, aligned, lanes, tolerance


@kernel()
def run_densities(
    tile, T, whitener, w_at, shift, s_at, D, c, out, out_at, maximum, margin, spans, k
):
    joint_log_density(
        tile, T, whitener, w_at, shift, s_at, D, c, out, out_at, maximum, margin, spans, k
    )


@kernel()
def run_diagonal(tile, T, scale, w_at, shift, s_at, D, c, out, out_at, maximum):
    joint_log_density_diagonal(tile, T, scale, w_at, shift, s_at, D, c, out, out_at, maximum)


@kernel()
def run_labels(joint, largest, T, K, best):
    find_labels(joint, largest, T, K, best)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_log_density_of_a_full_whitener(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x = rng.normal(size=(D, T))
    whiteners = np.tril(rng.normal(size=(2, D, D)))
    packed = pack_lower(whiteners)
    assert packed.shape == (2, packed_length(D))
    shift = rng.normal(size=(2, D))
    expected = 1.5 - 0.5 * ((whiteners[1] @ x + shift[1][:, None]) ** 2).sum(axis=0)
    before = rng.normal(size=T) - D
    for run in (run_densities, joint_log_density.twin):
        out = aligned(np.zeros(2 * T), dtype)
        maximum, spans = aligned(before, dtype), np.full(4, -1)
        run(
            aligned(x, dtype), T, aligned(packed, dtype), packed.shape[1], aligned(shift, dtype),
            D, D, dtype(1.5), out, T, maximum, np.inf, spans, 1,
        )  # fmt: skip
        np.testing.assert_array_equal(spans, [-1, -1, 0, T])
        np.testing.assert_allclose(
            out[T:], expected, rtol=tolerance(dtype), atol=1e-4 * (dtype is np.float32)
        )
        assert not out[:T].any()
        np.testing.assert_array_equal(maximum, np.maximum(before.astype(dtype), out[T:]))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", [1, 4, 6, 33, 70])
def test_points_below_the_margin_are_left_out(D, dtype):
    rng = np.random.default_rng(D)
    T, block = lanes(dtype), ROWS * BLOCK.n_bytes // dtype().itemsize
    near = np.zeros(T, dtype=bool)
    near[T // 2 : T // 2 + 3] = True
    x = rng.normal(size=(D, T)) + np.where(near, 0.0, 30.0)
    whitener = np.tril(0.1 * rng.normal(size=(1, D, D))) + np.eye(D)
    values = -0.5 * ((whitener[0] @ x) ** 2).sum(axis=0)
    for run in (run_densities, joint_log_density.twin):
        out, spans = aligned(np.zeros(T), dtype), np.zeros(2, np.int64)
        maximum = aligned(np.full(T, -0.5 * D), dtype)
        run(
            aligned(x, dtype), T, aligned(pack_lower(whitener), dtype), 0,
            aligned(np.zeros(D), dtype), 0, D, dtype(0.0), out, 0, maximum, 40.0, spans, 0,
        )  # fmt: skip
        first = T // 2 // block * block
        assert spans[0] == first
        assert spans[1] == first + block
        kept = np.isfinite(out)
        assert kept[near].all()
        assert not kept[: spans[0]].any()
        assert not kept[spans[1] :].any()
        np.testing.assert_allclose(
            out[near], values[near], rtol=tolerance(dtype), atol=1e-4 * (dtype is np.float32)
        )
        np.testing.assert_array_equal(maximum, np.maximum(dtype(-0.5 * D), out))
        far = aligned(np.full(T, 1e6), dtype)
        run(
            aligned(x, dtype), T, aligned(pack_lower(whitener), dtype), 0,
            aligned(np.zeros(D), dtype), 0, D, dtype(0.0), out, 0, far, 40.0, spans, 0,
        )  # fmt: skip
        assert (out == -np.inf).all()
        assert spans[0] >= spans[1]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_log_density_of_a_diagonal_whitener(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x, scale, shift = rng.normal(size=(D, T)), rng.uniform(1, 2, (2, D)), rng.normal(size=(2, D))
    y = scale[1][:, None] * x + shift[1][:, None]
    for run in (run_diagonal, joint_log_density_diagonal.twin):
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
@pytest.mark.parametrize("K", [1, 2, 300])
def test_labels_take_the_first_among_equals(K, dtype):
    rng = np.random.default_rng(K)
    T = lanes(dtype)
    joint = rng.integers(2 * K, size=(K, T)).astype(float)
    largest = joint.max(axis=0)
    joint[:, 5] = np.nan
    expected = [next((k for k in range(K) if joint[k, t] == largest[t]), 0) for t in range(T)]
    for run in (run_labels, find_labels.twin):
        best = np.full(T, -1)
        run(aligned(joint, dtype), aligned(largest, dtype), T, K, best)
        np.testing.assert_array_equal(best, expected)
