"""One start of EM: steps that never lower the log-likelihood, and the state between two of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.em.degeneracy import Degeneracy, find_degeneracies, hold_covariances
from fastgmm.em.e_step.passes import log_likelihood, mixture_statistics
from fastgmm.mixture.m_step import NO_TERMS, ModelTerms, m_step
from fastgmm.mixture.noise import statistics_without_noise, without_noise
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

_Result = TypeVar("_Result")

ROUNDING = {4: 1e-6, 8: 1e-10}
"""By the bytes of a data value: how much less the mean log-likelihood may be after a step than
before it and still count as equal, relative to one more than its size.
"""

StopReason = Literal["tolerance", "rounding", "max_iter", "callback", "singular"]


def em_step(
    source: Source,
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    terms: ModelTerms = NO_TERMS,
    known: npt.NDArray[np.int64] | None = None,
    measured: SufficientStatistics | None = None,
    n_jobs: int | None = None,
) -> tuple[MixtureParameters, SufficientStatistics]:
    """Take one step of EM: one pass over the data and one solve."""
    if measured is None:
        measured = mixture_statistics(source, parameters, known=known, n_jobs=n_jobs)
    _require_finite(measured.log_likelihood)
    return m_step(measured, parameters, structure, regularization, terms), measured


@dataclass(frozen=True, slots=True, eq=False)
class AscentState:
    """The state of one start between two passes; enough to resume as if never interrupted.

    Attributes
    ----------
    parameters : MixtureParameters
        The current parameters.
    before : MixtureParameters
        Those before the last step.
    statistics : SufficientStatistics or None
        The statistics that the last step was taken from; None before the first.
    holding : bool
        Whether covariances are held that would lower the likelihood.
    trace : tuple of float
        Mean log-likelihood that each pass so far found, in nats.
    n_passes : int
        Number of passes, with those whose step was taken back.
    reason : str or None
        Why no further step is to be taken, once that is known.
    """

    parameters: MixtureParameters
    before: MixtureParameters
    statistics: SufficientStatistics | None = None
    holding: bool = False
    trace: tuple[float, ...] = ()
    n_passes: int = 0
    reason: StopReason | None = None

    @classmethod
    def at(cls, parameters: MixtureParameters) -> AscentState:
        """Return the state before the first pass."""
        return cls(parameters, parameters)


class Ascent:
    """Steps of EM from one start, none of which lowers the log-likelihood."""

    def __init__(
        self,
        source: Source,
        state: AscentState,
        structure: CovarianceStructure,
        regularization: Regularization,
        n_jobs: int | None,
        terms: ModelTerms = NO_TERMS,
        known: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.source = source
        self.structure = structure
        self.regularization = regularization
        self.n_jobs = n_jobs
        self.terms = terms
        self.known = known
        self.parameters = state.parameters
        self.trace = list(state.trace)
        self.n_passes = state.n_passes
        self._before = state.before
        self._statistics = state.statistics
        self._holding = state.holding
        self._foreseen: SufficientStatistics | None = None

    @property
    def n_steps(self) -> int:
        """Number of steps: each pass but the last one of all is part of one."""
        return len(self.trace)

    @property
    def fitted(self) -> MixtureParameters:
        """The parameters."""
        return self.parameters

    def at_rest(self, change: float, tol: float) -> StopReason | None:
        """Return why a change of the log-likelihood is not worth another step, if it is not."""
        return "tolerance" if abs(change) < tol else None

    def state(self, reason: StopReason | None = None) -> AscentState:
        """Return where the fit stands, and why it goes no further, if it does not."""
        return AscentState(
            self.parameters,
            self._before,
            self._statistics,
            self._holding,
            tuple(self.trace),
            self.n_passes,
            reason,
        )

    def foresee(self, statistics: SufficientStatistics) -> None:
        """Take what a pass shared with other fits found at the parameters.

        The next step, or the end, makes no pass of its own then, unless its step is taken back.
        """
        self._foreseen = statistics

    def step(self) -> bool:
        """Make a pass at the parameters and take the M-step; say whether that was a rise."""
        measured = self._measure(self._em_step)
        if measured is None:
            return False
        proposal, self._statistics = measured
        if self._holding:
            proposal = self._hold(self._statistics, self.parameters, proposal)
        self._before, self.parameters = self.parameters, proposal
        return True

    def finish(self) -> bool:
        """Measure the parameters; say whether their log-likelihood is a rise."""
        return self._measure(self._score) is not None

    def degeneracies(self) -> tuple[Degeneracy, ...]:
        """Return what is degenerate in the parameters."""
        if self._statistics is None:
            return ()  # no M-step was taken: the start is as it was given
        gaussians = self.terms.gaussians(self.parameters)
        # A prior takes the place of the regularization.
        none = Regularization.none(gaussians.n_features)
        added = self.regularization if self.terms.prior is None else none
        return find_degeneracies(gaussians, self.structure, added)

    def _measure(self, measure: Callable[[], tuple[float, _Result]]) -> _Result | None:
        """Measure the parameters and add to the trace, or go back one step and return None.

        If the parameters are worse than those before, the step that led to them is taken once
        more with the covariances held that harm; from then on, always.
        """
        value, result = measure()
        self.n_passes += 1
        if self._falls(value) and not self._holding and self._statistics is not None:
            self._holding = True
            self.parameters = self._hold(self._statistics, self._before, self.parameters)
            value, result = measure()
            self.n_passes += 1
        if self._falls(value):
            self.parameters = self._before
            return None
        self.trace.append(value)
        return result

    def _em_step(self) -> tuple[float, tuple[MixtureParameters, SufficientStatistics]]:
        proposal, statistics = em_step(
            self.source,
            self.parameters,
            self.structure,
            self.regularization,
            terms=self.terms,
            known=self.known,
            measured=self._seen(),
            n_jobs=self.n_jobs,
        )
        return self._objective(statistics.log_likelihood), (proposal, statistics)

    def _score(self) -> tuple[float, bool]:
        measured = self._seen()
        total = (
            log_likelihood(self.source, self.parameters, known=self.known, n_jobs=self.n_jobs)
            if measured is None
            else measured.log_likelihood
        )
        _require_finite(total)
        return self._objective(total), True

    def _seen(self) -> SufficientStatistics | None:
        """Return what was foreseen, which is good for once."""
        measured, self._foreseen = self._foreseen, None
        return measured

    def _objective(self, log_likelihood: float) -> float:
        """Return what EM makes rise, divided by the total weight of the rows."""
        log_prior = self.terms.log_prior(self.parameters, self.structure)
        return (log_likelihood + log_prior) / self.source.total_weight

    def _hold(
        self,
        statistics: SufficientStatistics,
        before: MixtureParameters,
        proposal: MixtureParameters,
    ) -> MixtureParameters:
        """Return the proposal with the covariances held that would lower the likelihood."""
        if self.terms.noise is None:
            return hold_covariances(self.structure, statistics, before, proposal)
        others, share = statistics_without_noise(statistics)
        held = hold_covariances(
            self.structure, others, without_noise(before), without_noise(proposal)
        )
        return self.terms.noise.added(held, share)

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
