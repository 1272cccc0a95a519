"""Where EM starts: parameters from labels, from chosen rows, at random, or as the user gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import labeled_statistics, responsibility_statistics
from fastgmm.em.initialization import hierarchical
from fastgmm.em.initialization.factors import factor_start
from fastgmm.em.initialization.kmeans import (
    DEFAULTS,
    KMeansSettings,
    draws_from_all,
    fit_kmeans,
    scalable_centers,
)
from fastgmm.em.initialization.kmeans_passes import (
    kmeans_plus_plus,
    markov_chain_rows,
    nearest_centers,
)
from fastgmm.em.initialization.labels import KnownRows, LabeledComponents, fewest_rows
from fastgmm.em.initialization.random_rows import random_rows
from fastgmm.em.missing.completed_rows import CompletedSource, lacks_values
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.noise import INITIAL_SHARE
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray, SufficientStatistics, pool
from fastgmm.mixture.structures import FactorStructure

InitMethod = Literal["kmeans", "k-means++", "afk-mc2", "random", "random_from_data", "hierarchical"]

INIT_METHODS: tuple[InitMethod, ...] = (
    "kmeans",
    "k-means++",
    "afk-mc2",
    "random",
    "random_from_data",
    "hierarchical",
)

RESPONSIBILITIES_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class InitializationInfo:
    """How initial parameters were found.

    Attributes
    ----------
    method : str
        One of `INIT_METHODS`, "labels" or "given".
    n_rows : int
        Number of rows they were found from; 0 if all parameters were given.
    subsampled : bool
        Whether those rows are a random subsample of the data.
    n_candidates : int or None
        Number of starts that were compared on those rows; None in files of versions that compared
        none.
    """

    method: str
    n_rows: int
    subsampled: bool
    n_candidates: int | None = 1


@dataclass(frozen=True, slots=True, eq=False)
class InitSettings:
    """How a start is found."""

    random_state: np.random.RandomState  # what rows are drawn with
    method: InitMethod = "kmeans"  # one of `INIT_METHODS`
    labels: npt.NDArray[np.int64] | None = None
    """(n_samples,): components of the rows, -1 for those that say nothing; they take the place of
    the method.
    """
    subsampled: bool = False  # whether the rows to start from are a sample
    n_jobs: int | None = None  # number of threads
    kmeans: KMeansSettings = DEFAULTS  # how rows are clustered by k-means
    number: int = 0  # which of the starts of a fit it is

    def drawn_from(self, source: Source, n_components: int) -> InitSettings:
        """Return the settings with centers from all rows, if they lie in partitions."""
        by_kmeans = self.method == "kmeans" and self.labels is None and not source.incomplete
        if not (by_kmeans and draws_from_all(source, n_components)):
            return self
        found = scalable_centers(source, n_components, self.random_state, n_jobs=self.n_jobs)
        return replace(self, kmeans=replace(self.kmeans, init=found))


@dataclass(frozen=True, slots=True, eq=False)
class GivenStart:
    """The parts of a mixture's start that the user gave; None for those to be found."""

    weights: FloatArray | None = None  # (n_components,): weights that sum to 1
    means: FloatArray | None = None  # (n_components, n_features): means
    precisions: FloatArray | None = None
    """Symmetric precisions in the shape of the covariance structure."""

    @property
    def is_empty(self) -> bool:
        """Whether all is to be found."""
        return self.weights is None and self.means is None and self.precisions is None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be found."""
        return not (self.weights is None or self.means is None or self.precisions is None)


NOTHING_GIVEN = GivenStart()


def initialize(
    problem: EMProblem,
    rows: Source,
    n_components: int,
    settings: InitSettings,
    given: GivenStart = NOTHING_GIVEN,
) -> tuple[MixtureParameters, InitializationInfo]:
    """Return parameters for EM to start from, found from the rows of a problem or a sample."""
    structure = problem.structure
    if given.weights is not None and given.means is not None and given.precisions is not None:
        found = structure.from_precisions(given.weights, given.means, given.precisions)
        info = InitializationInfo("given", 0, subsampled=False)
    else:
        found, info = _found(problem, rows, n_components, settings)
        if given.precisions is not None:
            found = structure.from_precisions(found.weights, found.means, given.precisions)
        if given.means is not None:
            found = replace(found, means=np.ascontiguousarray(given.means, dtype=np.float64))
        if given.weights is not None:
            with np.errstate(divide="ignore"):  # a weight of 0 is allowed
                found = replace(found, log_weights=np.log(given.weights))
    if problem.noise is not None:
        found = problem.noise.added(found, INITIAL_SHARE)
    return found, info


def _found(
    problem: EMProblem, rows: Source, n_components: int, settings: InitSettings
) -> tuple[MixtureParameters, InitializationInfo]:
    """Return the parameters that follow from rows alone."""
    kind = problem.structure
    diagonal = kind.is_diagonal or isinstance(kind, FactorStructure)
    labeled = None
    if problem.known is not None and settings.labels is None:
        labeled = LabeledComponents.of(
            KnownRows(problem.source, problem.known),
            n_components,
            diagonal=diagonal,
            random_state=settings.random_state,
            n_jobs=settings.n_jobs,
        )
    if labeled is not None and labeled.suffice:
        statistics = labeled.statistics
        info = InitializationInfo("labels", int(labeled.sizes.sum()), subsampled=False)
    else:
        settings = settings.drawn_from(problem.source, n_components)
        rows = _whole_rows(rows, settings, diagonal)
        if settings.labels is None:
            rows = problem.starting_rows(rows)
        statistics, info = initial_statistics(rows, n_components, settings, diagonal=diagonal)
        if labeled is not None:
            statistics = labeled.leading(statistics)
    if isinstance(kind, FactorStructure):
        shares = None
        if settings.number:  # there are many maxima, which differ in the features without noise
            shares = settings.random_state.uniform(0.05, 0.95, statistics.first.shape)
        whole, n_jobs = _whole_rows(rows, settings, diagonal), settings.n_jobs
        return factor_start(kind, whole, statistics, problem.regularization, shares, n_jobs), info
    if problem.prior is None:
        return problem.structure.solve(statistics, problem.regularization), info
    return problem.prior.solve(statistics, problem.structure), info


def _whole_rows(rows: Source, settings: InitSettings, diagonal: bool) -> Source:
    """Return rows with draws in place of what is missing, as clusters are found from whole ones."""
    if not lacks_values(rows):
        return rows
    completed = CompletedSource(
        rows, diagonal=diagonal, random_state=settings.random_state, n_jobs=settings.n_jobs
    )
    return completed if settings.labels is not None else completed.in_memory()


def initial_statistics(
    source: Source, n_components: int, settings: InitSettings, *, diagonal: bool
) -> tuple[SufficientStatistics, InitializationInfo]:
    """Return statistics whose M-step is a start."""
    random_state, n_jobs = settings.random_state, settings.n_jobs
    source = _whole_rows(source, settings, diagonal)
    described, subsampled = str(settings.method), settings.subsampled
    if settings.labels is not None:
        described = "labels"
        statistics = labeled_statistics(
            source, settings.labels, n_components, diagonal=diagonal, n_jobs=n_jobs
        )
        if not statistics.counts.any():
            raise ValueError(
                "the labels to start from are -1 for every row that counts; label at least one row"
            )
        statistics = _filled(statistics, source)
    else:
        assert isinstance(source, ArraySource)
        _require_rows(source, n_components)
        most = max(hierarchical.MOST_AGGLOMERATED, n_components)
        if settings.method == "hierarchical" and source.n_samples > most:
            seed = random_state.randint(np.iinfo(np.int32).max)
            source, subsampled = random_rows(source, most, seed), True
        statistics = _METHODS[settings.method](source, n_components, diagonal, settings)
    assert source.n_samples is not None  # all of its rows have been read
    return statistics, InitializationInfo(described, source.n_samples, subsampled)


def _require_rows(source: ArraySource, n_components: int) -> None:
    """Raise if there are fewer rows that count than components."""
    if source.weights is None:
        available, which = source.n_samples, "rows"
    else:
        available, which = int(np.count_nonzero(source.weights)), "rows of positive sample_weight"
    if available < n_components:
        raise ValueError(
            f"n_components={n_components} needs at least as many {which}; got {available}"
        )


def _from_kmeans(
    rows: ArraySource, n_components: int, diagonal: bool, settings: InitSettings
) -> SufficientStatistics:
    clusters = fit_kmeans(
        rows, n_components, settings.random_state, settings.kmeans, n_jobs=settings.n_jobs
    )
    statistics = labeled_statistics(
        rows, clusters.labels, n_components, diagonal=diagonal, n_jobs=settings.n_jobs
    )
    return _filled(statistics, rows, clusters.centers)


def _from_hierarchy(
    rows: ArraySource, n_components: int, diagonal: bool, settings: InitSettings
) -> SufficientStatistics:
    merges = hierarchical.agglomerate(rows.X, weights=rows.weights)
    clusters = hierarchical.labels(merges, min(n_components, merges.n_groups))
    statistics = labeled_statistics(
        rows, clusters, n_components, diagonal=diagonal, n_jobs=settings.n_jobs
    )
    # Rows that repeat others add nothing to the rank of a covariance.
    _, first = np.unique(merges.groups, return_index=True)
    members = clusters[first]
    sizes = np.bincount(members[members >= 0], minlength=n_components)
    return _filled(statistics, rows, few=sizes < fewest_rows(rows.n_features, diagonal))


def _from_random_responsibilities(
    rows: ArraySource, n_components: int, diagonal: bool, settings: InitSettings
) -> SufficientStatistics:
    statistics: SufficientStatistics | None = None
    step = max(1, RESPONSIBILITIES_AT_ONCE // n_components)
    for first in range(0, rows.n_samples, step):
        piece = rows if rows.n_samples <= step else ArraySource(*rows.slice(first, first + step))
        responsibilities = settings.random_state.uniform(size=(piece.n_samples, n_components))
        responsibilities /= responsibilities.sum(axis=1, keepdims=True)
        added = responsibility_statistics(
            piece, responsibilities, diagonal=diagonal, n_jobs=settings.n_jobs
        )
        statistics = added if statistics is None else statistics + added
    assert statistics is not None
    return statistics


def _from_seeding(
    rows: ArraySource, n_components: int, diagonal: bool, settings: InitSettings
) -> SufficientStatistics:
    chosen = kmeans_plus_plus(rows, n_components, settings.random_state, n_jobs=settings.n_jobs)
    return _around(rows, chosen, diagonal, settings.n_jobs)


def _from_chains(
    rows: ArraySource, n_components: int, diagonal: bool, settings: InitSettings
) -> SufficientStatistics:
    chosen = markov_chain_rows(rows, n_components, settings.random_state, n_jobs=settings.n_jobs)
    return _around(rows, chosen, diagonal, settings.n_jobs)


def _from_rows(
    rows: ArraySource, n_components: int, diagonal: bool, settings: InitSettings
) -> SufficientStatistics:
    chances = None if rows.weights is None else rows.weights / rows.weights.sum()
    chosen = settings.random_state.choice(
        rows.n_samples, size=n_components, replace=False, p=chances
    )
    return _around(rows, chosen, diagonal, settings.n_jobs)


_METHODS = {
    "kmeans": _from_kmeans,
    "k-means++": _from_seeding,
    "afk-mc2": _from_chains,
    "random": _from_random_responsibilities,
    "random_from_data": _from_rows,
    "hierarchical": _from_hierarchy,
}


def _around(
    rows: ArraySource,
    chosen: npt.NDArray[np.int64],
    diagonal: bool,
    n_jobs: int | None,
) -> SufficientStatistics:
    """Return components at the chosen rows, each as wide as the rows nearest to it."""
    centers = rows.rows(chosen).astype(np.float64)
    labels, _ = nearest_centers(rows, centers, n_jobs=n_jobs)
    statistics = labeled_statistics(
        rows, labels, len(centers), diagonal=diagonal, n_jobs=n_jobs
    ).about(centers)
    about_centers = replace(statistics, first=np.zeros_like(statistics.first))
    sizes = np.bincount(labels, minlength=len(centers))
    return _filled(about_centers, rows, few=sizes < fewest_rows(rows.n_features, diagonal))


def _filled(
    statistics: SufficientStatistics,
    rows: Source,
    means: FloatArray | None = None,
    *,
    few: npt.NDArray[np.bool_] | None = None,
) -> SufficientStatistics:
    """Return the statistics with a spread for every component that has none.

    Components without points get the weight of one average row and stay at their mean, if
    given, or at their reference; they and those marked as having few points get the pooled
    covariance of the others.
    """
    empty = statistics.empty()
    borrowing = empty if few is None else empty | few
    if not borrowing.any():
        return statistics
    lending = np.where(borrowing, 0.0, statistics.counts)
    if not lending.any():
        lending = statistics.counts
    pooled = pool(statistics.covariances(), lending)
    reference, counts = statistics.reference.copy(), statistics.counts.copy()
    first, second = statistics.first.copy(), statistics.second.copy()
    if means is not None:
        reference[empty] = means[empty]
    assert rows.n_samples is not None  # the statistics are of all of them
    counts[empty] = rows.total_weight / rows.n_samples
    first[empty] = 0.0
    for k in np.flatnonzero(borrowing):
        offset = first[k] / counts[k]
        about_mean = offset * offset if statistics.is_diagonal else np.outer(offset, offset)
        second[k] = counts[k] * (pooled + about_mean)
    return replace(statistics, reference=reference, counts=counts, first=first, second=second)
