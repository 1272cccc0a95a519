"""The disk cache: stamped with the sources of all kernels, and done without where none can be."""

import os
import subprocess
import sys

import numba
import pytest

from fastgmm.kernels import compilation
from fastgmm.kernels.mixture_pass import mixture_slot

compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


@compiled
def test_the_cache_of_a_kernel_is_stamped_with_the_sources_of_all():
    cache_file = mixture_slot._cache._cache_file
    assert cache_file._source_stamp == compilation._SOURCE_STAMP
    assert compilation._SOURCE_STAMP[:16] in cache_file._index_name
    assert compilation._digest_of_kernel_sources() == compilation._SOURCE_STAMP


@compiled
def test_without_a_writable_cache_folder_kernels_still_compile(monkeypatch):
    real = compilation.njit

    def no_locator(*args, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available for file")
        return real(*args, **options)

    monkeypatch.setattr(compilation, "njit", no_locator)
    assert compilation.kernel()(lambda x: x + 1)(1) == 2


@compiled
def test_importing_compiles_nothing():
    code = (
        "from numba.core import event\n"
        "seen = []\n"
        "class Listener(event.Listener):\n"
        "    def on_start(self, e): seen.append(e)\n"
        "    def on_end(self, e): pass\n"
        "event.register('numba:compile', Listener())\n"
        "import fastgmm.inference.passes, fastgmm.inference.kmeans_passes\n"
        "print(len(seen))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"
