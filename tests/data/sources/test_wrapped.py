"""Some rows of a source, left where the source has them."""

import numpy as np
import pytest

from fastgmm.data.opening import open_data
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.sources.wrapped import ChosenRows, choose_rows
from fastgmm.em.e_step.passes import source_moments
from fastgmm.kernels.tiles import BLOCK_ROWS


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3 * BLOCK_ROWS + 5, 2))
    return X, rng.integers(0, 3, len(X)).astype(float), rng.random(len(X)) < 0.4


def batches(X, weights, size=700):
    def some():
        for first in range(0, len(X), size):
            part = slice(first, first + size)
            yield X[part] if weights is None else (X[part], weights[part])

    return open_data(some)


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_that_are_read_again_are_the_same_to_the_bit_as_rows_in_memory(rows, weighted):
    X, weights, chosen = rows
    weights = weights if weighted else None
    held = choose_rows(ArraySource(X, weights), chosen)
    read = choose_rows(batches(X, weights), chosen)
    assert isinstance(held, ArraySource)
    assert isinstance(read, ChosenRows)
    assert read.n_samples == held.n_samples == chosen.sum()
    assert read.total_weight == held.total_weight
    assert read.has_weights == weighted
    np.testing.assert_array_equal(np.concatenate([each.X for each in read.blocks()]), X[chosen])
    ours, theirs = (source_moments(each, diagonal=False) for each in (read, held))
    np.testing.assert_array_equal(ours.second, theirs.second)
    assert read.replayable
    assert not read.incomplete


def test_all_rows_are_the_source_itself(rows):
    X, _, chosen = rows
    source = ArraySource(X)
    assert choose_rows(source, np.ones_like(chosen)) is source


def test_other_rows_have_another_fingerprint(rows):
    X, _, chosen = rows
    source = batches(X, None)
    first, second = choose_rows(source, chosen), choose_rows(source, ~chosen)
    assert first.fingerprint() != second.fingerprint()
    assert first.fingerprint() == choose_rows(source, chosen.copy()).fingerprint()


def test_labels_are_those_of_the_chosen_rows(tmp_path):
    labels = np.arange(9) % 3
    path = tmp_path / "a.csv"
    path.write_text("a,k\n" + "".join(f"{j}.5,{label}\n" for j, label in enumerate(labels)))
    chosen = labels > 0
    X = np.arange(9.0)[:, None] + 0.5
    for source in (open_data(path, label_column="k"), ArraySource(X, labels=labels)):
        found = choose_rows(source, chosen)
        np.testing.assert_array_equal(found.labels(), labels[chosen])
