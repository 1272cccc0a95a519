"""Thresholds on the scores of rows: of those that a mixture was fitted to, or of a stream's."""

from __future__ import annotations

from collections.abc import Iterator

from fastgmm.analysis.density_levels import whole_row_scores
from fastgmm.analysis.quantiles import WeightedValues, quantile_cut
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
    distribution, total = RecentScores.nothing(), 0.0

    def note(scores: FloatArray, weights: FloatArray) -> None:
        nonlocal distribution, total
        weight = float(weights.sum())
        if weight > 0.0:
            total += weight
            distribution = distribution.blended(scores, weights, weight / total, share)

    held = list(scored(mixture, source)) if isinstance(source, ArraySource) else None
    cut = quantile_cut(lambda: held or scored(mixture, source), share, observe=note)
    return cut, distribution


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
