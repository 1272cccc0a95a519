"""A fit that can be interrupted, with its progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fastgmm.cli.interruption import Interruption
from fastgmm.data.source import Source
from fastgmm.data.sources.stream import StreamSource

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext

    from fastgmm.estimators.gaussian_mixture import GaussianMixture
    from fastgmm.estimators.shared.known_candidates import KnownCandidates

_SECONDS_BETWEEN_LINES = 2.0


def fit_with_progress(
    model: Any,
    rows: Source,
    y: Any = None,
    *,
    interruption: Interruption | None = None,
    quiet: bool = False,
) -> None:
    """Fit a model with progress on standard error; an `interruption` asks for one with callbacks.

    After the first iteration, Ctrl-C or SIGTERM then ends the fit as if it were complete, and
    `interruption` says so; before, there is nothing to keep, and `Interrupted` is raised. It is
    raised at once, too, where the fit has a checkpoint, or no callbacks.
    """
    progress = FitProgress(
        tolerance=model.tol,
        max_passes=model.max_iter,
        n_starts=1 if interruption is None else model.n_init,
        quiet=quiet,
    )
    watch(rows, progress)
    with progress:
        if interruption is None:
            model.fit(rows, y)
            return
        model.set_callbacks(_Watcher(progress, interruption, model.checkpoint is not None))
        try:
            model.fit(rows)
        finally:
            interruption.deferred = False
            model.set_callbacks()


@contextmanager
def reading_progress(rows: Source, quiet: bool, output: Path | None) -> Iterator[None]:
    """Show how far a pass over rows is, unless its results go to the same terminal."""
    on_terminal = output is None and sys.stdout is not None and sys.stdout.isatty()
    progress = PassProgress("reading", quiet=quiet or on_terminal)
    watch(rows, progress)
    with progress:
        yield


def watch(rows: Source, progress: PassProgress) -> None:
    """Let rows that are read report how far they are."""
    if isinstance(rows, StreamSource):
        rows.on_rows = partial(
            progress.add_rows,
            expected=rows.expected_samples,
            bytes_per_row=rows.n_features * rows.dtype.itemsize,
        )


def end_of_fit(model: GaussianMixture, interruption: Interruption) -> str:
    """Return how a fit ended and what it took."""
    if not hasattr(model, "fit_info_"):
        return f"converged after {model.n_iter_} iterations"
    info = model.fit_info_
    n_epochs = getattr(model, "n_epochs_", None)
    if n_epochs is None:
        took = f"{info.n_passes} passes"
    else:
        took = "1 epoch" if n_epochs == 1 else f"{n_epochs} epochs"
    if interruption.signal_number is not None:
        end = "interrupted"
    elif n_epochs == 1:
        end = "ended"  # one epoch says nothing about convergence
    else:
        end = "converged" if model.converged_ else "not converged"
    compiling = f", and {info.compile_seconds:.1f} s compiling" if info.compile_seconds else ""
    return f"{end} after {took}, {info.seconds:.2f} s{compiling}"


def status_of_fit(interruption: Interruption, kept: str) -> int:
    """Return the exit status of a command, and print what an interrupted fit has left."""
    if interruption.signal_number is None:
        return 0
    print(f"interrupted: {kept}", file=sys.stderr)
    return 128 + interruption.signal_number


class _Watcher:
    """A callback in scikit-learn's protocol: between the fit, the display and the signals."""

    def __init__(
        self, progress: FitProgress, interruption: Interruption, has_checkpoint: bool
    ) -> None:
        self._progress = progress
        self._interruption = interruption
        self._has_checkpoint = has_checkpoint

    def setup(self, **_arguments: Any) -> None:
        """Do nothing: there is nothing to set up."""

    def teardown(self, **_arguments: Any) -> None:
        """Do nothing: there is nothing to tear down."""

    def on_fit_task_begin(self, _estimator: GaussianMixture, context: CallbackContext) -> None:
        if context.task_name == "initialization":
            self._progress.begin_start()

    def on_fit_task_end(
        self,
        _estimator: GaussianMixture,
        context: CallbackContext,
        *,
        fitted_estimator: GaussianMixture | None,
    ) -> bool:
        if context.task_name == "iteration" and fitted_estimator is not None:
            # What a checkpoint holds needs no end of the pass to be kept.
            self._interruption.deferred = not self._has_checkpoint
            self._progress.add_pass(context.parent.task_id, float(fitted_estimator.trace_[-1]))
        return self._interruption.signal_number is not None


class PassProgress:
    """Shows rows, rate and time left of a pass over rows on standard error."""

    def __init__(self, description: str, *, quiet: bool) -> None:
        self._lines = not quiet and not sys.stderr.isatty()
        self._began = self._last_line = self._pass_began = time.monotonic()
        self._rows_done = self._pass_first = 1 << 62
        self._rate = self._status = ""
        self._is_first_pass = True
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=quiet or self._lines,
        )
        self._task = self._bar.add_task(description, total=None, status="")

    def __enter__(self) -> Self:
        # Older versions of rich end a bar that is not shown with an empty line.
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def add_rows(self, done: int, *, expected: int | None, bytes_per_row: int) -> None:
        """Show how far the present pass is, and how fast."""
        now = time.monotonic()
        if done <= self._rows_done:
            # What came between two passes is no time of either.
            self._pass_began, self._pass_first = now, done
        self._rows_done = done
        part = f"{_count(done)} rows"
        if expected:
            part += f" of {_count(expected)}"
        shown = [self._status, part]
        if done > self._pass_first:
            rate = (done - self._pass_first) / max(now - self._pass_began, 1e-9)
            self._rate = f"{_count(rate)} rows/s, {rate * bytes_per_row / 1e6:.0f} MB/s"
            shown.append(self._rate)
            if expected and self._is_first_pass:
                shown.append(f"about {_duration((expected - done) / rate)} left of this pass")
        status = ", ".join(filter(None, shown))
        self._bar.update(self._task, status=status)
        self._line(f"reading: {status}")

    def _line(self, text: str, *, now: bool = False) -> None:
        """Print a line where there is no terminal, but not too often."""
        if self._lines and (now or time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES):
            self._last_line = time.monotonic()
            print(text, file=sys.stderr, flush=True)


class FitProgress(PassProgress):
    """Shows passes, log-likelihood and time left, too."""

    def __init__(self, *, tolerance: float, max_passes: int, n_starts: int, quiet: bool) -> None:
        super().__init__("starting", quiet=quiet)
        self.tolerance = tolerance
        self.max_passes = max_passes
        self.n_starts = n_starts
        self._trace: list[float] = []

    def begin_start(self) -> None:
        """Note that EM begins from new parameters."""
        self._trace = []
        self._is_first_pass = True
        self._began = time.monotonic()

    def add_pass(self, start: int, log_likelihood: float) -> None:
        """Show one more pass."""
        self._trace.append(log_likelihood)
        self._is_first_pass = False
        done = len(self._trace)
        name = "pass" if self.n_starts == 1 else f"start {start + 1} of {self.n_starts}, pass"
        status = f"log-likelihood {log_likelihood:.6f}"
        left = passes_left(self._trace, self.tolerance, self.max_passes)
        now = time.monotonic()
        if left is not None:
            left += 1  # the last pass measures what is returned
            # Starts to come are taken to be as long as this one.
            passes = left + (self.n_starts - start - 1) * (done + left)
            status += f", about {_duration(passes * (now - self._began) / done)} left"
        self._status = status
        if self._rate:
            status += f", {self._rate}"
        self._bar.update(
            self._task,
            description=f"{name} {done}",
            completed=done,
            total=None if left is None else done + left,
            status=status,
        )
        self._line(f"{name} {done}: {status}", now=done == 1)


class SearchProgress(PassProgress):
    """Shows how many candidates are fitted, and the time left, too."""

    known: KnownCandidates | None = None
    """What the search has found so far."""

    _first: tuple[float, int] | None = None
    """When there were candidates for the first time, and how many."""

    def add_candidate(self, known: KnownCandidates) -> None:
        """Show one more candidate."""
        self.known = known
        done, total = known.counts
        now = time.monotonic()
        # Compiling, the agglomeration and what a checkpoint has come before the first.
        self._first = began, n_first = self._first or (now, done)
        self._status = "comparing the best" if done == total else ""
        if n_first < done < total:
            left = (now - began) / (done - n_first) * (total - done)
            self._status = f"about {_duration(left)} left"
        text = f"{done} of {total} candidates"
        self._bar.update(
            self._task, description=text, completed=done, total=total, status=self._status
        )
        self._line(", ".join(filter(None, (text, self._status))))


def passes_left(trace: list[float], tolerance: float, max_passes: int) -> int | None:
    """Estimate how many more passes a fit takes.

    EM's gains shrink by a factor that settles down, so that they reach the tolerance after a number
    of passes that follows from the last two of them.
    """
    if len(trace) < 3:
        return None
    most = max(max_passes - len(trace), 0)
    before, last = trace[-2] - trace[-3], trace[-1] - trace[-2]
    if last < tolerance:
        return 0
    if tolerance <= 0.0 or last >= before:
        return most
    return min(most, math.ceil(math.log(tolerance / last) / math.log(last / before)))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _count(number: float) -> str:
    """Return a large number in a few characters."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return f"{number:.0f}"
