"""Rows of another source: some of them, those that have a value, or with weights near one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import DataError
from fastgmm.data.source import FloatArray, Rows, Source, sum_of_weights
from fastgmm.data.sources.array import ArraySource, is_mapped
from fastgmm.data.sources.batch import all_finite
from fastgmm.data.sources.rechunking import recut
from fastgmm.kernels.tiles import BLOCK_ROWS

_ROWS_AT_ONCE = 64 * BLOCK_ROWS

_COMMON = 64
"""Weights up to two to this power, and down to one over it, are left as they are."""


class WrappedSource(Source):
    """Rows made of those of a source that is not in memory; every pass reads all of that."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.n_features = source.n_features
        self.feature_names = source.feature_names
        self.dtype = source.dtype
        self.replayable = source.replayable
        self.incomplete = source.incomplete
        self.unused_columns = source.unused_columns

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights."""
        return self._source.has_weights

    @property
    def reads_ahead(self) -> bool:
        """Whether threads read the next block while one is worked on."""
        return self._source.reads_ahead

    def _wrapped_blocks(self) -> Iterator[Rows]:
        """Yield the blocks of the source, which is closed when no more are asked for."""
        with closing(self._source.blocks()) as blocks:  # type: ignore[type-var]
            yield from blocks


class SameRows(WrappedSource):
    """As many rows as a source has, in their order."""

    @property
    def n_samples(self) -> int | None:
        """Number of rows; None until a source that cannot know has been read once."""
        return self._source.n_samples

    @property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        return self._source.total_weight

    @property
    def left_out(self) -> npt.NDArray[np.bool_] | None:  # type: ignore[override]  # the source's
        """Which of the rows that were given are not among these."""
        return self._source.left_out

    def labels(self) -> FloatArray | None:
        """Return the labels of the rows, NaN where there is none; None if they have none."""
        return self._source.labels()

    def note_size(self, n_samples: int, total_weight: float) -> None:
        """Take over what an earlier reading of the same rows found."""
        self._source.note_size(n_samples, total_weight)


def choose_rows(source: Source, chosen: Any) -> Source:
    """Return some of the rows of a source, which are marked as it holds what there is by row."""
    return source.chosen(chosen) or ChosenRows(source, chosen)


class ChosenRows(WrappedSource):
    """Some of the rows of a source that is not in memory."""

    def __init__(self, source: Source, chosen: npt.NDArray[np.bool_]) -> None:
        super().__init__(source)
        self._chosen = chosen
        self._weight: float | None = None

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(np.count_nonzero(self._chosen))

    @property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        if not self.has_weights:
            return float(self.n_samples)
        if self._weight is None:
            self._weight = 0.0
            for _, weights in self.blocks():
                assert weights is not None  # the rows have some
                self._weight = sum_of_weights(weights, self._weight)
        return self._weight

    def labels(self) -> FloatArray | None:
        """Return the labels of the rows, NaN where there is none; None if they have none."""
        labels = self._source.labels()
        return None if labels is None else labels[self._chosen]

    def blocks(self) -> Iterator[Rows]:
        """Yield the chosen rows in blocks of their own."""
        yield from recut(self._pieces(), _ROWS_AT_ONCE)

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""
        digest = hashlib.blake2b(np.packbits(self._chosen).data, digest_size=16).hexdigest()
        return {"kind": "chosen rows", "chosen": digest, "of": self._source.fingerprint()}

    def _pieces(self) -> Iterator[Rows]:
        first = 0
        for block in self._wrapped_blocks():
            here = self._chosen[first : first + len(block.X)]
            first += len(block.X)
            yield block.where(here)


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


@overload
def scaled_weights(source: ArraySource) -> ArraySource: ...
@overload
def scaled_weights(source: Source) -> Source: ...
def scaled_weights(source: Source) -> Source:
    """Return rows with weights whose sums and products neither overflow nor underflow.

    They are multiplied by a power of two, which loses no digit.
    """
    if not source.has_weights:
        return source
    if not isinstance(source, ArraySource) and source.partition_sizes is None:
        return source.changed(scaled_weights) or ScaledWeights(source)
    exponent = exponent_of_weights(source)
    if exponent == 0:
        return source
    scale = partial(_scaled, exponent=exponent)
    return source.changed(scale) or scale(source)


def exponent_of_weights(source: Source) -> int:
    """Return which power of two brings the weights of rows near one, where all are known."""
    return weight_exponent(source.largest_weight)


def _scaled(source: Source, *, exponent: int) -> ArraySource:
    """Return rows with weights multiplied by a power of two."""
    assert isinstance(source, ArraySource)  # as partitions are, too
    assert source.weights is not None  # it has some
    return source.reweighted(np.ldexp(source.weights, exponent))


def weight_exponent(largest: float) -> int:
    """Return which power of two brings weights near one; 0 where their scale is a common one."""
    exponent = -math.frexp(largest)[1]
    return exponent if abs(exponent) > _COMMON else 0


class ScaledWeights(SameRows):
    """Rows of a source that is not in memory, whose first weights say how to scale all."""

    _exponent: int | None = None

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        total = self._source.total_weight
        return math.ldexp(total, self._known_exponent())

    def note_size(self, n_samples: int, total_weight: float) -> None:
        """Take over what an earlier reading of the same rows found."""
        self._source.note_size(n_samples, math.ldexp(total_weight, -self._known_exponent()))

    def _known_exponent(self) -> int:
        """Return the power of two, for which the first block is read if none has been."""
        if self._exponent is None:
            with closing(self.blocks()) as blocks:  # type: ignore[type-var]
                next(blocks)
        assert self._exponent is not None  # the first block has been read
        return self._exponent

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""
        return self._source.fingerprint()

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows."""
        for X, weights in self._wrapped_blocks():
            assert weights is not None  # the source has some
            if self._exponent is None:
                self._exponent = weight_exponent(float(weights[:BLOCK_ROWS].max(initial=0.0)))
            yield Rows(X, np.ldexp(weights, self._exponent) if self._exponent else weights)
