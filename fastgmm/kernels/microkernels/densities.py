"""The inner loops of step two of a pass: distances in whitened coordinates, and the nearest.

Each works on one *tile*: ``T`` points side by side in lanes, feature by feature, so that row j of
the tile is feature j of T points.  Arrays are flat and 64-byte aligned; a row of a tile is T
elements long, T a multiple of the lanes of a block of registers.

The block of accumulators is held in registers over the whole inner loop: four rows times several
vectors of lanes, one broadcast and one load feeding several fused multiply-adds, as in a matrix
product.  Only the lower triangle is computed.

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

_PANEL_MEMORY = 24 * 1024
"""Bytes of the whitener's panels that stay in the first-level cache while lanes pass by."""

DIAGONAL_VECTORS = ROWS
"""Vectors of lanes that diagonal densities take side by side. A sum of squares is one dependent
chain of additions a vector: so many hide its latency.
"""


def _finish_log_density(builder, squares, constant_term, out, maximum, at, width, count):
    """Write constant − ½·squares for the lanes from ``at`` on and raise their running maximum."""
    align = simd.BLOCK.n_bytes
    element = squares[0].type.element
    minus_half = simd.filled(element, width, -0.5)
    for c in range(count):
        lane = builder.add(at, constant(c * width))
        # Loaded before the first store, or LLVM would merge load, selection and store to a masked
        # store, which takes AMD's processors without AVX-512 as long as twenty other instructions.
        so_far = simd.load(builder, maximum, lane, width, align)
        value = simd.multiply_add(builder, minus_half, squares[c], constant_term)
        simd.store(builder, value, out, lane, align)
        larger = builder.select(builder.fcmp_ordered(">", value, so_far), value, so_far)
        simd.store(builder, larger, maximum, lane, align)


def _joint_log_density(
    _typing_context, tile, T, whitener, w_at, shift, s_at, D, constant_term, out, out_at, maximum,
    margin, spans, k,
):  # fmt: skip
    arguments = (
        tile, T, whitener, w_at, shift, s_at, D, constant_term, out, out_at, maximum, margin,
        spans, k,
    )  # fmt: skip

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align, side = simd.BLOCK.n_bytes, simd.BLOCK.n_vectors
        lanes, order = values[1], values[6]
        tile_at = simd.pointer(context, builder, tile, values[0])
        whitener_at = simd.pointer(context, builder, whitener, values[2], values[3])
        shift_at = simd.pointer(context, builder, shift, values[4], values[5])
        density = simd.broadcast(builder, values[7], width)
        out_address = simd.pointer(context, builder, out, values[8], values[9])
        maximum_at = simd.pointer(context, builder, maximum, values[10])
        bounded = builder.fcmp_ordered("<", values[11], ir.Constant(ir.DoubleType(), np.inf))
        margin_of_all = simd.as_element(builder, values[11], element)
        twice = simd.filled(element, width, 2.0)
        reach = builder.fadd(density, simd.broadcast(builder, margin_of_all, width))
        spans_at = simd.pointer(context, builder, spans, values[12])
        vector = ir.VectorType(element, width)
        sums = simd.Registers(builder, vector, ROWS * side)
        squares = simd.Registers(builder, vector, side)
        limits = simd.Registers(builder, vector, side)
        panel_at = cgutils.alloca_once(builder, whitener_at.type)
        begin, end = (cgutils.alloca_once(builder, simd.INT) for _ in range(2))

        def beyond():
            """Return whether all points are farther from the component than is of interest."""
            far = builder.fcmp_ordered(">", squares[0], limits[0])
            for c in range(1, side):
                far = builder.and_(far, builder.fcmp_ordered(">", squares[c], limits[c]))
            bits = ir.IntType(width)
            return builder.icmp_unsigned("==", builder.bitcast(far, bits), bits(2**width - 1))

        def infinite_where(gone):
            for c in range(side):
                infinite = simd.filled(element, width, np.inf)
                squares[c] = builder.select(gone, infinite, squares[c])

        def add_column(column, at, rows, lane):
            """Add whitener column × feature to the rows' sums."""
            row = builder.add(builder.mul(column, lanes), lane)
            features = [
                simd.load(builder, tile_at, builder.add(row, constant(c * width)), width, align)
                for c in range(side)
            ]
            for r, place in rows:
                entry = builder.load(builder.gep(at, [place]))
                entry = simd.broadcast(builder, entry, width)
                for c in range(side):
                    i = r * side + c
                    sums[i] = simd.multiply_add(builder, entry, features[c], sums[i])

        def add_panel(first, n_rows, lane):
            """Add the squares of ``n_rows`` whitened coordinates from row ``first`` on."""
            at = builder.load(panel_at)
            for r in range(n_rows):
                start = builder.load(builder.gep(shift_at, [builder.add(first, constant(r))]))
                start = simd.broadcast(builder, start, width)
                for c in range(side):
                    sums[r * side + c] = start
            with cgutils.for_range(builder, first) as loop:
                base = builder.mul(loop.index, constant(n_rows))
                rows = [(r, builder.add(base, constant(r))) for r in range(n_rows)]
                add_column(loop.index, at, rows, lane)
            base = builder.mul(first, constant(n_rows))
            for j in range(n_rows):
                rows = [(r, builder.add(base, constant(j * n_rows + r))) for r in range(j, n_rows)]
                add_column(builder.add(first, constant(j)), at, rows, lane)
            for i in range(n_rows * side):
                squares[i % side] = simd.multiply_add(builder, sums[i], sums[i], squares[i % side])
            size = builder.mul(builder.add(first, constant(n_rows)), constant(n_rows))
            builder.store(builder.gep(at, [size]), panel_at)

        n_panels = builder.sdiv(order, constant(ROWS))
        remaining = builder.srem(order, constant(ROWS))
        step = constant(side * width)
        # Panels that fit the cache together meet all lanes before the next ones are fetched.
        row_bytes = builder.mul(order, constant(ROWS * align // width))
        fitting = builder.sdiv(constant(_PANEL_MEMORY), row_bytes)
        group = builder.select(builder.icmp_signed(">", fitting, constant(0)), fitting, constant(1))
        # one round more than whole panels need, for the rows that remain
        rounds = builder.add(n_panels, constant(1))
        builder.store(lanes, begin)
        builder.store(constant(0), end)
        with cgutils.for_range_slice(builder, constant(0), rounds, group) as (start, _):
            past = builder.add(start, group)
            last = builder.icmp_signed(">", past, n_panels)
            stop = builder.select(last, n_panels, past)
            with cgutils.for_range_slice(builder, constant(0), lanes, step) as (lane, _):
                for c in range(side):
                    squares[c] = simd.filled(element, width, 0.0)
                with builder.if_then(builder.icmp_signed(">", start, constant(0))):
                    for c in range(side):
                        at = builder.add(lane, constant(c * width))
                        squares[c] = simd.load(builder, out_address, at, width, align)
                for c in range(side):
                    at = builder.add(lane, constant(c * width))
                    so_far = simd.load(builder, maximum_at, at, width, align)
                    limits[c] = builder.fmul(twice, builder.fsub(reach, so_far))
                # panel p starts after 16 + 32 + … + 16·p numbers
                skip = builder.mul(builder.mul(start, builder.add(start, constant(1))), constant(8))
                builder.store(builder.gep(whitener_at, [skip]), panel_at)
                with cgutils.for_range(builder, stop, start) as panel:
                    with builder.if_then(bounded), builder.if_then(beyond(), likely=False):
                        panel.do_break()
                    add_panel(builder.mul(panel.index, constant(ROWS)), ROWS, lane)
                gone = builder.and_(bounded, beyond())
                infinite_where(gone)
                with builder.if_else(last) as (finish, keep):
                    with finish:
                        for n_rows in range(1, ROWS):
                            only = builder.icmp_signed("==", remaining, constant(n_rows))
                            with builder.if_then(builder.and_(only, builder.not_(gone))):
                                add_panel(builder.mul(n_panels, constant(ROWS)), n_rows, lane)
                        gone = builder.and_(bounded, beyond())
                        infinite_where(gone)
                        with builder.if_then(builder.not_(gone)):
                            first = builder.load(begin)
                            earlier = builder.icmp_signed("<", lane, first)
                            builder.store(builder.select(earlier, lane, first), begin)
                            builder.store(builder.add(lane, step), end)
                        _finish_log_density(
                            builder, squares, density, out_address, maximum_at, lane, width, side
                        )
                    with keep:
                        for c in range(side):
                            at = builder.add(lane, constant(c * width))
                            simd.store(builder, squares[c], out_address, at, align)
        # Other microkernels take so many lanes at once.
        whole = constant(-ROWS * width)
        place = builder.mul(constant(2), values[13])
        builder.store(builder.and_(builder.load(begin), whole), builder.gep(spans_at, [place]))
        past = builder.add(builder.load(end), constant(ROWS * width - 1))
        place = builder.add(place, constant(1))
        builder.store(builder.and_(past, whole), builder.gep(spans_at, [place]))
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_joint_log_density)
def joint_log_density(
    tile, T, whitener, w_at, shift, s_at, D, constant_term, out, out_at, maximum, margin, spans, k
):
    """Write ``constant_term − ½|W·x + shift|²`` of T points and raise their running maximum.

    Points for which that is below the maximum by more than a margin are of no interest: where some
    first terms of the square show it for all of a block of registers, −∞ is written.

    Parameters
    ----------
    tile : ndarray
        The points, feature by feature, T lanes each.
    T : int
        Number of lanes.
    whitener, w_at : ndarray, int
        Packed lower triangles (``pack_lower``) and where the one to use starts.
    shift, s_at : ndarray, int
        Vectors of D numbers added to W·x, and where the one to use starts.
    D : int
        Number of features.
    constant_term : float
        Log-weight plus log-normalizer.
    out, out_at : ndarray, int
        Where the T results go.
    maximum : ndarray of shape (T,)
        Raised to the results where these are larger.
    margin : float
        Infinite if all points are of interest.
    spans, k : ndarray of int64, int
        Receives at ``2 * k`` and the next place which lanes are the first of interest and the first
        past them, multiples of what other microkernels take at once.
    """
    x = tile[: D * T].reshape(D, T)
    squares = np.zeros(T, dtype=tile.dtype)
    at = w_at
    for first in range(0, D, ROWS):
        last = min(first + ROWS, D)
        size = (last - first) * last
        panel = whitener[at : at + size].reshape(last, last - first).T
        y = panel @ x[:last] + shift[s_at + first : s_at + last, None]
        squares += (y * y).sum(axis=0)
        at += size
    values = constant_term - tile.dtype.type(0.5) * squares
    near = values >= maximum[:T] - margin
    out[out_at : out_at + T] = np.where(near, values, -np.inf)
    np.maximum(maximum[:T], values, out=maximum[:T])
    lanes = np.flatnonzero(near)
    block = simd.BLOCK.n_bytes // tile.itemsize * ROWS
    spans[2 * k : 2 * k + 2] = T, 0
    if len(lanes) > 0:
        spans[2 * k : 2 * k + 2] = lanes[0] // block * block, -(-(lanes[-1] + 1) // block) * block


def _joint_log_density_diagonal(
    _typing_context, tile, T, scale, w_at, shift, s_at, D, constant_term, out, out_at, maximum
):
    arguments = (tile, T, scale, w_at, shift, s_at, D, constant_term, out, out_at, maximum)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align, side = simd.BLOCK.n_bytes, DIAGONAL_VECTORS
        lanes = values[1]
        tile_at = simd.pointer(context, builder, tile, values[0])
        scale_at = simd.pointer(context, builder, scale, values[2], values[3])
        shift_at = simd.pointer(context, builder, shift, values[4], values[5])
        density = simd.broadcast(builder, values[7], width)
        out_address = simd.pointer(context, builder, out, values[8], values[9])
        maximum_at = simd.pointer(context, builder, maximum, values[10])
        squares = simd.Registers(builder, ir.VectorType(element, width), side)
        step = constant(side * width)
        with cgutils.for_range_slice(builder, constant(0), lanes, step) as (lane, _):
            for c in range(side):
                squares[c] = simd.filled(element, width, 0.0)
            with cgutils.for_range(builder, values[6]) as loop:
                row = builder.add(builder.mul(loop.index, lanes), lane)
                factor = builder.load(builder.gep(scale_at, [loop.index]))
                factor = simd.broadcast(builder, factor, width)
                start = builder.load(builder.gep(shift_at, [loop.index]))
                start = simd.broadcast(builder, start, width)
                for c in range(side):
                    at = builder.add(row, constant(c * width))
                    feature = simd.load(builder, tile_at, at, width, align)
                    y = simd.multiply_add(builder, factor, feature, start)
                    squares[c] = simd.multiply_add(builder, y, y, squares[c])
            _finish_log_density(
                builder, squares, density, out_address, maximum_at, lane, width, side
            )
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_joint_log_density_diagonal)
def joint_log_density_diagonal(
    tile, T, scale, w_at, shift, s_at, D, constant_term, out, out_at, maximum
):
    """Write ``constant_term − ½|scale∘x + shift|²`` of T points and raise their maximum.

    Parameters
    ----------
    tile, T, shift, s_at, D, constant_term, out, out_at, maximum
        As in ``joint_log_density``.
    scale, w_at : ndarray, int
        Inverse standard deviations, and where the D to use start.
    """
    x = tile[: D * T].reshape(D, T)
    y = scale[w_at : w_at + D, None] * x + shift[s_at : s_at + D, None]
    out[out_at : out_at + T] = constant_term - tile.dtype.type(0.5) * (y * y).sum(axis=0)
    np.maximum(maximum[:T], out[out_at : out_at + T], out=maximum[:T])


def _find_labels(_typing_context, joint, largest, T, K, best):
    arguments = (joint, largest, T, K, best)

    def generate(context, builder, _signature, values):
        element = simd.element_type(joint)
        width = simd.lane_width(element)
        align, side = simd.BLOCK.n_bytes, ROWS
        number = simd.INT if isinstance(element, ir.DoubleType) else ir.IntType(32)
        lanes, n_components = values[2], values[3]
        joint_at = simd.pointer(context, builder, joint, values[0])
        largest_at = simd.pointer(context, builder, largest, values[1])
        best_at = simd.pointer(context, builder, best, values[4])
        labels = simd.Registers(builder, ir.VectorType(number, width), side)
        step = constant(side * width)
        with cgutils.for_range_slice(builder, constant(0), lanes, step) as (lane, _):
            places = [builder.add(lane, constant(c * width)) for c in range(side)]
            highest = [simd.load(builder, largest_at, at, width, align) for at in places]
            for c in range(side):
                labels[c] = simd.filled(number, width, 0)
            with cgutils.for_range(builder, n_components) as loop:
                # from the last to the first, so that the first among equals remains
                k = builder.sub(builder.sub(n_components, constant(1)), loop.index)
                row = builder.mul(k, lanes)
                k = simd.broadcast(
                    builder, k if number == simd.INT else builder.trunc(k, number), width
                )
                for c, at in enumerate(places):
                    value = simd.load(builder, joint_at, builder.add(row, at), width, align)
                    equal = builder.fcmp_ordered("==", value, highest[c])
                    labels[c] = builder.select(equal, k, labels[c])
            for c, at in enumerate(places):
                label = labels[c]
                if number != simd.INT:
                    label = builder.zext(label, ir.VectorType(simd.INT, width))
                simd.store(builder, label, best_at, at, 8)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_find_labels)
def find_labels(joint, largest, T, K, best):
    """Write the first component whose log-density is the largest, lane by lane.

    Parameters
    ----------
    joint : ndarray of shape (K * T,)
        Log-densities, component by component.
    largest : ndarray of shape (T,)
        The largest of each lane.
    T, K : int
        Numbers of lanes and of components.
    best : ndarray of int64 of shape (T,)
        Receives the numbers of components; 0 where none has a density.
    """
    best[:T] = (joint[: K * T].reshape(K, T) == largest[:T]).argmax(axis=0)
