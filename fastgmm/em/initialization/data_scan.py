"""The first look at the data: how wide they are, and a sample of them for EM to start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import FloatArray, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import source_moments
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics

SMALLEST_SAMPLE = 25_000
ROWS_PER_PARAMETER = 50
LARGEST_SAMPLE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class DataScan:
    """What one pass over the data finds before EM begins."""

    moments: SufficientStatistics  # the moments of all rows, as if they were of one component
    regularization: Regularization  # the amounts that suit the variances of the features
    sample: ArraySource
    """The rows that have weight, or a uniform random sample of them, in their order."""
    subsampled: bool  # whether it is a sample


def scan_data(
    source: Source,
    n_components: int,
    reg_covar: float,
    scale: str,
    *,
    seed: int,
    diagonal: bool = True,
    n_jobs: int | None = None,
) -> DataScan:
    """Go through the data once: measure the features' variances and sample the rows."""
    size = sample_size(n_components, source.n_features, source.dtype.itemsize)
    reservoir: Reservoir | None = None
    if not _is_own_sample(source, size):
        reservoir = Reservoir(size, source.n_features, source.dtype, source.has_weights, seed)
    moments = source_moments(
        source,
        diagonal=diagonal,
        observe=None if reservoir is None else reservoir.add,
        n_jobs=n_jobs,
    )
    regularization = Regularization.from_variances(
        reg_covar, scale, moments.means()[0], moments.variances()[0]
    )
    if reservoir is None:
        assert isinstance(source, ArraySource)
        return DataScan(moments, regularization, source, subsampled=False)
    sample = reservoir.source(incomplete=source.incomplete)
    return DataScan(moments, regularization, sample, reservoir.n_seen > size)


def sample_size(n_components: int, n_features: int, itemsize: int) -> int:
    """Return how many rows at most a start is found from.

    Fifty rows for each mean and weight, at least 25,000; but no more than fill 64 MiB, unless
    that were fewer than fifty for each component.
    """
    wanted = max(SMALLEST_SAMPLE, ROWS_PER_PARAMETER * n_components * (n_features + 1))
    affordable = LARGEST_SAMPLE_BYTES // (n_features * itemsize)
    return max(min(wanted, affordable), ROWS_PER_PARAMETER * n_components)


def _is_own_sample(source: Source, size: int) -> bool:
    """Say whether rows are so few, and in memory, that they need not be copied."""
    return (
        isinstance(source, ArraySource)
        and source.n_samples <= size
        and (source.weights is None or bool(source.weights.all()))
    )


_DRAWN_AT_ONCE = 4096


class Reservoir:
    """Keeps a uniform random sample, without replacement, of the rows that go by.

    Algorithm L of Li (1994, "Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n)))"):
    the numbers of the rows that enter are drawn one after the other, so that all others cost
    nothing. Rows of weight 0 go by unseen; the others keep their weights. Which rows are kept
    depends on their order and on the seed, not on how they are cut into blocks.
    """

    def __init__(
        self, size: int, n_features: int, dtype: npt.DTypeLike, has_weights: bool, seed: int
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
        numbers, places = self._entries(self.n_seen + n_present)
        within = numbers - self.n_seen
        chosen = within if present is None else present[within]
        self._X[places] = X[chosen]
        self._numbers[places] = numbers
        if self._weights is not None:
            assert weights is not None
            self._weights[places] = weights[chosen]
        self.n_seen += n_present

    def source(self, *, incomplete: bool = False) -> ArraySource:
        """Return the rows that are kept, in the order in which they came."""
        order = np.argsort(self._numbers[: self.n_rows])
        weights = None if self._weights is None else self._weights[order]
        return ArraySource(self._X[order], weights, incomplete=incomplete)

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
