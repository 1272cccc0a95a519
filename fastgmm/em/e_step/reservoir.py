"""A uniform sample of rows that go by, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import FloatArray, Source
from fastgmm.data.sources.array import ArraySource

Observer = Callable[[npt.NDArray[Any], FloatArray | None], None]
"""Called with the rows and the weights of each block that a pass reads."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """How rows are sampled: without replacement, all alike, from those that have weight."""

    size: int  # how many rows at most
    seed: int
    partition_sizes: npt.NDArray[np.int64] | None = None
    """(n_partitions,): how many rows that have weight each partition has, if there are some."""

    def begin(self, source: Source, n_more: int = 0) -> Reservoir:
        """Return what rows are to go by: those of a source, or of one of its partitions.

        How many each partition contributes is drawn first, the same wherever it is drawn, so that
        no more rows travel than are wanted.
        """
        size, key = self.size, list[int]()
        if self.partition_sizes is not None:
            assert source.partition is not None  # one of those whose sizes these are
            sizes, key = self.partition_sizes, [source.partition]
            shares = sizes
            if sizes.sum() > size:
                generator = np.random.default_rng(self.seed)
                shares = generator.multivariate_hypergeometric(sizes, size, method="marginals")
            size = int(shares[source.partition])
        seed = np.random.SeedSequence(self.seed, spawn_key=key)
        dtype = np.dtype(np.float64) if n_more else source.dtype
        return Reservoir(size, source.n_features + n_more, dtype, source.has_weights, seed)


class Sample(NamedTuple):
    """Rows that were kept, in their order, of those that went by."""

    X: npt.NDArray[Any]
    weights: FloatArray | None
    n_seen: int

    def plus(self, other: Sample) -> Sample:
        """Return the sample of both sets of rows."""
        weights = None
        if self.weights is not None and other.weights is not None:
            weights = np.concatenate([self.weights, other.weights])
        return Sample(np.concatenate([self.X, other.X]), weights, self.n_seen + other.n_seen)

    def source(self, *, incomplete: bool) -> ArraySource:
        """Return the rows as a source."""
        return ArraySource(self.X, self.weights, incomplete=incomplete)


def labeled_sample(
    source: Source, codes: Any, sampling: Sampling
) -> tuple[ArraySource, npt.NDArray[np.int64]]:
    """Return a sample of rows with their labels."""
    found = source.fold(partial(_labeled, sampling=sampling), Sample.plus)(codes=codes)
    X = found.X[:, :-1].astype(source.dtype)
    return ArraySource(X, found.weights), found.X[:, -1].astype(np.int64)


def _labeled(
    source: Source,
    *,
    sampling: Sampling,
    codes: npt.NDArray[np.int64],
    n_jobs: int | None = None,  # noqa: ARG001 - no kernel runs
) -> Sample:
    reservoir = sampling.begin(source, n_more=1)
    first = 0
    for X, weights in source.blocks():
        own = codes[first : first + len(X)]
        reservoir.add(np.column_stack([X, own]), weights)
        first += len(X)
    return reservoir.sample()


def both_samples(one: Sample | None, other: Sample | None) -> Sample | None:
    """Return the sample of both sets of rows, if they were sampled."""
    return None if one is None or other is None else one.plus(other)


_DRAWN_AT_ONCE = 4096


class Reservoir:
    """Keeps a uniform random sample, without replacement, of the rows that go by.

    Algorithm L of Li (1994, "Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n)))"):
    the numbers of the rows that enter are drawn one after the other, so that all others cost
    nothing. Rows of weight 0 go by unseen; the others keep their weights. Which rows are kept
    depends on their order and on the seed, not on how they are cut into blocks.
    """

    def __init__(
        self,
        size: int,
        n_features: int,
        dtype: npt.DTypeLike,
        has_weights: bool,
        seed: int | np.random.SeedSequence,
    ) -> None:
        self.size = size
        self.n_seen = 0
        self._random = np.random.default_rng(seed)
        self._log_threshold = 0.0
        self._last_drawn = size - 1
        self._entering = np.empty(0, np.int64)
        self._places = np.empty(0, np.int64)
        self._X: npt.NDArray[Any] = np.empty((size, n_features), dtype)
        self._weights: FloatArray | None = np.empty(size) if has_weights else None
        self._numbers = np.empty(size, np.int64)

    @property
    def n_rows(self) -> int:
        """Number of rows that are kept."""
        return min(self.size, self.n_seen)

    def add(self, X: npt.NDArray[Any], weights: FloatArray | None) -> None:
        """Let rows go by."""
        present = None
        n_present = len(X)
        if weights is not None and not weights.all():
            present = np.flatnonzero(weights)
            n_present = len(present)
        if not self.size:
            self.n_seen += n_present
            return
        numbers, places = self._entries(self.n_seen + n_present)
        within = numbers - self.n_seen
        chosen = within if present is None else present[within]
        self._X[places] = X[chosen]
        self._numbers[places] = numbers
        if self._weights is not None:
            assert weights is not None
            self._weights[places] = weights[chosen]
        self.n_seen += n_present

    def sample(self) -> Sample:
        """Return the rows that are kept, in the order in which they came."""
        order = np.argsort(self._numbers[: self.n_rows])
        weights = None if self._weights is None else self._weights[order]
        return Sample(self._X[order], weights, self.n_seen)

    def _entries(self, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which of the rows from `n_seen` to `end` enter and stay, and their places."""
        filling = np.arange(self.n_seen, min(end, self.size))
        numbers, places = [filling], [filling]
        while end > self.size:
            if not len(self._entering):
                self._draw()
            n_due = int(np.searchsorted(self._entering, end))
            numbers.append(self._entering[:n_due])
            places.append(self._places[:n_due])
            self._entering, self._places = self._entering[n_due:], self._places[n_due:]
            if len(self._entering):
                break
        all_numbers, all_places = np.concatenate(numbers), np.concatenate(places)
        # Of several rows for one place, the last stays.
        _, last = np.unique(all_places[::-1], return_index=True)
        kept = len(all_places) - 1 - last
        return all_numbers[kept], all_places[kept]

    def _draw(self) -> None:
        """Draw the numbers of the next rows that enter, and the places that they take."""
        uniform = 1.0 - self._random.random((2, _DRAWN_AT_ONCE))  # in (0, 1]
        log_thresholds = self._log_threshold + np.cumsum(np.log(uniform[0])) / self.size
        self._log_threshold = float(log_thresholds[-1])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            skipped = np.floor(np.log(uniform[1]) / np.log1p(-np.exp(log_thresholds)))
        # Beyond this no data reach, and the sums below must not overflow.
        steps = np.fmin(skipped, 1e14).astype(np.int64) + 1
        self._entering = self._last_drawn + np.cumsum(steps)
        self._last_drawn = int(self._entering[-1])
        self._places = self._random.integers(self.size, size=_DRAWN_AT_ONCE)
