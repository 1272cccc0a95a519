"""Starts where the components of some rows are known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import add
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from fastgmm.data.source import Source
from fastgmm.em.e_step.passes import labeled_statistics
from fastgmm.em.missing.completed_rows import completed_rows, lacks_values
from fastgmm.mixture.statistics import SufficientStatistics, pool


def fewest_rows(n_features: int, diagonal: bool) -> int:
    """Return how many rows it takes for a covariance of a component's own.

    One with fewer gets another's, or the pooled one: it would be stuck on them otherwise.
    """
    return 2 if diagonal else n_features + 1


def label_counts(
    source: Source, labels: Any, n_components: int, *, n_jobs: int | None = None
) -> npt.NDArray[np.int64]:
    """Return how many rows have each label."""
    work = partial(_sizes, n_components=n_components)
    counts: npt.NDArray[np.int64] = source.fold(work, add)(n_jobs=n_jobs, labels=labels)
    return counts


def _sizes(
    source: Source,  # noqa: ARG001 - the labels suffice
    *,
    n_components: int,
    n_jobs: int | None,  # noqa: ARG001 - no kernel runs
    labels: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    return np.bincount(labels[labels >= 0], minlength=n_components)


class KnownRows(NamedTuple):
    """Rows of which some are known to come from a component."""

    source: Source  # the rows
    labels: Any  # (n_samples,): component of each row; −1 where it is not known


class LabeledComponents(NamedTuple):
    """What the rows of known component say of the components."""

    statistics: SufficientStatistics  # statistics of these rows
    sizes: npt.NDArray[np.int64]  # (n_components,): how many of them each component has
    fewest: int  # how many it takes for a covariance of a component's own

    @classmethod
    def of(
        cls,
        known: KnownRows,
        n_components: int,
        *,
        diagonal: bool,
        random_state: np.random.RandomState,
        n_jobs: int | None = None,
    ) -> LabeledComponents:
        """Go through the rows and return what those of known component say."""
        source, labels = known
        if lacks_values(source):
            source = completed_rows(
                source, diagonal=diagonal, random_state=random_state, n_jobs=n_jobs
            )
        statistics = labeled_statistics(
            source, labels, n_components, diagonal=diagonal, n_jobs=n_jobs
        )
        sizes = label_counts(source, labels, n_components, n_jobs=n_jobs)
        return cls(statistics, sizes, fewest_rows(source.n_features, diagonal))

    @property
    def suffice(self) -> bool:
        """Whether each component has rows enough to start from these alone."""
        return bool((self.sizes >= self.fewest).all() and self.statistics.counts.all())

    def leading(self, found: SufficientStatistics) -> SufficientStatistics:
        """Return a start in which labeled components have the means of their rows.

        Each takes the place of one of the components found without labels, so that their means
        are as near as they can be all together, measured in the standard deviations within
        components. It has the weight of that one and, if its own rows are too few, the covariance.
        The others that were found go to the components without labels.
        """
        labeled = np.flatnonzero(self.statistics.counts > 0.0)
        means = self.statistics.means()
        variances = pool(found.variances(), found.counts)
        deviations = np.sqrt(np.where(variances > 0.0, variances, 1.0))
        offsets = (means[labeled, None] - found.means()) / deviations
        _, nearest = linear_sum_assignment((offsets * offsets).sum(axis=2))
        order = np.empty(len(means), dtype=np.int64)
        order[labeled] = nearest
        rest = np.setdiff1d(np.arange(len(means)), labeled)
        order[rest] = np.setdiff1d(np.arange(len(means)), nearest)
        covariances = found.covariances()[order]
        of_their_own = labeled[self.sizes[labeled] >= self.fewest]
        covariances[of_their_own] = self.statistics.covariances()[of_their_own]
        counts = found.counts[order]
        reference = found.means()[order]
        reference[labeled] = means[labeled]
        spread = SufficientStatistics.from_covariances(counts, reference, covariances)
        return replace(spread, log_likelihood=found.log_likelihood, weight=found.weight)
