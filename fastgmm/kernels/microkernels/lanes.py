"""The inner loops of completing rows: small triangular systems side by side, and products of rows.

A number of each of T lanes fills T consecutive elements of a flat array; the numbers of a matrix
follow each other so, row by row.  T is a multiple of the lanes of a block of registers.

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

VECTOR = 8
"""Rows that are multiplied are padded to a multiple of this."""

_ALIGN = 8


def _subtract_products(
    _typing_context, left, l_at, l_step, right, r_at, r_step, n, T, scale, s_at, out, o_at
):
    arguments = (left, l_at, l_step, right, r_at, r_step, n, T, scale, s_at, out, o_at)

    def generate(context, builder, _signature, values):
        element = simd.element_type(out)
        width = simd.lane_width(element)
        side = simd.BLOCK.n_vectors
        left_at = simd.pointer(context, builder, left, values[0], values[1])
        right_at = simd.pointer(context, builder, right, values[3], values[4])
        scale_at = simd.pointer(context, builder, scale, values[8], values[9])
        out_at = simd.pointer(context, builder, out, values[10], values[11])
        sums = simd.Registers(builder, ir.VectorType(element, width), side)
        step = constant(side * width)
        with cgutils.for_range_slice(builder, constant(0), values[7], step) as (lane, _):
            places = [builder.add(lane, constant(c * width)) for c in range(side)]
            for c, at in enumerate(places):
                sums[c] = simd.load(builder, out_at, at, width, _ALIGN)
            with cgutils.for_range(builder, values[6]) as loop:
                left_row = builder.mul(loop.index, values[2])
                right_row = builder.mul(loop.index, values[5])
                for c, at in enumerate(places):
                    a = simd.load(builder, left_at, builder.add(left_row, at), width, _ALIGN)
                    b = simd.load(builder, right_at, builder.add(right_row, at), width, _ALIGN)
                    sums[c] = simd.multiply_add(builder, builder.fneg(a), b, sums[c])
            for c, at in enumerate(places):
                factor = simd.load(builder, scale_at, at, width, _ALIGN)
                simd.store(builder, builder.fmul(sums[c], factor), out_at, at, _ALIGN)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_subtract_products)
def subtract_products(
    left, l_at, l_step, right, r_at, r_step, n, T, scale, s_at, out, o_at
):  # fmt: skip
    """Replace T numbers by ``(number − Σ left·right) · scale``, the sum over n pairs of T numbers.

    Parameters
    ----------
    left, l_at, l_step : ndarray, int, int
        Factors, where the first T of them start, and how far from one T to the next.
    right, r_at, r_step : ndarray, int, int
        The other factors, likewise.
    n, T : int
        Numbers of pairs and of lanes.
    scale, s_at : ndarray, int
        What the differences are multiplied by.
    out, o_at : ndarray, int
        The numbers to replace; none of the factors.
    """
    lanes = np.arange(T)
    pairs = np.arange(n)[:, None]
    products = left[l_at + pairs * l_step + lanes] * right[r_at + pairs * r_step + lanes]
    out[o_at : o_at + T] -= products.sum(axis=0)
    out[o_at : o_at + T] *= scale[s_at : s_at + T]


def _row_product(_typing_context, rows, at, vector, n):
    arguments = (rows, at, vector, n)

    def generate(context, builder, _signature, values):
        element = ir.DoubleType()
        width = simd.lane_width(element)
        side = VECTOR // width
        rows_at = simd.pointer(context, builder, rows, values[0], values[1])
        vector_at = simd.pointer(context, builder, vector, values[2])
        sums = simd.Registers(builder, ir.VectorType(element, width), side)
        for c in range(side):
            sums[c] = simd.filled(element, width, 0.0)
        with cgutils.for_range_slice(builder, constant(0), values[3], constant(VECTOR)) as (j, _):
            for c in range(side):
                place = builder.add(j, constant(c * width))
                a = simd.load(builder, rows_at, place, width, _ALIGN)
                b = simd.load(builder, vector_at, place, width, _ALIGN)
                sums[c] = simd.multiply_add(builder, a, b, sums[c])
        total = sums[0]
        for c in range(1, side):
            total = builder.fadd(total, sums[c])
        return simd.sum_of_lanes(builder, total, width)

    return types.float64(*arguments), generate


@microkernel(_row_product)
def row_product(rows, at, vector, n):
    """Return the sum of n products.

    Parameters
    ----------
    rows, at : ndarray of float64, int
        Numbers, and where the n to use start.
    vector : ndarray of float64 of shape (n,)
        Their factors.
    n : int
        How many, a multiple of ``VECTOR``.
    """
    return float(rows[at : at + n] @ vector[:n])


def _offsets_of_row(_typing_context, rows, present, at, reference, r_at, n, out):
    arguments = (rows, present, at, reference, r_at, n, out)

    def generate(context, builder, _signature, values):
        element = ir.DoubleType()
        width = simd.lane_width(element)
        rows_at = simd.pointer(context, builder, rows, values[0], values[2])
        present_at = simd.pointer(context, builder, present, values[1], values[2])
        reference_at = simd.pointer(context, builder, reference, values[3], values[4])
        out_at = simd.pointer(context, builder, out, values[6])
        with cgutils.for_range_slice(builder, constant(0), values[5], constant(width)) as (j, _):
            value, mean, factor = (
                simd.load(builder, at, j, width, _ALIGN)
                for at in (rows_at, reference_at, present_at)
            )
            offset = builder.fmul(builder.fsub(value, mean), factor)
            simd.store(builder, offset, out_at, j, _ALIGN)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@microkernel(_offsets_of_row)
def offsets_of_row(rows, present, at, reference, r_at, n, out):
    """Write a row less a reference point, 0 where a value is missing.

    Parameters
    ----------
    rows, present, at : ndarray of float64, ndarray of float64, int
        Values, and 1 where there is one or else 0; and where the n to use start.
    reference, r_at : ndarray of float64, int
        Reference points, and where the one to use starts.
    n : int
        How many, a multiple of ``VECTOR``.
    out : ndarray of float64 of shape (n,)
        Receives the offsets.
    """
    out[:n] = (rows[at : at + n] - reference[r_at : r_at + n]) * present[at : at + n]
