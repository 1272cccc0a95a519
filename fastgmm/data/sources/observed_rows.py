"""Rows that have a value at least: those without any say nothing, and fits leave them out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import DataError
from fastgmm.data.source import FloatArray, Rows, Source, sum_of_weights
from fastgmm.data.sources.array import ArraySource, is_mapped
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.rechunking import recut
from fastgmm.data.sources.wrapped import WrappedSource
from fastgmm.kernels.tiles import BLOCK_ROWS

_ROWS_AT_ONCE = 64 * BLOCK_ROWS


@overload
def observed_rows(source: ArraySource) -> ArraySource: ...
@overload
def observed_rows(source: Source) -> Source: ...
def observed_rows(source: Source) -> Source:
    """Return the rows of a source that have a value."""
    if not source.incomplete:
        return source
    if (found := source.changed(observed_rows)) is not None:
        return found
    if not isinstance(source, ArraySource) or is_mapped(source.stored):
        return ObservedRows(source)
    empty = _are_empty(source.X)
    if not empty.any():
        return source
    found = source.where(~empty)
    found.incomplete = not all_finite(found.X)
    return found


def _are_empty(X: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which rows have no value, shape (n_rows,)."""
    empty: npt.NDArray[np.bool_] = np.isnan(X[:, 0])
    candidates = np.flatnonzero(empty)
    empty[candidates] = np.isnan(X[candidates]).all(axis=1)
    return empty


class ObservedRows(WrappedSource):
    """Rows that have a value, of a source that is not in memory."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._size: tuple[int, float] | None = None
        self._left_out: npt.NDArray[np.bool_] | None = None

    @property
    def n_samples(self) -> int | None:
        """Number of rows; None until all have been read once."""
        return None if self._size is None else self._size[0]

    @property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        if self._size is None:
            for _ in self.blocks():
                pass
        assert self._size is not None  # the blocks have been read
        return self._size[1]

    @property
    def left_out(self) -> npt.NDArray[np.bool_]:  # type: ignore[override]  # found when asked for
        """Which of all rows have no value; found by reading them."""
        if self._left_out is None:
            found = [_are_empty(X) for X, _ in self._wrapped_blocks()]
            self._left_out = np.concatenate(found)
        return self._left_out

    def labels(self) -> FloatArray | None:
        """Return the labels of the rows, NaN where there is none; None if they have none."""
        labels = self._source.labels()
        return None if labels is None else labels[~self.left_out]

    def note_size(self, n_samples: int, total_weight: float) -> None:
        """Take over what an earlier reading of the same rows found."""
        self._size = n_samples, total_weight

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""
        return {"kind": "observed rows", "of": self._source.fingerprint()}

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows: as they come while none is left out, then in blocks of their own."""
        n_samples, weight = 0, 0.0
        for X, weights in self._cut():
            n_samples += len(X)
            weight = float(n_samples) if weights is None else sum_of_weights(weights, weight)
            yield Rows(X, weights)
        if not n_samples:
            raise DataError("no row has a value: there is nothing to fit or to score")
        self._size = n_samples, weight

    def _cut(self) -> Iterator[Rows]:
        blocks = self._wrapped_blocks()
        for block in blocks:
            if _are_empty(block.X).any():
                observed = (each.where(~_are_empty(each.X)) for each in chain([block], blocks))
                yield from recut(observed, _ROWS_AT_ONCE)
                return
            yield block
