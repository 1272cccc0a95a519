"""Clusters by model-based agglomeration: from every row by itself to all rows together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.kernels import agglomeration
from fastgmm.mixture.statistics import FloatArray

Transformation = Literal["SVD", "VARS", "STD", "SPH", "PCS", "PCR"]

TRANSFORMATIONS: tuple[Transformation, ...] = ("SVD", "VARS", "STD", "SPH", "PCS", "PCR")

HierarchicalStructure = Literal["VVV", "EEE", "VII", "EII"]

HIERARCHICAL_STRUCTURES: tuple[HierarchicalStructure, ...] = ("VVV", "EEE", "VII", "EII")

MOST_AGGLOMERATED = 2000
"""Rows that a start agglomerates at most: the time grows with the square of their number."""

MOST_ELLIPSOID_FEATURES = 100
"""Coordinates up to which "VVV" keeps a matrix for each group: for 2000 rows, 80 MB of them."""

_KINDS = {
    "VVV": agglomeration.ELLIPSOIDS,
    "VII": agglomeration.SPHERES,
    "EII": agglomeration.EQUAL_SPHERES,
}


@dataclass(frozen=True, slots=True)
class Merges:
    """A tree of clusters: which groups of rows merge, in order."""

    groups: npt.NDArray[np.int64]
    """(n_samples,): number of the group that each row begins in, counted from 0 in the order in
    which the groups first appear; -1 for rows without weight, which are in none.
    """
    pairs: npt.NDArray[np.int64]
    """(n_groups - 1, 2): what merges in each step. A cluster goes by the least number among its
    groups, and the smaller of two comes first: it is the number of their union.
    """

    @property
    def n_groups(self) -> int:
        """Number of groups at the beginning, which is the greatest number of clusters."""
        return len(self.pairs) + 1


def agglomerate(
    rows: npt.NDArray[np.floating],
    *,
    weights: FloatArray | None = None,
    structure: HierarchicalStructure = "VVV",
    transformation: Transformation = "SVD",
    gather_duplicates: bool = True,
) -> Merges:
    """Return the merges of model-based hierarchical agglomeration.

    Each step merges the two clusters for which the classification likelihood of Gaussian
    clusters falls least (Banfield & Raftery 1993, Biometrics 49:803-821), with the traces that
    Fraley (1998, SIAM J. Sci. Comput. 20:270-281) adds where covariances are singular. With W_k
    the scatter matrix of cluster k, n_k its weight, S_k = W_k/n_k and a = tr(W)/(nD), what is
    kept low is

    * "VVV", each cluster an ellipsoid of its own: Σ_k n_k log(det S_k + tr S_k + a/n_k);
    * "VII", each a sphere of its own: Σ_k n_k log(tr S_k + a/n_k);
    * "EII", equal spheres, which is Ward's method: Σ_k tr W_k;
    * "EEE", equal ellipsoids: det S + tr S with S = Σ_k W_k/n.

    From distinct rows these are the partitions of mclust's ``hc(rows, structure, use)``. Where
    pairs cost the same, the order of the rows or rounding decides.

    With more than 100 coordinates "VVV" is "VII": their variances have to exceed 1 for
    determinants of so many to be noticed beside the traces.

    Time and memory grow with the square of the number of groups, the time of "EEE" with its
    cube; some thousands of rows are practical.
    """
    if structure not in HIERARCHICAL_STRUCTURES:
        raise ValueError(
            f"structure={structure!r} has no agglomeration: choose one of "
            + ", ".join(map(repr, HIERARCHICAL_STRUCTURES))
        )
    if not np.isfinite(rows).all():
        raise ValueError("rows to agglomerate must be finite: leave out those with NaN or infinity")
    counted = np.ones(len(rows), dtype=bool) if weights is None else weights > 0.0
    if not counted.any():
        raise ValueError("there is no row of positive weight to agglomerate")
    numbers, first = _distinct(rows[counted])
    counts = np.ones(len(numbers)) if weights is None else weights[counted]
    counts = counts / (counts.sum() / (len(first) if gather_duplicates else len(counts)))
    gathered = np.bincount(numbers, counts).astype(np.float64)
    points = transformed(rows[counted][first], gathered, transformation)
    if points.shape[1] == 0:  # the rows are all equal
        points = np.zeros((len(points), 1))
    groups = np.full(len(rows), -1)
    if gather_duplicates:
        groups[counted] = numbers
        counts = gathered
    else:
        groups[counted] = np.arange(len(numbers))
        points = points[numbers]
    return Merges(groups, _merge(points, counts, structure, transformation))


def labels(merges: Merges, n_clusters: int) -> npt.NDArray[np.int64]:
    """Return the clusters that are left when so many are."""
    if not 1 <= n_clusters <= merges.n_groups:
        raise ValueError(
            f"n_clusters={n_clusters} should be from 1 to {merges.n_groups}, the number of groups "
            "of rows that the merges begin with"
        )
    cluster = list(range(merges.n_groups))
    # From the last merge back, so that what a group has merged into is known when it is asked.
    for kept, merged in merges.pairs[: merges.n_groups - n_clusters][::-1].tolist():
        cluster[merged] = cluster[kept]
    _, numbered = np.unique(cluster, return_inverse=True)
    return np.where(merges.groups < 0, -1, numbered[merges.groups])


def _distinct(
    rows: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which distinct row each row is, in order of appearance, and where each first is."""
    _, first, numbers = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[numbers], first[order]


def _merge(
    points: FloatArray,
    counts: FloatArray,
    structure: HierarchicalStructure,
    transformation: Transformation,
) -> npt.NDArray[np.int64]:
    """Return the pairs of groups of equal points that merge."""
    n_groups, n_features = points.shape
    offsets = points - np.average(points, axis=0, weights=counts)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = (offsets**2).sum(axis=1)
        # det S is at most the D-th power of the mean variance, and no cluster is wider than this.
        largest = (squares.max() / n_features) ** n_features
    if not np.isfinite(squares.sum() + largest):
        advice = "choose 'SVD', which divides by standard deviations"
        if transformation == "SVD":  # by those of the rows that have weight
            advice = "leave out rows of next to no weight, or choose another initialization"
        raise ValueError(
            f"the variances of the rows, or determinants of {n_features} of them, overflow with "
            f"transformation={transformation!r}: {advice}"
        )
    if structure == "VVV" and n_features > MOST_ELLIPSOID_FEATURES:
        structure = "VII"
    triangle = n_features * (n_features + 1) // 2 if structure == "VVV" else 0
    groups = agglomeration.Groups(
        names=np.arange(n_groups),
        counts=counts.copy(),
        sizes=np.ones(n_groups, dtype=np.int64),
        means=np.ascontiguousarray(offsets),
        traces=np.zeros(n_groups),
        terms=np.zeros(n_groups),
        scatters=np.zeros((n_groups, triangle)),
    )
    pairs = np.empty((n_groups - 1, 2), dtype=np.int64)
    if structure == "EEE":
        agglomeration.merge_in_common_ellipsoid(groups, pairs)
        return pairs
    variance = float(counts @ squares) / (counts.sum() * n_features)
    ridge = variance if variance > 0.0 else 1.0  # of equal rows any will do
    costs = np.empty(n_groups * (n_groups - 1) // 2)
    agglomeration.merge_cheapest(groups, _KINDS[structure], ridge, costs, pairs)
    return pairs


def transformed(
    rows: npt.NDArray[np.floating], weights: FloatArray, transformation: Transformation
) -> FloatArray:
    """Return rows in other coordinates, centered, under mclust's names.

    With the rows centered and, for "SVD" and "PCR", each feature divided by its standard
    deviation, let Z = U D Vᵀ be their singular value decomposition. The new rows are

    * "VARS": the rows;
    * "STD": the rows over the standard deviations;
    * "PCS", "PCR": the principal components U D, of covariances and of correlations;
    * "SPH": √n U, uncorrelated and of variance 1;
    * "SVD": U √D, between the last two, which separates clusters that the widest features would
      hide (Scrucca and Raftery, 2015, Adv. Data Anal. Classif. 9).

    A row of weight w counts as w copies. Features that do not vary and components without
    variance beyond rounding are left out.
    """
    if transformation not in TRANSFORMATIONS:
        raise ValueError(
            f"transformation={transformation!r} is not known: choose one of "
            + ", ".join(map(repr, TRANSFORMATIONS))
        )
    varying = np.asarray(rows[:, np.ptp(rows, axis=0) > 0.0], dtype=np.float64)
    offsets: FloatArray = varying - varying[0]
    offsets -= np.average(offsets, axis=0, weights=weights)
    if transformation == "VARS":
        return offsets
    total = weights.sum()
    if transformation in ("STD", "PCR", "SVD"):
        offsets /= np.abs(offsets).max(axis=0)  # their squares neither overflow nor vanish
        offsets /= np.sqrt(weights @ offsets**2 / (total - 1.0))
    if transformation == "STD":
        return offsets
    with one_blas_thread():
        root = np.sqrt(weights)[:, None]
        _, singular, directions = np.linalg.svd(root * offsets, full_matrices=False)
        least = singular.max(initial=0.0) * max(offsets.shape) * np.finfo(np.float64).eps
        kept = singular > least
        components: FloatArray = offsets @ directions[kept].T
    if transformation == "SVD":
        components /= np.sqrt(singular[kept])
    elif transformation == "SPH":
        components *= np.sqrt(total) / singular[kept]
    return components
