"""Thresholds on the scores of rows: of those that a mixture was fitted to, or of a stream's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.analysis.density_levels import whole_row_scores
from fastgmm.analysis.quantiles import (
    Interval,
    WeightedValues,
    both_intervals,
    cut_by_passes,
    go_through,
    quantile_cut,
)
from fastgmm.data.label_columns import given_labels
from fastgmm.data.source import Rows as SourceRows
from fastgmm.data.source import Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.rechunking import joined
from fastgmm.em.online.recent_scores import RecentScores
from fastgmm.estimators.gaussian_mixture import GaussianMixture
from fastgmm.estimators.shared.interfaces import FloatingArray
from fastgmm.mixture.statistics import FloatArray

ROWS_AT_ONCE = 2**18
"""Rows whose scores are looked at together."""

_MOST_SCORES = 100_000
"""Different scores of a label, of rows in partitions."""

_MOST_LABELS = 6
"""Labels that are looked at: two are right, and a message lists no more than these."""


def row_scores(mixture: GaussianMixture, rows: ArraySource) -> FloatingArray:
    """Return the log-densities of rows, those of rows that lack values as if they were whole."""
    scores = mixture.score_samples(rows)
    if not rows.incomplete:
        return scores
    return whole_row_scores(mixture._parameters(), rows.X, scores).astype(scores.dtype)


def scored(mixture: GaussianMixture, source: Source) -> Iterator[WeightedValues]:
    """Yield the log-densities of rows and their weights, piece by piece."""
    for X, weights in source.blocks():
        for first in range(0, len(X), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            scores = row_scores(mixture, ArraySource(X[some], incomplete=source.incomplete))
            yield scores, None if weights is None else weights[some]


def training_cut(
    mixture: GaussianMixture, source: Source, share: float
) -> tuple[float, RecentScores]:
    """Return what has a share of the scores below it, and the distribution of the scores."""
    seen = _Seen(share)
    cut = score_cut(mixture, source, share, observe=seen.note)
    if source.partition_sizes is not None:
        work = partial(_distribution, mixture=mixture, share=share)
        seen = source.fold(work, _Seen.plus)(n_jobs=mixture.n_jobs)
    return cut, seen.distribution


def score_cut(
    mixture: GaussianMixture,
    source: Source,
    share: float,
    observe: Callable[[FloatArray, FloatArray], None] | None = None,
) -> float:
    """Return what has a share of the scores of rows below it, which are found where rows lie.

    Scores of rows in one place are observed.
    """
    if source.partition_sizes is None:
        held = list(scored(mixture, source)) if isinstance(source, ArraySource) else None
        return quantile_cut(lambda: held or scored(mixture, source), share, observe=observe)

    def find(first: int, last: int) -> Interval:
        work = partial(_interval, mixture=mixture, first=first, last=last)
        merge = partial(both_intervals, first=first, last=last)
        found: Interval = source.fold(work, merge)(n_jobs=mixture.n_jobs)
        return found

    return cut_by_passes(find, share)


def _interval(
    source: Source, *, mixture: GaussianMixture, first: int, last: int, n_jobs: int | None
) -> Interval:
    """Return what there is of an interval among the scores of rows."""
    return go_through(scored(copy(mixture).set_params(n_jobs=n_jobs), source), first, last)


class _Seen:
    """The distribution of scores, and their weight."""

    def __init__(self, share: float) -> None:
        self._share = share
        self.distribution, self._weight = RecentScores.nothing(), 0.0

    def note(self, scores: FloatArray, weights: FloatArray) -> None:
        """Take in more scores."""
        self._add(scores, weights, float(weights.sum()))

    def plus(self, other: _Seen) -> _Seen:
        """Take in another distribution."""
        seen = copy(self)
        seen._add(other.distribution.values, other.distribution.masses, other._weight)
        return seen

    def _add(self, scores: FloatArray, weights: FloatArray, weight: float) -> None:
        if weight > 0.0:
            self._weight += weight
            step = weight / self._weight
            self.distribution = self.distribution.blended(scores, weights, step, self._share)


def _distribution(
    source: Source, *, mixture: GaussianMixture, share: float, n_jobs: int | None
) -> _Seen:
    """Return the distribution of the scores of rows."""
    seen = _Seen(share)
    for scores, weights in scored(copy(mixture).set_params(n_jobs=n_jobs), source):
        seen.note(scores, np.ones(len(scores)) if weights is None else weights)
    return seen


_ByLabel = dict[Any, tuple[FloatArray, FloatArray]]
"""For each label, the different scores of its rows, ascending, and the weights of these."""


def scores_by_label(mixture: GaussianMixture, source: Source, y: Any) -> _ByLabel:
    """Return how the scores of rows in partitions are distributed, for each label."""
    work = partial(_by_label, mixture=mixture)
    return source.fold(work, _both_by_label)(n_jobs=mixture.n_jobs, y=y)


def _by_label(
    source: Source, *, mixture: GaussianMixture, y: npt.NDArray[Any], n_jobs: int | None
) -> _ByLabel:
    labels, missing = given_labels(y)
    if missing.any():
        raise ValueError(
            f"y holds no label for a row of partition {source.partition}: give that of each row"
        )
    found = list(scored(copy(mixture).set_params(n_jobs=n_jobs), source))
    scores = np.concatenate([each for each, _ in found]).astype(np.float64)
    weights = np.concatenate([np.ones(len(s)) if w is None else w for s, w in found])
    return {
        label: _few(scores[labels == label], weights[labels == label])
        for label in np.unique(labels)[:_MOST_LABELS].tolist()
    }


def _both_by_label(one: _ByLabel, other: _ByLabel) -> _ByLabel:
    """Return the distributions of both sets of rows."""
    found = {}
    for label in sorted({*one, *other}):
        parts = [each[label] for each in (one, other) if label in each]
        found[label] = _few(*map(np.concatenate, zip(*parts, strict=True)))
    return found


def _few(scores: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the different scores, rounded until they are few, and their weights."""
    bits = 52
    while True:
        found, places = np.unique(scores, return_inverse=True)
        if len(found) <= _MOST_SCORES:
            return found, np.bincount(places, weights, len(found)).astype(np.float64, copy=False)
        bits -= 4
        digits, exponents = np.frexp(scores)
        scores = np.ldexp(np.rint(np.ldexp(digits, bits)), exponents - bits)


def learn_scored(
    mixture: GaussianMixture, batch: ArraySource, recent: RecentScores | None, share: float
) -> RecentScores | None:
    """Let a mixture learn a batch by `partial_fit`, and return the scores of recent rows after it.

    The rows are scored before they are learned, as rows to come will be; only those from which
    the mixture is begun are scored after that. The batch has the same share among recent scores as
    among the statistics of the mixture.
    """
    if hasattr(mixture, "means_"):
        scores = row_scores(mixture, batch)
        mixture.partial_fit(batch)
        state = mixture._current_state()
        if batch.total_weight == 0.0 or state is None:
            return recent
        length = batch.total_weight / state.unit
        step = mixture._schedule().step(state.time - length, length)
        return (recent or RecentScores.nothing()).blended(scores, batch.weights, step, share)
    waiting = [*(mixture._waiting or []), SourceRows(batch.X, batch.weights)]
    mixture.partial_fit(batch)
    if not hasattr(mixture, "means_"):
        return None
    X, weights = joined(waiting)
    rows = ArraySource(X, weights, incomplete=not all_finite(X))
    scores = row_scores(mixture, rows)
    return RecentScores.nothing().blended(scores, rows.weights, 1.0, share)
