"""Tables of the figures, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastgmm.bench.grid import SEPARATIONS, Case
from fastgmm.bench.machine import Machine
from fastgmm.bench.passes import Row


class _Style(TypedDict):
    title_justify: Literal["left"]
    title_style: str
    box: box.Box


# Wide enough for the comparisons' tables; what is not a terminal has no width of its own.
PLAIN_WIDTH = 150
STYLE: _Style = {"title_justify": "left", "title_style": "bold", "box": box.SIMPLE_HEAD}


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


def machine_table(machine: Machine) -> Table:
    """Lay out what the machine can do."""
    table = Table(title="The machine", show_header=False, **STYLE)
    table.add_row("processor", f"{machine.processor}, {machine.n_threads} threads")
    table.add_row("threading layer", machine.threading_layer)
    table.add_row("system", machine.system)
    for name, peak in machine.peaks.items():
        table.add_row(
            f"FMA peak, {name}",
            f"{peak.all_threads / 1e9:.0f} GFLOP/s, one thread "
            f"{peak.one_thread / 1e9:.0f} ({peak.vector_bits}-bit vectors)",
        )
    table.add_row("BLAS kernels", ", ".join(machine.blas) or "none found")
    if machine.is_busy:
        table.add_row(
            "busy",
            f"[red]{machine.load:.1f} processes wanted to run during the last minute: figures "
            "from a machine that does other work are too low[/]",
        )
    table.add_row("versions", ", ".join(f"{k} {v}" for k, v in machine.versions.items()))
    return table


def rows_table(rows: Sequence[Row], machine: Machine) -> RenderableType:
    """Lay out the cases, and below them what the columns mean."""
    table = Table(title="A pass over the data, best of all repeats", **STYLE)
    table.add_column("", no_wrap=True)
    for title in ("a pass", "passes/s", "GFLOP/s", "of peak"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            row.case.identifier,
            duration(row.seconds),
            f"{1 / row.seconds:.4g}",
            f"{row.flops_per_second / 1e9:.1f}",
            f"{row.share_of_peak(machine):.0%}",
        )
    legend = [
        "GFLOP/s: useful operations, exponentials not counted",
        *overlap_legend([row.case for row in rows]),
    ]
    return Group(table, *(Text(line, style="dim") for line in legend))


def row_line(row: Row) -> str:
    """Return a case and its figures on one line."""
    return f"{row.case.identifier}: {duration(row.seconds)}"


def overlap_legend(cases: Sequence[Case]) -> list[str]:
    """Say how far apart the components of the cases' data are."""
    return [
        f"data: drawn from a mixture with means {SEPARATIONS[overlap]:g} standard deviations "
        f"apart on average ({overlap})"
        for overlap in dict.fromkeys(case.overlap for case in cases)
    ]
