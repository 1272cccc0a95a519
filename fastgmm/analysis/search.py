"""Choosing among mixtures: fits of every structure with every number of components, compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.criteria import assignment_entropies, assignment_entropy
from fastgmm.analysis.small_fits import SmallFit, fit_small, is_small
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.joint import JointFit, JointStart, fit_jointly
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.initialization.methods import InitSettings, initialize
from fastgmm.em.loop import FitInfo, Starts, fit_best
from fastgmm.em.problem import EMProblem
from fastgmm.em.stopping import SmallChange
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure

Partitions = dict[int, npt.NDArray[np.int64]]
"""For each number of components, clusters of the rows that fits begin from."""

Split = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Numbers of the rows to learn, and of those held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One mixture of a search.

    Attributes
    ----------
    structure : CovarianceStructure
        The structure of its covariances.
    n_components : int
        Its number of components.
    n_parameters : int
        Its number of free parameters.
    mixture : callable or None
        Returns the parameters of the fitted mixture; None if the fit failed.
    log_likelihood : float
        Weighted sum of the rows' log-densities, in nats; nan if the fit failed.
    bic, aic, icl : float
        Information criteria; lower is better, and nan if the fit failed.
    held_out : float
        Mean log-likelihood, in nats, of rows that were held out; nan if none were, or a fit failed.
    n_iter : int
        Number of iterations.
    converged : bool
        Whether the log-likelihood is to rise by no more than the tolerance, as its last gains
        suggest.
    failure : str or None
        Why the fit failed.
    """

    structure: CovarianceStructure
    n_components: int
    n_parameters: int
    mixture: Callable[[], MixtureParameters] | None = None
    log_likelihood: float = math.nan
    bic: float = math.nan
    aic: float = math.nan
    icl: float = math.nan
    held_out: float = math.nan
    n_iter: int = 0
    converged: bool = False
    failure: str | None = None

    def fitted(
        self,
        mixture: Callable[[], MixtureParameters],
        weight: float,
        log_likelihood: float,
        entropy: float,
        *,
        n_iter: int,
        converged: bool,
    ) -> Candidate:
        """Return the candidate with its fit and the criteria."""
        bic = -2.0 * log_likelihood + self.n_parameters * math.log(weight)
        return Candidate(
            self.structure,
            self.n_components,
            self.n_parameters,
            mixture,
            log_likelihood,
            bic,
            aic=-2.0 * log_likelihood + 2.0 * self.n_parameters,
            icl=bic + 2.0 * entropy,
            held_out=self.held_out,
            n_iter=n_iter,
            converged=converged,
        )

    def failed(self, why: str) -> Candidate:
        """Return the candidate as one that could not be fitted."""
        return Candidate(self.structure, self.n_components, self.n_parameters, failure=why)


@dataclass(frozen=True, slots=True, eq=False)
class SearchPlan:
    """How the mixtures of a search are fitted.

    Attributes
    ----------
    grid : tuple of (CovarianceStructure, int)
        Structure and number of components of each.
    regularization : Regularization
        Amounts added to variances.
    tol : float
        A fit ends when the log-likelihood l is to rise by less than ``tol * (1 + abs(l))``.
    max_iter : int
        Most iterations of a fit.
    """

    grid: tuple[tuple[CovarianceStructure, int], ...]
    regularization: Regularization
    tol: float
    max_iter: int


def fit_candidates(
    source: Source,
    sample: ArraySource,
    partitions: Partitions,
    plan: SearchPlan,
    *,
    preview: ArraySource | None = None,
    n_jobs: int | None = None,
    observe: Callable[[Candidate], None] | None = None,
) -> list[Candidate]:
    """Fit every mixture of a plan.

    Few rows without regularization are fitted in compiled code, many mixtures at a time. Of others,
    one reading of the rows serves all mixtures that have not converged.
    """
    n_features = source.n_features
    few = "there are not so many distinct rows"
    blank = [
        Candidate(
            kind,
            n_components,
            kind.n_parameters(n_components, n_features),
            failure=None if n_components in partitions else few,
        )
        for kind, n_components in plan.grid
    ]
    if _is_small_plan(source, sample, plan):
        found = _fit_together(sample, partitions, plan, blank, n_jobs)
        if observe is not None:
            for candidate in found:
                observe(candidate)
        return found
    return _fit_by_passes(source, sample, preview, partitions, plan, blank, n_jobs, observe)


def _is_small_plan(source: Source, sample: ArraySource, plan: SearchPlan) -> bool:
    small = sample is source and is_small(sample.n_samples, sample.n_features)
    return small and plan.regularization.is_zero and not sample.incomplete


def _fit_together(
    source: ArraySource,
    partitions: Partitions,
    plan: SearchPlan,
    blank: Sequence[Candidate],
    n_jobs: int | None,
) -> list[Candidate]:
    possible = [(each.structure, each.n_components) for each in blank if each.failure is None]
    fits = iter(
        fit_small(source, possible, partitions, tol=plan.tol, max_iter=plan.max_iter, n_jobs=n_jobs)
    )
    return [
        candidate
        if candidate.failure is not None
        else _small_candidate(candidate, next(fits), source.total_weight)
        for candidate in blank
    ]


def _small_candidate(candidate: Candidate, fit: SmallFit, weight: float) -> Candidate:
    if fit.failure is not None:
        return candidate.failed(fit.failure)
    return candidate.fitted(
        fit.parameters,
        weight,
        fit.log_likelihood,
        fit.entropy,
        n_iter=fit.n_iter,
        converged=fit.converged,
    )


def _fit_by_passes(
    source: Source,
    sample: ArraySource,
    preview: ArraySource | None,
    partitions: Partitions,
    plan: SearchPlan,
    blank: Sequence[Candidate],
    n_jobs: int | None,
    observe: Callable[[Candidate], None] | None,
) -> list[Candidate]:
    found = list(blank)
    starts: dict[int, JointStart] = {}
    for i, candidate in enumerate(blank):
        try:
            if candidate.failure is None:
                starts[i] = _started(source, sample, partitions, plan, candidate, n_jobs)
        except (IllDefinedCovarianceError, ValueError) as error:
            found[i] = candidate.failed(str(error))
        if i not in starts and observe is not None:
            observe(found[i])
    numbers = list(starts)
    n_iter = [0] * len(numbers)
    if preview is not None:
        previews = fit_jointly(
            preview,
            list(starts.values()),
            plan.regularization,
            max_iter=plan.max_iter,
            n_jobs=n_jobs,
        )
        for k, (i, fit) in enumerate(zip(numbers, previews, strict=True)):
            # What a sample makes fail may do well on all rows: that begins where it would have.
            if fit.failure is None:
                starts[i] = replace(starts[i], parameters=fit.parameters)
                n_iter[k] = fit.n_iter

    def end(k: int, fit: JointFit) -> None:
        found[numbers[k]] = _ended(source, blank[numbers[k]], fit, n_iter[k])
        if observe is not None:
            observe(found[numbers[k]])

    fit_jointly(
        source,
        list(starts.values()),
        plan.regularization,
        max_iter=plan.max_iter,
        n_jobs=n_jobs,
        observe=end,
    )
    return _with_entropies(source, found, n_jobs)


def _started(
    source: Source,
    sample: ArraySource,
    partitions: Partitions,
    plan: SearchPlan,
    candidate: Candidate,
    n_jobs: int | None,
) -> JointStart:
    """Return the mixture of the clusters, and the change that is worth an iteration."""
    start, _ = initialize(
        EMProblem(sample, candidate.structure, plan.regularization, n_jobs=n_jobs),
        sample,
        candidate.n_components,
        InitSettings(
            np.random.RandomState(0),  # labels leave nothing to chance
            labels=partitions[candidate.n_components],
            n_jobs=n_jobs,
        ),
    )
    level = log_likelihood(sample, start, n_jobs=n_jobs) / sample.total_weight
    tol = plan.tol * (1.0 / source.total_weight + abs(level))
    return JointStart(start, candidate.structure, tol)


def _ended(source: Source, candidate: Candidate, fit: JointFit, n_iter_before: int) -> Candidate:
    if fit.failure is not None:
        return candidate.failed(fit.failure)
    weight = source.total_weight
    return candidate.fitted(
        lambda: fit.parameters,
        weight,
        weight * fit.log_likelihood,
        math.nan,
        n_iter=n_iter_before + fit.n_iter,
        converged=fit.converged,
    )


def fit_from_mixtures(
    source: Source,
    candidates: Sequence[Candidate],
    starts: Sequence[MixtureParameters],
    plan: SearchPlan,
    *,
    n_jobs: int | None = None,
) -> list[Candidate]:
    """Fit mixtures of a search from others."""
    if not candidates:
        return []
    if isinstance(source, ArraySource) and _is_small_plan(source, source, plan):
        kinds = [(each.structure, each.n_components) for each in candidates]
        small = fit_small(
            source, kinds, {}, tol=plan.tol, max_iter=plan.max_iter, starts=starts, n_jobs=n_jobs
        )
        return [
            _small_candidate(candidate, fit, source.total_weight)
            for candidate, fit in zip(candidates, small, strict=True)
        ]
    weight = source.total_weight
    begun = [
        JointStart(
            _in_structure(start, each.structure, weight, plan.regularization),
            each.structure,
            plan.tol * (1.0 + abs(each.log_likelihood)) / weight,
        )
        for each, start in zip(candidates, starts, strict=True)
    ]
    fits = fit_jointly(source, begun, plan.regularization, max_iter=plan.max_iter, n_jobs=n_jobs)
    found = [
        _ended(source, candidate, fit, 0) for candidate, fit in zip(candidates, fits, strict=True)
    ]
    return _with_entropies(source, found, n_jobs)


def _in_structure(
    parameters: MixtureParameters,
    structure: CovarianceStructure,
    weight: float,
    regularization: Regularization,
) -> MixtureParameters:
    """Return what the M-step makes of rows spread as a mixture has them; itself if it cannot."""
    statistics = SufficientStatistics.from_covariances(
        weight * parameters.weights, parameters.means, parameters.covariances()
    )
    try:
        return structure.solve(statistics, regularization)
    except IllDefinedCovarianceError:
        return parameters


def _with_entropies(
    source: Source, candidates: list[Candidate], n_jobs: int | None
) -> list[Candidate]:
    """Return candidates with the entropies of their responsibilities, in one reading."""
    found = list(candidates)
    sound = [(i, each.mixture) for i, each in enumerate(found) if each.mixture is not None]
    if sound:
        entropies = assignment_entropies(source, [mixture() for _, mixture in sound], n_jobs=n_jobs)
        for (i, _), entropy in zip(sound, entropies, strict=True):
            found[i] = replace(found[i], icl=found[i].bic + 2.0 * entropy)
    return found


def refine(
    source: Source,
    plan: SearchPlan,
    candidate: Candidate,
    *,
    n_jobs: int | None = None,
) -> tuple[Candidate, MixtureParameters, FitInfo]:
    """Fit one mixture of a search to a smaller tolerance."""
    assert candidate.mixture is not None
    if isinstance(source, ArraySource) and _is_small_plan(source, source, plan):
        (refined,) = fit_from_mixtures(
            source, [candidate], [candidate.mixture()], plan, n_jobs=n_jobs
        )
        if refined.failure is not None:
            raise IllDefinedCovarianceError(refined.failure)
        candidate = replace(
            refined, held_out=candidate.held_out, n_iter=candidate.n_iter + refined.n_iter
        )
    assert candidate.mixture is not None
    level = (1.0 + abs(candidate.log_likelihood)) / source.total_weight
    parameters, info = fit_best(
        EMProblem(source, candidate.structure, plan.regularization, n_jobs=n_jobs),
        Starts.at(candidate.mixture()),
        SmallChange(plan.tol * level),
        plan.max_iter,
    )
    ended = candidate.fitted(
        lambda: parameters,
        source.total_weight,
        source.total_weight * info.trace[-1],
        assignment_entropy(source, parameters, n_jobs=n_jobs),
        n_iter=candidate.n_iter + info.n_iter,
        converged=info.converged,
    )
    return ended, parameters, info


def cross_validated(
    candidates: Sequence[Candidate],
    source: ArraySource,
    partition: Callable[[ArraySource], Partitions],
    plan: SearchPlan,
    splits: Sequence[Split],
    *,
    n_jobs: int | None = None,
) -> list[Candidate]:
    """Return candidates with how likely rows are under mixtures fitted without them."""
    totals = np.zeros(len(candidates))
    failures = [each.failure for each in candidates]
    weight = 0.0
    for number, (learned, held_out) in enumerate(splits, start=1):
        training, test = _chosen(source, learned), _chosen(source, held_out)
        fits = fit_candidates(training, training, partition(training), plan, n_jobs=n_jobs)
        for i, fit in enumerate(fits):
            if failures[i] is None and fit.mixture is None:
                failures[i] = f"without the rows of fold {number}, {fit.failure}"
            if failures[i] is None and fit.mixture is not None:
                totals[i] += log_likelihood(test, fit.mixture(), n_jobs=n_jobs)
        weight += test.total_weight
    return [
        replace(each, failure=failure, held_out=math.nan if failure else float(total) / weight)
        for each, failure, total in zip(candidates, failures, totals, strict=True)
    ]


def _chosen(source: ArraySource, numbers: npt.NDArray[np.int64]) -> ArraySource:
    weights = None if source.weights is None else source.weights[numbers]
    return ArraySource(source.rows(numbers), weights, incomplete=source.incomplete)
