"""Columns that are no features, beside the rows of a file."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from fastgmm.data.errors import DataError
from fastgmm.data.opening import open_data
from fastgmm.data.passthrough_columns import CarriedColumns


def test_pieces_are_cut_as_rows_are_taken():
    carried = CarriedColumns(["a", "b"], ["a", "x", "b"])
    for first, last in ((0, 5), (5, 5), (5, 7), (7, 12)):
        numbers = np.arange(first, last)
        carried.put([numbers, pa.array(numbers.astype(str))])
    done = 0
    for n_rows in (1, 5, 0, 6):
        columns = carried.take(n_rows)
        expected = np.arange(done, done + n_rows)
        if n_rows:
            np.testing.assert_array_equal(columns["a"], expected)
            assert columns["b"].to_pylist() == expected.astype(str).tolist()
        done += n_rows


def test_what_waits_is_forgotten_when_rows_begin_anew():
    carried = CarriedColumns(["a"], ["a"])
    carried.put([np.zeros(3)])
    carried.clear()
    carried.put([np.ones(2)])
    np.testing.assert_array_equal(carried.take(2)["a"], np.ones(2))


def test_without_columns_there_is_nothing():
    carried = CarriedColumns([], ["x"])
    carried.put([])
    assert carried.take(10) == {}


@pytest.mark.parametrize("as_numbers", [False, True])
@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_a_file_hands_them_over_in_every_pass(tmp_path, form, as_numbers):
    count = np.arange(5000)
    table = pa.table({"count": count, "x": count * 0.5, "flag": count % 2 == 0})
    path = tmp_path / f"rows.{form}"
    if form == "parquet":
        parquet.write_table(table, path, row_group_size=900)
    else:
        feather.write_feather(table, path, chunksize=900)
    source = open_data(path, columns=["x"], block_rows=1024)
    carried = source.carry(form="numbers" if as_numbers else "stored")
    assert carried.names == ("count", "flag")
    assert carried.order == ("count", "x", "flag")
    for _ in range(2):
        seen = []
        for X, _weights in source.blocks():
            columns = carried.take(len(X))
            seen.append(np.asarray(columns["count"]))
            np.testing.assert_array_equal(seen[-1] * 0.5, X[:, 0])
        whole = np.concatenate(seen)
        np.testing.assert_array_equal(whole, count)
        assert whole.dtype == (np.float64 if as_numbers else np.int64)


def test_files_must_have_the_same(tmp_path):
    for name, columns in (
        ("a", {"x": [1.0], "n": [1]}),
        ("b", {"x": [1.0], "n": ["one"]}),
        ("c", {"x": [1.0]}),
    ):
        parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    a, b, c = (tmp_path / f"{name}.parquet" for name in "abc")
    with pytest.raises(DataError, match=r"'n' is int64 in '.*a\.parquet' and string in .*one type"):
        open_data([a, b], columns=["x"]).carry()
    with pytest.raises(DataError, match=r"c\.parquet' has no column 'n', which"):
        open_data([a, c], columns=["x"]).carry()
    with pytest.raises(DataError, match=r"other things than real numbers in the columns 'n' \(str"):
        open_data(b, columns=["x"]).carry(form="numbers")
    with pytest.raises(ValueError, match=r"has no column 'm': its columns are 'x', 'n'"):
        open_data(a, columns=["x"]).carry(["m"])
    assert open_data(a, columns=["x"]).carry(["n"]).names == ("n",)
    with pytest.raises(ValueError, match="only where no rows are left out"):
        open_data(a, columns=["x"], missing="drop").carry()
