"""A uniform random sample of rows whose number need not be known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import FloatArray
from fastgmm.data.sources.array import ArraySource

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
