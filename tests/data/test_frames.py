"""Data frames: types, names, gaps."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastgmm.data.array import ArraySource
from fastgmm.data.errors import DataError
from fastgmm.data.opening import open_data
from tests.written_data import all_rows


def series(values, **options):
    return pd.DataFrame({"a": pd.Series(values, **options)})


NUMBERS = {
    "integers": (series([1, 2]), [1, 2]),
    "nullable integers": (series([1, 2], dtype="Int64"), [1, 2]),
    "nullable booleans": (series([True, False], dtype="boolean"), [1, 0]),
    "booleans": (series([True, False]), [1, 0]),
    "half precision": (series(np.float16([0.5, 2])), [0.5, 2]),
    "objects": (series([1, 2.5], dtype=object), [1, 2.5]),
    "decimals as objects": (series([Decimal("1.5"), Decimal(2)], dtype=object), [1.5, 2]),
    "polars decimals": (pl.DataFrame({"a": [Decimal("1.50"), Decimal("2.00")]}), [1.5, 2]),
    "polars booleans": (pl.DataFrame({"a": [True, False]}), [1, 0]),
    "Arrow chunks": (pa.table({"a": pa.chunked_array([[1], [2]])}), [1, 2]),
    "Arrow batch": (pa.RecordBatch.from_pydict({"a": [1, 2]}), [1, 2]),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_all_kinds(kind):
    frame, expected = NUMBERS[kind]
    source = open_data(frame)
    assert isinstance(source, ArraySource)
    assert source.dtype == np.float64
    assert source.feature_names == ("a",)
    np.testing.assert_array_equal(all_rows(source)[:, 0], expected)


MISSING = {
    "pandas": series([1.0, None]),
    "nullable integers": series([1, None], dtype="Int64"),
    "nullable booleans": series([True, None], dtype="boolean"),
    "objects": series([1, None], dtype=object),
    "objects with NA": series([1, pd.NA], dtype=object),
    "polars": pl.DataFrame({"a": [1, None]}),
    "polars booleans": pl.DataFrame({"a": [True, None]}),
    "polars NaN": pl.DataFrame({"a": [1.0, float("nan")]}),
    "polars decimals": pl.DataFrame({"a": [Decimal("1.00"), None]}),
    "Arrow": pa.table({"a": [1.0, None]}),
    "Arrow booleans": pa.table({"a": [True, None]}),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_values_of_all_kinds(kind):
    with pytest.raises(
        DataError, match="the data frame: the value in column 'a' in row 1, counted from 0, is miss"
    ):
        open_data(MISSING[kind])
    np.testing.assert_array_equal(all_rows(open_data(MISSING[kind], missing="drop")), [[1.0]])


@pytest.mark.parametrize("frame", [pl.DataFrame({"a": [None]}), pa.table({"a": pa.nulls(1)})])
def test_columns_without_any_value_are_missing(frame):
    with pytest.raises(DataError, match="column 'a' in row 0, counted from 0, is missing"):
        open_data(frame)


def test_other_things_than_numbers_are_all_named():
    frame = pd.DataFrame(
        {
            "x": [1.0],
            "kind": ["text"],
            "class": pd.Categorical(["u"]),
            "when": pd.to_datetime(["2020-01-01"]),
            "object": pd.Series([[1]], dtype=object),
        }
    )
    with pytest.raises(
        DataError,
        match=r"the data frame holds other things than real numbers in the columns 'kind' "
        r"\(String\), 'class' \(Categorical\), 'when' \(Datetime.*\), 'object' \(Object\): leave",
    ):
        open_data(frame)
    np.testing.assert_array_equal(all_rows(open_data(frame, columns=["x"])), [[1.0]])
    with pytest.raises(DataError, match=r"in the columns 'kind' \(String\)"):
        open_data(frame, columns=["x"], weight_column="kind")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_and_weights(make):
    source = open_data(make({"a": [1.0, 2.0], "w": [3, 0], "b": [5.0, 6.0]}), weight_column="w")
    assert source.feature_names == ("a", "b")
    assert isinstance(source, ArraySource)
    np.testing.assert_array_equal(source.X, [[1, 5], [2, 6]])
    assert source.X.flags.f_contiguous
    np.testing.assert_array_equal(source.weights, [3, 0])
    with pytest.raises(ValueError, match="the data frame has no column 'z': its columns are 'a'"):
        open_data(make({"a": [1.0]}), columns=["z"])


def test_single_precision_only_where_all_is():
    frame = pd.DataFrame(np.ones((2, 2), np.float32), columns=["a", "b"])
    assert open_data(frame).dtype == np.float32
    assert open_data(frame.assign(c=1)).dtype == np.float64


def test_names_that_are_not_all_text_are_none():
    assert open_data(pd.DataFrame({"a": [1.0], 5: [2.0]})).feature_names is None


def test_repeated_names():
    with pytest.raises(DataError, match="the data frame has several columns of the name 'a'"):
        open_data(pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]))
    table = pa.Table.from_arrays([pa.array([1.0])] * 3, names=["b", "a", "b"])
    with pytest.raises(DataError, match="the data frame has several columns of the name 'b'"):
        open_data(table)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_frame_that_is_one_matrix_is_used_where_it_is(order, dtype):
    matrix = np.arange(12, dtype=dtype).reshape(4, 3).copy(order=order)
    frame = pd.DataFrame(matrix, columns=["a", "b", "c"])
    source = open_data(frame)
    assert np.shares_memory(source.X, frame.to_numpy())
    np.testing.assert_array_equal(source.X, matrix)
    np.testing.assert_array_equal(open_data(frame, columns=["c", "a"]).X, matrix[:, [2, 0]])


def test_a_frame_of_several_arrays_is_copied():
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    source = open_data(frame)
    del frame
    np.testing.assert_array_equal(source.X, [[1.0, 3.0], [2.0, 4.0]])


def test_lazy_frames_are_refused():
    with pytest.raises(ValueError, match=r"is lazy and has no rows yet: give what its collect\(\)"):
        open_data(pl.LazyFrame({"a": [1.0]}))


def test_frames_without_rows_or_columns():
    with pytest.raises(DataError, match="the data frame has no rows"):
        open_data(pd.DataFrame({"a": []}))
    with pytest.raises(DataError, match="the data frame has no columns to use as features"):
        open_data(pd.DataFrame())
