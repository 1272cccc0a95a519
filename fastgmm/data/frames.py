"""Data frames of pandas, polars, Arrow and others, through narwhals."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.array import ArraySource
from fastgmm.data.arrow_columns import ROW_INDEX, index_columns
from fastgmm.data.batch import Batch, MissingPolicy, all_finite, check_total_weight, checked
from fastgmm.data.column_names import default_names, is_index_name, name_list
from fastgmm.data.errors import DataError
from fastgmm.data.exactness import check_no_times, reaches_rounding, warn_of_rounding
from fastgmm.data.selection import SelectedColumns, Selection, check_label_column
from fastgmm.data.source import sum_of_weights
from fastgmm.data.table_file import Column, common_dtype

_ORIGIN = "the data frame"


def is_frame(data: Any) -> bool:
    """Say whether something is a data frame.

    Parameters
    ----------
    data : object
        Anything.

    Returns
    -------
    bool
        Whether it is; lazy ones are.
    """
    from narwhals.dependencies import is_into_dataframe, is_polars_lazyframe

    return _is_record_batch(data) or is_into_dataframe(data) or is_polars_lazyframe(data)


def frame_columns(frame: Any, origin: str, selection: Selection) -> SelectedColumns:
    """Return the columns of a data frame that are wanted, as numbers.

    Parameters
    ----------
    frame : data frame
        The frame.
    origin : str
        What messages call it.
    selection : Selection
        Which columns are wanted.

    Returns
    -------
    SelectedColumns
        The columns; they have names if all names of the frame are text.

    Raises
    ------
    DataError
        If a column holds other things than real numbers: the message names all that do.
    ValueError
        If there is no column of a name that was given, or the frame is a lazy one.
    """
    import narwhals

    frame = known_to_narwhals(frame)
    try:
        wrapped = narwhals.from_native(frame, pass_through=True)
    except narwhals.exceptions.DuplicateError:
        names = getattr(frame, "column_names", None) or frame.columns
        repeated = [str(name) for name, count in Counter(names).items() if count > 1]
        raise DataError(f"{origin} has several columns of the name {name_list(repeated)}") from None
    if isinstance(wrapped, narwhals.LazyFrame):
        raise ValueError(f"{origin} is lazy and has no rows yet: give what its collect() returns")
    named = all(isinstance(name, str) for name in wrapped.columns)
    series = {str(each.name): each for each in wrapped.iter_columns()}
    index = _index_columns(origin, frame, wrapped.columns)
    anything = [
        Column(name, str(each.dtype), None, ROW_INDEX if name in index else "")
        for name, each in series.items()
    ]
    features = selection.features(origin, anything, named)
    columns = {name: _numbers(series[name]) for name in features}
    dtype = common_dtype(
        origin,
        [
            Column(name, str(series[name].dtype), None if column is None else column.dtype)
            for name, column in columns.items()
        ],
    )
    weights = None
    if (weight := selection.weight_column) is not None:
        weights = _numbers(series[weight])
        found = None if weights is None else weights.dtype
        common_dtype(origin, [Column(weight, str(series[weight].dtype), found)])
    labels = None
    if (label := selection.label_column) is not None:
        labels = _numbers(series[label])
        found = None if labels is None else labels.dtype
        check_label_column(origin, Column(label, str(series[label].dtype), found))
    values = [column for column in columns.values() if column is not None]
    unused = selection.unused(anything, features)
    integers = frozenset(j for j, name in enumerate(features) if series[name].dtype.is_integer())
    own = features if named else None
    return SelectedColumns(own, values, weights, dtype, labels, unused, integers)


def known_to_narwhals(frame: Any) -> Any:
    """Return a data frame in a form that narwhals takes.

    Parameters
    ----------
    frame : data frame
        The frame.

    Returns
    -------
    data frame
        A table if it is one of Arrow's record batches, else the frame itself.
    """
    if not _is_record_batch(frame):
        return frame
    from pyarrow import Table

    return Table.from_batches([frame])


def open_frame(frame: Any, selection: Selection, missing: MissingPolicy) -> ArraySource:
    """Return a data frame's rows as a source.

    Parameters
    ----------
    frame : data frame
        The frame.
    selection : Selection
        Which columns are wanted.
    missing : {"error", "drop", "model"}
        What becomes of rows in which a value is missing.

    Returns
    -------
    ArraySource
        The rows, copied unless the frame holds them as one matrix.

    Raises
    ------
    DataError
        As `frame_columns`, and if a value is missing or infinite or there is no row.
    ValueError
        As `frame_columns`.
    """
    found = frame_columns(frame, _ORIGIN, selection)
    columns, dtype = found.values, found.dtype
    X = _one_matrix(columns, dtype)
    if X is None:
        X = np.empty((len(columns[0]), len(columns)), dtype, order="F")
        for j, column in enumerate(columns):
            X[:, j] = column
    return checked_array(_ORIGIN, X, found, missing)


def checked_array(
    origin: str, X: npt.NDArray[Any], columns: SelectedColumns, missing: MissingPolicy
) -> ArraySource:
    """Return rows in memory as a source.

    Parameters
    ----------
    origin : str
        What messages call them.
    X : ndarray of shape (n_samples, n_features)
        The rows, float32 or float64.
    columns : SelectedColumns
        What they were before they were made one array, and their weights and labels.
    missing : {"error", "drop", "model"}
        What becomes of rows in which a value is missing.

    Returns
    -------
    ArraySource
        The rows.

    Raises
    ------
    DataError
        If a value is missing or infinite, there is no row, or none has weight.

    Warns
    -----
    RoundedDataWarning
        If integers were so large that they have been rounded.
    """
    shown = columns.names or default_names(X.shape[1])
    rounded = [shown[j] for j in sorted(columns.integers) if reaches_rounding(X[:, j])]
    warn_of_rounding(origin, rounded)
    batch = checked(Batch(X, columns.weights, origin, 0, labels=columns.labels), shown, missing)
    assert isinstance(batch.values, np.ndarray)
    if not batch.n_rows:
        raise DataError(f"{origin} has no rows")
    if batch.weights is not None:
        check_total_weight(origin, sum_of_weights(batch.weights.astype(np.float64)))
    source = ArraySource(
        batch.values,
        batch.weights,
        columns.names,
        incomplete=missing == "model" and not all_finite(batch.values),
        labels=batch.labels,
    )
    source.unused_columns = columns.unused
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


def _numbers(series: Any) -> npt.NDArray[Any] | None:
    """Return a column as numbers, NaN where nothing is; None if it holds other things."""
    import narwhals

    if series.dtype.is_numeric():
        values: npt.NDArray[Any] = series.to_numpy()
        return values.astype(np.float64) if values.dtype.kind == "O" else values
    if series.dtype == narwhals.Boolean:
        if not series.null_count():
            return np.asarray(series.to_numpy(), dtype=bool)
    elif series.null_count() < len(series) and series.dtype != narwhals.Object:
        return None
    missing = np.asarray(series.is_null().to_numpy(), dtype=bool)
    numbers = np.full(len(series), np.nan)
    present = series.to_numpy()[~missing]
    try:
        check_no_times(series.name, present)
        numbers[~missing] = present.astype(np.float64)
    except (TypeError, ValueError):
        return None
    return numbers
