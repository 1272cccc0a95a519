"""Vectors of the machine's full width, as LLVM code written by Python functions.

A microkernel keeps a block of vector accumulators in registers over a whole loop, which numba's
own loops cannot express.  These functions write its LLVM code through llvmlite; every vector type
is legal on every target (LLVM splits what is too wide), only the speed depends on the width.
"""

from __future__ import annotations

from typing import NamedTuple

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastgmm.kernels.packing import ROWS

INT = ir.IntType(64)
LANE_INDEX = ir.IntType(32)


class RegisterBlock(NamedTuple):
    """How a microkernel uses the vector registers.

    Parameters
    ----------
    n_bytes : int
        Bytes of a vector register.
    n_vectors : int
        Vectors of lanes that a block of four rows takes side by side.
    """

    n_bytes: int
    n_vectors: int


def register_block() -> RegisterBlock:
    """Return the block for the processor that numba compiles for.

    Returns
    -------
    RegisterBlock
        64-byte vectors and 4 × 4 accumulators with AVX-512 (32 registers), 32-byte vectors and
        4 × 2 with AVX (16 registers), 16-byte vectors otherwise: 4 × 4 on 64-bit ARM
        (32 registers), 4 × 2 elsewhere.
    """
    named = numba.config.CPU_FEATURES
    if named is None:
        features = llvmlite.binding.get_host_cpu_features()
        present = {name for name, on in features.items() if on}
    else:
        present = {name[1:] for name in named.split(",") if name.startswith("+")}
    if "avx512f" in present:
        return RegisterBlock(64, 4)
    if "avx" in present:
        return RegisterBlock(32, 2)
    if llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64")):
        return RegisterBlock(16, 4)
    return RegisterBlock(16, 2)


BLOCK = register_block()
"""The block of this process's microkernels."""


def lane_width(element: ir.Type) -> int:
    """Return how many elements of a type fill a vector register."""
    return BLOCK.n_bytes // (8 if isinstance(element, ir.DoubleType) else 4)


def element_type(array_type: types.Array) -> ir.Type:
    """Return the LLVM type of an array's elements, float64 or float32."""
    return ir.DoubleType() if array_type.dtype == types.float64 else ir.FloatType()


def pointer(context, builder, array_type, array, offset=None):
    """Return the address of an array's element number ``offset`` (the first by default)."""
    address = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    return address if offset is None else builder.gep(address, [offset])


def constant(value: int) -> ir.Constant:
    """Return an integer constant."""
    return ir.Constant(INT, value)


def filled(element: ir.Type, width: int, value: float) -> ir.Constant:
    """Return a constant vector with the same value in every lane."""
    return ir.Constant(ir.VectorType(element, width), [value] * width)


def broadcast(builder, scalar, width: int):
    """Return a vector with a scalar in every lane."""
    vector = ir.VectorType(scalar.type, width)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(LANE_INDEX, 0))
    mask = ir.Constant(ir.VectorType(LANE_INDEX, width), [0] * width)
    return builder.shuffle_vector(first, undefined, mask)


def multiply_add(builder, x, y, z):
    """Return x·y + z, fused where the processor can."""
    kind = "f64" if isinstance(x.type.element, ir.DoubleType) else "f32"
    name = f"llvm.fmuladd.v{x.type.count}{kind}"
    signature = ir.FunctionType(x.type, [x.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [x, y, z])


def load(builder, address, index, width: int, align: int):
    """Load a vector that starts at element ``index``."""
    vector = ir.VectorType(address.type.pointee, width)
    at = builder.bitcast(builder.gep(address, [index]), vector.as_pointer())
    return builder.load(at, align=align)


def store(builder, value, address, index, align: int):
    """Store a vector from element ``index`` on."""
    at = builder.bitcast(builder.gep(address, [index]), value.type.as_pointer())
    builder.store(value, at, align=align)


def prefetch(builder, address, ahead):
    """Bring what is so many bytes past an address, if anything, into the second-level cache."""
    byte = ir.IntType(8).as_pointer()
    number = ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    read, second_level, data = number(0), number(2), number(1)
    there = builder.gep(builder.bitcast(address, byte), [ahead])
    builder.call(function, [there, read, second_level, data])


def converted(builder, vector, element: ir.Type):
    """Return a vector of floating-point numbers in another type."""
    if vector.type.element == element:
        return vector
    convert = builder.fpext if isinstance(element, ir.DoubleType) else builder.fptrunc
    return convert(vector, ir.VectorType(element, vector.type.count))


def as_element(builder, scalar, element: ir.Type):
    """Return a number in double precision in another type."""
    return scalar if isinstance(element, ir.DoubleType) else builder.fptrunc(scalar, element)


def as_double(builder, scalar):
    """Return a floating-point number in double precision."""
    if isinstance(scalar.type, ir.DoubleType):
        return scalar
    return builder.fpext(scalar, ir.DoubleType())


def for_panels(builder, count, work):
    """Do some work on ``count`` rows, four at a time, and then on those that remain.

    ``work`` writes code for the first of some rows and their number, which is known beforehand.
    """
    whole = builder.and_(count, constant(-ROWS))
    remaining = builder.sub(count, whole)
    with cgutils.for_range_slice(builder, constant(0), whole, constant(ROWS)) as (first, _):
        work(first, ROWS)
    for n_rows in range(1, ROWS):
        with builder.if_then(builder.icmp_signed("==", remaining, constant(n_rows))):
            work(whole, n_rows)


def for_squares(builder, n_lanes, n_features, width, work):
    """Do some work on lanes and features, a square of ``width`` of both at a time.

    ``work`` writes code for the first lane and feature, and the number of features, which is None
    if it is ``width``.
    """
    step = constant(width)
    whole = builder.and_(n_features, constant(-width))
    rest = builder.sub(n_features, whole)
    with cgutils.for_range_slice(builder, constant(0), n_lanes, step) as (lane, _):
        with cgutils.for_range_slice(builder, constant(0), whole, step) as (column, _):
            work(lane, column, None)
        with builder.if_then(builder.icmp_signed(">", rest, constant(0))):
            work(lane, whole, rest)


class Registers:
    """Vector variables that LLVM will keep in registers."""

    def __init__(self, builder, vector_type: ir.Type, count: int) -> None:
        self._builder = builder
        self._slots = [cgutils.alloca_once(builder, vector_type) for _ in range(count)]

    def __getitem__(self, index: int):
        """Return the value of a variable."""
        return self._builder.load(self._slots[index])

    def __setitem__(self, index: int, value) -> None:
        """Give a variable a value."""
        self._builder.store(value, self._slots[index])


def sums_of_lanes(builder, vectors, width: int):
    """Reduce ``width`` vectors to one that holds their sums, in their order.

    Each step interleaves the halves of two vectors and adds them: ``width`` − 1 additions in all.
    """
    group = 1
    while len(vectors) > 1:
        low, high = [], []
        for start in range(0, width, 2 * group):
            low += [start + i for i in range(group)]
            low += [width + start + i for i in range(group)]
            high += [start + group + i for i in range(group)]
            high += [width + start + group + i for i in range(group)]
        low_mask, high_mask = (
            ir.Constant(ir.VectorType(LANE_INDEX, width), m) for m in (low, high)
        )
        vectors = [
            builder.fadd(
                builder.shuffle_vector(a, b, low_mask), builder.shuffle_vector(a, b, high_mask)
            )
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        group *= 2
    return vectors[0]


def sum_of_lanes(builder, vector, width: int):
    """Return the sum of a vector's lanes, in double precision."""
    half = width // 2
    while half:
        mask = [(i + half) % width for i in range(width)]
        mask = ir.Constant(ir.VectorType(LANE_INDEX, width), mask)
        vector = builder.fadd(vector, builder.shuffle_vector(vector, vector, mask))
        half //= 2
    return as_double(builder, builder.extract_element(vector, ir.Constant(LANE_INDEX, 0)))


def load_some(builder, address, width: int, count):
    """Load the first ``count`` elements at an address, and zeros for the rest of a vector."""
    element = address.type.pointee
    vector = ir.VectorType(element, width)
    lanes = ir.Constant(ir.VectorType(INT, width), list(range(width)))
    mask = builder.icmp_signed("<", lanes, broadcast(builder, count, width))
    kind = "f64" if isinstance(element, ir.DoubleType) else "f32"
    signature = ir.FunctionType(vector, [vector.as_pointer(), LANE_INDEX, mask.type, vector])
    load_masked = cgutils.get_or_insert_function(
        builder.module, signature, f"llvm.masked.load.v{width}{kind}.p0"
    )
    at = builder.bitcast(address, vector.as_pointer())
    align = ir.Constant(LANE_INDEX, 4)
    return builder.call(load_masked, [at, align, mask, filled(element, width, 0.0)])


def transposed(builder, vectors, width: int):
    """Return the columns of ``width`` vectors taken as the rows of a square."""
    vectors = list(vectors)
    group = 1
    while group < width:
        low = [i if not i & group else width + i - group for i in range(width)]
        high = [i + group if not i & group else width + i for i in range(width)]
        low_mask, high_mask = (
            ir.Constant(ir.VectorType(LANE_INDEX, width), m) for m in (low, high)
        )
        for i in range(width):
            if not i & group:
                a, b = vectors[i], vectors[i + group]
                vectors[i] = builder.shuffle_vector(a, b, low_mask)
                vectors[i + group] = builder.shuffle_vector(a, b, high_mask)
        group *= 2
    return vectors
