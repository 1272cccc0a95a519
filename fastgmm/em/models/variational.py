"""Variational Bayes: where it starts, and the loops around its step.

A step is one pass over the data and one solve, as in EM. The lower bound is that of the posterior
after the solve under the responsibilities of the pass before it, which the statistics of that pass
suffice for: no further pass has to measure it. Neither half of the step can lower it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.initialization.methods import InitialisationInfo, InitMethod, initial_statistics
from fastgmm.em.loop import Callback, FitInfo, FitState, climb, keep_best
from fastgmm.em.models.mixture import ROUNDING, StopReason
from fastgmm.kernels.threads import effective_threads
from fastgmm.mixture.priors.variational import (
    VariationalPosterior,
    VariationalPrior,
    responsibility_entropy,
)
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import CovarianceStructure


@dataclass(frozen=True, slots=True, eq=False)
class VariationalState:
    """Where one start of a fit stands between two passes.

    Attributes
    ----------
    posterior : VariationalPosterior
        The current posterior.
    exact : bool
        Whether responsibilities are worked out with the rows as uncertain as the regularization
        has it.
    trace : tuple of float
        Lower bound of the start and after each step, in nats; empty before the first pass.
    n_passes : int
        Number of passes, with those whose step was taken back.
    reason : str or None
        Why no further step is to be taken, once that is known.
    """

    posterior: VariationalPosterior
    exact: bool = False
    trace: tuple[float, ...] = ()
    n_passes: int = 0
    reason: StopReason | None = None


def initial_posterior(
    source: Source,
    n_components: int,
    prior: VariationalPrior,
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    weight: float,
    random_state: np.random.RandomState,
    method: InitMethod = "kmeans",
    labels: npt.NDArray[np.int64] | None = None,
    subsampled: bool = False,
    n_jobs: int | None = None,
) -> tuple[VariationalPosterior, InitialisationInfo]:
    """Return a posterior to start from."""
    statistics, info = initial_statistics(
        source,
        n_components,
        diagonal=structure.is_diagonal,
        random_state=random_state,
        method=method,
        labels=labels,
        subsampled=subsampled,
        n_jobs=n_jobs,
    )
    if subsampled:
        statistics = statistics.scaled(weight / statistics.weight)
    return VariationalPosterior.solve(prior, statistics, structure, regularization), info


def fit_variational(
    source: Source,
    start: VariationalPosterior | VariationalState,
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    previous_bound: float = -np.inf,
    n_jobs: int | None = None,
    callback: Callback[VariationalPosterior] | None = None,
    observe: Callable[[VariationalState], None] | None = None,
    number: int = 0,
) -> tuple[VariationalPosterior, FitInfo]:
    """Fit a mixture by variational Bayes from one start.

    An iteration makes a pass at the posterior and solves for the next. It is the last when the
    lower bound differs by less than `tol` from that of the iteration before.
    """
    began = time.perf_counter()
    state = start if isinstance(start, VariationalState) else VariationalState(start)
    ascent = _Ascent(source, state, structure, regularization, n_jobs)
    with one_blas_thread():
        if max_iter == 0:
            ascent.measure_start()
        reason = state.reason or climb(
            ascent, tol, max_iter, previous_bound, callback, observe, number
        )
    return ascent.posterior, FitInfo(
        trace=tuple(ascent.trace),
        n_iter=len(ascent.trace) - 1,
        n_passes=ascent.n_passes,
        converged=reason in ("tolerance", "rounding"),
        reason=reason,
        seconds=time.perf_counter() - began,
        n_threads=effective_threads(n_jobs),
        start=number,
        degeneracies=(),
    )


def fit_best_variational(
    source: Source,
    draw_start: Callable[[int], tuple[VariationalPosterior, InitialisationInfo | None]],
    n_init: int,
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    previous_bound: float = -np.inf,
    n_jobs: int | None = None,
    begin: Callable[[int, VariationalPosterior, InitialisationInfo | None], None] | None = None,
    callback: Callback[VariationalPosterior] | None = None,
    observe: Callable[[FitState[VariationalState, VariationalPosterior]], None] | None = None,
    resumed: FitState[VariationalState, VariationalPosterior] | None = None,
) -> tuple[VariationalPosterior, FitInfo]:
    """Fit a mixture from several starts and keep the one with the highest lower bound."""

    def fit_from(
        start: VariationalState,
        watch: Callback[VariationalPosterior],
        note: Callable[[VariationalState], None] | None,
        number: int,
    ) -> tuple[VariationalPosterior, FitInfo]:
        return fit_variational(
            source,
            start,
            structure,
            regularization,
            tol=tol,
            max_iter=max_iter,
            previous_bound=previous_bound,
            n_jobs=n_jobs,
            callback=watch,
            observe=note,
            number=number,
        )

    def draw_state(number: int) -> tuple[VariationalState, InitialisationInfo | None]:
        posterior, found = draw_start(number)
        return VariationalState(posterior), found

    def begin_from(number: int, start: VariationalState, found: InitialisationInfo | None) -> None:
        if begin is not None:
            begin(number, start.posterior, found)

    return keep_best(fit_from, draw_state, n_init, begin_from, callback, observe, resumed)


class _Ascent:
    """Steps from one start, none of which lowers the lower bound.

    Responsibilities are those of scikit-learn, which take rows as known exactly, although the
    regularization does not. The steps may therefore lower the bound by about as much as the
    regularization. One that does is taken again, as are all from then on, with the
    responsibilities that are the best for the bound.
    """

    def __init__(
        self,
        source: Source,
        state: VariationalState,
        structure: CovarianceStructure,
        regularization: Regularization,
        n_jobs: int | None,
    ) -> None:
        self.source = source
        self.structure = structure
        self.regularization = regularization
        self.n_jobs = n_jobs
        self.posterior = state.posterior
        self.trace = list(state.trace)
        self.n_passes = state.n_passes
        self._exact = state.exact

    @property
    def n_steps(self) -> int:
        """Number of steps: the lower bound of the start comes before them."""
        return max(0, len(self.trace) - 1)

    @property
    def fitted(self) -> VariationalPosterior:
        """The posterior."""
        return self.posterior

    def state(self, reason: StopReason | None = None) -> VariationalState:
        """Return where the fit stands, and why it goes no further, if it does not."""
        return VariationalState(
            self.posterior, self._exact, tuple(self.trace), self.n_passes, reason
        )

    def measure_start(self) -> None:
        """Make a pass for the lower bound of the start alone."""
        if not self.trace:
            self._step()

    def step(self) -> bool:
        """Make a pass and solve for the next posterior; say whether that was a rise."""
        proposal, bound = self._step()
        if self._falls(bound) and not self._exact:
            self._exact = True
            proposal, bound = self._step()
        if self._falls(bound):
            return False
        self.posterior = proposal
        self.trace.append(bound)
        return True

    def at_rest(self, change: float, tol: float) -> StopReason | None:
        """Return why a change of the lower bound is not worth another step, if it is not.

        The bound is a sum over the rows, and known no better than their densities are.
        """
        if abs(change) < tol:
            return "tolerance"
        resolution = float(np.finfo(self.source.dtype).eps) * self.source.total_weight
        return "rounding" if abs(change) < resolution else None

    def _step(self) -> tuple[VariationalPosterior, float]:
        amounts = self.regularization.amounts
        parameters = self.posterior.expected_parameters(amounts if self._exact else None)
        statistics = mixture_statistics(self.source, parameters, n_jobs=self.n_jobs)
        self.n_passes += 1
        _require_finite(statistics.log_likelihood)
        entropy = responsibility_entropy(parameters, statistics, incomplete=self.source.incomplete)
        if not self.trace:
            self.trace.append(self.posterior.lower_bound(statistics, entropy, amounts))
        proposal = VariationalPosterior.solve(
            self.posterior.prior, statistics, self.structure, self.regularization, self.posterior
        )
        bound = proposal.lower_bound(statistics, entropy, amounts)
        _require_finite(bound)
        return proposal, bound

    def _falls(self, bound: float) -> bool:
        """Say whether a lower bound is less than the last one beyond rounding."""
        last = self.trace[-1]
        rounding = ROUNDING[self.source.dtype.itemsize]
        return bound < last - rounding * (self.source.total_weight + abs(last))


def _require_finite(bound: float) -> None:
    """Raise unless a lower bound is a finite number."""
    if not math.isfinite(bound):
        raise ValueError(
            f"the lower bound is {bound}: some rows are impossibly far from every component, or "
            "the data are too large or too small for their squares; give a mean_prior and a "
            "covariance_prior on the scale of the data, or scale the data"
        )
