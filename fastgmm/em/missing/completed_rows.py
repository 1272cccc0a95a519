"""Rows that lack values, filled in so that a start can be found from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from copy import copy
from typing import Any

import numpy as np

from fastgmm.data.source import Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.rechunking import joined
from fastgmm.em.e_step.observed_moments import gaussian_of
from fastgmm.em.e_step.passes import source_moments
from fastgmm.em.missing.imputation import imputed_rows

_MOST_CORRELATED = 64
"""With more features than this, those of diagonal covariances are taken to be independent."""


def lacks_values(source: Source) -> bool:
    """Say whether rows, as far as that is known, lack values."""
    if not source.incomplete or not isinstance(source, ArraySource):
        return source.incomplete
    return not all(all_finite(X) for X, _ in source.blocks())


def completed_rows(
    source: Source,
    *,
    diagonal: bool,
    random_state: np.random.RandomState,
    n_jobs: int | None = None,
) -> Source:
    """Return the rows of a source with draws in place of what is missing, wherever they lie."""
    completed = CompletedSource(source, diagonal=diagonal, random_state=random_state, n_jobs=n_jobs)
    return source.changed(completed.of_partition) or completed


class CompletedSource(Source):
    """The rows of another source, with draws in place of what is missing.

    They are drawn given what is observed, from a single Gaussian that is fitted to all rows by
    EM. Draws keep the spread of the rows, which expected values would shrink.
    """

    def __init__(
        self,
        source: Source,
        *,
        diagonal: bool,
        random_state: np.random.RandomState,
        n_jobs: int | None = None,
    ) -> None:
        self.n_features = source.n_features
        self.feature_names = source.feature_names
        self.dtype = source.dtype
        self.replayable = source.replayable
        self._source = source
        self._seed = int(random_state.randint(np.iinfo(np.int32).max))
        self._n_jobs = n_jobs
        independent = diagonal and source.n_features > _MOST_CORRELATED
        self._gaussian = gaussian_of(source_moments(source, diagonal=independent, n_jobs=n_jobs))

    @property
    def n_samples(self) -> int | None:
        """Number of rows."""
        return self._source.n_samples

    @property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        return self._source.total_weight

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights."""
        return self._source.has_weights

    @property
    def reads_ahead(self) -> bool:
        """Whether threads read the next block while one is worked on."""
        return self._source.reads_ahead

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows, filled in."""
        rows = imputed_rows(
            self._source, self._gaussian, n_draws=1, seed=self._seed, n_jobs=self._n_jobs
        )
        with closing(rows):  # type: ignore[type-var]
            for filled, weights in rows:
                yield Rows(filled[0], weights)

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""
        return {"kind": "completed", "seed": self._seed, "rows": self._source.fingerprint()}

    def of_partition(self, rows: ArraySource) -> ArraySource:
        """Return the rows of one of the partitions of the source, filled in."""
        if not rows.n_samples:
            return rows
        part = copy(self)
        part._source, part._seed = rows, self._seed + (rows.partition or 0)
        filled = part.in_memory()
        filled.left_out = rows.left_out
        return filled

    def in_memory(self) -> ArraySource:
        """Return all rows as an array."""
        return ArraySource(*joined(list(self.blocks())))
