"""The inner loops of step four of a pass: sums over lanes of products of features.

Each works on one *tile* as those of ``density_microkernels`` do.  A block of 4 × 4 accumulators,
each a vector of lanes, is held in registers over the whole loop over lanes.  Only then are the
lanes of each summed up, and added to totals in double precision.

Each microkernel is machine code with a twin in plain NumPy, which says what it computes.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastgmm.kernels.compilation import microkernel
from fastgmm.kernels.microkernels import simd
from fastgmm.kernels.microkernels.simd import constant
from fastgmm.kernels.packing import ROWS


def _add_block(builder, places, rows_at, columns_at, lanes, width, sums, out):
    """Add the lane sums of products of up to four rows and four columns to a 4 × 4 block."""
    align = simd.BLOCK.n_bytes
    element = rows_at[0].type.pointee
    zero = simd.filled(element, width, 0.0)
    for r, c in places:
        sums[r * ROWS + c] = zero
    with cgutils.for_range_slice(builder, constant(0), lanes, constant(width)) as (lane, _):
        weighted = [simd.load(builder, at, lane, width, align) for at in rows_at]
        for c, at in enumerate(columns_at):
            feature = simd.load(builder, at, lane, width, align)
            for r in range(len(rows_at)):
                if (r, c) in places:
                    i = r * ROWS + c
                    sums[i] = simd.multiply_add(builder, weighted[r], feature, sums[i])
    vectors = [
        sums[r * ROWS + c] if (r, c) in places else zero for r in range(ROWS) for c in range(ROWS)
    ]
    _add_lane_sums(builder, vectors, width, out)


def _add_lane_sums(builder, vectors, width, out):
    """Add the sum of each vector's lanes to consecutive float64 numbers."""
    for start in range(0, len(vectors), width):
        total = simd.sums_of_lanes(builder, vectors[start : start + width], width)
        if not isinstance(total.type.element, ir.DoubleType):
            total = builder.fpext(total, ir.VectorType(ir.DoubleType(), width))
        so_far = simd.load(builder, out, constant(start), width, 8)
        simd.store(builder, builder.fadd(so_far, total), out, constant(start), 8)


def _add_moments(
    _typing_context, tile, T, begin, end, D, weights, r_at, panel, first_moments, f_at, blocks, b_at
):
    arguments = (
        tile, T, begin, end, D, weights, r_at, panel, first_moments, f_at, blocks, b_at
    )  # fmt: skip

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align = simd.BLOCK.n_bytes
        vector = ir.VectorType(element, width)
        stride, order = values[1], values[4]
        lanes = builder.sub(values[3], values[2])
        tile_at = simd.pointer(context, builder, tile, values[0], values[2])
        weights_at = simd.pointer(context, builder, weights, values[5], values[6])
        weights_at = builder.gep(weights_at, [values[2]])
        panel_at = simd.pointer(context, builder, panel, values[7])
        first_at = simd.pointer(context, builder, first_moments, values[8], values[9])
        out_at = cgutils.alloca_once_value(
            builder, simd.pointer(context, builder, blocks, values[10], values[11])
        )
        sums = simd.Registers(builder, vector, ROWS * ROWS)

        def row(at, index):
            return builder.gep(at, [builder.mul(index, stride)])

        def add_rows(first, n_rows):
            """Add the products of the weighted rows ``first``… with all rows up to them."""
            rows_at = [row(panel_at, constant(r)) for r in range(n_rows)]
            own = [row(tile_at, builder.add(first, constant(r))) for r in range(n_rows)]
            zero = simd.filled(element, width, 0.0)
            for r in range(n_rows):
                sums[r] = zero
            with cgutils.for_range_slice(builder, constant(0), lanes, constant(width)) as (
                lane,
                _,
            ):
                weight = simd.load(builder, weights_at, lane, width, align)
                for r in range(n_rows):
                    feature = simd.load(builder, own[r], lane, width, align)
                    weighted = builder.fmul(weight, feature)
                    simd.store(builder, weighted, rows_at[r], lane, align)
                    sums[r] = builder.fadd(sums[r], weighted)
            for r in range(n_rows):
                total = simd.sum_of_lanes(builder, sums[r], width)
                at = builder.gep(first_at, [builder.add(first, constant(r))])
                builder.store(builder.fadd(builder.load(at), total), at)
            everywhere = {(r, c) for r in range(n_rows) for c in range(ROWS)}
            below = {(r, c) for r in range(n_rows) for c in range(r + 1)}
            with cgutils.for_range(builder, builder.sdiv(first, constant(ROWS))) as loop:
                column = builder.mul(loop.index, constant(ROWS))
                columns = [row(tile_at, builder.add(column, constant(c))) for c in range(ROWS)]
                out = builder.load(out_at)
                _add_block(builder, everywhere, rows_at, columns, lanes, width, sums, out)
                builder.store(builder.gep(out, [constant(ROWS * ROWS)]), out_at)
            out = builder.load(out_at)
            _add_block(builder, below, rows_at, own, lanes, width, sums, out)
            builder.store(builder.gep(out, [constant(ROWS * ROWS)]), out_at)

        simd.for_panels(builder, order, add_rows)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_add_moments)
def add_moments(
    tile, T, begin, end, D, weights, r_at, _panel, first_moments, f_at, blocks, b_at
):  # fmt: skip
    """Add the weighted first and second moments of some of T points.

    Parameters
    ----------
    tile : ndarray
        The points about their reference, feature by feature, T lanes each.
    T, D : int
        Numbers of lanes and of features.
    begin, end : int
        The first lane to be taken, and the first past them.
    weights, r_at : ndarray, int
        Weights of points, and where the T to use start.
    _panel : ndarray of shape (4 * T,)
        Scratch of the machine code.
    first_moments, f_at : ndarray of float64, int
        Where Σ weight·x is added.
    blocks, b_at : ndarray of float64, int
        Where the lower triangle of Σ weight·x·xᵀ is added, in the blocks of ``unpack_blocks``.
    """
    x = tile[: D * T].reshape(D, T)[:, begin:end]
    weighted = x * weights[r_at + begin : r_at + end]
    first_moments[f_at : f_at + D] += weighted.sum(axis=1)
    at = b_at
    for first in range(0, D, ROWS):
        rows = weighted[first : first + ROWS]
        for column in range(0, first + 1, ROWS):
            block = np.zeros((ROWS, ROWS))
            product = rows @ x[column : column + ROWS].T
            block[: product.shape[0], : product.shape[1]] = product
            if column == first:
                block = np.tril(block)
            blocks[at : at + ROWS * ROWS] += block.ravel()
            at += ROWS * ROWS


def _add_products(_typing_context, rows, r_at, columns, n_columns, T, out, out_at):
    arguments = (rows, r_at, columns, n_columns, T, out, out_at)

    def generate(context, builder, _signature, values):
        element = simd.element_type(rows)
        width = simd.lane_width(element)
        lanes = values[4]
        first_row = simd.pointer(context, builder, rows, values[0], values[1])
        columns_at = simd.pointer(context, builder, columns, values[2])
        out_address = simd.pointer(context, builder, out, values[5], values[6])
        sums = simd.Registers(builder, ir.VectorType(element, width), ROWS * ROWS)
        everywhere = {(r, c) for r in range(ROWS) for c in range(ROWS)}
        rows_at = [builder.gep(first_row, [builder.mul(constant(r), lanes)]) for r in range(ROWS)]
        n_blocks = builder.sdiv(values[3], constant(ROWS))
        with cgutils.for_range(builder, n_blocks) as loop:
            column = builder.mul(loop.index, constant(ROWS))
            own = [
                builder.gep(columns_at, [builder.mul(builder.add(column, constant(c)), lanes)])
                for c in range(ROWS)
            ]
            at = builder.gep(out_address, [builder.mul(loop.index, constant(ROWS * ROWS))])
            _add_block(builder, everywhere, rows_at, own, lanes, width, sums, at)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_add_products)
def add_products(rows, r_at, columns, n_columns, T, out, out_at):
    """Add the products of four rows with ``n_columns`` others, summed over T lanes.

    Parameters
    ----------
    rows, r_at : ndarray, int
        Rows of T lanes, and where the four to use start.
    columns : ndarray
        Rows of T lanes.
    n_columns : int
        How many of them, a multiple of four.
    T : int
        Number of lanes.
    out, out_at : ndarray of float64, int
        Where the products are added: for every four columns a 4 × 4 block, row by row.
    """
    left = rows[r_at : r_at + ROWS * T].reshape(ROWS, T)
    right = columns[: n_columns * T].reshape(n_columns, T)
    product = (left @ right.T).reshape(ROWS, -1, ROWS).transpose(1, 0, 2)
    out[out_at : out_at + ROWS * n_columns] += product.ravel()


def _add_diagonal_moments(_typing_context, tile, T, D, weights, r_at, products, at):
    arguments = (tile, T, D, weights, r_at, products, at)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align = simd.BLOCK.n_bytes
        lanes, order = values[1], values[2]
        tile_at = simd.pointer(context, builder, tile, values[0])
        weights_at = simd.pointer(context, builder, weights, values[3], values[4])
        products_at = simd.pointer(context, builder, products, values[5], values[6])
        sums = simd.Registers(builder, ir.VectorType(element, width), 2 * ROWS)

        def add_to(column, vector):
            """Add to a column of a component's row in 4 × 4 blocks."""
            block = builder.mul(builder.sdiv(column, constant(ROWS)), constant(ROWS * ROWS))
            place = builder.add(block, builder.srem(column, constant(ROWS)))
            here = builder.gep(products_at, [place])
            total = simd.sum_of_lanes(builder, vector, width)
            builder.store(builder.fadd(builder.load(here), total), here)

        def add_rows(first, n_rows):
            rows = [
                builder.gep(tile_at, [builder.mul(builder.add(first, constant(r)), lanes)])
                for r in range(n_rows)
            ]
            for i in range(2 * n_rows):
                sums[i] = simd.filled(element, width, 0.0)
            with cgutils.for_range_slice(builder, constant(0), lanes, constant(width)) as (
                lane,
                _,
            ):
                weight = simd.load(builder, weights_at, lane, width, align)
                for r in range(n_rows):
                    feature = simd.load(builder, rows[r], lane, width, align)
                    weighted = builder.fmul(weight, feature)
                    sums[2 * r] = builder.fadd(sums[2 * r], weighted)
                    sums[2 * r + 1] = simd.multiply_add(builder, weighted, feature, sums[2 * r + 1])
            for r in range(n_rows):
                column = builder.add(first, constant(r))
                add_to(column, sums[2 * r])
                add_to(builder.add(column, order), sums[2 * r + 1])

        simd.for_panels(builder, order, add_rows)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_add_diagonal_moments)
def add_diagonal_moments(tile, T, D, weights, r_at, products, at):
    """Add a component's weighted first moments and the diagonal of its second ones.

    Parameters
    ----------
    tile : ndarray
        The points about the component's reference, feature by feature, T lanes each.
    T, D : int
        Numbers of lanes and of features.
    weights, r_at : ndarray, int
        Weights of points, and where the T to use start.
    products, at : ndarray of float64, int
        Where the component's row of 4 × 4 blocks starts: column j receives Σ weight·x_j and
        column D + j receives Σ weight·x_j².
    """
    x = tile[: D * T].reshape(D, T)
    weighted = x * weights[r_at : r_at + T]
    sums = np.concatenate([weighted.sum(axis=1), (weighted * x).sum(axis=1)])
    columns = np.arange(2 * D)
    products[at + columns // ROWS * ROWS * ROWS + columns % ROWS] += sums


def _lane_sum(_typing_context, values_type, at, T):
    def generate(context, builder, _signature, values):
        element = simd.element_type(values_type)
        width = simd.lane_width(element)
        address = simd.pointer(context, builder, values_type, values[0], values[1])
        sums = simd.Registers(builder, ir.VectorType(element, width), ROWS)
        for i in range(ROWS):
            sums[i] = simd.filled(element, width, 0.0)
        step = constant(ROWS * width)
        with cgutils.for_range_slice(builder, constant(0), values[2], step) as (lane, _):
            for i in range(ROWS):
                at_lane = builder.add(lane, constant(i * width))
                value = simd.load(builder, address, at_lane, width, simd.BLOCK.n_bytes)
                sums[i] = builder.fadd(sums[i], value)
        total = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
        return simd.sum_of_lanes(builder, total, width)

    return types.float64(values_type, at, T), generate


@microkernel(_lane_sum)
def lane_sum(values, at, T):
    """Return the sum of T lanes from ``at`` on, in double precision."""
    return np.float64(values[at : at + T].sum())
