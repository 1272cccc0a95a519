"""Variational Bayes for streams: statistics that each batch moves a little, and their posterior.

Stochastic variational inference of Hoffman, Blei, Wang and Paisley (2013, "Stochastic variational
inference", Journal of Machine Learning Research 14): the natural parameters of the posterior are
blended with those that a batch would have if all rows were like it. They are those of the prior
plus the sufficient statistics, so that blending them is blending the statistics, as online EM does;
the posterior follows from the blend, scaled to as many rows as there were.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import source_moments
from fastgmm.em.initialization.methods import InitializationInfo
from fastgmm.em.loop import FitInfo, Starts, fit_best
from fastgmm.em.models.variational import VariationalProblem, initial_posterior
from fastgmm.em.online.start import (
    START_ITERATIONS,
    TRIAL_ITERATIONS,
    OnlineStart,
    mean_statistics,
    mixture_regularization,
    rows_to_begin,
)
from fastgmm.em.online.steps import OnlineState, StepSchedule, blend_batch, count_present
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.priors.variational import VariationalPosterior, VariationalPrior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

_START_TOL_PER_ROW = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class VariationalOnlineState(OnlineState):
    """Where stochastic variational inference stands between two batches."""

    posterior: VariationalPosterior
    """What follows from the blend; the parameters are what it gives the passes."""
    mass: float
    """Weight of the rows that the posterior stands for: all so far or, with forgetting, as much of
    each as is not forgotten.
    """

    def solved(self, structure: CovarianceStructure) -> VariationalOnlineState:
        """Return the state with the posterior that follows from its statistics."""
        posterior = self._solve(self.statistics, structure)
        return replace(self, posterior=posterior, parameters=posterior.expected_parameters())

    def estimated_posterior(self, structure: CovarianceStructure) -> VariationalPosterior:
        """Return the posterior that follows from the average of the statistics, if there is one."""
        if self.averaged is None:
            return self.posterior
        return self._solve(self.averaged, structure)

    def lower_bound(self) -> float:
        """Return the lower bound if all rows were like the recent ones, in nats.

        Each of these is looked at under the posterior before it.
        """
        left_out = 0.5 * self.posterior.n_features * math.log(2.0 * math.pi)
        rows = self.mass * (self.statistics.mean_log_likelihood + left_out)
        return rows - self.posterior.divergence()

    def _solve(
        self, statistics: SufficientStatistics, structure: CovarianceStructure
    ) -> VariationalPosterior:
        return VariationalPosterior.solve(
            self.posterior.prior,
            statistics.scaled(self.mass),
            structure,
            self.regularization,
            self.posterior,
        )


def variational_online_step(
    state: VariationalOnlineState,
    batch: ArraySource,
    schedule: StepSchedule,
    structure: CovarianceStructure,
    *,
    averaging: bool = False,
    n_jobs: int | None = None,
) -> tuple[VariationalOnlineState, float]:
    """Learn a batch of rows: one pass over them, one blend and one solve."""
    after, step = blend_batch(state, batch, schedule, structure, averaging=averaging, n_jobs=n_jobs)
    if step == 0.0:
        return state, 0.0
    weight = after.weight - state.weight
    kept = schedule.forgetting ** (weight / state.unit)
    return replace(after, mass=kept * state.mass + weight).solved(structure), step


def begin_variational_online(
    rows: ArraySource,
    n_components: int,
    structure: CovarianceStructure,
    prior_for: Callable[[SufficientStatistics, Regularization], VariationalPrior],
    settings: OnlineStart,
) -> tuple[VariationalOnlineState, FitInfo]:
    """Fit a mixture to the first rows by variational Bayes, and return the state after them."""
    n_jobs = settings.n_jobs
    larger, smaller = settings.samples(rows, n_components, structure)
    moments = source_moments(larger, diagonal=structure.is_diagonal, n_jobs=n_jobs)
    regularization = Regularization.from_variances(
        settings.reg_covar, settings.scale, moments.means()[0], moments.variances()[0]
    )
    prior = prior_for(moments, regularization)
    on_smaller = VariationalProblem(smaller, structure, regularization, n_jobs)
    how = settings.of_starts(subsampled=smaller is not rows)

    def draw(_number: int) -> tuple[VariationalPosterior, InitializationInfo]:
        return initial_posterior(smaller, n_components, prior, on_smaller, how)

    trial, _ = fit_best(
        on_smaller,
        Starts(draw, settings.n_init),
        SmallChange(_START_TOL_PER_ROW * smaller.total_weight),
        TRIAL_ITERATIONS,
    )
    posterior, info = fit_best(
        replace(on_smaller, source=larger),
        Starts.at(trial),
        SmallChange(_START_TOL_PER_ROW * larger.total_weight),
        START_ITERATIONS,
    )
    parameters = posterior.expected_parameters()
    weight = rows.total_weight
    state = VariationalOnlineState(
        statistics=mean_statistics(rows, parameters, n_jobs=n_jobs),
        averaged=None,
        parameters=parameters,
        regularization=regularization,
        unit=weight,
        time=1.0,
        weight=weight,
        n_rows=count_present(rows),
        n_steps=0,
        posterior=posterior,
        mass=weight,
    )
    return state.solved(structure), info


def begin_from_posterior(
    posterior: VariationalPosterior,
    structure: CovarianceStructure,
    batch: ArraySource,
    *,
    reg_covar: float,
    scale: str,
    n_jobs: int | None = None,
) -> VariationalOnlineState:
    """Return a state that continues from a posterior, which counts as many rows as it came from."""
    regularization = mixture_regularization(posterior.mean_parameters(), reg_covar, scale)
    learned = posterior.statistics(structure, regularization)
    parameters = posterior.expected_parameters()
    recent = mean_statistics(batch, parameters, n_jobs=n_jobs)
    wanted = rows_to_begin(learned.n_components, learned.n_features)
    unit = batch.total_weight * max(1.0, wanted / batch.n_samples)
    return VariationalOnlineState(
        statistics=replace(
            learned.scaled(1.0 / learned.weight), log_likelihood=recent.log_likelihood
        ),
        averaged=None,
        parameters=parameters,
        regularization=regularization,
        unit=unit,
        time=max(1.0, learned.weight / unit),
        weight=0.0,
        n_rows=0,
        n_steps=0,
        posterior=posterior,
        mass=learned.weight,
    )
