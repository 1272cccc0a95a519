"""How large the benchmarks are: set ``FASTGMM_ASV_SIZES`` to ``small`` or ``full`` (default)."""

import os

import numba

from fastgmm.bench.grid import Case

_CHOICES = ("small", "full")
_CHOICE = os.environ.get("FASTGMM_ASV_SIZES", "full")
if _CHOICE not in _CHOICES:
    raise ValueError(f"FASTGMM_ASV_SIZES must be one of {', '.join(_CHOICES)}, got {_CHOICE!r}")
SMALL = _CHOICE == "small"

# Asking numba itself would start its threads, and asv may fork from this process.
N_THREADS = numba.config.NUMBA_NUM_THREADS
"""Threads that everything uses by default, recorded as a parameter or a figure of its own."""

THREADS = [N_THREADS] if SMALL else sorted({1, N_THREADS})
"""Numbers of threads to compare."""

SLOW = {"number": 1, "repeat": 1 if SMALL else 5, "warmup_time": 0}
"""Sampling of benchmarks that take seconds."""


def rows(full: int) -> int:
    """Return a number of rows, or a fiftieth of it."""
    return full // 50 if SMALL else full


PASSES = {
    case.identifier: case
    for case in (
        Case("pass", "full", rows(1_000_000), 2, 8),
        Case("pass", "full", rows(1_000_000), 8, 16),
        Case("pass", "full", rows(1_000_000), 8, 16, dtype="float32"),
        Case("pass", "full", rows(200_000), 32, 64),
        Case("pass", "diag", rows(1_000_000), 16, 64),
    )
}
"""Cases by their name."""
