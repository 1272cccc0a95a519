"""A file appears whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from fastgmm.atomic_file import atomic_file, check_destination, remove_abandoned


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
def test_positions_can_be_told_on_the_way_to_a_device(tmp_path):
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
def test_a_folder_that_takes_no_files_is_told_before_the_work(tmp_path):
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
        remove_abandoned(path)
        assert not left.exists()
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"
    assert (tmp_path / "run.fgm.old").read_bytes() == b"other"
