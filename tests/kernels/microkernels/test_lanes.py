"""Machine code that completes rows against its twins in NumPy, and these against formulas."""

import numpy as np
import pytest

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels.lanes import (
    VECTOR,
    offsets_of_row,
    row_product,
    subtract_products,
)

T = 64


@kernel()
def run_subtract(left, l_at, l_step, right, r_at, r_step, n, lanes, scale, s_at, out, o_at):
    subtract_products(left, l_at, l_step, right, r_at, r_step, n, lanes, scale, s_at, out, o_at)


@kernel()
def run_product(rows, at, vector, n):
    return row_product(rows, at, vector, n)


@kernel()
def run_offsets(rows, present, at, reference, r_at, n, out):
    offsets_of_row(rows, present, at, reference, r_at, n, out)


@pytest.mark.parametrize("run", [run_subtract, subtract_products.twin])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_products_are_subtracted_lane_by_lane(n, run):
    rng = np.random.default_rng(n)
    left, right, scale, out = rng.normal(size=(4, 20 * T))
    before = out.copy()
    run(left, 3 * T, 2 * T, right, T, 3 * T, n, T, scale, 2 * T, out, 7 * T)
    a = left.reshape(20, T)[3 : 3 + 2 * n : 2]
    b = right.reshape(20, T)[1 : 1 + 3 * n : 3]
    expected = before.reshape(20, T).copy()
    expected[7] = (expected[7] - (a * b).sum(axis=0)) * scale.reshape(20, T)[2]
    np.testing.assert_allclose(out.reshape(20, T), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("run", [run_product, row_product.twin])
@pytest.mark.parametrize("n", [VECTOR, 3 * VECTOR])
def test_product_of_rows(n, run):
    rng = np.random.default_rng(n)
    rows, vector = rng.normal(size=50), rng.normal(size=n)
    expected = float(rows[5 : 5 + n] @ vector)
    assert run(rows, 5, vector, n) == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("run", [run_offsets, offsets_of_row.twin])
def test_offsets_are_zero_where_a_value_is_missing(run):
    rng = np.random.default_rng(0)
    rows, reference = rng.normal(size=(2, 40))
    present = rng.integers(0, 2, size=40).astype(float)
    out = np.full(2 * VECTOR, 7.0)
    run(rows, present, 9, reference, 3, VECTOR, out)
    expected = (rows[9 : 9 + VECTOR] - reference[3 : 3 + VECTOR]) * present[9 : 9 + VECTOR]
    np.testing.assert_array_equal(out[:VECTOR], expected)
    np.testing.assert_array_equal(out[VECTOR:], 7.0)
