"""The whole benchmark: the machine, then the passes of the grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from fastgmm.bench.grid import FULL_GRID, quick_grid, select
from fastgmm.bench.machine import Machine, measure_machine
from fastgmm.bench.passes import Row, measure_case
from fastgmm.bench.report import machine_table, make_console, row_line, rows_table

SCHEMA_VERSION = 2
FULL_SECONDS, QUICK_SECONDS = 1.5, 0.2


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All that was measured, `quick` on small data."""

    machine: Machine
    rows: tuple[Row, ...]
    quick: bool

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "quick": self.quick,
            "machine": asdict(self.machine),
            "rows": [
                {
                    "id": row.case.identifier,
                    **asdict(row),
                    "passes_per_second": 1 / row.seconds,
                    "flops_per_pass": row.case.flops,
                    "flops_per_second": row.flops_per_second,
                    "share_of_peak": row.share_of_peak(self.machine),
                }
                for row in self.rows
            ],
        }


def run_benchmark(
    *, quick: bool = False, words: Sequence[str] = (), console: Console | None = None
) -> BenchmarkResult:
    """Measure the machine and the cases that words select, and print tables of the figures."""
    cases = select(quick_grid() if quick else FULL_GRID, words)
    seconds = QUICK_SECONDS if quick else FULL_SECONDS
    console = console or make_console()
    with console.status("measuring the machine"):
        machine = measure_machine(seconds=seconds / 5)
    console.print(machine_table(machine))
    rows: list[Row] = []
    try:
        for number, case in enumerate(cases, start=1):
            with console.status(f"{case.identifier} ({number} of {len(cases)})"):
                rows.append(measure_case(case, seconds))
            if not console.is_terminal:
                # There is no status line: who follows a log sees each row as it comes in.
                console.print(row_line(rows[-1]), markup=False)
        with console.status("measuring the machine"):
            machine = machine.best_of(measure_machine(seconds=seconds / 5))
    finally:
        # Whoever interrupts a long run still gets what has been measured.
        if rows:
            console.print(rows_table(rows, machine))
    return BenchmarkResult(machine, tuple(rows), quick)
