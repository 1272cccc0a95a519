"""Lloyd's algorithm for k-means: the limit of a spherical mixture as its variance goes to zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement

from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.scaled_weights import scaled_weights, weight_exponent
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

    labels: NDArray[np.int64]
    """(n_samples,): the cluster whose center, among `centers`, is nearest to each row."""
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


def fit_kmeans(
    source: ArraySource,
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
    weights, source = source.weights, scaled_weights(source)
    tolerance = _tolerance(source, settings.tol, n_jobs)
    best: KMeansResult | None = None
    for run in range(settings.n_init):
        start = starting_centers(source, n_clusters, random_state, settings.init, n_jobs=n_jobs)
        result = _run(source, start, run, settings.max_iter, tolerance, n_jobs, listener)
        if best is None or result.inertia < best.inertia:
            best = result
    assert best is not None
    exponent = 0 if weights is None else weight_exponent(weights)
    with np.errstate(over="ignore"):
        return replace(best, inertia=float(np.ldexp(best.inertia, -exponent)))


def starting_centers(
    source: ArraySource,
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


def mean_variance(source: ArraySource, *, n_jobs: int | None = None) -> float:
    """Return the weighted variance of each feature, averaged over the features.

    Two passes with a single center: the first finds the mean, so that the second subtracts it
    before squaring and loses no digits on data far from the origin.
    """
    # A row of weight 0 may be too far away to begin from.
    first = 0 if source.weights is None else int(source.weights.argmax())
    center = source.rows(np.array([first])).astype(np.float64)
    counts, sums, _ = lloyd_statistics(source, center, n_jobs=n_jobs)
    center += sums / counts[0]
    _, _, inertia = lloyd_statistics(source, center, n_jobs=n_jobs)
    return float(inertia / counts[0] / source.n_features)


def _tolerance(source: ArraySource, tol: float, n_jobs: int | None) -> float:
    """Return the squared movement of the centers at which they count as converged."""
    if tol == 0:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        variance = mean_variance(source, n_jobs=n_jobs)
    if not np.isfinite(variance):
        raise ValueError(
            f"the values of X are too large, up to {np.abs(source.X).max():.3g} in size: their "
            "squares, times the sample weights, overflow; divide them or the weights by a constant"
        )
    return tol * variance


def _check_enough_rows(source: ArraySource, n_clusters: int) -> None:
    if source.weights is None:
        available, rows = source.n_samples, f"n_samples={source.n_samples}"
    else:
        available = int(np.count_nonzero(source.weights > 0))
        rows = f"the number of rows with a positive sample_weight, {available},"
    if available < n_clusters:
        raise ValueError(f"{rows} should be >= n_clusters={n_clusters}.")


def _run(
    source: ArraySource,
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
    labels, distances = nearest_centers(source, centers, n_jobs=n_jobs)
    inertia = weighted_sum(distances, source.weights)
    return KMeansResult(labels, centers, inertia, n_iter, converged)


def _moved(
    source: ArraySource,
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
    labels, distances = nearest_centers(source, centers, n_jobs=n_jobs)
    if source.weights is not None:
        distances = np.where(source.weights > 0, distances, 0.0)
    farthest = np.argpartition(distances, -empty.size)[-empty.size :]
    farthest = farthest[np.argsort(-distances[farthest], kind="stable")]
    for cluster, row in zip(empty, farthest, strict=True):
        if distances[row] == 0.0:
            break  # every row sits on a center: there is nowhere better to go
        point = source.rows(np.array([row])).astype(np.float64)[0]
        weight = 1.0 if source.weights is None else float(source.weights[row])
        previous = labels[row]
        sums[previous] -= weight * (point - origin[previous])
        counts[previous] -= weight
        origin[cluster], counts[cluster] = point, weight
    moved = origin
    filled = counts > 0
    moved[filled] += sums[filled] / counts[filled, None]
    return moved


def _is_rounding(
    shift: NDArray[np.float64],
    centers: NDArray[np.float64],
    counts: NDArray[np.float64],
    inertia: float,
) -> bool:
    """Say whether the movement is what rounding alone makes of rows that kept their labels."""
    radius = np.sqrt(inertia / counts.sum())
    return bool(np.all(np.abs(shift) <= 8 * np.finfo(np.float64).eps * (np.abs(centers) + radius)))


def weighted_sum(distances: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    """Return the sum of weights times distances; what has no weight may be infinite."""
    if weights is None:
        return float(distances.sum())
    return float(np.where(weights > 0, distances, 0.0) @ weights)
