"""What a machine can do: arithmetic peak, memory bandwidth."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastgmm.bench.fma_peak import fma_peak
from fastgmm.versions import blas_kernels, package_versions, processor_name

# Variables that override what a BLAS library finds out about the processor by itself. Some
# machines set them to the least common denominator, which halves the speed of the peers.
BLAS_OVERRIDES = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVPL_BLAS_DEBUG_CPU_TYPE",
)
_FALLBACK_CACHE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Rates:
    """Arithmetic rates for one data type, in operations a second.

    Attributes
    ----------
    fma_one_thread, fma_all_threads : float
        Multiply-adds in registers alone, the peak.
    vector_bits : int
        Vector width that gave the peak.
    gemm_one_thread, gemm_all_threads : float
        NumPy's matrix product, a check on the peak: it may not be above it.
    """

    fma_one_thread: float
    fma_all_threads: float
    vector_bits: int
    gemm_one_thread: float
    gemm_all_threads: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found out about the machine.

    Attributes
    ----------
    processor, system : str
        Names of the processor and the operating system.
    n_threads : int
        Threads in use.
    load : float or None
        Processes that wanted to run during the minute before, where the system tells.
    rates : mapping of str to Rates
        By the name of the data type, ``"float64"`` and ``"float32"``.
    read_bandwidth, triad_bandwidth : float
        Bytes a second from arrays larger than the caches, all threads: reading one array, and
        ``a = b + s c`` with three.
    blas : tuple of str
        The BLAS libraries loaded and the kernels that each has chosen.
    blas_overrides : tuple of str
        Environment variables that override the choice of kernels.
    versions : mapping of str to str
        Versions of Python and the packages that are compared.
    threading_layer : str
        numba's threading layer; a pool of Python threads runs passes unless it is ``"omp"``.
    """

    processor: str
    system: str
    n_threads: int
    load: float | None
    rates: Mapping[str, Rates]
    read_bandwidth: float
    triad_bandwidth: float
    blas: tuple[str, ...]
    blas_overrides: tuple[str, ...]
    versions: Mapping[str, str]
    threading_layer: str

    @property
    def is_busy(self) -> bool:
        """Whether other work took a fair share of the machine."""
        return self.load is not None and self.load > 0.25 * self.n_threads

    def best_of(self, other: Machine) -> Machine:
        """Return the better of each figure of this measurement and another on the same machine.

        Other work can only slow a machine down, so the better figure is the truer one.
        """
        return replace(
            self,
            rates={
                name: Rates(
                    *(
                        max(getattr(rates, field.name), getattr(other.rates[name], field.name))
                        for field in fields(Rates)
                    )
                )
                for name, rates in self.rates.items()
            },
            read_bandwidth=max(self.read_bandwidth, other.read_bandwidth),
            triad_bandwidth=max(self.triad_bandwidth, other.triad_bandwidth),
        )


def measure_machine(*, seconds: float = 0.15) -> Machine:
    """Measure arithmetic peak, matrix products and memory bandwidth."""
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError(
            "the peak of the machine can only be measured with compiled code, and "
            "NUMBA_DISABLE_JIT=1 is set: unset it"
        )
    n_threads = numba.get_num_threads()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    read, triad = _bandwidths(seconds)
    return Machine(
        processor=processor_name(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        n_threads=n_threads,
        load=load,
        rates={name: _rates(np.dtype(name), n_threads, seconds) for name in ("float64", "float32")},
        read_bandwidth=read,
        triad_bandwidth=triad,
        blas=blas_kernels(),
        blas_overrides=tuple(
            f"{name}={os.environ[name]}" for name in BLAS_OVERRIDES if name in os.environ
        ),
        versions=package_versions(),
        threading_layer=numba.threading_layer(),  # type: ignore[attr-defined]
    )


def best_seconds(action: Callable[[], object], seconds: float) -> float:
    """Return the shortest of as many calls as fit into a time, after one that does not count."""
    action()
    best = float("inf")
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        action()
        stop = time.perf_counter()
        best = min(best, stop - start)
        if stop >= end:
            return best


def _rates(dtype: np.dtype[Any], n_threads: int, seconds: float) -> Rates:
    one, _ = fma_peak(dtype, 1, seconds)
    all_threads, vector_bits = fma_peak(dtype, n_threads, seconds)
    size = 1024
    left = np.full((size, size), 0.5, dtype=dtype)
    right = np.full((size, size), 0.25, dtype=dtype)
    out = np.empty_like(left)
    gemm = {}
    for threads in (1, n_threads):
        with threadpool_limits(limits=threads, user_api="blas"):
            gemm[threads] = 2 * size**3 / best_seconds(lambda: np.matmul(left, right, out), seconds)
    return Rates(
        fma_one_thread=one,
        fma_all_threads=all_threads,
        vector_bits=vector_bits,
        gemm_one_thread=gemm[1],
        gemm_all_threads=gemm[n_threads],
    )


def last_level_cache_bytes() -> int:
    """Return the size of the largest cache of the first core, 32 MiB where it is not told."""
    suffixes = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    sizes = [_FALLBACK_CACHE_BYTES]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        if text[-1:] in suffixes and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * suffixes[text[-1]])
    return max(sizes)


def _sum_slots(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum 64 parts in parallel, each as four streams at once: one alone waits for memory."""
    sums = np.zeros(64)
    length = values.size // 256
    for slot in numba.prange(64):
        start = 4 * slot * length
        first = values[start : start + length]
        second = values[start + length : start + 2 * length]
        third = values[start + 2 * length : start + 3 * length]
        fourth = values[start + 3 * length : start + 4 * length]
        total_1, total_2, total_3, total_4 = 0.0, 0.0, 0.0, 0.0
        for index in range(length):
            total_1 += first[index]
            total_2 += second[index]
            total_3 += third[index]
            total_4 += fourth[index]
        sums[slot] = total_1 + total_2 + total_3 + total_4
    return sums


def _triad(
    out: NDArray[np.float64], left: NDArray[np.float64], right: NDArray[np.float64], factor: float
) -> None:
    """Compute ``out = left + factor right`` in parallel."""
    for index in numba.prange(out.size):
        out[index] = left[index] + factor * right[index]


def _bandwidths(seconds: float) -> tuple[float, float]:
    """Measure bytes a second of reading and of the triad, from four times the last cache.

    The bytes that a store first reads into the cache are not counted, as is usual for the triad.
    """
    size = 4 * last_level_cache_bytes() // 8
    left, right, out = np.ones(size), np.ones(size), np.zeros(size)
    read = numba.njit(parallel=True, fastmath={"reassoc", "nsz"})(_sum_slots)
    triad = numba.njit(parallel=True)(_triad)
    reading = best_seconds(lambda: read(left), seconds)
    moving = best_seconds(lambda: triad(out, left, right, 0.5), seconds)
    return left.nbytes / reading, 3 * left.nbytes / moving
