"""Measuring one case: competitors take turns, and what they computed is compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fastgmm.bench.grid import Case
from fastgmm.bench.machine import Machine
from harness.competitors import COMPETITORS, FastGMM
from harness.worker import WorkerError, WorkerProcess

# Largest difference from fastgmm's result that counts as agreement, as a share of its size: in
# nats a row, or mean squared distance. float32 is what a library computes in when asked to.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}
# Threads of the competitor before may spin for a while before they sleep.
PAUSE = 0.05
NOT_INSTALLED = "not installed"

WorkerMaker = Callable[[Mapping[str, str]], WorkerProcess]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one competitor in one case.

    Attributes
    ----------
    seconds : float or None
        A pass, the best of all repeats; None where nothing was timed.
    median_seconds : float or None
        A pass, the median of the repeats.
    n_repeats : int
        Number of repeats.
    memory : int or None
        Peak bytes above the data.
    memory_method : str
        How that was found out.
    result : float or None
        Mean log-likelihood (k-means: mean squared distance) after the same number of passes.
    arithmetic : tuple of str
        Libraries and kernels that do the competitor's linear algebra.
    note : str
        Why figures are missing or not comparable; empty if all is well.
    """

    seconds: float | None = None
    median_seconds: float | None = None
    n_repeats: int = 0
    memory: int | None = None
    memory_method: str = ""
    result: float | None = None
    arithmetic: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One case and the figures of each competitor.

    Attributes
    ----------
    case : Case
        What was run.
    figures : mapping of str to Figures
        By the competitor's name.
    """

    case: Case
    figures: Mapping[str, Figures]

    @property
    def own(self) -> Figures:
        """The figures of fastgmm."""
        return self.figures[FastGMM.name]

    @property
    def flops_per_second(self) -> float | None:
        """Useful operations a second of fastgmm."""
        flops = self.case.flops
        return flops / self.own.seconds if flops and self.own.seconds else None

    def share_of_peak(self, machine: Machine) -> float | None:
        """Return the share of the machine's multiply-add peak for the type of the data."""
        rate = self.flops_per_second
        return rate / machine.peaks[self.case.dtype].all_threads if rate else None

    def ratio(self, peer: str) -> float | None:
        """Return how many times as long as fastgmm a peer takes; None unless they agree."""
        figures = self.figures.get(peer)
        if figures is None or figures.note or not (figures.seconds and self.own.seconds):
            return None
        return figures.seconds / self.own.seconds

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON, with the derived figures written out."""
        return {
            "id": self.case.identifier,
            "case": asdict(self.case),
            "flops_per_pass": self.case.flops,
            "competitors": {
                name: {**asdict(figures), "ratio": self.ratio(name)}
                for name, figures in self.figures.items()
            },
        }


@dataclass(slots=True)
class _Turn:
    """A competitor while its case is being measured."""

    worker: WorkerProcess
    figures: Figures
    repeats: list[tuple[float, float]] = field(default_factory=list)


def measure_case(
    case: Case,
    peers: Sequence[str],
    *,
    environment: Mapping[str, str],
    rounds: int,
    seconds: float,
    make_worker: WorkerMaker = WorkerProcess,
) -> Row:
    """Measure a case for fastgmm and its peers.

    Every competitor has a worker process. In each round each gets its turn, so that whatever
    disturbs the machine meets them alike.
    """
    figures: dict[str, Figures] = {}
    with ExitStack() as stack:
        turns: dict[str, _Turn] = {}
        for name in (FastGMM.name, *peers):
            kind = COMPETITORS[name]
            if not kind.takes(case):
                continue
            if not kind.is_installed():
                figures[name] = Figures(note=f"{NOT_INSTALLED}: pip install {kind.package}")
                continue
            turns[name] = _Turn(stack.enter_context(make_worker(environment)), Figures())
        for name, turn in turns.items():
            _attempt(turn, _prepare, case, name)
        n_rounds = 0 if case.task == "fit" else rounds
        for _ in range(n_rounds):
            for turn in turns.values():
                _attempt(turn, _measure, seconds)
        for turn in turns.values():
            _attempt(turn, _judge)
        for name, turn in turns.items():
            figures[name] = _with_times(turn.figures, turn.repeats, case.n_passes)
    return Row(case, _compared(case, figures))


def _attempt(turn: _Turn, step: Callable[..., None], *values: object) -> None:
    """Take a step unless an earlier one failed; a failure becomes the note."""
    if turn.figures.note:
        return
    try:
        step(turn, *values)
    except WorkerError as error:
        turn.figures = replace(turn.figures, note=f"failed: {error}")


def _prepare(turn: _Turn, case: Case, name: str) -> None:
    answer = turn.worker.ask("prepare", case=asdict(case), competitor=name)
    turn.figures = replace(
        turn.figures,
        memory=answer["memory"],
        memory_method=answer["memory_method"],
        arithmetic=tuple(answer["arithmetic"]),
    )


def _measure(turn: _Turn, seconds: float) -> None:
    time.sleep(PAUSE)
    answer = turn.worker.ask("measure", seconds=seconds)
    turn.repeats += [(whole, once) for whole, once in answer["repeats"]]


def _judge(turn: _Turn) -> None:
    turn.figures = replace(turn.figures, result=turn.worker.ask("judge")["result"])


def _with_times(figures: Figures, repeats: Sequence[tuple[float, float]], n_passes: int) -> Figures:
    """Work out the time of a pass; best and median are each taken before the difference."""
    if not repeats:
        return figures
    whole, once = zip(*repeats, strict=True)
    best = (min(whole) - min(once)) / n_passes
    if best <= 0:
        return replace(
            figures, note="not timed: a call with more passes took no longer, use larger data"
        )
    return replace(
        figures,
        seconds=best,
        median_seconds=(statistics.median(whole) - statistics.median(once)) / n_passes,
        n_repeats=len(repeats),
    )


def _compared(case: Case, figures: Mapping[str, Figures]) -> dict[str, Figures]:
    """Note where a peer's result is not that of fastgmm."""
    own = figures[FastGMM.name].result
    compared = dict(figures)
    for name, peer in figures.items():
        if peer.note or peer.result is None or own is None or name == FastGMM.name:
            continue
        # Written so that a result that is not a number counts as different.
        if not abs(peer.result - own) <= TOLERANCES[case.dtype] * abs(own):
            compared[name] = replace(
                peer,
                note=f"results differ: {peer.result:.9g} against {own:.9g} of fastgmm",
            )
    return compared
