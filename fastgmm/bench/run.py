"""The whole benchmark: the machine, the grid, the start of a process, and the promises."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from fastgmm.bench.competitors import PEERS
from fastgmm.bench.grid import FULL_GRID, quick_grid, select
from fastgmm.bench.machine import Machine, environment_at_best
from fastgmm.bench.measurement import Row, measure_case
from fastgmm.bench.report import (
    machine_table,
    make_console,
    row_line,
    rows_table,
    startup_table,
    targets_table,
)
from fastgmm.bench.startup import Startup, StartupError, measure_startup
from fastgmm.bench.subprocesses import WorkerProcess
from fastgmm.bench.targets import Target
from fastgmm.bench.targets import check_targets as check

SCHEMA_VERSION = 1
STARTUP = "startup"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time goes into the figures.

    Attributes
    ----------
    rounds : int
        Turns of each competitor in each case.
    seconds : float
        Length of a turn.
    machine_seconds : float
        Time for each figure of the machine.
    processes : int
        Fresh processes for each figure of the start.
    """

    rounds: int
    seconds: float
    machine_seconds: float
    processes: int


FULL_EFFORT = Effort(rounds=3, seconds=0.5, machine_seconds=0.3, processes=5)
QUICK_EFFORT = Effort(rounds=2, seconds=0.1, machine_seconds=0.1, processes=2)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All that was measured.

    Attributes
    ----------
    machine : Machine
        What the machine can do.
    rows : tuple of Row
        The cases.
    startup : Startup or None
        Imports and first fits, unless only other rows were asked for.
    startup_note : str
        Why these could not be measured; empty if all is well.
    targets : tuple of Target
        The promises beside the figures; empty unless asked for.
    quick : bool
        Whether the cases were the small ones.
    """

    machine: Machine
    rows: tuple[Row, ...]
    startup: Startup | None
    startup_note: str
    targets: tuple[Target, ...]
    quick: bool

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong with fastgmm itself, a sentence for each case."""
        notes = [f"{row.case.identifier}: {row.own.note}" for row in self.rows if row.own.note]
        return (*notes, self.startup_note) if self.startup_note else tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "quick": self.quick,
            "machine": asdict(self.machine),
            "rows": [
                {
                    **row.to_dict(),
                    "flops_per_second": row.flops_per_second,
                    "share_of_peak": row.share_of_peak(self.machine),
                }
                for row in self.rows
            ],
            "startup": self.startup.to_dict() if self.startup else None,
            "targets": [target.to_dict() for target in self.targets],
        }


def run_benchmark(
    *,
    quick: bool = False,
    rows: Sequence[str] = (),
    peers: Sequence[str] | None = None,
    check_targets: bool = False,
    console: Console | None = None,
) -> BenchmarkResult:
    """Measure the machine, fastgmm and its peers, and print tables as the figures come in."""
    peers = PEERS if peers is None else tuple(peers)
    for peer in peers:
        if peer not in PEERS:
            raise ValueError(f"peers must be among {', '.join(PEERS)}, got {peer!r}")
    if quick and check_targets:
        raise ValueError(
            "check_targets needs the full sizes, for which targets are promised: leave out quick"
        )
    effort = QUICK_EFFORT if quick else FULL_EFFORT
    words = [word for word in rows if word != STARTUP]
    with_startup = not rows or STARTUP in rows
    cases = select(quick_grid() if quick else FULL_GRID, words) if words or not rows else ()

    console = console or make_console()
    environment, cleared = environment_at_best(os.environ)
    machine = _measure_machine(environment, cleared, effort, console)
    console.print(machine_table(machine))
    measured: list[Row] = []
    try:
        for number, case in enumerate(cases, start=1):
            with console.status(f"{case.identifier} ({number} of {len(cases)})"):
                row = measure_case(
                    case,
                    peers,
                    environment=environment,
                    rounds=effort.rounds,
                    seconds=effort.seconds,
                )
            measured.append(row)
            if not console.is_terminal:
                # There is no status line: who follows a log sees each row as it comes in.
                console.print(row_line(row), markup=False)
        if measured:
            machine = machine.best_of(_measure_machine(environment, cleared, effort, console))
    finally:
        # Whoever interrupts a long run still gets what has been measured.
        if measured:
            console.print(rows_table(measured, machine, peers))
    startup, startup_note = None, ""
    if with_startup:
        try:
            with console.status("starting fresh processes"):
                startup = measure_startup(environment, n_repeats=effort.processes)
            console.print(startup_table(startup))
        except StartupError as error:
            startup_note = f"{STARTUP}: failed: {error}"
            console.print(startup_note, markup=False)
    targets = check(measured, machine, startup) if check_targets else ()
    if targets:
        console.print(targets_table(targets))
    return BenchmarkResult(machine, tuple(measured), startup, startup_note, targets, quick)


def _measure_machine(
    environment: Mapping[str, str], cleared: tuple[str, ...], effort: Effort, console: Console
) -> Machine:
    """Measure the machine in a worker, because BLAS reads its environment only once."""
    with console.status("measuring the machine"), WorkerProcess(environment) as worker:
        answer = worker.ask(
            "machine", seconds=effort.machine_seconds, overrides_cleared=list(cleared)
        )
    return Machine.from_dict(answer)
