"""Which files a path, a folder, a pattern or a list stands for, and in which order."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from pyarrow import dataset

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.file_listing import find_files, natural_key
from fastgmm.data.opening import open_data
from tests.written_data import all_rows, rows, write_csv, write_npy, write_parquet, write_zarr


def names(found):
    return [file.path.name for file in found]


def kinds(found):
    return {file.kind for file in found}


def test_numbers_in_names_count_by_value():
    paths = ["b1", "a10", "a9", "a09", "a1b2", "a1b10", "A1", "2/1", "10/1", "a"]
    ordered = ["2/1", "10/1", "A1", "a", "a1b2", "a1b10", "a09", "a9", "a10", "b1"]
    assert sorted(paths, key=natural_key) == ordered


def test_folders_are_searched_to_the_bottom(tmp_path):
    for name in ("b/10.csv", "b/9.csv", "a/deep/1.csv", "c.csv", "_tmp/x.csv", ".git/x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1,2\n")
    for name in ("_SUCCESS", ".c.csv.crc", "README.md", "notes.txt", "x.json"):
        (tmp_path / name).write_text("1,2\n")
    left_out = []
    assert names(find_files(tmp_path, left_out)) == ["1.csv", "9.csv", "10.csv", "c.csv"]
    assert [Path(each.split("'")[1]).name for each in left_out] == [
        "README.md",
        "notes.txt",
        "x.json",
    ]


def test_patterns_are_ordered_and_lists_are_not(tmp_path):
    for i in (10, 9, 1):
        write_csv(tmp_path / f"{i}.csv", rows(2))
    assert names(find_files(str(tmp_path / "*.csv"))) == ["1.csv", "9.csv", "10.csv"]
    assert names(find_files([tmp_path / "9.csv", tmp_path / "1.csv"])) == ["9.csv", "1.csv"]
    assert names(find_files(str(tmp_path / "**" / "1*.csv"))) == ["1.csv", "10.csv"]


def test_no_file_is_found_twice(tmp_path):
    (tmp_path / "b").mkdir()
    write_csv(tmp_path / "a.csv", rows(2))
    write_csv(tmp_path / "b" / "c.csv", rows(2))
    (tmp_path / "b" / "latest.csv").symlink_to(tmp_path / "b" / "c.csv")
    for data in (tmp_path, str(tmp_path / "**"), str(tmp_path / "*")):
        assert names(find_files(data)) == ["a.csv", "c.csv"]
    with pytest.raises(DataError, match=r"names '.*a\.csv' twice: name each file once"):
        find_files([tmp_path, tmp_path / "a.csv"])


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "disk").mkdir()
    write_csv(tmp_path / "disk" / "a.csv", rows(2))
    data = tmp_path / "data"
    data.mkdir()
    write_csv(data / "b.csv", rows(2))
    (data / "linked").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk" / "back").symlink_to(data, target_is_directory=True)
    assert names(find_files(data)) == ["b.csv", "a.csv"]


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_csv(tmp_path / "a.csv", rows(2))
    assert names(find_files("~/a.csv")) == names(find_files("~/*.csv")) == ["a.csv"]
    with pytest.raises(FileNotFoundError, match=r"no file .~nobody-of-that-name/a\.csv"):
        find_files("~nobody-of-that-name/a.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_pipes_are_not_opened_among_files(tmp_path):
    path = write_csv(tmp_path / "a.csv", rows(2))
    os.mkfifo(tmp_path / "b.csv")
    assert names(find_files(tmp_path)) == ["a.csv"]
    with pytest.warns(SkippedDataWarning, match=r"left out .*b\.csv' \(a pipe or a device\): name"):
        open_data(tmp_path)
    with pytest.raises(DataError, match=r"b\.csv' is a pipe or a device, which can only"):
        find_files([path, tmp_path / "b.csv"])


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no sockets with names")
def test_sockets_are_not_opened(tmp_path, monkeypatch):
    write_csv(tmp_path / "a.csv", rows(2))
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("b.csv")
        with pytest.warns(SkippedDataWarning, match=r"b\.csv' \(a socket\): name those"):
            open_data(tmp_path)
        with pytest.raises(DataError, match=r"b\.csv' is a socket, which can only be read alone"):
            open_data(tmp_path / "b.csv")


def test_files_of_folders_that_are_left_out_are_named(tmp_path):
    write_csv(tmp_path / "a.csv", rows(2))
    for name in ("b.dat", "c.txt", "d.xlsx"):
        (tmp_path / name).write_text("1,2,3\n")
    with pytest.warns(SkippedDataWarning, match=r"b\.dat' \(neither.*c\.txt' .*d\.xlsx' ") as found:
        source = open_data(tmp_path)
    assert len(found) == 1
    assert all_rows(source).shape == (2, 3)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(
        DataError, match=r"holds no files of data, but '.*b\.dat' \(neither its name"
    ):
        open_data(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_empty_parts_are_left_out(tmp_path, suffix):
    write = {"csv": write_csv, "parquet": write_parquet}[suffix]
    for i in range(3):
        write(tmp_path / f"part-{i}.{suffix}", rows(4, seed=i))
    empty = tmp_path / f"part-1.{suffix}"
    empty.write_bytes(b"")
    expected = np.concatenate([rows(4, seed=0), rows(4, seed=2)])
    for data in (tmp_path, str(tmp_path / "*"), str(tmp_path / "part-*")):
        with pytest.warns(SkippedDataWarning, match=rf"part-1\.{suffix}' \(empty\)"):
            np.testing.assert_array_equal(all_rows(open_data(data)), expected)
    with pytest.raises(DataError, match=rf"part-1\.{suffix}"):
        open_data(empty)
    with pytest.raises(DataError, match=rf"part-1\.{suffix}"):
        open_data([tmp_path / f"part-0.{suffix}", empty])
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no files of data, but .*\(empty\), .*\(empty\)"):
        open_data(tmp_path)
    with pytest.raises(DataError, match=r"no file matches .*, but .*\(empty\), .*\(empty\)"):
        open_data(str(tmp_path / "*"))


def test_links_that_lead_nowhere_are_named(tmp_path):
    write_csv(tmp_path / "a.csv", rows(2))
    (tmp_path / "b.csv").symlink_to(tmp_path / "gone.csv")
    for data in (tmp_path, str(tmp_path / "*.csv"), tmp_path / "b.csv"):
        with pytest.raises(DataError, match=r"b\.csv' is a link to '.*gone\.csv', which is not th"):
            open_data(data)


def test_folders_that_cannot_be_listed(tmp_path, monkeypatch):
    write_csv(tmp_path / "a.csv", rows(2))
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError, match="closed"):
        find_files(tmp_path)


def test_names_may_have_wildcards_in_them(tmp_path):
    path = write_csv(tmp_path / "a[1].csv", rows(2))
    write_csv(tmp_path / "a1.csv", rows(2))
    assert names(find_files(path)) == ["a[1].csv"]


def test_content_counts_before_the_name(tmp_path):
    X = rows(100)
    path = write_npy(tmp_path / "a.npy", X).rename(tmp_path / "a.csv")
    np.testing.assert_array_equal(all_rows(open_data(path)), X)
    path = write_parquet(tmp_path / "b", X)
    np.testing.assert_array_equal(all_rows(open_data(path)), X)
    (tmp_path / "no suffix").write_text("1,2\n3,4\n")
    assert all_rows(open_data(tmp_path / "no suffix")).shape == (2, 2)


def test_files_without_a_suffix_in_folders(tmp_path):
    write_parquet(tmp_path / "part-0000", rows(10))
    (tmp_path / "license").write_text("text")
    assert kinds(find_files(tmp_path)) == {"Parquet"}


def test_stores_of_zarr_are_files(tmp_path):
    for version in (2, 3):
        path = write_zarr(tmp_path / f"{version}.zarr", rows(10), version, (10, 3))
        assert kinds(find_files(path)) == {"Zarr"}
    assert len(find_files(str(tmp_path / "*.zarr"))) == 2


def test_parts_are_split_off(tmp_path):
    path = write_npy(tmp_path / "a.npy", rows(2))
    with pytest.raises(DataError, match=r"a\.npy' holds no arrays with names: leave out '::X'"):
        open_data(f"{path}::X")
    odd = write_npy(tmp_path / "a::b.npy", rows(2))
    assert find_files(odd)[0].part == ""


def test_folders_named_after_values(tmp_path):
    folder = tmp_path / "year=2024" / "price=1.5" / "place=a=b" / "none=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    write_parquet(folder / "x.parquet", rows(2))
    (found,) = find_files(tmp_path)
    expected = {"year": 2024, "price": "1.5", "place": "a=b", "none": None}
    assert found.partitions == expected
    (named,) = find_files(found.path)
    assert expected.items() <= named.partitions.items()
    (matched,) = find_files(str(tmp_path / "year=*"))
    assert expected.items() <= matched.partitions.items()


VALUES = [
    ["01", "02"],
    ["2020_01", "2020_02"],
    ["1", "2020_02"],
    ["S%C3%A3o Paulo", "Rio%2FNiter%C3%B3i"],
    ["1.5", "2"],
    ["3000000000", "1"],
    ["__HIVE_DEFAULT_PARTITION__", "1"],
    ["__HIVE_DEFAULT_PARTITION__", "a"],
    ["1", " 2"],
    ["+1", "-1"],
    ["-1", "%31"],
    ["", "2"],
    ["true", "nan"],
    ["1e3", "inf"],
    ["a+b", "a=b"],
]


@pytest.mark.parametrize("key", ["m", "m%C3%AAs"])
@pytest.mark.parametrize("values", VALUES, ids=" ".join)
def test_values_of_folders_are_those_of_arrow(tmp_path, key, values):
    for value in values:
        (tmp_path / f"{key}={value}").mkdir()
        write_parquet(tmp_path / f"{key}={value}" / "x.parquet", rows(1))
    theirs = dataset.dataset(tmp_path, partitioning="hive").to_table()
    name = theirs.column_names[-1]
    ours = [file.partitions for file in find_files(tmp_path)]
    assert {each[name] for each in ours} == set(theirs[name].to_pylist())
    assert all(list(each) == [name] for each in ours)


def test_folders_are_named_after_text(tmp_path):
    (tmp_path / "m=%FF").mkdir()
    write_parquet(tmp_path / "m=%FF" / "x.parquet", rows(1))
    with pytest.raises(DataError, match="the folder 'm=%FF' is named after a value that is no UTF"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("nowhere.csv", FileNotFoundError, r"there is no file '.*nowhere\.csv'"),
        ("nowhere.h5::X", FileNotFoundError, r"there is no file '.*nowhere\.h5'"),
        ("*.parquet", DataError, r"no file matches the pattern '.*\*\.parquet'"),
        ("empty", DataError, r"the folder '.*empty' holds no files of data"),
        (".", DataError, r"of one kind can be read together.*\(1 Parquet, 1 CSV\): '.*b\.parquet'"),
        ("binary.dat", DataError, r"cannot tell what '.*binary\.dat' is: it is none of Parquet"),
        ("archive.zip", DataError, r"cannot read '.*archive\.zip' as a zip archive"),
    ],
)
def test_what_cannot_be_found(tmp_path, data, error, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "z.csv").write_text("1\n")
    (tmp_path / "binary.dat").write_bytes(b"\0\1\2")
    (tmp_path / "archive.zip").write_bytes(b"PK\3\4")
    if data == ".":
        write_parquet(tmp_path / "b.parquet", rows(2))
    with pytest.raises(error, match=message):
        open_data(str(tmp_path / data))


def test_empty_names():
    with pytest.raises(FileNotFoundError, match="no file of the name ''"):
        open_data("")


def test_empty_lists():
    with pytest.raises(DataError, match="there are no files in an empty list"):
        find_files([])


def test_lists_may_mix_folders_and_patterns(tmp_path):
    for name in ("a/2.npy", "a/1.npy", "b/1.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_npy(tmp_path / name, rows(2))
    given = [tmp_path / "b", str(tmp_path / "a" / "*")]
    found = [f"{file.path.parent.name}/{file.path.name}" for file in find_files(given)]
    assert found == ["b/1.npy", "a/1.npy", "a/2.npy"]
    assert isinstance(find_files(given)[0].path, Path)


def test_errors_of_the_system_name_the_file(tmp_path, monkeypatch):
    path = write_npy(tmp_path / "a.npy", rows(2))

    opened = Path.open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise OSError(5, "Input/output error")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"Input/output error: '.*a\.npy'"):
        open_data(path)
