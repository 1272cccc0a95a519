"""The commands ``warmup`` and ``bench``: this machine and its compiled code."""

from __future__ import annotations

import os
import platform
import time
from typing import Annotated, Literal

from fastgmm.cli import options
from fastgmm.cli.output import print_json, print_result

_AVX2 = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt",
}


def warmup(as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Compile all kernels ahead of time, so that no later run has to.

    Example: fastgmm warmup
    """
    began = time.perf_counter()
    from fastgmm.cli.fit_with_progress import PassProgress
    from fastgmm.warmup import compile_kernels

    with PassProgress("compiling, once", quiet=quiet):
        n_passes = compile_kernels()
    seconds = time.perf_counter() - began
    print_result(
        as_json,
        {"n_passes": n_passes, "seconds": seconds},
        {"compiled": f"{n_passes} passes", "time": f"{seconds:.1f} s"},
    )


def bench(
    quick: Annotated[
        bool, options.flag("Use small data: seconds instead of a minute.", "--quick")
    ] = False,
    rows: Annotated[
        str,
        options.option(
            "Only run rows whose names contain one of these: pass, scoring, k-means, diag, "
            "1Mx8, float32, full/float32, …",
            metavar="A,B,…",
        ),
    ] = "",
    cpu: Annotated[
        Literal["native", "avx2"],
        options.option(
            "Compile for this processor, or for x86 processors without AVX-512.", show_default=True
        ),
    ] = "native",
    as_json: options.Json = False,
) -> None:
    """Measure this machine, and passes of fastgmm beside its peak.

    Example: fastgmm bench --quick
    """
    if cpu == "avx2":
        if platform.machine() not in ("x86_64", "AMD64"):
            raise ValueError(f"--cpu avx2 is for x86 processors, not for {platform.machine()}")
        os.environ.update(_AVX2)  # numba reads these when it is imported, which it is below
    try:
        from fastgmm.bench.report import make_console
        from fastgmm.bench.run import run_benchmark
    except ModuleNotFoundError as error:
        raise ImportError(
            f'benchmarks need {error.name}: install it with  pip install "fastgmm[cli]"'
        ) from error
    result = run_benchmark(
        quick=quick,
        words=[part for part in rows.split(",") if part],
        console=make_console(stderr=as_json),
    )
    if as_json:
        print_json(result.to_dict())
