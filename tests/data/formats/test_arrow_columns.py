"""Columns of lists of numbers in files and streams of Arrow and Parquet."""

import contextlib
import io
import itertools
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from fastgmm import DataError, GaussianMixture, open_data
from tests.cli_process import succeed
from tests.written_data import all_rows

VECTORS = np.random.default_rng(0).normal(size=(3000, 3))
EXTRA = np.arange(3000.0)
NAMES = ("emb[0]", "emb[1]", "emb[2]", "x")
TYPES = {
    "list": pa.list_(pa.float64()),
    "large": pa.large_list(pa.float64()),
    "fixed": pa.list_(pa.float64(), 3),
}


def table(kind="list", rows=None):
    rows = VECTORS.tolist() if rows is None else rows
    return pa.table({"emb": pa.array(rows, TYPES[kind]), "x": np.arange(float(len(rows)))})


def written(folder, form, data):
    path = folder / f"data.{form}"
    if form == "parquet":
        parquet.write_table(data, path, row_group_size=1000)
    elif form == "feather":
        feather.write_feather(data, str(path), chunksize=1000)
    elif form == "arrows":
        with pa.ipc.new_stream(str(path), data.schema) as writer:
            writer.write_table(data, max_chunksize=1000)
    else:
        return data.to_reader(max_chunksize=1000)
    return path


@pytest.mark.parametrize("form", ["parquet", "feather", "arrows", "reader"])
@pytest.mark.parametrize("kind", TYPES)
def test_each_place_is_a_feature(tmp_path, form, kind):
    source = open_data(written(tmp_path, form, table(kind)))
    assert source.feature_names == NAMES
    np.testing.assert_array_equal(all_rows(source), np.column_stack([VECTORS, EXTRA]))
    chosen = open_data(written(tmp_path, form, table(kind)), columns=["x", "emb"])
    assert chosen.feature_names == ("x", *NAMES[:3])
    one = open_data(
        written(tmp_path, form, table(kind)), columns=["emb[1]"], filter=[("x", ">", 5)]
    )
    np.testing.assert_array_equal(all_rows(one)[:, 0], VECTORS[6:, 1])
    weighted = open_data(written(tmp_path, form, table(kind)), weight_column="x")
    assert weighted.feature_names == NAMES[:3]


@pytest.mark.parametrize("form", ["parquet", "feather", "arrows", "reader"])
@pytest.mark.parametrize("kind", ["list", "large"])
@pytest.mark.parametrize("given", [[1.0], []])
def test_lists_of_another_length_are_named(tmp_path, form, kind, given):
    rows = VECTORS.tolist()
    rows[1500] = given
    source = open_data(written(tmp_path, form, table(kind, rows)))
    words = f"of 3 numbers in each row, but has one of length {len(given)} in row 1500, counted"
    with pytest.raises(DataError, match=f"column 'emb' of .* a list {words}"):
        all_rows(source)
    only = open_data(written(tmp_path, form, table(kind, rows)), columns=["x"])
    assert len(all_rows(only)) == 3000


def forms_of_missing_lists():
    """Yield the forms and types in which this version of Arrow writes that there is no list."""
    for form, kind in itertools.product(["parquet", "feather", "arrows", "reader"], TYPES):
        with contextlib.suppress(pa.ArrowNotImplementedError):
            if form == "parquet":
                one = [1.0, 2.0, 3.0]
                parquet.write_table(table(kind, [one, None, one]), io.BytesIO())
            yield form, kind


@pytest.mark.parametrize(("form", "kind"), list(forms_of_missing_lists()))
def test_a_row_without_a_list_lacks_its_numbers(tmp_path, form, kind):
    rows = VECTORS.tolist()
    rows[1500] = rows[2999] = None
    kept = np.delete(np.column_stack([VECTORS, EXTRA]), [1500, 2999], axis=0)

    def read(missing):
        return all_rows(open_data(written(tmp_path, form, table(kind, rows)), missing=missing))

    with pytest.raises(DataError, match=r"column 'emb\[0\]' in row 1500, counted from 0, is miss"):
        read("error")
    np.testing.assert_array_equal(read("drop"), kept)
    found = read("model")
    assert np.isnan(found[[1500, 2999], :3]).all()
    np.testing.assert_array_equal(found[:, 3], EXTRA)


def test_what_is_missing_in_a_list(tmp_path):
    rows = [[1.0, None, 2.0], [3.0, 4.0, 5.0]]
    path = written(tmp_path, "parquet", table("list", rows))
    with pytest.raises(DataError, match=r"column 'emb\[1\]' in row 0, counted from 0, is missing"):
        all_rows(open_data(path))
    assert all_rows(open_data(path, missing="drop")).tolist() == [[3.0, 4.0, 5.0, 1.0]]


def test_files_of_pandas_and_polars(tmp_path):
    single = VECTORS.astype(np.float32)
    pd.DataFrame({"emb": list(single)}).to_parquet(tmp_path / "pandas.parquet")
    pl.DataFrame({"emb": single}).write_parquet(tmp_path / "polars.parquet")
    for name in ("pandas.parquet", "polars.parquet"):
        source = open_data(tmp_path / name)
        assert source.dtype == np.float32
        np.testing.assert_array_equal(all_rows(source), single)
    mixture = GaussianMixture(2, random_state=0).fit(tmp_path / "pandas.parquet")
    assert mixture.feature_names_in_.tolist() == list(NAMES[:3])
    np.testing.assert_array_equal(
        mixture.predict(tmp_path / "polars.parquet"), mixture.predict(tmp_path / "pandas.parquet")
    )


def test_lists_of_other_things_are_named(tmp_path):
    path = written(tmp_path, "parquet", pa.table({"emb": [["a"], ["b"]], "x": [1.0, 2.0]}))
    with pytest.raises(DataError, match=r"real numbers in the columns 'emb' \(list<.*string>\)"):
        open_data(path)


def test_dictionaries_of_numbers(tmp_path):
    column = pa.array([1.5, None, 2.0]).dictionary_encode()
    for form in ("parquet", "feather", "arrows"):
        source = open_data(written(tmp_path, form, pa.table({"a": column})), missing="model")
        np.testing.assert_array_equal(all_rows(source)[:, 0], [1.5, np.nan, 2.0])


def test_commands(tmp_path):
    written(tmp_path, "parquet", table())
    shown = json.loads(
        succeed("fit", "data.parquet", "-k", 2, "-q", "--json", "-o", "m.fgm", cwd=tmp_path)
    )
    assert shown["columns"] == list(NAMES)
    succeed("predict", "data.parquet", "-m", "m.fgm", "-o", "labels.csv", cwd=tmp_path)
    assert len((tmp_path / "labels.csv").read_text().split()) == 3001
    assert "emb[2]" in succeed("info", "data.parquet", cwd=tmp_path)
    succeed("fit", "data.parquet", "-k", 2, "-q", "--columns", "x", "-o", "x.fgm", cwd=tmp_path)
    succeed("impute", "data.parquet", "-m", "x.fgm", "-o", "filled.parquet", cwd=tmp_path)
    filled = parquet.read_table(tmp_path / "filled.parquet")
    np.testing.assert_array_equal(filled["emb[1]"], VECTORS[:, 1])
