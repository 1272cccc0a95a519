"""The passes of k-means over a data source: nearest centers, Lloyd's sums, seeding."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.accumulator import split_in_two
from fastgmm.kernels import kmeans_pass
from fastgmm.kernels.mixture_pass import PassTask, mixture_slot
from fastgmm.kernels.threads import run_slots
from fastgmm.kernels.tiles import BLOCK_ROWS, lane_count, slot_count

FloatArray = npt.NDArray[np.float64]

_CHAIN = 100
"""Rows of a chain of AFK-MC²: more hardly help where Bachem et al. measure it."""

_CHAINS_AT_ONCE = 32
"""Chains whose rows are compared with the centers before them together."""


def _run(
    source: Source,
    centers: FloatArray,
    mode: int,
    n_jobs: int | None,
    *,
    scale: float,
    distances: FloatArray | None = None,
    labels: npt.NDArray[np.int64] | None = None,
) -> PassTask:
    """Run a pass about the centers' median and return its task."""
    n_centers, n_features = centers.shape
    dtype = source.dtype
    high, low = split_in_two(_middle(centers), dtype)
    n_slots = slot_count(8 * n_centers * (n_features + 1))
    assert source.n_samples is not None  # rows in memory
    used = min(n_slots, -(-source.n_samples // BLOCK_ROWS))
    lanes = lane_count(n_features, n_centers, dtype.itemsize)
    rounded, rest = split_in_two(centers, dtype)
    no_weights = np.empty(0)
    task = PassTask(
        X=np.empty((0, n_features), dtype),
        weights=no_weights,
        first_block=0,
        lanes=lanes,
        diagonal=True,
        mode=mode,
        n_slots=n_slots,
        constants=np.zeros(n_centers, dtype),
        offset=0.0,
        whiteners=np.full(n_centers * n_features, scale, dtype),
        shifts=(scale * (_middle(centers) - centers)).astype(dtype).ravel(),
        center=high,
        center_low=low,
        references=rounded,
        references_low=rest,
        shared=True,
        pooled=False,
        margin=np.inf,
        near=np.empty(0, np.int64),
        counts=np.zeros((used, n_centers)),
        first=np.zeros((used, n_centers * n_features)),
        second=np.zeros((used, 0)),
        likelihood=np.zeros((used, lanes)),
        log_density=np.empty(0) if distances is None else distances,
        labels=np.empty(0, np.int64) if labels is None else labels,
        responsibilities=np.empty((0, 0), dtype),
    )
    first = 0
    for X, weights in source.blocks():
        rows = slice(first, first + len(X))
        part = task._replace(
            X=X,
            weights=no_weights if weights is None else weights,
            first_block=first // BLOCK_ROWS,
            log_density=task.log_density[rows],
            labels=task.labels[rows],
        )
        run_slots(mixture_slot, part, used, n_jobs, 4 * len(X) * centers.size)
        first = rows.stop
    return task


def _scale(source: Source, points: FloatArray) -> float:
    """Return a power of two that brings the spread of the points, or of rows about one, near one.

    Squares then stay in range; those of rows far from all points are seen to by the kernel.
    """
    spread = float(np.abs(points - points[0]).max(initial=0.0))
    if spread == 0.0:
        rows = source.some_rows(BLOCK_ROWS)
        spread = float(np.abs(rows - points[0]).max(initial=0.0))
    if spread == 0.0 or not math.isfinite(spread):
        return 1.0
    limit = 120 if source.dtype == np.float32 else 1000
    return 2.0 ** -max(-limit, min(limit, math.frexp(spread)[1]))


def nearest_centers(
    source: ArraySource, centers: npt.NDArray[Any], *, n_jobs: int | None = None
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return the nearest center of every row and the squared distance to it."""
    centers = np.asarray(centers, dtype=np.float64)
    labels = np.empty(source.n_samples, np.int64)
    distances = np.empty(source.n_samples)
    scale = _scale(source, centers)
    _run(
        source, centers, kmeans_pass.NEAREST, n_jobs, distances=distances, labels=labels,
        scale=scale,
    )  # fmt: skip
    distances /= scale
    distances /= scale
    return labels, distances


class LloydSums(NamedTuple):
    """What one iteration of Lloyd's algorithm needs, about the centers' median."""

    counts: FloatArray  # (n_centers,): weights of the clusters
    sums: FloatArray  # (n_centers, n_features)
    inertia: float  # in scaled units

    def plus(self, other: LloydSums) -> LloydSums:
        """Return the sums of both sets of rows."""
        return LloydSums(
            self.counts + other.counts, self.sums + other.sums, self.inertia + other.inertia
        )


def lloyd_statistics(
    source: Source, centers: npt.NDArray[Any], *, n_jobs: int | None = None
) -> tuple[FloatArray, FloatArray, float]:
    """Return what one iteration of Lloyd's algorithm needs."""
    centers = np.asarray(centers, dtype=np.float64)
    scale = _scale(source, centers)
    work = partial(_lloyd, centers=centers, scale=scale)
    counts, sums, inertia = source.fold(work, LloydSums.plus)(n_jobs=n_jobs)
    high, low = split_in_two(_middle(centers), source.dtype)
    middle = high.astype(np.float64) + low
    return counts, sums + counts[:, None] * (middle - centers), inertia / scale / scale


def _lloyd(source: Source, *, centers: FloatArray, scale: float, n_jobs: int | None) -> LloydSums:
    """Return the sums of one pass."""
    apart = _far_apart(scale * (centers - _middle(centers)), source.dtype)
    mode = kmeans_pass.LLOYD_BY_PRODUCTS if apart else kmeans_pass.LLOYD
    task = _run(source, centers, mode, n_jobs, scale=scale)
    sums = task.first.sum(axis=0).reshape(centers.shape)
    return LloydSums(task.counts.sum(axis=0), sums, float(task.likelihood.sum(axis=0).sum()))


def _far_apart(centers: FloatArray, dtype: np.dtype[Any]) -> bool:
    """Return whether products of rows with centers tell these apart to half of the digits."""
    squares = (centers * centers).sum(axis=1)
    least = np.inf
    for first in range(0, len(centers), BLOCK_ROWS):
        some = slice(first, first + BLOCK_ROWS)
        between = squares[some, None] + squares - 2.0 * (centers[some] @ centers.T)
        np.fill_diagonal(between[:, first:], np.inf)
        least = min(least, between.min())
    return bool(least > math.sqrt(np.finfo(dtype).eps) * squares.max())


def _middle(centers: FloatArray) -> FloatArray:
    """Return the upper median of the centers, one far out of which costs no others their digits."""
    middle: FloatArray = np.sort(centers, axis=0)[len(centers) // 2]
    return middle


def kmeans_plus_plus(
    source: ArraySource,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    n_local_trials: int | None = None,
    n_jobs: int | None = None,
) -> npt.NDArray[np.int64]:
    """Choose rows as starting centers by greedy k-means++ (Arthur & Vassilvitskii 2007).

    Each next center is the best of several rows drawn with probability proportional to weight
    times squared distance to the nearest center so far: the one that leaves the smallest sum.
    """
    trials = n_local_trials or 2 + int(math.log(n_clusters))
    weights = source.weights
    # one uniform number, inverted, so that weights and repeated rows draw the same row
    draw = random_state.uniform()
    if weights is None:
        first = int(draw * source.n_samples)
    else:
        shares = np.cumsum(weights)
        first = int(np.searchsorted(shares, draw * shares[-1], side="right"))
    chosen = np.full(n_clusters, first, dtype=np.int64)
    origin = source.rows(chosen[:1]).astype(np.float64)
    scale = _scale(source, origin)
    closest = np.full(source.n_samples, np.inf)
    _run(source, origin, kmeans_pass.CHOOSE, n_jobs, distances=closest, scale=scale)
    for i in range(1, n_clusters):
        cumulative = np.cumsum(
            closest if weights is None else np.where(weights > 0, closest, 0.0) * weights
        )
        if not cumulative[-1] > 0.0:
            # every row is a center already: fewer distinct rows than centers
            chosen[i:] = random_state.choice(source.n_samples, size=n_clusters - i)
            break
        draws = random_state.uniform(size=trials) * cumulative[-1]
        candidates = np.minimum(
            np.searchsorted(cumulative, draws, side="right"), source.n_samples - 1
        )
        rows = source.rows(candidates).astype(np.float64)
        task = _run(source, rows, kmeans_pass.POTENTIALS, n_jobs, distances=closest, scale=scale)
        best = int(task.counts.sum(axis=0).argmin())
        chosen[i] = candidates[best]
        _run(
            source, rows[best : best + 1], kmeans_pass.CHOOSE, n_jobs, distances=closest,
            scale=scale,
        )  # fmt: skip
    return chosen


def markov_chain_rows(
    source: ArraySource,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    n_jobs: int | None = None,
) -> npt.NDArray[np.int64]:
    """Choose rows as starting centers by AFK-MC² (Bachem et al. 2016, NIPS 29, algorithm 1).

    Each next center is where a chain of `_CHAIN` rows ends, whose stationary distribution is that
    of k-means++: only these are compared with the centers so far, and not all rows.
    """
    weights = np.ones(source.n_samples) if source.weights is None else source.weights
    shares = np.cumsum(weights)

    def drawn(cumulative: FloatArray, size: int) -> npt.NDArray[np.int64]:
        draws = random_state.uniform(size=size) * cumulative[-1]
        found: npt.NDArray[np.int64] = np.searchsorted(cumulative, draws, side="right")
        found[found == source.n_samples] -= 1  # by rounding
        return found

    chosen = np.repeat(drawn(shares, 1), n_clusters)
    scale = _scale(source, source.rows(chosen[:1]).astype(np.float64))

    def to_chosen(rows: ArraySource, number: int) -> FloatArray:
        distances, labels = np.empty(rows.n_samples), np.empty(rows.n_samples, np.int64)
        centers = source.rows(chosen[:number]).astype(np.float64)
        _run(
            rows, centers, kmeans_pass.NEAREST, n_jobs, distances=distances, labels=labels,
            scale=scale,
        )  # fmt: skip
        return distances

    costs = np.where(weights > 0.0, to_chosen(source, 1), 0.0) * weights
    chances = costs / max(costs.sum(), np.finfo(np.float64).tiny) + weights / shares[-1]
    cumulative = np.cumsum(chances)
    for first in range(1, n_clusters, _CHAINS_AT_ONCE):
        n_chains = min(_CHAINS_AT_ONCE, n_clusters - first)
        links = drawn(cumulative, n_chains * _CHAIN)
        rows = source.rows(links)
        nearest = to_chosen(ArraySource(rows), first).reshape(n_chains, _CHAIN)
        links = links.reshape(n_chains, _CHAIN)
        points = scale * rows.reshape(n_chains, _CHAIN, -1).astype(np.float64)
        accepted = random_state.uniform(size=links.shape)
        for i in range(n_chains):
            odds = nearest[i] * weights[links[i]] / chances[links[i]]
            at = 0
            for j in range(1, _CHAIN):
                if odds[j] > accepted[i, j] * odds[at]:
                    at = j
            chosen[first + i] = links[i, at]
            between = ((points[i + 1 :] - points[i, at]) ** 2).sum(axis=2)
            nearest[i + 1 :] = np.minimum(nearest[i + 1 :], between)
    return chosen
