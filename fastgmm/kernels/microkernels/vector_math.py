"""Exponential and logarithm that LLVM can vectorize.

numba calls the C library for ``exp`` and ``log``, one element at a time.  These are plain
arithmetic on one number, so that a loop over lanes that calls them becomes full-width vector code.

Fast-math flags: only ``contract`` (a multiplication and an addition may become one fused
operation, which is the more accurate).  ``reassoc`` must never reach the rounding steps below,
where adding and subtracting a large number is the point; hence these functions are never compiled
with ``inline="always"``, which would hand them their caller's flags.

The polynomials interpolate at Chebyshev nodes and were computed with mpmath at 60 digits;
``tests/kernels/test_vector_math.py`` measures the error of each function in ulp.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from fastgmm.kernels.compilation import inner_kernel, microkernel

# ln 2 split so that (integer of the exponent's size) times the high part is exact
_LN2_HIGH = 0.6931471803691238
_LN2_LOW = 1.9082149292705877e-10
_LN2_HIGH_32 = np.float32(0.69140625)
_LN2_LOW_32 = np.float32(0.0017409306019544601)
_LOG2E = 1.4426950408889634
_LOG2E_32 = np.float32(1.4426950408889634)
# adding 1.5·2^52 (2^23) leaves the nearest integer in the low bits of the significand
_ROUND = 6755399441055744.0
_ROUND_32 = np.float32(12582912.0)
_SQRT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)
_SQRT_HALF_BITS_32 = np.int32(0x3F3504F3)
_MANTISSA = np.int64(0x000FFFFFFFFFFFFF)
_MANTISSA_32 = np.int32(0x007FFFFF)
# arguments below these give 0: the result would be subnormal
_EXP_LOWEST = -708.0
_EXP_HIGHEST = 709.0
_EXP_LOWEST_32 = np.float32(-87.0)
_EXP_HIGHEST_32 = np.float32(88.0)


def _reinterpret(twin, source, target):
    """Return a microkernel that reads the bits of one type as another."""

    def machine_code(_typing_context, _value):
        def generate(context, builder, _signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), generate

    return microkernel(machine_code)(twin)


bits_of = _reinterpret(lambda x: np.float64(x).view(np.int64), types.float64, types.int64)
float_of = _reinterpret(lambda i: np.int64(i).view(np.float64), types.int64, types.float64)
bits_of_32 = _reinterpret(lambda x: np.float32(x).view(np.int32), types.float32, types.int32)
float_of_32 = _reinterpret(lambda i: np.int32(i).view(np.float32), types.int32, types.float32)


@inner_kernel(fastmath={"contract"})
def exp64(x):
    """Return e**x to 1 ulp; 0 below −708, finite arguments above 709 give e**709."""
    inside = min(max(x, _EXP_LOWEST), _EXP_HIGHEST)
    shifted = inside * _LOG2E + _ROUND
    n = shifted - _ROUND
    r = (inside - n * _LN2_HIGH) - n * _LN2_LOW
    g = 2.51003854955103191e-8
    g = g * r + 2.76200884454097482e-7
    g = g * r + 2.75572684599970648e-6
    g = g * r + 2.48015212959543751e-5
    g = g * r + 1.98412698630536169e-4
    g = g * r + 1.38888889172137169e-3
    g = g * r + 8.33333333333006183e-3
    g = g * r + 4.16666666666241279e-2
    g = g * r + 1.66666666666666675e-1
    g = g * r + 0.5
    power = float_of((bits_of(shifted) + np.int64(1023)) << np.int64(52))
    value = (1.0 + (r + (r * r) * g)) * power
    return value if x >= _EXP_LOWEST else 0.0


@inner_kernel(fastmath={"contract"})
def exp32(x):
    """Return e**x in single precision to 1 ulp; 0 below −87."""
    inside = min(max(x, _EXP_LOWEST_32), _EXP_HIGHEST_32)
    shifted = inside * _LOG2E_32 + _ROUND_32
    n = shifted - _ROUND_32
    r = (inside - n * _LN2_HIGH_32) - n * _LN2_LOW_32
    g = np.float32(1.39261835877134945e-3)
    g = g * r + np.float32(8.36317905272257737e-3)
    g = g * r + np.float32(4.16665546172045742e-2)
    g = g * r + np.float32(1.66665769896987757e-1)
    g = g * r + np.float32(0.5)
    power = float_of_32(np.int32((bits_of_32(shifted) + np.int32(127)) << np.int32(23)))
    value = (np.float32(1.0) + (r + (r * r) * g)) * power
    return value if x >= _EXP_LOWEST_32 else np.float32(0.0)


@inner_kernel(fastmath={"contract"})
def log64(x):
    """Return the natural logarithm of a normal x > 0 to 1 ulp; −inf at 0."""
    bits = bits_of(x)
    # x = m·2^e with sqrt(1/2) <= m < sqrt(2)
    from_half = bits - _SQRT_HALF_BITS
    e = np.float64(from_half >> np.int64(52))
    m = float_of((from_half & _MANTISSA) + _SQRT_HALF_BITS)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    h = 0.146167211798618157
    h = h * z + 0.153316996335438587
    h = h * z + 0.181828897861910425
    h = h * z + 0.222222111257228089
    h = h * z + 0.285714286260310668
    h = h * z + 0.399999999998993819
    h = h * z + 0.666666666666666969
    # log(1+f) = f − f²/2 + s·(f²/2 + z·h): the leading term f is exact
    half_square = 0.5 * f * f
    tail = s * (half_square + z * h) + e * _LN2_LOW
    value = e * _LN2_HIGH + (f - (half_square - tail))
    return value if x > 0.0 else -np.inf


@inner_kernel(fastmath={"contract"})
def log32(x):
    """Return the natural logarithm of a normal x > 0 in single precision to 1 ulp; −inf at 0."""
    bits = bits_of_32(x)
    from_half = bits - _SQRT_HALF_BITS_32
    e = np.float32(from_half >> np.int32(23))
    m = float_of_32(np.int32((from_half & _MANTISSA_32) + _SQRT_HALF_BITS_32))
    f = m - np.float32(1.0)
    s = f / (np.float32(2.0) + f)
    z = s * s
    h = np.float32(0.233306966724557811)
    h = h * z + np.float32(0.285508123825901454)
    h = h * z + np.float32(0.400001219141492756)
    h = h * z + np.float32(0.666666665544061826)
    half_square = np.float32(0.5) * f * f
    tail = s * (half_square + z * h) + e * _LN2_LOW_32
    value = e * _LN2_HIGH_32 + (f - (half_square - tail))
    return value if x > np.float32(0.0) else np.float32(-np.inf)


def exp(x):
    """Return e**x in the precision of x (see ``exp64`` and ``exp32``)."""
    return exp32(x) if isinstance(x, np.float32) else exp64(x)


def log(x):
    """Return the natural logarithm of x in the precision of x (see ``log64`` and ``log32``)."""
    return log32(x) if isinstance(x, np.float32) else log64(x)


@overload(exp)
def _typed_exp(x):
    if x == types.float32:
        return lambda x: exp32(x)
    return lambda x: exp64(x)


@overload(log)
def _typed_log(x):
    if x == types.float32:
        return lambda x: log32(x)
    return lambda x: log64(x)
