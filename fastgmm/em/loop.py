"""Batch expectation-maximization: the loops around its step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.degeneracy import Degeneracy, step_not_taken
from fastgmm.em.initialization.methods import InitialisationInfo
from fastgmm.em.models.mixture import Ascent, AscentState, StopReason
from fastgmm.kernels.threads import effective_threads
from fastgmm.mixture.m_step import NO_TERMS, ModelTerms
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures import CovarianceStructure

_Fitted = TypeVar("_Fitted")
_State = TypeVar("_State")
_ClimbedState = TypeVar("_ClimbedState", covariant=True)
_Climbed = TypeVar("_Climbed", covariant=True)


@dataclass(frozen=True, slots=True)
class Progress(Generic[_Fitted]):
    """What a callback sees after each iteration.

    Attributes
    ----------
    start : int
        Which of the starts is being fitted, from 0.
    iteration : int
        Number of M-steps taken from this start.
    parameters : MixtureParameters or VariationalPosterior
        The current parameters, or what is known of them.
    log_likelihood : float
        Mean log-likelihood of the parameters *before* this iteration's M-step, in nats: that of
        the current ones is known only after the next pass. Of variational Bayes, the lower bound
        after the iteration.
    change : float
        How much that is above the value one iteration earlier; infinite in the first iteration.
    converged : bool
        Whether this iteration is the last because the change is below the tolerance.
    """

    start: int
    iteration: int
    parameters: _Fitted
    log_likelihood: float
    change: float
    converged: bool


Callback = Callable[[Progress[_Fitted]], bool | None]
"""Called after each iteration; a true value asks to stop."""


@dataclass(frozen=True, slots=True)
class FitInfo:
    """How a fit went.

    Attributes
    ----------
    trace : tuple of float
        Mean log-likelihood of the start and after each iteration, in nats: ``n_iter + 1``
        values, of which the last belongs to the returned parameters. It does not fall. Of
        variational Bayes, the lower bound, summed over the rows.
    n_iter : int
        Number of M-steps.
    n_passes : int
        Number of passes over the data, of all starts.
    converged : bool
        Whether the log-likelihood converged before `max_iter`.
    reason : {"tolerance", "rounding", "max_iter", "callback", "singular"}
        Why the fit ended: the change fell below the tolerance; no step raises the
        log-likelihood in floating point; the number of iterations was reached; the callback
        asked to stop; or a covariance would have been singular, without regularization.
    seconds : float
        Wall-clock time of all starts.
    n_threads : int
        Number of threads the passes ran on.
    start : int
        Which of the starts is the one returned.
    degeneracies : tuple of Degeneracy
        Components without points or spread in the returned parameters.
    initialization : InitialisationInfo or None
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
    initialization: InitialisationInfo | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FitState(Generic[_State, _Fitted]):
    """Where a fit stands between two passes; enough to resume from as if never interrupted.

    Attributes
    ----------
    start : int
        Which of the starts is being fitted, from 0; their number when all are done.
    initialization : InitialisationInfo or None
        How that start was found.
    ascent : AscentState or the like, or None
        Where that start stands; None when all are done.
    best : tuple of MixtureParameters or the like and FitInfo, or None
        The best of the starts before.
    n_passes : int
        Number of passes of the starts before.
    """

    start: int
    initialization: InitialisationInfo | None
    ascent: _State | None
    best: tuple[_Fitted, FitInfo] | None
    n_passes: int


EMState = FitState[AscentState, MixtureParameters]


def fit_em(
    source: Source,
    start: MixtureParameters | AscentState,
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    previous_log_likelihood: float = -np.inf,
    terms: ModelTerms = NO_TERMS,
    known: npt.NDArray[np.int64] | None = None,
    n_jobs: int | None = None,
    callback: Callback[MixtureParameters] | None = None,
    observe: Callable[[AscentState], None] | None = None,
    number: int = 0,
    given: bool = False,
) -> tuple[MixtureParameters, FitInfo]:
    """Fit a mixture by EM from one start.

    Iteration i makes a pass at the parameters of iteration i - 1 and takes the M-step. It is the
    last when the mean log-likelihood of that pass differs by less than `tol` from that of the
    pass before. A final pass measures the parameters returned.
    """
    began = time.perf_counter()
    state = start if isinstance(start, AscentState) else AscentState.at(start)
    ascent = Ascent(source, state, structure, regularization, n_jobs, terms, known)
    impossible: tuple[Degeneracy, ...] = ()
    with one_blas_thread():
        try:
            reason = state.reason or climb(
                ascent, tol, max_iter, previous_log_likelihood, callback, observe, number
            )
        except IllDefinedCovarianceError as error:
            if not given:
                raise
            reason, impossible = "singular", (step_not_taken(error),)
        if reason != "rounding" and not ascent.finish():
            reason = "rounding"
        if reason == "singular":
            ascent.trace.append(ascent.trace[-1])
    return ascent.parameters, FitInfo(
        trace=tuple(ascent.trace),
        n_iter=len(ascent.trace) - 1,
        n_passes=ascent.n_passes,
        converged=reason in ("tolerance", "rounding"),
        reason=reason,
        seconds=time.perf_counter() - began,
        n_threads=effective_threads(n_jobs),
        start=number,
        degeneracies=ascent.degeneracies() + impossible,
    )


class Climber(Protocol[_ClimbedState, _Climbed]):
    """What `climb` takes steps of: EM, or variational Bayes."""

    trace: list[float]
    """What rises, after each step."""

    @property
    def n_steps(self) -> int:
        """Number of steps so far."""

    @property
    def fitted(self) -> _Climbed:
        """What is fitted, as it stands."""

    def step(self) -> bool:
        """Take a step; say whether that was a rise."""

    def at_rest(self, change: float, tol: float) -> StopReason | None:
        """Return why a change is not worth another step, if it is not."""

    def state(self, reason: StopReason | None = None) -> _ClimbedState:
        """Return where the fit stands, and why it goes no further, if it does not."""


def climb(
    ascent: Climber[_State, _Fitted],
    tol: float,
    max_iter: int,
    previous: float,
    callback: Callback[_Fitted] | None,
    observe: Callable[[_State], None] | None,
    number: int,
) -> StopReason:
    """Take steps until one of them is the last, and say why it was."""
    if ascent.n_steps > 0:
        previous = ascent.trace[-1]
    for iteration in range(ascent.n_steps + 1, max_iter + 1):
        if not ascent.step():
            return "rounding"
        change = ascent.trace[-1] - previous
        previous = ascent.trace[-1]
        reason = ascent.at_rest(change, tol)
        if observe is not None:
            observe(ascent.state(reason))
        stop = False
        if callback is not None:
            progress = Progress(
                number, iteration, ascent.fitted, ascent.trace[-1], change, reason is not None
            )
            stop = bool(callback(progress))
        if reason is not None:
            return reason
        if stop:
            return "callback"
    return "max_iter"


def fit_best(
    source: Source,
    draw_start: Callable[[int], tuple[MixtureParameters, InitialisationInfo | None]],
    n_init: int,
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    previous_log_likelihood: float = -np.inf,
    terms: ModelTerms = NO_TERMS,
    known: npt.NDArray[np.int64] | None = None,
    n_jobs: int | None = None,
    begin: Callable[[int, MixtureParameters, InitialisationInfo | None], None] | None = None,
    callback: Callback[MixtureParameters] | None = None,
    observe: Callable[[EMState], None] | None = None,
    resumed: EMState | None = None,
    given: bool = False,
) -> tuple[MixtureParameters, FitInfo]:
    """Fit a mixture from several starts and keep the one with the highest log-likelihood."""

    def fit_from(
        start: AscentState,
        watch: Callback[MixtureParameters],
        note: Callable[[AscentState], None] | None,
        number: int,
    ) -> tuple[MixtureParameters, FitInfo]:
        return fit_em(
            source,
            start,
            structure,
            regularization,
            tol=tol,
            max_iter=max_iter,
            previous_log_likelihood=previous_log_likelihood,
            terms=terms,
            known=known,
            n_jobs=n_jobs,
            callback=watch,
            observe=note,
            number=number,
            given=given,
        )

    def draw_state(number: int) -> tuple[AscentState, InitialisationInfo | None]:
        parameters, found = draw_start(number)
        return AscentState.at(parameters), found

    def begin_from(number: int, start: AscentState, found: InitialisationInfo | None) -> None:
        if begin is not None:
            begin(number, start.parameters, found)

    return keep_best(fit_from, draw_state, n_init, begin_from, callback, observe, resumed)


def keep_best(
    fit_from: Callable[
        [_State, Callback[_Fitted], Callable[[_State], None] | None, int], tuple[_Fitted, FitInfo]
    ],
    draw_start: Callable[[int], tuple[_State, InitialisationInfo | None]],
    n_init: int,
    begin: Callable[[int, _State, InitialisationInfo | None], None],
    callback: Callback[_Fitted] | None = None,
    observe: Callable[[FitState[_State, _Fitted]], None] | None = None,
    resumed: FitState[_State, _Fitted] | None = None,
) -> tuple[_Fitted, FitInfo]:
    """Fit from several starts by any method and keep the result whose trace ends highest."""
    began = time.perf_counter()
    state: FitState[_State, _Fitted] = resumed or FitState(0, None, None, None, 0)
    best, n_passes, first = state.best, state.n_passes, state.start
    stopped = False

    def watch(progress: Progress[_Fitted]) -> bool:
        # The very iteration that converges may be the one that is asked to be the last of all.
        nonlocal stopped
        stopped = callback is not None and bool(callback(progress))
        return stopped

    for number in range(first, n_init):
        start, initialization = state.ascent if number == first else None, state.initialization
        if start is None:
            start, initialization = draw_start(number)
        begin(number, start, initialization)
        here = FitState(number, initialization, start, best, n_passes)
        if observe is not None:
            observe(here)
        note = None if observe is None else partial(_observe_ascent, observe, here)
        fitted, info = fit_from(start, watch, note, number)
        n_passes += info.n_passes
        if best is None or info.trace[-1] > best[1].trace[-1]:
            best = fitted, replace(info, initialization=initialization)
        if stopped:
            break
    if best is None:
        raise ValueError(f"n_init must be at least 1; got {n_init}")
    if observe is not None and not stopped:
        observe(FitState(n_init, None, None, best, n_passes))
    seconds = time.perf_counter() - began
    return best[0], replace(best[1], n_passes=n_passes, seconds=seconds)


def _observe_ascent(
    observe: Callable[[FitState[_State, _Fitted]], None],
    fit: FitState[_State, _Fitted],
    ascent: _State,
) -> None:
    observe(replace(fit, ascent=ascent))
