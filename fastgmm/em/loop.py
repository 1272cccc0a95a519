"""The loop of the package: a pass over the data and a solve, in turn, until a fit has converged.

Whatever is fitted offers an E-step, an M-step and an objective that the two of them raise
(`Problem`). All else is here, once: the guard that no step lowers the objective, the end of a fit,
what callbacks and checkpoints see, and the choice of the best of several starts. `run` advances a
list of fits in lock step, so that one reading of the rows can serve all of them; a fit by itself is
a list of one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Literal, Protocol, Self, TypeVar

from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.degeneracy import Degeneracy, step_not_taken
from fastgmm.em.initialization.methods import InitializationInfo
from fastgmm.em.stopping import StoppingRule
from fastgmm.kernels.compilation import Stopwatch
from fastgmm.kernels.threads import effective_threads
from fastgmm.mixture.regularization import IllDefinedCovarianceError

StopReason = Literal["tolerance", "rounding", "max_iter", "callback", "singular"]

_P = TypeVar("_P")
_S = TypeVar("_S")
_R = TypeVar("_R")


class Problem(Protocol[_P, _S]):
    """What can be fitted: to parameters P, by means of statistics S."""

    @property
    def n_jobs(self) -> int | None:
        """Number of threads of a pass."""

    @property
    def looks_ahead(self) -> bool:
        """Whether the statistics that parameters were solved from suffice for their objective.

        Otherwise it takes a pass at the parameters, and an iteration is judged, as in
        scikit-learn, by the pass before its M-step.
        """

    @property
    def resolution(self) -> float:
        """A smaller change of the objective than this is rounding."""

    @property
    def careful(self) -> bool:
        """Whether steps are such that no regularization can make them lower the objective."""

    def with_care(self) -> Self:
        """Return the problem with careful steps."""

    def e_step(self, parameters: _P, *, moments: bool = True) -> _S:
        """Make a pass at the parameters."""

    def m_step(self, statistics: _S, before: _P) -> _P:
        """Solve for the next parameters."""

    def objective(self, statistics: _S, parameters: _P) -> float:
        """Return what is to rise, in nats."""

    def rounding(self, value: float) -> float:
        """Return how much less than a value of the objective counts as equal."""

    def degeneracies(self, parameters: _P) -> tuple[Degeneracy, ...]:
        """Return the components that are degenerate."""


class Acceleration(Protocol[_S]):
    """Steps beyond those of the M-step, which are taken where they raise the objective."""

    found: list[_S]
    """What the passes found that the next step is extrapolated from."""
    longest: float
    """The length of that step, in M-steps, at most."""

    def propose(self, statistics: _S) -> _S | None:
        """Take note of what a pass found, and return what to solve instead, if there is any."""

    def fell(self, statistics: _S) -> None:
        """Take note that this lowered the objective: the M-step follows."""


@dataclass(frozen=True, slots=True)
class Progress(Generic[_P]):
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
        The objective that the iteration is judged by. Of EM, the mean log-likelihood of the
        parameters *before* this iteration's M-step, in nats; of variational Bayes, the lower bound
        after the iteration.
    change : float
        How much that is above the value one iteration earlier; infinite in the first iteration.
    converged : bool
        Whether this iteration is the last because the change is below the tolerance.
    """

    start: int
    iteration: int
    parameters: _P
    log_likelihood: float
    change: float
    converged: bool


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
        Wall-clock time of all starts, without that of compiling.
    compile_seconds : float or None
        Time that compiling took, from reading the data on, which happens once on a machine; None in
        files of versions that did not measure it.
    n_threads : int
        Number of threads the passes ran on.
    start : int
        Which of the starts is the one returned.
    degeneracies : tuple of Degeneracy
        Components without points or spread in the returned parameters.
    initialization : InitializationInfo or None
        How the start was found; None if it was given.
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
    initialization: InitializationInfo | None = None
    compile_seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StartState(Generic[_P, _S]):
    """Where one start stands between two iterations; enough to resume as if never interrupted."""

    parameters: _P  # the current parameters
    statistics: _S | None = None  # what the pass at them found, if there was one
    trace: tuple[float, ...] = ()
    """The objective of the start and after each iteration; empty before the first pass."""
    careful: bool = False  # whether steps are taken with care from now on
    n_passes: int = 0  # number of passes, with those whose step was taken back
    reason: StopReason | None = None  # why no further step is to be taken, once that is known
    earlier: tuple[_S, ...] = ()  # what the steps beyond are extrapolated from
    longest: float | None = None  # their length at most; None before the first, and without any


@dataclass(frozen=True, slots=True, eq=False)
class FitState(Generic[_P, _S]):
    """Where a fit of several starts stands."""

    start: int = 0  # which of the starts is being fitted, from 0; their number when all are done
    initialization: InitializationInfo | None = None  # how that start was found
    current: StartState[_P, _S] | None = None  # where that start stands; None when all are done
    best: tuple[_P, FitInfo] | None = None  # the best of the starts before
    n_passes: int = 0  # number of passes of the starts before


Draw = Callable[[int], tuple[_P, InitializationInfo | None]]
"""Returns the start of a number, and how it was found; None for the result of an earlier fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Starts(Generic[_P]):
    """Where a fit begins."""

    draw: Draw[_P]  # returns the start of each number from 0
    number: int = 1  # number of starts
    previous: float = float("-inf")
    """The objective one iteration before the first start; minus infinity if there was none."""
    given: bool = False
    """Whether the user gave all of the parameters: a singular covariance ends the fit then, and is
    no error.
    """

    @classmethod
    def at(cls, parameters: _P) -> Starts[_P]:
        """Return a single start at some parameters."""
        return cls(lambda _number: (parameters, None))


@dataclass(frozen=True, slots=True, eq=False)
class Listeners(Generic[_P, _S]):
    """Who hears of a fit."""

    begin: Callable[[int, _P, InitializationInfo | None], None] | None = None
    """Called with the number of each start, its parameters and how they were found."""
    iterate: Callable[[Progress[_P]], bool | None] | None = None
    """Called after each iteration; a true value asks to stop."""
    observe: Callable[[FitState[_P, _S]], None] | None = None
    """Called with the state after each iteration, which may be kept to resume from."""


@dataclass(frozen=True, slots=True)
class Request(Generic[_P, _S]):
    """A pass that a fit waits for."""

    problem: Problem[_P, _S]  # what is fitted
    parameters: _P  # where
    moments: bool  # whether more than the objective is needed of it


Steps = Generator[Request[_P, _S], _S, _R]
"""A fit from one start: it asks for passes, takes what they found, and returns the result."""


def run(
    fits: Sequence[Steps[_P, _S, _R]],
    answer: Callable[[list[Request[_P, _S]]], list[_S]] | None = None,
) -> list[_R]:
    """Advance fits in lock step until each has ended; `answer` makes the passes they ask for."""
    results: dict[int, _R] = {}
    found: dict[int, _S | None] = dict.fromkeys(range(len(fits)))
    with one_blas_thread():
        while found:
            asked: dict[int, Request[_P, _S]] = {}
            for number, statistics in found.items():
                try:
                    # The first statistics are None: a generator that has not begun takes no others.
                    asked[number] = fits[number].send(statistics)  # type: ignore[arg-type]
                except StopIteration as end:
                    results[number] = end.value
            if answer is not None:
                found = dict(zip(asked, answer(list(asked.values())), strict=True))
                continue
            found = {}
            for number, each in asked.items():
                found[number] = each.problem.e_step(each.parameters, moments=each.moments)
    return [results[number] for number in range(len(fits))]


class Fit(Generic[_P, _S]):
    """A fit from one start."""

    def __init__(
        self,
        problem: Problem[_P, _S],
        start: StartState[_P, _S],
        rule: StoppingRule,
        max_iter: int,
        acceleration: Acceleration[_S] | None = None,
    ) -> None:
        self._acceleration = acceleration
        self._problem = problem.with_care() if start.careful else problem
        self._rule = rule
        self._max_iter = max_iter
        self._parameters = start.parameters
        self._statistics = start.statistics
        self._trace = list(start.trace)
        self._n_passes = start.n_passes
        self._reason = start.reason

    def steps(
        self,
        *,
        previous: float = float("-inf"),
        given: bool = False,
        number: int = 0,
        iterate: Callable[[Progress[_P]], bool | None] | None = None,
        observe: Callable[[StartState[_P, _S]], None] | None = None,
    ) -> Steps[_P, _S, tuple[_P, FitInfo]]:
        """Take steps until one of them is the last."""
        watch = Stopwatch()
        impossible: tuple[Degeneracy, ...] = ()
        # Judging an iteration by what its M-step led to spares an accelerated fit the last pass.
        ahead = self._problem.looks_ahead or self._acceleration is not None
        if not self._trace:
            self._statistics = yield from self._pass(self._parameters, self._max_iter > 0)
            self._trace.append(self._problem.objective(self._statistics, self._parameters))
            if observe is not None and not self._problem.looks_ahead:
                observe(self.state())
        # What each iteration is judged by: what its own pass found, or what its M-step led to.
        seen = [previous, *(self._trace[1:] if ahead else self._trace[:-1])]
        while self._reason is None and len(self._trace) <= self._max_iter:
            reason = None if ahead else self._judge(seen)
            last = reason is not None or len(self._trace) == self._max_iter
            try:
                risen = yield from self._step(not last)
            except IllDefinedCovarianceError as error:
                if not given:
                    raise
                self._reason, impossible = "singular", (step_not_taken(error),)
                self._trace.append(self._trace[-1])
                break
            if not risen:
                self._reason = "rounding"
                break
            self._reason = self._judge(seen) if ahead else reason
            if observe is not None:
                observe(self.state())
            stop = iterate is not None and iterate(
                Progress(
                    start=number,
                    iteration=len(self._trace) - 1,
                    parameters=self._parameters,
                    log_likelihood=seen[-1],
                    change=seen[-1] - seen[-2],
                    converged=self._reason is not None,
                )
            )
            if stop and self._reason is None:
                self._reason = "callback"
        n_iter = len(self._trace) - 1
        found = self._problem.degeneracies(self._parameters) if n_iter else ()
        return self._parameters, FitInfo(
            trace=tuple(self._trace),
            n_iter=n_iter,
            n_passes=self._n_passes,
            converged=self._reason in ("tolerance", "rounding"),
            reason=self._reason or "max_iter",
            seconds=watch.seconds,
            n_threads=effective_threads(self._problem.n_jobs),
            start=number,
            degeneracies=found + impossible,
        )

    def state(self) -> StartState[_P, _S]:
        """Return where the fit stands."""
        return StartState(
            self._parameters,
            self._statistics,
            tuple(self._trace),
            self._problem.careful,
            self._n_passes,
            self._reason,
            () if self._acceleration is None else tuple(self._acceleration.found),
            None if self._acceleration is None else self._acceleration.longest,
        )

    def _judge(self, seen: list[float]) -> StopReason | None:
        """Take note of the newest value, and say why it is the last one, if it is."""
        seen.append(self._trace[-1])
        if self._rule.has_converged(seen):
            return "tolerance"
        return "rounding" if abs(seen[-1] - seen[-2]) < self._problem.resolution else None

    def _step(self, moments: bool) -> Steps[_P, _S, bool]:
        """Take a step that does not lower the objective, with care if need be; False if none is."""
        last = self._trace[-1]
        if moments and (yield from self._accelerated_step(last)):
            return True
        lowest = last - self._problem.rounding(last)
        parameters, statistics, value = yield from self._move(self._statistics, moments)
        if value < lowest and not self._problem.careful:
            self._problem = self._problem.with_care()
            # Care may change the responsibilities of a problem that needs no pass ahead.
            again = None if self._problem.looks_ahead else self._statistics
            parameters, statistics, value = yield from self._move(again, moments)
        if value < lowest:
            return False
        self._parameters, self._statistics = parameters, statistics
        self._trace.append(value)
        return True

    def _accelerated_step(self, last: float) -> Steps[_P, _S, bool]:
        """Take a step beyond that of the M-step, if it raises the objective."""
        found = self._statistics
        if self._acceleration is None or found is None or self._problem.careful:
            return False
        beyond = self._acceleration.propose(found)
        if beyond is None:
            return False
        try:
            parameters, statistics, value = yield from self._move(beyond, True)
        except (IllDefinedCovarianceError, ValueError):
            value = float("-inf")
        if value >= last:
            self._parameters, self._statistics = parameters, statistics
            self._trace.append(value)
            return True
        self._acceleration.fell(found)
        return False

    def _move(
        self, statistics: _S | None, moments: bool
    ) -> Steps[_P, _S, tuple[_P, _S | None, float]]:
        """Return what the M-step leads to, what the pass there finds, and the objective."""
        problem = self._problem
        if statistics is None:
            statistics = yield from self._pass(self._parameters, True)
        proposal = problem.m_step(statistics, self._parameters)
        if problem.looks_ahead:
            return proposal, None, problem.objective(statistics, proposal)
        found = yield from self._pass(proposal, moments)
        return proposal, found, problem.objective(found, proposal)

    def _pass(self, parameters: _P, moments: bool) -> Steps[_P, _S, _S]:
        """Ask for a pass."""
        self._n_passes += 1
        return (yield Request(self._problem, parameters, moments))


def fit_best(
    problem: Problem[_P, _S],
    starts: Starts[_P],
    rule: StoppingRule,
    max_iter: int,
    listeners: Listeners[_P, _S] | None = None,
    resumed: FitState[_P, _S] | None = None,
    accelerate: Callable[[Sequence[_S], float | None], Acceleration[_S]] | None = None,
) -> tuple[_P, FitInfo]:
    """Fit from several starts and return the result whose objective ends highest.

    Iteration i makes a pass at the parameters of iteration i - 1 and takes the M-step, or a step
    beyond it if that is accelerated. It is the last when `rule` says so. The trace ends with the
    objective of the parameters returned.
    """
    watch = Stopwatch()
    hears: Listeners[_P, _S] = Listeners() if listeners is None else listeners
    fit: FitState[_P, _S] = FitState() if resumed is None else resumed
    stopped = False

    def iterate(progress: Progress[_P]) -> bool:
        # The very iteration that converges may be the one that is asked to be the last of all.
        nonlocal stopped
        stopped = hears.iterate is not None and bool(hears.iterate(progress))
        return stopped

    for number in range(fit.start, starts.number):
        current = fit.current
        if current is None:
            parameters, found = starts.draw(number)
            current = StartState(parameters)
            fit = replace(fit, start=number, initialization=found, current=current)
        if hears.begin is not None:
            hears.begin(number, current.parameters, fit.initialization)
        if hears.observe is not None:
            hears.observe(fit)
        observe = None if hears.observe is None else partial(_observe, hears.observe, fit)
        acceleration = None
        if accelerate is not None:
            acceleration = accelerate(current.earlier, current.longest)
        steps = Fit(problem, current, rule, max_iter, acceleration).steps(
            previous=starts.previous,
            given=starts.given,
            number=number,
            iterate=iterate,
            observe=observe,
        )
        ((fitted, info),) = run([steps])
        best = fit.best
        if best is None or info.trace[-1] > best[1].trace[-1]:
            best = fitted, replace(info, initialization=fit.initialization)
        fit = FitState(number + 1, best=best, n_passes=fit.n_passes + info.n_passes)
        if stopped:
            break
    if fit.best is None:
        raise ValueError(f"n_init must be at least 1; got {starts.number}")
    if hears.observe is not None and not stopped:
        hears.observe(replace(fit, start=starts.number))
    return fit.best[0], replace(fit.best[1], n_passes=fit.n_passes, seconds=watch.seconds)


def _observe(
    observe: Callable[[FitState[_P, _S]], None],
    fit: FitState[_P, _S],
    current: StartState[_P, _S],
) -> None:
    observe(replace(fit, current=current))
