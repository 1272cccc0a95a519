"""The block of registers on other processors than this one."""

import numba
import numpy as np
import pytest

from fastgmm.kernels.microkernels import simd
from tests.kernels.lane_arrays import lanes


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="there is no machine code without the JIT")
@pytest.mark.parametrize("features", ["+avx2,+fma,+avx", "+sse2", ""])
def test_other_processors_get_narrower_blocks(features, monkeypatch):
    monkeypatch.setattr(numba.config, "CPU_FEATURES", features)
    block = simd.register_block()
    assert block.n_bytes == (32 if "avx" in features else 16)
    assert lanes(np.float64) % (block.n_vectors * block.n_bytes // 8) == 0
