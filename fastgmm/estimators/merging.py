"""Clusters of several components of a fitted mixture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.merging import change_point, merge_by_entropy, merged_responsibilities
from fastgmm.docstrings import documented
from fastgmm.estimators.shared.evaluation import MixtureEvaluation
from fastgmm.estimators.shared.interfaces import Rows, Weights
from fastgmm.estimators.shared.lazy_results import lazy_on_collections
from fastgmm.mixture.statistics import FloatArray


@documented(
    """
    n_clusters : int, default=None
        Number of clusters; `elbow` if not given.
    """
)
@dataclass(frozen=True, slots=True, eq=False)
class MergedComponents:
    """Clusterings that merge the components of a mixture, one for each number of clusters.

    The arrays belong together, from as many clusters as there are components down to one.

    Attributes
    ----------
    mixture : estimator
        The mixture, whose density is that of all clusterings.
    n_clusters : ndarray of int of shape (n_components,)
        Numbers of clusters: n_components, ..., 2, 1.
    entropies : ndarray of shape (n_components,)
        Entropy of the assignment to each number of clusters, summed over the rows by weight, in
        nats.
    n_merged : ndarray of shape (n_components,)
        Weight of the rows in the clusters that were merged so far, expected and summed over the
        merges: a merge of large clusters may lower the entropy more because it is of more rows.
    clusters : ndarray of int of shape (n_components, n_components)
        The cluster of each component, one row for each number of clusters. Clusters are numbered
        in the order of their first components.
    merges : ndarray of int of shape (n_components - 1, 2)
        The two clusters that each merge joins, by their numbers before it; the second is the one
        whose number goes away.
    elbow : int
        The number of clusters at which the entropy bends most: up to there, merges take away
        uncertainty between components that overlap, and beyond it little is left to be taken. It
        is the knot of two lines fitted to the entropies, and n_components if that is 1 or 2.
    """

    mixture: MixtureEvaluation
    n_clusters: npt.NDArray[np.int64]
    entropies: FloatArray
    n_merged: FloatArray
    clusters: npt.NDArray[np.int64]
    merges: npt.NDArray[np.int64]
    elbow: int

    @lazy_on_collections
    def predict(self, X: Rows, n_clusters: int | None = None) -> npt.NDArray[np.int64]:
        """Return the most probable cluster of each row.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            The cluster of the highest responsibility.
        """
        members = self._members(n_clusters)
        return np.concatenate([shares.argmax(axis=1) for shares in self._blocks(X, members)])

    @lazy_on_collections
    def predict_proba(self, X: Rows, n_clusters: int | None = None) -> FloatArray:
        """Return the responsibility of each cluster for each row.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_clusters)
            Sums of the responsibilities of the clusters' components.
        """
        members = self._members(n_clusters)
        return np.concatenate(list(self._blocks(X, members)))

    def _members(self, n_clusters: int | None) -> npt.NDArray[np.int64]:
        """Return the cluster of each component for a number of clusters."""
        wanted = self.elbow if n_clusters is None else n_clusters
        most = len(self.n_clusters)
        if not 1 <= wanted <= most:
            raise ValueError(
                f"n_clusters={wanted} should be from 1 to {most}, the number of components"
            )
        members: npt.NDArray[np.int64] = self.clusters[most - wanted]
        return members

    def _blocks(self, X: Rows, members: npt.NDArray[np.int64]) -> Iterator[FloatArray]:
        """Yield the responsibilities of the clusters, block by block of rows."""
        for shares in self.mixture.predict_proba_blocks(X):
            yield merged_responsibilities(shares, members)


@documented()
def merge_components(
    mixture: MixtureEvaluation, X: Rows, sample_weight: Weights = None
) -> MergedComponents:
    """Merge the components of a mixture into clusters, two at a time.

    A cluster that is no ellipsoid takes several components. Each step merges the two clusters
    whose union makes the assignment of the rows surest, that is, lowers its entropy most (Baudry,
    Raftery, Celeux, Lo and Gottardo, 2010). The density of the mixture stays what it was.

    Parameters
    ----------
    mixture : GaussianMixture
        A fitted mixture.
    X : array-like of shape (n_samples, n_features), or anything that `open_data` takes
        The rows, usually those that it was fitted to. The number of passes over them is one less
        than the number of components, and responsibilities are held for some of them at a time.

    Returns
    -------
    MergedComponents
        Clusterings of all numbers of clusters, their entropies, and the number that these favor.

    Raises
    ------
    ValueError
        If the mixture has noise, or if the rows can be iterated over only once and it has more than
        two components.

    See Also
    --------
    fastgmm.plotting.EntropyDisplay : Draws the entropies.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture, merge_components
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0.0, np.pi, 600)
    >>> arc = np.column_stack([np.cos(angle), np.sin(angle)]) * 6 + rng.normal(0, 0.3, (600, 2))
    >>> blob = rng.normal([0.0, -6.0], 0.5, (300, 2))
    >>> X = np.concatenate([arc, blob])
    >>> mixture = GaussianMixture(6, n_init=5, random_state=0).fit(X)
    >>> merged = merge_components(mixture, X)
    >>> merged.elbow
    2
    >>> sorted(np.bincount(merged.predict(X)).tolist())
    [300, 600]
    """
    if hasattr(mixture, "noise_weight_"):
        raise ValueError(
            "merge_components merges components, and this mixture has noise, which is none: use a "
            "mixture without noise_volume"
        )
    source, parameters = mixture._observed(X, sample_weight)
    K = parameters.n_components
    if not source.replayable and K > 2:
        raise ValueError(
            f"merging {K} components reads the rows {K - 1} times, and an iterator can be "
            "iterated over only once: give a function that returns a new one each time"
        )
    history = merge_by_entropy(source, parameters, n_jobs=mixture.n_jobs)
    return MergedComponents(
        mixture=mixture,
        n_clusters=np.arange(K, 0, -1),
        entropies=history.entropies,
        n_merged=history.n_merged,
        clusters=history.clusters,
        merges=history.merges,
        elbow=K - change_point(history.entropies) if K > 2 else K,
    )
