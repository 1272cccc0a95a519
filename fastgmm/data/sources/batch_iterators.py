"""Rows that a program makes: iterators of arrays or data frames, and functions that return them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import Any

import numpy as np

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError, warn_of_doubt
from fastgmm.data.options import ReadingOptions
from fastgmm.data.selection import SelectedColumns, Selection
from fastgmm.data.sources.array_like import as_matrix, not_numbers, unmasked
from fastgmm.data.sources.batch import Batch
from fastgmm.data.sources.frames import frame_columns, is_frame
from fastgmm.data.sources.stream import StreamSource


class BatchSource(StreamSource):
    """Rows that come in batches from an iterator.

    A batch is a matrix, a pair of a matrix and its rows' weights, or a data frame.
    """

    # Whoever makes the batches may use the same memory for the next one.
    _borrowed = True

    def __init__(
        self,
        iterate: Callable[[], Iterator[Any]],
        replayable: bool,
        selection: Selection,
        options: ReadingOptions,
    ) -> None:
        self._iterate = iterate
        self._selection = selection
        batches = iterate()
        try:
            given = next(batches)
        except StopIteration:
            raise DataError(f"{self.description()} has no rows: there is no batch") from None
        first = self._columns(given, 1)
        warn_of_doubt(first.doubt)
        self._left: Iterator[Any] | None = None
        if replayable:
            if isinstance(batches, Generator):
                batches.close()
        else:
            self._left = chain([given], batches)
        self._by_columns = not isinstance(first.values, np.ndarray)
        self.replayable = replayable
        super().__init__(
            dtype=first.dtype,
            n_features=_width(first),
            feature_names=first.names,
            has_weights=first.weights is not None,
            options=options,
            has_labels=first.labels is not None,
        )
        self.unused_columns = first.unused
        self._integers = first.integers

    def description(self) -> str:
        """Return what messages call the batches."""
        return "the iterator of batches"

    def _batches(self) -> Iterator[Batch]:
        """Return the batches, each checked against the first."""
        batches, self._left = self._left, None
        for number, given in enumerate(self._iterate() if batches is None else batches, 1):
            columns = self._columns(given, number)
            self._compare(columns, number)
            yield Batch(
                columns.values, columns.weights, f"batch {number}", 0, labels=columns.labels
            )

    def _columns(self, given: Any, number: int) -> SelectedColumns:
        """Return what is wanted of a batch."""
        origin = f"batch {number}"
        weights = None
        if isinstance(given, tuple):
            if len(given) != 2 or self._selection.weight_column is not None:
                raise DataError(
                    f"{origin} is a tuple of {len(given)}: give the rows, or the rows and their "
                    "weights, but no weight_column beside them"
                )
            given, weights = given
        if is_frame(given):
            columns = frame_columns(given, origin, self._selection)
        else:
            try:
                matrix = as_matrix(origin, given)
            except TypeError as error:
                raise DataError(f"{origin}: {error}") from error
            columns = self._selection.of_matrix(origin, matrix)
        if weights is None:
            return columns
        weights = unmasked(weights)
        try:
            weights = np.asarray(weights, dtype=np.float64)
        except (TypeError, ValueError) as error:
            reason = not_numbers("the second entry, weights,", weights, error)
            raise DataError(f"{origin}: {reason}") from error
        n_rows = len(columns.values[0]) if isinstance(columns.values, list) else len(columns.values)
        if weights.shape != (n_rows,):
            raise DataError(
                f"{origin} has {n_rows} rows, but weights of shape {weights.shape}: give one for "
                "each row"
            )
        return columns._replace(weights=weights)

    def _compare(self, columns: SelectedColumns, number: int) -> None:
        """Make sure that a batch is like the first."""
        if columns.names != self.feature_names:
            raise DataError(
                f"batch {number} has the columns {_shown(columns.names)}, but the first has "
                f"{_shown(self.feature_names)}"
            )
        if _width(columns) != self.n_features:
            raise DataError(
                f"batch {number} has {_width(columns)} columns, but the first has {self.n_features}"
            )
        if (columns.weights is not None) != self.has_weights:
            which = ("no ", "") if self.has_weights else ("", "no ")
            raise DataError(
                f"batch {number} has {which[0]}weights, but the first has {which[1]}weights"
            )
        if columns.dtype == np.float64 != self.dtype:
            raise DataError(
                f"batch {number} holds {columns.dtype}, but the first float32: make all the same"
            )

    def _identity(self) -> dict[str, Any]:
        """Return what kind of data it is: iterators say no more."""
        return {"kind": "batches"}


def _width(columns: SelectedColumns) -> int:
    values = columns.values
    return values.shape[1] if isinstance(values, np.ndarray) else len(values)


def _shown(names: tuple[str, ...] | None) -> str:
    return "without names" if names is None else name_list(names)
