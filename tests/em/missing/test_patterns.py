"""Rows grouped by which of their values are missing."""

import numpy as np
import pytest

from fastgmm.em.missing.patterns import group_rows


def rows_with_holes(n_rows, n_features, n_patterns, dtype=np.float64, order="C"):
    rng = np.random.default_rng(n_features)
    X = rng.normal(size=(n_rows, n_features))
    patterns = rng.random((n_patterns, n_features)) < 0.4
    patterns[0] = False
    X[patterns[rng.integers(n_patterns, size=n_rows)]] = np.nan
    return np.asarray(X, dtype, order)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("n_features", "n_patterns"), [(1, 2), (8, 20), (70, 40), (130, 4000)])
@pytest.mark.parametrize("many", [1, 60, 10**9])
def test_every_row_is_in_one_group(n_features, n_patterns, dtype, order, many):
    X = rows_with_holes(3000, n_features, n_patterns, dtype, order)
    found = group_rows(X, many, n_jobs=2)
    rows = np.concatenate([*(group.rows for group in found.large), found.scattered])
    np.testing.assert_array_equal(np.sort(rows), np.arange(3000))
    seen = ~np.isnan(X)
    assert sum(group.is_observed.all() for group in found.large) == 1
    for group in found.large:
        assert (np.diff(group.rows) > 0).all()
        assert group.is_observed.all() or len(group.rows) >= many
        np.testing.assert_array_equal(
            seen[group.rows], np.repeat(group.is_observed[None], len(group.rows), axis=0)
        )
        assert group.values.dtype == dtype
        np.testing.assert_array_equal(group.values, X[group.rows][:, group.is_observed])
    lacking = (~seen[found.scattered]).sum(axis=1)
    assert (np.diff(lacking) >= 0).all()
    kinds, counts = np.unique(seen[found.scattered], axis=0, return_counts=True)
    assert (counts < many).all()
    changes = (seen[found.scattered][1:] != seen[found.scattered][:-1]).any(axis=1).sum()
    assert changes == max(0, len(kinds) - 1)


def test_rows_without_gaps_are_not_copied():
    X = np.ones((50, 3))
    found = group_rows(X, 10)
    assert len(found.large) == 1
    assert found.large[0].values is X
    assert not len(found.scattered)
