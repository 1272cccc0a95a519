"""The inner loops that fill a tile: features of T points side by side, about a point.

Rows with adjacent entries are transposed in registers, a square of them at a time; columns with
adjacent entries need no transposition; any other rows are for ``tiles.load_tile`` itself.

Each microkernel is machine code with a twin in plain NumPy, which says what it computes.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastgmm.kernels.compilation import microkernel
from fastgmm.kernels.microkernels import simd
from fastgmm.kernels.microkernels.simd import constant
from fastgmm.kernels.packing import ROWS

ROW_GROUP = simd.BLOCK.n_bytes // 4
"""Rows that ``load_rows`` and ``load_columns`` take at once in either type divide this."""


def _load_rows(_typing_context, X, row, n, center, center_low, tile, T):
    arguments = (X, row, n, center, center_low, tile, T)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        given = simd.element_type(X)
        width = simd.lane_width(element)
        array = cgutils.create_struct_proxy(X)(context, builder, value=values[0])
        stride = builder.extract_value(array.strides, 0)
        n_features = builder.extract_value(array.shape, 1)
        center_at = simd.pointer(context, builder, center, values[3])
        low_at = simd.pointer(context, builder, center_low, values[4])
        tile_at = simd.pointer(context, builder, tile, values[5])
        lanes = values[6]
        # Memory is read while the tile before is worked on.
        tile_bytes = builder.mul(lanes, stride)

        def load_square(lane, column, count):
            """Load ``count`` columns of as many rows as a vector has lanes, and store lanes."""
            rows = []
            for i in range(width):
                number = builder.add(builder.add(values[1], lane), constant(i))
                start = builder.mul(number, stride)
                byte = builder.bitcast(array.data, ir.IntType(8).as_pointer())
                at = builder.bitcast(builder.gep(byte, [start]), given.as_pointer())
                at = builder.gep(at, [column])
                simd.prefetch(builder, at, tile_bytes)
                if count is None:
                    rows.append(simd.load(builder, at, constant(0), width, 4))
                else:
                    rows.append(simd.load_some(builder, at, width, count))
            rows = [simd.converted(builder, features, element) for features in rows]
            for j, features in enumerate(simd.transposed(builder, rows, width)):
                feature = builder.add(column, constant(j))

                def store_lanes(features=features, feature=feature):
                    for part in (center_at, low_at):
                        value = builder.load(builder.gep(part, [feature]))
                        features = builder.fsub(features, simd.broadcast(builder, value, width))
                    at = builder.add(builder.mul(feature, lanes), lane)
                    simd.store(builder, features, tile_at, at, simd.BLOCK.n_bytes)

                if count is None:
                    store_lanes()
                else:
                    with builder.if_then(builder.icmp_signed("<", constant(j), count)):
                        store_lanes()

        simd.for_squares(builder, values[2], n_features, width, load_square)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_load_rows)
def load_rows(X, row, n, center, center_low, tile, T):
    """Write the features of n rows about a center, feature by feature.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Rows whose entries are adjacent in memory.
    row, n : int
        The first row and how many, a multiple of ``ROW_GROUP``.
    center, center_low : ndarray of shape (D,)
        What is subtracted, as a sum of two numbers.
    tile : ndarray
        Receives feature j of row i at ``j * T + i``.
    T : int
        Lanes of the tile.
    """
    n_features = X.shape[1]
    lanes = tile[: n_features * T].reshape(n_features, T)
    lanes[:, :n] = (X[row : row + n].astype(tile.dtype) - center - center_low).T


def _load_columns(_typing_context, X, row, n, center, center_low, tile, T):
    arguments = (X, row, n, center, center_low, tile, T)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        array = cgutils.create_struct_proxy(X)(context, builder, value=values[0])
        stride = builder.extract_value(array.strides, 1)
        first_row = builder.gep(array.data, [values[1]])
        center_at = simd.pointer(context, builder, center, values[3])
        low_at = simd.pointer(context, builder, center_low, values[4])
        tile_at = simd.pointer(context, builder, tile, values[5])
        with cgutils.for_range(builder, builder.extract_value(array.shape, 1)) as loop:
            high, low = (
                simd.broadcast(builder, builder.load(builder.gep(part, [loop.index])), width)
                for part in (center_at, low_at)
            )
            column = cgutils.pointer_add(builder, first_row, builder.mul(loop.index, stride))
            lanes = builder.gep(tile_at, [builder.mul(loop.index, values[6])])
            with cgutils.for_range_slice(builder, constant(0), values[2], constant(width)) as (
                lane,
                _,
            ):
                features = simd.load(builder, column, lane, width, 1)
                features = simd.converted(builder, features, element)
                offset = builder.fsub(builder.fsub(features, high), low)
                simd.store(builder, offset, lanes, lane, simd.BLOCK.n_bytes)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_load_columns)
def load_columns(X, row, n, center, center_low, tile, T):
    """Write the features of n rows about a center, where a column's entries are adjacent.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Rows, each column of which is contiguous in memory.
    row, n, center, center_low, tile, T
        As in ``load_rows``.
    """
    load_rows.twin(X, row, n, center, center_low, tile, T)


def _subtract_reference(_typing_context, tile, T, D, reference, reference_low, at, out):
    arguments = (tile, T, D, reference, reference_low, at, out)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align = simd.BLOCK.n_bytes
        tile_at = simd.pointer(context, builder, tile, values[0])
        high_at = simd.pointer(context, builder, reference, values[3], values[5])
        low_at = simd.pointer(context, builder, reference_low, values[4], values[5])
        out_at = simd.pointer(context, builder, out, values[6])
        with cgutils.for_range(builder, values[2]) as loop:
            high, low = (
                simd.broadcast(builder, builder.load(builder.gep(part, [loop.index])), width)
                for part in (high_at, low_at)
            )
            row = builder.mul(loop.index, values[1])
            stop = builder.add(row, values[1])
            with cgutils.for_range_slice(builder, row, stop, constant(width)) as (lane, _):
                feature = simd.load(builder, tile_at, lane, width, align)
                offset = builder.fsub(builder.fsub(feature, high), low)
                simd.store(builder, offset, out_at, lane, align)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_subtract_reference)
def subtract_reference(tile, T, D, reference, reference_low, at, out):
    """Write the tile's features about a component's own reference point.

    Parameters
    ----------
    tile : ndarray
        The points, feature by feature, T lanes each.
    T, D : int
        Numbers of lanes and of features.
    reference, reference_low, at : ndarray, ndarray, int
        Reference points as sums of two numbers, and where the one to use starts.
    out : ndarray
        Receives the features less the reference.
    """
    x = tile[: D * T].reshape(D, T)
    offsets = (x - reference[at : at + D, None]) - reference_low[at : at + D, None]
    out[: D * T] = offsets.ravel()


def _whiten(_typing_context, tile, T, D, whitener, out):
    arguments = (tile, T, D, whitener, out)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align, side = simd.BLOCK.n_bytes, simd.BLOCK.n_vectors
        lanes, order = values[1], values[2]
        tile_at = simd.pointer(context, builder, tile, values[0])
        whitener_at = simd.pointer(context, builder, whitener, values[3])
        panel_at = cgutils.alloca_once_value(builder, whitener_at)
        out_at = simd.pointer(context, builder, out, values[4])
        sums = simd.Registers(builder, ir.VectorType(element, width), ROWS * side)
        step = constant(side * width)

        def add_panel(first, n_rows):
            """Write ``n_rows`` whitened coordinates from row ``first`` on."""
            at = builder.load(panel_at)
            n_columns = builder.add(first, constant(n_rows))
            with cgutils.for_range_slice(builder, constant(0), lanes, step) as (lane, _):
                for i in range(n_rows * side):
                    sums[i] = simd.filled(element, width, 0.0)
                with cgutils.for_range(builder, n_columns) as loop:
                    row = builder.add(builder.mul(loop.index, lanes), lane)
                    places = [builder.add(row, constant(c * width)) for c in range(side)]
                    features = [simd.load(builder, tile_at, i, width, align) for i in places]
                    column = builder.mul(loop.index, constant(n_rows))
                    for r in range(n_rows):
                        entry = builder.gep(at, [builder.add(column, constant(r))])
                        entry = simd.broadcast(builder, builder.load(entry), width)
                        for c in range(side):
                            i = r * side + c
                            sums[i] = simd.multiply_add(builder, entry, features[c], sums[i])
                for r in range(n_rows):
                    row = builder.add(builder.mul(builder.add(first, constant(r)), lanes), lane)
                    for c in range(side):
                        place = builder.add(row, constant(c * width))
                        simd.store(builder, sums[r * side + c], out_at, place, align)
            size = builder.mul(n_columns, constant(n_rows))
            builder.store(builder.gep(at, [size]), panel_at)

        simd.for_panels(builder, order, add_panel)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_whiten)
def whiten(tile, T, D, whitener, out):
    """Write a triangle times the tile's features.

    Parameters
    ----------
    tile : ndarray
        The points, feature by feature, T lanes each.
    T, D : int
        Numbers of lanes and of features.
    whitener : ndarray
        The first of packed lower triangles (``pack_lower``).
    out : ndarray
        Receives the whitened coordinates, of the layout of the tile.
    """
    x = tile[: D * T].reshape(D, T)
    at = 0
    for first in range(0, D, ROWS):
        last = min(first + ROWS, D)
        size = (last - first) * last
        panel = whitener[at : at + size].reshape(last, last - first).T
        out[first * T : last * T] = (panel @ x[:last]).ravel()
        at += size


def _add_matrix_product(_typing_context, matrix, m_at, R, C, points, p_at, T, out, o_at):
    arguments = (matrix, m_at, R, C, points, p_at, T, out, o_at)

    def generate(context, builder, _signature, values):
        element = simd.element_type(points)
        width = simd.lane_width(element)
        align, side = simd.BLOCK.n_bytes, simd.BLOCK.n_vectors
        n_rows, n_columns, lanes = values[2], values[3], values[6]
        matrix_at = simd.pointer(context, builder, matrix, values[0], values[1])
        points_at = simd.pointer(context, builder, points, values[4], values[5])
        out_at = simd.pointer(context, builder, out, values[7], values[8])
        sums = simd.Registers(builder, ir.VectorType(element, width), ROWS * side)
        step = constant(side * width)
        with cgutils.for_range_slice(builder, constant(0), n_rows, constant(ROWS)) as (first, _):
            panel = builder.gep(matrix_at, [builder.mul(first, n_columns)])
            with cgutils.for_range_slice(builder, constant(0), lanes, step) as (lane, _):
                places = [
                    builder.add(
                        builder.mul(builder.add(first, constant(r)), lanes),
                        builder.add(lane, constant(c * width)),
                    )
                    for r in range(ROWS)
                    for c in range(side)
                ]
                for i, place in enumerate(places):
                    sums[i] = simd.load(builder, out_at, place, width, align)
                with cgutils.for_range(builder, n_columns) as loop:
                    row = builder.add(builder.mul(loop.index, lanes), lane)
                    features = [
                        simd.load(
                            builder, points_at, builder.add(row, constant(c * width)), width, align
                        )
                        for c in range(side)
                    ]
                    column = builder.mul(loop.index, constant(ROWS))
                    for r in range(ROWS):
                        entry = builder.gep(panel, [builder.add(column, constant(r))])
                        entry = simd.broadcast(builder, builder.load(entry), width)
                        for c in range(side):
                            i = r * side + c
                            sums[i] = simd.multiply_add(builder, entry, features[c], sums[i])
                for i, place in enumerate(places):
                    simd.store(builder, sums[i], out_at, place, align)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_add_matrix_product)
def add_matrix_product(matrix, m_at, R, C, points, p_at, T, out, o_at):
    """Add a matrix times the features of T points.

    Parameters
    ----------
    matrix, m_at : ndarray, int
        Panels of four rows, each column by column, and where the first of them starts.
    R, C : int
        Numbers of rows, a multiple of four, and of columns.
    points, p_at : ndarray, int
        The points, feature by feature, T lanes each, and where their C features start.
    T : int
        Number of lanes.
    out, o_at : ndarray, int
        Where the R products are added, of the layout of the points, which they are none of.
    """
    x = points[p_at : p_at + C * T].reshape(C, T)
    panels = matrix[m_at : m_at + R * C].reshape(R // ROWS, C, ROWS)
    out[o_at : o_at + R * T] += (panels.transpose(0, 2, 1).reshape(R, C) @ x).ravel()
