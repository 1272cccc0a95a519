"""Arrays in memory and in files that are mapped."""

import mmap

import numpy as np
import pytest

from fastgmm.data.source import sum_of_weights
from fastgmm.data.sources.array import ArraySource
from tests.written_data import all_rows, blocks_of, rows


def test_arrays_in_memory_are_one_block():
    X = rows(5000)
    source = ArraySource(X)
    (block,) = source.blocks()
    assert block.X is X
    assert block.weights is None
    assert (source.n_samples, source.n_features, source.total_weight) == (5000, 3, 5000.0)


def test_mapped_arrays_come_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("fastgmm.data.sources.array._MAPPED_BYTES", 50_000)
    X = rows(5000)
    np.save(tmp_path / "x.npy", X)
    weights = np.arange(5000.0)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for array in (mapped, mapped[:], np.asarray(mapped)):
        source = ArraySource(array, weights)
        blocks = blocks_of(source)
        assert [len(X) for X, _ in blocks] == [2048, 2048, 904]
        np.testing.assert_array_equal(all_rows(source), X)
        np.testing.assert_array_equal(np.concatenate([w for _, w in blocks]), weights)


def test_arrays_over_a_map_of_python(tmp_path, monkeypatch):
    monkeypatch.setattr("fastgmm.data.sources.array._MAPPED_BYTES", 50_000)
    X = rows(5000)
    (tmp_path / "x").write_bytes(X.tobytes())
    with (tmp_path / "x").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        source = ArraySource(np.frombuffer(mapped).reshape(5000, 3))
        assert len(blocks_of(source)) == 3


def test_some_rows_are_the_first_with_weight():
    X = rows(10)
    np.testing.assert_array_equal(ArraySource(X).some_rows(3), X[:3])
    np.testing.assert_array_equal(ArraySource(X).some_rows(30), X)
    weights = np.array([0, 0, 1, 0, 2, 0, 0, 3, 0, 0.0])
    np.testing.assert_array_equal(ArraySource(X, weights).some_rows(2), X[[2, 4]])
    np.testing.assert_array_equal(ArraySource(X, np.zeros(10)).some_rows(2), X[:1])


def test_chosen_rows_are_copied():
    X = rows(10)
    found = ArraySource(X).rows(np.array([3, 1]))
    np.testing.assert_array_equal(found, X[[3, 1]])
    assert not np.shares_memory(found, X)


def test_fingerprints_see_a_single_bit():
    X = rows(5000)
    source = ArraySource(X)
    same = source.fingerprint()
    assert ArraySource(X.copy()).fingerprint() == same
    assert ArraySource(np.asfortranarray(X)).fingerprint() == same
    changed = X.copy()
    changed[4321, 1] = np.nextafter(changed[4321, 1], 9)
    assert ArraySource(changed).fingerprint() != same
    assert ArraySource(X, np.ones(5000)).fingerprint() != same


def test_fingerprints_of_large_arrays_look_at_some_rows(monkeypatch):
    X = rows(200_000)
    whole = ArraySource(X).fingerprint()
    monkeypatch.setattr("fastgmm.data.sources.array._DIGESTED_BYTES", 2**20)
    assert ArraySource(X).fingerprint() != whole


@pytest.mark.parametrize("cut", [1024, 2048, 4096])
def test_sums_of_weights_do_not_depend_on_the_cut(cut):
    weights = np.random.default_rng(0).random(10_000) ** 9
    total = 0.0
    for first in range(0, len(weights), cut):
        total = sum_of_weights(weights[first : first + cut], total)
    assert total == sum_of_weights(weights)
    assert total == pytest.approx(weights.sum(), rel=1e-14)
    assert sum_of_weights(np.empty(0), 3.0) == 3.0
