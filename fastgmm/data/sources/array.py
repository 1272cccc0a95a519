"""Rows held in an array in memory or in a memory map."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.source import FloatArray, Rows, Source, sum_of_weights
from fastgmm.kernels.tiles import BLOCK_ROWS

_MAPPED_BYTES = 2**25
"""Bytes of a block of a memory map: a pass reads it through once, and not once for each slot."""

_DIGESTED_BYTES = 2**28
"""Arrays up to this size are digested whole, larger ones by rows spread over them."""


class ArraySource(Source):
    """Rows of a two-dimensional array, with optional weights."""

    replayable = True

    def __init__(
        self,
        X: npt.NDArray[Any],
        sample_weight: npt.ArrayLike | None = None,
        feature_names: tuple[str, ...] | None = None,
        *,
        incomplete: bool = False,
        labels: npt.ArrayLike | None = None,
    ) -> None:
        self.stored = X
        """The rows as they were given."""
        self.weights: FloatArray | None = (
            None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        )
        self.n_features = int(X.shape[1])
        self.feature_names = feature_names
        self.dtype = np.dtype(np.float32 if X.dtype.char == "f" else np.float64)
        self.incomplete = incomplete
        self._labels: FloatArray | None = (
            None if labels is None else np.asarray(labels, dtype=np.float64)
        )

    @property
    def X(self) -> npt.NDArray[Any]:  # noqa: N802  # as in scikit-learn
        """All rows in the type that is computed with: a copy of a memory map of another."""
        return self._converted(self.stored)

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.stored.shape[0])

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        return float(self.n_samples) if self.weights is None else sum_of_weights(self.weights)

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights."""
        return self.weights is not None

    @property
    def largest_weight(self) -> float:
        """The largest of the weights; 1 where there are none."""
        return 1.0 if self.weights is None else float(self.weights.max(initial=0.0))

    def labels(self) -> FloatArray | None:
        """Return the labels of the rows, NaN where there is none; None if they have none."""
        return self._labels

    def blocks(self) -> Iterator[Rows]:
        """Yield all rows as one block, or a memory map's in some of a moderate size."""
        if not is_mapped(self.stored):
            yield Rows(self.X, self.weights)
            return
        bytes_of_blocks = BLOCK_ROWS * self.n_features * self.dtype.itemsize
        step = BLOCK_ROWS * max(1, _MAPPED_BYTES // bytes_of_blocks)
        for first in range(0, self.n_samples, step):
            yield self.slice(first, first + step)

    def slice(self, first: int, last: int) -> Rows:
        """Return consecutive rows, without copying those that need no conversion."""
        weights = self.weights
        X = self._converted(self.stored[first:last])
        return Rows(X, None if weights is None else weights[first:last])

    def where(self, kept: npt.NDArray[np.bool_]) -> ArraySource:
        """Return the rows that are marked, which know that the others were left out."""
        found = self._some(self.stored[kept], kept)
        found.left_out = ~kept
        return found

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return a copy of chosen rows."""
        return np.ascontiguousarray(self.stored[indices], self.dtype)

    def chosen(self, kept: npt.NDArray[np.bool_]) -> ArraySource:
        """Return some of the rows, copied unless these are all, as a source."""
        if kept.all():
            return self
        return self._some(self.rows(np.flatnonzero(kept)), kept)

    def _some(self, X: npt.NDArray[Any], kept: npt.NDArray[np.bool_]) -> ArraySource:
        """Return rows of this source with their weights and labels."""
        weights, labels = (
            None if each is None else each[kept] for each in (self.weights, self._labels)
        )
        return ArraySource(
            X, weights, self.feature_names, incomplete=self.incomplete, labels=labels
        )

    def reweighted(self, weights: npt.ArrayLike) -> ArraySource:
        """Return the same rows with other weights."""
        source = ArraySource(
            self.stored,
            weights,
            self.feature_names,
            incomplete=self.incomplete,
            labels=self._labels,
        )
        source.left_out = self.left_out
        return source

    def widened(self, columns: npt.NDArray[Any]) -> ArraySource:
        """Return the same rows, each followed by more numbers, which have no names."""
        found = ArraySource(
            np.concatenate([self.X, columns], axis=1),
            self.weights,
            incomplete=self.incomplete,
            labels=self._labels,
        )
        found.left_out = self.left_out
        return found

    def _converted(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return stored rows in the type that is computed with."""
        return X if X.dtype == self.dtype else X.astype(self.dtype)

    def fingerprint(self) -> dict[str, Any]:
        """Return shape, type and a digest: of all rows, or of some spread over a large array."""
        digest = hashlib.blake2b(digest_size=16)
        at_once = max(1, 2**20 // (self.n_features * self.dtype.itemsize))
        n_bytes = self.n_samples * self.n_features * self.dtype.itemsize
        step = at_once * max(1, n_bytes // _DIGESTED_BYTES)
        for first in range(0, self.n_samples, step):
            X, weights = self.slice(first, first + at_once)
            digest.update(np.ascontiguousarray(X).data)
            if weights is not None:
                digest.update(np.ascontiguousarray(weights).data)
        return {
            "kind": "array",
            "shape": [self.n_samples, self.n_features],
            "dtype": self.dtype.name,
            "weights": self.has_weights,
            "digest": digest.hexdigest(),
        }


def is_mapped(array: Any) -> bool:
    """Say whether something is an array that, or what it is a view of, lies in a file."""
    if not isinstance(array, np.ndarray):
        return False
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if isinstance(owner, np.memmap):
            return True
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    return isinstance(owner, mmap.mmap)
