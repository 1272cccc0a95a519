"""Rows as readers hand them over, and the checks that all of them go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import DataError, MissingValueError
from fastgmm.data.options import MissingPolicy


class Batch(NamedTuple):
    """Rows as a reader hands them over, of any number."""

    values: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]
    """(n_rows, n_features) or (n_rows,): real numbers of any type; NaN for what is missing."""
    weights: npt.NDArray[Any] | None  # (n_rows,): weights of the rows, if the source has any
    origin: str  # where the rows are from, as messages name it
    row: int  # number of the first row there, from 0
    numbers: npt.NDArray[np.int64] | None = None
    """(n_rows,): numbers of the rows after the first's, where some between them were left out."""
    labels: npt.NDArray[Any] | None = None
    """(n_rows,): labels of the rows, if they were asked for; NaN where there is none."""
    line_of: Callable[[int], int] | None = None
    """Returns on which line of a file a row begins that has one of the `numbers`."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        values = self.values
        return len(values) if isinstance(values, np.ndarray) else len(values[0])

    def column(self, j: int) -> npt.NDArray[Any]:
        """Return one column."""
        return self.values[:, j] if isinstance(self.values, np.ndarray) else self.values[j]

    def placed(self, what: str, i: int) -> str:
        """Return what something in a row is, and where, as messages say it."""
        if self.line_of is None:
            return f"{self.origin}: {what} in row {self.row_number(i)}, counted from 0,"
        line = self.line_of(i if self.numbers is None else int(self.numbers[i]))
        return f"line {line} of {self.origin}: {what}"

    def row_number(self, i: int) -> int:
        """Return the number of a row where it is from, counted from 0."""
        return self.row + (i if self.numbers is None else int(self.numbers[i]))

    def where(self, kept: npt.NDArray[np.bool_]) -> Batch:
        """Return the rows that are marked."""
        values = self.values
        numbers = np.arange(self.n_rows) if self.numbers is None else self.numbers
        return self._replace(
            values=(
                values[kept]
                if isinstance(values, np.ndarray)
                else [column[kept] for column in values]
            ),
            weights=None if self.weights is None else self.weights[kept],
            numbers=numbers[kept],
            labels=None if self.labels is None else self.labels[kept],
        )


def checked(batch: Batch, names: Sequence[str], missing: MissingPolicy) -> Batch:
    """Return rows with finite values and weights."""
    if all_finite(batch.values) and _sound_weights(batch.weights):
        return batch
    columns = [(batch.column(j), f"the value in column {name!r}") for j, name in enumerate(names)]
    if batch.weights is not None:
        columns.append((batch.weights, "the weight"))
    dropped = np.zeros(batch.n_rows, dtype=bool)
    wrong: list[tuple[int, str, float]] = []
    for column, what in columns:
        if column.dtype.kind != "f" and column is not batch.weights:
            continue
        absent = np.isnan(column)
        found = np.isinf(column)
        if missing == "drop":
            dropped |= absent
        elif missing == "error" or column is batch.weights:
            found |= absent
        if column is batch.weights:
            found |= column < 0
        if found.any():
            i = int(found.argmax())
            wrong.append((i, what, float(column[i])))
    if wrong:
        i, what, value = min(wrong, key=lambda each: each[0])
        place = batch.placed(what, i)
        if np.isnan(value):
            raise MissingValueError(place)
        raise DataError(f"{place} is {_advice(value)}")
    return batch.where(~dropped) if dropped.any() else batch


def _advice(value: float) -> str:
    """Return what to say of a value that cannot be used."""
    if np.isinf(value):
        return f"{value}: remove such rows or replace them"
    return f"{value:g}: weights must be at least 0"


def check_total_weight(origin: str, total_weight: float) -> None:
    """Make sure that some row has weight."""
    if not np.isfinite(total_weight):
        raise DataError(
            f"{origin}: the weights should have a finite sum, but got {total_weight}: give "
            "smaller ones in the same proportions"
        )
    if total_weight <= 0.0:
        raise DataError(f"{origin}: every row has weight 0")


def all_finite(values: npt.NDArray[Any] | Sequence[npt.NDArray[Any]]) -> bool:
    """Say whether all values are finite; mostly by their sum, which takes one look at each."""
    if not isinstance(values, np.ndarray):
        return all(map(all_finite, values))
    if values.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    return bool(np.isfinite(total) or np.isfinite(values).all())


def _sound_weights(weights: npt.NDArray[Any] | None) -> bool:
    return weights is None or bool(all_finite(weights) and not (weights < 0).any())
