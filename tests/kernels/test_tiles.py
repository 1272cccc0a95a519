"""Tiles hold the same numbers however the rows lie in memory."""

import numpy as np
import pytest

from fastgmm.kernels import tiles
from fastgmm.kernels.microkernels.tiles import ROW_GROUP
from fastgmm.kernels.tiles import lane_count
from tests.kernels.lane_arrays import aligned_scratch, callable_from_python

load_tile = callable_from_python(tiles.load_tile)
N_BEFORE = 5


def layouts(X):
    """Return rows of arrays that hold X from row 5 on, all typed by numba as of any strides."""
    N, D = X.shape
    rows = np.empty((N + N_BEFORE, D + 1), X.dtype)[:, :D]
    columns = np.empty((N + N_BEFORE + 1, D), X.dtype, "F")[:-1]
    reversed_columns = np.empty((N + N_BEFORE + 1, D), X.dtype, "F")[:-1, ::-1]
    strided = np.empty((2 * (N + N_BEFORE), 2 * D), X.dtype)[::2, ::2]
    size = (N + N_BEFORE) * D * X.itemsize
    unaligned = np.empty(size + 1, np.uint8)[1:].view(X.dtype).reshape((-1, D), order="F")
    found = {
        "rows": rows,
        "columns": columns,
        "columns in reverse": reversed_columns,
        "strided": strided,
        "unaligned columns": unaligned,
    }
    for each in found.values():
        each[:N_BEFORE] = np.nan
        each[N_BEFORE:] = X
    return found


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [(np.float64, np.float64), (np.float32, np.float32), (np.float32, np.float64)],
)
@pytest.mark.parametrize("D", [1, 3, 17])
def test_a_tile_has_the_same_bits_from_every_layout(D, stored, dtype):
    rng = np.random.default_rng(D)
    T = lane_count(100, 100, np.dtype(dtype).itemsize)
    X = (1e3 + rng.normal(size=(T, D))).astype(stored)
    center = 1e3 + rng.normal(size=D)
    high = center.astype(dtype)
    low = (center - high).astype(dtype)
    expected = ((X.astype(dtype) - high) - low).T
    tile = aligned_scratch(D * T, high)
    for name, rows in layouts(X).items():
        for n in [*range(2 * ROW_GROUP + 2), T - 1, T]:
            tile[:] = np.nan
            load_tile(rows, N_BEFORE, n, high, low, tile, T)
            table = tile.reshape(D, T)
            np.testing.assert_array_equal(table[:, :n], expected[:, :n], err_msg=name)
            np.testing.assert_array_equal(table[:, n:], 0.0, err_msg=name)


@pytest.mark.parametrize("D", [1, 4])
def test_a_single_row_fills_one_lane(D):
    X = np.arange(1.0, D + 1)[None]
    T = lane_count(D, 1, 8)
    tile = aligned_scratch(D * T, X)
    for rows in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        load_tile(rows, 0, 1, np.ones(D), np.zeros(D), tile, T)
        table = tile.reshape(D, T)
        np.testing.assert_array_equal(table[:, 0], np.arange(D))
        assert not table[:, 1:].any()
