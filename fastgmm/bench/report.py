"""Tables of the figures, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastgmm.bench.competitors import FastGMM
from fastgmm.bench.grid import SEPARATIONS
from fastgmm.bench.machine import Machine
from fastgmm.bench.measurement import NOT_INSTALLED, TOLERANCES, Figures, Row
from fastgmm.bench.startup import Startup
from fastgmm.bench.targets import Target


class _Style(TypedDict):
    title_justify: Literal["left"]
    title_style: str
    box: box.Box


# A table of this width holds two peers; what is not a terminal has no width of its own.
PLAIN_WIDTH = 150
_STYLE: _Style = {"title_justify": "left", "title_style": "bold", "box": box.SIMPLE_HEAD}


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or error, wide enough for the tables where a file."""
    console = Console(highlight=False, stderr=stderr)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def duration(seconds: float) -> str:
    """Write a time with three digits, in the unit that suits it."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1.0 or unit == "µs":
            break
    value = seconds * factor
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def megabytes(n_bytes: int | None) -> str:
    """Write a number of bytes in MB."""
    if n_bytes is None:
        return "–"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 10e6 else f"{n_bytes / 1e6:.0f} MB"


def machine_table(machine: Machine) -> Table:
    """Lay out what the machine can do."""
    table = Table(title="The machine", show_header=False, **_STYLE)
    table.add_row("processor", f"{machine.processor}, {machine.n_threads} threads")
    table.add_row("threading layer", machine.threading_layer)
    table.add_row("system", machine.system)
    for name, rates in machine.rates.items():
        table.add_row(
            f"FMA peak, {name}",
            f"{rates.fma_all_threads / 1e9:.0f} GFLOP/s, one thread "
            f"{rates.fma_one_thread / 1e9:.0f} ({rates.vector_bits}-bit vectors)",
        )
        share = rates.gemm_all_threads / rates.fma_all_threads
        table.add_row(
            f"BLAS product, {name}",
            f"{rates.gemm_all_threads / 1e9:.0f} GFLOP/s, one thread "
            f"{rates.gemm_one_thread / 1e9:.0f} ({share:.0%} of the peak)",
        )
    table.add_row(
        "memory bandwidth",
        f"read {machine.read_bandwidth / 1e9:.1f} GB/s, triad "
        f"{machine.triad_bandwidth / 1e9:.1f} GB/s",
    )
    table.add_row("BLAS kernels", ", ".join(machine.blas) or "none found")
    if machine.is_busy:
        table.add_row(
            "busy",
            f"[red]{machine.load:.1f} processes wanted to run during the last minute: figures "
            "from a machine that does other work are too low[/]",
        )
    if machine.overrides_cleared:
        table.add_row("cleared for all", ", ".join(machine.overrides_cleared))
    table.add_row("versions", ", ".join(f"{k} {v}" for k, v in machine.versions.items()))
    return table


def rows_table(rows: Sequence[Row], machine: Machine, peers: Sequence[str]) -> RenderableType:
    """Lay out the cases, the peers beside fastgmm, and the notes below."""
    table = Table(title="A pass over the data, best of all repeats", **_STYLE)
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
    lines = [
        "GFLOP/s: useful operations, exponentials not counted; memory: peak above the data; "
        "fit: a whole fit, measured for its memory",
        "ratio: time of the peer over that of fastgmm, same start, same number of passes; results "
        f"agree to {TOLERANCES['float64']:g} (float32: {TOLERANCES['float32']:g}) of their size",
    ]
    for overlap in dict.fromkeys(row.case.overlap for row in rows):
        lines.append(
            f"data: drawn from a mixture with means {SEPARATIONS[overlap]:g} standard deviations "
            f"apart on average ({overlap})"
        )
    return lines


def startup_table(startup: Startup) -> Table:
    """Lay out imports and first fits."""
    table = Table(title="A fresh process", show_header=False, **_STYLE)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("import sklearn.mixture", duration(startup.import_sklearn_mixture))
    table.add_row("import fastgmm", duration(startup.import_fastgmm))
    table.add_row("from fastgmm import GaussianMixture", duration(startup.import_estimator))
    table.add_row("first fit, empty numba cache", duration(startup.first_fit_cold))
    table.add_row("first fit, filled numba cache", duration(startup.first_fit_warm))
    return table


def targets_table(targets: Sequence[Target]) -> Table:
    """Lay out the promises beside what was measured."""
    table = Table(title="Promised and measured", **_STYLE)
    table.add_column("what")
    for title in ("promised", "measured", ""):
        table.add_column(title, justify="right")
    for target in targets:
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: "not measured"}[target.met]
        table.add_row(
            target.subject,
            f"{'≥' if target.at_least else '≤'} {_amount(target.limit, target.unit)}",
            "–" if target.measured is None else _amount(target.measured, target.unit),
            verdict,
        )
    return table


def _amount(value: float, unit: str) -> str:
    percent_digits = 0 if abs(value) >= 1.0 else 3
    digits = {"%": percent_digits, "MB": 0, "x": 1 if value >= 2.0 else 2, "s": 2, "": 3}[unit]
    return f"{value:.{digits}f}{'×' if unit == 'x' else ' ' + unit}"
