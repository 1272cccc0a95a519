"""Batches of any size cut into blocks of whole numbers of 1024 rows."""

import tracemalloc

import numpy as np
import pytest

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.options import ReadingOptions
from fastgmm.data.sources.batch import Batch
from fastgmm.data.sources.stream import StreamSource
from tests.written_data import all_rows, blocks_of, rows


class GivenBatches(StreamSource):
    """Rows in batches of given sizes."""

    def __init__(self, X, sizes, *, weights=None, by_columns=False, **options):
        super().__init__(
            dtype=X.dtype,
            n_features=X.shape[1],
            feature_names=None,
            has_weights=weights is not None,
            options=ReadingOptions(**options),
        )
        self.X, self.sizes, self.weights = X, sizes, weights
        self._by_columns = by_columns
        self.damage = []

    def _batches(self):
        self.skipped += self.damage
        first = 0
        for size in self.sizes:
            rows = slice(first, first + size)
            values = self.X[rows]
            weights = None if self.weights is None else self.weights[rows]
            yield Batch(list(values.T) if self._by_columns else values, weights, "here", first)
            first += size

    def _identity(self):
        return {"kind": "given"}


SIZES = [
    [5000],
    [1] * 50 + [4950],
    [1024] * 4 + [904],
    [2048, 2048, 904],
    [0, 3000, 0, 2000, 0],
    [1023, 1025, 2952],
    [4999, 1],
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("block_rows", [1, 1024, 2000, 10**6])
@pytest.mark.parametrize("by_columns", [False, True])
def test_blocks_are_whole_however_the_batches_come(sizes, block_rows, by_columns):
    X = rows(5000)
    weights = np.arange(5000.0)
    source = GivenBatches(X, sizes, weights=weights, by_columns=by_columns, block_rows=block_rows)
    blocks = blocks_of(source)
    np.testing.assert_array_equal(np.concatenate([X for X, _ in blocks]), X)
    np.testing.assert_array_equal(np.concatenate([w for _, w in blocks]), weights)
    assert all(len(X) % 1024 == 0 for X, _ in blocks[:-1])
    assert max(len(X) for X, _ in blocks) <= -(-block_rows // 1024) * 1024
    assert source.n_samples == 5000
    assert source.total_weight == weights.sum()


def test_columns_stay_together():
    source = GivenBatches(rows(3000), [3000], by_columns=True)
    block = next(iter(source.blocks())).X
    assert block.strides[0] == block.itemsize


def test_large_batches_are_not_copied():
    X = rows(4096)
    source = GivenBatches(X, [4096], block_rows=2048)
    assert all(np.shares_memory(block, X) for block, _ in source.blocks())
    source._borrowed = True
    assert not any(np.shares_memory(block, X) for block, _ in source.blocks())


def test_no_memory_is_taken_for_batches_that_are_not_copied():
    block_rows = 8192
    X = rows(1024 + 2048 + 4096 + 9 * block_rows)  # the first blocks are smaller
    source = GivenBatches(X, [len(X)], block_rows=block_rows)
    tracemalloc.start()
    for _ in source.blocks():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X[:block_rows].nbytes / 2


def test_size_is_unknown_until_all_rows_went_by():
    source = GivenBatches(rows(3000), [3000], block_rows=1024)
    assert source.n_samples is None
    assert source.some_rows(10).shape == (10, 3)
    assert source.n_samples is None
    assert source.total_weight == 3000
    assert source.n_samples == 3000


def test_noted_size_is_compared():
    source = GivenBatches(rows(3000), [3000])
    source.note_size(3001, 3001.0)
    with pytest.raises(DataError, match=r"changed while it was in use: 3000 rows .* but 3001"):
        all_rows(source)


def test_rows_that_come_and_go():
    source = GivenBatches(rows(3000), [3000])
    all_rows(source)
    source.sizes = [2999]
    with pytest.raises(DataError, match="start again on data that stay as they are"):
        all_rows(source)


def test_no_rows():
    with pytest.raises(DataError, match="the data has no rows"):
        all_rows(GivenBatches(rows(10), [0]))


def test_rows_are_counted_as_they_are_handed_out():
    source = GivenBatches(rows(3000), [3000], block_rows=1024)
    counts = []
    source.on_rows = counts.append
    all_rows(source)
    assert counts == [1024, 2048, 3000]


def test_errors_of_the_reader_come_through():
    source = GivenBatches(rows(10), ["ten"])
    with pytest.raises(TypeError):
        all_rows(source)


def test_what_is_left_out_is_said_once():
    source = GivenBatches(rows(10), [10])
    source.damage = ["'a': bad", "'b': worse"]
    with pytest.warns(SkippedDataWarning, match=r"left out because .* damaged: 'a': bad; 'b': wor"):
        all_rows(source)
    all_rows(source)
    assert source.skipped == source.damage


def test_fingerprint_has_what_changes_the_rows():
    X = rows(10)
    one, other = GivenBatches(X, [10]), GivenBatches(X, [10], missing="drop")
    assert one.fingerprint() != other.fingerprint()
    assert one.fingerprint()["kind"] == "given"
