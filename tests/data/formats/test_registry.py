"""The registry of formats, a format that is added to it, and files that are none of theirs."""

import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from fastgmm import DataError, GaussianMixture, open_data
from fastgmm.data.formats import registry
from fastgmm.data.formats.registry import file_kind, formats
from tests.written_data import FORMS as WRITTEN
from tests.written_data import all_rows, rows

TOY = '''
"""Matrices as hexadecimal text, a row a line: a format in one file."""

import numpy as np

from fastgmm.data.formats.table_file import (
    FileFormat,
    FileStamp,
    Piece,
    TableFile,
    chosen_columns,
    column_numbers,
    unnamed_columns,
)


class ToyFile(TableFile):
    kind = "toy"
    named = False

    def __init__(self, path):
        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        first = path.read_text().splitlines()[1]
        self.columns = unnamed_columns(np.dtype(float), len(first.split()))

    def pieces(self, wanted):
        lines = self._path.read_text().splitlines()[1:]
        indices = column_numbers(self.columns, wanted.names)
        for first in range(0, len(lines), wanted.n_rows):
            part = lines[first : first + wanted.n_rows]
            values = np.array([[float.fromhex(each) for each in line.split()] for line in part])
            yield Piece(chosen_columns(values, indices), first)


FORMATS = (
    FileFormat("toy", lambda found, _: ToyFile(found.path), (".toy",), signatures=(b"toy!",)),
)
'''


@pytest.fixture
def _toy_format(monkeypatch):
    """Add the toy as its module and a line in the registry would."""
    module = ModuleType("fastgmm.data.formats.toy_files")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(TOY, "toy_files.py", "exec"), module.__dict__)
    for each in module.FORMATS:
        monkeypatch.setitem(formats(), each.kind, each)


def write_toy(path, X):
    lines = [" ".join(float(value).hex() for value in row) for row in X]
    path.write_text("\n".join(["toy!", *lines]))
    return path


@pytest.mark.usefixtures("_toy_format")
def test_a_format_is_one_file_and_a_line_in_the_registry(tmp_path):
    X = rows(3000)
    path = write_toy(tmp_path / "a.toy", X)
    assert file_kind(path) == file_kind(write_toy(tmp_path / "any.name", X)) == "toy"
    np.testing.assert_array_equal(all_rows(open_data(path)), X)
    np.testing.assert_array_equal(all_rows(open_data(path, columns=["x2", "x0"])), X[:, [2, 0]])
    fits = [GaussianMixture(2, random_state=0).fit(each) for each in (path, X)]
    np.testing.assert_array_equal(fits[0].means_, fits[1].means_)
    with pytest.raises(ValueError, match="is not CSV, which 'decimal' is for"):
        open_data(path, decimal=",")
    with pytest.raises(DataError, match="holds no arrays with names"):
        open_data(f"{path}::x")
    np.save(tmp_path / "b.npy", X)
    with pytest.raises(DataError, match=r"of several \(1 toy, 1 NumPy\)"):
        open_data([path, tmp_path / "b.npy"])


def test_every_module_of_a_format_is_in_the_registry():
    folder = Path(registry.__file__).parent
    with_formats = {
        path.stem for path in folder.glob("*.py") if "\nFORMATS = (" in path.read_text()
    }
    assert with_formats == set(registry._MODULES)
    suffixes = [suffix for each in formats().values() for suffix in each.suffixes]
    assert len(set(suffixes)) == len(suffixes)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.npy", "a.npz", "a.h5", "a.png"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "is an HTML page, not the data"),
        (b"SIMPLE  =                    T" + b" " * 2000, "is a FITS file: read it with astropy"),
        (b'[{"a": 1}]', "is JSON: read it with pandas"),
        (b"\x80\x04\x95\x10\0" + bytes(30), "is a pickle, which can run programs"),
        (b"", "is empty"),
    ],
)
def test_files_are_called_what_they_are(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"'.*{name}' {message}"):
        open_data(path)
    with pytest.raises(DataError, match="no file can be read: "):
        open_data(path, on_error="skip")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "folder/" + "x" * 300 + "*.csv"])
def test_what_cannot_be_the_name_of_a_file(name):
    words = "cannot be the name of a file|no file matches|there is no file"
    with pytest.raises((DataError, FileNotFoundError), match=words):
        open_data(name)


def test_a_zip_archive_whose_entries_are_damaged(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "a,b\n1,2\n" * 100)
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes(20) + content[40:])
    with pytest.raises(
        DataError, match=r"cannot read '.*a\.zip' as a zip archive: .*it is damaged"
    ):
        open_data(path)


@pytest.mark.parametrize(
    ("form", "package", "message"),
    [
        ("CSV", "pyarrow", r'reading CSV needs pyarrow: .*"fastgmm\[parquet\]"'),
        ("Parquet", "pyarrow", r'reading Parquet needs pyarrow: .*"fastgmm\[parquet\]"'),
        ("Arrow file", "pyarrow", r'reading Arrow files needs pyarrow: .*"fastgmm\[parquet\]"'),
        ("HDF5", "h5py", r'needs h5py: .*"fastgmm\[hdf5\]"'),
        ("Zarr 3", "zarr", r'needs zarr: .*"fastgmm\[zarr\]"'),
        ("image", "PIL.Image", r'needs Pillow: .*"fastgmm\[plot\]"'),
    ],
)
def test_missing_package_names_the_extra(tmp_path, monkeypatch, form, package, message):
    if form == "image":
        path = tmp_path / "a.png"
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    else:
        path = WRITTEN[form](tmp_path, rows(1000))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=message):
        open_data(path)
