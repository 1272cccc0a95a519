"""EM of several mixtures on the same rows, whose passes go through the rows together.

Rows that are decoded from files cost as much as the pass over them, or more: a reading serves all
mixtures that have not converged. Each is fitted as by itself, to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastgmm.data.source import Source
from fastgmm.em.acceleration import Squarem
from fastgmm.em.e_step.passes import statistics_of_several
from fastgmm.em.loop import Fit, Request, StartState, Steps, run
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import StoppingRule, stopping_rule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure


@dataclass(frozen=True, slots=True, eq=False)
class JointStart:
    """Where one of the mixtures begins."""

    parameters: MixtureParameters  # the mixture
    structure: CovarianceStructure  # the structure of its covariances
    tol: float | StoppingRule
    """Smallest change of the mean log-likelihood, in nats, that is worth another iteration."""


@dataclass(frozen=True, slots=True, eq=False)
class JointFit:
    """What one of the mixtures came to."""

    parameters: MixtureParameters  # the fitted mixture; the last one there was if the fit failed
    log_likelihood: float  # mean log-likelihood, in nats; nan if the fit failed
    n_iter: int  # number of M-steps
    converged: bool  # whether the log-likelihood converged before `max_iter`
    failure: str | None = None  # why the fit failed, or what is degenerate about the mixture


def fit_jointly(
    source: Source,
    starts: Sequence[JointStart],
    regularization: Regularization,
    *,
    max_iter: int,
    accelerated: bool = False,
    n_jobs: int | None = None,
    observe: Callable[[int, JointFit], None] | None = None,
) -> list[JointFit]:
    """Fit mixtures by EM, accelerated if that is wanted, each from one start."""

    def fit(
        number: int, start: JointStart
    ) -> Steps[MixtureParameters, SufficientStatistics, JointFit]:
        problem = EMProblem(source, start.structure, regularization, n_jobs=n_jobs)
        state: StartState[MixtureParameters, SufficientStatistics] = StartState(start.parameters)
        acceleration = Squarem() if accelerated and problem.may_extrapolate else None
        steps = Fit(problem, state, stopping_rule(start.tol), max_iter, acceleration)
        try:
            parameters, info = yield from steps.steps()
        except (IllDefinedCovarianceError, ValueError) as error:
            here = steps.state()
            ended = JointFit(here.parameters, math.nan, len(here.trace), False, str(error))
        else:
            why = info.degeneracies[0].description if info.degeneracies else None
            ended = JointFit(parameters, info.trace[-1], info.n_iter, info.converged, why)
        if observe is not None:
            observe(number, ended)
        return ended

    def answer(
        asked: list[Request[MixtureParameters, SufficientStatistics]],
    ) -> list[SufficientStatistics]:
        pooled = [
            isinstance(each.problem, EMProblem) and each.problem.structure.needs_pooled_only
            for each in asked
        ]
        mixtures = [each.parameters for each in asked]
        return statistics_of_several(source, mixtures, pooled, n_jobs=n_jobs)

    return run([fit(number, each) for number, each in enumerate(starts)], answer)
