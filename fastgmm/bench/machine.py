"""The machine that passes are timed on: its arithmetic peak, threads and versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np

from fastgmm.bench.fma_peak import fma_peak
from fastgmm.kernels.threads import effective_threads
from fastgmm.versions import blas_kernels, package_versions, processor_name


@dataclass(frozen=True, slots=True)
class Peak:
    """Multiply-adds in registers alone, in operations a second, at the best vector width."""

    one_thread: float
    all_threads: float
    vector_bits: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found out about the machine."""

    processor: str  # names of the processor and the operating system
    system: str  # names of the processor and the operating system
    n_threads: int  # threads in use
    load: float | None
    """Processes that wanted to run during the minute before, where the system says."""
    peaks: Mapping[str, Peak]  # by the name of the data type, ``"float64"`` and ``"float32"``
    blas: tuple[str, ...]  # the BLAS libraries loaded and the kernels that each has chosen
    versions: Mapping[str, str]  # versions of Python and of packages
    threading_layer: str
    """numba's threading layer; a pool of Python threads runs passes unless it is ``"omp"``."""

    @property
    def is_busy(self) -> bool:
        """Whether other work took a fair share of the machine."""
        return self.load is not None and self.load > 0.25 * self.n_threads

    def best_of(self, other: Machine) -> Machine:
        """Return the better of each peak of this measurement and another on the same machine.

        Other work can only slow a machine down, so the better figure is the truer one.
        """
        return replace(
            self,
            peaks={
                name: Peak(
                    max(peak.one_thread, other.peaks[name].one_thread),
                    max(peak.all_threads, other.peaks[name].all_threads),
                    max(peak.vector_bits, other.peaks[name].vector_bits),
                )
                for name, peak in self.peaks.items()
            },
        )


def measure_machine(*, seconds: float = 0.15) -> Machine:
    """Measure the arithmetic peak, so many seconds for each figure."""
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError(
            "the peak of the machine can only be measured with compiled code, and "
            "NUMBA_DISABLE_JIT=1 is set: unset it"
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    start_threads = numba.njit(parallel=True)(_number_threads)
    start_threads(np.empty(effective_threads(None)))
    return Machine(
        processor=processor_name(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        n_threads=effective_threads(None),
        load=load,
        peaks={name: _peak(np.dtype(name), seconds) for name in ("float64", "float32")},
        blas=blas_kernels(),
        versions=package_versions(),
        threading_layer=numba.threading_layer(),  # type: ignore[attr-defined]
    )


def _number_threads(out: Any) -> None:
    """Do something in parallel: numba knows its threading layer only then."""
    for index in numba.prange(out.size):
        out[index] = index


def _peak(dtype: np.dtype[Any], seconds: float) -> Peak:
    one, _ = fma_peak(dtype, 1, seconds)
    all_threads, vector_bits = fma_peak(dtype, effective_threads(None), seconds)
    return Peak(one, all_threads, vector_bits)
