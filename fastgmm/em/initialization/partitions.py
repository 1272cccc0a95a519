"""Clusters of rows that the fits of a search begin from: the same for all structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization.hierarchical import agglomerate, labels
from fastgmm.em.initialization.kmeans import fit_kmeans

PartitionMethod = Literal["hierarchical", "kmeans"]

PARTITION_METHODS: tuple[PartitionMethod, ...] = ("hierarchical", "kmeans")


def partitions(
    rows: ArraySource,
    numbers: Sequence[int],
    method: PartitionMethod,
    *,
    random_state: np.random.RandomState,
    n_jobs: int | None = None,
) -> dict[int, npt.NDArray[np.int64]]:
    """Return clusters of rows for each of several numbers of clusters."""
    if method == "hierarchical":
        merges = agglomerate(rows.X.astype(np.float64), weights=rows.weights)
        return {number: labels(merges, number) for number in numbers if number <= merges.n_groups}
    found: dict[int, npt.NDArray[np.int64]] = {}
    present = rows.X if rows.weights is None else rows.X[rows.weights > 0.0]
    n_distinct = len(np.unique(present, axis=0))
    for number in numbers:
        if number <= n_distinct:
            clusters = fit_kmeans(rows, number, random_state, n_jobs=n_jobs)
            assert clusters.labels is not None  # of rows in memory
            found[number] = clusters.labels
    return found
