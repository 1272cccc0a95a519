"""Mixtures of as many components as the shortest message about the rows takes.

Figueiredo and Jain (2002), "Unsupervised learning of finite mixture models", IEEE Transactions on
Pattern Analysis and Machine Intelligence 24. A message with the parameters of a mixture, and
then the rows in a code made for it, is the shorter the better the mixture fits, and the longer the
more parameters it has. It is minimized by EM from too many components, of which those that rows do
not pay for are annihilated; then the weakest is removed and EM continues, down to the smallest
number allowed; and the shortest message on that way wins.

The paper updates one component after the other (`componentwise_em`), which takes a look at all rows
for each component. Here that is done on rows in memory: all of them, or a sample if there are many.
On all rows EM then continues from the mixture found, in passes that update all components at once,
and annihilates no more than one after each pass, so that the others can take over its points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.degeneracy import Degeneracy
from fastgmm.em.e_step.passes import source_moments
from fastgmm.em.loop import FitInfo, Listeners, Progress, Starts, fit_best
from fastgmm.em.models.componentwise import ComponentwiseEM
from fastgmm.em.problem import ROUNDING, EMProblem
from fastgmm.em.stopping import SmallChange, StoppingRule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

_START_SHARE = 0.1
"""Variance of the components that a search begins with, as a share of that of all rows."""


@dataclass(frozen=True, slots=True)
class MessageCode:
    """What the parameters of a mixture cost to encode, for rows of a given weight."""

    per_component: int  # number of parameters that are a component's own, without its weight
    shared: int  # number of parameters that all components have in common
    weight: float  # weight of the rows

    @classmethod
    def of(cls, structure: CovarianceStructure, n_features: int, weight: float) -> MessageCode:
        """Return what the parameters of a structure cost."""
        one, two = (structure.n_covariance_parameters(k, n_features) for k in (1, 2))
        return cls(n_features + two - one, 2 * one - two, weight)

    @property
    def penalty(self) -> float:
        """What is taken from the count of points of each component: half its parameters."""
        return 0.5 * self.per_component

    def length(self, weights: FloatArray, log_likelihood: float) -> float:
        """Return the length of the message (Figueiredo and Jain, eq. 15).

        Each parameter is encoded with the precision that its rows pay for: those of a component by
        the rows of it, weights and what all components share by all rows. The constants of the
        equation, for lattices that are best in many dimensions, are left out: with them the
        parameters of a component of a handful of rows would cost less than nothing, and there are
        always some rows that such a component fits well.
        """
        present = weights[weights > 0.0]
        told_once = len(present) + self.shared
        return float(
            self.penalty * np.log(self.weight * present).sum()
            + 0.5 * told_once * math.log(self.weight)
            - log_likelihood
        )

    def holds(self, weights: FloatArray) -> bool:
        """Say whether every component has at least as many rows as parameters of its own.

        The precision that rows pay for is known for many rows. A few can lie so near a line or a
        point that the likelihood grows without bound: then no length is the shortest.
        """
        return bool(self.weight * weights.min() >= self.per_component)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A mixture that the search converged to."""

    parameters: MixtureParameters  # the mixture
    log_likelihood: float  # log-likelihood of the rows, in nats
    message_length: float  # length of the message, in nats
    converged: bool  # whether EM converged there


@dataclass(frozen=True, slots=True, eq=False)
class MessageLengthFit:
    """What the search found."""

    candidates: tuple[Candidate, ...]
    """The mixtures to which EM converged, of decreasing numbers of components."""
    best: Candidate  # the one with the shortest message
    n_sweeps: int  # number of times that all components were updated one after the other
    n_passes: int  # number of passes over all rows that updated all components at once


def wide_start(
    rows: ArraySource,
    n_components: int,
    structure: CovarianceStructure,
    regularization: Regularization,
    random_state: np.random.RandomState,
) -> MixtureParameters:
    """Return equal components at rows chosen at random, a tenth as wide in squares as the data.

    Components of so many parameters shrink onto a few rows each where they begin narrow
    (Figueiredo and Jain, section 6.2; theirs are spherical, these as wide as each feature asks).
    """
    chances = None if rows.weights is None else rows.weights / rows.weights.sum()
    chosen = random_state.choice(rows.n_samples, size=n_components, replace=False, p=chances)
    variances = source_moments(rows, diagonal=True).variances()[0] * _START_SHARE
    second = variances if structure.is_diagonal else np.diag(variances)
    means = rows.rows(chosen).astype(np.float64)
    statistics = SufficientStatistics.from_covariances(
        np.ones(n_components), means, np.repeat(second[None], n_components, axis=0)
    )
    return structure.solve(statistics, regularization)


def fit_message_length(
    rows: ArraySource,
    start: MixtureParameters,
    problem: MessageProblem,
    tol: float,
    max_iter: int,
) -> MessageLengthFit:
    """Fit a mixture of as many components as the shortest message about a problem's rows takes.

    The search runs on `rows`, which are those of the problem or a sample of them.
    """
    source = problem.em.source
    weight = source.total_weight
    code = problem.code
    scale = weight / rows.total_weight
    all_rows = rows is source
    if not all_rows:
        own = np.ones(rows.n_samples) if rows.weights is None else rows.weights
        rows = ArraySource(rows.X, own * scale)
    begun = ComponentwiseEM(
        rows,
        start,
        problem.em.structure,
        problem.em.regularization,
        code.penalty,
        problem.min_components,
    )
    rule = SmallChange(tol * weight)
    swept, n_sweeps = _descend(SweepProblem(code), begun, problem.min_components, rule, max_iter)
    if all_rows:
        return MessageLengthFit(swept, _shortest(swept, code), n_sweeps, 0)
    # What a sample of its own weight pays for, all rows pay for, too. What its rows pay for
    # if each of them stands for many may be a trait of the sample, which all rows are to judge.
    most = _shortest(swept, code).parameters
    cautious = replace(code, weight=weight / scale)
    in_sample = tuple(_measured_by(cautious, each, 1.0 / scale) for each in swept)
    surest = _shortest(in_sample, cautious).parameters
    fewest = min(most.n_components, surest.n_components)
    candidates, n_passes = _descend(problem, most, fewest, rule, max_iter)
    return MessageLengthFit(candidates, _shortest(candidates, code), n_sweeps, n_passes)


class ComponentGone(Exception):  # noqa: N818 - an event of a fit
    """A step left a component with too few points: EM continues without it."""

    def __init__(self, left: Any) -> None:
        super().__init__("a component is gone")
        self.left = left


@dataclass(frozen=True, slots=True, eq=False)
class MessageProblem:
    """A message to be shortened by passes over all rows, after each of which a component may go."""

    em: EMProblem  # what would be fitted if parameters cost nothing
    min_components: int = 1  # no component goes if as few are left

    looks_ahead: ClassVar[bool] = False
    resolution: ClassVar[float] = 0.0

    @property
    def n_jobs(self) -> int | None:
        """Number of threads of a pass."""
        return self.em.n_jobs

    @property
    def careful(self) -> bool:
        """Whether covariances that would lower the likelihood are left as they were."""
        return self.em.careful

    @property
    def code(self) -> MessageCode:
        """What the parameters cost."""
        source = self.em.source
        return MessageCode.of(self.em.structure, source.n_features, source.total_weight)

    def with_care(self) -> MessageProblem:
        """Return the problem whose M-step is one of generalized EM."""
        return replace(self, em=self.em.with_care())

    def e_step(
        self, parameters: MixtureParameters, *, moments: bool = True
    ) -> SufficientStatistics:
        """Make a pass at the parameters."""
        return self.em.e_step(parameters, moments=moments)

    def m_step(
        self, statistics: SufficientStatistics, before: MixtureParameters
    ) -> MixtureParameters:
        """Return the parameters of the shortest message; raise if that has a component less."""
        solved = self.em.m_step(statistics, before)
        spare = statistics.counts - self.code.penalty
        # Those that have too few points but may stay keep what they have for this time.
        kept = np.where(spare > 0.0, spare, statistics.counts)
        with np.errstate(divide="ignore"):
            found = replace(solved, log_weights=np.log(kept / kept.sum()))
        if spare.min() > 0.0 or before.n_components <= self.min_components:
            return found
        raise ComponentGone(found.without(int(spare.argmin())))

    def objective(self, statistics: SufficientStatistics, parameters: MixtureParameters) -> float:
        """Return how much shorter than nothing the message is, in nats."""
        return -self.code.length(parameters.weights, statistics.log_likelihood)

    def rounding(self, value: float) -> float:
        """Return how much less than a value of the objective counts as equal."""
        source = self.em.source
        return ROUNDING[source.dtype.itemsize] * (source.total_weight + abs(value))

    def degeneracies(
        self,
        parameters: MixtureParameters,  # noqa: ARG002
    ) -> tuple[Degeneracy, ...]:
        """Return nothing: the estimator looks at the best mixture alone."""
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class SweepProblem:
    """A message to be shortened by updates of one component after the other, on rows in memory."""

    code: MessageCode
    careful: bool = False

    looks_ahead: ClassVar[bool] = True
    resolution: ClassVar[float] = 0.0
    n_jobs: ClassVar[int] = 1

    def with_care(self) -> SweepProblem:
        """Return the same problem: its steps know no other care."""
        return replace(self, careful=True)

    def e_step(self, em: ComponentwiseEM, *, moments: bool = True) -> None:
        """Do nothing: the densities of all components are held."""

    def m_step(
        self,
        statistics: None,  # noqa: ARG002
        before: ComponentwiseEM,
    ) -> ComponentwiseEM:
        """Update every component once; raise if one of them goes."""
        em = before.copy()
        if em.sweep():
            raise ComponentGone(em)
        return em

    def objective(self, statistics: None, em: ComponentwiseEM) -> float:  # noqa: ARG002
        """Return how much shorter than nothing the message is, in nats."""
        return -self.code.length(em.weights, em.log_likelihood)

    def rounding(self, value: float) -> float:
        """Return how much less than a value of the objective counts as equal."""
        return ROUNDING[8] * (self.code.weight + abs(value))

    def degeneracies(self, em: ComponentwiseEM) -> tuple[Degeneracy, ...]:  # noqa: ARG002
        """Return nothing: the estimator looks at the best mixture alone."""
        return ()


def _descend(
    problem: MessageProblem | SweepProblem,
    start: MixtureParameters | ComponentwiseEM,
    fewest: int,
    rule: StoppingRule,
    max_iter: int,
) -> tuple[tuple[Candidate, ...], int]:
    """Run EM until convergence with ever fewer components; return results and step count."""
    candidates: list[Candidate] = []
    n_steps = 0
    while True:
        fitted, info, steps = _settle(problem, start, rule, max_iter)
        n_steps += steps
        parameters = fitted.parameters() if isinstance(fitted, ComponentwiseEM) else fitted
        log_likelihood = problem.code.length(parameters.weights, 0.0) + info.trace[-1]
        length = problem.code.length(parameters.weights, log_likelihood)
        candidates.append(Candidate(parameters, log_likelihood, length, info.converged))
        if fitted.n_components <= fewest:
            return tuple(candidates), n_steps
        start = fitted.without(int(parameters.log_weights.argmin()))


def _settle(
    problem: Any, start: Any, rule: StoppingRule, max_iter: int
) -> tuple[Any, FitInfo, int]:
    """Fit from a start, and again from what is left whenever a component goes."""
    n_steps = 0
    while True:
        seen: list[Progress[Any]] = []
        listeners: Listeners[Any, Any] = Listeners(iterate=seen.append)
        left = max(max_iter - n_steps, 0)
        try:
            fitted, info = fit_best(problem, Starts.at(start), rule, left, listeners)
        except ComponentGone as gone:
            start = gone.left
            n_steps += len(seen) + 1
        else:
            steps = info.n_iter if problem.looks_ahead else info.n_passes
            return fitted, info, n_steps + steps


def _measured_by(code: MessageCode, candidate: Candidate, share: float) -> Candidate:
    """Return a mixture with the message that a code makes of a share of its rows."""
    log_likelihood = share * candidate.log_likelihood
    length = code.length(candidate.parameters.weights, log_likelihood)
    return replace(candidate, log_likelihood=log_likelihood, message_length=length)


def _shortest(candidates: tuple[Candidate, ...], code: MessageCode) -> Candidate:
    """Return the mixture with the shortest message, of those for which the code holds if any."""
    sound = [each for each in candidates if code.holds(each.parameters.weights)]
    return min(sound or candidates, key=lambda each: each.message_length)
