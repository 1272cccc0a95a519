"""Targets, each beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fastgmm.bench.report import STYLE, make_console


@dataclass(frozen=True, slots=True)
class Target:
    """A target and the figure that meets or misses it.

    Attributes
    ----------
    subject : str
        What it is about, and for which case.
    limit : float
        The figure to reach.
    unit : str
        ``"x"`` for ratios, ``"%"`` for shares, ``"s"`` or ``"MB"``; empty for plain numbers.
    at_least : bool
        Whether more is better.
    measured : float or None
        The figure measured; None if the case was not run, or its figures are not comparable.
    """

    subject: str
    limit: float
    unit: str
    at_least: bool
    measured: float | None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the verdict for JSON."""
        return {**asdict(self), "met": self.met}


def targets_table(targets: Sequence[Target]) -> Table:
    """Lay out the targets beside what was measured."""
    table = Table(title="Targets", **STYLE)
    table.add_column("what")
    for title in ("target", "measured", ""):
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


def report_targets(targets: Sequence[Target], console: Console | None = None) -> int:
    """Print the targets; return 0, or 1 if one was missed."""
    (console or make_console()).print(targets_table(targets))
    return int(any(target.met is False for target in targets))
