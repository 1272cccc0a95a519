"""Clusters by agglomeration against mclust's, against Ward's, and what must not change them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.cluster.hierarchy import fcluster, linkage

from fastgmm.em.initialization.hierarchical import HIERARCHICAL_STRUCTURES, agglomerate, labels
from tests import mclust, naive_agglomeration

every_structure = pytest.mark.parametrize("structure", HIERARCHICAL_STRUCTURES)


def groups(n=60, n_features=3, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=4.0, size=(4, n_features))
    return centers[np.arange(n) % 4] + rng.normal(size=(n, n_features))


def partitions(X, numbers=range(1, 10), **options):
    merges = agglomerate(X, **options)
    return np.array([labels(merges, k) for k in numbers])


def numbered(clusters):
    """Number clusters from 0 in the order in which they appear."""
    _, first, which = np.unique(clusters, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which]


# -- against others ------------------------------------------------------------------------------


@every_structure
@pytest.mark.parametrize("name", mclust.DATA_SETS)
def test_partitions_are_those_of_mclust(name, structure):
    theirs = np.array(mclust.results(name)["hierarchical"][structure]) - 1
    ours = partitions(mclust.rows(name), structure=structure, gather_duplicates=False)
    assert_array_equal(ours, theirs)


def test_equal_spheres_are_wards_method():
    X = groups()
    tree = linkage(X, "ward")
    theirs = [numbered(fcluster(tree, k, "maxclust")) for k in range(1, 10)]
    assert_array_equal(partitions(X, structure="EII", transformation="VARS"), theirs)


@every_structure
def test_merges_are_those_of_trying_every_pair(structure):
    X = groups(n=16, n_features=2)
    merges = agglomerate(X, structure=structure, transformation="VARS")
    assert_array_equal(merges.pairs, naive_agglomeration.merges(X, structure))
    assert_array_equal(merges.groups, np.arange(16))
    assert merges.n_groups == 16


# -- what must hold ------------------------------------------------------------------------------


@every_structure
def test_clusters_split_one_at_a_time_and_are_numbered_as_they_appear(structure):
    merges = agglomerate(groups(), structure=structure)
    finer = labels(merges, 60)
    assert_array_equal(finer, np.arange(60))
    for k in range(59, 0, -1):
        coarser = labels(merges, k)
        assert coarser.max() == k - 1
        assert_array_equal(coarser, numbered(coarser))
        assert len(set(zip(finer, coarser, strict=True))) == k + 1
        finer = coarser


@every_structure
def test_the_order_of_rows_does_not_matter(structure):
    X = groups()
    order = np.random.default_rng(1).permutation(len(X))
    ours = partitions(X, structure=structure)
    shuffled = partitions(X[order], structure=structure)
    assert_array_equal(shuffled, [numbered(clusters[order]) for clusters in ours])


@every_structure
@pytest.mark.parametrize("transformation", ["SVD", "VARS"])
def test_the_order_of_features_does_not_matter(structure, transformation):
    X = groups()
    ours = partitions(X, structure=structure, transformation=transformation)
    permuted = partitions(X[:, [2, 0, 1]], structure=structure, transformation=transformation)
    assert_array_equal(permuted, ours)


@every_structure
def test_units_and_origin_do_not_matter(structure):
    X = groups()
    far = (X + 100.0) * [1e-150, 1e150, 1.0]
    assert_array_equal(partitions(far, structure=structure), partitions(X, structure=structure))


@pytest.mark.parametrize("structure", ["VVV", "VII", "EII"])
def test_rotated_rows_have_the_same_clusters(structure):
    X = groups()
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    ours = partitions(X, structure=structure, transformation="VARS")
    assert_array_equal(partitions(X @ rotation, structure=structure, transformation="VARS"), ours)


@every_structure
def test_a_weight_is_a_number_of_copies(structure):
    X = groups(n=40)
    weights = np.random.default_rng(1).integers(0, 4, size=40)
    copies = partitions(np.repeat(X, weights, axis=0), structure=structure)
    ours = partitions(X, structure=structure, weights=weights.astype(float))
    assert (ours[:, weights == 0] == -1).all()
    assert_array_equal(np.repeat(ours, weights, axis=1), copies)


@every_structure
def test_the_unit_of_the_weights_does_not_matter(structure):
    X = groups()
    weights = np.random.default_rng(1).uniform(0.5, 2.0, size=len(X))
    ours = partitions(X, structure=structure, weights=weights)
    assert_array_equal(partitions(X, structure=structure, weights=weights * 2.0**-40), ours)


def test_weights_change_the_clusters():
    X = groups()
    weights = np.where(np.arange(60) % 4 == 0, 20.0, 0.05)
    assert (partitions(X, weights=weights) != partitions(X)).any()


@pytest.mark.parametrize("gathered", [True, False])
def test_equal_rows_begin_together_only_if_gathered(gathered):
    X = np.repeat(groups(n=20), 2, axis=0)
    merges = agglomerate(X, gather_duplicates=gathered)
    assert merges.n_groups == (20 if gathered else 40)
    if gathered:
        assert_array_equal(merges.groups, np.repeat(np.arange(20), 2))


def test_zero_and_minus_zero_are_equal():
    assert agglomerate(np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 0.0]])).n_groups == 2


def test_single_precision_rows():
    X = groups().astype(np.float32)
    assert_array_equal(partitions(X), partitions(X.astype(np.float64)))


def test_rows_are_left_as_they_are():
    X = groups()
    before = X.copy()
    agglomerate(X, transformation="VARS")
    assert_array_equal(X, before)


# -- data that are hard --------------------------------------------------------------------------


@every_structure
@pytest.mark.parametrize("gathered", [True, False])
def test_rows_that_are_all_equal(structure, gathered):
    merges = agglomerate(np.full((6, 2), 0.1), structure=structure, gather_duplicates=gathered)
    assert merges.n_groups == (1 if gathered else 6)
    for k in range(1, merges.n_groups + 1):
        assert len(set(labels(merges, k))) == k


@every_structure
@pytest.mark.parametrize("n_features", [1, 3])
def test_one_row(structure, n_features):
    merges = agglomerate(np.ones((1, n_features)), structure=structure)
    assert_array_equal(labels(merges, 1), [0])


@every_structure
def test_one_feature(structure):
    X = np.concatenate([np.linspace(0.0, 1.0, 12) ** 1.1, 50.0 + np.linspace(0.0, 1.0, 8) ** 1.1])
    assert_array_equal(labels(agglomerate(X[:, None], structure=structure), 2), [0] * 12 + [1] * 8)


@every_structure
def test_a_feature_that_does_not_vary_changes_nothing(structure):
    X = groups()
    constant = np.insert(X, 1, 0.1, axis=1)
    assert_array_equal(
        partitions(constant, structure=structure), partitions(X, structure=structure)
    )


@every_structure
def test_more_features_than_rows(structure):
    rng = np.random.default_rng(0)
    X = 6.0 * (np.arange(8) % 2)[:, None] + rng.normal(size=(8, 30))
    assert_array_equal(labels(agglomerate(X, structure=structure), 2), np.arange(8) % 2)


@pytest.mark.parametrize("n_features", [40, 120])
def test_determinants_of_many_features_are_too_small_to_be_noticed(n_features):
    X = groups(n=200, n_features=n_features)
    assert_array_equal(partitions(X, structure="VVV"), partitions(X, structure="VII"))


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 4])
def test_more_clusters_than_groups_are_reported(k):
    merges = agglomerate(np.array([[0.0], [1.0], [5.0], [1.0]]))
    with pytest.raises(ValueError, match=f"n_clusters={k} should be from 1 to 3, the number of gr"):
        labels(merges, k)


def test_what_cannot_be_agglomerated_is_reported():
    X = groups()
    with pytest.raises(ValueError, match=r"structure='EEV' has no agglomeration: .*'VVV', 'EEE'"):
        agglomerate(X, structure="EEV")
    with pytest.raises(ValueError, match="transformation='svd' is not known"):
        agglomerate(X, transformation="svd")
    with pytest.raises(ValueError, match="no row of positive weight"):
        agglomerate(X, weights=np.zeros(60))
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="must be finite: leave out those with NaN"):
        agglomerate(X)


def test_points_of_next_to_no_weight_that_are_far_off_are_reported():
    X = np.r_[np.random.default_rng(0).normal(size=(20, 3)), [[1e140] * 3]]
    weights = np.r_[np.ones(20), 1e-290]
    with pytest.raises(ValueError, match=r"='SVD': leave out rows of next to no weight, or choose"):
        agglomerate(X, weights=weights)


@every_structure
@pytest.mark.parametrize("factor", [1e120, 1e160])
def test_squares_that_overflow_are_reported(structure, factor):
    X = groups() * factor
    with pytest.raises(ValueError, match=r"overflow with transformation='VARS': choose 'SVD'"):
        agglomerate(X, structure=structure, transformation="VARS")
    assert_array_equal(
        partitions(X, structure=structure), partitions(groups(), structure=structure)
    )
