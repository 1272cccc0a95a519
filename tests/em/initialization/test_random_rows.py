"""Random samples of rows in memory."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization.random_rows import is_held_out, random_rows

N_ROWS = 103


def numbered(weighted):
    """Return rows that hold their numbers, every third without weight if they have weights."""
    numbers = np.arange(float(N_ROWS))
    return ArraySource(numbers[:, None], numbers % 3 if weighted else None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("every", [None, 2, 10])
def test_a_sample_as_large_as_the_data_has_all_rows_to_be_learned_in_order(weighted, every):
    sample = random_rows(numbered(weighted), 200, 0, held_out_every=every)
    expected = [
        i
        for i in range(N_ROWS)
        if not (weighted and i % 3 == 0) and not (every and i % every == every - 1)
    ]
    assert_array_equal(sample.X[:, 0], expected)
    if weighted:
        assert_array_equal(sample.weights, np.array(expected) % 3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("every", [None, 10])
def test_a_smaller_sample_has_each_row_as_often_as_any_other(weighted, every):
    source = numbered(weighted)
    everything = random_rows(source, 200, 0, held_out_every=every).X[:, 0].astype(int)
    counts = np.zeros(N_ROWS)
    for seed in range(2000):
        sample = random_rows(source, 20, seed, held_out_every=every).X[:, 0]
        assert len(sample) == 20
        assert (np.diff(sample) > 0).all()
        counts[sample.astype(int)] += 1
    expected = 2000 * 20 / len(everything)
    assert np.abs(counts[everything] - expected).max() < 5 * np.sqrt(expected)
    assert counts.sum() == counts[everything].sum()


def test_the_last_row_of_so_many_is_held_out():
    assert_array_equal(np.flatnonzero(is_held_out(np.arange(12), 4)), [3, 7, 11])
