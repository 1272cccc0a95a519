"""Rows that come only once, kept in a temporary file."""

import errno
import tempfile

import numpy as np
import pytest

from fastgmm.data.opening import open_data
from fastgmm.data.options import ReadingOptions
from fastgmm.data.sources.spool import SpooledSource
from tests.written_data import all_rows, arrow_table, batches, blocks_of, rows

SMALL = ReadingOptions(memory_budget=1000)
"""So little that nothing is kept in memory."""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [SMALL, ReadingOptions()])
def test_the_rows_come_as_often_as_asked(dtype, options):
    X = rows(5000, dtype)
    source = SpooledSource(open_data(batches(X)), options)
    assert source.replayable
    assert source.expected_samples == 5000
    for _ in range(3):
        np.testing.assert_array_equal(all_rows(source), X)
    assert all_rows(source).dtype == dtype
    assert source.n_samples == 5000


def test_names_and_weights_are_kept():
    X = np.abs(rows(3000))
    reader = arrow_table(X).to_reader(max_chunksize=700)
    source = SpooledSource(open_data(reader, weight_column="b"), SMALL)
    assert source.feature_names == ("a", "c")
    weights = np.concatenate([weights for _, weights in blocks_of(source)])
    np.testing.assert_array_equal(weights, X[:, 1])
    np.testing.assert_array_equal(all_rows(source), X[:, [0, 2]])
    assert source.total_weight == pytest.approx(weights.sum())


def test_other_rows_have_another_fingerprint():
    X = rows(2000)
    one, same, other = (
        SpooledSource(open_data(batches(each)), SMALL).fingerprint() for each in (X, X, X[::-1])
    )
    assert one == same
    assert one != other


def test_a_copy_that_is_cut_short_is_reported():
    source = SpooledSource(open_data(batches(rows(3000))), SMALL)
    source._file.truncate(1000)
    with pytest.raises(OSError, match="the copy of the rows in a temporary file was cut short"):
        all_rows(source)


def test_a_full_disk_is_reported(monkeypatch):
    class Full:
        def __init__(self, **_): ...
        def close(self): ...
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OSError, match=r"copy of the rows in '.*' \(No space left.*TMPDIR"):
        SpooledSource(open_data(batches(rows())), SMALL)
