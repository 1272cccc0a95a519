"""A uniform sample of rows that go by."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import stats

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.reservoir import Reservoir, Sampling


def sample(n_rows, size, *, cuts=(), seed=0, weights=None):
    X = np.arange(float(n_rows))[:, None]
    reservoir = Reservoir(size, 1, np.float64, weights is not None, seed)
    edges = [0, *sorted(cuts), n_rows]
    for first, last in itertools.pairwise(edges):
        reservoir.add(X[first:last], None if weights is None else weights[first:last])
    return reservoir.sample()


@given(
    n_rows=st.integers(1, 500),
    size=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 500), max_size=6),
    seed=st.integers(0, 10),
    weighted=st.booleans(),
)
def test_the_sample_does_not_depend_on_how_the_rows_are_cut(n_rows, size, cuts, seed, weighted):
    weights = np.random.default_rng(seed).integers(0, 3, n_rows).astype(float) if weighted else None
    cuts = [min(cut, n_rows) for cut in cuts]
    whole = sample(n_rows, size, seed=seed, weights=weights)
    assert_array_equal(sample(n_rows, size, cuts=cuts, seed=seed, weights=weights).X, whole.X)
    rows = whole.X[:, 0].astype(int)
    assert len(np.unique(rows)) == min(size, n_rows if weights is None else (weights > 0).sum())
    assert (np.diff(rows) > 0).all()
    if weights is not None:
        assert_array_equal(whole.weights, weights[rows])
        assert (whole.weights > 0).all()


@pytest.mark.parametrize(("n_rows", "size"), [(50, 5), (40, 39), (3000, 1)])
def test_every_row_is_as_likely_as_any_other(n_rows, size):
    n_draws = 4000
    counts = np.zeros(n_rows)
    for seed in range(n_draws):
        counts[sample(n_rows, size, seed=seed).X[:, 0].astype(int)] += 1
    cells = counts.reshape(10 if n_rows != 40 else 40, -1).sum(axis=1)
    share = size / n_rows
    # Rows of one sample repel each other: draws without replacement vary less than a multinomial.
    statistic = ((cells - cells.mean()) ** 2).sum() / cells.mean() / (1 - share)
    assert 1e-4 < stats.chi2(len(cells) - 1).sf(statistic * (len(cells) - 1) / len(cells)) < 0.9999


def test_far_more_rows_than_are_drawn_at_once():
    rows = sample(2_000_000, 3000).X[:, 0]
    assert len(np.unique(rows)) == 3000
    assert stats.kstest(rows / 2e6, "uniform").pvalue > 1e-4


def test_a_sample_of_partitions_is_one_of_all_rows():
    sizes = np.array([5, 0, 40, 155])
    edges = np.concatenate([[0], np.cumsum(sizes)])
    counts = np.zeros(200)
    for seed in range(2000):
        kept = None
        for number in np.flatnonzero(sizes):
            rows = ArraySource(np.arange(float(edges[number]), edges[number + 1])[:, None])
            rows.partition = int(number)
            reservoir = Sampling(20, seed, sizes).begin(rows)
            reservoir.add(rows.X, None)
            kept = reservoir.sample() if kept is None else kept.plus(reservoir.sample())
        assert kept.n_seen == 200
        assert len(np.unique(kept.X)) == 20
        counts[kept.X[:, 0].astype(int)] += 1
    cells = counts.reshape(40, 5).sum(axis=1)
    statistic = ((cells - cells.mean()) ** 2).sum() / cells.mean() / 0.9
    assert 1e-4 < stats.chi2(39).sf(statistic * 39 / 40) < 0.9999
