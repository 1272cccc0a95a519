"""Weights of an extreme scale, brought near one for fits that only proportions matter to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import FloatArray, Rows, Source
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import WrappedSource
from fastgmm.kernels.tiles import BLOCK_ROWS

_COMMON = 64
"""Weights up to two to this power, and down to one over it, are left as they are."""


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
        return ScaledWeights(source)
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


class ScaledWeights(WrappedSource):
    """Rows of a source that is not in memory, whose first weights say how to scale all."""

    _exponent: int | None = None

    @property
    def n_samples(self) -> int | None:
        """Number of rows; None until all have been read once."""
        return self._source.n_samples

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        total = self._source.total_weight
        return math.ldexp(total, self._known_exponent())

    @property
    def left_out(self) -> npt.NDArray[np.bool_] | None:  # type: ignore[override]  # the source's
        """Which of the rows that were given are not among these."""
        return self._source.left_out

    def labels(self) -> FloatArray | None:
        """Return the labels of the rows, NaN where there is none; None if they have none."""
        return self._source.labels()

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
