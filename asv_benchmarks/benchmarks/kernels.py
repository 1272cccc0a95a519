"""Each kernel by itself, on data in the first-level cache and on one thread."""

import numpy as np
from numba import njit

from fastgmm.kernels import packing, tiles
from fastgmm.kernels.microkernels import densities, moments, vector_math
from fastgmm.kernels.mixture_pass import exponentiate
from fastgmm.kernels.tiles import aligned_scratch, lane_count

from .sizes import SMALL

# A kernel is made by a function of the number of features and the type: it, and its arguments.
N_CALLS = 1_000
N_COMPONENTS = 16


def noise(size, dtype):
    """Return normal noise that starts on a cache line, which the kernels rely on."""
    values = aligned_scratch(size, np.empty(0, dtype))
    values[:] = np.random.default_rng(0).normal(size=size)
    return values


def load_tile(D, dtype):
    """Load rows feature by feature."""
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    X, zeros = noise(T * D, dtype).reshape(T, D), np.zeros(D, dtype)
    return tiles.load_tile, (X, 0, T, zeros, zeros, noise(T * D, dtype), T)


def joint_log_density(D, dtype):
    """Apply a full whitener to a tile."""
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    triangle = np.tril(np.random.default_rng(0).normal(size=(1, D, D)))
    packed = packing.pack_lower(triangle).astype(dtype).ravel()
    kernel = densities.joint_log_density

    @njit
    def call(tile, T, packed, w_at, shift, s_at, D, constant, out, out_at, maximum):
        kernel(tile, T, packed, w_at, shift, s_at, D, constant, out, out_at, maximum)

    arguments = (noise(T * D, dtype), T, packed, 0, noise(D, dtype), 0, D, dtype(0))
    return call, (*arguments, noise(T, dtype), 0, noise(T, dtype))


def joint_log_density_diagonal(D, dtype):
    """Apply a diagonal whitener to a tile."""
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    kernel = densities.joint_log_density_diagonal

    @njit
    def call(tile, T, scale, w_at, shift, s_at, D, constant, out, out_at, maximum):
        kernel(tile, T, scale, w_at, shift, s_at, D, constant, out, out_at, maximum)

    arguments = (noise(T * D, dtype), T, noise(D, dtype), 0, noise(D, dtype), 0, D, dtype(0))
    return call, (*arguments, noise(T, dtype), 0, noise(T, dtype))


def add_moments(D, dtype):
    """Add the weighted moments of a tile."""
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    blocks, panel = np.zeros(16 * packing.block_count(D)), noise(packing.ROWS * T, dtype)
    kernel = moments.add_moments

    @njit
    def call(tile, T, D, weights, r_at, panel, first, f_at, blocks, b_at):
        kernel(tile, T, D, weights, r_at, panel, first, f_at, blocks, b_at)

    return call, (noise(T * D, dtype), T, D, noise(T, dtype), 0, panel, np.zeros(D), 0, blocks, 0)


def responsibilities(D, dtype):
    """Exponentiate joint densities of a tile."""
    T = lane_count(D, N_COMPONENTS, dtype().itemsize)
    joint, largest = noise(N_COMPONENTS * T, dtype), np.full(T, 5, dtype)
    counts = np.zeros(16, np.int64)
    return exponentiate, (joint, largest, T, N_COMPONENTS, noise(T, dtype), counts)


def exp(_D, dtype):
    """Exponentiate by the function that the kernels have of their own."""
    function = vector_math.exp

    @njit
    def call(values, out):
        for i in range(len(values)):
            out[i] = function(values[i])

    return call, (noise(256, dtype), noise(256, dtype))


KERNELS = {
    each.__name__: each
    for each in (
        *(load_tile, joint_log_density, joint_log_density_diagonal),
        *(add_moments, responsibilities, exp),
    )
}


class Time:
    """Seconds for a thousand calls."""

    params = (list(KERNELS), [8] if SMALL else [2, 8, 32, 64], ["float64", "float32"])
    param_names = ("kernel", "features", "dtype")
    timeout = 600

    def setup(self, name, n_features, dtype):
        kernel, self.arguments = KERNELS[name](n_features, np.dtype(dtype).type)

        @njit
        def repeat(arguments):
            for _ in range(N_CALLS):
                kernel(*arguments)

        self.repeat = repeat
        repeat(self.arguments)

    def time_kernel(self, name, n_features, dtype):
        del name, n_features, dtype
        self.repeat(self.arguments)
