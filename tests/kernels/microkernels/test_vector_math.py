"""Exponential and logarithm against mpmath, in units in the last place."""

import mpmath
import numpy as np
import pytest

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.microkernels.vector_math import exp, log

TYPES = [np.float64, np.float32]


@kernel()
def apply_exp(values, out):
    for i in range(len(values)):
        out[i] = exp(values[i])


@kernel()
def apply_log(values, out):
    for i in range(len(values)):
        out[i] = log(values[i])


def applied(function, values):
    out = np.empty_like(values)
    function(values, out)
    return out


def largest_error(found, exact, dtype):
    """Return the largest error in units in the last place of the exact value."""
    with mpmath.workdps(40):
        return max(
            float(abs(mpmath.mpf(float(f)) - e) / mpmath.mpf(float(np.spacing(dtype(abs(e))))))
            for f, e in zip(found, exact, strict=True)
        )


@pytest.mark.parametrize("dtype", TYPES)
def test_exp_is_within_two_units_in_the_last_place_over_the_range_of_responsibilities(dtype):
    rng = np.random.default_rng(0)
    lowest = -700.0 if dtype is np.float64 else -86.0
    values = np.concatenate(
        [
            rng.uniform(lowest, 0.0, 400),
            -rng.exponential(1.0, 400),
            -(10.0 ** rng.uniform(-18, 0, 200)),
            np.arange(-20, 1) * np.log(2.0),
        ]
    ).astype(dtype)
    with mpmath.workdps(40):
        exact = [mpmath.exp(mpmath.mpf(float(v))) for v in values]
    assert largest_error(applied(apply_exp, values), exact, dtype) <= 2.0


@pytest.mark.parametrize("dtype", TYPES)
def test_exp_is_exact_where_it_must_be(dtype):
    values = np.array([0.0, -0.0, -np.inf, -1e4], dtype)
    np.testing.assert_array_equal(applied(apply_exp, values), np.array([1, 1, 0, 0], dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_log_is_within_two_units_in_the_last_place(dtype):
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [
            10.0 ** rng.uniform(-30, 30, 400),
            rng.uniform(1.0, 64.0, 300),
            1.0 + rng.normal(size=200) * 1e-3,
            2.0 ** np.arange(-20, 21),
            np.sqrt(0.5) + rng.normal(size=50) * 1e-7,
        ]
    ).astype(dtype)
    values = values[values != 1.0]
    with mpmath.workdps(40):
        exact = [mpmath.log(mpmath.mpf(float(v))) for v in values]
    assert largest_error(applied(apply_log, values), exact, dtype) <= 2.0


@pytest.mark.parametrize("dtype", TYPES)
def test_log_is_exact_where_it_must_be(dtype):
    values = np.array([1.0, 0.0], dtype)
    np.testing.assert_array_equal(applied(apply_log, values), np.array([0.0, -np.inf], dtype))
