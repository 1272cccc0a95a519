"""A fit that shows how it gets on, and ends when it is told to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fastgmm.cli.interruption import Interruption
from fastgmm.cli.progress import FitProgress

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext

    from fastgmm.estimators.gaussian_mixture import GaussianMixture


def fit_watched(
    model: GaussianMixture,
    rows: NDArray[Any],
    interruption: Interruption,
    *,
    sample_weight: NDArray[Any] | None = None,
    quiet: bool = False,
) -> None:
    """Fit a mixture with progress on standard error.

    After the first iteration, Ctrl-C or SIGTERM ends the fit as if it were complete, and
    `interruption` tells of it; before, there is nothing to keep, and `Interrupted` is raised.

    Parameters
    ----------
    model : GaussianMixture
        The mixture to fit.
    rows : ndarray of shape (n_samples, n_features)
        The rows.
    interruption : Interruption
        Receives the signals.
    sample_weight : ndarray of shape (n_samples,), optional
        Weights of the rows.
    quiet : bool, default=False
        Show nothing.
    """
    progress = FitProgress(
        tolerance=model.tol, max_passes=model.max_iter, n_starts=model.n_init, quiet=quiet
    )
    with progress:
        model.set_callbacks(_Watcher(progress, interruption))
        try:
            model.fit(rows, sample_weight=sample_weight)
        finally:
            interruption.deferred = False
            model.set_callbacks()


def end_of_fit(model: GaussianMixture, interruption: Interruption) -> str:
    """Return how a fit ended and what it took.

    Parameters
    ----------
    model : GaussianMixture
        The fitted mixture.
    interruption : Interruption
        What received the signals.

    Returns
    -------
    str
        Part of a sentence.
    """
    if interruption.signal_number is not None:
        end = "interrupted"
    else:
        end = "converged" if model.converged_ else "not converged"
    info = model.fit_info_
    return f"{end} after {info.n_passes} passes, {info.seconds:.2f} s"


def status_of_fit(interruption: Interruption, kept: str) -> int:
    """Return the status that a command ends with, and tell what an interrupted fit has left.

    Parameters
    ----------
    interruption : Interruption
        What received the signals.
    kept : str
        What is left, as a sentence.

    Returns
    -------
    int
        0, or 128 and the signal's number.
    """
    if interruption.signal_number is None:
        return 0
    print(f"interrupted: {kept}", file=sys.stderr)
    return 128 + interruption.signal_number


class _Watcher:
    """A callback in scikit-learn's protocol: between the fit, the display and the signals."""

    def __init__(self, progress: FitProgress, interruption: Interruption) -> None:
        self._progress = progress
        self._interruption = interruption

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
            self._interruption.deferred = True
            self._progress.add_pass(context.parent.task_id, float(fitted_estimator.trace_[-1]))
        return self._interruption.signal_number is not None
