"""The commands ``warmup`` and ``bench``: this machine and its compiled code."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from fastgmm.cli import options
from fastgmm.cli.output import print_json, print_pairs


def warmup(as_json: options.Json = False) -> None:
    """Compile all kernels ahead of time, so that no later run has to."""
    began = time.perf_counter()
    from fastgmm.em.warmup import compile_kernels

    n_passes = compile_kernels()
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"n_passes": n_passes, "seconds": seconds})
    else:
        print_pairs({"compiled": f"{n_passes} passes", "time": f"{seconds:.1f} s"})


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Use small data: under two minutes instead of ten.")
    ] = False,
    rows: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="Only run rows whose names contain one of these: pass, scoring, k-means, fit, "
            "startup, diag, 1Mx8, float32, full/float32, …",
            show_default=False,
        ),
    ] = "",
    peers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Competitors to compare with, or none; all that are installed by default.",
            show_default=False,
        ),
    ] = None,
    check_targets: Annotated[
        bool, typer.Option("--check-targets", help="Print the targets beside the measured figures.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Benchmark this machine and fastgmm on it, against each competitor that is installed.

    The exit status is 1 if fastgmm failed in some row, or missed a target.
    """
    try:
        from fastgmm.bench.report import make_console
        from fastgmm.bench.run import run_benchmark
        from fastgmm.bench.subprocesses import WorkerError
    except ModuleNotFoundError as error:
        raise ImportError(
            f'benchmarks need {error.name}: install it with  pip install "fastgmm[bench]"'
        ) from error
    names = None if peers is None else [] if peers == "none" else peers.split(",")
    try:
        result = run_benchmark(
            quick=quick,
            rows=[part for part in rows.split(",") if part],
            peers=names,
            check_targets=check_targets,
            console=make_console(stderr=as_json),
        )
    except WorkerError as error:
        raise ValueError(str(error)) from error
    if as_json:
        print_json(result.to_dict())
    for failure in result.failures:
        print(f"error: {failure}", file=sys.stderr)
    return int(bool(result.failures) or any(target.met is False for target in result.targets))
