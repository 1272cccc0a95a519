"""NumPy's files: either order, cut short, and what is no matrix."""

import warnings
import zipfile

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
    with pytest.raises(DataError, match=r"(cannot read|cannot tell what) .*a\.np[yz]|is empty"):
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
        r"open_data\(\.\.\., on_error",
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


def npy(header, content=b"", version=(1, 0)):
    """Return the bytes of a file with a header of one's own."""
    text = header.encode("utf-8" if version == (3, 0) else "latin1")
    width = 2 if version == (1, 0) else 4
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(width, "little") + text + content


def header(shape, order=False):
    return f"{{'descr': '<f8', 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("shape", [(10, 10**7), (1, 10**12), (10**15, 3), (0, 10**7), (-3, 2)])
@pytest.mark.parametrize("kind", ["npy", "npz", "liar.npz"])
def test_claims_of_a_header_that_the_size_belies(tmp_path, shape, order, kind):
    path, content = tmp_path / f"a.{kind}", npy(header(shape, order), bytes(20))
    if kind == "npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("X.npy", content)
        if kind == "liar.npz":  # the archive claims that many bytes, too
            entry = path.read_bytes().replace(
                len(content).to_bytes(4, "little"), (2**32 - 9).to_bytes(4, "little")
            )
            path.write_bytes(entry)
    with pytest.raises(DataError, match=r"cut short or damaged|no rows|claims the shape \(-3, 2\)"):
        open_data(path)
    with pytest.raises(DataError, match="no file can be read"):
        open_data(path, on_error="skip")


def test_version_3(tmp_path):
    X = rows(9)
    path = tmp_path / "a.npy"
    path.write_bytes(npy(header((9, 3)), X.tobytes(), (3, 0)))
    np.testing.assert_array_equal(np.load(path), X)
    np.testing.assert_array_equal(all_rows(open_data(path)), X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the version
        np.save(path, np.zeros(9, [("größe", float), ("b", float)]))
        np.savez(tmp_path / "b.npz", np.zeros(9, [("尺", float), ("b", float)]))
    assert path.read_bytes()[6] in (1, 3)
    for each in (path, tmp_path / "b.npz"):
        with pytest.raises(
            DataError, match="holds records, not a matrix: give them as a data frame"
        ):
            open_data(each)


def test_shapes_of_several_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.ones((9, 4, 4)), y_train=rows(9))
    with pytest.raises(
        DataError, match=r"'x_train' is of shape \(9, 4, 4\), 'y_train' is of shape \(9, 3\)"
    ):
        open_data(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", X=np.ones((9, 4, 4)), y_train=rows(9))
    with pytest.raises(DataError, match=r"an array of shape \(9, 4, 4\), which is not a table"):
        open_data(tmp_path / "a.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives_of_other_methods(tmp_path, method):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("X.npy", npy(header((100, 3)), rows(100).tobytes()))
    np.testing.assert_array_equal(all_rows(open_data(path)), rows(100))
    content = path.read_bytes()
    for place in range(30, len(content), 97):
        path.write_bytes(content[:place] + b"\xff" * 40 + content[place + 40 :])
        with pytest.raises(DataError, match=r"a\.npz'"):
            all_rows(open_data(path))
