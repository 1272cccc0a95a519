"""EM of classes with a mixture each, where some rows have no class, or structures are in common.

The components of all classes are those of one mixture. A row of known class can only come from
the components of its class, a row of unknown class from all (Miller and Uyar, 1997, "A mixture of
experts classifier with learning based on both labeled and unlabeled data", NIPS 9). What the
classes have in common is then found from the statistics of all components together (Hastie and
Tibshirani, 1996, "Discriminant analysis by Gaussian mixtures", J. R. Stat. Soc. B 58).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from fastgmm.data.source import Source
from fastgmm.em.degeneracy import Degeneracy, hold_covariances
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.loop import FitInfo, Starts, fit_best
from fastgmm.em.models.class_mixtures import (
    expected_log_likelihood,
    weighted_classes,
    with_matrices,
)
from fastgmm.em.problem import ROUNDING
from fastgmm.em.stopping import StoppingRule
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure


@dataclass(frozen=True, slots=True, eq=False)
class ClassFit:
    """What EM made of the classes."""

    mixtures: list[MixtureParameters]  # the mixture of each class; its weights sum to 1
    priors: FloatArray  # (n_classes,): priors of the classes
    info: FitInfo
    """How the fit went; its trace is the mean log-likelihood of the rows, together with the classes
    that are known.
    """
    log_likelihood: float  # log-likelihood of all rows, in nats


@dataclass(frozen=True, slots=True, eq=False)
class ClassProblem:
    """Classes with a mixture each, to be fitted together; one mixture holds all components."""

    labeled: Sequence[Source]  # the rows of each class
    unlabeled: Source | None  # the rows of unknown class
    sizes: tuple[int, ...]  # number of components of each class
    structures: tuple[CovarianceStructure, ...]
    """The structure of each class's components; or a single one, which those of all classes have
    together.
    """
    factors: FloatArray
    """(n_classes,): what the weights of the labeled rows of each class are multiplied by."""
    priors: FloatArray | None  # (n_classes,): priors of the classes; None to find them
    regularization: Regularization  # amounts added to the variances
    n_jobs: int | None = None  # number of threads of a pass
    careful: bool = False
    """Whether covariances that would lower the likelihood are left as they were."""
    # With one component there is nothing to find out about rows of a known class.
    _settled: dict[int, SufficientStatistics] = field(init=False, default_factory=dict)

    looks_ahead: ClassVar[bool] = False
    resolution: ClassVar[float] = 0.0

    @property
    def is_diagonal(self) -> bool:
        """Whether no structure has covariances beside the diagonal."""
        return all(kind.is_diagonal for kind in self.structures)

    @property
    def places(self) -> list[slice]:
        """Where the components of each class are."""
        ends = np.cumsum(self.sizes)
        return [slice(int(end) - n, int(end)) for end, n in zip(ends, self.sizes, strict=True)]

    @property
    def weight(self) -> float:
        """Sum of the weights of all rows."""
        weight = float(self.factors @ [each.total_weight for each in self.labeled])
        return weight if self.unlabeled is None else weight + self.unlabeled.total_weight

    def with_care(self) -> ClassProblem:
        """Return the problem whose M-step is one of generalized EM, which cannot fall."""
        return replace(self, careful=True)

    def e_step(
        self,
        current: MixtureParameters,
        *,
        moments: bool = True,  # noqa: ARG002 - those of settled classes are at hand
    ) -> SufficientStatistics:
        """Make a pass over the rows of each class, under its mixture, and over the others."""
        mixtures, priors = self.parted(current)
        found, total = [], 0.0
        for c, (source, mixture) in enumerate(zip(self.labeled, mixtures, strict=True)):
            own = self._of_class(c, source, mixture)
            if own.weight > 0.0:
                with np.errstate(divide="ignore"):  # rows of a class of prior 0 are impossible
                    prior = float(np.log(priors[c]))
                total += self.factors[c] * (own.log_likelihood + own.weight * prior)
            factors = np.full(mixture.n_components, self.factors[c])
            found.append(weighted_classes(own, factors))
        together = _stacked(found)
        if self.unlabeled is not None:
            others = mixture_statistics(self.unlabeled, current, n_jobs=self.n_jobs)
            total += others.log_likelihood
            together = together + others
        if not math.isfinite(total):
            raise ValueError(
                f"the log-likelihood is {total}: some rows are impossibly far from every class, or "
                "of a class whose weight or prior is 0"
            )
        return replace(together, log_likelihood=total)

    def m_step(
        self, statistics: SufficientStatistics, before: MixtureParameters
    ) -> MixtureParameters:
        """Return the parameters of all components, and with them the priors of the classes."""
        if len(self.structures) == 1:
            solved = self._solve(self.structures[0], statistics, before)
        else:
            solved = MixtureParameters.joined(
                [
                    self._solve(kind, _some(statistics, place), before.of(place))
                    for kind, place in zip(self.structures, self.places, strict=True)
                ]
            )
        empty = statistics.empty()
        means = np.where(empty[:, None], before.means, solved.means)
        counts = np.where(empty, 0.0, statistics.counts)
        of_classes = np.array([counts[place].sum() for place in self.places])
        priors = of_classes / of_classes.sum() if self.priors is None else self.priors
        with np.errstate(divide="ignore", invalid="ignore"):
            log_weights = np.concatenate(
                [
                    np.log(prior) + np.log(counts[place] / total if total > 0.0 else counts[place])
                    for prior, place, total in zip(priors, self.places, of_classes, strict=True)
                ]
            )
        return replace(solved, means=means, log_weights=log_weights)

    def objective(
        self,
        statistics: SufficientStatistics,
        parameters: MixtureParameters,  # noqa: ARG002 - the pass was there
    ) -> float:
        """Return the mean log-likelihood of the rows and their classes, in nats."""
        return statistics.log_likelihood / self.weight

    def rounding(self, value: float) -> float:
        """Return how much less than a value of the objective counts as equal."""
        return ROUNDING[self.labeled[0].dtype.itemsize] * (1.0 + abs(value))

    def degeneracies(
        self,
        parameters: MixtureParameters,  # noqa: ARG002
    ) -> tuple[Degeneracy, ...]:
        """Return nothing: a class keeps its components."""
        return ()

    def _solve(
        self,
        kind: CovarianceStructure,
        statistics: SufficientStatistics,
        before: MixtureParameters,
    ) -> MixtureParameters:
        """Take the M-step of components that have a structure together."""
        begun = before if kind.is_diagonal == self.is_diagonal else None
        solved = self.in_form(kind.solve(statistics, self.regularization, begun))
        return hold_covariances(kind, statistics, before, solved) if self.careful else solved

    def parted(self, current: MixtureParameters) -> tuple[list[MixtureParameters], FloatArray]:
        """Return the mixture of each class, and the priors."""
        priors = np.array([current.weights[place].sum() for place in self.places])
        mixtures = []
        for place, prior in zip(self.places, priors, strict=True):
            own = current.of(place)
            if prior > 0.0:
                own = replace(own, log_weights=own.log_weights - np.log(prior))
            mixtures.append(own)
        return mixtures, priors if self.priors is None else self.priors

    def in_form(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return a mixture in the form that those of all classes have."""
        return parameters if self.is_diagonal else with_matrices(parameters)

    def _of_class(self, c: int, source: Source, mixture: MixtureParameters) -> SufficientStatistics:
        """Return the statistics of the labeled rows of a class under its mixture."""
        if mixture.n_components > 1 or source.incomplete:
            return mixture_statistics(source, mixture, n_jobs=self.n_jobs)
        if c not in self._settled:
            self._settled[c] = mixture_statistics(source, mixture, n_jobs=self.n_jobs)
        total = expected_log_likelihood(self._settled[c], mixture)
        return replace(self._settled[c], log_likelihood=total)


def fit_class_em(
    problem: ClassProblem,
    start: Sequence[MixtureParameters],
    priors: FloatArray,
    rule: StoppingRule,
    max_iter: int,
) -> ClassFit:
    """Fit the mixtures of all classes by EM."""
    begun = _joined([problem.in_form(each) for each in start], priors)
    current, info = fit_best(problem, Starts.at(begun), rule, max_iter)
    mixtures, found = problem.parted(current)
    return ClassFit(mixtures, found, info, info.trace[-1] * problem.weight)


def _joined(mixtures: list[MixtureParameters], priors: FloatArray) -> MixtureParameters:
    """Return the mixtures of all classes as one."""
    with np.errstate(divide="ignore"):  # a prior of 0 is allowed
        logs = np.log(priors)
    return MixtureParameters.joined(
        [
            replace(each, log_weights=each.log_weights + log)
            for each, log in zip(mixtures, logs, strict=True)
        ]
    )


def _stacked(statistics: list[SufficientStatistics]) -> SufficientStatistics:
    """Return the statistics of the components of all classes, one class after the other."""
    return SufficientStatistics(
        reference=np.concatenate([each.reference for each in statistics]),
        counts=np.concatenate([each.counts for each in statistics]),
        first=np.concatenate([each.first for each in statistics]),
        second=np.concatenate([each.second for each in statistics]),
        log_likelihood=sum(each.log_likelihood for each in statistics),
        weight=sum(each.weight for each in statistics),
    )


def _some(statistics: SufficientStatistics, place: slice) -> SufficientStatistics:
    """Return the statistics of some components, as those of a mixture of their own."""
    own = statistics.of(place)
    return replace(own, weight=float(own.counts.sum()))
