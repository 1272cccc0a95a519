"""What a machine can do besides multiply-adds: matrix products of BLAS, and memory bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from threadpoolctl import threadpool_limits

from fastgmm.bench.machine import Machine
from fastgmm.bench.report import STYLE

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
class Throughput:
    """Rates that peers depend on.

    Attributes
    ----------
    products_one_thread, products_all_threads : mapping of str to float
        Operations a second of NumPy's matrix product, by the name of the data type: a check on the
        machine's peak, which they may not exceed.
    read_bandwidth, triad_bandwidth : float
        Bytes a second from arrays larger than the caches, all threads: reading one array, and
        ``a = b + s c`` with three.
    """

    products_one_thread: Mapping[str, float]
    products_all_threads: Mapping[str, float]
    read_bandwidth: float
    triad_bandwidth: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def measure_throughput(*, seconds: float) -> Throughput:
    """Measure matrix products and memory bandwidth, so many seconds for each figure."""
    one, every = (
        {name: _product_rate(np.dtype(name), threads, seconds) for name in ("float64", "float32")}
        for threads in (1, numba.get_num_threads())
    )
    return Throughput(one, every, *_bandwidths(seconds))


def throughput_table(throughput: Throughput, machine: Machine) -> Table:
    """Lay out the rates, products beside the machine's peak."""
    table = Table(title="BLAS and memory", show_header=False, **STYLE)
    for name, rate in throughput.products_all_threads.items():
        table.add_row(
            f"BLAS product, {name}",
            f"{rate / 1e9:.0f} GFLOP/s, one thread "
            f"{throughput.products_one_thread[name] / 1e9:.0f} "
            f"({rate / machine.peaks[name].all_threads:.0%} of the peak)",
        )
    table.add_row(
        "memory bandwidth",
        f"read {throughput.read_bandwidth / 1e9:.1f} GB/s, triad "
        f"{throughput.triad_bandwidth / 1e9:.1f} GB/s",
    )
    return table


def environment_at_best(environment: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Take away what keeps BLAS from choosing the fastest kernels."""
    cleared = [name for name in BLAS_OVERRIDES if name in environment]
    cleaned = {name: value for name, value in environment.items() if name not in cleared}
    return cleaned, tuple(f"{name}={environment[name]}" for name in cleared)


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


def _product_rate(dtype: np.dtype[Any], n_threads: int, seconds: float) -> float:
    size = 1024
    left = np.full((size, size), 0.5, dtype=dtype)
    right = np.full((size, size), 0.25, dtype=dtype)
    out = np.empty_like(left)
    with threadpool_limits(limits=n_threads, user_api="blas"):
        return 2 * size**3 / best_seconds(lambda: np.matmul(left, right, out), seconds)


def last_level_cache_bytes() -> int:
    """Return the size of the largest cache of the first core, 32 MiB where it is not known."""
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
