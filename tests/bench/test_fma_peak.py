import numba
import numpy as np
import pytest

from fastgmm.bench.fma_peak import VECTOR_BITS, flops_of, fma_kernel, fma_peak

pytestmark = pytest.mark.skipif(
    numba.config.DISABLE_JIT, reason="the peak is that of compiled code"
)

DTYPES = [np.dtype(np.float64), np.dtype(np.float32)]


@pytest.mark.parametrize("vector_bits", VECTOR_BITS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_result_depends_on_every_accumulator(dtype, vector_bits):
    # One lane of each of 12 accumulators starts at a multiple of the seed, the others at the
    # fixed point 1/2 of x -> 3/4 x + 1/8.
    lanes = vector_bits // (8 * dtype.itemsize)
    starts = np.full((12, lanes), 0.5)
    starts[:, 0] = 0.25 * (1 + np.arange(12) / 16)
    expected = (0.5 + 0.75**5 * (starts - 0.5)).sum()
    assert fma_kernel(dtype, vector_bits)(5, 0.25) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("dtype", "lanes"), [(DTYPES[0], 8), (DTYPES[1], 16)], ids=str)
def test_operations_of_a_round(dtype, lanes):
    assert flops_of(dtype, 512, 10) == 2 * 12 * lanes * 10


def test_peak_is_that_of_the_best_width():
    rate, vector_bits = fma_peak(np.dtype(np.float64), 1, 0.01)
    assert rate > 0
    assert vector_bits in VECTOR_BITS
