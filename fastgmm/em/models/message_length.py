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
from typing import Protocol

import numpy as np

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import mixture_statistics, source_moments
from fastgmm.em.models.componentwise import ComponentwiseEM
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

_START_SHARE = 0.1
"""Variance of the components that a search begins with, as a share of that of all rows."""


@dataclass(frozen=True, slots=True)
class MessageCode:
    """What the parameters of a mixture cost to encode, for rows of a given weight.

    Attributes
    ----------
    per_component : int
        Number of parameters that are a component's own, without its weight.
    shared : int
        Number of parameters that all components have in common.
    weight : float
        Weight of the rows.
    """

    per_component: int
    shared: int
    weight: float

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
    """A mixture that the search converged to.

    Attributes
    ----------
    parameters : MixtureParameters
        The mixture.
    log_likelihood : float
        Log-likelihood of the rows, in nats.
    message_length : float
        Length of the message, in nats.
    converged : bool
        Whether EM converged there.
    """

    parameters: MixtureParameters
    log_likelihood: float
    message_length: float
    converged: bool


@dataclass(frozen=True, slots=True, eq=False)
class MessageLengthFit:
    """What the search found.

    Attributes
    ----------
    candidates : tuple of Candidate
        The mixtures to which EM converged, of decreasing numbers of components.
    best : Candidate
        The one with the shortest message.
    n_sweeps : int
        Number of times that all components were updated one after the other.
    n_passes : int
        Number of passes over all rows that updated all components at once.
    """

    candidates: tuple[Candidate, ...]
    best: Candidate
    n_sweeps: int
    n_passes: int


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
    structure: CovarianceStructure,
    regularization: Regularization,
    *,
    source: Source | None = None,
    min_components: int = 1,
    tol: float,
    max_iter: int,
    n_jobs: int | None = None,
) -> MessageLengthFit:
    """Fit a mixture of as many components as the shortest message takes."""
    weight = (source or rows).total_weight
    code = MessageCode.of(structure, rows.n_features, weight)
    settings = _Settings(structure, regularization, code, min_components)
    scale = weight / rows.total_weight
    if source is not None:
        own = np.ones(rows.n_samples) if rows.weights is None else rows.weights
        rows = ArraySource(rows.X, own * scale)
    with one_blas_thread():
        swept, n_sweeps = _descend(
            _Sweeps(rows, start, settings), code, min_components, tol * weight, max_iter
        )
        if source is None:
            return MessageLengthFit(swept, _shortest(swept, code), n_sweeps, 0)
        # What a sample of its own weight pays for, all rows pay for, too. What its rows pay for
        # if each of them stands for many may be a trait of the sample, which all rows are to judge.
        most = _shortest(swept, code).parameters
        cautious = replace(code, weight=weight / scale)
        in_sample = tuple(_measured_by(cautious, each, 1.0 / scale) for each in swept)
        surest = _shortest(in_sample, cautious).parameters
        candidates, n_passes = _descend(
            _Passes(source, most, settings, n_jobs),
            code,
            min(most.n_components, surest.n_components),
            tol * weight,
            max_iter,
        )
    return MessageLengthFit(candidates, _shortest(candidates, code), n_sweeps, n_passes)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What sweeps and passes have in common."""

    structure: CovarianceStructure
    regularization: Regularization
    code: MessageCode
    min_components: int


class _Descent(Protocol):
    """Ever fewer components."""

    @property
    def n_components(self) -> int: ...

    def step(self) -> bool:
        """Update all components, and say whether any of them is gone."""

    def measured(self) -> tuple[MixtureParameters, float]:
        """Return the last mixture whose log-likelihood is known, and that."""

    def annihilate_weakest(self) -> None:
        """Take the component of the least weight away."""


class _Sweeps:
    """Components are updated one after the other, on rows in memory."""

    def __init__(self, rows: ArraySource, start: MixtureParameters, settings: _Settings) -> None:
        self._em = ComponentwiseEM(
            rows,
            start,
            settings.structure,
            settings.regularization,
            settings.code.penalty,
            settings.min_components,
        )

    @property
    def n_components(self) -> int:
        return self._em.n_components

    def step(self) -> bool:
        return self._em.sweep()

    def measured(self) -> tuple[MixtureParameters, float]:
        return self._em.parameters(), self._em.log_likelihood

    def annihilate_weakest(self) -> None:
        self._em.annihilate_weakest()


class _Passes:
    """All components are updated by each pass over all rows, after which one may go."""

    def __init__(
        self, source: Source, start: MixtureParameters, settings: _Settings, n_jobs: int | None
    ) -> None:
        self._source = source
        self._settings = settings
        self._n_jobs = n_jobs
        self._parameters = start
        self._measured = start, -math.inf

    @property
    def n_components(self) -> int:
        return self._parameters.n_components

    def step(self) -> bool:
        before, settings = self._parameters, self._settings
        statistics = mixture_statistics(self._source, before, n_jobs=self._n_jobs)
        self._measured = before, statistics.log_likelihood
        solved = settings.structure.solve(statistics, settings.regularization, before)
        spare = statistics.counts - settings.code.penalty
        # Those that have too few points but may stay keep what they have for this time.
        kept = np.where(spare > 0.0, spare, statistics.counts)
        with np.errstate(divide="ignore"):
            log_weights = np.log(kept / kept.sum())
        self._parameters = replace(solved, log_weights=log_weights)
        if spare.min() > 0.0 or self.n_components <= settings.min_components:
            return False
        self._parameters = _without(self._parameters, int(spare.argmin()))
        return True

    def measured(self) -> tuple[MixtureParameters, float]:
        return self._measured

    def annihilate_weakest(self) -> None:
        self._parameters = _without(self._parameters, int(self._parameters.log_weights.argmin()))


def _descend(
    descent: _Descent, code: MessageCode, fewest: int, tol: float, max_iter: int
) -> tuple[tuple[Candidate, ...], int]:
    """Run EM until convergence with ever fewer components; return results and step count."""
    candidates: list[Candidate] = []
    n_steps = 0
    while True:
        previous, converged = math.inf, False
        for _ in range(max_iter):
            gone = descent.step()
            n_steps += 1
            parameters, log_likelihood = descent.measured()
            length = code.length(parameters.weights, log_likelihood)
            converged = not gone and abs(previous - length) < tol
            if converged:
                break
            previous = length
        candidates.append(Candidate(parameters, log_likelihood, length, converged))
        if descent.n_components <= fewest:
            return tuple(candidates), n_steps
        descent.annihilate_weakest()


def _measured_by(code: MessageCode, candidate: Candidate, share: float) -> Candidate:
    """Return a mixture with the message that a code makes of a share of its rows."""
    log_likelihood = share * candidate.log_likelihood
    length = code.length(candidate.parameters.weights, log_likelihood)
    return replace(candidate, log_likelihood=log_likelihood, message_length=length)


def _shortest(candidates: tuple[Candidate, ...], code: MessageCode) -> Candidate:
    """Return the mixture with the shortest message, of those for which the code holds if any."""
    sound = [each for each in candidates if code.holds(each.parameters.weights)]
    return min(sound or candidates, key=lambda each: each.message_length)


def _without(parameters: MixtureParameters, k: int) -> MixtureParameters:
    """Return a mixture without one of its components; the others keep their proportions."""
    weights = np.delete(parameters.weights, k)
    return MixtureParameters.from_whiteners(
        weights / weights.sum(),
        np.delete(parameters.means, k, axis=0),
        np.delete(parameters.whiteners, k, axis=0),
    )
