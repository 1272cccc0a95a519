"""Tables in, tables out, and what is said about files that are no tables."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fastgmm.data.files import check_finite, read_table
from fastgmm.data.table_output import csv_blocks, write_table

VALUES = np.array([[1.0, 2.5], [3.0, -4.0], [0.1, 1e-300]])


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_npy_is_mapped(tmp_path):
    np.save(tmp_path / "a.npy", VALUES.astype(np.float32))
    table = read_table(tmp_path / "a.npy")
    assert isinstance(table.values, np.memmap)
    assert table.values.dtype == np.float32
    assert table.feature_names is None
    assert table.column_names == ("x0", "x1")
    np.testing.assert_array_equal(table.values, VALUES.astype(np.float32))


@pytest.mark.parametrize("arrays", [{"only": VALUES}, {"X": VALUES, "y": np.arange(3)}])
def test_npz_with_one_array_or_one_called_x(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    np.testing.assert_array_equal(read_table(tmp_path / "a.npz").values, VALUES)


def test_npz_with_several_arrays_names_them(tmp_path):
    np.savez(tmp_path / "a.npz", a=VALUES, b=VALUES)
    with pytest.raises(ValueError, match=r"holds the arrays 'a', 'b', and must hold one"):
        read_table(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_round_trip_is_exact(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    random = np.random.default_rng(0).standard_normal((100, 2)) * 1e-7
    write_table(path, {"a": random[:, 0], "b, c": random[:, 1]})
    table = read_table(path)
    np.testing.assert_array_equal(table.values, random)
    assert table.column_names == (("x0", "x1") if suffix == ".npy" else ("a", "b, c"))


def test_float32_is_written_short_and_comes_back_exactly(tmp_path):
    values = np.array([0.1, 1 / 3, 16777216], dtype=np.float32)
    text = "".join(csv_blocks({"a": values}))
    assert text == "a\n0.1\n0.33333334\n1.6777216e+07\n"
    np.testing.assert_array_equal(
        read_table(write(tmp_path / "a.csv", text)).values[:, 0].astype(np.float32), values
    )


def test_single_column_makes_a_flat_npy(tmp_path):
    write_table(tmp_path / "a.npy", {"component": np.arange(3)})
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [0, 1, 2])


def test_csv_without_header_loses_no_row(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "1,2\n3,4\n"))
    assert table.feature_names is None
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


def test_csv_with_a_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    assert read_table(tmp_path / "a.csv").feature_names == ("a", "b")


def test_parquet_keeps_float32_and_converts_other_numbers(tmp_path):
    floats = pa.table({"a": pa.array([1, 2], pa.float32()), "b": pa.array([3, 4], pa.float32())})
    parquet.write_table(floats, tmp_path / "floats.parquet")
    assert read_table(tmp_path / "floats.parquet").values.dtype == np.float32
    mixed = floats.append_column("c", pa.array([True, False])).append_column("d", [[7, 8]])
    parquet.write_table(mixed, tmp_path / "mixed.parquet")
    table = read_table(tmp_path / "mixed.parquet")
    assert table.values.dtype == np.float64
    np.testing.assert_array_equal(table.values, [[1, 3, 1, 7], [2, 4, 0, 8]])


def test_integers_too_large_for_float64_are_rounded(tmp_path):
    path = write(tmp_path / "a.csv", f"a\n{2**53 + 1}\n")
    assert read_table(path).values[0, 0] == 2.0**53


def test_columns_and_weights_are_chosen_by_name(tmp_path):
    path = write(tmp_path / "a.csv", "name,a,w,b\nx,1,2,3\ny,4,5,6\n")
    table = read_table(path, columns=["b", "a"], weight_column="w")
    assert table.feature_names == ("b", "a")
    np.testing.assert_array_equal(table.values, [[3, 1], [6, 4]])
    np.testing.assert_array_equal(table.weights, [2, 5])


def test_columns_of_an_array_have_numbers(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    table = read_table(tmp_path / "a.npy", weight_column="x0")
    np.testing.assert_array_equal(table.values, VALUES[:, 1:])
    np.testing.assert_array_equal(table.weights, VALUES[:, 0])


def test_columns_if_named_leaves_files_without_names_whole(tmp_path):
    named = write(tmp_path / "named.csv", "a,b,c\n1,2,3\n")
    unnamed = write(tmp_path / "unnamed.csv", "1,2\n")
    np.testing.assert_array_equal(read_table(named, columns_if_named=["c", "a"]).values, [[3, 1]])
    np.testing.assert_array_equal(read_table(unnamed, columns_if_named=["c", "a"]).values, [[1, 2]])


def test_unknown_column_is_named_with_those_there_are(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"has no column 'c': its columns are 'a', 'b'"):
        read_table(path, columns=["a", "c"])


def test_columns_of_text_are_all_named(tmp_path):
    path = write(tmp_path / "a.csv", "a,kind,day\n1,x,2020-01-01\n")
    with pytest.raises(ValueError, match=r"columns 'kind' \(string\), 'day' \(date32\[day\]\)"):
        read_table(path)


def test_repeated_column_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"several columns of the name 'a'"):
        read_table(write(tmp_path / "a.csv", "a,a\n1,2\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,\n", r"column 'b' at row 2 of 2 is missing \(NaN\)"),
        ("a,b\n1,2\n3,inf\n", r"column 'b' at row 2 of 2 is inf"),
        ("1,2\nnan,4\n", r"column 'x0' at row 2 of 2 is missing \(NaN\)"),
    ],
)
def test_values_that_are_not_finite_are_placed(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        check_finite(read_table(write(tmp_path / "a.csv", text)))


def test_finite_values_pass_whatever_their_type(tmp_path):
    for dtype in (np.int32, np.float32, bool):
        np.save(tmp_path / "a.npy", np.ones((3, 2), dtype=dtype))
        check_finite(read_table(tmp_path / "a.npy"))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*a\.csv'"):
        read_table(tmp_path / "a.csv")


def test_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder, not a file"):
        read_table(tmp_path)


def test_unknown_suffix(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of \.npy, \.npz, \.csv, \.parquet"):
        read_table(write(tmp_path / "a.txt", "1\n"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(3.0), r"an array of shape \(3,\), which is not a table"),
        (np.ones((2, 2), complex), "holds values of type complex128, not real numbers"),
        (np.array([["a"]]), "holds values of type <U1, not real numbers"),
        (np.array([[None]]), "Python objects in dtype"),
    ],
)
def test_array_that_is_no_table_of_numbers(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
@pytest.mark.parametrize("content", [b"", b"no such thing", b"PK\x03\x04 cut off"])
def test_damaged_file(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read '.*a\.(npy|npz|parquet)' as"):
        read_table(path)


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n", b"a,b\n\xff\xfe,2\n"])
def test_damaged_csv(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.csv'"):
        read_table(path)


def test_truncated_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((100, 2)))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-8])
    with pytest.raises(ValueError, match=r"cannot read '.*a\.npy' as a NumPy file"):
        read_table(tmp_path / "a.npy")


def test_unknown_suffix_of_output(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of \.npy, \.csv, \.parquet"):
        write_table(tmp_path / "a.txt", {"a": VALUES[:, 0]})


def test_missing_folder_of_output(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        write_table(tmp_path / "b" / "a.csv", {"a": VALUES[:, 0]})


@pytest.mark.parametrize(
    ("name", "what"), [("a.csv", "reading CSV"), ("a.parquet", "reading Parquet")]
)
def test_missing_pyarrow_names_the_extra(tmp_path, monkeypatch, name, what):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=rf'{what} needs pyarrow: .*"fastgmm\[parquet\]"'):
        read_table(write(tmp_path / name, "a\n1\n"))
