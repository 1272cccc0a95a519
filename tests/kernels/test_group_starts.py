"""K-means of many small sets of rows, beside scikit-learn's."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.cluster import KMeans

from fastgmm.kernels.group_starts import GroupStarts, cluster_slot
from fastgmm.kernels.threads import run_slots
from tests import oracle


def clusters(X, weights, K, seed=0, max_iter=100):
    draws = np.random.default_rng(seed).uniform(size=(len(X), K, 3))
    labels = np.full(X.shape[:2], 7)
    task = GroupStarts(X, weights, np.arange(len(X)), draws, max_iter, labels)
    run_slots(cluster_slot, task, len(X), 1, 0)
    return labels


def test_clusters_are_fixed_points_of_lloyd():
    X = np.random.default_rng(0).normal(size=(4, 40, 2))
    for rows, labels in zip(X, clusters(X, np.ones((4, 40)), 3), strict=True):
        centers = np.array([rows[labels == k].mean(axis=0) for k in range(3)])
        assert_array_equal(oracle.nearest_centers(rows, centers)[0], labels)


def test_clusters_that_are_apart_are_found():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(5, 60, 3)) + 20.0 * (np.arange(60) % 4)[:, None]
    for rows, labels in zip(X, clusters(X, np.ones((5, 60)), 4), strict=True):
        theirs = KMeans(4, n_init=5, random_state=0).fit_predict(rows)
        assert len(set(zip(labels, theirs, strict=True))) == 4


def test_rows_without_weight_are_absent():
    X = np.random.default_rng(2).normal(size=(1, 30, 2))
    weights = np.ones((1, 30))
    weights[0, 20:] = 0.0
    X[0, 20:] = 1e6
    labels = clusters(X, weights, 3)
    assert_array_equal(labels[0, 20:], -1)
    assert_array_equal(labels[0, :20], clusters(X[:, :20], weights[:, :20], 3)[0])


@pytest.mark.parametrize("K", [1, 3])
def test_equal_rows_are_one_cluster(K):
    labels = clusters(np.ones((1, 10, 2)), np.ones((1, 10)), K)
    assert_array_equal(labels, 0)
