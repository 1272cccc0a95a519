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
from dataclasses import dataclass, replace

import numpy as np

from fastgmm.data.source import Source
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.degeneracy import hold_covariances
from fastgmm.em.e_step.batched import stacked
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.models.class_mixtures import (
    expected_log_likelihood,
    weighted_classes,
    with_matrices,
)
from fastgmm.em.models.mixture import ROUNDING
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure


@dataclass(frozen=True, slots=True, eq=False)
class ClassPlan:
    """What classes are fitted as.

    Attributes
    ----------
    structures : tuple of CovarianceStructure
        The structure of each class's components; or a single one, which those of all classes have
        together.
    factors : ndarray of shape (n_classes,)
        What the weights of the labeled rows of each class are multiplied by.
    priors : ndarray of shape (n_classes,) or None
        Priors of the classes; None to find them.
    regularization : Regularization
        Amounts added to the variances.
    tol : float
        Smallest change of the mean log-likelihood, in nats, that is worth another iteration.
    max_iter : int
        Most M-steps.
    """

    structures: tuple[CovarianceStructure, ...]
    factors: FloatArray
    priors: FloatArray | None
    regularization: Regularization
    tol: float
    max_iter: int

    @property
    def is_diagonal(self) -> bool:
        """Whether no structure has covariances beside the diagonal."""
        return all(kind.is_diagonal for kind in self.structures)


@dataclass(frozen=True, slots=True, eq=False)
class ClassFit:
    """What EM made of the classes.

    Attributes
    ----------
    mixtures : list of MixtureParameters
        The mixture of each class; its weights sum to 1.
    priors : ndarray of shape (n_classes,)
        Priors of the classes.
    trace : tuple of float
        Mean log-likelihood of the rows, together with the classes that are known: of the start
        and after each iteration, in nats.
    weight : float
        Sum of the rows' weights.
    converged : bool
        Whether the last change of the trace was below the tolerance.
    """

    mixtures: list[MixtureParameters]
    priors: FloatArray
    trace: tuple[float, ...]
    weight: float
    converged: bool

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of all rows, in nats."""
        return self.trace[-1] * self.weight


def fit_class_em(
    labeled: Sequence[Source],
    unlabeled: Source | None,
    start: Sequence[MixtureParameters],
    priors: FloatArray,
    plan: ClassPlan,
    *,
    n_jobs: int | None = None,
) -> ClassFit:
    """Fit the mixtures of all classes by EM."""
    rows = _ClassRows(labeled, unlabeled, start, plan, n_jobs)
    rounding = ROUNDING[labeled[0].dtype.itemsize]
    before = current = _joined([rows.in_form(each) for each in start], priors)
    taken: SufficientStatistics | None = None
    last = -math.inf
    trace: list[float] = []
    holding = converged = False
    with one_blas_thread():
        while True:
            statistics, value = rows.statistics(current)
            lowest = last - rounding * (1.0 + abs(last)) if trace else -math.inf
            if value < lowest and taken is not None and not holding:
                # What the regularization adds outweighs what the step gains.
                holding = True
                current = rows.held(taken, before, current)
                statistics, value = rows.statistics(current)
            if not math.isfinite(value):
                raise ValueError(
                    f"the log-likelihood is {value}: some rows are impossibly far from every "
                    "class, or of a class whose weight or prior is 0"
                )
            if value < lowest:
                current = before
                break
            trace.append(value)
            converged = abs(value - last) < plan.tol
            if converged or len(trace) > plan.max_iter:
                break
            last, taken, before = value, statistics, current
            current = rows.solve(statistics, current)
            if holding:
                current = rows.held(statistics, before, current)
    mixtures, found = rows.parted(current)
    return ClassFit(mixtures, found, tuple(trace), rows.weight, converged)


class _ClassRows:
    """The rows of all classes, and where the components of each are among those of all."""

    def __init__(
        self,
        labeled: Sequence[Source],
        unlabeled: Source | None,
        start: Sequence[MixtureParameters],
        plan: ClassPlan,
        n_jobs: int | None,
    ) -> None:
        self.labeled = labeled
        self.unlabeled = unlabeled
        self.plan = plan
        self.n_jobs = n_jobs
        ends = np.cumsum([each.n_components for each in start])
        self.places = [
            slice(int(end) - each.n_components, int(end))
            for end, each in zip(ends, start, strict=True)
        ]
        weights = [each.total_weight for each in labeled]
        self.weight = float(plan.factors @ weights)
        if unlabeled is not None:
            self.weight += unlabeled.total_weight
        # With one component there is nothing to find out about rows of a known class.
        self._settled: dict[int, SufficientStatistics] = {}

    def statistics(self, current: MixtureParameters) -> tuple[SufficientStatistics, float]:
        """Return the statistics of all components, and the mean log-likelihood."""
        mixtures, priors = self.parted(current)
        found, total = [], 0.0
        for c, (source, mixture) in enumerate(zip(self.labeled, mixtures, strict=True)):
            own = self._of_class(c, source, mixture)
            if own.weight > 0.0:
                with np.errstate(divide="ignore"):  # rows of a class of prior 0 are impossible
                    prior = float(np.log(priors[c]))
                total += self.plan.factors[c] * (own.log_likelihood + own.weight * prior)
            factors = np.full(mixture.n_components, self.plan.factors[c])
            found.append(weighted_classes(own, factors))
        together = _stacked(found)
        if self.unlabeled is not None:
            others = mixture_statistics(self.unlabeled, current, n_jobs=self.n_jobs)
            total += others.log_likelihood
            together = together + others
        return together, total / self.weight

    def solve(
        self, statistics: SufficientStatistics, before: MixtureParameters
    ) -> MixtureParameters:
        """Return the parameters of the M-step."""
        plan = self.plan
        if len(plan.structures) == 1 and len(self.places) > 1:
            solved = plan.structures[0].solve(statistics, plan.regularization, before)
        else:

            def begin(kind: CovarianceStructure, place: slice) -> MixtureParameters | None:
                return before.of(place) if kind.is_diagonal == plan.is_diagonal else None

            solved = stacked(
                [
                    self.in_form(
                        kind.solve(
                            _some(statistics, place), plan.regularization, begin(kind, place)
                        )
                    )
                    for kind, place in zip(plan.structures, self.places, strict=True)
                ]
            )
        empty = statistics.empty()
        means = np.where(empty[:, None], before.means, solved.means)
        counts = np.where(empty, 0.0, statistics.counts)
        of_classes = np.array([counts[place].sum() for place in self.places])
        priors = of_classes / of_classes.sum() if plan.priors is None else plan.priors
        with np.errstate(divide="ignore", invalid="ignore"):
            log_weights = np.concatenate(
                [
                    np.log(prior) + np.log(counts[place] / total if total > 0.0 else counts[place])
                    for prior, place, total in zip(priors, self.places, of_classes, strict=True)
                ]
            )
        return replace(solved, means=means, log_weights=log_weights)

    def held(
        self,
        statistics: SufficientStatistics,
        before: MixtureParameters,
        proposal: MixtureParameters,
    ) -> MixtureParameters:
        """Return a proposal with the covariances left as before that would lower the likelihood."""
        kinds = self.plan.structures
        if len(kinds) == 1:
            return hold_covariances(kinds[0], statistics, before, proposal)
        return stacked(
            [
                hold_covariances(
                    kind, _some(statistics, place), before.of(place), proposal.of(place)
                )
                for kind, place in zip(kinds, self.places, strict=True)
            ]
        )

    def parted(self, current: MixtureParameters) -> tuple[list[MixtureParameters], FloatArray]:
        """Return the mixture of each class, and the priors."""
        priors = np.array([current.weights[place].sum() for place in self.places])
        mixtures = []
        for place, prior in zip(self.places, priors, strict=True):
            own = current.of(place)
            if prior > 0.0:
                own = replace(own, log_weights=own.log_weights - np.log(prior))
            mixtures.append(own)
        return mixtures, priors if self.plan.priors is None else self.plan.priors

    def in_form(self, parameters: MixtureParameters) -> MixtureParameters:
        """Return a mixture in the form that those of all classes have."""
        return parameters if self.plan.is_diagonal else with_matrices(parameters)

    def _of_class(self, c: int, source: Source, mixture: MixtureParameters) -> SufficientStatistics:
        """Return the statistics of the labeled rows of a class under its mixture."""
        if mixture.n_components > 1 or source.incomplete:
            return mixture_statistics(source, mixture, n_jobs=self.n_jobs)
        if c not in self._settled:
            self._settled[c] = mixture_statistics(source, mixture, n_jobs=self.n_jobs)
        total = expected_log_likelihood(self._settled[c], mixture)
        return replace(self._settled[c], log_likelihood=total)


def _joined(mixtures: list[MixtureParameters], priors: FloatArray) -> MixtureParameters:
    """Return the mixtures of all classes as one."""
    with np.errstate(divide="ignore"):  # a prior of 0 is allowed
        logs = np.log(priors)
    return stacked(
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
