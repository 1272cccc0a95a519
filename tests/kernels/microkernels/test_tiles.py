"""Machine code of the loading of tiles against its twins in NumPy, and these against formulas."""

import numpy as np
import pytest

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels.tiles import (
    ROW_GROUP,
    add_matrix_product,
    load_columns,
    load_rows,
    subtract_reference,
    whiten,
)
from fastgmm.kernels.packing import pack_lower
from tests.kernels.lane_arrays import ORDERS, TYPES, aligned, lanes, tolerance


@kernel()
def run_load_rows(X, row, n, center, center_low, tile, T):
    load_rows(X, row, n, center, center_low, tile, T)


@kernel()
def run_load_columns(X, row, n, center, center_low, tile, T):
    load_columns(X, row, n, center, center_low, tile, T)


@kernel()
def run_subtract(tile, T, D, reference, low, at, out):
    subtract_reference(tile, T, D, reference, low, at, out)


@kernel()
def run_whiten(tile, T, D, whitener, out):
    whiten(tile, T, D, whitener, out)


@kernel()
def run_matrix_product(matrix, m_at, R, C, points, p_at, T, out, o_at):
    add_matrix_product(matrix, m_at, R, C, points, p_at, T, out, o_at)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("R", "C"), [(4, 1), (4, 8), (12, 5), (64, 3)])
def test_products_of_a_matrix_and_points_are_added(R, C, dtype):
    rng = np.random.default_rng(R)
    T = lanes(dtype)
    matrix, points = rng.normal(size=(R, C)), rng.normal(size=(C, T))
    panels = np.concatenate([np.zeros(3), matrix.reshape(-1, 4, C).transpose(0, 2, 1).ravel()])
    for run in (run_matrix_product, add_matrix_product.twin):
        out = aligned(np.ones((R + 2, T)), dtype)
        shifted = aligned(np.concatenate([np.zeros((1, T)), points]), dtype)
        run(aligned(panels, dtype), 3, R, C, shifted, T, T, out, T)
        found = out.reshape(R + 2, T)
        np.testing.assert_array_equal(found[[0, -1]], 1.0)
        np.testing.assert_allclose(
            found[1:-1], 1.0 + matrix @ points, rtol=tolerance(dtype), atol=tolerance(dtype) * C
        )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_points_are_multiplied_by_a_triangle(D, dtype):
    rng = np.random.default_rng(D)
    T = lanes(dtype)
    x, triangle = rng.normal(size=(D, T)), np.tril(rng.normal(size=(D, D)))
    for run in (run_whiten, whiten.twin):
        out = aligned(np.ones(D * T), dtype)
        run(aligned(x, dtype), T, D, aligned(pack_lower(triangle[None]), dtype), out)
        small = tolerance(dtype)
        np.testing.assert_allclose(out.reshape(D, T), triangle @ x, rtol=small, atol=10 * small)


@pytest.mark.parametrize(
    ("order", "runs"),
    [
        ("C", (run_load_rows, load_rows.twin)),
        ("F", (run_load_columns, load_columns.twin)),
    ],
)
@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("D", ORDERS)
def test_rows_are_loaded_feature_by_feature_about_the_center(D, dtype, stored, order, runs):
    rng = np.random.default_rng(D)
    T, n = lanes(dtype), 2 * ROW_GROUP
    X = np.asarray(rng.normal(size=(n + 3, D)), stored, order)
    center = rng.normal(size=D)
    high = center.astype(dtype)
    low = (center - high).astype(dtype)
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
    for run in (run_subtract, subtract_reference.twin):
        out = aligned(np.zeros(D * T), dtype)
        run(aligned(x, dtype), T, D, high, (reference - high).astype(dtype), D, out)
        np.testing.assert_allclose(out.reshape(D, T), x - reference[D:, None], rtol=1e-6, atol=1e-7)
