"""A file appears whole or not at all."""

import errno
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastgmm import GaussianMixture, load
from fastgmm.data.formats.images import write_image
from fastgmm.data.table_output import write_table
from fastgmm.io import atomic_file as module
from fastgmm.io.atomic_file import atomic_file, check_destination


def test_takes_its_place_when_complete(tmp_path):
    path = tmp_path / "result"
    with atomic_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with pytest.raises(TypeError, match="bytes-like"), atomic_file(path) as file:
        file.writelines([b"half of it", "not bytes"])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path):
    old, ordinary, new = tmp_path / "old", tmp_path / "ordinary", tmp_path / "new"
    old.touch()
    old.chmod(0o640)
    ordinary.touch()
    for path in (old, new):
        with atomic_file(path) as file:
            file.write(b"x")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert new.stat().st_mode == ordinary.stat().st_mode


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_follows_a_symbolic_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with atomic_file(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file")
def test_writes_to_a_device_directly():
    with atomic_file("/dev/null") as file:
        file.write(b"x")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file")
def test_positions_are_known_on_the_way_to_a_device(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with atomic_file(pipe) as file:
            file.write(b"_nd")
            assert file.tell() == 3
            file.seek(0)
            file.write(b"e")
        assert os.read(reader, 10) == b"end"
    finally:
        os.close(reader)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="descriptors have no names here")
def test_writes_to_a_pipe_that_has_no_name_of_its_own():
    reader, writer = os.pipe()
    try:
        with atomic_file(f"/dev/fd/{writer}") as file:
            file.write(b"x")
        assert os.read(reader, 10) == b"x"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_name_may_be_as_long_as_any(tmp_path):
    path = tmp_path / ("n" * 255)
    try:
        path.touch()
    except OSError:
        pytest.skip("names are shorter on this file system")
    with atomic_file(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_a_link_that_leads_nowhere_is_replaced(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with atomic_file(loop) as file:
        file.write(b"x")
    assert loop.read_bytes() == b"x"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_takes_no_files_is_reported_before_the_work(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="takes no new files"):
        check_destination(tmp_path / "result")


def test_a_device_is_a_destination():
    check_destination(os.devnull)


def test_what_others_are_writing_is_not_abandoned(tmp_path):
    path = tmp_path / "run.fgm"
    left = tmp_path / ".run.fgm.abc.part"
    left.write_bytes(b"half")
    # A name may begin as another ends, and two long names may begin alike.
    with atomic_file(path) as one, atomic_file(tmp_path / "run.fgm.old") as other:
        assert not left.exists()
        one.write(b"one")
        other.write(b"other")
        with atomic_file(path) as again:
            again.write(b"again")
        assert path.read_bytes() == b"again"
    assert path.read_bytes() == b"one"
    assert (tmp_path / "run.fgm.old").read_bytes() == b"other"


def test_many_write_beside_each_other_under_names_that_begin_alike(tmp_path):
    def write(number):
        for i in range(20):
            path = tmp_path / f"a-name-of-more-than-thirty-two-characters-{number % 3}"
            with atomic_file(path) as file:
                file.write(f"{number} {i}".encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(16)))
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@pytest.mark.parametrize("who_removes_it_is_faster", [False, True])
def test_a_file_taken_for_abandoned_before_it_is_locked_is_given_up(
    tmp_path, monkeypatch, who_removes_it_is_faster
):
    real = module._lock
    calls = []

    def lock(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            (part,) = tmp_path.glob(".result.*.part")
            part.unlink()
            if not who_removes_it_is_faster:
                raise BlockingIOError(errno.EWOULDBLOCK, "locked")
        real(descriptor)

    monkeypatch.setattr(module, "_lock", lock)
    with atomic_file(tmp_path / "result") as file:
        file.write(b"x")
    assert len(calls) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_where_there_are_no_locks_nothing_is_taken_for_abandoned(tmp_path, monkeypatch):
    def lock(_descriptor):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module, "_lock", lock)
    other = tmp_path / ".result.abc.part"
    other.touch()
    with atomic_file(tmp_path / "result") as file:
        file.write(b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "result"]


def mixture():
    return GaussianMixture(2).fit(np.arange(20.0).reshape(-1, 1))


@pytest.fixture
def _small_files():
    """Let files grow to a thousand bytes and no further."""
    import resource

    mixture()  # its kernels are compiled, and kept in larger files
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


OUTPUTS = {
    "model.fgm": lambda path: mixture().save(path),
    "table.csv": lambda path: write_table(path, {"x": np.arange(1000.0)}),
    "table.npy": lambda path: write_table(path, {"x": np.arange(1000.0)}),
    "table.parquet": lambda path: write_table(path, {"x": np.arange(1000.0)}),
    "image.png": lambda path: write_image(
        path, np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    ),
    "run.fgm": lambda path: GaussianMixture(2, checkpoint=path, resume=True).fit(
        np.arange(20.0).reshape(-1, 1)
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.usefixtures("_small_files")
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_disk_that_takes_no_more_is_reported_and_the_old_file_survives(tmp_path, name):
    path = tmp_path / name
    if name != "run.fgm":
        path.write_bytes(b"old")
    with pytest.raises(OSError, match=r"cannot write .*: file too large; give a file on") as caught:
        OUTPUTS[name](path)
    assert caught.value.errno == errno.EFBIG
    assert str(path) in str(caught.value)
    assert ".part" not in str(caught.value)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"] * (name != "run.fgm")


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_missing_folder_and_a_folder_in_the_place_of_a_file_are_reported(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*none'; make it, or give"):
        OUTPUTS[name](tmp_path / "none" / name)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match="it is a folder; give the name of a file"):
        OUTPUTS[name](tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device here")
def test_a_full_device_is_reported():
    with (
        pytest.raises(OSError, match=r"'/dev/full': no space left on device; free some space, or"),
        atomic_file("/dev/full") as file,
    ):
        file.write(b"x")


def test_a_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "result"
    path.touch()
    monkeypatch.setattr("os.access", lambda where, _mode: where != path)  # root may write to any
    with (
        pytest.raises(PermissionError, match="it is write-protected; change that, or give another"),
        atomic_file(path),
    ):
        pass


def test_a_name_that_is_too_long_is_reported(tmp_path):
    path = tmp_path / ("n" * 300)
    with pytest.raises(OSError, match="name too long; give a shorter name"), atomic_file(path):
        pass


def test_errors_of_others_pass_through_as_they_are(tmp_path):
    error = FileNotFoundError(errno.ENOENT, "No such file", "rows.csv")
    with pytest.raises(FileNotFoundError) as caught, atomic_file(tmp_path / "result"):
        raise error
    assert caught.value is error


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, write in OUTPUTS.items():
        write(f"~/{name}")
        check_destination(f"~/{name}")
        assert (tmp_path / name).stat().st_size > 100
    OUTPUTS["run.fgm"](Path("~/run.fgm"))  # which it resumes
    assert load("~/model.fgm").n_components == 2
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_destination("~/none/result")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OUTPUTS)
