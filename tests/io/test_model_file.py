"""Model files come back to the last bit, and nothing else comes in."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fastgmm.io import model_file as persistence
from fastgmm.io.model_file import ModelFileError, load, save

VALUES = {"n_components": 3, "tol": 1e-3, "names": ["a", "b"], "random_state": None}
ARRAYS = {
    "means": np.linspace(0, 1, 12).reshape(3, 4),
    "labels": np.arange(5, dtype=np.int32),
    "flags": np.array([True, False]),
    "single": np.float32(2.5) * np.ones(2, np.float32),
    "scalar": np.array(7.0),
    "transposed": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "log_weights": np.array([-np.inf, 0.0]),
}


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.fgm"
    save(path, "GaussianMixture", VALUES, ARRAYS)
    return path


def rewrite(path, change=None, **entries):
    """Write a file anew with changed or added entries, and changed values in its header."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents.update(entries)
    if change is not None:
        header = json.loads(contents["header.json"])
        change(header)
        contents["header.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def test_values_and_arrays_come_back_as_they_were(model_file):
    stored = load(model_file)
    assert stored.model_class == "GaussianMixture"
    assert stored.values == VALUES
    assert stored.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert_array_equal(stored.arrays[name], array)
        assert stored.arrays[name].dtype == array.dtype
        assert stored.arrays[name].flags.writeable
    assert re.fullmatch(r"\d+\.\d+.*", stored.library_version)


def test_the_file_is_an_npz_for_everyone_else(model_file):
    with np.load(model_file, allow_pickle=False) as archive:
        assert_array_equal(archive["means"], ARRAYS["means"])
        assert json.loads(archive["header.json"])["class"] == "GaussianMixture"


def test_the_same_model_makes_the_same_bytes(model_file, tmp_path):
    save(tmp_path / "again.fgm", "GaussianMixture", VALUES, ARRAYS)
    assert (tmp_path / "again.fgm").read_bytes() == model_file.read_bytes()


def test_foreign_byte_order_is_made_native(model_file):
    swapped = ARRAYS["means"].astype(ARRAYS["means"].dtype.newbyteorder())
    rewrite(model_file, **{"means.npy": npy(swapped)})
    assert_array_equal(load(model_file).arrays["means"], ARRAYS["means"])
    assert load(model_file).arrays["means"].dtype.isnative


def test_numpy_scalars_become_plain_numbers(tmp_path):
    values = {"a": np.float64(0.1), "b": np.int32(3), "c": np.bool_(True), "d": np.float32(0.5)}
    save(tmp_path / "m.fgm", "KMeans", values, {})
    assert load(tmp_path / "m.fgm").values == {"a": 0.1, "b": 3, "c": True, "d": 0.5}


# -- what is refused when saving ------------------------------------------------------------------


def test_objects_are_not_saved(tmp_path):
    path = tmp_path / "m.fgm"
    with pytest.raises(TypeError, match=r"array 'a' of dtype object.*without running code"):
        save(path, "KMeans", {}, {"a": np.array([None])})
    with pytest.raises(TypeError, match=r"cannot save RandomState.*numbers, text"):
        save(path, "KMeans", {"random_state": np.random.RandomState(0)}, {})
    with pytest.raises(ValueError, match="'a' holds nan"):
        save(path, "KMeans", {}, {"a": np.array([0.0, np.nan])})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(path, "KMeans", {"a": np.nan}, {})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(model_file, monkeypatch):
    before = model_file.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match="disk full"):
        save(model_file, "KMeans", {}, ARRAYS)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_a_killed_write_leaves_the_old_file(model_file):
    before = model_file.read_bytes()
    script = (
        "import os, sys, numpy as np\n"
        "from fastgmm.io.model_file import save\n"
        "np.lib.format.write_array = lambda *a, **k: os._exit(9)\n"
        "save(sys.argv[1], 'KMeans', {}, {'a': np.ones(3)})\n"
    )
    done = subprocess.run([sys.executable, "-c", script, model_file], check=False)
    assert done.returncode == 9
    assert model_file.read_bytes() == before
    assert load(model_file).values == VALUES


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "nowhere" / "m.fgm", "KMeans", {}, {})
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "m.fgm")


def test_a_folder_that_cannot_be_written_to_keeps_its_file(model_file, monkeypatch):
    before = model_file.read_bytes()

    # Root may write to any folder.
    monkeypatch.setattr("os.access", lambda path, _mode: path != model_file.parent)
    with pytest.raises(PermissionError, match="takes no new files; change that, or give a file in"):
        save(model_file, "KMeans", {}, {})
    assert model_file.read_bytes() == before


# -- what is refused when loading -----------------------------------------------------------------


def refused(path, words, **options):
    with pytest.raises(ModelFileError, match=words) as caught:
        load(path, **options)
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)


def test_every_truncation_is_refused(model_file):
    content = model_file.read_bytes()
    for length in [*range(0, len(content), 37), len(content) - 1]:
        model_file.write_bytes(content[:length])
        refused(model_file, "damaged|not a fastgmm model")


@settings(max_examples=300)
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_harmless(position, flip, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "flipped.fgm"
    save(path, "GaussianMixture", VALUES, ARRAYS)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= flip
    path.write_bytes(content)
    try:
        stored = load(path)
    except ModelFileError:
        return
    # Some bytes of the archive, such as its dates, carry nothing.
    assert stored.values == VALUES
    for name, array in ARRAYS.items():
        assert_array_equal(stored.arrays[name], array)


class Attack:
    def __reduce__(self):
        return (os.mkdir, ("attacked",))


@pytest.fixture
def attacked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "attacked").exists()


@pytest.mark.usefixtures("attacked")
def test_pickled_arrays_are_refused_unread(model_file):
    array = np.array([Attack()], dtype=object)
    rewrite(model_file, **{"means.npy": npy(array, allow_pickle=True)})
    refused(model_file, "'means' of dtype object, which could run code")


@pytest.mark.usefixtures("attacked")
def test_structured_and_text_arrays_are_refused(model_file):
    rewrite(model_file, **{"means.npy": npy(np.zeros(2, [("a", "f8")]))})
    refused(model_file, "could run code")
    rewrite(model_file, **{"means.npy": npy(np.array(["text"]))})
    refused(model_file, "could run code")


@pytest.mark.usefixtures("attacked")
def test_pickles_are_refused(model_file):
    model_file.write_bytes(pickle.dumps(Attack()))
    refused(model_file, "not a fastgmm model: it does not begin as one")
    rewrite_target = model_file.with_suffix(".npy")
    np.save(rewrite_target, np.array([Attack()], dtype=object), allow_pickle=True)
    refused(rewrite_target, "not a fastgmm model")


def test_foreign_files_are_distinguished(tmp_path):
    path = tmp_path / "text.fgm"
    path.write_text("x,y\n1,2\n")
    refused(path, "begin as one; give a file that a fitted model was")
    path.write_bytes(b"")
    refused(path, "does not begin as one")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    refused(tmp_path / "other.npz", r"it has no header\.json")
    np.savez_compressed(tmp_path / "packed.npz", a=np.ones(3))
    refused(tmp_path / "packed.npz", "it is compressed")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", '{"format": "something else"}')
    refused(path, r"it has no header\.json of one")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", "[1]")
    refused(path, r"it has no header\.json of one")


def test_a_newer_file_asks_for_an_upgrade(model_file):
    rewrite(model_file, lambda header: header.update(schema=3, fastgmm="9.1"))
    refused(model_file, "written by fastgmm 9.1 in schema 3.*up to schema 2; upgrade fastgmm")


@pytest.mark.parametrize("schema", [0, "1", None, 1.5])
def test_a_schema_that_never_was_is_damage(model_file, schema):
    rewrite(model_file, lambda header: header.update(schema=schema))
    refused(model_file, "does not say which version")


def test_another_class_is_reported(model_file):
    assert load(model_file, "GaussianMixture").values == VALUES
    message = "not a KMeans: give another file, or read it with fastgmm.load"
    refused(model_file, f"'.*' holds a GaussianMixture, {message}", model_class="KMeans")


@pytest.mark.parametrize("field", ["class", "values", "arrays"])
def test_an_incomplete_header_is_damage(model_file, field):
    rewrite(model_file, lambda header: header.pop(field))
    refused(model_file, f"damaged or incomplete .*has no '{field}'")


def test_arrays_and_header_must_agree(model_file):
    content = model_file.read_bytes()
    rewrite(model_file, **{"extra.npy": npy(np.ones(1))})
    refused(model_file, r"disagree about extra\.npy")
    model_file.write_bytes(content)
    rewrite(model_file, **{"means.npy": None})
    refused(model_file, r"disagree about means\.npy")
    model_file.write_bytes(content)
    rewrite(model_file, **{"means.npy": npy(np.ones((2, 2)))})
    refused(model_file, "array 'means' is not as the header describes it")
    model_file.write_bytes(content)
    rewrite(model_file, **{"means.npy": npy(np.full((3, 4), np.inf))})
    refused(model_file, "array 'means' holds inf")
    model_file.write_bytes(content)
    rewrite(model_file, **{"log_weights.npy": npy(np.array([0.0, np.nan]))})
    refused(model_file, "array 'log_weights' holds nan")


def test_claimed_sizes_are_not_trusted(model_file):
    content = model_file.read_bytes()
    huge = npy(np.ones(1)).replace(b"(1,)", b"(9" + b"0" * 15 + b",)")
    rewrite(model_file, **{"means.npy": huge})
    refused(model_file, r"damaged")
    model_file.write_bytes(content)
    endless = npy(np.ones(1))[:10] + b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n"
    rewrite(model_file, **{"means.npy": endless})
    refused(model_file, r"damaged")
    model_file.write_bytes(content)
    rewrite(model_file, **{"means.npy": npy(np.ones(3), version=(2, 0))})
    refused(model_file, r"npy version \(2, 0\)")


def test_an_archive_bomb_is_refused(model_file, tmp_path):
    bomb = tmp_path / "bomb.fgm"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b" " * 10_000_000)
    refused(bomb, "it is compressed")
    # Two entries over the same bytes, as in an overlapping bomb.
    content = model_file.read_bytes()
    with zipfile.ZipFile(model_file) as archive:
        sizes = [entry.file_size for entry in archive.infolist()]
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("header.json", b" " * 5000)
        first = archive.getinfo("header.json")
        for copy in range(50):
            entry = zipfile.ZipInfo(f"{copy}.npy")
            entry.header_offset, entry.CRC = first.header_offset, first.CRC
            entry.file_size = entry.compress_size = first.file_size
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
    refused(bomb, "larger than the file")
    assert sum(sizes) < len(content)


def test_two_entries_of_one_name_are_refused(model_file):
    with (
        zipfile.ZipFile(model_file, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("means.npy", npy(np.ones(2)))
    refused(model_file, "two entries have the same name")


def test_a_header_out_of_all_proportion_is_refused(model_file, monkeypatch):
    monkeypatch.setattr(persistence, "_LARGEST_HEADER", 100)
    refused(model_file, "larger than 100 bytes")


def test_a_header_nested_without_end_is_refused(model_file):
    rewrite(model_file, **{"header.json": b"[" * 100_000})
    refused(model_file, "damaged")
