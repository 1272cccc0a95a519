"""A fit that shows its progress and can be interrupted."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from fastgmm.cli.interruption import Interruption
from fastgmm.cli.progress import FitProgress
from fastgmm.data.source import Source
from fastgmm.data.sources.stream import StreamSource

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext

    from fastgmm.estimators.gaussian_mixture import GaussianMixture


def fit_watched(
    model: GaussianMixture,
    rows: NDArray[Any] | Source,
    interruption: Interruption,
    *,
    quiet: bool = False,
) -> None:
    """Fit a mixture with progress on standard error.

    After the first iteration, Ctrl-C or SIGTERM ends the fit as if it were complete, and
    `interruption` tells of it; before, there is nothing to keep, and `Interrupted` is raised.
    `Interrupted` is raised at once, too, where the fit has a checkpoint.
    """
    progress = FitProgress(
        tolerance=cast(float, model.tol),
        max_passes=model.max_iter,
        n_starts=model.n_init,
        quiet=quiet,
    )
    watch_reading(rows, progress)
    with progress:
        model.set_callbacks(_Watcher(progress, interruption, model.checkpoint is not None))
        try:
            model.fit(rows)
        finally:
            interruption.deferred = False
            model.set_callbacks()


def watch_reading(rows: NDArray[Any] | Source, progress: FitProgress) -> None:
    """Let a display show how far the reading of rows is, if they are read at all."""
    if isinstance(rows, StreamSource):
        bytes_per_row = rows.n_features * rows.dtype.itemsize
        rows.on_rows = partial(
            progress.add_rows, expected=rows.expected_samples, bytes_per_row=bytes_per_row
        )


def fit_while_reading_is_shown(
    estimator: Any, rows: Source, y: NDArray[Any] | None = None, *, quiet: bool = False
) -> None:
    """Fit an estimator without callbacks, with the progress of reading on standard error.

    A signal ends it at once: `Interrupted` is raised.
    """
    progress = FitProgress(
        tolerance=estimator.tol, max_passes=estimator.max_iter, n_starts=1, quiet=quiet
    )
    watch_reading(rows, progress)
    with progress:
        estimator.fit(rows, y)


def end_of_fit(model: GaussianMixture, interruption: Interruption) -> str:
    """Return how a fit ended and what it took."""
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
    return f"{end} after {took}, {info.seconds:.2f} s"


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
