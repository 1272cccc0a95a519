"""Each kernel by itself, on data in the first-level cache and on one thread.

Not part of the test suite. To run them:  pytest tests/benchmarks/bench_*.py
A call repeats its kernel; ``extra_info`` in the JSON says how many operations that is.
"""

import numpy as np
import pytest
from numba import njit

from fastgmm.kernels import packing, tiles
from fastgmm.kernels.microkernels import densities as density_microkernels
from fastgmm.kernels.microkernels import moments as moment_microkernels
from fastgmm.kernels.microkernels import vector_math
from fastgmm.kernels.mixture_pass import exponentiate
from fastgmm.kernels.tiles import lane_count
from tests.kernels.lane_arrays import aligned

N_REPEATS = 1_000
N_COMPONENTS = 16

by_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
by_features = pytest.mark.parametrize("D", [2, 8, 32, 64])


def noise(size, dtype):
    """Return normal noise that starts on a cache line, which the kernels rely on."""
    return aligned(np.random.default_rng(0).normal(size=size), dtype)


def repeated(kernel):
    """Return a compiled function that calls a kernel many times."""

    @njit
    def repeat(arguments):
        for _ in range(N_REPEATS):
            kernel(*arguments)

    return repeat


def run(benchmark, kernel, arguments, flops):
    repeat = repeated(kernel)
    repeat(arguments)
    benchmark.extra_info["flops"] = N_REPEATS * flops
    benchmark(repeat, arguments)


@by_dtype
@pytest.mark.parametrize("name", ["exp", "log"])
def test_vector_math(benchmark, name, dtype):
    function = getattr(vector_math, name)

    @njit
    def evaluate(values, out):
        for _ in range(N_REPEATS):
            for i in range(len(values)):
                out[i] = function(values[i])

    values = np.abs(noise(256, dtype)) + dtype(0.1)
    out = noise(256, dtype)
    evaluate(values, out)
    benchmark.extra_info["elements"] = N_REPEATS * 256
    benchmark(evaluate, values, out)


@by_dtype
@by_features
@pytest.mark.parametrize("order", ["C", "F"])
def test_load_tile(benchmark, D, dtype, order):
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    X = np.asarray(noise(T * D, dtype).reshape(T, D), order=order)
    zeros = np.zeros(D, dtype)
    arguments = (X, 0, T, zeros, zeros, noise(T * D, dtype), T)
    run(benchmark, tiles.load_tile, arguments, 2 * T * D)


@by_dtype
@by_features
def test_joint_log_density(benchmark, D, dtype):
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    triangle = np.tril(np.random.default_rng(0).normal(size=(1, D, D)))
    packed = packing.pack_lower(triangle).astype(dtype).ravel()
    arguments = (noise(T * D, dtype), T, packed, 0, noise(D, dtype), 0, D, dtype(0))
    arguments += (noise(T, dtype), 0, noise(T, dtype), np.inf, np.zeros(2, np.int64))
    joint_log_density = density_microkernels.joint_log_density

    @njit
    def call(tile, T, packed, w_at, shift, s_at, D, constant, out, out_at, maximum, margin, spans):
        joint_log_density(
            tile, T, packed, w_at, shift, s_at, D, constant, out, out_at, maximum, margin, spans, 0
        )

    run(benchmark, call, arguments, T * D * (D + 1))


@by_dtype
@by_features
def test_joint_log_density_diagonal(benchmark, D, dtype):
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    arguments = (noise(T * D, dtype), T, noise(D, dtype), 0, noise(D, dtype), 0, D, dtype(0))
    arguments += (noise(T, dtype), 0, noise(T, dtype))
    joint_log_density = density_microkernels.joint_log_density_diagonal

    @njit
    def call(tile, T, scale, w_at, shift, s_at, D, constant, out, out_at, maximum):
        joint_log_density(tile, T, scale, w_at, shift, s_at, D, constant, out, out_at, maximum)

    run(benchmark, call, arguments, 4 * T * D)


@by_dtype
@by_features
def test_add_moments(benchmark, D, dtype):
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    blocks = np.zeros(16 * packing.block_count(D))
    panel = noise(packing.ROWS * T, dtype)
    arguments = (noise(T * D, dtype), T, 0, T, D, noise(T, dtype), 0, panel)
    arguments += (np.zeros(D), 0, blocks, 0)
    add_moments = moment_microkernels.add_moments

    @njit
    def call(tile, T, begin, end, D, weights, r_at, panel, first, f_at, blocks, b_at):
        add_moments(tile, T, begin, end, D, weights, r_at, panel, first, f_at, blocks, b_at)

    run(benchmark, call, arguments, T * D * (D + 1))


@by_dtype
@by_features
def test_add_products(benchmark, D, dtype):
    T = lane_count(2 * D, N_COMPONENTS, dtype().itemsize)
    n_columns = packing.padded(2 * D)
    arguments = (noise(packing.ROWS * T, dtype), 0, noise(n_columns * T, dtype), n_columns)
    arguments += (T, np.zeros(packing.ROWS * n_columns), 0)
    add_products = moment_microkernels.add_products

    @njit
    def call(rows, r_at, columns, n_columns, T, out, out_at):
        add_products(rows, r_at, columns, n_columns, T, out, out_at)

    run(benchmark, call, arguments, 2 * packing.ROWS * n_columns * T)


@by_dtype
def test_exponentiate(benchmark, dtype):
    T = lane_count(8, N_COMPONENTS, dtype().itemsize)
    joint, largest = noise(N_COMPONENTS * T, dtype), np.full(T, 5, dtype)
    spans = np.tile([0, T], N_COMPONENTS)
    arguments = (joint, largest, T, N_COMPONENTS, spans, noise(T, dtype), np.zeros(16, np.int64))
    run(benchmark, exponentiate, arguments, N_COMPONENTS * T)
