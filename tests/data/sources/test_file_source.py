"""Files that change, vanish or are damaged while they are in use."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.formats.table_file import FileStamp
from fastgmm.data.opening import open_data
from tests.written_data import (
    FORMS,
    all_rows,
    rows,
    write_arrow,
    write_csv,
    write_hdf5,
    write_npy,
    write_parquet,
)

OPEN_FILES = Path("/proc/self/fd")

WRITERS = {
    ".npy": write_npy,
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".csv.gz": write_csv,
    ".arrow": write_arrow,
    ".arrows": write_arrow,
    ".h5": write_hdf5,
}


@pytest.fixture(params=WRITERS)
def path(request, tmp_path):
    """Return a file of 3000 rows."""
    return WRITERS[request.param](tmp_path / f"x{request.param}", rows(3000))


def test_files_that_vanish_between_passes(path):
    source = open_data(path)
    all_rows(source)
    path.unlink()
    with pytest.raises(DataError, match=r"x\..*' has vanished since it was opened: No such file"):
        all_rows(source)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_files_that_change_between_passes(path, on_error):
    source = open_data(path, on_error=on_error)
    all_rows(source)
    with path.open("ab") as file:
        file.write(b" ")
    with pytest.raises(
        DataError, match=r"x\..*' changed since it was opened \(\d+ bytes then, \d+"
    ):
        all_rows(source)


def test_files_that_are_rewritten_with_the_same_size(path):
    source = open_data(path)
    all_rows(source)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="changed since it was opened"):
        all_rows(source)


def test_files_that_are_cut_short_during_a_pass(path):
    paths = [path.with_name(f"{i}{path.name}") for i in range(8)]
    for each in paths:
        shutil.copyfile(path, each)
    other = paths[-1]  # further on than files are read ahead
    source = open_data(paths, block_rows=1024)
    blocks = source.blocks()
    next(blocks)
    other.write_bytes(other.read_bytes()[: other.stat().st_size // 3])
    with pytest.raises(DataError, match="changed since it was opened"):
        for _ in blocks:
            pass


def test_files_that_are_emptied_just_before_they_are_read(path):
    source = open_data(path)
    (file,) = source.files
    pieces = file.pieces

    def emptied(*arguments):
        path.write_bytes(b"")
        return pieces(*arguments)

    file.pieces = emptied
    with pytest.raises(DataError, match="changed since it was opened"):
        all_rows(source)


def test_first_of_the_passes_sees_what_was_opened(path):
    source = open_data(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="changed since it was opened"):
        source.some_rows(3)


def test_several_files_are_named_together(tmp_path):
    for i in range(3):
        write_csv(tmp_path / f"{i}.csv", rows(3))
    source = open_data(tmp_path)
    source.note_size(7, 7.0)
    with pytest.raises(
        DataError, match=r"the data in 3 files, '.*0\.csv' to '.*2\.csv', changed wh"
    ):
        all_rows(source)


def test_skipping_says_what_and_how_much(tmp_path):
    X = rows(3000)
    write_npy(tmp_path / "1.npy", X)
    write_npy(tmp_path / "2.npy", X).write_bytes((tmp_path / "1.npy").read_bytes()[:-24])
    (tmp_path / "3.npy").write_bytes(b"\x93NUMPY")
    source = open_data(tmp_path, on_error="skip")
    with pytest.warns(SkippedDataWarning) as caught:
        found = all_rows(source)
    message = str(caught[0].message)
    assert "3.npy' as a NumPy file" in message
    assert "2.npy', rows 2999 to 2999, counted from 0" in message
    np.testing.assert_array_equal(found, np.concatenate([X, X[:-1]]))
    assert len(source.skipped) == 2


def test_looks_that_end_early_do_not_swallow_the_warning(tmp_path):
    path = write_npy(tmp_path / "1.npy", rows(3000))
    path.write_bytes(path.read_bytes()[:-24])
    source = open_data(path, on_error="skip")
    source.some_rows(3)
    with pytest.warns(SkippedDataWarning):
        all_rows(source)


def test_errors_of_the_system_name_the_file(tmp_path, monkeypatch):
    path = write_npy(tmp_path / "1.npy", rows(3000))
    source = open_data(path)

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(source.files[0], "_opened", broken)
    with pytest.raises(DataError, match=r"1\.npy': \[Errno 5\] Input/output error: repair"):
        all_rows(source)


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files cannot be counted")
@pytest.mark.parametrize("form", ["npy", "Parquet", "CSV", "Arrow file", "HDF5", "Zarr 3"])
def test_a_pass_that_is_given_up_leaves_nothing_open(tmp_path, form):
    source = open_data(FORMS[form](tmp_path, rows(5000)), block_rows=1024)
    before = len(list(OPEN_FILES.iterdir()))
    for _ in range(3):
        blocks = source.blocks()
        next(blocks)
        blocks.close()
    assert len(list(OPEN_FILES.iterdir())) <= before + 1


def test_stamps_of_folders_see_every_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("1")
    stamp = FileStamp.of(tmp_path)
    stamp.check()
    (tmp_path / "a" / "b").write_text("22")
    with pytest.raises(DataError, match="changed since it was opened"):
        stamp.check()


# -- blocks that are kept -------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "n_readings"), [(10**9, 1), (2 * 5000 * 24, 1), (200_000, 3)])
def test_files_within_half_the_budget_are_read_once(tmp_path, monkeypatch, budget, n_readings):
    X = rows()
    source = open_data(write_parquet(tmp_path / "x.parquet", X), memory_budget=budget)
    readings = []
    read = source._batches
    monkeypatch.setattr(source, "_batches", lambda: (readings.append(1), read())[1])
    for _ in range(3):
        np.testing.assert_array_equal(all_rows(source), X)
    assert len(readings) == n_readings
    assert source.reads_ahead is (n_readings > 1)


def test_a_reading_that_was_given_up_is_not_kept(tmp_path):
    X = rows()
    source = open_data(write_parquet(tmp_path / "x.parquet", X), block_rows=1024)
    for _ in source.blocks():
        break
    assert source.reads_ahead
    np.testing.assert_array_equal(all_rows(source), X)


@pytest.mark.parametrize("vanish", [False, True])
def test_a_change_is_noticed_where_blocks_are_kept(tmp_path, vanish):
    path = write_parquet(tmp_path / "x.parquet", rows())
    source = open_data(path)
    all_rows(source)
    path.unlink()
    if not vanish:
        write_parquet(path, rows(seed=1))
    with pytest.raises(DataError, match="vanished since" if vanish else "changed since it was"):
        all_rows(source)


def test_a_part_that_claims_to_be_larger_than_memory(tmp_path, monkeypatch):
    source = open_data(write_npy(tmp_path / "x.npy", rows(9)))

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("fastgmm.data.formats.numpy_files.NpyFile.pieces", fail)
    with pytest.raises(DataError, match=r"x\.npy': a part of it claims to be larger than memory"):
        all_rows(source)
