"""The merges of agglomeration against trying every pair at every step."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm.kernels import agglomeration
from tests import naive_agglomeration

KINDS = {
    "VVV": agglomeration.ELLIPSOIDS,
    "VII": agglomeration.SPHERES,
    "EII": agglomeration.EQUAL_SPHERES,
}
every_structure = pytest.mark.parametrize("structure", [*KINDS, "EEE"])


def merges(X, structure, weights=None):
    n, D = X.shape
    counts = np.ones(n) if weights is None else weights.copy()
    offsets = X - np.average(X, axis=0, weights=counts)
    groups = agglomeration.Groups(
        names=np.arange(n),
        counts=counts,
        sizes=np.ones(n, dtype=np.int64),
        means=offsets,
        traces=np.zeros(n),
        terms=np.zeros(n),
        scatters=np.zeros((n, D * (D + 1) // 2 if structure == "VVV" else 0)),
    )
    pairs = np.full((n - 1, 2), -1)
    if structure == "EEE":
        agglomeration.merge_in_common_ellipsoid(groups, pairs)
    else:
        variance = counts @ (offsets**2).sum(axis=1) / counts.sum() / D
        ridge = variance if variance > 0.0 else 1.0
        costs = np.empty(n * (n - 1) // 2)
        agglomeration.merge_cheapest(groups, KINDS[structure], ridge, costs, pairs)
    return pairs


@every_structure
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("n_features", "scale"),
    [(1, 1.0), (2, 0.1), (2, 30.0), (3, 1.0), (6, 5.0), (20, 1.0)],
)
def test_each_merge_is_the_cheapest_of_all(structure, weighted, n_features, scale):
    """Small scales make the traces decide, large ones the determinants."""
    rng = np.random.default_rng(n_features)
    centers = rng.normal(scale=4.0, size=(3, n_features))
    X = scale * (centers[np.arange(15) % 3] + rng.normal(size=(15, n_features)))
    weights = rng.uniform(0.3, 3.0, size=15) if weighted else None
    expected = naive_agglomeration.merges(X, structure, weights)
    assert_array_equal(merges(X, structure, weights), expected)


@every_structure
def test_rows_in_a_plane(structure):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(15, 2)) @ rng.normal(size=(2, 4))
    assert_array_equal(merges(X, structure), naive_agglomeration.merges(X, structure))


@pytest.mark.parametrize("n_features", [2, 3])
def test_a_determinant_that_rounding_cannot_tell_from_zero_is_zero(n_features):
    """Rounding must not decide, however far the scale makes what it leaves exceed the traces."""
    rng = np.random.default_rng(2)
    line = rng.normal(size=(12, 1)) * rng.normal(size=(1, n_features))
    assert_array_equal(merges(1e9 * line, "VVV"), merges(1e9 * line, "VII"))


@every_structure
def test_of_pairs_that_cost_the_same_the_last_one_merges(structure):
    X = np.column_stack([np.arange(4.0), np.zeros(4)])
    assert_array_equal(merges(X, structure), [[2, 3], [0, 1], [0, 2]])


@every_structure
@pytest.mark.parametrize("n", [1, 2])
def test_as_few_groups_as_there_may_be(structure, n):
    expected = np.array([[0, 1]])[: n - 1]
    assert_array_equal(merges(np.arange(2.0)[:n, None], structure), expected)


@every_structure
def test_groups_that_are_all_equal_merge_one_after_the_other(structure):
    n = 5
    groups = agglomeration.Groups(
        names=np.arange(n),
        counts=np.ones(n),
        sizes=np.ones(n, dtype=np.int64),
        means=np.zeros((n, 2)),
        traces=np.zeros(n),
        terms=np.zeros(n),
        scatters=np.zeros((n, 3)),
    )
    pairs = np.full((n - 1, 2), -1)
    if structure == "EEE":
        agglomeration.merge_in_common_ellipsoid(groups, pairs)
    else:
        agglomeration.merge_cheapest(groups, KINDS[structure], 1.0, np.empty(10), pairs)
    assert set(pairs.max(axis=1)) == {1, 2, 3, 4}
