"""NumPy's files: either order, cut short, and what is no matrix."""

import numpy as np
import pytest

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.opening import open_data
from tests.written_data import all_rows, rows


def save(path, array, **options):
    np.save(path, array, **options)
    return path


@pytest.mark.parametrize("arrays", [{"only": rows(9)}, {"X": rows(9), "y": np.arange(3)}])
def test_npz_with_one_array_or_one_called_x(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    np.testing.assert_array_equal(all_rows(open_data(tmp_path / "a.npz")), rows(9))


def test_npz_with_several_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", a=rows(9), b=rows(9, seed=1))
    with pytest.raises(DataError, match=r"holds the arrays 'a', 'b', and must hold one.*a\.npz::n"):
        open_data(tmp_path / "a.npz")
    for name in ("b", "b.npy"):  # numpy.load and zip name it so
        found = all_rows(open_data(f"{tmp_path}/a.npz::{name}"))
        np.testing.assert_array_equal(found, rows(9, seed=1))
    with pytest.raises(DataError, match="holds no array 'c', but 'a', 'b'"):
        open_data(f"{tmp_path}/a.npz::c")


def test_npz_in_column_order_must_fit_the_budget(tmp_path):
    np.savez(tmp_path / "a.npz", np.asfortranarray(rows(1000)))
    with pytest.raises(DataError, match=r"takes 24000 bytes, more than the memory budget of 10000"):
        open_data(tmp_path / "a.npz", memory_budget="10kB")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(3.0), r"an array of shape \(3,\), which is not a table"),
        (np.ones((2, 2), complex), "holds values of type complex128, not real numbers"),
        (np.array([["a"]]), "holds values of type <U1, not real numbers"),
        (np.array([[None]]), "holds values of type object, not real numbers"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_that_are_no_table_of_numbers(tmp_path, array, message, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        save(path, array, allow_pickle=True)
    else:
        np.savez(path, array)
    with pytest.raises(DataError, match=message):
        open_data(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", [b"", b"no such thing", b"PK\x03\x04 cut off"])
def test_no_numpy_file(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"(cannot read|cannot tell what) '.*a\.np[yz]'"):
        open_data(path)


def test_unknown_version(tmp_path):
    path = save(tmp_path / "a.npy", rows(3))
    path.write_bytes(b"\x93NUMPY\x09\x00" + path.read_bytes()[8:])
    with pytest.raises(DataError, match=r"a\.npy' as a NumPy file: it is of the unknown version"):
        open_data(path)


@pytest.mark.parametrize("wrong", [b" ", b"(", b"\0"])
def test_damaged_header(tmp_path, wrong):
    path = save(tmp_path / "a.npy", rows(3))
    path.write_bytes(path.read_bytes().replace(b"}", wrong))
    with pytest.raises(DataError, match=r"cannot read '.*a\.npy' as a NumPy file"):
        open_data(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_file_that_ends_early(tmp_path, order):
    X = rows(3000)
    path = save(tmp_path / "a.npy", np.asarray(X, order=order))
    path.write_bytes(path.read_bytes()[: -8 * 3 * 500])
    present = 2500 if order == "C" else 1500
    with pytest.raises(
        DataError,
        match=rf"a\.npy', rows {present} to 2999, counted from 0: the file ends early: it should "
        rf"hold 3000 rows, but holds {present}: repair the file, or leave such parts out with "
        "on_error",
    ):
        all_rows(open_data(path))
    source = open_data(path, on_error="skip")
    with pytest.warns(SkippedDataWarning, match=rf"rows {present} to 2999"):
        np.testing.assert_array_equal(all_rows(source), X[:present])
    np.testing.assert_array_equal(all_rows(source), X[:present])


def test_header_without_rows_behind_it(tmp_path):
    path = save(tmp_path / "a.npy", np.asfortranarray(rows(100)))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="should hold 100 rows, but holds 0"):
        all_rows(open_data(path))


def test_damaged_archive(tmp_path):
    X = np.repeat(rows(100), 100, axis=0)
    np.savez_compressed(tmp_path / "a.npz", X)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = b"\xff" * 20
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz' \(10000 rows\): .*on_error='skip'"):
        all_rows(open_data(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", X[:100])
    source = open_data([tmp_path / "a.npz", tmp_path / "b.npz"], on_error="skip")
    with pytest.warns(SkippedDataWarning, match=r"a\.npz' \(10000 rows\)"):
        np.testing.assert_array_equal(all_rows(source), X[:100])
    np.testing.assert_array_equal(all_rows(source), X[:100])


def test_some_columns_of_either_order(tmp_path):
    X = rows(3000)
    for order in "CF":
        path = save(tmp_path / f"{order}.npy", np.asarray(X, order=order))
        found = all_rows(open_data(path, columns=["x2", "x0"], block_rows=1024))
        np.testing.assert_array_equal(found, X[:, [2, 0]])


def test_files_are_not_mapped(tmp_path):
    source = open_data(save(tmp_path / "a.npy", rows(3000)))
    for X, _ in source.blocks():
        assert not isinstance(X, np.memmap)
