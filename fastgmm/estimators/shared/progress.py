"""Progress of a fit: lines on the terminal, scikit-learn's callbacks, and warnings at its end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import warn_of_degeneracies
from fastgmm.em.initialization.methods import InitializationInfo
from fastgmm.em.loop import FitInfo, Progress
from fastgmm.em.stopping import StoppingRule
from fastgmm.estimators.shared.interfaces import BatchEstimator, Weights


class FitProgress:
    """Follows a fit from start to start and from iteration to iteration.

    Callbacks see the fit as a tree of tasks: the fit itself, one task ``"initialization"`` for
    each start, and in that one task ``"iteration"`` for each iteration of EM. The estimators that
    they ask for have as `trace_` the log-likelihoods of the passes so far, without that of their
    own parameters, which no pass has measured yet. A callback that asks to stop after an iteration
    ends the fit, with what it reached.
    """

    def __init__(
        self,
        estimator: BatchEstimator,
        n_starts: int,
        source: Source,
        y: Any,
        sample_weight: Weights,
        attributes: Callable[[Any], Mapping[str, Any]],
    ) -> None:
        data = {
            "X": source.stored if isinstance(source, ArraySource) else source,
            "y": y,
            "metadata": {} if sample_weight is None else {"sample_weight": sample_weight},
        }
        self._max_iter: int = estimator.max_iter
        self._printer = _Printer(estimator.verbose, estimator.verbose_interval)
        self._tasks = _Tasks(estimator, n_starts, data, attributes)
        self._last: Progress[Any] | None = None
        self._stopped = False

    def begin(self, number: int, parameters: Any, found: InitializationInfo | None = None) -> None:
        """Report that EM begins from a start; the one before is over."""
        self._end_start()
        self._printer.begin(number, found)
        self._tasks.begin(parameters)

    def iterate(self, progress: Progress[Any]) -> bool:
        """Report that an iteration is over, and return whether the fit shall stop."""
        self._last = progress
        self._printer.iterate(progress)
        is_last = progress.converged or progress.iteration == self._max_iter
        self._stopped = self._tasks.iterate(progress, is_last)
        return self._stopped

    def finish(self, attributes: dict[str, Any]) -> None:
        """Report that the fit is over."""
        self._end_start()
        self._tasks.finish(attributes)

    def _end_start(self) -> None:
        last = self._last
        if last is not None:
            # EM that ends early without being asked to has converged.
            early = last.iteration < self._max_iter and not self._stopped
            self._printer.end(last.log_likelihood, last.converged or early)
            self._last = None
        self._tasks.end(None if last is None else last.parameters)


class _Printer:
    """Prints what scikit-learn's mixtures print, and from how many rows a start was found."""

    def __init__(self, verbose: int, interval: int) -> None:
        self._verbose = int(verbose)
        self._interval = interval
        self._began = self._previous = 0.0

    def begin(self, number: int, found: InitializationInfo | None) -> None:
        if not self._verbose:
            return
        print(f"Initialization {number}")
        if found is not None and found.subsampled:
            compared = found.n_candidates or 1
            best = f"the best of {compared}, " if compared > 1 else ""
            print(f"  {best}found from a random subsample of {found.n_rows} rows")
        self._began = self._previous = time.perf_counter()

    def iterate(self, progress: Progress[Any]) -> None:
        if not self._verbose or progress.iteration % self._interval:
            return
        line = f"  Iteration {progress.iteration}"
        if self._verbose > 1:
            now = time.perf_counter()
            line += f"\t time lapse {now - self._previous:.5f}s\t ll change {progress.change:.5f}"
            self._previous = now
        print(line)

    def end(self, log_likelihood: float, converged: bool) -> None:
        if not self._verbose:
            return
        line = f"Initialization {'converged' if converged else 'did not converge'}."
        if self._verbose > 1:
            seconds = time.perf_counter() - self._began
            line += f" time lapse {seconds:.5f}s\t lower bound {log_likelihood:.5f}."
        print(line)


class _Tasks:
    """The tree of tasks that scikit-learn's callbacks see.

    The hook for the beginning of an iteration is called right after the end of the one before,
    unless that was the last. Where EM converges for want of any rise, this is known only later, and
    an iteration that never ran is ended as an empty task.
    """

    def __init__(
        self,
        estimator: BatchEstimator,
        n_starts: int,
        data: dict[str, Any],
        attributes: Callable[[Any], Mapping[str, Any]],
    ) -> None:
        self._estimator = estimator
        self._data = {"estimator": estimator, **data}
        self._attributes = attributes
        self._fit = estimator._init_callback_context(max_subtasks=n_starts)
        self._start: Any = None
        self._iteration: Any = None
        self._trace: list[float] = []
        self._fit.call_on_fit_task_begin(**self._data)

    def begin(self, parameters: Any) -> None:
        self._trace = []
        self._start = self._fit.subcontext(
            task_name="initialization", max_subtasks=self._estimator.max_iter
        )
        self._start.call_on_fit_task_begin(**self._at(parameters))
        if self._estimator.max_iter:
            self._begin_iteration(parameters)

    def iterate(self, progress: Progress[Any], is_last: bool) -> bool:
        self._trace.append(progress.log_likelihood)
        stop = bool(self._iteration.call_on_fit_task_end(**self._at(progress.parameters)))
        self._iteration = None
        if not (is_last or stop):
            self._begin_iteration(progress.parameters)
        return stop

    def end(self, parameters: Any) -> None:
        if self._iteration is not None:
            self._iteration.call_on_fit_task_end(estimator=self._estimator)
            self._iteration = None
        if self._start is not None:
            state = self._data if parameters is None else self._at(parameters)
            self._start.call_on_fit_task_end(**state)
            self._start = None

    def finish(self, attributes: dict[str, Any]) -> None:
        self._fit.call_on_fit_task_end(**self._data, reconstruction_attributes=attributes)

    def _begin_iteration(self, parameters: Any) -> None:
        self._iteration = self._start.subcontext(task_name="iteration")
        self._iteration.call_on_fit_task_begin(**self._at(parameters))

    def _at(self, parameters: Any) -> dict[str, Any]:
        # A function, so that attributes are worked out only for callbacks that look at them.
        def attributes() -> dict[str, Any]:
            return {**self._attributes(parameters), "trace_": np.array(self._trace)}

        return {**self._data, "reconstruction_attributes": attributes}


def end_fit(
    estimator: Any,
    progress: FitProgress,
    fitted: dict[str, Any],
    info: FitInfo,
    algorithm: str,
) -> None:
    """Set what a fit found, report that it is over, and warn of how it ended."""
    vars(estimator).update(fitted)
    progress.finish(fitted)
    # The caller of fit is four frames up: this one, _fit, fit and its decorator lie between.
    warn_of_fit(
        info,
        algorithm=algorithm,
        objective=estimator._objective,
        max_iter=estimator.max_iter,
        tol=estimator.tol,
        stacklevel=5,
    )


def warn_of_fit(
    info: FitInfo,
    *,
    algorithm: str,
    objective: str,
    max_iter: int,
    tol: float | StoppingRule,
    stacklevel: int,
) -> None:
    """Warn of degenerate components, and of a fit that did not converge."""
    warn_of_degeneracies(info.degeneracies, stacklevel=stacklevel + 1)
    if info.reason == "singular":
        warnings.warn(
            f"{algorithm} did not converge: in iteration {info.n_iter} a covariance would have "
            "been singular, and reg_covar is 0. The parameters are those before that step.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
    if info.reason == "max_iter" and max_iter > 0:
        still = "has not converged" if isinstance(tol, StoppingRule) else "still changed"
        or_more = "" if isinstance(tol, StoppingRule) else f" by tol={tol:g} or more"
        warnings.warn(
            # The first words are scikit-learn's, which filters of warnings look for.
            "Best performing initialization did not converge. Try different init parameters, or "
            f"increase max_iter, tol, or check for degenerate data: after max_iter={max_iter} "
            f"iterations of {algorithm} the {objective} {still}{or_more}.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
