"""Lloyd's algorithm for k-means: the limit of a spherical mixture as its variance goes to zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import exponent_of_weights, scaled_weights
from fastgmm.em.e_step.passes import moments_and_sample
from fastgmm.em.e_step.reservoir import Sampling
from fastgmm.em.initialization.data_scan import sample_size
from fastgmm.em.initialization.kmeans_passes import (
    kmeans_plus_plus,
    lloyd_statistics,
    nearest_centers,
)

#: Draws starting centers of shape (n_clusters, n_features) with the generator given.
Centeredraw: TypeAlias = Callable[[np.random.RandomState], NDArray[np.floating]]

#: A name, the centers themselves, or a function that draws them.
KMeansStart: TypeAlias = Literal["k-means++", "random"] | NDArray[np.floating] | Centeredraw

#: Takes the run, the iteration, its inertia and how far the centers moved (squared, in all).
LloydListener: TypeAlias = Callable[[int, int, float, float], None]


@dataclass(frozen=True, slots=True)
class KMeansResult:
    """The best of the runs of Lloyd's algorithm."""

    labels: NDArray[np.int64] | None
    """(n_samples,): the cluster whose center, among `centers`, is nearest to each row; None of rows
    that lie in partitions.
    """
    sizes: NDArray[np.int64]  # (n_clusters,): how many rows each cluster has
    centers: NDArray[np.float64]  # (n_clusters, n_features): the centers
    inertia: float  # sum over the rows of weight times squared distance to the nearest of `centers`
    n_iter: int  # number of updates of the centers
    converged: bool  # whether the centers converged before `max_iter`


@dataclass(frozen=True, slots=True, eq=False)
class KMeansSettings:
    """How rows are clustered."""

    init: KMeansStart = "k-means++"
    n_init: int = 1
    max_iter: int = 300
    tol: float = 1e-4
    """Smallest squared movement of the centers, relative to the variance of the features."""


DEFAULTS = KMeansSettings()

_MANY_CLUSTERS = 256
"""From so many clusters on, centers for rows in partitions are drawn from all of them."""

_ROUNDS = 5
"""Rounds of k-means||: Bahmani et al. find that more hardly help."""


class Assignment(NamedTuple):
    """Rows by their nearest centers."""

    labels: NDArray[np.int64] | None  # (n_samples,); None of rows that lie in partitions
    sizes: NDArray[np.int64]  # (n_clusters,): how many rows each cluster has
    inertia: float  # sum over the rows of weight times squared distance

    def plus(self, other: Assignment) -> Assignment:
        """Return that of both sets of rows, without their labels."""
        return Assignment(None, self.sizes + other.sizes, self.inertia + other.inertia)


def assign(
    source: Source, centers: NDArray[np.float64], *, n_jobs: int | None = None
) -> Assignment:
    """Return which of the centers is nearest to each row, and how far away they are together."""
    return source.fold(partial(_assigned, centers=centers), Assignment.plus)(n_jobs=n_jobs)


def _assigned(source: Source, *, centers: NDArray[np.float64], n_jobs: int | None) -> Assignment:
    assert isinstance(source, ArraySource)
    labels, distances = nearest_centers(source, centers, n_jobs=n_jobs)
    sizes = np.bincount(labels, minlength=len(centers))
    inertia = _weighted_sum(distances, source.weights)
    return Assignment(labels if source.partition is None else None, sizes, inertia)


def fit_kmeans(
    source: Source,
    n_clusters: int,
    random_state: np.random.RandomState,
    settings: KMeansSettings = DEFAULTS,
    *,
    n_jobs: int | None = None,
    listener: LloydListener | None = None,
) -> KMeansResult:
    """Cluster the rows of a source by k-means.

    A cluster that lost all its rows moves to the row farthest from its center.
    """
    _check_enough_rows(source, n_clusters)
    source, exponent = scaled_weights(source), exponent_of_weights(source)
    tolerance = _tolerance(source, settings.tol, n_jobs)
    best: KMeansResult | None = None
    for run in range(settings.n_init):
        start = starting_centers(source, n_clusters, random_state, settings.init, n_jobs=n_jobs)
        result = _run(source, start, run, settings.max_iter, tolerance, n_jobs, listener)
        if best is None or result.inertia < best.inertia:
            best = result
    assert best is not None
    with np.errstate(over="ignore"):
        return replace(best, inertia=float(np.ldexp(best.inertia, -exponent)))


def starting_centers(
    source: Source,
    n_clusters: int,
    random_state: np.random.RandomState,
    init: KMeansStart,
    *,
    n_jobs: int | None = None,
) -> NDArray[np.float64]:
    """Return the centers a run begins with, shape (n_clusters, n_features), float64."""
    if isinstance(init, np.ndarray):
        return np.array(init, dtype=np.float64)
    if callable(init):
        return np.array(init(random_state), dtype=np.float64)
    if not isinstance(source, ArraySource):
        if init == "k-means++" and draws_from_all(source, n_clusters):
            return scalable_centers(source, n_clusters, random_state, n_jobs=n_jobs)
        source = _sample(source, n_clusters, random_state, n_jobs)
    if init == "k-means++":
        indices = kmeans_plus_plus(source, n_clusters, random_state, n_jobs=n_jobs)
    elif source.weights is None:
        indices = sample_without_replacement(
            source.n_samples, n_clusters, random_state=random_state
        )
    else:
        indices = random_state.choice(
            source.n_samples,
            size=n_clusters,
            replace=False,
            p=source.weights / source.weights.sum(),
        )
    return source.rows(indices).astype(np.float64)


def draws_from_all(source: Source, n_clusters: int) -> bool:
    """Say whether centers are drawn from all rows, in partitions, and not from a sample of them."""
    return source.partition_sizes is not None and n_clusters >= _MANY_CLUSTERS


def scalable_centers(
    source: Source,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    n_jobs: int | None = None,
) -> NDArray[np.float64]:
    """Return starting centers by k-means|| (Bahmani et al. 2012).

    Each round draws about twice as many rows as there are clusters, with probabilities
    proportional to weight times squared distance to the nearest of those before. They are
    clustered with the weights of the rows that are nearest to each.
    """
    seed = int(random_state.randint(np.iinfo(np.int32).max))
    found = _sample(source, n_clusters, random_state, n_jobs).X[:n_clusters].astype(np.float64)
    candidates = found[:1]
    for number in range(_ROUNDS):
        cost = assign(source, candidates, n_jobs=n_jobs).inertia
        if not cost > 0.0:
            break
        work = partial(
            _drawn, centers=candidates, rate=2.0 * n_clusters / cost, seed=seed, number=number
        )
        drawn = source.fold(work, _both)(n_jobs=n_jobs)
        candidates = np.concatenate([candidates, drawn])
    if len(candidates) < n_clusters:
        candidates = np.concatenate([candidates, found])
    counts, _, _ = lloyd_statistics(source, candidates, n_jobs=n_jobs)
    if np.count_nonzero(counts) < n_clusters:
        return candidates[np.argsort(-counts, kind="stable")[:n_clusters]]
    return fit_kmeans(
        ArraySource(candidates, counts), n_clusters, random_state, n_jobs=n_jobs
    ).centers


def _drawn(
    source: Source,
    *,
    centers: NDArray[np.float64],
    rate: float,
    seed: int,
    number: int,
    n_jobs: int | None,
) -> NDArray[np.float64]:
    """Return rows drawn with probabilities proportional to their share of the inertia."""
    assert isinstance(source, ArraySource)
    _, distances = nearest_centers(source, centers, n_jobs=n_jobs)
    chances = rate * distances if source.weights is None else rate * distances * source.weights
    key = (number, source.partition or 0)
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    chosen = np.flatnonzero(random.random(len(chances)) < chances)
    return source.rows(chosen).astype(np.float64)


def _both(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([one, other])


def _sample(
    source: Source, n_clusters: int, random_state: np.random.RandomState, n_jobs: int | None
) -> ArraySource:
    """Return a sample of the rows that have weight."""
    size = sample_size(n_clusters, source.n_features, source.dtype.itemsize)
    sampling = Sampling(size, int(random_state.randint(2**31 - 1)), source.partition_sizes)
    _, sample = moments_and_sample(source, sampling, diagonal=True, n_jobs=n_jobs)
    assert sample is not None  # it was asked for
    return sample.source(incomplete=False)


def mean_variance(source: Source, *, n_jobs: int | None = None) -> float:
    """Return the weighted variance of each feature, averaged over the features.

    Two passes with a single center: the first finds the mean, so that the second subtracts it
    before squaring and loses no digits on data far from the origin.
    """
    center = source.some_rows(1)
    counts, sums, _ = lloyd_statistics(source, center, n_jobs=n_jobs)
    center += sums / counts[0]
    _, _, inertia = lloyd_statistics(source, center, n_jobs=n_jobs)
    return float(inertia / counts[0] / source.n_features)


def _tolerance(source: Source, tol: float, n_jobs: int | None) -> float:
    """Return the squared movement of the centers at which they count as converged."""
    if tol == 0:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        variance = mean_variance(source, n_jobs=n_jobs)
    if not np.isfinite(variance):
        largest = max(float(np.abs(X).max()) for X, _ in source.blocks())
        raise ValueError(
            f"the values of X are too large, up to {largest:.3g} in size: their "
            "squares, times the sample weights, overflow; divide them or the weights by a constant"
        )
    return tol * variance


def _check_enough_rows(source: Source, n_clusters: int) -> None:
    assert source.n_samples is not None  # the rows have been read
    available, rows = source.n_samples, f"n_samples={source.n_samples}"
    if source.has_weights:
        if isinstance(source, ArraySource):
            assert source.weights is not None  # it has some
            available = int(np.count_nonzero(source.weights))
        else:
            assert source.partition_sizes is not None  # rows that lie in partitions
            available = int(source.partition_sizes.sum())
        rows = f"the number of rows with a positive sample_weight, {available},"
    if available < n_clusters:
        raise ValueError(f"{rows} should be >= n_clusters={n_clusters}.")


def _run(
    source: Source,
    centers: NDArray[np.float64],
    run: int,
    max_iter: int,
    tolerance: float,
    n_jobs: int | None,
    listener: LloydListener | None,
) -> KMeansResult:
    converged = False
    n_iter = 0
    while n_iter < max_iter and not converged:
        counts, sums, inertia = lloyd_statistics(source, centers, n_jobs=n_jobs)
        moved = _moved(source, centers, counts, sums, n_jobs)
        shift = moved - centers
        total = float(np.vdot(shift, shift))
        converged = total <= tolerance or _is_rounding(shift, centers, counts, inertia)
        if listener is not None:
            listener(run, n_iter, inertia, total)
        centers = moved
        n_iter += 1
    found = assign(source, centers, n_jobs=n_jobs)
    return KMeansResult(found.labels, found.sizes, centers, found.inertia, n_iter, converged)


def _moved(
    source: Source,
    centers: NDArray[np.float64],
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
    n_jobs: int | None,
) -> NDArray[np.float64]:
    """Return the means of the clusters, with each empty one at a row far from its center."""
    empty = np.flatnonzero(counts <= 0)
    if empty.size == 0:
        return centers + sums / counts[:, None]
    counts, sums, origin = counts.copy(), sums.copy(), centers.copy()
    work = partial(_farthest, centers=centers, number=len(empty))
    merge = partial(_FarRows.plus, number=len(empty))
    farthest = source.fold(work, merge)(n_jobs=n_jobs)
    for cluster, distance, previous, weight, point in zip(empty, *farthest, strict=True):
        if distance == 0.0:
            break  # every row sits on a center: there is nowhere better to go
        sums[previous] -= weight * (point - origin[previous])
        counts[previous] -= weight
        origin[cluster], counts[cluster] = point, weight
    moved = origin
    filled = counts > 0
    moved[filled] += sums[filled] / counts[filled, None]
    return moved


class _FarRows(NamedTuple):
    """Rows far from their centers, the farthest first."""

    distances: NDArray[np.float64]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    points: NDArray[np.float64]

    def first(self, number: int) -> _FarRows:
        """Return the farthest of them."""
        order = np.argsort(-self.distances, kind="stable")[:number]
        return _FarRows(
            self.distances[order], self.labels[order], self.weights[order], self.points[order]
        )

    def plus(self, other: _FarRows, number: int) -> _FarRows:
        """Return the farthest of both sets of rows."""
        return _FarRows(
            np.concatenate([self.distances, other.distances]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.points, other.points]),
        ).first(number)


def _farthest(
    source: Source, *, centers: NDArray[np.float64], number: int, n_jobs: int | None
) -> _FarRows:
    """Return so many rows that are farthest from their centers; fewer where there are fewer."""
    assert isinstance(source, ArraySource)
    labels, distances = nearest_centers(source, centers, n_jobs=n_jobs)
    weights = np.ones(len(labels)) if source.weights is None else source.weights
    distances = np.where(weights > 0, distances, 0.0)
    rows = np.argpartition(distances, -min(number, len(distances)))[-number:]
    points = source.rows(rows).astype(np.float64)
    return _FarRows(distances[rows], labels[rows], weights[rows], points).first(number)


def _is_rounding(
    shift: NDArray[np.float64],
    centers: NDArray[np.float64],
    counts: NDArray[np.float64],
    inertia: float,
) -> bool:
    """Say whether the movement is what rounding alone makes of rows that kept their labels."""
    radius = np.sqrt(inertia / counts.sum())
    return bool(np.all(np.abs(shift) <= 8 * np.finfo(np.float64).eps * (np.abs(centers) + radius)))


def _weighted_sum(distances: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    """Return the sum of weights times distances; what has no weight may be infinite."""
    if weights is None:
        return float(distances.sum())
    return float(np.where(weights > 0, distances, 0.0) @ weights)
