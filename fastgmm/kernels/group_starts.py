"""Clusters of many small sets of rows, where fits to groups begin: k-means from first to last.

Each fit has a slot. Centers are drawn by greedy k-means++ (Arthur and Vassilvitskii, 2007), each
the best of a few candidates, and moved by Lloyd's iterations until no row changes its cluster.
Symbols: C fits to S sets of N rows with D features; K clusters; T candidates for each center.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_kernel, task_at


class GroupStarts(NamedTuple):
    """All that the slots read and write.

    Parameters
    ----------
    X : ndarray of shape (S, N, D)
        Sets of rows.
    weights : ndarray of shape (S, N)
        Weights of the rows; those of weight 0 are absent.
    rows_of : ndarray of shape (C,)
        Which rows each fit is to.
    draws : ndarray of shape (C, K, T)
        Uniform random numbers from 0 to 1.
    max_iter : int
        Most iterations.
    labels : ndarray of shape (C, N)
        What is found: the cluster of each row, -1 for absent ones.
    """

    X: np.ndarray
    weights: np.ndarray
    rows_of: np.ndarray
    draws: np.ndarray
    max_iter: int
    labels: np.ndarray


@inner_kernel()
def _drawn(masses, draw):
    """Return the number of a row that is drawn in proportion to the masses."""
    target = draw * masses.sum()
    reached = 0.0
    last = 0
    for n in range(len(masses)):
        if masses[n] > 0.0:
            last = n
            reached += masses[n]
            if reached > target:
                break
    return last


@inner_kernel()
def _square(x, y):
    """Return the squared distance of two points."""
    total = 0.0
    for j in range(len(x)):
        total += (x[j] - y[j]) * (x[j] - y[j])
    return total


@inner_kernel()
def _seed_centers(X, weights, draws, centers):
    """Fill the centers with rows that are far from each other."""
    N = len(X)
    K, T = draws.shape
    nearest = np.full(N, np.inf)
    tried = np.empty(N)
    best = np.empty(N)
    for k in range(K):
        least = np.inf
        for t in range(T if k else 1):
            masses = weights * nearest if k else weights
            chosen = X[_drawn(masses, draws[k, t])]
            potential = 0.0
            for n in range(N):
                tried[n] = min(nearest[n], _square(X[n], chosen))
                potential += weights[n] * tried[n]
            if potential < least:
                least = potential
                centers[k] = chosen
                best[:] = tried
        nearest[:] = best


@slot_kernel()
def cluster_slot(address, slot):
    """Find the clusters of one fit."""
    task = task_at(address)
    X, weights = task.X[task.rows_of[slot]], task.weights[task.rows_of[slot]]
    labels, draws = task.labels[slot], task.draws[slot]
    N, D = X.shape
    K = len(draws)
    centers = np.empty((K, D))
    sums, counts = np.empty((K, D)), np.empty(K)
    _seed_centers(X, weights, draws, centers)
    labels[:] = -1
    for _ in range(task.max_iter):
        changed = False
        sums[:] = 0.0
        counts[:] = 0.0
        for n in range(N):
            if not weights[n] > 0.0:
                continue
            nearest, least = 0, np.inf
            for k in range(K):
                square = _square(X[n], centers[k])
                if square < least:
                    nearest, least = k, square
            if labels[n] != nearest:
                labels[n] = nearest
                changed = True
            counts[nearest] += weights[n]
            for j in range(D):
                sums[nearest, j] += weights[n] * X[n, j]
        if not changed:
            break
        for k in range(K):
            if counts[k] > 0.0:
                centers[k] = sums[k] / counts[k]
