"""Values that float64 cannot stand for: they are refused or reported, from wherever they come."""

import datetime

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

import fastgmm
from fastgmm.data.errors import DataError, RoundedDataWarning
from fastgmm.data.opening import open_data
from tests.written_data import all_rows

LARGE = 2**53 + 1
RANDOM = np.random.default_rng(0)
INTEGERS = RANDOM.integers(2**60, size=40) + LARGE
HALVES = RANDOM.normal(size=40)


def table():
    return pa.table({"key": INTEGERS, "x": HALVES})


def matrix():
    return np.stack([INTEGERS, INTEGERS[::-1]], axis=1)


def in_parquet(folder):
    parquet.write_table(table(), folder / "rows.parquet", row_group_size=10)
    return folder / "rows.parquet"


def in_parquet_with_gaps(folder):
    gaps = pa.array([None, *INTEGERS[1:].tolist()])
    parquet.write_table(table().set_column(0, "key", gaps), folder / "rows.parquet")
    return folder / "rows.parquet"


def in_feather(folder):
    feather.write_feather(table(), folder / "rows.feather")
    return folder / "rows.feather"


def in_csv(folder):
    table().to_pandas().to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


def in_npy(folder):
    np.save(folder / "rows.npy", matrix())
    return folder / "rows.npy"


def in_hdf5(folder):
    with h5py.File(folder / "rows.h5", "w") as file:
        file["X"] = matrix()
    return folder / "rows.h5"


FORMS = {
    "Parquet": in_parquet,
    "Parquet with gaps": in_parquet_with_gaps,
    "Feather": in_feather,
    "CSV": in_csv,
    "npy": in_npy,
    "memory map": lambda folder: np.load(in_npy(folder), mmap_mode="r"),
    "HDF5": in_hdf5,
    "array": lambda _: matrix(),
    "unsigned array": lambda _: matrix().astype(np.uint64),
    "negative array": lambda _: -matrix(),
    "list": lambda _: matrix().tolist(),
    "pandas": lambda _: table().to_pandas(),
    "pandas with gaps": lambda _: pd.DataFrame(
        {"key": pd.array([None, *INTEGERS[1:]], dtype="Int64"), "x": HALVES}
    ),
    "polars": lambda _: pl.DataFrame({"key": INTEGERS, "x": HALVES}),
    "Arrow table": lambda _: table(),
    "Arrow reader": lambda _: table().to_reader(7),
    "batches": lambda _: (matrix()[i : i + 7] for i in range(0, 40, 7)),
    "batches of frames": lambda _: iter(table().to_batches(7)),
}


def read_twice(source):
    _ = source.total_weight
    if source.replayable:
        all_rows(source)


@pytest.mark.parametrize("form", FORMS)
def test_integers_that_float64_rounds_are_reported_once(tmp_path, form):
    message = r"integers of 2\*\*53 and more, which float64 rounds, in column '(key'|x0', 'x1')"
    data = FORMS[form](tmp_path)
    with pytest.warns(RoundedDataWarning, match=message) as found:
        read_twice(open_data(data, missing="model"))
    assert len(found) == 1


@pytest.mark.parametrize("estimator", [fastgmm.GaussianMixture(1, reg_covar=1), fastgmm.KMeans(1)])
@pytest.mark.parametrize("form", ["array", "list", "pandas", "polars", "Arrow table"])
def test_estimators_report_them_too(tmp_path, form, estimator):
    data = FORMS[form](tmp_path)
    with pytest.warns(RoundedDataWarning, match=r"float64 rounds, in column '(key'|x0', 'x1'):"):
        estimator.set_params(random_state=0).fit(data)


def test_integers_that_float64_holds_are_not(tmp_path):
    exact = RANDOM.integers(2**52, 2**53, size=(40, 2))
    np.save(tmp_path / "rows.npy", exact)
    pd.DataFrame(exact, columns=["a", "b"]).to_parquet(tmp_path / "rows.parquet")
    large = np.full((40, 2), 1e300) * np.arange(1, 81).reshape(40, 2)
    for data in (exact, tmp_path / "rows.npy", tmp_path / "rows.parquet", large, large.tolist()):
        assert all_rows(open_data(data)).shape == (40, 2)


TIMES = pd.date_range("2020-01-01", periods=40, freq="h")
SPANS = TIMES - TIMES[0]

WRONG = {
    "dates": TIMES.to_numpy()[:, None],
    "durations": SPANS.to_numpy()[:, None],
    "dates of NumPy as objects": np.array([[t, 1.0] for t in TIMES.to_numpy()], dtype=object),
    "durations of NumPy as objects": np.array([[t, 1.0] for t in SPANS.to_numpy()], dtype=object),
    "list of dates": [[t, 1.0] for t in TIMES.to_pydatetime()],
    "list of days": [[t.date(), 1.0] for t in TIMES],
    "list of durations of NumPy": [[t] for t in SPANS.to_numpy()],
    "pandas": pd.DataFrame({"t": TIMES, "a": HALVES}),
    "pandas with a zone": pd.DataFrame({"t": TIMES.tz_localize("UTC"), "a": HALVES}),
    "pandas durations": pd.DataFrame({"t": SPANS, "a": HALVES}),
    "pandas dates only": pd.DataFrame({"t": TIMES}),
    "pandas dates of NumPy as objects": pd.DataFrame(
        {"t": pd.Series(list(TIMES.to_numpy()), dtype=object), "a": HALVES}
    ),
    "pandas durations of NumPy as objects": pd.DataFrame(
        {"t": pd.Series(list(SPANS.to_numpy()), dtype=object), "a": HALVES}
    ),
    "pandas by Arrow": pd.DataFrame({"t": pd.Series(TIMES).astype("timestamp[ns][pyarrow]")}),
    "polars": pl.DataFrame({"t": TIMES.to_pydatetime().tolist(), "a": HALVES}),
    "polars durations": pl.DataFrame({"t": [datetime.timedelta(i) for i in range(40)]}),
    "polars days": pl.DataFrame({"t": [datetime.date(2020, 1, 1)] * 40}),
    "polars times": pl.DataFrame({"t": [datetime.time(1)] * 40}),
    "Arrow": pa.table({"t": pa.array(TIMES), "a": HALVES}),
}


@pytest.mark.parametrize("estimator", [fastgmm.GaussianMixture(1), fastgmm.KMeans(1)])
@pytest.mark.parametrize("kind", WRONG)
def test_times_are_no_features(kind, estimator):
    with pytest.raises(DataError, match=r"numbers in the columns 't' \(|X holds dates, times or"):
        estimator.fit(WRONG[kind])


def test_times_are_no_targets():
    for y in (TIMES.to_numpy(), list(SPANS.to_numpy())):
        with pytest.raises(DataError, match="y holds dates, times or durations"):
            fastgmm.GaussianMixtureRegressor(1).fit(HALVES[:, None], y)


@pytest.mark.parametrize("kind", ["timestamp[ns]", "date32", "duration[s]", "time64[us]"])
def test_times_in_files_are_no_features(tmp_path, kind):
    column = pa.array(range(40)).cast(pa.int32() if kind == "date32" else pa.int64())
    times = column.cast(kind)
    parquet.write_table(pa.table({"t": times, "a": HALVES}), tmp_path / "rows.parquet")
    feather.write_feather(pa.table({"t": times, "a": HALVES}), tmp_path / "rows.feather")
    for name in ("rows.parquet", "rows.feather"):
        with pytest.raises(DataError, match=r"in the columns 't' \("):
            open_data(tmp_path / name)
