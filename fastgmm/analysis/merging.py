"""Clusters of several components: merged step by step, so that assignments become surest.

A mixture has as many components as it takes to fit the density, which may be more than there are
clusters. Baudry, Raftery, Celeux, Lo and Gottardo (2010), "Combining mixture components for
clustering", Journal of Computational and Graphical Statistics 19, merge in each step those two
whose union lowers the entropy of the assignments most. The responsibility of a cluster is the sum
of those of its components, so that the density stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from fastgmm.analysis.criteria import responsibility_blocks
from fastgmm.data.source import Source
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.statistics import FloatArray

IndexArray = npt.NDArray[np.int64]

_NEGLIGIBLE = 1e-15
"""A responsibility that is no more than this has less than 1e-13 nats of entropy, and a row with no
more outside its likeliest cluster has none to lose.
"""


@dataclass(frozen=True, slots=True, eq=False)
class MergeHistory:
    """Which components were merged, step by step, from all of them to a single cluster."""

    # (n_components, n_components): row i has the cluster of each component after i merges, when
    # there are ``n_components - i`` of them, numbered in the order of their first components
    clusters: IndexArray
    # (n_components - 1, 2): the two clusters that each step merges, by their numbers before it
    merges: IndexArray
    # (n_components,): entropy of the assignment to the clusters after i merges, summed over the
    # rows by weight, in nats
    entropies: FloatArray
    # (n_components,): weight of the rows in the clusters that were merged, expected and summed over
    # the first i steps
    n_merged: FloatArray


def merge_by_entropy(
    source: Source, parameters: MixtureParameters, *, n_jobs: int | None = None
) -> MergeHistory:
    """Merge the components of a mixture, two clusters in each step.

    Each step merges those two clusters whose union lowers the entropy most (Baudry et al., 2010,
    section 2.2). One pass over the rows finds this for all pairs, and one after each merge for
    those of the new cluster. Responsibilities are held for a block of rows at a time.
    """
    K = parameters.n_components
    members = np.arange(K)
    sums = _sum_up(source, parameters, members, None, n_jobs)
    gains, entropies, counts = sums.gains, sums.entropies, sums.counts
    clusters, merges = [members], []
    totals, n_merged = [float(entropies.sum())], [0.0]
    while len(entropies) > 1:
        above = np.where(np.triu(np.ones(gains.shape, dtype=bool), 1), gains, -np.inf)
        a, b = divmod(int(above.argmax()), len(gains))
        merges.append((a, b))
        n_merged.append(n_merged[-1] + float(counts[a] + counts[b]))
        members = np.where(members == b, a, members - (members > b))
        clusters.append(members)
        entropies[a] += entropies[b] - gains[a, b]
        counts[a] += counts[b]
        entropies, counts = np.delete(entropies, b), np.delete(counts, b)
        gains = np.delete(np.delete(gains, b, axis=0), b, axis=1)
        totals.append(float(entropies.sum()))
        if len(entropies) > 1:
            gains[a, :] = gains[:, a] = _sum_up(source, parameters, members, a, n_jobs).gains[a]
    return MergeHistory(
        np.array(clusters),
        np.array(merges, dtype=np.int64).reshape(-1, 2),
        np.array(totals),
        np.array(n_merged),
    )


def merged_responsibilities(shares: npt.NDArray[np.floating], clusters: IndexArray) -> FloatArray:
    """Return the responsibilities of clusters from those of their components."""
    indicators = (clusters[:, None] == np.arange(clusters.max() + 1)).astype(np.float64)
    with one_blas_thread():
        merged: FloatArray = shares @ indicators
    return merged


def change_point(values: FloatArray) -> int:
    """Return where equally spaced values bend most: the knot of the best two lines."""
    squares = [
        sum(float(((part - line) ** 2).sum()) for part, line in two_lines(values, knot))
        for knot in range(1, len(values) - 1)
    ]
    return 1 + int(np.argmin(squares))


def two_lines(
    values: FloatArray, knot: int
) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Return the lines that fit equally spaced values best on either side of a knot."""
    left, right = values[: knot + 1], values[knot:]
    return (left, _line(left)), (right, _line(right))


class _Sums(NamedTuple):
    """Sums over the rows, by weight."""

    # (n_clusters, n_clusters): how much lower the entropy is if two clusters are one; symmetric,
    # apart from rows and columns that were not asked for, which are 0
    gains: FloatArray
    entropies: FloatArray  # (n_clusters,): the part of the entropy that is each cluster's
    counts: FloatArray  # (n_clusters,): responsibilities of each cluster


def _sum_up(
    source: Source,
    parameters: MixtureParameters,
    members: IndexArray,
    cluster: int | None,
    n_jobs: int | None,
) -> _Sums:
    """Sum up in one pass what merging two clusters gains: all pairs, or those of one cluster."""
    n = int(members.max()) + 1
    sums = _Sums(np.zeros((n, n)), np.zeros(n), np.zeros(n))
    for shares, weights in responsibility_blocks(source, parameters, n_jobs=n_jobs):
        merged = merged_responsibilities(shares, members)
        w = np.ones(len(merged)) if weights is None else weights
        sums.counts[...] += w @ merged
        uncertain = merged.sum(axis=1) - merged.max(axis=1) > _NEGLIGIBLE
        if cluster is not None:
            uncertain &= merged[:, cluster] > _NEGLIGIBLE
        merged, w = merged[uncertain], w[uncertain]
        each = entr(merged)
        sums.entropies[...] += w @ each
        for a in range(n) if cluster is None else (cluster,):
            others = slice(a + 1, None) if cluster is None else slice(None)
            rows = np.flatnonzero(merged[:, a] > _NEGLIGIBLE)
            own = merged[rows, a, None]
            unions = entr(own + merged[rows, others])
            sums.gains[a, others] += w[rows] @ (each[rows, a, None] + each[rows, others] - unions)
    return sums._replace(
        gains=sums.gains + np.tril(sums.gains.T, -1) if cluster is None else sums.gains
    )


def _line(values: FloatArray) -> FloatArray:
    """Return the line of least squares through equally spaced values."""
    x = np.arange(len(values)) - 0.5 * (len(values) - 1)
    line: FloatArray = values.mean() + x * (x @ values) / (x @ x)
    return line
