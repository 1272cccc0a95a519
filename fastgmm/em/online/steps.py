"""Online EM: statistics that each new batch of rows moves a little.

Stepwise EM of Cappé and Moulines (2009, "On-line expectation-maximization algorithm for latent data
models", J. R. Stat. Soc. B 71) and Liang and Klein (2009, "Online EM for unsupervised models",
NAACL): the sufficient statistics S of the rows so far are blended with those of each new batch, and
the M-step is taken from the blend. No batch, however small, is ever fitted by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

AVERAGING_POWER = 2
"""The average weights the statistics of time t by the t-th power of this."""

_MOST_PIECES = 2**16
"""A batch of more units than this is weighted by fewer, longer pieces."""

_State = TypeVar("_State", bound="OnlineState")


@dataclass(frozen=True, slots=True)
class StepSchedule:
    """How much a batch of rows counts against all rows before it.

    Time runs in units of rows: the t-th unit has the step size ``(t + offset)**-exponent``, but
    never less than ``1 - forgetting``. A batch of several units, or of part of one, counts as
    much as if its rows had come unit by unit, so that the size of the batches does not matter.
    """

    exponent: float = 0.6
    """Above 0.5 and at most 1, where all rows count alike for ever. The smaller, the sooner what
    was learned under early, poor parameters is forgotten, and the more the result fluctuates.
    """
    offset: float = 1.0  # at least 0; delays the first steps, which are the largest
    forgetting: float = 1.0
    """Above 0; below 1, the rows of one unit always count this many times those of the next, so
    that the mixture follows a stream that drifts. 1 forgets nothing on purpose.
    """

    def step(self, time: float, length: float) -> float:
        """Return the share that a batch gets in the blend."""
        end = time + length
        first, last = math.floor(time) + 1, math.ceil(end)
        if last - first < _MOST_PIECES:
            ends = np.minimum(np.arange(first, last + 1, dtype=np.float64), end)
        else:
            ends = np.linspace(time, end, _MOST_PIECES + 1)[1:]
        lengths = np.diff(ends, prepend=time)
        sizes = (np.ceil(ends) + self.offset) ** -self.exponent
        sizes = np.maximum(sizes, 1.0 - self.forgetting)
        with np.errstate(divide="ignore"):  # a step of 1 is allowed
            log_kept = (lengths * np.log1p(-sizes)).sum()
        return float(-np.expm1(log_kept))

    def averaging_step(self, time: float, length: float) -> float:
        """Return the share that the statistics after a batch get in their average."""
        kept = (time / (time + length)) ** (AVERAGING_POWER + 1)
        return float(1.0 - min(kept, self.forgetting**length))


@dataclass(frozen=True, slots=True, eq=False)
class OnlineState:
    """Where online EM stands between two batches; enough to resume from as if never interrupted."""

    statistics: SufficientStatistics
    """The blend, of weight 1 and about its own means, so that it stays well conditioned for ever.
    Its log-likelihood is that of recent rows, each under the parameters before it.
    """
    averaged: SufficientStatistics | None
    """The average over the past of such statistics; None without averaging."""
    parameters: MixtureParameters
    """The M-step of `statistics`, under which the next batch is looked at."""
    regularization: Regularization  # amounts added to the variances
    unit: float  # weight of the rows that make a unit of time
    time: float  # units so far
    weight: float  # weight of all rows so far
    n_rows: int  # number of those that have weight
    n_steps: int  # number of batches

    def estimate(self, structure: CovarianceStructure) -> MixtureParameters:
        """Return the fitted mixture: the M-step of the average, if there is one."""
        if self.averaged is None:
            return self.parameters
        return structure.solve(self.averaged, self.regularization, self.parameters)


def online_step(
    state: OnlineState,
    batch: ArraySource,
    schedule: StepSchedule,
    structure: CovarianceStructure,
    *,
    averaging: bool = False,
    n_jobs: int | None = None,
) -> tuple[OnlineState, float]:
    """Learn a batch of rows: one pass over them, one blend and one M-step."""
    after, step = blend_batch(state, batch, schedule, structure, averaging=averaging, n_jobs=n_jobs)
    if step == 0.0:
        return state, 0.0
    problem = EMProblem(batch, structure, after.regularization, n_jobs=n_jobs)
    parameters = problem.m_step(after.statistics, after.parameters)
    return replace(after, parameters=parameters), step


def blend_batch(
    state: _State,
    batch: ArraySource,
    schedule: StepSchedule,
    structure: CovarianceStructure,
    *,
    averaging: bool = False,
    n_jobs: int | None = None,
) -> tuple[_State, float]:
    """Make a pass over a batch of rows and blend what it finds with the statistics so far."""
    weight = batch.total_weight
    if weight == 0.0:
        return state, 0.0
    pooled = structure.needs_pooled_only
    found = mixture_statistics(batch, state.parameters, pooled=pooled, n_jobs=n_jobs)
    require_finite(found)
    length = weight / state.unit
    step = schedule.step(state.time, length)
    blend = state.statistics.scaled(1.0 - step) + found.scaled(step / weight)
    statistics = blend.about(blend.means())
    averaged = None
    if averaging:
        share = schedule.averaging_step(state.time, length)
        average = (state.averaged or state.statistics).blended(statistics, share)
        averaged = average.about(average.means())
    after = replace(
        state,
        statistics=statistics,
        averaged=averaged,
        time=state.time + length,
        weight=state.weight + weight,
        n_rows=state.n_rows + count_present(batch),
        n_steps=state.n_steps + 1,
    )
    return after, step


def count_present(rows: ArraySource) -> int:
    """Return the number of rows that have weight."""
    return rows.n_samples if rows.weights is None else int(np.count_nonzero(rows.weights))


def require_finite(statistics: SufficientStatistics) -> None:
    """Raise unless the log-likelihood and the moments of a batch are finite numbers."""
    if not (math.isfinite(statistics.log_likelihood) and np.isfinite(statistics.second).all()):
        raise ValueError(
            f"the log-likelihood of the batch is {statistics.log_likelihood}, or its moments "
            "overflow: some rows are impossibly far from every component, and nothing of the "
            "batch was learned; leave such rows out"
        )
