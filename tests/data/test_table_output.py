"""Tables written at once or block by block, all of them or nothing."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fastgmm.data.opening import open_data
from fastgmm.data.table_output import csv_blocks, table_writer, write_table
from tests.written_data import all_rows

SUFFIXES = [".csv", ".parquet", ".npy"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_is_exact(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    random = np.random.default_rng(0).standard_normal((100, 2)) * 1e-7
    write_table(path, {"a": random[:, 0], "b, c": random[:, 1]})
    source = open_data(path)
    np.testing.assert_array_equal(all_rows(source), random)
    assert source.feature_names == (None if suffix == ".npy" else ("a", "b, c"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blocks_make_the_same_file_as_all_rows_at_once(tmp_path, suffix):
    columns = {"component": np.arange(1000), "weight": np.linspace(0, 1, 1000)}
    write_table(tmp_path / f"whole{suffix}", columns)
    with table_writer(tmp_path / f"blocks{suffix}") as write:
        for first, last in ((0, 1), (1, 1), (1, 700), (700, 1000)):
            write({name: column[first:last] for name, column in columns.items()})
    whole, blocks = tmp_path / f"whole{suffix}", tmp_path / f"blocks{suffix}"
    if suffix == ".parquet":
        assert parquet.read_table(whole) == parquet.read_table(blocks)
    else:
        assert whole.read_bytes() == blocks.read_bytes()


def test_npy_is_as_numpy_writes_it(tmp_path):
    values = np.random.default_rng(0).normal(size=(1000, 2))
    np.save(tmp_path / "numpy.npy", values)
    write_table(tmp_path / "a.npy", {"a": values[:, 0], "b": values[:, 1]})
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_single_column_makes_a_flat_npy(tmp_path):
    with table_writer(tmp_path / "a.npy") as write:
        write({"component": np.arange(3)})
        write({"component": np.arange(2)})
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [0, 1, 2, 0, 1])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_appears_before_the_end_or_after_an_error(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_table(path, {"a": np.arange(3)})
    before = path.read_bytes()

    def half():
        with table_writer(path) as write:
            write({"a": np.arange(5)})
            assert path.read_bytes() == before
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_without_rows(tmp_path, suffix):
    write_table(tmp_path / f"a{suffix}", {"a": np.empty(0), "b": np.empty(0)})
    if suffix == ".npy":
        assert np.load(tmp_path / "a.npy").shape == (0, 2)
    elif suffix == ".csv":
        assert (tmp_path / "a.csv").read_text() == "a,b\n"
    else:
        assert parquet.read_table(tmp_path / "a.parquet").schema.names == ["a", "b"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_written(tmp_path, suffix):
    with (
        pytest.raises(ValueError, match=r"nothing was written to '.*': a table has columns at lea"),
        table_writer(tmp_path / f"a{suffix}"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_float32_is_written_short_and_comes_back_exactly(tmp_path):
    values = np.array([0.1, 1 / 3, 16777216], dtype=np.float32)
    text = "".join(csv_blocks({"a": values}))
    assert text.split()[:3] == ["a", "0.1", "0.33333334"]
    (tmp_path / "a.csv").write_text(text)
    found = all_rows(open_data(tmp_path / "a.csv"))[:, 0]
    np.testing.assert_array_equal(found.astype(np.float32), values)


def test_text_is_quoted_where_csv_needs_it(tmp_path):
    path = tmp_path / "texts.csv"
    write_table(path, {"a": np.array(["x", "y, z", 'the "w"']), "b": np.arange(3)})
    assert path.read_text() == 'a,b\nx,0\n"y, z",1\n"the ""w""",2\n'


def test_unknown_suffix(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of \.npy, \.csv, \.parquet"):
        write_table(tmp_path / "a.txt", {"a": np.arange(3)})


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_table(tmp_path / "b" / "a.csv", {"a": np.arange(3)})


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"writing Parquet needs pyarrow"):
        write_table(tmp_path / "a.parquet", {"a": np.arange(3)})


def test_types_stay_in_parquet(tmp_path):
    write_table(tmp_path / "a.parquet", {"a": np.arange(3, dtype=np.int32)})
    assert parquet.read_schema(tmp_path / "a.parquet").field("a").type == pa.int32()
