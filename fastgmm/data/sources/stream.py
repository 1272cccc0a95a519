"""Rows that are read again in every pass: checked, cut into blocks, and read ahead of their use."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names
from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.options import ReadingOptions
from fastgmm.data.source import FloatArray, Rows, Source, sum_of_weights
from fastgmm.data.sources.batch import Batch, check_total_weight, checked
from fastgmm.data.sources.exactness import reaches_rounding, warn_of_rounding
from fastgmm.data.sources.prefetch import prefetched
from fastgmm.kernels.tiles import BLOCK_ROWS

_FIRST_PART = 16
"""By how much the first block is smaller than the later ones."""

_SHARE_KEPT = 2
"""The part of the memory budget in which blocks are kept from pass to pass, if all fit in it."""

_LARGEST_BLOCK = 2**24
"""Larger blocks leave the caches and gain nothing."""

_SHARE_OF_BLOCK = 16
"""A block's share of the budget: some wait, one is used, one is made, and readers hold parts."""

PREFETCH_DEPTH = 2
"""Blocks that wait to be worked on."""


class StreamSource(Source):
    """Rows that a reader hands over in batches of any size.

    A class for one kind of data implements `_batches` and `_identity`.
    """

    replayable = True
    _by_columns = False
    """Whether batches hold columns rather than rows: blocks then do, too."""
    _borrowed = False
    """Whether whoever makes a batch may overwrite it."""
    may_be_empty = False
    """Whether there may be no rows, as in a part of a file of which a filter leaves none."""
    _stays_the_same = False
    """Whether a change between two passes would be noticed.

    Values are then checked once only, and blocks are kept where the memory budget allows.
    """

    def __init__(
        self,
        *,
        dtype: npt.DTypeLike,
        n_features: int,
        feature_names: tuple[str, ...] | None,
        has_weights: bool,
        options: ReadingOptions,
        expected_samples: int | None = None,
        has_labels: bool = False,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.n_features = n_features
        self.feature_names = feature_names
        self.options = options
        self.incomplete = options.missing == "model"
        self.expected_samples = expected_samples
        self.on_rows: Callable[[int], None] | None = None
        """Called with the number of rows handed out so far in the present pass."""
        self.skipped: list[str] = []
        """What the last pass left out because it is damaged."""
        self._warned: list[str] = []
        self._integers: frozenset[int] = frozenset()
        """Features that are integers so long that float64 may round them, until one has been."""
        self._rounded: set[int] = set()
        self._has_weights = has_weights
        self._has_labels = has_labels
        self._n_samples: int | None = None
        self._total_weight = 0.0
        self._started = False
        self._sound = self._dropped = False
        self._kept: list[Rows] | None = None
        self._bytes_per_row = n_features * self.dtype.itemsize + 8 * has_weights
        self.block_rows = (
            rows_of_block(self._bytes_per_row, options.memory_budget)
            if options.block_rows is None
            else _whole_blocks(options.block_rows)
        )
        if expected_samples is not None:
            self.block_rows = min(self.block_rows, _whole_blocks(expected_samples))

    @abstractmethod
    def _batches(self) -> Iterator[Batch]:
        """Return the rows from the first on; runs in a thread of its own."""

    def _labeled_batches(self) -> Iterator[Batch]:
        """Return the rows from the first on, with their labels."""
        return self._batches()

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """Return what distinguishes the data from others, in values that JSON knows."""

    @property
    def reads_ahead(self) -> bool:
        """Whether threads read the next block while one is worked on."""
        return self._kept is None

    @property
    def n_samples(self) -> int | None:
        """Number of rows; None until all have been read once."""
        return self._n_samples

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights."""
        return self._has_weights

    @property
    def total_weight(self) -> float:
        """Sum of the weights, or the number of rows where there are none."""
        if self._n_samples is None:
            for _ in self.blocks():
                pass
        return self._total_weight

    def labels(self) -> FloatArray | None:
        """Return the labels of the rows, NaN where there is none; None if they have none."""
        if not self._has_labels:
            return None
        if not self.replayable:
            raise ValueError(
                f"{self.description()} can be iterated over only once, and its labels are read "
                "first: give what can be read again"
            )
        names = self._shown_names()
        found: list[FloatArray] = []
        with closing(self._labeled_batches()) as batches:  # type: ignore[type-var]
            for batch in batches:
                kept = checked(batch, names, self.options.missing)
                assert kept.labels is not None
                found.append(np.array(kept.labels, dtype=np.float64))
        return np.concatenate(found) if found else np.empty(0)

    def _shown_names(self) -> tuple[str, ...]:
        """Return the names of the features in messages."""
        return self.feature_names or default_names(self.n_features)

    def note_size(self, n_samples: int, total_weight: float) -> None:
        """Take over what an earlier reading of the same rows found."""
        self._n_samples, self._total_weight = n_samples, total_weight

    def fingerprint(self) -> dict[str, Any]:
        """Return what distinguishes these rows from others, in values that JSON knows."""
        return {
            "dtype": self.dtype.name,
            "n_features": self.n_features,
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "weights": self._has_weights,
            "missing": self.options.missing,
            "on_error": self.options.on_error,
            **self._identity(),
        }

    def blocks(self) -> Iterator[Rows]:
        """Return the blocks from the first row on."""
        if self._started and not self.replayable:
            raise ValueError(
                f"{self.description()} can be iterated over only once, and has been: give a "
                "function that returns a new iterator each time"
            )
        self._started = True
        n_samples, total_weight = 0, 0.0
        with closing(self._read() if self._kept is None else self._read_again()) as blocks:
            for block in blocks:
                n_samples += len(block.X)
                if block.weights is None:
                    total_weight = float(n_samples)
                else:
                    total_weight = sum_of_weights(block.weights, total_weight)
                yield block
                if self.on_rows is not None:
                    self.on_rows(n_samples)
        self._note_end(n_samples, total_weight)

    def _read(self) -> Generator[Rows, None, None]:
        """Yield the blocks as they are read, and keep them if all are few."""
        self.skipped = []
        room = self.options.memory_budget // _SHARE_KEPT
        expected = (self.expected_samples or 0) * self._bytes_per_row
        kept: list[Rows] | None = [] if self._stays_the_same and expected <= room else None
        with closing(prefetched(self._cut(), PREFETCH_DEPTH)) as blocks:  # type: ignore[type-var]
            for block in blocks:
                if kept is not None:
                    kept.append(block)
                    room -= block.X.nbytes + (0 if block.weights is None else block.weights.nbytes)
                    if room < 0:
                        kept = None
                yield block
        self._kept = kept

    def _read_again(self) -> Generator[Rows, None, None]:
        """Yield the blocks that were kept."""
        assert self._kept is not None
        self._check_unchanged()
        yield from self._kept

    def _check_unchanged(self) -> None:
        """Raise if the data are not what they were; for a class whose data stay the same."""

    def description(self) -> str:
        """Return what messages call the source as a whole."""
        return "the data"

    def _note_end(self, n_samples: int, total_weight: float) -> None:
        if self.skipped and self.skipped != self._warned:
            self._warned = list(self.skipped)
            warnings.warn(
                f"left out because it is damaged: {'; '.join(self.skipped)}",
                SkippedDataWarning,
                stacklevel=2,
            )
        names = self._shown_names()
        warn_of_rounding(self.description(), [names[j] for j in sorted(self._rounded)])
        self._integers -= self._rounded
        self._rounded = set()
        if not n_samples:
            if self.may_be_empty:
                return
            raise DataError(f"{self.description()} has no rows")
        if self._n_samples is not None and (
            n_samples != self._n_samples or total_weight != self._total_weight
        ):
            raise DataError(
                f"{self.description()} changed while it was in use: {n_samples} rows of weight "
                f"{total_weight:g}, but {self._n_samples} of {self._total_weight:g} before; start "
                "again on data that stay as they are"
            )
        check_total_weight(self.description(), total_weight)
        self.note_size(n_samples, total_weight)
        self._sound = self._stays_the_same and not self._dropped

    def _cut(self) -> Generator[Rows, None, None]:
        """Yield batches as blocks, checked."""
        # The first blocks are small, so that work on them begins soon.
        size = _whole_blocks(self.block_rows // _FIRST_PART)
        block: Rows | None = None  # one that batches are copied to, and not full yet
        filled = 0
        self._dropped = False
        names = self._shown_names()
        for unchecked in self._batches():
            batch = unchecked
            if not self._sound:
                batch = checked(unchecked, names, self.options.missing)
                self._note_rounding(batch)
                self._dropped = self._dropped or batch is not unchecked
            values, n_rows, used = batch.values, batch.n_rows, 0
            while used < n_rows:
                whole = min(size, (n_rows - used) // BLOCK_ROWS * BLOCK_ROWS)
                if block is None and 2 * whole >= size and self._fits(values):
                    part = slice(used, used + whole)
                    yield Rows(values[part], _as_weights(batch.weights, part))
                    used += whole
                    size = min(2 * size, self.block_rows)
                    continue
                if block is None:
                    block = self._new_block(size)
                taken = min(size - filled, n_rows - used)
                part, place = slice(used, used + taken), slice(filled, filled + taken)
                _copy(batch, part, block, place)
                used += taken
                filled += taken
                if filled == size:
                    yield block
                    size = min(2 * size, self.block_rows)
                    block, filled = None, 0
        if block is not None:
            part = slice(filled)
            yield Rows(block.X[part], _as_weights(block.weights, part))

    def _note_rounding(self, batch: Batch) -> None:
        """Note which columns hold integers that float64 may round."""
        for j in self._integers - self._rounded:
            if reaches_rounding(batch.column(j)):
                self._rounded.add(j)

    def _new_block(self, size: int) -> Rows:
        order: Literal["C", "F"] = "F" if self._by_columns else "C"
        try:
            X = np.empty((size, self.n_features), self.dtype, order=order)
        except MemoryError as error:
            raise MemoryError(
                f"{self.description()} has {self.n_features} columns, of which {size} rows do not "
                "fit in memory: name fewer columns to use"
            ) from error
        return Rows(X, np.empty(size) if self._has_weights else None)

    def _fits(
        self, values: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]
    ) -> TypeGuard[npt.NDArray[Any]]:
        """Say whether rows can be used where they are."""
        return isinstance(values, np.ndarray) and values.dtype == self.dtype and not self._borrowed


def rows_of_block(bytes_per_row: int, budget: int) -> int:
    """Return how many rows a block should have."""
    size = min(_LARGEST_BLOCK, budget // _SHARE_OF_BLOCK)
    return BLOCK_ROWS * max(1, size // (BLOCK_ROWS * bytes_per_row))


def _whole_blocks(n_rows: int) -> int:
    """Return the number of rows rounded up to whole blocks of `BLOCK_ROWS`, one at least."""
    return BLOCK_ROWS * max(1, -(-n_rows // BLOCK_ROWS))


def _copy(batch: Batch, part: slice, block: Rows, place: slice) -> None:
    """Copy a part of a batch to a place in a block."""
    if isinstance(batch.values, np.ndarray):
        block.X[place] = batch.values[part]
    else:
        for j, column in enumerate(batch.values):
            block.X[place, j] = column[part]
    if block.weights is not None:
        assert batch.weights is not None
        block.weights[place] = batch.weights[part]


def _as_weights(weights: npt.NDArray[Any] | None, part: slice) -> FloatArray | None:
    return None if weights is None else np.asarray(weights[part], dtype=np.float64)
