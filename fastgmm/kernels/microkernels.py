"""The inner loops that take the time: loading, distances, and products of features.

Each works on one *tile*: ``T`` points side by side in lanes, feature by feature, so that row j of
the tile is feature j of T points.  Arrays are flat and 64-byte aligned; a row of a tile is T
elements long, T a multiple of ``LANES`` for its type.

The block of accumulators is held in registers over the whole inner loop: four rows times several
vectors of lanes, one broadcast and one load feeding several fused multiply-adds, as in a matrix
product.  Only the lower triangle is computed.

Each microkernel has a twin in plain NumPy with the same arguments; it runs when
``NUMBA_DISABLE_JIT`` is set, and the tests compare the two.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastgmm.kernels import simd
from fastgmm.kernels.simd import constant

ROWS = 4
"""Rows of a panel of the whitener, and of features, that are processed together."""

TILE_BYTES = 1024
"""Bytes of one row of a tile: 128 float64 or 256 float32 lanes."""

_PANEL_MEMORY = 24 * 1024
"""Bytes of the whitener's panels that stay in the first-level cache while lanes pass by."""

_BLOCK = simd.register_block()


def _width(element):
    """Return how many elements of a type fill a vector register."""
    return _BLOCK.n_bytes // (8 if isinstance(element, ir.DoubleType) else 4)


def packed_length(n_features: int) -> int:
    """Return the length of a lower triangle packed for ``joint_log_density``.

    Parameters
    ----------
    n_features : int
        Order of the triangle.

    Returns
    -------
    int
        Number of elements.
    """
    return sum(
        (first + (rows := min(ROWS, n_features - first))) * rows
        for first in range(0, n_features, ROWS)
    )


def pack_lower(triangles: np.ndarray) -> np.ndarray:
    """Pack lower triangles into panels of four rows, each panel column by column.

    Parameters
    ----------
    triangles : ndarray of shape (K, D, D)
        Lower triangular matrices.

    Returns
    -------
    ndarray of shape (K, packed_length(D))
        For every panel, the entries of its rows in column 0, then in column 1, and so on.
    """
    n, order = triangles.shape[:2]
    panels = []
    for first in range(0, order, ROWS):
        last = min(first + ROWS, order)
        panels.append(triangles[:, first:last, :last].transpose(0, 2, 1).reshape(n, -1))
    return np.ascontiguousarray(np.concatenate(panels, axis=1))


def block_count(n_features: int) -> int:
    """Return the number of 4 × 4 blocks on and below the diagonal of a matrix."""
    n_panels = -(-n_features // ROWS)
    return n_panels * (n_panels + 1) // 2


def unpack_blocks(blocks: np.ndarray, n_features: int) -> np.ndarray:
    """Return symmetric matrices from the blocks of their lower triangles.

    Parameters
    ----------
    blocks : ndarray of shape (K, 16 * block_count(D))
        The blocks row by row of the block triangle, each row by row.
    n_features : int
        Order D of the matrices.

    Returns
    -------
    ndarray of shape (K, D, D)
        The full symmetric matrices.
    """
    n_panels = -(-n_features // ROWS)
    matrices = np.empty((len(blocks), n_panels * ROWS, n_panels * ROWS))
    at = 0
    for i in range(n_panels):
        here, width = slice(i * ROWS, (i + 1) * ROWS), (i + 1) * ROWS
        panel = blocks[:, at : at + ROWS * width].reshape(-1, i + 1, ROWS, ROWS)
        panel = panel.transpose(0, 2, 1, 3).reshape(-1, ROWS, width)
        matrices[:, here, :width] = panel
        matrices[:, :width, here] = panel.transpose(0, 2, 1)
        corner = panel[:, :, -ROWS:]
        matrices[:, here, here] = corner + np.tril(corner, -1).transpose(0, 2, 1)
        at += ROWS * width
    return np.ascontiguousarray(matrices[:, :n_features, :n_features])


def _finish_log_density(builder, squares, constant_term, out, maximum, at, width, count):
    """Write constant − ½·squares for the lanes from ``at`` on and raise their running maximum."""
    align = _BLOCK.n_bytes
    element = squares[0].type.element
    minus_half = simd.filled(element, width, -0.5)
    for c in range(count):
        lane = builder.add(at, constant(c * width))
        value = simd.multiply_add(builder, minus_half, squares[c], constant_term)
        simd.store(builder, value, out, lane, align)
        so_far = simd.load(builder, maximum, lane, width, align)
        larger = builder.select(builder.fcmp_ordered(">", value, so_far), value, so_far)
        simd.store(builder, larger, maximum, lane, align)


def _joint_log_density(
    _typing_context, tile, T, whitener, w_at, shift, s_at, D, constant_term, out, out_at, maximum
):
    arguments = (tile, T, whitener, w_at, shift, s_at, D, constant_term, out, out_at, maximum)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = _width(element)
        align, side = _BLOCK.n_bytes, _BLOCK.n_vectors
        lanes, order = values[1], values[6]
        tile_at = simd.pointer(context, builder, tile, values[0])
        whitener_at = simd.pointer(context, builder, whitener, values[2], values[3])
        shift_at = simd.pointer(context, builder, shift, values[4], values[5])
        density = simd.broadcast(builder, values[7], width)
        out_address = simd.pointer(context, builder, out, values[8], values[9])
        maximum_at = simd.pointer(context, builder, maximum, values[10])
        vector = ir.VectorType(element, width)
        sums = simd.Registers(builder, vector, ROWS * side)
        squares = simd.Registers(builder, vector, side)
        panel_at = cgutils.alloca_once(builder, whitener_at.type)

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
                # panel p starts after 16 + 32 + … + 16·p numbers
                skip = builder.mul(builder.mul(start, builder.add(start, constant(1))), constant(8))
                builder.store(builder.gep(whitener_at, [skip]), panel_at)
                with cgutils.for_range_slice(builder, start, stop, constant(1)) as (panel, _):
                    add_panel(builder.mul(panel, constant(ROWS)), ROWS, lane)
                with builder.if_else(last) as (finish, keep):
                    with finish:
                        for n_rows in range(1, ROWS):
                            only = builder.icmp_signed("==", remaining, constant(n_rows))
                            with builder.if_then(only):
                                add_panel(builder.mul(n_panels, constant(ROWS)), n_rows, lane)
                        _finish_log_density(
                            builder, squares, density, out_address, maximum_at, lane, width, side
                        )
                    with keep:
                        for c in range(side):
                            at = builder.add(lane, constant(c * width))
                            simd.store(builder, squares[c], out_address, at, align)
        return context.get_dummy_value()

    return types.void(*arguments), generate


def joint_log_density_twin(
    tile, T, whitener, w_at, shift, s_at, D, constant_term, out, out_at, maximum
):
    """Write ``constant_term − ½|W·x + shift|²`` of T points and raise their running maximum.

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
        Log-weight plus log-normaliser.
    out, out_at : ndarray, int
        Where the T results go.
    maximum : ndarray of shape (T,)
        Raised to the results where these are larger.
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
    out[out_at : out_at + T] = constant_term - tile.dtype.type(0.5) * squares
    np.maximum(maximum[:T], out[out_at : out_at + T], out=maximum[:T])


def _joint_log_density_diagonal(
    _typing_context, tile, T, scale, w_at, shift, s_at, D, constant_term, out, out_at, maximum
):
    arguments = (tile, T, scale, w_at, shift, s_at, D, constant_term, out, out_at, maximum)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = _width(element)
        # a sum of squares is one dependent chain of additions a vector: eight hide its latency
        align, side = _BLOCK.n_bytes, 8
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


def joint_log_density_diagonal_twin(
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


def _add_block(builder, places, rows_at, columns_at, lanes, width, sums, out):
    """Add the lane sums of products of up to four rows and four columns to a 4 × 4 block."""
    align = _BLOCK.n_bytes
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
    _typing_context, tile, T, D, weights, r_at, panel, first_moments, f_at, blocks, b_at
):
    arguments = (tile, T, D, weights, r_at, panel, first_moments, f_at, blocks, b_at)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = _width(element)
        align = _BLOCK.n_bytes
        vector = ir.VectorType(element, width)
        lanes, order = values[1], values[2]
        tile_at = simd.pointer(context, builder, tile, values[0])
        weights_at = simd.pointer(context, builder, weights, values[3], values[4])
        panel_at = simd.pointer(context, builder, panel, values[5])
        first_at = simd.pointer(context, builder, first_moments, values[6], values[7])
        out_at = cgutils.alloca_once_value(
            builder, simd.pointer(context, builder, blocks, values[8], values[9])
        )
        sums = simd.Registers(builder, vector, ROWS * ROWS)

        def row(at, index):
            return builder.gep(at, [builder.mul(index, lanes)])

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

        n_panels = builder.sdiv(order, constant(ROWS))
        remaining = builder.srem(order, constant(ROWS))
        with cgutils.for_range(builder, n_panels) as loop:
            add_rows(builder.mul(loop.index, constant(ROWS)), ROWS)
        for n_rows in range(1, ROWS):
            with builder.if_then(builder.icmp_signed("==", remaining, constant(n_rows))):
                add_rows(builder.mul(n_panels, constant(ROWS)), n_rows)
        return context.get_dummy_value()

    return types.void(*arguments), generate


def add_moments_twin(tile, T, D, weights, r_at, _panel, first_moments, f_at, blocks, b_at):
    """Add the weighted first and second moments of T points.

    Parameters
    ----------
    tile : ndarray
        The points about their reference, feature by feature, T lanes each.
    T, D : int
        Numbers of lanes and of features.
    weights, r_at : ndarray, int
        Weights of points, and where the T to use start.
    _panel : ndarray of shape (4 * T,)
        Scratch of the machine code.
    first_moments, f_at : ndarray of float64, int
        Where Σ weight·x is added.
    blocks, b_at : ndarray of float64, int
        Where the lower triangle of Σ weight·x·xᵀ is added, in the blocks of ``unpack_blocks``.
    """
    x = tile[: D * T].reshape(D, T)
    weighted = x * weights[r_at : r_at + T]
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
        width = _width(element)
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


def add_products_twin(rows, r_at, columns, n_columns, T, out, out_at):
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
        width = _width(element)
        align = _BLOCK.n_bytes
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

        n_panels = builder.sdiv(order, constant(ROWS))
        remaining = builder.srem(order, constant(ROWS))
        with cgutils.for_range(builder, n_panels) as loop:
            add_rows(builder.mul(loop.index, constant(ROWS)), ROWS)
        for n_rows in range(1, ROWS):
            with builder.if_then(builder.icmp_signed("==", remaining, constant(n_rows))):
                add_rows(builder.mul(n_panels, constant(ROWS)), n_rows)
        return context.get_dummy_value()

    return types.void(*arguments), generate


def add_diagonal_moments_twin(tile, T, D, weights, r_at, products, at):
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


def _subtract_reference(_typing_context, tile, T, D, reference, reference_low, at, out):
    arguments = (tile, T, D, reference, reference_low, at, out)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = _width(element)
        align = _BLOCK.n_bytes
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


def subtract_reference_twin(tile, T, D, reference, reference_low, at, out):
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


def _lane_sum(_typing_context, values_type, at, T):
    def generate(context, builder, _signature, values):
        element = simd.element_type(values_type)
        width = _width(element)
        address = simd.pointer(context, builder, values_type, values[0], values[1])
        sums = simd.Registers(builder, ir.VectorType(element, width), ROWS)
        for i in range(ROWS):
            sums[i] = simd.filled(element, width, 0.0)
        step = constant(ROWS * width)
        with cgutils.for_range_slice(builder, constant(0), values[2], step) as (lane, _):
            for i in range(ROWS):
                at_lane = builder.add(lane, constant(i * width))
                value = simd.load(builder, address, at_lane, width, _BLOCK.n_bytes)
                sums[i] = builder.fadd(sums[i], value)
        total = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
        return simd.sum_of_lanes(builder, total, width)

    return types.float64(values_type, at, T), generate


def lane_sum_twin(values, at, T):
    """Return the sum of T lanes from ``at`` on, in double precision."""
    return np.float64(values[at : at + T].sum())


def _load_rows(_typing_context, X, row, n, centre, centre_low, tile, T):
    arguments = (X, row, n, centre, centre_low, tile, T)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        given = simd.element_type(X)
        width = _width(element)
        array = cgutils.create_struct_proxy(X)(context, builder, value=values[0])
        stride = builder.extract_value(array.strides, 0)
        n_features = builder.extract_value(array.shape, 1)
        centre_at = simd.pointer(context, builder, centre, values[3])
        low_at = simd.pointer(context, builder, centre_low, values[4])
        tile_at = simd.pointer(context, builder, tile, values[5])
        lanes = values[6]

        def load_square(lane, column, count):
            """Load ``count`` columns of as many rows as a vector has lanes, and store lanes."""
            rows = []
            for i in range(width):
                number = builder.add(builder.add(values[1], lane), constant(i))
                start = builder.mul(number, stride)
                byte = builder.bitcast(array.data, ir.IntType(8).as_pointer())
                at = builder.bitcast(builder.gep(byte, [start]), given.as_pointer())
                at = builder.gep(at, [column])
                if count is None:
                    rows.append(simd.load(builder, at, constant(0), width, 4))
                else:
                    rows.append(simd.load_some(builder, at, width, count))
            rows = [simd.converted(builder, features, element) for features in rows]
            for j, features in enumerate(simd.transposed(builder, rows, width)):
                feature = builder.add(column, constant(j))

                def store_lanes(features=features, feature=feature):
                    for part in (centre_at, low_at):
                        value = builder.load(builder.gep(part, [feature]))
                        features = builder.fsub(features, simd.broadcast(builder, value, width))
                    at = builder.add(builder.mul(feature, lanes), lane)
                    simd.store(builder, features, tile_at, at, _BLOCK.n_bytes)

                if count is None:
                    store_lanes()
                else:
                    with builder.if_then(builder.icmp_signed("<", constant(j), count)):
                        store_lanes()

        whole = builder.and_(n_features, constant(-width))
        rest = builder.sub(n_features, whole)
        step = constant(width)
        with cgutils.for_range_slice(builder, constant(0), values[2], step) as (lane, _):
            with cgutils.for_range_slice(builder, constant(0), whole, step) as (column, _):
                load_square(lane, column, None)
            with builder.if_then(builder.icmp_signed(">", rest, constant(0))):
                load_square(lane, whole, rest)
        return context.get_dummy_value()

    return types.void(*arguments), generate


def load_rows_twin(X, row, n, centre, centre_low, tile, T):
    """Write the features of n rows about a centre, feature by feature.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Rows whose entries are adjacent in memory.
    row, n : int
        The first row and how many, a multiple of ``ROW_GROUP``.
    centre, centre_low : ndarray of shape (D,)
        What is subtracted, as a sum of two numbers.
    tile : ndarray
        Receives feature j of row i at ``j * T + i``.
    T : int
        Lanes of the tile.
    """
    n_features = X.shape[1]
    lanes = tile[: n_features * T].reshape(n_features, T)
    lanes[:, :n] = (X[row : row + n].astype(tile.dtype) - centre - centre_low).T


def _load_columns(_typing_context, X, row, n, centre, centre_low, tile, T):
    arguments = (X, row, n, centre, centre_low, tile, T)

    def generate(context, builder, _signature, values):
        element = simd.element_type(tile)
        width = _width(element)
        array = cgutils.create_struct_proxy(X)(context, builder, value=values[0])
        stride = builder.extract_value(array.strides, 1)
        first_row = builder.gep(array.data, [values[1]])
        centre_at = simd.pointer(context, builder, centre, values[3])
        low_at = simd.pointer(context, builder, centre_low, values[4])
        tile_at = simd.pointer(context, builder, tile, values[5])
        with cgutils.for_range(builder, builder.extract_value(array.shape, 1)) as loop:
            high, low = (
                simd.broadcast(builder, builder.load(builder.gep(part, [loop.index])), width)
                for part in (centre_at, low_at)
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
                simd.store(builder, offset, lanes, lane, _BLOCK.n_bytes)
        return context.get_dummy_value()

    return types.void(*arguments), generate


def load_columns_twin(X, row, n, centre, centre_low, tile, T):
    """Write the features of n rows about a centre, where a column's entries are adjacent.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Rows, each column of which is contiguous in memory.
    row, n, centre, centre_low, tile, T
        As in ``load_rows``.
    """
    load_rows_twin(X, row, n, centre, centre_low, tile, T)


ROW_GROUP = _BLOCK.n_bytes // 4
"""Rows that ``load_rows`` and ``load_columns`` take at once in either type divide this."""


if numba.config.DISABLE_JIT:
    joint_log_density = joint_log_density_twin
    joint_log_density_diagonal = joint_log_density_diagonal_twin
    add_moments = add_moments_twin
    add_products = add_products_twin
    load_rows = load_rows_twin
    load_columns = load_columns_twin
    lane_sum = lane_sum_twin
    subtract_reference = subtract_reference_twin
    add_diagonal_moments = add_diagonal_moments_twin
else:
    joint_log_density = intrinsic(_joint_log_density)
    joint_log_density_diagonal = intrinsic(_joint_log_density_diagonal)
    add_moments = intrinsic(_add_moments)
    add_products = intrinsic(_add_products)
    load_rows = intrinsic(_load_rows)
    load_columns = intrinsic(_load_columns)
    lane_sum = intrinsic(_lane_sum)
    subtract_reference = intrinsic(_subtract_reference)
    add_diagonal_moments = intrinsic(_add_diagonal_moments)
