"""Some of the rows of a source, as a source of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import FloatArray, Rows, Source, sum_of_weights
from fastgmm.data.sources.rechunking import recut
from fastgmm.data.sources.wrapped import WrappedSource
from fastgmm.kernels.tiles import BLOCK_ROWS

_ROWS_AT_ONCE = 64 * BLOCK_ROWS


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
