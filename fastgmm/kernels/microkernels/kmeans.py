"""The inner loops of Lloyd's algorithm: the nearest center of each point, and sums of members.

Each works on one *tile* as those of ``densities`` do.  Each microkernel is machine code with a twin
in plain NumPy, which says what it computes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastgmm.kernels.compilation import microkernel
from fastgmm.kernels.microkernels import simd
from fastgmm.kernels.microkernels.simd import constant
from fastgmm.kernels.packing import ROWS


def _find_cheapest(_typing_context, tile, T, D, shifts, step, costs, K, best, lowest):
    arguments = (tile, T, D, shifts, step, costs, K, best, lowest)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align, side = simd.BLOCK.n_bytes, simd.BLOCK.n_vectors
        number = simd.INT if isinstance(element, ir.DoubleType) else ir.IntType(32)
        lanes, n_features, n_centers = values[1], values[2], values[6]
        tile_at = simd.pointer(context, builder, tile, values[0])
        shifts_at = simd.pointer(context, builder, shifts, values[3])
        costs_at = simd.pointer(context, builder, costs, values[5])
        best_at = simd.pointer(context, builder, best, values[7])
        lowest_at = simd.pointer(context, builder, lowest, values[8])
        sums = simd.Registers(builder, ir.VectorType(element, width), ROWS * side)
        cheapest = simd.Registers(builder, ir.VectorType(element, width), side)
        labels = simd.Registers(builder, ir.VectorType(number, width), side)

        def try_centers(lane, first, n_rows):
            """Compare ``n_rows`` centers from ``first`` on with the cheapest so far."""
            centers = [builder.add(first, constant(r)) for r in range(n_rows)]
            for r, k in enumerate(centers):
                start = simd.broadcast(builder, builder.load(builder.gep(costs_at, [k])), width)
                for c in range(side):
                    sums[r * side + c] = start
            rows = [builder.mul(k, values[4]) for k in centers]
            with cgutils.for_range(builder, n_features) as loop:
                row = builder.add(builder.mul(loop.index, lanes), lane)
                features = [
                    simd.load(builder, tile_at, builder.add(row, constant(c * width)), width, align)
                    for c in range(side)
                ]
                for r in range(n_rows):
                    place = builder.add(rows[r], loop.index)
                    shift = builder.load(builder.gep(shifts_at, [place]))
                    shift = simd.broadcast(builder, shift, width)
                    for c in range(side):
                        i = r * side + c
                        sums[i] = simd.multiply_add(builder, shift, features[c], sums[i])
            for r, k in enumerate(centers):
                label = k if number == simd.INT else builder.trunc(k, number)
                label = simd.broadcast(builder, label, width)
                for c in range(side):
                    cost = sums[r * side + c]
                    less = builder.fcmp_ordered("<", cost, cheapest[c])
                    cheapest[c] = builder.select(less, cost, cheapest[c])
                    labels[c] = builder.select(less, label, labels[c])

        with cgutils.for_range_slice(builder, constant(0), lanes, constant(side * width)) as (
            lane,
            _,
        ):
            for c in range(side):
                cheapest[c] = simd.filled(element, width, np.inf)
                labels[c] = simd.filled(number, width, 0)
            simd.for_panels(builder, n_centers, partial(try_centers, lane))
            for c in range(side):
                at = builder.add(lane, constant(c * width))
                simd.store(builder, cheapest[c], lowest_at, at, align)
                label = labels[c]
                if number != simd.INT:
                    label = builder.zext(label, ir.VectorType(simd.INT, width))
                simd.store(builder, label, best_at, at, 8)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_find_cheapest)
def find_cheapest(tile, T, D, shifts, step, costs, K, best, lowest):
    """Write which of K affine functions is the least at each of T points, and its value.

    Parameters
    ----------
    tile : ndarray
        The points, feature by feature, T lanes each.
    T, D : int
        Numbers of lanes and of features.
    shifts, step : ndarray of shape (K * step,), int
        The slopes, function by function, and how far apart they start.
    costs : ndarray of shape (K,)
        The values at the origin.
    K : int
        Number of functions.
    best : ndarray of int64 of shape (T,)
        Receives the first function that is the least; 0 where none is a number.
    lowest : ndarray of shape (T,)
        Receives its value.
    """
    x = tile[: D * T].reshape(D, T)
    values = costs[:K, None] + shifts[: K * step].reshape(K, step)[:, :D] @ x
    values = np.where(np.isnan(values), np.inf, values)
    best[:T] = values.argmin(axis=0)
    lowest[:T] = values.min(axis=0)


def _add_members(_typing_context, tile, T, D, n, best, weights, scale, shifts, step, sums, inertia):
    arguments = (tile, T, D, n, best, weights, scale, shifts, step, sums, inertia)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = simd.lane_width(element)
        align = simd.BLOCK.n_bytes
        double = ir.DoubleType()
        lanes, n_features = values[1], values[2]
        tile_at = simd.pointer(context, builder, tile, values[0])
        best_at = simd.pointer(context, builder, best, values[4])
        weights_at = simd.pointer(context, builder, weights, values[5])
        scale_of_all = simd.broadcast(builder, simd.as_double(builder, values[6]), width)
        shifts_at = simd.pointer(context, builder, shifts, values[7])
        sums_at = simd.pointer(context, builder, sums, values[9])
        inertia_at = simd.pointer(context, builder, inertia, values[10])
        squares = simd.Registers(builder, ir.VectorType(double, width), 1)
        squares[0] = simd.load(builder, inertia_at, constant(0), width, 8)

        def add_square(lane, column, count):
            """Add ``count`` features of as many points as a vector has lanes."""
            rows = []
            for j in range(width):
                feature = builder.add(column, constant(j))
                if count is not None:
                    # what is past the last feature is read from it, and replaced by zeros
                    present = builder.icmp_signed("<", constant(j), count)
                    feature = builder.select(present, feature, column)
                at = builder.add(builder.mul(feature, lanes), lane)
                row = simd.load(builder, tile_at, at, width, align)
                if count is not None:
                    row = builder.select(present, row, simd.filled(element, width, 0.0))
                rows.append(row)
            for i, features in enumerate(simd.transposed(builder, rows, width)):
                here = builder.add(lane, constant(i))
                weight = builder.load(builder.gep(weights_at, [here]))
                weight = simd.broadcast(builder, weight, width)
                label = builder.load(builder.gep(best_at, [here]))
                at = builder.add(builder.mul(label, values[8]), column)
                shift = simd.load(builder, shifts_at, at, width, align)
                so_far = simd.load(builder, sums_at, at, width, align)
                member = simd.converted(builder, features, double)
                total = simd.multiply_add(builder, weight, member, so_far)
                simd.store(builder, total, sums_at, at, align)
                shift = simd.converted(builder, shift, double)
                offset = simd.multiply_add(builder, scale_of_all, member, shift)
                weighted = builder.fmul(weight, offset)
                squares[0] = simd.multiply_add(builder, weighted, offset, squares[0])

        simd.for_squares(builder, values[3], n_features, width, add_square)
        simd.store(builder, squares[0], inertia_at, constant(0), 8)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_add_members)
def add_members(tile, T, D, n, best, weights, scale, shifts, step, sums, inertia):
    """Add each point to the sums of its center, and its squared distance to the inertia.

    Parameters
    ----------
    tile, T, D
        As in ``find_cheapest``.
    n : int
        Number of points; lanes from there on have no weight.
    best : ndarray of int64 of shape (T,)
        The centers of the points.
    weights : ndarray of float64 of shape (T,)
        Weights of the points.
    scale : float
        Unit of distances, in the type of the tile.
    shifts, step : ndarray of shape (K * step,), int
        −``scale`` times the centers, each with zeros up to ``step``, a multiple of ``PADDING``.
    sums : ndarray of float64 of shape (K * step,)
        Where points times weights are added, center by center.
    inertia : ndarray of float64 of shape (T,)
        Where weights times squares of ``scale``·distance are added, in any of the lanes.
    """
    x = tile[: D * T].reshape(D, T)[:, :n]
    at = best[:n] * step + np.arange(D)[:, None]
    np.add.at(sums, at, weights[:n] * x)
    offsets = np.float64(scale) * x + shifts[at].astype(np.float64)
    inertia[0] += (weights[:n] * offsets * offsets).sum()


PADDING = simd.BLOCK.n_bytes // 4
"""Lengths of rows that ``add_members`` takes in either type are multiples of this."""
