"""Arrow files and streams: types, batches, and files cut short."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.opening import open_data
from tests.written_data import NAMES, ArrowCapsule, all_rows, arrow_table, rows, write_arrow

ZSTD = b"\x28\xb5\x2f\xfd"


@pytest.fixture(params=[".arrow", ".arrows"])
def suffix(request):
    return request.param


def write(path, table):
    kind = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with path.open("wb") as file, kind(file, table.schema) as writer:
        writer.write_table(table)
    return path


def test_other_things_than_numbers_are_named(tmp_path, suffix):
    table = pa.table({"a": [1.0], "s": ["text"], "d": pa.array(["u"]).dictionary_encode()})
    path = write(tmp_path / f"x{suffix}", table)
    with pytest.raises(
        DataError, match=r"columns 's' \(string\), 'd' \(dictionary<.*>\): leave th"
    ):
        open_data(path)
    np.testing.assert_array_equal(all_rows(open_data(path, columns=["a"])), [[1.0]])
    wanted = [("s", "=", "text")]
    np.testing.assert_array_equal(all_rows(open_data(path, columns=["a"], filter=wanted)), [[1.0]])


def test_columns_come_in_the_order_asked_for(tmp_path, suffix):
    X = rows(2000)
    path = write_arrow(tmp_path / f"x{suffix}", X)
    np.testing.assert_array_equal(all_rows(open_data(path, columns=["c", "a"])), X[:, [2, 0]])


def test_files_cut_short(tmp_path, suffix):
    X = rows(4000)
    path = write_arrow(tmp_path / f"x{suffix}", X, 1000)
    path.write_bytes(path.read_bytes()[:-30_000])
    with pytest.raises(
        DataError, match=rf"x\{suffix}'.*: repair the file, or leave such parts out"
    ):
        all_rows(open_data(path))
    source = open_data(path, on_error="skip")
    with pytest.warns(
        SkippedDataWarning, match=rf"x\{suffix}', from row 2000 on, counted from 0: "
    ):
        np.testing.assert_array_equal(all_rows(source), X[:2000])
    np.testing.assert_array_equal(all_rows(source), X[:2000])


def test_damaged_batch(tmp_path):
    X = rows(4000)
    path = write_arrow(tmp_path / "x.arrow", X, 1000, compression="zstd")
    content = bytearray(path.read_bytes())
    frame = -1
    for _ in range(len(NAMES) + 1):  # a compressed column each: the first of the second batch
        frame = content.index(ZSTD, frame + 1)
    content[frame : frame + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"x\.arrow', batch 1 \(from row 1000 on, counted from 0\): "
    ):
        all_rows(open_data(path))
    source = open_data(path, on_error="skip")
    with pytest.warns(SkippedDataWarning, match="batch 1"):
        np.testing.assert_array_equal(all_rows(source), np.delete(X, slice(1000, 2000), axis=0))


@pytest.mark.parametrize(
    "content", [b"ARROW1", b"\xff\xff\xff\xff\x10\0\0\0", b"", b"ARROW1\0\0abc"]
)
def test_no_arrow_file(tmp_path, content):
    (tmp_path / "x.arrow").write_bytes(content)
    with pytest.raises(
        DataError, match=r"cannot read '.*x\.arrow' as an Arrow (file|stream): |is empty"
    ):
        open_data(tmp_path / "x.arrow")


def test_no_stream_in_an_open_file(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\xff\xff\xff\x10\0\0\0")
    with (
        (tmp_path / "x").open("rb") as file,
        pytest.raises(DataError, match="cannot read the open file as an Arrow stream"),
    ):
        open_data(file)


def test_queries_are_asked_again_in_every_pass():
    asked = []

    class Query(ArrowCapsule):
        def __arrow_c_stream__(self, requested_schema=None):
            asked.append(1)
            return super().__arrow_c_stream__(requested_schema)

    X = rows(100)
    source = open_data(Query(arrow_table(X)))
    for _ in range(3):
        np.testing.assert_array_equal(all_rows(source), X)
    assert len(asked) == 3


def test_streams_of_other_things_than_numbers():
    with pytest.raises(DataError, match=r"the Arrow stream holds other things .*'s' \(string\)"):
        open_data(ArrowCapsule(pa.table({"a": [1.0], "s": ["text"]})))


def test_missing_values_are_placed():
    table = pa.table({"a": pa.chunked_array([[1.0, 2.0], [None]])})
    with pytest.raises(
        DataError, match="the Arrow stream: the value in column 'a' in row 2, counted from 0, is mi"
    ):
        all_rows(open_data(ArrowCapsule(table)))


def test_feather_of_polars(tmp_path):
    X = rows(100)
    pl.DataFrame({"a": X[:, 0], "b": X[:, 1]}).write_ipc(tmp_path / "x.feather", compression="lz4")
    np.testing.assert_array_equal(all_rows(open_data(tmp_path / "x.feather")), X[:, :2])


def test_a_column_whose_name_is_damaged(tmp_path, suffix):
    path = write(tmp_path / f"named{suffix}", pa.table({"measured": [1.0, 2.0]}))
    path.write_bytes(path.read_bytes().replace(b"measured", b"meas\xa2red"))
    with pytest.raises(DataError, match=r"named.*: the name of a column is damaged .*again"):
        open_data(path)
