"""What a user wants of the columns and rows of some data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import choose_columns, with_parts
from fastgmm.data.errors import DataError
from fastgmm.data.formats.table_file import (
    Column,
    check_matrix,
    chosen_columns,
    column_numbers,
    common_dtype,
    unnamed_columns,
)
from fastgmm.data.sources.exactness import is_long_integer


class SelectedColumns(NamedTuple):
    """What is wanted of a data frame or a matrix."""

    names: tuple[str, ...] | None  # names of the features, if they have any
    values: list[npt.NDArray[Any]] | npt.NDArray[Any]
    """(n_rows,) or (n_rows, n_features): the features."""
    weights: npt.NDArray[Any] | None  # (n_rows,): weights of the rows
    dtype: np.dtype[Any]  # float32 if all features are, else float64
    labels: npt.NDArray[Any] | None = None  # (n_rows,): labels of the rows, NaN where there is none
    unused: Mapping[str, str] = MappingProxyType({})
    """Columns that are no features, and what they are instead."""
    integers: frozenset[int] = frozenset()
    """Numbers of the features that are integers so long that float64 may round them."""
    doubt: str = ""  # what makes it likely that a feature is meant to be none; mostly empty


@dataclass(frozen=True, slots=True)
class Selection:
    """Which columns and rows are wanted."""

    columns: tuple[str, ...] | None = None
    """The columns, in this order; None for all but weights and labels."""
    columns_if_named: tuple[str, ...] | None = None
    """The same, for data whose columns have names of their own."""
    weight_column: str | None = None  # the column that holds weights
    filter: Any = None  # which rows are wanted
    label_column: str | None = None  # the column that holds labels, numbers of components
    exclude: tuple[str, ...] = ()  # columns that are no features, where it would be all of them

    @property
    def apart(self) -> tuple[str, ...]:
        """The columns that hold weights and labels."""
        return tuple(name for name in (self.weight_column, self.label_column) if name is not None)

    def named_columns(self, named: bool) -> tuple[str, ...] | None:
        """Return the columns that were asked for, or None if it is all of them."""
        return self.columns_if_named if self.columns is None and named else self.columns

    def with_parts(self, parts: Mapping[str, Sequence[str]]) -> Selection:
        """Return the same with the features that columns of lists become in their place."""
        return replace(
            self,
            columns=with_parts(self.columns, parts),
            columns_if_named=with_parts(self.columns_if_named, parts),
            exclude=with_parts(self.exclude, parts) or (),
        )

    def features(self, origin: str, columns: Sequence[Column], named: bool) -> tuple[str, ...]:
        """Return the columns to use as features."""
        names = [column.name for column in columns]
        wanted = self.named_columns(named)
        chosen = choose_columns(origin, names, wanted, (*self.apart, *self.exclude))
        if wanted is None:
            aside = {column.name for column in columns if column.aside}
            chosen = [name for name in chosen if name not in aside]
        if not chosen:
            raise DataError(f"{origin} has no columns to use as features")
        return tuple(chosen)

    def unused(self, columns: Iterable[Column], features: Sequence[str]) -> dict[str, str]:
        """Return the columns that are no features, and what they are instead."""
        used = {self.weight_column: "weights", self.label_column: "labels"}
        names = frozenset(features)
        return {
            column.name: used.get(column.name)
            or column.aside
            or ("excluded" if column.name in self.exclude else "not asked for")
            for column in columns
            if column.name not in names
        }

    def of_matrix(self, origin: str, matrix: npt.NDArray[Any]) -> SelectedColumns:
        """Return what is wanted of a matrix."""
        check_matrix(origin, matrix.shape, matrix.dtype)
        columns = unnamed_columns(matrix.dtype, matrix.shape[1])
        names = self.features(origin, columns, named=False)
        weights, labels = (
            None if name is None else matrix[:, column_numbers(columns, [name])[0]]
            for name in (self.weight_column, self.label_column)
        )
        values = chosen_columns(matrix, column_numbers(columns, names))
        dtype = common_dtype(origin, columns)
        unused = self.unused(columns, names)
        integers = frozenset(range(len(names)) if is_long_integer(matrix.dtype) else ())
        own = names if self.columns else None
        return SelectedColumns(own, values, weights, dtype, labels, unused, integers)


def check_label_column(origin: str, column: Column) -> None:
    """Make sure that a column of labels holds numbers."""
    if column.dtype is None:
        raise DataError(
            f"the labels in column {column.name!r} of {origin} are no numbers ({column.type}): "
            "give the number of each row's component, counted from 0, and -1 or nothing where it "
            "is not known"
        )
