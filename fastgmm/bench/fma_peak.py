"""Fused multiply-adds in registers alone: the fastest that a core's arithmetic can go.

Each round of the loop is one multiply-add in each of many accumulators that do not depend on
one another, enough to hide the latency of the unit. The accumulators never leave registers, so
the rate is that of the arithmetic units, without any of memory. The width of the accumulators is
written out in LLVM's own language, because numba has no vector types.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# Two units with a latency of four need eight accumulators. More than twelve would not fit, with
# the two constants, in the sixteen registers that processors without AVX-512 have.
N_ACCUMULATORS = 12
VECTOR_BITS = (128, 256, 512)
# About 25 ms on a core of 4 GHz: long against the clock, short against other work on the machine.
N_ROUNDS = 1 << 24

Kernel = Callable[[int, float], float]


def _emit(builder: Any, scalar: Any, lanes: int, n_rounds: Any, seed: Any) -> Any:
    """Emit the loop; the result is the sum of all lanes of all accumulators."""
    vector = ir.VectorType(scalar, lanes)
    # fmuladd becomes an instruction wherever the processor has one, and never a library call.
    fma = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fmuladd.v{lanes}f{64 if scalar == ir.DoubleType() else 32}",
    )

    def splat(value: float) -> ir.Constant:
        return ir.Constant(vector, [ir.Constant(scalar, value)] * lanes)

    # The factor and the addend keep every value between 0 and 1: nothing denormal, no overflow.
    factor, addend = splat(0.75), splat(0.125)
    lane = seed if seed.type == scalar else builder.fptrunc(seed, scalar)
    starts = []
    for index in range(N_ACCUMULATORS):
        start = splat(0.5)
        scaled = builder.fmul(lane, ir.Constant(scalar, 1.0 + index / 16))
        starts.append(builder.insert_element(start, scaled, ir.Constant(ir.IntType(32), 0)))

    before = builder.block
    loop = builder.append_basic_block("multiply_add")
    after = builder.append_basic_block("sum_up")
    builder.branch(loop)
    builder.position_at_end(loop)
    counter = builder.phi(n_rounds.type)
    counter.add_incoming(ir.Constant(n_rounds.type, 0), before)
    accumulators = [builder.phi(vector) for _ in starts]
    for accumulator, start in zip(accumulators, starts, strict=True):
        accumulator.add_incoming(start, before)
    updated = [builder.call(fma, [value, factor, addend]) for value in accumulators]
    for accumulator, value in zip(accumulators, updated, strict=True):
        accumulator.add_incoming(value, loop)
    following = builder.add(counter, ir.Constant(n_rounds.type, 1))
    counter.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, n_rounds), loop, after)

    builder.position_at_end(after)
    total = updated[0]
    for value in updated[1:]:
        total = builder.fadd(total, value)
    result = ir.Constant(scalar, 0.0)
    for index in range(lanes):
        element = builder.extract_element(total, ir.Constant(ir.IntType(32), index))
        result = builder.fadd(result, element)
    return result if scalar == seed.type else builder.fpext(result, seed.type)


@cache
def fma_kernel(dtype: np.dtype[Any], vector_bits: int) -> Kernel:
    """Compile the loop for one data type and vector width."""
    lanes = vector_bits // (8 * dtype.itemsize)
    scalar = ir.DoubleType() if dtype == np.float64 else ir.FloatType()

    # numba calls both functions with the arguments in this order, whether they are used or not.
    def multiply_add_chains(_typing_context: Any, _n_rounds: Any, _seed: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return _emit(builder, scalar, lanes, *arguments)

        return types.float64(types.int64, types.float64), generate

    chains: Any = intrinsic(multiply_add_chains)

    def kernel(n_rounds: int, seed: float) -> float:
        result: float = chains(n_rounds, seed)
        return result

    compiled: Kernel = njit(nogil=True)(kernel)
    compiled(1, 0.5)
    return compiled


def flops_of(dtype: np.dtype[Any], vector_bits: int, n_rounds: int) -> int:
    """Count the operations of a call of the kernel, a multiply-add being two."""
    return 2 * N_ACCUMULATORS * (vector_bits // (8 * dtype.itemsize)) * n_rounds


def fma_rate(dtype: np.dtype[Any], vector_bits: int, n_threads: int, seconds: float) -> float:
    """Measure the multiply-add rate with one vector width."""
    kernel = fma_kernel(dtype, vector_bits)
    flops = n_threads * flops_of(dtype, vector_bits, N_ROUNDS)
    best = float("inf")
    with ThreadPoolExecutor(n_threads) as pool:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(kernel, [N_ROUNDS] * n_threads, [0.5] * n_threads))
            best = min(best, time.perf_counter() - start)
    return flops / best


def fma_peak(dtype: np.dtype[Any], n_threads: int, seconds: float) -> tuple[float, int]:
    """Measure the multiply-add peak: the rate at the vector width that gives the best."""
    rates = {bits: fma_rate(dtype, bits, n_threads, seconds) for bits in VECTOR_BITS}
    bits = max(rates, key=rates.__getitem__)
    return rates[bits], bits
