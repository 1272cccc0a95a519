"""A search among mixtures: every structure with every number of components, compared.

EM that begins from a poor partition can stay at a saddle point, or at a low maximum. That is seen
where a simpler mixture, of a structure that is a special case or of one component less, is more
likely: EM begins again from that one. It is not seen of the mixtures that contend for the lowest
criterion, the best one and the one of a component less: these begin again from larger ones with two
components as one (after Ueda, Nakano, Ghahramani and Hinton, 2000, "SMEM algorithm for mixture
models", Neural Computation 12), and from those of other structures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.criteria import assignment_entropies, assignment_entropy
from fastgmm.analysis.likelihood_ratio import merge_starts, split_starts
from fastgmm.analysis.small_fits import EMFit, SmallProblem, fit_small, is_small
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.joint import JointFit, JointStart, fit_jointly
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.initialization.data_scan import scan_data
from fastgmm.em.initialization.methods import InitSettings, initialize
from fastgmm.em.initialization.random_rows import random_rows
from fastgmm.em.loop import FitInfo, Starts, fit_best
from fastgmm.em.models.class_mixtures import with_matrices
from fastgmm.em.problem import ROUNDING, EMProblem
from fastgmm.em.stopping import ExtrapolatedGain, SmallChange
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import (
    CovarianceStructure,
    FactorStructure,
    is_built_in,
    structure,
)

Partitions = dict[int, npt.NDArray[np.int64]]
"""For each number of components, clusters of the rows that fits begin from."""

_MARGIN = 2.0
"""What may have the lowest criterion in the end is above it by no more than this."""

_FINER = 2e-2
"""The tolerance of fits that decide, as a share of that of the search; of few rows, of all fits.

Near a saddle point, gains are small for long before they grow.
"""

_FINE = 0.3
"""That of fits to all rows after those to some: after a long step of an accelerated fit, gains
shrink fast for a while, and more is to come than they suggest.
"""

_ROUGH_ITERATIONS = 8
"""Iterations after which the best of several starts is chosen."""

_HELPING_ITERATIONS = 100
"""Iterations after which a mixture is good enough for others to begin from."""

_MOST_STARTS = 4
"""How many merges and splits of a mixture are tried."""

_HELPERS = ("EVI", "VVI", "EVV", "VVV")
"""Structures whose fits are good starts of others: quickly found, and of shapes of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One mixture of a search."""

    structure: CovarianceStructure  # the structure of its covariances
    n_components: int  # its number of components
    n_parameters: int  # its number of free parameters
    # returns the parameters of the fitted mixture; None if the fit failed
    mixture: Callable[[], MixtureParameters] | None = None
    # weighted sum of the rows' log-densities, in nats; nan if the fit failed
    log_likelihood: float = math.nan
    bic: float = math.nan  # information criteria; lower is better, and nan if the fit failed
    aic: float = math.nan
    icl: float = math.nan
    # mean log-likelihood, in nats, of rows that were held out; nan if none were, or a fit failed
    held_out: float = math.nan
    n_iter: int = 0  # number of iterations
    # whether the log-likelihood is to rise by no more than the tolerance, as its last gains suggest
    converged: bool = False
    failure: str | None = None  # why the fit failed

    def parameters(self) -> MixtureParameters:
        """Return the fitted mixture, of a candidate that has one."""
        assert self.mixture is not None
        return self.mixture()

    def blank(self) -> Candidate:
        """Return the candidate before it was fitted."""
        return Candidate(
            self.structure, self.n_components, self.n_parameters, held_out=self.held_out
        )

    def failed(self, why: str) -> Candidate:
        """Return the candidate as one that could not be fitted."""
        return replace(self.blank(), held_out=math.nan, failure=why)

    def fitted(
        self,
        mixture: Callable[[], MixtureParameters],
        fit: JointFit | EMFit | FitInfo,
        weight: float,
        log_likelihood: float,
        entropy: float,
    ) -> Candidate:
        """Return the candidate with a fit, whose iterations are added, and the criteria."""
        bic = -2.0 * log_likelihood + self.n_parameters * math.log(weight)
        return Candidate(
            self.structure,
            self.n_components,
            self.n_parameters,
            mixture=mixture,
            log_likelihood=log_likelihood,
            bic=bic,
            aic=-2.0 * log_likelihood + 2.0 * self.n_parameters,
            icl=bic + 2.0 * entropy,
            held_out=self.held_out,
            n_iter=self.n_iter + fit.n_iter,
            converged=fit.converged,
        )


@dataclass(frozen=True, slots=True, eq=False)
class SearchPlan:
    """How the mixtures of a search are fitted."""

    grid: tuple[tuple[CovarianceStructure, int], ...]  # structure and number of components of each
    regularization: Regularization  # amounts added to variances
    # A fit ends when the log-likelihood l is to rise by less than ``tol * (1 + abs(l))``
    tol: float
    max_iter: int  # most iterations of a fit
    n_jobs: int | None = None  # number of threads
    accelerated: bool = False  # whether fits that share readings of the rows are accelerated


Observe = Callable[[Candidate], None]


@dataclass(frozen=True, slots=True, eq=False)
class SearchedRows:
    """The rows that mixtures are fitted to."""

    source: Source  # all of them
    clustered: ArraySource  # those that the clusters are of which fits begin from
    # some of them, if they are very many: fits converge on these first
    preview: ArraySource | None = None


Split = tuple[SearchedRows, Source]
"""Rows to learn, and rows held out."""


class Start(NamedTuple):
    """Where the fit of a candidate begins."""

    number: int  # which candidate is fitted
    mixture: MixtureParameters  # the mixture
    # whether its covariances are of the candidate's structure already, without an M-step
    member: bool = False


@lru_cache(maxsize=4)
def _simpler(kinds: tuple[tuple[CovarianceStructure, int], ...]) -> npt.NDArray[np.bool_]:
    """[i, j]: whether mixtures of structure and size j are among those of structure and size i."""
    places: dict[CovarianceStructure, int] = {}
    kind = np.array([places.setdefault(own, len(places)) for own, _ in kinds])
    sizes = np.array([n_components for _, n_components in kinds])
    ranks = np.array([["IEV".index(each) for each in one.letters] for one in places])
    # Letters say nothing of what a structure of the user's own is among.
    built_in = np.array([is_built_in(one) for one in places])
    special = (ranks <= ranks[:, None]).all(axis=2) & built_in & built_in[:, None]
    for i, one in enumerate(places):
        if isinstance(one, FactorStructure):
            special[i] = [one.contains(other) for other in places]
    special |= np.eye(len(places), dtype=bool)
    same = (special & special.T)[kind[:, None], kind]
    simpler: npt.NDArray[np.bool_] = special[kind[:, None], kind] & ~same
    simpler &= sizes[:, None] == sizes
    simpler |= same & (sizes[:, None] == sizes + 1)
    return simpler


class CandidateFits:
    """Candidates fitted to the same rows: from where they are, and from each other."""

    def __init__(
        self,
        source: Source,
        plan: SearchPlan,
        candidates: Sequence[Candidate],
        observe: Observe | None = None,
    ) -> None:
        self.source = source
        self.plan = plan
        self.observe = observe
        self.found = list(candidates)
        self._tried: Counter[tuple[int, int, float]] = Counter()

    def fit_from_clusters(self, sample: ArraySource, partitions: Partitions, tol: float) -> None:
        """Fit candidates from clusters of some rows, but those that were fitted or have failed."""
        numbers = [
            i for i, each in enumerate(self.found) if each.failure is None and each.mixture is None
        ]
        if sample is self.source and is_small_search(sample, self.plan):
            plan = replace(self.plan, tol=tol)
            compiled = [i for i in numbers if is_built_in(self.found[i].structure)]
            blank = [self.found[i] for i in compiled]
            fits = _fit_small(sample, plan, blank, partitions, self.observe)
            for i, fit in zip(compiled, fits, strict=True):
                self.found[i] = fit
            numbers = [i for i in numbers if not is_built_in(self.found[i].structure)]
        self.improve(self.cluster_starts(numbers, sample, partitions), tol)

    def cluster_starts(
        self, numbers: Iterable[int], sample: ArraySource, partitions: Partitions
    ) -> list[Start]:
        """Return the mixtures of clusters of some rows, but where there is none."""
        starts, plan = [], self.plan
        for i in numbers:
            each = self.found[i]
            try:
                mixture, _ = initialize(
                    EMProblem(sample, each.structure, plan.regularization, n_jobs=plan.n_jobs),
                    sample,
                    each.n_components,
                    InitSettings(
                        np.random.RandomState(0),  # labels leave nothing to chance
                        labels=partitions[each.n_components],
                        n_jobs=plan.n_jobs,
                    ),
                )
                starts.append(Start(i, mixture, member=True))
            except (IllDefinedCovarianceError, ValueError) as error:
                self.found[i] = each.failed(str(error))
                if self.observe is not None:
                    self.observe(self.found[i])
        return starts

    def own_starts(self, numbers: Iterable[int]) -> list[Start]:
        """Return where candidates are, of those that have a mixture."""
        sound = [i for i in numbers if self.found[i].mixture is not None]
        return [Start(i, self.parameters(i), member=True) for i in sound]

    def improve(self, starts: Sequence[Start], tol: float) -> None:
        """Fit candidates from mixtures, and keep what is more likely than what there was."""
        improved: dict[int, Candidate] = {}
        for start, fit in zip(starts, self.fit(starts, tol, observe=self.observe), strict=True):
            i = start.number
            old = improved.get(i, self.found[i])
            if fit.mixture is None:
                self.found[i] = fit if old.mixture is None else self.found[i]
            elif old.mixture is None or fit.log_likelihood >= old.log_likelihood:
                improved[i] = replace(fit, n_iter=self.found[i].n_iter + fit.n_iter)
        for i, each in improved.items():
            self.found[i] = each

    def fit(
        self,
        starts: Sequence[Start],
        tol: float,
        *,
        max_iter: int | None = None,
        observe: Observe | None = None,
    ) -> list[Candidate]:
        """Return candidates fitted from mixtures."""
        if not starts:
            return []
        plan = replace(self.plan, tol=tol, max_iter=max_iter or self.plan.max_iter)
        both = [(self.found[each.number].blank(), each) for each in starts]
        small = is_small_search(self.source, plan)
        compiled = [small and is_built_in(each.structure) for each, _ in both]
        fits: dict[bool, Iterator[Candidate]] = {}
        for fit in set(compiled):
            some = [each for each, own in zip(both, compiled, strict=True) if own == fit]
            blank, begun = [each for each, _ in some], [start for _, start in some]
            if fit:
                assert isinstance(self.source, ArraySource)
                fits[fit] = iter(_fit_small(self.source, plan, blank, begun, observe))
            else:
                fits[fit] = iter(_fit_jointly(self.source, plan, blank, begun, observe))
        return [next(fits[own]) for own in compiled]

    def lift(self, tol: float) -> None:
        """Fit candidates again, from simpler ones, that are less likely than these."""
        while starts := list(self._lifting_starts()):
            self.improve(starts, tol)

    def _lifting_starts(self) -> Iterator[Start]:
        """Yield simpler mixtures for candidates that are less likely than these."""
        values = np.array([each.log_likelihood for each in self.found])
        simpler = _simpler(tuple((each.structure, each.n_components) for each in self.found))
        bounds = np.where(simpler & np.isfinite(values), values, -np.inf)
        likeliest = bounds.argmax(axis=1)
        # A comparison with the nan of one that failed is false: it stays as it is.
        below = bounds.max(axis=1) > values + self.plan.tol * (1.0 + np.abs(values))
        for i in np.flatnonzero(below).tolist():
            j = int(likeliest[i])
            n_tried = self._tried[i, j, values[j]]
            self._tried[i, j, values[j]] += 1
            if self.found[i].n_components == self.found[j].n_components:
                # Loadings of 0, as factors would have that are added, are a saddle point.
                same = self.found[i].structure.n_factors == self.found[j].structure.n_factors
                start = None if n_tried else Start(i, self.parameters(j), member=same)
            else:
                start = self._split(i, j, n_tried)
            if start is not None:
                yield start

    def best_of(self, starts: Sequence[Start], tol: float) -> list[tuple[Start, float]]:
        """Return the best of the starts of each candidate, after some iterations."""
        best: dict[int, Candidate] = {}
        fits = self.fit(starts, tol, max_iter=_ROUGH_ITERATIONS)
        for start, fit in zip(starts, fits, strict=True):
            highest = best.get(start.number)
            if fit.mixture is not None and (
                highest is None or fit.log_likelihood > highest.log_likelihood
            ):
                best[start.number] = fit
        return [
            (Start(i, fit.parameters(), member=True), fit.log_likelihood) for i, fit in best.items()
        ]

    def contending_starts(self, best: int, others: Sequence[Candidate]) -> list[Start]:
        """Return where the best candidate and its neighbors in size may begin again.

        The larger one does if it would be the best when it gained half of what two components gain:
        components that are added gain ever less, or nearly so.
        """
        kind, size = self.found[best].structure, self.found[best].n_components
        column = {
            each.n_components: i
            for i, each in enumerate(self.found)
            if each.structure == kind and each.mixture is not None
        }
        targets = [i for n, i in column.items() if n in (size - 1, size)]
        if size == 1 and 2 in column:
            targets.append(column[2])  # a single component has one maximum only
        elif {size + 1, size + 2} <= column.keys():
            larger = self.found[column[size + 1]]
            largest = self.found[column[size + 2]]
            half = 0.5 * (self.found[best].log_likelihood + largest.log_likelihood)
            missing = half - larger.log_likelihood
            if missing > 0.0 and larger.bic - 2.0 * missing < self.found[best].bic + _MARGIN:
                targets.append(column[size + 1])
        starts = []
        for i in targets:
            n_components = self.found[i].n_components
            if n_components + 1 in column:
                starts += [Start(i, each) for each in self._merged(column[n_components + 1])]
            starts += [
                Start(i, other.parameters())
                for other in [*self.found, *others]
                if other.n_components == n_components
                and other.mixture is not None
                and other.structure.n_factors is None
                and other.structure.letters in _HELPERS
                and other.structure.letters != kind.letters
            ]
        return starts

    def parameters(self, number: int) -> MixtureParameters:
        """Return the mixture of a candidate that has one."""
        return self.found[number].parameters()

    def _split(self, number: int, smaller: int, rank: int) -> Start | None:
        """Return a smaller candidate's mixture with one of its heaviest components cut in two."""
        statistics = self._statistics(smaller)
        part = np.argsort(-statistics.counts)[:_MOST_STARTS][rank : rank + 1]
        # Without regularization, a start may have a component that is singular.
        with suppress(IllDefinedCovarianceError):
            starts = split_starts(statistics, _free(statistics), self.plan.regularization, part)
            return Start(number, starts[0]) if starts else None
        return None

    def _merged(self, number: int) -> list[MixtureParameters]:
        """Return mixtures of one component less, each with another two components as one."""
        statistics = self._statistics(number)
        with suppress(IllDefinedCovarianceError):
            return merge_starts(
                statistics, _free(statistics), self.plan.regularization, _MOST_STARTS
            )
        return []

    def _statistics(self, number: int) -> SufficientStatistics:
        return _as_statistics(self.parameters(number), self.source.total_weight)


def fit_candidates(
    rows: SearchedRows,
    partitions: Partitions,
    plan: SearchPlan,
    observe: Observe | None = None,
    known: Mapping[tuple[str, int], Candidate] = MappingProxyType({}),
) -> list[Candidate]:
    """Fit every mixture of a plan but those that are known, by structure and number of components.

    Few rows without regularization are fitted in compiled code, many mixtures at a time. Of others,
    one reading of the rows serves all mixtures that have not converged.
    """
    few = "there are not so many distinct rows"
    blank = [
        Candidate(kind, size, kind.n_parameters(size, rows.source.n_features))
        for kind, size in plan.grid
    ]
    blank = [each if each.n_components in partitions else each.failed(few) for each in blank]
    done = [known.get((each.structure.label, each.n_components), each) for each in blank]
    first = rows.source if rows.preview is None else rows.preview
    tol = _FINER * plan.tol if is_small_search(first, plan) else plan.tol
    plan = replace(plan, accelerated=rows.preview is not None)
    if observe is not None:
        for each in blank:
            if each.failure is not None:
                observe(each)
    if rows.preview is None:
        fits = CandidateFits(first, plan, done, observe)
    else:
        fits = CandidateFits(first, plan, blank)
    fits.fit_from_clusters(rows.clustered, partitions, tol)
    fits.lift(tol)
    if rows.preview is not None:
        begun = fits.own_starts(i for i, each in enumerate(done) if each is blank[i])
        # What fails on a sample may do well on all rows: there, it begins from the clusters.
        lost = {i for i, each in enumerate(done) if each is blank[i] and each.failure is None}
        lost -= {start.number for start in begun}
        again = [
            replace(each, n_iter=each.n_iter + found.n_iter) if each.failure is None else each
            for each, found in zip(done, fits.found, strict=True)
        ]
        fits = CandidateFits(rows.source, plan, again, observe)
        begun += fits.cluster_starts(sorted(lost), rows.clustered, partitions)
        fits.improve(begun, _FINE * plan.tol)
        fits.lift(_FINE * plan.tol)
    return with_entropies(rows.source, fits.found, plan)


def settle_contenders(
    rows: SearchedRows,
    candidates: Sequence[Candidate],
    partitions: Partitions,
    plan: SearchPlan,
    value: Callable[[Candidate], float],
) -> list[Candidate]:
    """Fit the mixtures that may have the lowest criterion further, and from others."""
    fits = CandidateFits(rows.source, plan, candidates)
    near = fits if rows.preview is None else CandidateFits(rows.preview, plan, candidates)
    helpers = _Helpers(rows.clustered, partitions, plan)
    tol = _FINER * plan.tol
    settled = set(range(len(candidates))) if is_small_search(rows.source, plan) else set()
    compared: set[int] = set()
    while True:
        values = np.array([value(each) for each in fits.found])
        if np.isnan(values).all():
            return fits.found
        best = int(np.nanargmin(values))
        close = set(np.flatnonzero(values <= values[best] + _MARGIN).tolist())
        starts = fits.own_starts(sorted(close - settled)) if len(close) > 1 else []
        settled |= close
        if best not in compared:
            compared.add(best)
            near.found = fits.found
            others = helpers.near(fits.found[best])
            for start, reached in near.best_of(near.contending_starts(best, others), tol):
                if near is not fits:
                    # All rows are read for what may win by as much as it gains on the sample.
                    own = log_likelihood(
                        near.source, fits.parameters(start.number), n_jobs=plan.n_jobs
                    )
                    gain = (reached - own) * fits.source.total_weight / near.source.total_weight
                    if gain <= 0.0 or values[start.number] - 2.0 * gain > values[best] + _MARGIN:
                        continue
                starts.append(start)
        if not starts:
            return fits.found
        fits.improve(starts, tol)
        fits.lift(tol)
        fits.found = with_entropies(rows.source, fits.found, plan)


class _Helpers:
    """Mixtures of structures that a search leaves out, which others may begin from."""

    def __init__(self, sample: ArraySource, partitions: Partitions, plan: SearchPlan) -> None:
        self._sample = sample
        self._partitions = partitions
        self._plan = replace(plan, max_iter=min(plan.max_iter, _HELPING_ITERATIONS))
        self._found: dict[tuple[str, int], Candidate] = {}

    def near(self, best: Candidate) -> list[Candidate]:
        """Return those of about as many components as a candidate has."""
        known = {kind.letters for kind, _ in self._plan.grid if kind.n_factors is None}
        sizes = {n for _, n in self._plan.grid if abs(n - best.n_components) <= 1}
        wanted = [
            (name, n)
            for name in (() if best.structure.n_factors else _HELPERS)
            for n in sorted(sizes & self._partitions.keys())
            if name not in known and structure(name).is_diagonal >= best.structure.is_diagonal
        ]
        new = [each for each in wanted if each not in self._found]
        if new:
            fits = CandidateFits(
                self._sample, self._plan, [Candidate(structure(name), n, 0) for name, n in new]
            )
            fits.fit_from_clusters(self._sample, self._partitions, self._plan.tol)
            self._found.update(zip(new, fits.found, strict=True))
        return [self._found[each] for each in wanted]


def is_small_search(source: Source, plan: SearchPlan) -> bool:
    """Say whether mixtures are fitted in compiled code, many at a time."""
    return (
        isinstance(source, ArraySource)
        and is_small(source.n_samples, source.n_features)
        and plan.regularization.is_zero
        and not source.incomplete
    )


def _fit_small(
    source: ArraySource,
    plan: SearchPlan,
    blank: Sequence[Candidate],
    begun: Partitions | Sequence[Start],
    observe: Observe | None,
) -> list[Candidate]:
    """Fit candidates to few rows, from clusters or from a mixture each."""
    starts: list[MixtureParameters | npt.NDArray[np.int64]] = (
        [begun[each.n_components] for each in blank]
        if isinstance(begun, dict)
        else [start.mixture for start in begun]
    )
    fits = fit_small(
        [
            SmallProblem(source, each.structure, each.n_components, start)
            for each, start in zip(blank, starts, strict=True)
        ],
        tol=plan.tol,
        max_iter=plan.max_iter,
        n_jobs=plan.n_jobs,
    )
    weight = source.total_weight
    found = [
        each.failed(fit.failure)
        if fit.failure is not None
        else each.fitted(fit.parameters, fit, weight, fit.log_likelihood, fit.entropy)
        for each, fit in zip(blank, fits, strict=True)
    ]
    if observe is not None:
        for each in found:
            observe(each)
    return found


def _fit_jointly(
    source: Source,
    plan: SearchPlan,
    blank: Sequence[Candidate],
    starts: Sequence[Start],
    observe: Observe | None,
) -> list[Candidate]:
    """Fit candidates from a mixture each, by passes that they share; without the entropy."""
    weight = source.total_weight
    found = {}

    def end(number: int, fit: JointFit) -> None:
        if fit.failure is not None:
            found[number] = blank[number].failed(fit.failure)
        else:
            found[number] = blank[number].fitted(
                lambda: fit.parameters, fit, weight, weight * fit.log_likelihood, math.nan
            )
        if observe is not None:
            observe(found[number])

    rule = ExtrapolatedGain(max(plan.tol, ROUNDING[source.dtype.itemsize]), 1.0 / weight)
    fit_jointly(
        source,
        [
            JointStart(_in_structure(start, each.structure, weight, plan), each.structure, rule)
            for start, each in zip(starts, blank, strict=True)
        ],
        plan.regularization,
        max_iter=plan.max_iter,
        accelerated=plan.accelerated,
        n_jobs=plan.n_jobs,
        observe=end,
    )
    return [found[number] for number in range(len(blank))]


def _in_structure(
    start: Start, kind: CovarianceStructure, weight: float, plan: SearchPlan
) -> MixtureParameters:
    """Return what the M-step makes of rows spread as a mixture has them; itself if it cannot."""
    mixture = start.mixture if kind.is_diagonal else with_matrices(start.mixture)
    if start.member:
        return mixture
    try:
        return kind.solve(_as_statistics(mixture, weight), plan.regularization)
    except IllDefinedCovarianceError:
        return mixture


def with_entropies(
    source: Source, candidates: Iterable[Candidate], plan: SearchPlan
) -> list[Candidate]:
    """Return candidates with the entropies of their responsibilities, in one reading."""
    found = list(candidates)
    lacking = [i for i, each in enumerate(found) if each.mixture and math.isnan(each.icl)]
    if lacking:
        mixtures = [found[i].parameters() for i in lacking]
        entropies = assignment_entropies(source, mixtures, n_jobs=plan.n_jobs)
        for i, entropy in zip(lacking, entropies, strict=True):
            found[i] = replace(found[i], icl=found[i].bic + 2.0 * entropy)
    return found


def _free(statistics: SufficientStatistics) -> CovarianceStructure:
    """Return the structure that leaves covariances as they are."""
    return structure("VVI" if statistics.is_diagonal else "VVV")


def _as_statistics(parameters: MixtureParameters, weight: float) -> SufficientStatistics:
    """Return statistics of rows that are spread as a mixture has them."""
    return SufficientStatistics.from_covariances(
        weight * parameters.weights, parameters.means, parameters.covariances()
    )


def refine(
    source: Source, plan: SearchPlan, candidate: Candidate
) -> tuple[Candidate, MixtureParameters, FitInfo]:
    """Fit one mixture of a search to a smaller tolerance."""
    if is_small_search(source, plan):
        fits = CandidateFits(source, plan, [candidate])
        (refined,) = fits.fit(fits.own_starts([0]), plan.tol)
        if refined.failure is not None:
            raise IllDefinedCovarianceError(refined.failure)
        candidate = replace(refined, n_iter=candidate.n_iter + refined.n_iter)
    level = (1.0 + abs(candidate.log_likelihood)) / source.total_weight
    parameters, info = fit_best(
        EMProblem(source, candidate.structure, plan.regularization, n_jobs=plan.n_jobs),
        Starts.at(candidate.parameters()),
        SmallChange(plan.tol * level),
        plan.max_iter,
    )
    total = source.total_weight * info.trace[-1]
    entropy = assignment_entropy(source, parameters, n_jobs=plan.n_jobs)
    ended = candidate.fitted(lambda: parameters, info, source.total_weight, total, entropy)
    return ended, parameters, info


def cross_validated(
    candidates: Sequence[Candidate],
    splits: Iterable[Split],
    partition: Callable[[ArraySource], Partitions],
    plan: SearchPlan,
) -> list[Candidate]:
    """Return candidates with how likely rows are under mixtures fitted without them."""
    totals = np.zeros(len(candidates))
    failures = [each.failure for each in candidates]
    weight = 0.0
    for number, (training, test) in enumerate(splits, start=1):
        fits = fit_candidates(training, partition(training.clustered), plan)
        for i, fit in enumerate(fits):
            if failures[i] is None and fit.mixture is None:
                failures[i] = f"without the rows of fold {number}, {fit.failure}"
            if failures[i] is None and fit.mixture is not None:
                totals[i] += log_likelihood(test, fit.mixture(), n_jobs=plan.n_jobs)
        weight += test.total_weight
    return [
        replace(each, failure=failure, held_out=math.nan if failure else float(total) / weight)
        for each, failure, total in zip(candidates, failures, totals, strict=True)
    ]


def split_by_numbers(
    source: ArraySource, learned: npt.NDArray[np.int64], held_out: npt.NDArray[np.int64]
) -> Split:
    """Return rows to learn and rows held out, of which the numbers are given."""
    training, test = _chosen(source, learned), _chosen(source, held_out)
    return SearchedRows(training, training), test


def split_partitions(
    source: Source, number: int, n_folds: int, seed: int, most_clustered: int | None
) -> Split:
    """Return rows to learn and rows held out, drawn in each partition."""
    draw = partial(_drawn_fold, number=number, n_folds=n_folds, seed=seed)
    training = source.changed(partial(draw, held_out=False))
    test = source.changed(partial(draw, held_out=True))
    assert training is not None  # as the rows lie in partitions
    assert test is not None
    scanned = scan_data(training, 1, 0.0, "auto", seed=seed)
    clustered = scanned.sample
    if most_clustered is not None and clustered.n_samples > most_clustered:
        clustered = random_rows(clustered, most_clustered, seed)
    return SearchedRows(training, clustered, scanned.sample if scanned.subsampled else None), test


def _drawn_fold(
    source: ArraySource, *, number: int, n_folds: int, seed: int, held_out: bool
) -> ArraySource:
    """Return the rows of a partition that are in a fold, or those that are not."""
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(source.partition or 0,)))
    return source.chosen((random.integers(n_folds, size=source.n_samples) == number) == held_out)


def _chosen(source: ArraySource, numbers: npt.NDArray[np.int64]) -> ArraySource:
    weights = None if source.weights is None else source.weights[numbers]
    return ArraySource(source.rows(numbers), weights, incomplete=source.incomplete)
