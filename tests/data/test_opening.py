"""The same rows, whatever holds them: the same blocks, and the same statistics to the bit."""

import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

import fastgmm
from fastgmm.data.errors import DataError
from fastgmm.data.opening import is_data_reference, open_data
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters
from tests.pairwise import parametrize_pairwise
from tests.written_data import (
    FORMS,
    NAMES,
    ONCE,
    TEXT,
    all_rows,
    arrow_table,
    batches,
    blocks_of,
    rows,
    write_arrow,
    write_csv,
    write_hdf5,
    write_npy,
    write_parquet,
)

NAMED = (
    *("pandas", "polars", "Parquet", "Arrow", "CSV", "open", "Feather", "HDF5 columns"),
    "iterator of frames",
)
"""How the forms begin that know the names of columns."""


def assert_same_statistics(source, expected):
    means = np.multiply.outer([0.0, 4.0], np.ones(expected.n_features))
    covariances = np.multiply.outer([1.0, 2.0], np.eye(expected.n_features))
    mixture = MixtureParameters.from_covariances(np.array([0.4, 0.6]), means, covariances)
    found = mixture_statistics(source, mixture)
    wanted = mixture_statistics(expected, mixture)
    for name in ("reference", "counts", "first", "second", "log_likelihood", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


def labels_need_a_second_reading(form, _dtype, _block_rows, _chosen, _weighted, labeled, _missing):
    return not (form in ONCE and labeled)


@parametrize_pairwise(
    labels_need_a_second_reading,
    form=FORMS,
    dtype=[np.float64, np.float32],
    block_rows=[1, 1500],
    chosen=[False, True],
    weighted=[False, True],
    labeled=[False, True],
    missing=[False, True],
)
def test_every_form_is_read_as_the_array(
    tmp_path, form, dtype, block_rows, chosen, weighted, labeled, missing
):
    X = np.abs(rows(3000, dtype))
    if form in TEXT:  # single precision as it is written, in decimals
        X = X.astype(str).astype(np.float64)
    if form == "list of lists":
        X = X.astype(np.float64)
    if missing:
        X[[7, 2500], 1] = np.nan
    if labeled:
        X[::5, 2] = np.nan
    has_names = form.startswith(NAMED) and "without" not in form
    names = NAMES if has_names else ("x0", "x1", "x2")
    features = [j for j in range(3) if not (j == 0 and weighted) and not (j == 2 and labeled)]
    features = features[-1:] if chosen else features
    source = open_data(
        FORMS[form](tmp_path, X),
        block_rows=block_rows,
        columns=[names[j] for j in features] if chosen else None,
        weight_column=names[0] if weighted else None,
        label_column=names[2] if labeled else None,
        missing="drop" if missing else "error",
    )
    kept = ~np.isnan(X[:, features]).any(axis=1)
    expected = ArraySource(X[kept][:, features], X[kept, 0] if weighted else None)

    assert source.replayable == (form not in ONCE)
    if chosen or has_names:
        assert source.feature_names == tuple(names[j] for j in features)
    else:
        assert source.feature_names is None
    assert source.n_features == len(features)
    assert source.has_weights == weighted
    if labeled:
        np.testing.assert_array_equal(source.labels(), X[kept, 2])
        assert source.labels().dtype == np.float64
    elif form not in ONCE:
        assert source.labels() is None
        np.testing.assert_array_equal(source.some_rows(5), X[kept][:5, features])
    assert_same_statistics(source, expected)
    assert source.n_samples == kept.sum()
    assert source.total_weight == expected.total_weight
    assert source.dtype == X.dtype
    if form in ONCE:
        return
    blocks = blocks_of(source)  # from the start again
    assert all(len(block) % 1024 == 0 for block, _ in blocks[:-1])
    np.testing.assert_array_equal(
        np.concatenate([block for block, _ in blocks]), X[kept][:, features]
    )
    if weighted:
        np.testing.assert_array_equal(np.concatenate([w for _, w in blocks]), X[kept, 0])


@pytest.mark.parametrize("form", sorted(ONCE))
def test_what_comes_once_says_so(tmp_path, form):
    source = open_data(FORMS[form](tmp_path, rows(100)))
    all_rows(source)
    with pytest.raises(ValueError, match=r"can be iterated over only once, and has been"):
        all_rows(source)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int32, np.float16, bool, ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_other_types_become_double_precision(tmp_path, dtype, order):
    X = np.abs(rows() * 3).astype(dtype, order=order)
    for data in (X, write_npy(tmp_path / "x.npy", X)):
        source = open_data(data)
        assert source.dtype == np.float64
        assert_same_statistics(source, ArraySource(X.astype(np.float64)))


@pytest.mark.parametrize("dtype", [np.int8, bool])
def test_lists_of_other_numbers_become_double_precision(dtype):
    X = np.abs(rows(2000) * 3).astype(dtype)
    source = open_data(X.tolist())
    assert source.dtype == np.float64
    assert_same_statistics(source, ArraySource(X.astype(np.float64)))


def test_weights_alone_leave_unnamed_columns_without_names(tmp_path):
    X = np.abs(rows(10))
    for data in (X, write_npy(tmp_path / "x.npy", X)):
        source = open_data(data, weight_column="x1")
        assert source.feature_names is None
        np.testing.assert_array_equal(all_rows(source), X[:, [0, 2]])


def test_columns_if_named_leaves_data_without_names_whole(tmp_path):
    X = rows(10)
    named = open_data(write_csv(tmp_path / "x.csv", X), columns_if_named=["c", "a"])
    np.testing.assert_array_equal(all_rows(named), X[:, [2, 0]])
    unnamed = open_data(write_npy(tmp_path / "x.npy", X), columns_if_named=["c", "a"])
    np.testing.assert_array_equal(all_rows(unnamed), X)


def test_the_package_has_it():
    assert fastgmm.open_data is open_data
    assert fastgmm.DataError is DataError


def test_a_source_is_returned_as_it_is():
    source = ArraySource(rows(3))
    assert open_data(source) is source
    with pytest.raises(ValueError, match="a source already: give the options to what opened it"):
        open_data(source, columns=["x0"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": "a"}, TypeError, "columns must be a list of names; got 'a'"),
        ({"columns": [0]}, TypeError, r"columns must be a list of names; got \[0\]"),
        ({"columns": []}, ValueError, "columns names no column; leave it out to use all"),
        ({"columns": ["a", "a"]}, ValueError, r"names a column twice; got \['a', 'a'\]"),
        ({"columns": ["x7"]}, ValueError, "the array has no column 'x7': its columns are 'x0'"),
        ({"weight_column": "w"}, ValueError, "the array has no column 'w'"),
        ({"missing": "ignore"}, ValueError, "must be 'error' or 'drop' or 'model'; got 'ignore'"),
        ({"on_error": "stop"}, ValueError, "on_error must be 'raise' or 'skip'; got 'stop'"),
        ({"block_rows": 0}, ValueError, "block_rows must be at least 1; got 0"),
        ({"memory_budget": "much"}, ValueError, "'much' is no amount of memory"),
        ({"filter": [("a", ">", 1)]}, ValueError, "an array cannot be filtered here"),
    ],
)
def test_options_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        open_data(rows(3), **options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (sparse.eye_array(3), r"the array is a sparse matrix: give a dense array, as X\.toarray"),
        (b"1,2", "the array is of type bytes: give an array of numbers, a data frame, or"),
        (None, "the array is None: give an array of numbers, a data frame, or the path"),
    ],
)
def test_objects_that_hold_no_rows(data, message):
    with pytest.raises(TypeError, match=message):
        open_data(data)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (3, 0), ()])
def test_arrays_that_are_no_tables(shape):
    with pytest.raises(DataError, match=r"array of shape .*, which is not a table: it must have"):
        open_data(np.zeros(shape))


def test_arrays_without_rows():
    for dtype in (float, int):
        with pytest.raises(DataError, match="the array has no rows"):
            all_rows(open_data(np.zeros((0, 2), dtype)))


@pytest.mark.parametrize("form", ["array", "memory map", "Parquet", "CSV", "pandas", "iterator"])
def test_missing_values_are_errors_or_dropped(tmp_path, form):
    X = rows(3000)
    X[[7, 2500], [1, 0]] = np.nan
    place = "line 9 of .* column 'b'" if form == "CSV" else "'(b|x1)' in row 7, counted from 0,"
    with pytest.raises(DataError, match=f"{place} is missing.*missing='drop'"):
        all_rows(open_data(FORMS[form](tmp_path, X)))
    source = open_data(FORMS[form](tmp_path, X), missing="drop")
    np.testing.assert_array_equal(all_rows(source), np.delete(X, [7, 2500], axis=0))
    assert source.n_samples == 2998


def test_infinite_values_are_errors_even_where_missing_ones_are_not(tmp_path):
    X = rows(10)
    X[3, 2] = -np.inf
    for data in (X, write_parquet(tmp_path / "x.parquet", X)):
        with pytest.raises(
            DataError, match=r"column '(c|x2)' in row 3, counted from 0, is -inf: remove such rows"
        ):
            all_rows(open_data(data, missing="drop"))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [1.0, -2.0, 1.0],
            r"(line 3 .*the weight|the weight in row 1, counted from 0,) is -2: weights must be",
        ),
        (
            [1.0, np.nan, 1.0],
            r"(line 3 .*the weight|the weight in row 1, counted from 0,) is missing",
        ),
        ([0.0, 0.0, 0.0], r"every row has weight 0"),
        ([1e308, 1e308, 1e308], r"the weights should have a finite sum, but got inf"),
    ],
)
def test_weights_that_cannot_be(tmp_path, weights, message):
    X = rows(3)
    X[:, 1] = weights
    for data, name in ((X, "x1"), (write_csv(tmp_path / "x.csv", X), "b"), (arrow_table(X), "b")):
        with pytest.raises(DataError, match=message):
            all_rows(open_data(data, weight_column=name))


@pytest.mark.parametrize(
    "form", ["Parquet", "CSV", "Arrow file", "Arrow stream", "Arrow reader", "open CSV"]
)
def test_filter_leaves_rows_out_and_keeps_their_numbers(tmp_path, form):
    X = rows(3000)
    data = FORMS[form](tmp_path, X)
    source = open_data(data, columns=["a", "c"], filter=pa.compute.field("b") > 1)
    np.testing.assert_array_equal(all_rows(source), X[X[:, 1] > 1][:, [0, 2]])
    X[2000] = [np.nan, 5, 1]
    data = FORMS[form](tmp_path, X)
    row = "'a' in row 2000, counted from 0," if "CSV" not in form else "line 2002 of .* column 'a'"
    with pytest.raises(DataError, match=f"{row} is missing"):
        all_rows(open_data(data, filter=[("b", ">", 4.9), ("b", "<", 5.1)]))


@pytest.mark.parametrize("form", ["npy", "HDF5", "pandas", "iterator", "memory map"])
def test_filter_is_refused_where_there_is_none(tmp_path, form):
    with pytest.raises(ValueError, match=r"cannot be filtered.*Parquet, Arrow and CSV files"):
        open_data(FORMS[form](tmp_path, rows(10)), filter=[("a", ">", 1)])


def test_references_are_distinguished_from_arrays(tmp_path):
    arrays = {"array", "array in column order", "strided array", "big-endian array", "memory map"}
    for form, make in FORMS.items():
        folder = tmp_path / form
        folder.mkdir()
        expected = form not in {*arrays, "list of lists"}
        assert is_data_reference(make(folder, rows(10))) == expected, form
    assert is_data_reference(ArraySource(rows(3)))
    assert not is_data_reference(None)
    for column in (pd.Series([1.0]), pl.Series([1.0]), pa.chunked_array([[1.0]])):
        assert not is_data_reference(column)
        with pytest.raises(DataError, match=r"shape \(1,\), which is not a table"):
            open_data(column)


def test_open_files_that_are_no_streams_of_rows(tmp_path):
    with (
        write_csv(tmp_path / "x.csv", rows(3)).open() as text,
        write_parquet(tmp_path / "x.parquet", rows(3)).open("rb") as table,
    ):
        with pytest.raises(TypeError, match="gives text, not bytes: open it in binary mode"):
            open_data(text)
        with pytest.raises(DataError, match="the open file holds a file of the kind Parquet, whi"):
            open_data(table)


def test_standard_input(tmp_path):
    code = "import fastgmm; print(sum(len(X) for X, _ in fastgmm.open_data('-').blocks()))"
    X = rows(3000)
    for path in (write_csv(tmp_path / "x.csv", X), write_arrow(tmp_path / "x.arrows", X)):
        with path.open("rb") as file:
            run = subprocess.run(
                [sys.executable, "-c", code], stdin=file, capture_output=True, check=True, text=True
            )
        assert run.stdout.strip() == "3000"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_named_pipe(tmp_path):
    X = rows(3000)
    path = write_csv(tmp_path / "x.csv", X)
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(path.read_bytes()))
    thread.start()
    source = open_data(tmp_path / "pipe")
    np.testing.assert_array_equal(all_rows(source), X)
    thread.join()
    assert not source.replayable


def test_fingerprints_tell_data_apart(tmp_path):
    X = rows(100)
    path = write_parquet(tmp_path / "x.parquet", X)
    same = open_data(path).fingerprint()
    assert open_data(path).fingerprint() == same
    assert open_data(path, columns=["a"]).fingerprint() != same
    assert open_data(path, missing="drop").fingerprint() != same
    write_parquet(path, X[:99])
    assert open_data(path).fingerprint() != same
    whole = np.arange(300).reshape(100, 3)
    for array in (X, whole):
        assert open_data(array).fingerprint() == open_data(array.copy()).fingerprint()
        assert open_data(array).fingerprint() != open_data(array + 1).fingerprint()


def test_expected_samples_come_from_what_files_say(tmp_path):
    X = rows(2000)
    expected = {
        "Parquet folder": 2000,
        "npy": 2000,
        "HDF5": 2000,
        "Zarr 3": 2000,
        "Arrow file": 2000,
    }
    expected |= {"CSV": None, "Arrow stream": None}
    for form, count in expected.items():
        folder = tmp_path / form
        folder.mkdir()
        assert open_data(FORMS[form](folder, X)).expected_samples == count, form


def test_frame_with_numbers_for_names_has_none():
    source = open_data(pd.DataFrame(rows(10)))
    assert source.feature_names is None


def test_memory_budget_bounds_blocks(tmp_path):
    X = rows(40_000)
    path = write_hdf5(tmp_path / "x.h5", X, chunks=None)
    for form in (
        path,
        write_parquet(tmp_path / "x.parquet", X, 40_000),
        lambda: batches(X, 40_000),
    ):
        source = open_data(form, memory_budget="1MB")
        assert max(block.nbytes for block, _ in source.blocks()) <= 2**20 / 16
    assert open_data(path, memory_budget=1).block_rows == 1024


def labeled(n_samples=3000):
    """Return rows of which the last column holds labels, NaN for some."""
    X = rows(n_samples)
    X[:, 2] = np.arange(n_samples) % 3
    X[::5, 2] = np.nan
    return X


@pytest.mark.parametrize("write", [write_parquet, write_csv, write_npy])
def test_labels_of_rows_that_are_left_out_are_left_out(tmp_path, write):
    X = labeled()
    X[3::7, 1] = np.nan
    path = write(tmp_path / f"rows.{write.__name__[6:]}", X)
    name = "x2" if write is write_npy else "c"
    weight = "x0" if write is write_npy else "a"
    kept = ~np.isnan(X[:, 1]) & ~np.isnan(X[:, 0])
    source = open_data(path, missing="drop", label_column=name)
    np.testing.assert_array_equal(source.labels(), X[kept, 2])
    np.testing.assert_array_equal(all_rows(source), X[kept, :2])
    X[:, 0] = np.abs(X[:, 0])
    path = write(tmp_path / f"weighted.{write.__name__[6:]}", X)
    source = open_data(path, missing="drop", label_column=name, weight_column=weight)
    np.testing.assert_array_equal(source.labels(), X[kept, 2])
    np.testing.assert_array_equal(all_rows(source), X[kept, 1:2])
    assert source.n_samples == kept.sum()


def test_labels_of_rows_that_a_filter_leaves(tmp_path):
    X = labeled()
    path = write_parquet(tmp_path / "rows.parquet", X)
    source = open_data(path, filter=[("b", ">", 2.0)], label_column="c")
    np.testing.assert_array_equal(source.labels(), X[X[:, 1] > 2.0, 2])


@pytest.mark.parametrize("form", ["parquet", "csv", "frame"])
def test_labels_in_words_are_refused(tmp_path, form):
    frame = pd.DataFrame({"a": [1.0, 2.0], "kind": ["red", "green"]})
    if form != "frame":
        path = tmp_path / f"rows.{form}"
        frame.to_csv(path, index=False) if form == "csv" else frame.to_parquet(path)
        frame = path
    with pytest.raises(DataError, match=r"labels in column 'kind' of .* are no numbers .*from 0"):
        open_data(frame, label_column="kind")


def test_a_column_of_labels_is_nothing_else():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [0, 1]})
    for other in ({"weight_column": "b"}, {"columns": ["a", "b"]}):
        with pytest.raises(ValueError, match=r"label_column is 'b'.*only one of them"):
            open_data(frame, label_column="b", **other)
    with pytest.raises(ValueError, match="no column 'c'"):
        open_data(frame, label_column="c")


def test_labels_of_what_comes_once_cannot_be_read_first():
    source = open_data(iter([rows(10)]), label_column="x2")
    with pytest.raises(ValueError, match="only once, and its labels are read first"):
        source.labels()
