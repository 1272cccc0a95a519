"""A pass of EM, of k-means and over scores, against scikit-learn's, oneDAL's and pomegranate's.

All start from the same parameters and make the same number of passes, by turns and in processes of
their own, over the grid of ``fastgmm bench``; peak memory is measured too. If results disagree, the
row says so. Besides, the targets of the passes, of float32 and of memory are checked on the
full sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastgmm.bench.grid import FULL_GRID, Case, quick_grid, select
from fastgmm.bench.machine import Machine, Peak
from fastgmm.bench.report import STYLE, duration, machine_table, make_console, overlap_legend
from harness.competitors import PEERS, FastGMM, OneDAL, ScikitLearn
from harness.lines import megabytes
from harness.measurement import NOT_INSTALLED, TOLERANCES, Figures, Row, measure_case
from harness.targets import Target, report_targets
from harness.throughput import Throughput, environment_at_best, throughput_table
from harness.worker import WorkerProcess

MEMORY_CASE = Case("fit", "full", 10_000_000, 8, 16, n_passes=2)
GRID = (*FULL_GRID, MEMORY_CASE)

# By the size (rows, features, components): least ratio to the peer for a float64 pass.
SCIKIT_LEARN_RATIOS = {
    (1_000_000, 2, 8): 60.0,
    (1_000_000, 8, 16): 60.0,
    (500_000, 16, 32): 40.0,
    (200_000, 32, 64): 23.0,
    (100_000, 64, 32): 12.0,
}
ONEDAL_RATIOS = {
    (1_000_000, 2, 8): 1.8,
    (2_000_000, 3, 8): 2.3,
    (1_000_000, 8, 16): 4.0,
    (500_000, 16, 32): 4.5,
    (200_000, 32, 64): 5.0,
    (100_000, 64, 32): 4.0,
}
DIAGONAL_SIZE = (1_000_000, 16, 64)
SCORING_SIZE = (1_000_000, 8, 16)
FLOAT32_GAIN = 1.7


def least_share_of_peak(n_features: int) -> float | None:
    """Return the least share of the multiply-add peak of a float64 pass, in percent."""
    for at_least, share in ((32, 70.0), (16, 50.0), (8, 30.0)):
        if n_features >= at_least:
            return share
    return None


def least_float32_ratio(n_features: int) -> float | None:
    """Return the least ratio to oneDAL of a float32 pass."""
    if n_features <= 3:
        return 1.3
    return 2.0 if n_features >= 8 else None


def check_targets(rows: Sequence[Row], machine: Machine | None) -> tuple[Target, ...]:
    """Put every target beside its measured figure."""
    by_identifier = {row.case.identifier: row for row in rows}
    passes = [case for case in FULL_GRID if case.task == "pass" and case.overlap == "overlapping"]
    full64 = [case for case in passes if case.structure == "full" and case.dtype == "float64"]
    return (
        *_shares_of_peak(full64, by_identifier, machine),
        *_ratios(full64, by_identifier),
        *_float32(full64, by_identifier),
        *_memory_and_scoring(by_identifier),
    )


def _label(case: Case) -> str:
    return f"{case.n_samples:,}×{case.n_features}, K={case.n_components}"


def _shares_of_peak(
    cases: Sequence[Case], rows: Mapping[str, Row], machine: Machine | None
) -> list[Target]:
    targets = []
    for case in cases:
        limit = least_share_of_peak(case.n_features)
        if limit is None:
            continue
        row = rows.get(case.identifier)
        share = row.share_of_peak(machine) if row and machine else None
        percent = None if share is None else 100 * share
        targets.append(Target(f"share of FMA peak, {_label(case)}", limit, "%", True, percent))
    return targets


def _ratio(subject: str, limit: float, case: Case, peer: str, rows: Mapping[str, Row]) -> Target:
    row = rows.get(case.identifier)
    return Target(subject, limit, "x", True, row.ratio(peer) if row else None)


def _ratios(cases: Sequence[Case], rows: Mapping[str, Row]) -> list[Target]:
    targets = []
    for peer, limits in (
        (ScikitLearn.name, SCIKIT_LEARN_RATIOS),
        (OneDAL.name, ONEDAL_RATIOS),
    ):
        for case in cases:
            limit = limits.get((case.n_samples, case.n_features, case.n_components))
            if limit is not None:
                targets.append(_ratio(f"against {peer}, {_label(case)}", limit, case, peer, rows))
    diagonal = Case("pass", "diag", *DIAGONAL_SIZE)
    for peer, limit in ((OneDAL.name, 2.5), (ScikitLearn.name, 10.0)):
        subject = f"diagonal against {peer}, {_label(diagonal)}"
        targets.append(_ratio(subject, limit, diagonal, peer, rows))
    return targets


def _float32(cases: Sequence[Case], rows: Mapping[str, Row]) -> list[Target]:
    against_onedal, against_float64 = [], []
    for case64 in cases:
        case32 = replace(case64, dtype="float32")
        size = (case64.n_samples, case64.n_features, case64.n_components)
        limit = least_float32_ratio(case64.n_features)
        if limit is not None and size in ONEDAL_RATIOS:
            subject = f"float32 against {OneDAL.name}, {_label(case32)}"
            against_onedal.append(_ratio(subject, limit, case32, OneDAL.name, rows))
        row64, row32 = rows.get(case64.identifier), rows.get(case32.identifier)
        gain = None
        if row64 and row32 and row64.own.seconds and row32.own.seconds:
            gain = row64.own.seconds / row32.own.seconds
        subject = f"float32 against float64, {_label(case64)}"
        against_float64.append(Target(subject, FLOAT32_GAIN, "x", True, gain))
    return [*against_onedal, *against_float64]


def _memory_and_scoring(rows: Mapping[str, Row]) -> list[Target]:
    row = rows.get(MEMORY_CASE.identifier)
    memory = row.own.memory if row else None
    scoring = Case("scoring", "full", *SCORING_SIZE)
    return [
        Target(
            f"memory above the data, fit of {_label(MEMORY_CASE)}",
            100.0,
            "MB",
            False,
            None if memory is None else memory / 1e6,
        ),
        _ratio(
            f"scoring against {ScikitLearn.name}, {_label(scoring)}",
            40.0,
            scoring,
            ScikitLearn.name,
            rows,
        ),
    ]


def rows_table(rows: Sequence[Row], machine: Machine, peers: Sequence[str]) -> RenderableType:
    """Lay out the cases, the peers beside fastgmm, and the notes below."""
    table = Table(title="A pass over the data, best of all repeats", **STYLE)
    table.add_column("", no_wrap=True)
    for title in (FastGMM.name, "GFLOP/s", "of peak", "memory"):
        table.add_column(title, justify="right")
    for peer in peers:
        for title in (peer, "memory", "ratio"):
            table.add_column(title, justify="right")
    notes: list[str] = []
    for row in rows:
        own, rate, share = row.own, row.flops_per_second, row.share_of_peak(machine)
        if own.note:
            notes.append(f"{row.case.identifier}: {FastGMM.name} {own.note}")
        table.add_row(
            row.case.identifier,
            "[red]failed[/]" if own.note else _duration_or_dash(own),
            f"{rate / 1e9:.1f}" if rate else "–",
            f"{share:.0%}" if share else "–",
            megabytes(own.memory),
            *(cell for peer in peers for cell in _peer_cells(row, peer, notes)),
        )
    return Group(table, *(Text(line, style="dim") for line in [*_legend(rows), *notes]))


def row_line(row: Row) -> str:
    """Return a case and its figures on one line."""
    ratios = [
        f"{name} {f'{ratio:.1f}×' if (ratio := row.ratio(name)) else figures.note or '–'}"
        for name, figures in row.figures.items()
        if name != FastGMM.name
    ]
    own = row.own.note or f"{_duration_or_dash(row.own)}, {megabytes(row.own.memory)}"
    return ", ".join([f"{row.case.identifier}: {own}", *ratios])


def _duration_or_dash(figures: Figures) -> str:
    return duration(figures.seconds) if figures.seconds else "–"


def _peer_cells(row: Row, peer: str, notes: list[str]) -> tuple[str, str, str]:
    """Return time, memory and ratio of a peer, and add to the notes what is wrong with them."""
    figures = row.figures.get(peer, Figures())
    ratio = row.ratio(peer)
    verdict = f"[bold]{ratio:.1f}×[/]" if ratio else "–"
    if figures.note:
        verdict = figures.note.partition(":")[0]
        # What is not installed is so for every row.
        where = "" if verdict == NOT_INSTALLED else f"{row.case.identifier}: "
        line = f"{where}{peer} {figures.note}"
        if line not in notes:
            notes.append(line)
    return _duration_or_dash(figures), megabytes(figures.memory), verdict


def _legend(rows: Sequence[Row]) -> list[str]:
    return [
        "GFLOP/s: useful operations, exponentials not counted; memory: peak above the data; "
        "fit: a whole fit, measured for its memory",
        "ratio: time of the peer over that of fastgmm, same start, same number of passes; results "
        f"agree to {TOLERANCES['float64']:g} (float32: {TOLERANCES['float32']:g}) of their size",
        *overlap_legend([row.case for row in rows]),
    ]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time goes into the figures: turns of each competitor, and seconds of each."""

    rounds: int
    seconds: float
    machine_seconds: float


FULL_EFFORT = Effort(rounds=3, seconds=0.5, machine_seconds=0.3)
QUICK_EFFORT = Effort(rounds=2, seconds=0.1, machine_seconds=0.1)


def measure(
    cases: Sequence[Case], peers: Sequence[str], effort: Effort, console: Console
) -> tuple[Machine, Throughput, list[Row]]:
    """Measure the machine, fastgmm and its peers, and print tables as the figures come in."""
    environment, cleared = environment_at_best(os.environ)
    machine, throughput = _measure_machine(environment, effort)
    console.print(machine_table(machine), throughput_table(throughput, machine))
    if cleared:
        console.print(f"cleared for all: {', '.join(cleared)}", markup=False)
    rows: list[Row] = []
    try:
        for case in cases:
            row = measure_case(
                case, peers, environment=environment, rounds=effort.rounds, seconds=effort.seconds
            )
            rows.append(row)
            console.print(row_line(row), markup=False)
        machine = machine.best_of(_measure_machine(environment, effort)[0])
    finally:
        # Whoever interrupts a long run still gets what has been measured.
        if rows:
            console.print(rows_table(rows, machine, peers))
    return machine, throughput, rows


def _measure_machine(environment: Mapping[str, str], effort: Effort) -> tuple[Machine, Throughput]:
    """Measure the machine in a worker, because BLAS reads its environment only once."""
    with WorkerProcess(environment) as worker:
        values = worker.ask("machine", seconds=effort.machine_seconds)
    found = values["machine"]
    peaks = {name: Peak(**each) for name, each in found["peaks"].items()}
    machine = Machine(**{**found, "blas": tuple(found["blas"]), "peaks": peaks})
    return machine, Throughput(**values["throughput"])


def document(
    machine: Machine, throughput: Throughput, rows: Sequence[Row], targets: Sequence[Target]
) -> dict[str, Any]:
    """Return everything for JSON."""
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": asdict(machine),
        "throughput": throughput.to_dict(),
        "rows": [{**row.to_dict(), "share_of_peak": row.share_of_peak(machine)} for row in rows],
        "targets": [target.to_dict() for target in targets],
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return 1 if fastgmm failed in some row, or missed a target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small data, for which no targets are checked"
    )
    parser.add_argument(
        "--rows", default="", metavar="A,B,…", help="only rows whose names contain one of these"
    )
    parser.add_argument(
        "--peers",
        default=",".join(PEERS),
        metavar="A,B,…",
        help="competitors, or none (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, and tables to stderr")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="file to write the figures to, as JSON"
    )
    options = parser.parse_args(arguments)
    peers = [] if options.peers == "none" else options.peers.split(",")
    try:
        if unknown := set(peers) - set(PEERS):
            raise ValueError(f"peers must be among {', '.join(PEERS)}, got {min(unknown)!r}")
        words = [word for word in options.rows.split(",") if word]
        cases = select(quick_grid(GRID) if options.quick else GRID, words)
    except ValueError as error:
        parser.error(str(error))
    console = make_console(stderr=options.json)
    machine, throughput, rows = measure(
        cases, peers, QUICK_EFFORT if options.quick else FULL_EFFORT, console
    )
    targets: tuple[Target, ...] = ()
    if not options.quick:
        targets = tuple(
            target
            for target in check_targets(rows, machine)
            if not words or target.measured is not None
        )
    text = json.dumps(document(machine, throughput, rows, targets), indent=2)
    if options.json:
        print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    status = report_targets(targets, console) if targets else 0
    failures = [f"{row.case.identifier}: {row.own.note}" for row in rows if row.own.note]
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return int(bool(status or failures))


if __name__ == "__main__":
    sys.exit(main())
