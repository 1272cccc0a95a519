"""Data frames of pandas, polars, Arrow and others, through narwhals."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import (
    default_names,
    doubt_of_nameless,
    is_index_name,
    is_nameless,
    name_list,
    part_names,
)
from fastgmm.data.errors import DataError, warn_of_doubt
from fastgmm.data.formats.arrow_columns import ROW_INDEX, index_columns, wrong_list
from fastgmm.data.formats.table_file import Column, common_dtype
from fastgmm.data.options import MissingPolicy
from fastgmm.data.selection import SelectedColumns, Selection, check_label_column
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.array_like import is_missing
from fastgmm.data.sources.batch import Batch, all_finite, check_total_weight, checked
from fastgmm.data.sources.exactness import check_no_times, reaches_rounding, warn_of_rounding

_ORIGIN = "the data frame"


def is_frame(data: Any) -> bool:
    """Say whether something is a data frame."""
    from narwhals.dependencies import is_into_dataframe, is_polars_lazyframe

    return _is_record_batch(data) or is_into_dataframe(data) or is_polars_lazyframe(data)


def frame_columns(frame: Any, origin: str, selection: Selection) -> SelectedColumns:
    """Return the columns of a data frame that are wanted, as numbers."""
    import narwhals

    frame = known_to_narwhals(frame)
    try:
        wrapped = narwhals.from_native(frame, pass_through=True)
    except narwhals.exceptions.DuplicateError:
        names = getattr(frame, "column_names", None) or frame.columns
        repeated = [str(name) for name, count in Counter(names).items() if count > 1]
        raise DataError(
            f"{origin} has several columns of the name {name_list(repeated)}: rename them"
        ) from None
    if isinstance(wrapped, narwhals.LazyFrame):
        raise ValueError(f"{origin} is lazy and has no rows yet: give what its collect() returns")
    named = all(isinstance(name, str) for name in wrapped.columns)
    index = _index_columns(origin, frame, wrapped.columns)
    columns, parts = _columns(origin, wrapped)
    selection = selection.with_parts(parts)
    anything = [
        Column(name, each.kind, None, ROW_INDEX if name in index else "")
        for name, each in columns.items()
    ]
    features = selection.features(origin, anything, named)
    found = {name: columns[name].numbers() for name in (*features, *selection.apart)}
    typed = {
        name: Column(name, columns[name].kind, None if values is None else values.dtype)
        for name, values in found.items()
    }
    dtype = common_dtype(origin, [typed[name] for name in features])
    weights = labels = None
    if (weight := selection.weight_column) is not None:
        common_dtype(origin, [typed[weight]])
        weights = found[weight]
    if (label := selection.label_column) is not None:
        check_label_column(origin, typed[label])
        labels = found[label]
    values = [column for name in features if (column := found[name]) is not None]
    unused = selection.unused(anything, features)
    integers = frozenset(j for j, name in enumerate(features) if columns[name].is_integer)
    own = features if named else None
    everything = named and selection.named_columns(named) is None
    nameless = [
        name for name in features if everything and is_nameless(name) and columns[name].is_integer
    ]
    doubt = doubt_of_nameless(origin, nameless) if nameless else ""
    return SelectedColumns(own, values, weights, dtype, labels, unused, integers, doubt)


def known_to_narwhals(frame: Any) -> Any:
    """Return a data frame in a form that narwhals takes."""
    if not _is_record_batch(frame):
        return frame
    from pyarrow import Table

    return Table.from_batches([frame])


def open_frame(frame: Any, selection: Selection, missing: MissingPolicy) -> ArraySource:
    """Return a data frame's rows as a source."""
    found = frame_columns(frame, _ORIGIN, selection)
    warn_of_doubt(found.doubt)
    return checked_array(_ORIGIN, matrix_of(found), found, missing)


def matrix_of(found: SelectedColumns) -> npt.NDArray[Any]:
    """Return the columns of a data frame that are features as one array."""
    columns, dtype = found.values, found.dtype
    X = _one_matrix(columns, dtype)
    if X is None:
        X = np.empty((len(columns[0]), len(columns)), dtype, order="F")
        for j, column in enumerate(columns):
            X[:, j] = column
    return X


def checked_array(
    origin: str, X: npt.NDArray[Any], columns: SelectedColumns, missing: MissingPolicy
) -> ArraySource:
    """Return rows in memory as a source: one row at least, and some weight."""
    source = checked_rows(origin, X, columns, missing)
    if not source.n_samples:
        raise DataError(f"{origin} has no rows")
    if source.has_weights:
        check_total_weight(origin, source.total_weight)
    return source


def checked_rows(
    origin: str,
    X: npt.NDArray[Any],
    columns: SelectedColumns,
    missing: MissingPolicy,
    *,
    sound: bool = False,
) -> ArraySource:
    """Return rows in memory, perhaps none, as a source; they are not checked if known as sound."""
    shown = columns.names or default_names(X.shape[1])
    rounded = [shown[j] for j in sorted(columns.integers) if reaches_rounding(X[:, j])]
    warn_of_rounding(origin, rounded)
    batch = Batch(X, columns.weights, origin, 0, labels=columns.labels)
    if not sound:
        batch = checked(batch, shown, missing)
    assert isinstance(batch.values, np.ndarray)
    source = ArraySource(
        batch.values,
        batch.weights,
        columns.names,
        incomplete=missing == "model" and not sound and not all_finite(batch.values),
        labels=batch.labels,
    )
    source.unused_columns = columns.unused
    if batch.numbers is not None:
        source.left_out = np.ones(len(X), dtype=bool)
        source.left_out[batch.numbers] = False
    return source


def _index_columns(origin: str, frame: Any, names: Sequence[Any]) -> frozenset[str]:
    """Return the columns that hold what was the row index of a data frame of pandas."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(frame, pyarrow.Table):
        return index_columns(origin, frame.schema)
    return frozenset(filter(is_index_name, map(str, names)))


def _is_record_batch(data: Any) -> bool:
    """Say whether something is Arrow's record batch, of which narwhals knows nothing."""
    pyarrow = sys.modules.get("pyarrow")
    return pyarrow is not None and isinstance(data, pyarrow.RecordBatch)


def _one_matrix(
    columns: Sequence[npt.NDArray[Any]] | npt.NDArray[Any], dtype: np.dtype[Any]
) -> npt.NDArray[Any] | None:
    """Return columns that lie side by side in one array as a view of it; None for others."""
    first = columns[0]
    places = [column.__array_interface__["data"][0] for column in columns]
    steps = set(np.diff(places).tolist())
    held_together = (
        all(column.dtype == dtype and column.strides == first.strides for column in columns)
        and len(steps) <= 1
        and len({id(_owner(column)) for column in columns}) == 1
        and first.base is not None
    )
    if not held_together:
        return None
    shape, strides = (len(first), len(columns)), (first.strides[0], *(steps or {0}))
    return np.lib.stride_tricks.as_strided(first, shape, strides, writeable=False)


def _owner(array: npt.NDArray[Any]) -> Any:
    """Return the array that holds the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _FrameColumn(NamedTuple):
    """A column of a frame, or one place of a column of lists."""

    kind: str
    is_integer: bool
    numbers: Callable[[], npt.NDArray[Any] | None]


def _columns(origin: str, frame: Any) -> tuple[dict[str, _FrameColumn], dict[str, tuple[str, ...]]]:
    """Return the columns of a frame by name, and the names of the parts of those of lists."""
    columns: dict[str, _FrameColumn] = {}
    parts: dict[str, tuple[str, ...]] = {}
    plain = Counter(str(name) for name in frame.columns)
    for series in frame.iter_columns():
        # A name 1 and a name "1" are two.
        name = str(series.name) if plain[str(series.name)] == 1 else repr(series.name)
        dtype = series.dtype
        if (width := _width(series)) is not None:
            where = f"column {name!r} of {origin}"
            matrix = _matrix(where, series, width)
            parts[name] = part_names(name, width)
            for i, part in enumerate(parts[name]):
                columns[part] = _FrameColumn(str(dtype), False, partial(_place, matrix, i))
            continue
        kind = str(dtype)
        if kind == "Unknown":
            kind = str(getattr(series.to_native(), "dtype", kind))
        columns[name] = _FrameColumn(kind, dtype.is_integer(), partial(_numbers, series))
    return columns, parts


def _width(series: Any) -> int | None:
    """Return how many numbers the lists of a column have; None if it holds no lists of numbers."""
    import narwhals

    if series.dtype not in (narwhals.List, narwhals.Array, narwhals.Object):
        return None
    return _width_of(series.drop_nulls().head(1).to_numpy())


def _matrix(where: str, series: Any, width: int) -> Callable[[], npt.NDArray[Any]]:
    """Return what returns the lists of a column as a matrix, which it makes once."""
    return cache(lambda: _matrix_of_lists(where, series.to_numpy(), width))


def _width_of(lists: Any) -> int | None:
    """Return how many numbers the first of some lists has."""
    for each in lists:
        if isinstance(each, list | tuple | np.ndarray):
            numbers = np.asarray(each)
            is_list = numbers.ndim == 1 and numbers.dtype.kind in "biuf"
            return len(numbers) if is_list and len(numbers) else None
    return None


def _matrix_of_lists(where: str, lists: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Return lists of numbers as the rows of a matrix, NaN where there is no list."""
    if lists.ndim == 2:
        return lists
    present = [i for i, each in enumerate(lists) if not is_missing(each)]
    for i in present:
        each = lists[i]
        is_list = isinstance(each, list | tuple | np.ndarray)
        if not is_list or len(each) != width:
            found = f"one of length {len(each)}" if is_list else "no list"
            raise wrong_list(where, width, found, i)
    single = all(isinstance(lists[i], np.ndarray) and lists[i].dtype.char == "f" for i in present)
    matrix = np.full((len(lists), width), np.nan, dtype=np.float32 if single else np.float64)
    for i in present:
        try:
            matrix[i] = np.asarray(lists[i], dtype=matrix.dtype)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where} holds other things than numbers in row {i}, counted from 0: {error}"
            ) from error
    return matrix


def _place(matrix: Callable[[], npt.NDArray[Any]], i: int) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = matrix()[:, i]
    return column


def _numbers(series: Any) -> npt.NDArray[Any] | None:
    """Return a column as numbers, NaN where nothing is; None if it holds other things."""
    import narwhals

    dtype = series.dtype
    if dtype in (narwhals.Int128, narwhals.UInt128):  # which NumPy does not have
        series = series.cast(narwhals.Float64)
    if dtype.is_numeric():
        values: npt.NDArray[Any] = series.to_numpy()
        return values.astype(np.float64) if values.dtype.kind == "O" else values
    if dtype == narwhals.Unknown:
        values = np.asarray(series.to_native())
        if values.dtype.kind in "biuf":
            return values
    if dtype == narwhals.Boolean:
        if not series.null_count():
            return np.asarray(series.to_numpy(), dtype=bool)
    elif series.null_count() < len(series) and dtype not in (narwhals.Object, narwhals.Categorical):
        return None
    missing = np.asarray(series.is_null().to_numpy(), dtype=bool)
    numbers = np.full(len(series), np.nan)
    present = series.to_numpy()[~missing]
    if any(isinstance(each, str) for each in present):
        return None
    try:
        check_no_times(series.name, present)
        numbers[~missing] = present.astype(np.float64)
    except (TypeError, ValueError):
        return None
    return numbers
