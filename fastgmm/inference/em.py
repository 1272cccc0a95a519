"""Batch expectation-maximisation: a pure step and the loop around it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from fastgmm.data.array import ArraySource
from fastgmm.inference.blas_threads import one_blas_thread
from fastgmm.inference.degeneracy import Degeneracy, find_degeneracies, hold_covariances
from fastgmm.inference.initialisation import InitialisationInfo
from fastgmm.inference.passes import log_likelihood, mixture_statistics
from fastgmm.kernels.threads import effective_threads
from fastgmm.model.parameters import MixtureParameters
from fastgmm.model.regularisation import Regularisation
from fastgmm.model.statistics import SufficientStatistics
from fastgmm.model.structures import CovarianceStructure

_Result = TypeVar("_Result")

ROUNDING = {4: 1e-6, 8: 1e-10}
"""By the bytes of a data value: how much less the mean log-likelihood may be after a step than
before it and still count as equal, relative to one more than its size.
"""

StopReason = Literal["tolerance", "rounding", "max_iter", "callback"]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a callback sees after each iteration.

    Attributes
    ----------
    start : int
        Which of the starts is being fitted, from 0.
    iteration : int
        Number of M-steps taken from this start.
    parameters : MixtureParameters
        The current parameters.
    log_likelihood : float
        Mean log-likelihood of the parameters *before* this iteration's M-step, in nats: that of
        the current ones is known only after the next pass.
    change : float
        How much that is above the value one iteration earlier; infinite in the first iteration.
    converged : bool
        Whether this iteration is the last because the change is below the tolerance.
    """

    start: int
    iteration: int
    parameters: MixtureParameters
    log_likelihood: float
    change: float
    converged: bool


Callback = Callable[[Progress], bool | None]
"""Called after each iteration; a true value asks to stop."""


@dataclass(frozen=True, slots=True)
class FitInfo:
    """How a fit went.

    Attributes
    ----------
    trace : tuple of float
        Mean log-likelihood of the start and after each iteration, in nats: ``n_iter + 1``
        values, of which the last belongs to the returned parameters. It does not fall.
    n_iter : int
        Number of M-steps.
    n_passes : int
        Number of passes over the data, of all starts.
    converged : bool
        Whether the log-likelihood came to rest before `max_iter`.
    reason : {"tolerance", "rounding", "max_iter", "callback"}
        Why the fit ended: the change fell below the tolerance; no step raises the
        log-likelihood in floating point; the number of iterations was reached; or the callback
        asked to stop.
    seconds : float
        Wall-clock time of all starts.
    n_threads : int
        Number of threads the passes ran on.
    start : int
        Which of the starts is the one returned.
    degeneracies : tuple of Degeneracy
        Components without points or spread in the returned parameters.
    initialisation : InitialisationInfo or None
        How the start was found; None if it was handed to `fit_em`.
    """

    trace: tuple[float, ...]
    n_iter: int
    n_passes: int
    converged: bool
    reason: StopReason
    seconds: float
    n_threads: int
    start: int
    degeneracies: tuple[Degeneracy, ...]
    initialisation: InitialisationInfo | None = None


def em_step(
    source: ArraySource,
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    regularisation: Regularisation,
    *,
    n_jobs: int | None = None,
) -> tuple[MixtureParameters, SufficientStatistics]:
    """Take one step of EM: one pass over the data and one solve.

    Parameters
    ----------
    source : ArraySource
        The rows and their weights.
    parameters : MixtureParameters
        Where the step starts.
    structure : CovarianceStructure
        The structure of the covariances.
    regularisation : Regularisation
        Amounts added to the variances.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    parameters : MixtureParameters
        The parameters after the M-step.
    statistics : SufficientStatistics
        Moments and log-likelihood under the parameters given.

    Raises
    ------
    ValueError
        If the log-likelihood of the parameters given is not finite.
    IllDefinedCovarianceError
        If a component collapsed and the regularisation is 0.
    """
    statistics = mixture_statistics(source, parameters, n_jobs=n_jobs)
    _require_finite(statistics.log_likelihood)
    proposal = structure.solve(statistics, regularisation)
    empty = statistics.empty()
    if empty.any():
        # The passes choose the reference, which is where the solve leaves such a component.
        means = np.where(empty[:, None], parameters.means, proposal.means)
        proposal = replace(proposal, means=means)
    return proposal, statistics


def fit_em(
    source: ArraySource,
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    regularisation: Regularisation,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    previous_log_likelihood: float = -np.inf,
    n_jobs: int | None = None,
    callback: Callback | None = None,
    start: int = 0,
) -> tuple[MixtureParameters, FitInfo]:
    """Fit a mixture by EM from one start.

    Iteration i makes a pass at the parameters of iteration i - 1 and takes the M-step. It is the
    last when the mean log-likelihood of that pass differs by less than `tol` from that of the
    pass before. A final pass measures the parameters returned.

    Parameters
    ----------
    source : ArraySource
        The rows and their weights.
    parameters : MixtureParameters
        The start.
    structure : CovarianceStructure
        The structure of the covariances.
    regularisation : Regularisation
        Amounts added to the variances.
    tol : float
        Smallest change of the mean log-likelihood, in nats, that is worth another iteration.
    max_iter : int
        Most M-steps; with 0 the start is returned.
    previous_log_likelihood : float
        The value the first pass is compared with; a warm start gives that of the last pass but
        one of the earlier fit.
    n_jobs : int or None
        Number of threads.
    callback : callable or None
        Called with a `Progress` after each iteration; a true value ends the fit.
    start : int
        The number of this start, for the callback and the result.

    Returns
    -------
    parameters : MixtureParameters
        The fitted parameters.
    info : FitInfo
        How the fit went.

    Raises
    ------
    ValueError
        If the log-likelihood of the start is not finite.
    IllDefinedCovarianceError
        If a component collapses and the regularisation is 0.
    """
    began = time.perf_counter()
    ascent = _Ascent(source, parameters, structure, regularisation, n_jobs)
    with one_blas_thread():
        reason = _climb(ascent, tol, max_iter, previous_log_likelihood, callback, start)
        if reason != "rounding" and not ascent.finish():
            reason = "rounding"
    return ascent.parameters, FitInfo(
        trace=tuple(ascent.trace),
        n_iter=len(ascent.trace) - 1,
        n_passes=ascent.n_passes,
        converged=reason in ("tolerance", "rounding"),
        reason=reason,
        seconds=time.perf_counter() - began,
        n_threads=effective_threads(n_jobs),
        start=start,
        degeneracies=ascent.degeneracies(),
    )


def _climb(
    ascent: _Ascent,
    tol: float,
    max_iter: int,
    previous: float,
    callback: Callback | None,
    start: int,
) -> StopReason:
    """Take steps until one of them is the last, and say why it was."""
    for iteration in range(1, max_iter + 1):
        if not ascent.step():
            return "rounding"
        change = ascent.trace[-1] - previous
        previous = ascent.trace[-1]
        converged = abs(change) < tol
        stop = False
        if callback is not None:
            progress = Progress(
                start, iteration, ascent.parameters, ascent.trace[-1], change, converged
            )
            stop = bool(callback(progress))
        if converged:
            return "tolerance"
        if stop:
            return "callback"
    return "max_iter"


def fit_best(
    source: ArraySource,
    draw_start: Callable[[int], tuple[MixtureParameters, InitialisationInfo]],
    n_init: int,
    structure: CovarianceStructure,
    regularisation: Regularisation,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    n_jobs: int | None = None,
    callback: Callback | None = None,
) -> tuple[MixtureParameters, FitInfo]:
    """Fit a mixture from several starts and keep the one with the highest log-likelihood.

    Parameters
    ----------
    source : ArraySource
        The rows and their weights.
    draw_start : callable
        Returns the start of the given number, counted from 0, as `initialise` does.
    n_init : int
        Number of starts. No further ones are tried after the callback asked to stop.
    structure : CovarianceStructure
        The structure of the covariances.
    regularisation : Regularisation
        Amounts added to the variances.
    tol, max_iter, n_jobs, callback
        As for `fit_em`.

    Returns
    -------
    parameters : MixtureParameters
        The best of the fitted parameters.
    info : FitInfo
        How that fit went; seconds and passes are those of all starts.
    """
    began = time.perf_counter()
    n_passes = 0
    best: tuple[MixtureParameters, FitInfo] | None = None
    stopped = False

    def watch(progress: Progress) -> bool:
        # The very iteration that converges may be the one that is asked to be the last of all.
        nonlocal stopped
        stopped = callback is not None and bool(callback(progress))
        return stopped

    for start in range(n_init):
        initial, initialisation = draw_start(start)
        parameters, info = fit_em(
            source,
            initial,
            structure,
            regularisation,
            tol=tol,
            max_iter=max_iter,
            n_jobs=n_jobs,
            callback=watch,
            start=start,
        )
        n_passes += info.n_passes
        if best is None or info.trace[-1] > best[1].trace[-1]:
            best = parameters, replace(info, initialisation=initialisation)
        if stopped:
            break
    if best is None:
        raise ValueError(f"n_init must be at least 1; got {n_init}")
    seconds = time.perf_counter() - began
    return best[0], replace(best[1], n_passes=n_passes, seconds=seconds)


class _Ascent:
    """The state of one fit: the parameters, the step that led to them, and the trace so far."""

    def __init__(
        self,
        source: ArraySource,
        parameters: MixtureParameters,
        structure: CovarianceStructure,
        regularisation: Regularisation,
        n_jobs: int | None,
    ) -> None:
        self.source = source
        self.structure = structure
        self.regularisation = regularisation
        self.n_jobs = n_jobs
        self.parameters = parameters
        self.trace: list[float] = []
        self.n_passes = 0
        self._before = parameters
        self._statistics: SufficientStatistics | None = None
        self._holding = False

    def step(self) -> bool:
        """Make a pass at the parameters and take the M-step; say whether that was a rise."""
        measured = self._measure(self._em_step)
        if measured is None:
            return False
        proposal, self._statistics = measured
        if self._holding:
            proposal = hold_covariances(self.structure, self._statistics, self.parameters, proposal)
        self._before, self.parameters = self.parameters, proposal
        return True

    def finish(self) -> bool:
        """Measure the parameters; say whether their log-likelihood is a rise."""
        return self._measure(self._score) is not None

    def degeneracies(self) -> tuple[Degeneracy, ...]:
        """Return what is degenerate in the parameters."""
        if self._statistics is None:
            return ()  # no M-step was taken: the start is as it was given
        return find_degeneracies(self.parameters, self.structure, self.regularisation)

    def _measure(self, measure: Callable[[], tuple[float, _Result]]) -> _Result | None:
        """Measure the parameters and add to the trace, or go back one step and return None.

        If the parameters are worse than those before, the step that led to them is taken once
        more with the covariances held that harm; from then on, always.
        """
        value, result = measure()
        self.n_passes += 1
        if self._falls(value) and not self._holding and self._statistics is not None:
            self._holding = True
            self.parameters = hold_covariances(
                self.structure, self._statistics, self._before, self.parameters
            )
            value, result = measure()
            self.n_passes += 1
        if self._falls(value):
            self.parameters = self._before
            return None
        self.trace.append(value)
        return result

    def _em_step(self) -> tuple[float, tuple[MixtureParameters, SufficientStatistics]]:
        proposal, statistics = em_step(
            self.source, self.parameters, self.structure, self.regularisation, n_jobs=self.n_jobs
        )
        return statistics.mean_log_likelihood, (proposal, statistics)

    def _score(self) -> tuple[float, bool]:
        total = log_likelihood(self.source, self.parameters, n_jobs=self.n_jobs)
        _require_finite(total)
        return total / self.source.total_weight, True

    def _falls(self, value: float) -> bool:
        """Say whether a log-likelihood is lower than the last one beyond rounding."""
        if not self.trace:
            return False
        last = self.trace[-1]
        return value < last - ROUNDING[self.source.dtype.itemsize] * (1.0 + abs(last))


def _require_finite(log_likelihood: float) -> None:
    """Raise unless a log-likelihood is a finite number."""
    if not math.isfinite(log_likelihood):
        raise ValueError(
            f"the log-likelihood is {log_likelihood}: some rows are impossibly far from every "
            "component; give initial parameters on the scale of the data"
        )
