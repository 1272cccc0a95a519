"""What is said about the columns of data."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from fastgmm.data.errors import DataError
from fastgmm.data.summary import ColumnSummary, summarize_columns
from tests.written_data import FORMS, batches, rows, write_csv, write_parquet


def test_columns_of_a_csv_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,kind,empty\n1,x,\n,y,\n4,,\n")
    assert summarize_columns(path) == (
        3,
        (
            ColumnSummary("a", "int64", 1, 1.0, 4.0, 2.5),
            ColumnSummary("kind", "string", 1),
            ColumnSummary("empty", "null", 3),
        ),
    )


def test_columns_of_a_parquet_file(tmp_path):
    table = pa.table(
        {
            "kind": ["x", None, None],
            "day": [datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)],
            "class": pa.array(["u", None, "u"]).dictionary_encode(),
            "yes": [True, False, None],
            "a": pa.array([1.5, None, float("nan")], pa.float32()),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    n_samples, columns = summarize_columns(tmp_path / "a.parquet")
    assert n_samples == 3
    assert columns == (
        ColumnSummary("kind", "string", 2),
        ColumnSummary("day", "date32[day]", 1),
        ColumnSummary("class", "dictionary<values=string, indices=int32, ordered=0>", 1),
        ColumnSummary("yes", "bool", 1, 0.0, 1.0, 0.5),
        ColumnSummary("a", "float", 2, 1.5, 1.5, 1.5),
    )


def test_columns_of_an_array(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, np.nan], [2.0, np.nan], [6.0, np.nan]]))
    assert summarize_columns(tmp_path / "a.npy") == (
        3,
        (ColumnSummary("x0", "float64", 0, 1.0, 6.0, 3.0), ColumnSummary("x1", "float64", 3)),
    )


@pytest.mark.parametrize(
    "form",
    [
        "Parquet folder",
        "CSV list",
        "HDF5",
        "Zarr 3",
        "Arrow stream",
        "npz",
        "array",
        "memory map",
        "pandas",
        "polars",
        "Arrow capsule",
        "list of lists",
        "open CSV",
    ],
)
def test_any_data(tmp_path, form):
    X = rows(2000)
    n_samples, columns = summarize_columns(FORMS[form](tmp_path, X))
    assert n_samples == 2000
    for j, column in enumerate(columns):
        assert column.n_missing == 0
        assert column.minimum == X[:, j].min()
        assert column.maximum == X[:, j].max()
        assert column.mean == pytest.approx(X[:, j].mean(), rel=1e-12)


def test_frames_with_other_things_than_numbers():
    frame = {"a": [1, 2], "kind": ["x", "y"]}
    for make in (pd.DataFrame, pl.DataFrame):
        n_samples, (first, second) = summarize_columns(make(frame))
        assert (n_samples, first.mean, second.mean) == (2, 1.5, None)


def test_batches_cannot_be_described():
    for data in (batches(rows(10)), lambda: batches(rows(10))):
        with pytest.raises(TypeError, match="batches cannot be described: give files, an array"):
            summarize_columns(data)


def test_files_with_different_columns(tmp_path):
    write_parquet(tmp_path / "1.parquet", rows(3))
    parquet.write_table(pa.table({"a": [1.0]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet' has no column 'b'"):
        summarize_columns(tmp_path)


def test_damage_is_an_error(tmp_path):
    path = write_csv(tmp_path / "a.csv.gz", rows(10_000))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="from line"):
        summarize_columns(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        summarize_columns(tmp_path / "a.csv")
