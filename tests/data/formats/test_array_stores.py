"""HDF5 and Zarr: which array is meant, and damage."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
import zarr

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.opening import open_data
from tests.written_data import all_rows, rows, write_hdf5, write_zarr


def hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path


def zarr_store(path, arrays):
    records = any(array.dtype.names for array in arrays.values())  # format 3 has no such type
    group = zarr.open_group(path, mode="w", zarr_format=2 if records else 3)
    for name, array in arrays.items():
        group.create_array(name, shape=array.shape, dtype=array.dtype)[...] = array
    return path


@pytest.fixture(params=[hdf5, zarr_store])
def store(request, tmp_path):
    """Return a function that stores arrays under names."""
    return lambda arrays: request.param(tmp_path / "store.h5", arrays)


def test_the_array_called_x(store):
    X = rows(9)
    path = store({"X": X, "Y": rows(9, seed=1), "z": np.arange(9)})
    np.testing.assert_array_equal(all_rows(open_data(path)), X)


def test_the_only_matrix_wherever_it_is(store):
    X = rows(9)
    path = store({"deep/inside/values": X, "z": np.arange(9), "scale": np.float64(3)})
    np.testing.assert_array_equal(all_rows(open_data(path)), X)


def test_an_array_that_is_named(store):
    X = rows(9)
    path = store({"group/a": X, "group/b": rows(9, seed=1)})
    np.testing.assert_array_equal(all_rows(open_data(f"{path}::group/a")), X)


def test_columns_of_equal_length(store):
    X = rows(9)
    path = store({"b": X[:, 0].astype(np.float32), "a": X[:, 1].astype(np.float32)})
    source = open_data(path)
    assert source.feature_names == ("a", "b")
    assert source.dtype == np.float32
    np.testing.assert_array_equal(all_rows(source), X[:, [1, 0]].astype(np.float32))
    assert open_data(path, columns=["b"], weight_column="a").feature_names == ("b",)


def test_weights_beside_a_matrix(store):
    X = rows(3000)
    path = store({"X": X, "w": np.arange(3000.0), "short": np.arange(3)})
    assert open_data(path).n_features == 3
    source = open_data(path, weight_column="w", block_rows=1024)
    assert source.total_weight == np.arange(3000.0).sum()
    np.testing.assert_array_equal(all_rows(source), X)
    with pytest.raises(ValueError, match="has no column 'short'"):
        open_data(path, weight_column="short")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"a": np.ones((2, 2)), "b": np.ones((3, 2))},
            r"store\.h5' must hold one matrix, or one called X, or arrays of the same length as "
            r"columns: it holds 'a' of shape \(2, 2\), 'b' of shape \(3, 2\); choose one as in",
        ),
        ({"a": np.ones(2), "b": np.ones(3)}, r"must hold one matrix.*'a' of shape \(2,\)"),
        ({"a/b": np.ones((2, 2, 2))}, r"it holds 'a/b' of shape \(2, 2, 2\)"),
        ({}, "it holds no array"),
        ({"X": np.ones((2, 2), complex)}, "holds values of type complex128, not real numbers"),
        ({"a": np.ones(2, complex)}, r"real numbers in the columns 'a' \(complex128\)"),
    ],
)
def test_no_table(store, arrays, message):
    with pytest.raises(DataError, match=message):
        open_data(store(arrays))


def test_parts_that_are_not_there(store):
    path = store({"X": rows(3)})
    with pytest.raises(
        DataError, match=r"holds nothing called 'Y': it holds 'X' of shape \(3, 3\)"
    ):
        open_data(f"{path}::Y")
    with pytest.raises(DataError, match="holds nothing called 'X/Y'"):
        open_data(f"{path}::X/Y")


def test_parts_of_a_single_array(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=rows(3))
    with pytest.raises(DataError, match="holds nothing called 'Y': it is an array"):
        open_data(f"{tmp_path / 'x.zarr'}::Y")
    np.testing.assert_array_equal(all_rows(open_data(tmp_path / "x.zarr")), rows(3))


@pytest.mark.parametrize("chunks", [None, (1, 3), (1000, 1), (5000, 3)])
@pytest.mark.parametrize("kind", ["HDF5", "Zarr"])
def test_rows_however_they_are_stored(tmp_path, chunks, kind):
    X = rows(5000) if chunks != (1, 3) else rows(500)
    if kind == "HDF5":
        path = write_hdf5(tmp_path / "x.h5", X, chunks)
    else:
        path = write_zarr(tmp_path / "x", X, 3, chunks or "auto")
    np.testing.assert_array_equal(all_rows(open_data(path, block_rows=1024)), X)


def test_names_of_open_groups(tmp_path):
    path = hdf5(tmp_path / "x.h5", {"g/a": np.ones(3), "g/b": np.ones(3)})
    with h5py.File(path) as file:
        assert open_data(file["g"]).feature_names == ("a", "b")
        assert open_data(file["g"]).fingerprint() == open_data(file["g"]).fingerprint()
        with pytest.raises(DataError, match=r"the HDF5 data '/g/a' holds an array of shape \(3,\)"):
            open_data(file["g/a"])


def test_damaged_hdf5_chunk_is_left_out_of_every_pass(tmp_path):
    X = rows(4096)
    path = write_hdf5(tmp_path / "x.h5", X, (1024, 3), compression="gzip")
    with h5py.File(path) as file:
        where = file["X"].id.get_chunk_info(1).byte_offset
    content = bytearray(path.read_bytes())
    content[where + 10 : where + 60] = b"\xff" * 50
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"x\.h5', rows 1024 to 2047, counted from 0: .*on_error='skip'"
    ):
        all_rows(open_data(path, block_rows=1024))
    source = open_data(path, block_rows=1024, on_error="skip")
    with pytest.warns(SkippedDataWarning, match="rows 1024 to 2047, counted from 0"):
        found = all_rows(source)
    np.testing.assert_array_equal(found, np.delete(X, slice(1024, 2048), axis=0))
    np.testing.assert_array_equal(all_rows(source), found)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_damaged_zarr_chunk(tmp_path, zarr_format):
    X = rows(4096)
    path = write_zarr(tmp_path / "x", X, zarr_format, (1024, 3))
    chunk = path / "X" / ("1.0" if zarr_format == 2 else "c/1/0")
    chunk.write_bytes(chunk.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"x', rows 1024 to 2047, counted from 0: "):
        all_rows(open_data(path, block_rows=1024))
    source = open_data(path, block_rows=1024, on_error="skip")
    with pytest.warns(SkippedDataWarning, match="rows 1024 to 2047, counted from 0"):
        np.testing.assert_array_equal(all_rows(source), np.delete(X, slice(1024, 2048), axis=0))


def test_damaged_stores(tmp_path):
    path = write_hdf5(tmp_path / "x.h5", rows(1000))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"cannot read '.*x\.h5' as HDF5: "):
        open_data(path)
    path = write_zarr(tmp_path / "x", rows(1000), 3)
    (path / "X" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot read '.*x' as Zarr: "):
        open_data(f"{path}::X")


def test_zarr_chunks_that_change_or_vanish(tmp_path):
    path = write_zarr(tmp_path / "x", rows(4096), 3, (1024, 3))
    source = open_data(path)
    all_rows(source)
    (path / "X" / "c" / "1" / "0").unlink()
    with pytest.raises(DataError, match="x' changed since it was opened"):
        all_rows(source)


@pytest.fixture(params=["HDF5", "Zarr"])
def opened(request, tmp_path):
    """Return an array that the user has opened, and may write to."""
    X = rows(3000)
    if request.param == "HDF5":
        with h5py.File(write_hdf5(tmp_path / "x.h5", X), "r+") as file:
            yield file["X"]
    else:
        yield zarr.open(write_zarr(tmp_path / "x", X, 3), mode="r+")["X"]


def test_open_arrays_are_read_again_in_every_pass(opened):
    source = open_data(opened)
    np.testing.assert_array_equal(all_rows(source), rows(3000))
    opened[:] = rows(3000, seed=1)
    np.testing.assert_array_equal(all_rows(source), rows(3000, seed=1))


def test_open_arrays_are_checked_in_every_pass(opened):
    source = open_data(opened, block_rows=1024, memory_budget=1)
    all_rows(source)
    opened[2000, 1] = np.inf
    with pytest.raises(
        DataError, match=r"value in column 'x1' in row 2000, counted from 0, is inf: remove"
    ):
        all_rows(source)


IMAGES, LABELS = np.ones((9, 4, 4)), np.eye(3)[np.arange(9) % 3]
ALIKE = [
    {"x_train": IMAGES, "y_train": LABELS},
    {"x_train": IMAGES, "y_train": np.arange(9)},
    {"train/x": IMAGES, "y": np.arange(9)},
    {"train/x": np.ones(9), "y": np.arange(9)},
    {"x_train": rows(9), "x_test": rows(3)},
    {"X": IMAGES, "Y": LABELS},
    {"a": rows(9), "b": np.ones((9, 2), complex)},
    {
        "X/data": np.ones(4),
        "X/indices": np.arange(4),
        "X/indptr": np.arange(9),
        "obsm/umap": LABELS,
    },
    {"raw/data": np.ones(4), "raw/indices": np.arange(4), "raw/indptr": np.arange(9), "u": LABELS},
    {"records": np.zeros(9, [("a", float), ("b", float)]), "Y": LABELS},
]


@pytest.mark.parametrize("arrays", ALIKE)
def test_several_arrays_could_be_meant(store, arrays):
    path = store(arrays)
    with pytest.raises(DataError, match=r"it holds .*; choose one as in store\.h5::") as raised:
        open_data(path)
    message = str(raised.value)
    for name, array in arrays.items():
        sparse = name.partition("/")[0]
        listed = f"'{name}' of shape {array.shape}" in message
        assert listed or f"'{sparse}', a sparse matrix" in message
    name = next(
        (name for name, each in arrays.items() if each.dtype == float and each.ndim == 2), None
    )
    if name is not None:
        np.testing.assert_array_equal(all_rows(open_data(f"{path}::{name}")), arrays[name])


@pytest.mark.parametrize("part", ["X", ""])
def test_a_sparse_matrix_is_refused(store, part):
    path = store({f"X/{name}": np.ones(4) for name in ("data", "indices", "indptr")})
    with pytest.raises(DataError, match=r"'X', a sparse matrix, which must be made dense first"):
        open_data(f"{path}::{part}" if part else path)


def test_arrays_inside_a_group_that_is_named(store):
    path = store({"a/x": rows(9), "b/x": IMAGES, "b/y": LABELS})
    np.testing.assert_array_equal(all_rows(open_data(f"{path}::a")), rows(9))
    np.testing.assert_array_equal(all_rows(open_data(f"{path}::/a/x")), rows(9))
    with pytest.raises(DataError, match=r"choose one as in store\.h5::b/y"):
        open_data(f"{path}::b")


def test_links_and_what_is_empty_leave_a_file_readable(tmp_path):
    path = hdf5(tmp_path / "x.h5", {"group/values": rows(9), "y": np.arange(9)})
    with h5py.File(path, "r+") as file:
        file["gone"] = h5py.SoftLink("/nowhere")
        file["round"] = h5py.SoftLink("/round")
        file["group/up"] = file["/"]
        file["group/top"] = h5py.SoftLink("/")
        file["again"] = file["group/values"]
        file["alias"] = h5py.SoftLink("group/../group/values")
        file["soft"] = h5py.SoftLink("group/values")
        file["nothing"] = h5py.Empty("f8")
        file["type"] = np.dtype("f8")
        file["other"] = h5py.ExternalLink("nowhere.h5", "/X")
    np.testing.assert_array_equal(all_rows(open_data(path)), rows(9))
    np.testing.assert_array_equal(all_rows(open_data(f"{path}::soft")), rows(9))
    np.testing.assert_array_equal(all_rows(open_data(f"{path}::group/up/again")), rows(9))
    assert open_data(path, weight_column="y").total_weight == 36
    for part in ("gone", "round", "nowhere/at/all", "again/x"):
        with pytest.raises(DataError, match=rf"holds nothing called '{part}': it holds"):
            open_data(f"{path}::{part}")
    with pytest.raises(DataError, match="'nothing', which is empty"):
        open_data(f"{path}::nothing")
    with h5py.File(path, "r+") as file:
        file["X"] = file["group/values"]
        file["further"] = rows(9, seed=1)
    np.testing.assert_array_equal(all_rows(open_data(path)), rows(9))
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = h5py.SoftLink("/nowhere")
    with pytest.raises(DataError, match="'X', a link that leads nowhere"):
        open_data(path)


def test_values_in_other_files_are_read_only_where_the_user_opens_them(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(rows(9).tobytes())
    other = hdf5(tmp_path / "other.h5", {"X": rows(9)})
    layout = h5py.VirtualLayout((9, 3), float)
    layout[:] = h5py.VirtualSource(other, "X", (9, 3))
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", (9, 3), float, external=[(secret, 0, 9 * 3 * 8)])
        file.create_virtual_dataset("virtual", layout)
        file["link"] = h5py.ExternalLink(other, "/X")
        file["soft"] = h5py.SoftLink("/link")
        file.create_dataset("c/w", (9,), float, external=[(secret, 0, 72)])
    for part in ("raw", "virtual", "link", "soft", "c", "c/w"):
        with pytest.raises(
            DataError, match=r"takes its values from other files, .* open it with h5py"
        ):
            open_data(f"{path}::{part}")
    with h5py.File(path) as file:
        for name in ("raw", "virtual", "link"):
            np.testing.assert_array_equal(all_rows(open_data(file[name])), rows(9))
        with pytest.raises(DataError, match="takes its values from other files"):
            open_data(file["c"])


def test_parts_that_were_never_written(store, tmp_path):
    path = store({"X": rows(3)})
    for kind in ("h5", "zarr"):
        path = tmp_path / f"part.{kind}"
        if kind == "h5":
            with h5py.File(path, "w") as file:
                file.create_dataset("X", (4096, 4), float, chunks=(1024, 2))[:1024] = 1.0
        else:
            group = zarr.open_group(path, mode="w")
            group.create_array("X", shape=(4096, 4), dtype=float, chunks=(1024, 2))[:1024] = 1.0
        with pytest.raises(
            DataError,
            match=r"rows 1024 to 2047, counted from 0: parts of the array '/X' were never",
        ):
            all_rows(open_data(path, block_rows=1024))
        source = open_data(path, block_rows=1024, on_error="skip")
        with pytest.warns(SkippedDataWarning, match="rows 3072 to 4095"):
            np.testing.assert_array_equal(all_rows(source), np.ones((1024, 4)))
        opened = h5py.File(path)["X"] if kind == "h5" else zarr.open(path, mode="r")["X"]
        found = all_rows(open_data(opened))
        np.testing.assert_array_equal(
            found, np.repeat([1.0, 0.0], [1024, 3072])[:, None] * np.ones(4)
        )


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (2048, 4))])
def test_a_chunk_of_zarr_that_vanished(tmp_path, zarr_format, shards):
    X = np.ones((4096, 4))
    path = write_zarr(tmp_path / "x", X, zarr_format, (1024, 2), shards)
    np.testing.assert_array_equal(all_rows(open_data(path)), X)
    (path / "X" / ".DS_Store").touch()
    (path / "X" / ("2.0" if zarr_format == 2 else "c/1/0" if shards else "c/2/0")).unlink()
    with pytest.raises(DataError, match=r"rows 2048 to .*or are lost.*on_error='skip'"):
        all_rows(open_data(path, block_rows=1024))


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 1000)}, {"chunks": (2, 10**7)}])
@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_claims_that_cannot_be_true(tmp_path, options, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "h5":
        with h5py.File(path, "w") as file:
            X = file.create_dataset("X", (2, 10**7), np.float32, **options)
            if options.get("chunks") == (1, 1000):
                X[:1, :1000] = 1.0
    else:
        group = zarr.open_group(path, mode="w")
        X = group.create_array(
            "X", shape=(2, 10**7), dtype=np.float32, **{"chunks": (1, 9), **options}
        )
        if options.get("chunks") == (2, 10**7):
            (path / "X/c/0").mkdir(parents=True)
            (path / "X/c/0/0").write_bytes(b"\1" * 500)
        else:
            X[:1, :9] = 1.0
    with pytest.raises(
        DataError, match=r"claims an array of shape \(2, 10000000\).* too few for it"
    ):
        open_data(path)


def test_rows_that_do_not_fit_in_memory(tmp_path, monkeypatch):
    path = write_hdf5(tmp_path / "x.h5", rows(9))
    source = open_data(path, on_error="skip")

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("fastgmm.data.formats.array_stores.ArrayStore._values", fail)
    with pytest.raises(
        MemoryError, match=r"x\.h5', rows 0 to 8, counted from 0: they do not fit in memory at once"
    ):
        all_rows(source)
    monkeypatch.setattr("fastgmm.data.sources.stream.np.empty", fail)
    with pytest.raises(MemoryError, match=r"x\.h5' has 3 columns, of which 1024 rows do not fit"):
        source._new_block(1024)


@pytest.mark.filterwarnings("ignore:Object at gone is not recognized")  # as zarr says
def test_a_store_with_links_in_circles(tmp_path):
    path = zarr_store(tmp_path / "x.zarr", {"a/b/values": rows(9)})
    (path / "a" / "b" / "up").symlink_to("..")
    (path / "a" / "again").symlink_to("b/values")
    (path / "a" / "gone").symlink_to("nowhere")
    np.testing.assert_array_equal(all_rows(open_data(path)), rows(9))


def test_a_file_that_is_being_written(tmp_path):
    path = hdf5(tmp_path / "x.h5", {"X": rows(9)})
    program = "import sys; from fastgmm import open_data; open_data(sys.argv[1])"
    with h5py.File(path, "r+", locking=True):
        process = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
        )
    assert "wait until the program that writes to it has closed it" in process.stderr


def test_a_few_rows_of_a_large_chunk_that_is_all_alike(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    group.create_array("X", shape=(9, 3), dtype=np.uint8, chunks=(10**7, 3))[:] = 7
    group.create_array("w", shape=(9,), dtype=np.uint8, chunks=(10**7,))[:] = 7
    source = open_data(tmp_path / "x.zarr", weight_column="w")
    np.testing.assert_array_equal(all_rows(source), np.full((9, 3), 7.0))


@pytest.mark.parametrize("kind", ["h5", "zarr"])
def test_more_rows_than_could_have_been_written(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    options = {"shape": (10**15, 3), "chunks": (1000, 3), "dtype": float}
    if kind == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("X", **options)[:1000] = 1.0
    else:
        zarr.open_group(path, mode="w").create_array("X", **options)[:1000] = 1.0
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=r"claims an array of shape \(1000000000000000, 3\)"):
            open_data(path, on_error=on_error)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
def test_names_of_chunks(tmp_path, zarr_format, separator):
    name = "default" if zarr_format == 3 else "v2"
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=zarr_format)
    array = group.create_array(
        "X",
        shape=(9, 4),
        dtype=float,
        chunks=(3, 2),
        chunk_key_encoding={"name": name, "separator": separator},
    )
    array[:] = 1.0
    np.testing.assert_array_equal(all_rows(open_data(tmp_path / "x.zarr")), np.ones((9, 4)))
    last = f"2{separator}1" if zarr_format == 2 else f"c{separator}2{separator}1"
    (tmp_path / "x.zarr" / "X" / last).unlink()
    with pytest.raises(DataError, match="were never written, or are lost"):
        all_rows(open_data(tmp_path / "x.zarr"))


def test_the_example_in_the_message_is_one_that_is_there(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"] = np.ones((5, 2))
    with pytest.raises(DataError, match=r"nothing called 'y': .*choose one as in a\.h5::X$"):
        open_data(f"{tmp_path / 'a.h5'}::y")
