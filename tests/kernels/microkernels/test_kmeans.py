"""Machine code of Lloyd's algorithm against its twins in NumPy, and these against formulas."""

import numpy as np
import pytest

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels.kmeans import PADDING, add_members, find_cheapest
from tests.kernels.lane_arrays import ORDERS, TYPES, aligned, lanes, tolerance


@kernel()
def run_cheapest(tile, T, D, shifts, step, costs, K, best, lowest):
    find_cheapest(tile, T, D, shifts, step, costs, K, best, lowest)


@kernel()
def run_members(tile, T, D, n, best, weights, scale, shifts, step, sums, inertia):
    add_members(tile, T, D, n, best, weights, scale, shifts, step, sums, inertia)


def padded(values, dtype):
    step = -(-values.shape[1] // PADDING) * PADDING
    return aligned(np.pad(values, ((0, 0), (0, step - values.shape[1]))), dtype), step


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("K", [1, 2, 3, 4, 7, 9])
@pytest.mark.parametrize("D", ORDERS)
def test_the_cheapest_is_the_first_of_the_least(D, K, dtype):
    rng = np.random.default_rng(D + K)
    T = lanes(dtype)
    x, slopes, costs = rng.normal(size=(D, T)), rng.normal(size=(K, D)), rng.normal(size=K)
    if K > 2:
        slopes[2], costs[2] = slopes[1], costs[1]
    x[:, 3] = np.nan
    values = costs[:, None] + slopes @ x
    values[:, 3] = np.inf
    shifts, step = padded(slopes, dtype)
    for run in (run_cheapest, find_cheapest.twin):
        best, lowest = np.full(T, -1), aligned(np.zeros(T), dtype)
        run(aligned(x, dtype), T, D, shifts, step, aligned(costs, dtype), K, best, lowest)
        np.testing.assert_array_equal(best, values.argmin(axis=0))
        small = tolerance(dtype)
        np.testing.assert_allclose(lowest, values.min(axis=0), rtol=small, atol=10 * small)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_members_are_added_to_the_sums_of_their_centers(D, dtype):
    rng = np.random.default_rng(D)
    T, K, n = lanes(dtype), 5, 37
    x, centers = rng.normal(size=(D, T)).astype(dtype), rng.normal(size=(K, D)).astype(dtype)
    best, weights = rng.integers(K, size=T), rng.uniform(size=T)
    x[:, n:] = 0
    weights[n:] = 0
    shifts, step = padded(-2 * centers, dtype)
    members = np.eye(K)[best] * weights[:, None]
    squares = 4 * ((x - centers[best].T.astype(np.float64)) ** 2).sum(axis=0)
    for run in (run_members, add_members.twin):
        sums, inertia = aligned(np.ones(K * step), np.float64), aligned(np.ones(T), np.float64)
        run(
            aligned(x, dtype), T, D, n, best, weights, dtype(2), shifts, step, sums, inertia
        )  # fmt: skip
        found = sums.reshape(K, step) - 1
        np.testing.assert_allclose(found[:, :D], members.T @ x.T, rtol=1e-12, atol=1e-12)
        assert not found[:, D:].any()
        assert inertia.sum() - T == pytest.approx(weights @ squares, rel=1e-12)
