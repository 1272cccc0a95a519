"""A mixture for each of many groups of rows, all of them fitted in compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.small_fits import LARGEST_DIMENSION, SmallSets, fit_sets
from fastgmm.kernels import small_em
from fastgmm.kernels.group_starts import GroupStarts, cluster_slot
from fastgmm.kernels.threads import run_slots
from fastgmm.mixture.statistics import FloatArray
from fastgmm.mixture.structures import CovarianceStructure

LARGEST_GROUP = 4096
"""Larger groups are fitted one by one, by the passes over rows."""

_MOST_TOGETHER = 4096
_BYTES_TOGETHER = 2**26
_PADDING = 1.25
"""Groups are fitted together whose numbers of rows differ by no more than this factor."""
_LLOYD_ITERATIONS = 100
_LLOYD_COST = 30
"""Operations for each row, component and feature."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """How each mixture is fitted."""

    structure: CovarianceStructure  # a built-in structure
    n_components: int
    amounts: FloatArray  # (n_features,): added to variances
    tol: float  # smallest change of the mean log-likelihood, in nats, worth another iteration
    max_iter: int
    n_init: int  # number of starts, of which the best counts
    n_jobs: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class GroupFits:
    """What the fits came to, for G groups."""

    weights: FloatArray  # (G, K)
    means: FloatArray  # (G, K, D)
    covariances: FloatArray  # (G, K, D, D)
    log_likelihoods: FloatArray  # (G,): of all rows of a group; minus infinity where none succeeded
    n_iter: npt.NDArray[np.int64]  # (G,)
    converged: npt.NDArray[np.bool_]  # (G,)


def are_small(sizes: npt.NDArray[np.int64], n_features: int) -> npt.NDArray[np.bool_]:
    """Say which groups are so small that they are fitted together."""
    return (sizes <= LARGEST_GROUP) & (n_features <= LARGEST_DIMENSION)


class GroupedRows(NamedTuple):
    """Rows in the order of their groups."""

    X: npt.NDArray[np.floating]  # (N, D): rows of the first group, then of the second, ...
    weights: FloatArray | None  # (N,)
    firsts: npt.NDArray[np.int64]  # (G,): the first row of each group
    sizes: npt.NDArray[np.int64]  # (G,): how many rows it has

    def padded(self, groups: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Return rows and weights of some groups, filled up by rows of weight 0."""
        places = np.arange(self.sizes[groups].max())
        sizes = self.sizes[groups, None]
        if self.weights is None and (np.diff(groups) == 1).all() and (sizes == sizes[0]).all():
            rows = slice(self.firsts[groups[0]], self.firsts[groups[-1]] + sizes[-1, 0])
            X = self.X[rows].reshape(len(groups), len(places), -1)
            return np.ascontiguousarray(X, dtype=np.float64), np.ones(X.shape[:2])
        numbers = self.firsts[groups, None] + np.minimum(places, sizes - 1)
        masses = (places < sizes).astype(np.float64)
        if self.weights is not None:
            masses *= self.weights[numbers]
        return self.X[numbers].astype(np.float64, copy=False), masses


def fit_group_mixtures(
    rows: GroupedRows, settings: GroupSettings, random_state: np.random.RandomState
) -> GroupFits:
    """Fit a mixture to each of several small groups of rows, from clusters of k-means."""
    G, K, D = len(rows.sizes), settings.n_components, rows.X.shape[1]
    found = GroupFits(
        np.zeros((G, K)),
        np.zeros((G, K, D)),
        np.zeros((G, K, D, D)),
        np.full(G, -np.inf),
        np.zeros(G, dtype=np.int64),
        np.zeros(G, dtype=bool),
    )
    n_candidates = 2 + int(np.log(K))
    draws = random_state.uniform(size=(G, settings.n_init, K, n_candidates))
    for together in _batches(rows.sizes, D):
        X, masses = rows.padded(together)
        sets = np.repeat(np.arange(len(together)), settings.n_init)
        starts = GroupStarts(
            X=X,
            weights=masses,
            rows_of=sets,
            draws=draws[together].reshape(-1, K, n_candidates),
            max_iter=_LLOYD_ITERATIONS,
            labels=np.empty((len(sets), X.shape[1]), dtype=np.int64),
        )
        operations = starts.labels.size * K * D * _LLOYD_COST
        run_slots(cluster_slot, starts, len(sets), settings.n_jobs, operations)
        task = fit_sets(
            SmallSets(X, masses, sets, starts.labels),
            settings.structure,
            K,
            amounts=settings.amounts,
            mean_tol=settings.tol,
            max_iter=settings.max_iter,
            n_jobs=settings.n_jobs,
        )
        ended = task.status <= small_em.MAX_ITER
        values = np.where(ended, task.log_likelihood, -np.inf).reshape(-1, settings.n_init)
        best = values.argmax(axis=1) + np.arange(len(together)) * settings.n_init
        found.weights[together] = task.mixture_weights[best]
        found.means[together] = task.means[best]
        found.covariances[together] = _covariances(task.whiteners[best])
        found.log_likelihoods[together] = values.max(axis=1)
        found.n_iter[together] = task.n_iter[best]
        found.converged[together] = task.status[best] == small_em.CONVERGED
    return found


def _batches(sizes: npt.NDArray[np.int64], n_features: int) -> Iterator[npt.NDArray[np.intp]]:
    """Yield groups of similar size, as many as fit in memory."""
    order = np.argsort(sizes, kind="stable")
    first = 0
    while first < len(order):
        most = int(_PADDING * sizes[order[first]])
        last = int(np.searchsorted(sizes[order], most, side="right"))
        affordable = max(1, _BYTES_TOGETHER // (8 * (n_features + 2) * most))
        last = min(last, first + min(affordable, _MOST_TOGETHER))
        yield order[first:last]
        first = last


def _covariances(whiteners: FloatArray) -> FloatArray:
    """Return the covariances of many whiteners, by substitution in all of them at once."""
    D = whiteners.shape[-1]
    factors = np.zeros_like(whiteners)
    with np.errstate(all="ignore"):  # fits that failed have none
        for i in range(D):
            below = (whiteners[..., i, :i, None] * factors[..., :i, :]).sum(axis=-2)
            factors[..., i, :] = -below / whiteners[..., i, i, None]
            factors[..., i, i] = 1.0 / whiteners[..., i, i]
        covariances: FloatArray = factors @ factors.swapaxes(-1, -2)
    return covariances
