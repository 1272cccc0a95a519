"""Parquet: types, row groups, filters, folders named after values, and damage."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from fastgmm.data.errors import DataError, RoundedDataWarning, SkippedDataWarning
from fastgmm.data.formats.parquet_files import ParquetFile
from fastgmm.data.formats.table_file import Damage, Wanted
from fastgmm.data.opening import open_data
from tests.written_data import all_rows, rows, write_parquet


def write(path, columns, **options):
    parquet.write_table(pa.table(columns), path, **options)
    return path


def test_numbers_of_all_kinds(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {
            "float": pa.array([1.5, 2.5], pa.float32()),
            "half": pa.array([np.float16(0.5), np.float16(3)], pa.float16()),
            "int": [7, 2**53 + 1],
            "bool": [True, False],
            "decimal": [Decimal("1.25"), Decimal("-3.00")],
            "unsigned": pa.array([1, 2**64 - 1], pa.uint64()),
        },
    )
    source = open_data(path)
    assert source.dtype == np.float64
    expected = [[1.5, 0.5, 7, 1, 1.25, 1], [2.5, 3, 2.0**53, 0, -3, 2.0**64]]
    with pytest.warns(RoundedDataWarning, match=r"which float64 rounds, in column 'int', 'unsign"):
        found = all_rows(source)
    np.testing.assert_array_equal(found, expected)


def test_missing_values_of_all_kinds(tmp_path):
    kinds = [pa.float32(), pa.float16(), pa.int64(), pa.bool_(), pa.decimal128(5, 2), pa.null()]
    for i, kind in enumerate(kinds):
        path = write(tmp_path / f"{i}.parquet", {"x": [1.0, 2.0], "a": pa.array([None] * 2, kind)})
        with pytest.raises(
            DataError, match=r"parquet': the value in column 'a' in row 0, counted from 0, is missi"
        ):
            all_rows(open_data(path))


def test_other_things_than_numbers_are_all_named(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {
            "x": [1.0],
            "kind": ["text"],
            "day": [datetime.date(2020, 1, 1)],
            "class": pa.array(["u"]).dictionary_encode(),
            "list": [["a", "b"]],
        },
    )
    with pytest.raises(
        DataError,
        match=r"holds other things than real numbers in the columns 'kind' \(string\), 'day' "
        r"\(date32\[day\]\), 'class' \(dictionary<.*>\), 'list' \(list<.*>\): leave them out with",
    ):
        open_data(path)
    np.testing.assert_array_equal(all_rows(open_data(path, columns=["x"])), [[1.0]])
    with pytest.raises(DataError, match=r"columns 'kind' \(string\)"):
        open_data(path, columns=["x"], weight_column="kind")


def test_repeated_names(tmp_path):
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet' has several columns of the name 'a'"):
        open_data(tmp_path / "a.parquet")


def test_no_columns(tmp_path):
    path = write(tmp_path / "a.parquet", {"w": [1.0]})
    with pytest.raises(DataError, match="has no columns to use as features"):
        open_data(path, weight_column="w")


def test_files_with_columns_in_another_order(tmp_path):
    write(tmp_path / "1.parquet", {"a": [1.0], "b": [2.0]})
    write(tmp_path / "2.parquet", {"b": [4], "a": [3]})
    np.testing.assert_array_equal(all_rows(open_data(tmp_path)), [[1, 2], [3, 4]])


def test_single_precision_only_if_all_files_have_it(tmp_path):
    write(tmp_path / "1.parquet", {"a": pa.array([0.1], pa.float32())})
    assert open_data(tmp_path).dtype == np.float32
    write(tmp_path / "2.parquet", {"a": pa.array([0.1], pa.float64())})
    assert open_data(tmp_path).dtype == np.float64


def test_files_with_other_columns(tmp_path):
    write(tmp_path / "1.parquet", {"a": [1.0], "b": [2.0]})
    write(tmp_path / "2.parquet", {"a": [1.0], "c": [2.0]})
    with pytest.raises(DataError, match=r"2\.parquet' has no column 'b', which '.*1\.parquet' has"):
        open_data(tmp_path)
    np.testing.assert_array_equal(all_rows(open_data(tmp_path, columns=["a"])), [[1.0], [1.0]])
    write(tmp_path / "2.parquet", {"a": [1.0], "b": [2.0], "c": [2.0]})
    with pytest.raises(DataError, match=r"2\.parquet' has a column 'c', which '.*1\.parquet' does"):
        open_data(tmp_path)
    write(tmp_path / "2.parquet", {"a": [1.0], "b": ["text"]})
    with pytest.raises(DataError, match=r"2\.parquet' holds other things .* 'b' \(string\)"):
        open_data(tmp_path)


@pytest.fixture
def partitioned(tmp_path):
    """Return a folder of three years, of which the last has no number."""
    for i, year in enumerate(["2023", "2024", "__HIVE_DEFAULT_PARTITION__"]):
        folder = tmp_path / f"year={year}" / f"place=p{i}"
        folder.mkdir(parents=True)
        write(folder / "part.parquet", {"a": np.arange(4.0) + 10 * i}, row_group_size=2)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part.crc").write_bytes(b"\0")
    return tmp_path


def test_folders_named_after_values_are_columns_on_request(partitioned):
    assert open_data(partitioned).feature_names == ("a",)
    source = open_data(partitioned, columns=["year", "a"], missing="drop")
    np.testing.assert_array_equal(all_rows(source)[[0, -1]], [[2023, 0], [2024, 13]])
    with pytest.raises(DataError, match=r"columns 'place' \(folder's name\)"):
        open_data(partitioned, columns=["a", "place"])


def test_folders_named_after_values_are_filtered(partitioned):
    for wanted in ([("year", "=", 2024)], compute.field("year") == 2024):
        found = all_rows(open_data(partitioned, filter=wanted))
        np.testing.assert_array_equal(found[:, 0], [10, 11, 12, 13])
    found = all_rows(open_data(partitioned, filter=compute.field("place") == "p2"))
    np.testing.assert_array_equal(found[:, 0], [20, 21, 22, 23])


def test_filters_on_values_that_are_encoded(tmp_path):
    for i, (place, month) in enumerate([("S%C3%A3o Paulo", "2020_01"), ("Rio", "2020_02")]):
        folder = tmp_path / f"place={place}" / f"month={month}"
        folder.mkdir(parents=True)
        write(folder / "part.parquet", {"a": np.arange(2.0) + 10 * i})
    wanted = {
        ("place", "=", "São Paulo"): [0, 1],
        ("place", "!=", "São Paulo"): [10, 11],
        ("place", "in", ("São Paulo", "Rio")): [0, 1, 10, 11],
        ("place", "not in", ("São Paulo",)): [10, 11],
        ("month", "=", "2020_02"): [10, 11],
        ("month", "<", "2020_02"): [0, 1],
    }
    for condition, expected in wanted.items():
        found = np.sort(all_rows(open_data(tmp_path, filter=[condition]))[:, 0])
        np.testing.assert_array_equal(found, expected)
        theirs = parquet.read_table(tmp_path, filters=[condition])
        np.testing.assert_array_equal(found, np.sort(theirs["a"]))


def test_files_whose_folders_do_not_name_a_column_lack_it(tmp_path):
    (tmp_path / "year=2024").mkdir()
    write(tmp_path / "year=2024" / "a.parquet", {"a": [1.0, 2.0]})
    write(tmp_path / "b.parquet", {"a": [3.0]})
    found = all_rows(open_data(tmp_path, filter=[("year", "=", 2024)]))
    np.testing.assert_array_equal(found, [[1.0], [2.0]])
    found = all_rows(open_data(tmp_path, filter=compute.field("year").is_null()))
    np.testing.assert_array_equal(found, [[3.0]])


def test_filter_on_columns_that_are_not_used(tmp_path):
    path = write(tmp_path / "a.parquet", {"a": np.arange(9.0), "s": list("xyzxyzxyz")})
    wanted = (compute.field("s") == "x") & (compute.field("a") > 0)
    np.testing.assert_array_equal(
        all_rows(open_data(path, columns=["a"], filter=wanted)), [[3], [6]]
    )


def test_row_groups_that_statistics_rule_out_are_not_read(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", np.sort(rows(3000), axis=0), 1000)
    start = parquet.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 30] = b"\xff" * 30
    path.write_bytes(content)
    wanted = [("a", ">", 4.5)]
    assert len(all_rows(open_data(path, filter=wanted)))
    with pytest.raises(DataError, match="row group 0"):
        all_rows(open_data(path))


def test_missing_values_do_not_satisfy_a_filter(tmp_path):
    path = write(tmp_path / "a.parquet", {"a": [1.0, None, 3.0], "b": [1.0, 2.0, 3.0]})
    found = all_rows(open_data(path, filter=[("a", ">", 0)]))
    np.testing.assert_array_equal(found, [[1, 1], [3, 3]])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([("z", ">", 0)], r"a\.parquet' cannot be filtered by .*z"),
        ([("a", "!", 0)], r"filter is \[\('a', '!', 0\)\]: give an expression as pyarrow"),
        ("a > 3", "filter is 'a > 3': give an expression as"),
        (7, "filter is 7: give an expression as"),
        ([("a", "=", "text")], r"a\.parquet' cannot be filtered by .*text"),
    ],
)
def test_filters_that_cannot_be(tmp_path, wanted, message):
    path = write(tmp_path / "a.parquet", {"a": [1.0]})
    with pytest.raises(ValueError, match=message):
        open_data(path, filter=wanted)


def test_filter_that_leaves_nothing(tmp_path):
    path = write(tmp_path / "a.parquet", {"a": [1.0]})
    with pytest.raises(DataError, match=r"a\.parquet' has no rows"):
        all_rows(open_data(path, filter=[("a", ">", 3)]))


def damaged_group(path, X):
    """Write four row groups, the second of which is damaged."""
    write_parquet(path, X, 1000, compression="zstd", use_dictionary=False)
    column = parquet.ParquetFile(path).metadata.row_group(1).column(1)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset + 40
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    return path


def test_damaged_row_group(tmp_path):
    path = damaged_group(tmp_path / "a.parquet", rows(4000))
    with pytest.raises(
        DataError,
        match=r"a\.parquet', row group 1 \(rows 1000 to 1999, counted from 0\): .*on_error='skip'",
    ):
        all_rows(open_data(path))


def test_damaged_row_group_is_left_out_of_every_pass(tmp_path):
    X = rows(4000)
    source = open_data(damaged_group(tmp_path / "a.parquet", X), on_error="skip")
    with pytest.warns(
        SkippedDataWarning, match=r"row group 1 \(rows 1000 to 1999, counted from 0\)"
    ):
        found = all_rows(source)
    np.testing.assert_array_equal(found, np.delete(X, slice(1000, 2000), axis=0))
    np.testing.assert_array_equal(all_rows(source), found)
    assert source.n_samples == 3000
    assert len(source.skipped) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no such thing", b"PAR1" + b"\0" * 100])
def test_no_parquet_file(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read '.*a\.parquet' as Parquet: |is empty"):
        open_data(tmp_path / "a.parquet")


def test_unreadable_files_are_left_out_whole(tmp_path):
    X = rows(100)
    write_parquet(tmp_path / "1.parquet", X)
    (tmp_path / "2.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:-10])
    source = open_data(tmp_path, on_error="skip")
    with pytest.warns(SkippedDataWarning, match=r"cannot read '.*2\.parquet' as Parquet"):
        np.testing.assert_array_equal(all_rows(source), X)
    (tmp_path / "1.parquet").unlink()
    with pytest.raises(DataError, match=r"no file can be read: cannot read '.*2\.parquet'"):
        open_data(tmp_path, on_error="skip")


def test_many_columns_are_decoded_in_arrays_of_some_length(tmp_path):
    X = rows(3000)
    names = [f"c{j}" for j in range(600)]
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({name: X[:, j % 3] for j, name in enumerate(names)}), path)
    file = ParquetFile(path)
    pieces = file.pieces(Wanted(names, 10_000, None, Damage(file, None)))
    assert [len(piece.values[0]) for piece in pieces] == [1024, 1024, 952]
