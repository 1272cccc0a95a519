"""Arrays of lanes as the microkernels take them, and what their tests run over."""

import numpy as np

from fastgmm.kernels import tiles
from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.tiles import TILE_BYTES

ORDERS = [1, 2, 3, 4, 5, 7, 8, 12, 19, 66, 129]
TYPES = [np.float64, np.float32]


def callable_from_python(inner_kernel):
    """Return a kernel that only kernels call, compiled by itself."""
    return kernel()(getattr(inner_kernel, "py_func", inner_kernel))


aligned_scratch = callable_from_python(tiles.aligned_scratch)


def aligned(values, dtype):
    values = np.asarray(values, dtype).ravel()
    out = aligned_scratch(len(values), values)
    out[:] = values
    return out


def lanes(dtype):
    return TILE_BYTES // np.dtype(dtype).itemsize


def tolerance(dtype):
    return 1e-12 if dtype is np.float64 else 2e-4
