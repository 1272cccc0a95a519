"""Classes of rows, read from a column of their own."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from fastgmm.data.errors import DataError
from fastgmm.data.label_columns import class_labels, columns_without, given_labels
from fastgmm.data.opening import open_data


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["x", "y", "x"], np.array(["x", "y", "x"])),
        (["x", None, "y"], np.array(["x", None, "y"], dtype=object)),
        ([2, 1, 2**60], np.array([2, 1, 2**60])),
        ([2.0, 1.0, -1.0], np.array([2, 1, -1])),
        ([2.0, 1.5, 0.0], np.array([2.0, 1.5, 0.0])),
        ([True, False, True], np.array([True, False, True])),
        ([1, None, 0], np.array([1.0, np.nan, 0.0])),
    ],
)
def test_values_are_of_the_simplest_type(tmp_path, values, expected):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"kind": values, "x": [0.5, 1.5, 2.5]}), path)
    found = class_labels(open_data(path, columns=["x"]), "kind")
    assert found.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(found, expected)


def test_columns_of_arrays_have_numbers(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([[0.5, 3.0], [1.5, 4.0]]))
    paths = [str(tmp_path / "rows.npy")]
    assert columns_without(paths, ["x1"]) == ["x0"]
    np.testing.assert_array_equal(class_labels(open_data(paths, columns=["x0"]), "x1"), [3, 4])


def test_impossible_labels_are_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "rows.parquet")
    parquet.write_table(pa.table({"kind": ["a"], "x": [1.0]}), path)
    with pytest.raises(ValueError, match="has no column 'sort': its columns are 'kind', 'x'"):
        columns_without([path], ["sort"])
    with (tmp_path / "rows.csv").open("wb+") as file:
        file.write(b"a,kind\n1,x\n")
        file.seek(0)
        monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": file}))
        with pytest.raises(DataError, match="standard input can be read only once, and the labels"):
            columns_without(["-"], ["kind"])


LABELS_WITH_A_GAP = [
    ["a", None, "b"],
    ["a", np.nan, "b"],
    ("a", pd.NA, "b"),
    np.array(["a", None, "b"], object),
    np.ma.array(["a", "x", "b"], mask=[0, 1, 0]),
    pd.Series(["a", None, "b"]),
    pd.Series(["a", pd.NA, "b"], dtype=object),
    pd.Series(["a", pd.NA, "b"], dtype="string"),
    pd.Series(["a", None, "b"], dtype="category"),
    pd.Series(["a", None, "b"], dtype=pd.ArrowDtype(pa.string())),
    pd.Index(["a", pd.NA, "b"], dtype="string"),
    pl.Series(["a", None, "b"]),
    pl.Series(["a", None, "b"], dtype=pl.Categorical),
    pa.array(["a", None, "b"]),
    pa.chunked_array([["a", None], ["b"]]),
    pa.chunked_array([pa.array(["a", None, "b"]).dictionary_encode()]),
    [1, None, 2],
    [1.0, np.nan, 2.0],
    np.array([1.0, np.nan, 2.0]),
    np.array(["2020-01-01", "NaT", "2020-01-02"], "M8[D]"),
    np.ma.array([1, 5, 2], mask=[0, 1, 0]),
    pd.Series([1, pd.NA, 2], dtype="Int64"),
    pd.Series([True, pd.NA, False], dtype="boolean"),
    pd.to_datetime(pd.Series(["2020-01-01", None, "2020-01-02"])),
    pl.Series([1, None, 2]),
    pa.array([True, None, False]),
]


@pytest.mark.parametrize("y", LABELS_WITH_A_GAP)
def test_where_there_is_no_label(y):
    values, missing = given_labels(y)
    assert missing.tolist() == [False, True, False]
    assert values.shape == (3,)


def test_labels_that_are_all_there_keep_their_type():
    for y in (["a", "b"], [1, 2], np.array([True, False]), [[1], [2]]):
        values, missing = given_labels(y)
        assert values.dtype == np.asarray(y).dtype
        assert missing.shape == np.shape(y)
        assert not missing.any()
