"""Whole fits of small mixtures by EM, many of them in one call.

For data so few that a pass takes less time than a call from Python: every candidate of a search
over structures and numbers of components has a slot, which runs its EM from first to last. Symbols
are those of ``mixture_pass``; C candidates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import kernel
from fastgmm.kernels.small_m_steps import (
    IDENTITY,
    diagonal_m_step,
    eigen,
    full_m_step,
    invert_cholesky,
)
from fastgmm.kernels.vector_math import exp, log

# How a candidate's fit ended.
CONVERGED, MAX_ITER, EMPTY, SINGULAR = 0, 1, 2, 3

_LANES = 16
_LOG_TWO_PI = math.log(2.0 * math.pi)


class SmallFits(NamedTuple):
    """All that the fits read and write.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Rows about their mean, of any strides.
    weights : ndarray of shape (N,)
        Weights of the rows.
    labels : ndarray of shape (K_max, N)
        Cluster of each row where a fit of K components begins, in row K - 1; -1 for rows that do
        not count in the first M-step.
    n_components : ndarray of shape (C,)
        K of each candidate.
    letters : ndarray of shape (C, 3)
        Volume, shape and orientation of each, as ``small_m_steps`` numbers them.
    tol : float
        A fit ends when the log-likelihood l rises by less than this times 1 + abs(l).
    max_iter : int
        Most iterations.
    smallest : float
        Pivots of a covariance scaled to unit diagonal that count as 0.
    mixture_weights : ndarray of shape (C, K_max)
        What is found: the weights,
    means : ndarray of shape (C, K_max, D)
        means,
    covariances : ndarray of shape (C, K_max, D, D)
        covariances,
    log_likelihood, entropy : ndarray of shape (C,)
        log-likelihood and entropy of the responsibilities, in nats,
    n_iter, status : ndarray of shape (C,)
        the number of iterations, and how the fit ended.
    """

    X: np.ndarray
    weights: np.ndarray
    labels: np.ndarray
    n_components: np.ndarray
    letters: np.ndarray
    tol: float
    max_iter: int
    smallest: float
    mixture_weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    log_likelihood: np.ndarray
    entropy: np.ndarray
    n_iter: np.ndarray
    status: np.ndarray


class Memory(NamedTuple):
    """What an M-step works in, and what it goes on from in the next iteration.

    Parameters
    ----------
    shape : ndarray of shape (D,)
        Shape that all components share.
    volumes : ndarray of shape (K,)
        Volumes of the components.
    axes : ndarray of shape (D, D)
        Orientation that all components share, in columns.
    diagonals : ndarray of shape (K, D)
        Variances along the axes.
    vectors, turned : ndarray of shape (K, D, D)
        Axes of the components, and scatter matrices along common axes.
    pooled, whitener : ndarray of shape (D, D)
        A covariance and the inverse of its factor.
    """

    shape: np.ndarray
    volumes: np.ndarray
    axes: np.ndarray
    diagonals: np.ndarray
    vectors: np.ndarray
    turned: np.ndarray
    pooled: np.ndarray
    whitener: np.ndarray


# Rows of matrices are named by their number and never taken as views: each view counts a reference.
@kernel(fastmath={"contract"})
def _whitened_squares(offsets, whiteners, k, diagonal, row, squares, N, D):
    """Fill the squared distances of rows whose offsets from the mean are given."""
    for j in range(D):
        first = j if diagonal else 0
        factor = whiteners[k, j, first]
        for n in range(N):
            row[n] = factor * offsets[first, n]
        for i in range(first + 1, j + 1):
            factor = whiteners[k, j, i]
            for n in range(N):
                row[n] += factor * offsets[i, n]
        if j == 0:
            for n in range(N):
                squares[n] = row[n] * row[n]
        else:
            for n in range(N):
                squares[n] += row[n] * row[n]


@kernel(fastmath={"contract"})
def _add_exponentials(joint, k, largest, total, N):
    """Replace a component's log-densities by exponentials about the largest, and add them up."""
    for n in range(N):
        value = exp(joint[k, n] - largest[n])
        joint[k, n] = value
        total[n] += value


@kernel()
def _offsets_from(XT, means, k, offsets, N, D):
    """Fill the rows' offsets from a mean."""
    for j in range(D):
        mean = means[k, j]
        for n in range(N):
            offsets[j, n] = XT[j, n] - mean


@kernel(fastmath={"contract"})
def _e_step(XT, weights, joint, largest, total, offsets, row, squares, log_weights, means,
            whiteners, log_determinants, diagonal, K, N, D):  # fmt: skip
    """Fill the weighted responsibilities, shape (K, N), and return the log-likelihood."""
    for n in range(N):
        largest[n] = -np.inf
        total[n] = 0.0
    for k in range(K):
        _offsets_from(XT, means, k, offsets, N, D)
        _whitened_squares(offsets, whiteners, k, diagonal, row, squares, N, D)
        constant = log_weights[k] - 0.5 * (log_determinants[k] + D * _LOG_TWO_PI)
        for n in range(N):
            value = constant - 0.5 * squares[n]
            joint[k, n] = value
            largest[n] = value if value > largest[n] else largest[n]
    for k in range(K):
        _add_exponentials(joint, k, largest, total, N)
    for n in range(N):
        row[n] = weights[n] * (largest[n] + log(total[n]))
        total[n] = weights[n] / total[n]
    for k in range(K):
        for n in range(N):
            joint[k, n] *= total[n]
    return _sum(row, N)


@kernel(fastmath={"reassoc", "contract"})
def _sum(column, N):
    total = 0.0
    for n in range(N):
        total += column[n]
    return total


@kernel(fastmath={"reassoc", "contract"})
def _dot(column, offsets, j, N):
    """Return the product of a column with one of a matrix."""
    total = 0.0
    for n in range(N):
        total += column[n] * offsets[j, n]
    return total


@kernel(fastmath={"reassoc", "contract"})
def _weigh(joint, k, offsets, i, out, N):
    """Fill the products of responsibilities and offsets, and return their sum."""
    total = 0.0
    for n in range(N):
        value = joint[k, n] * offsets[i, n]
        out[n] = value
        total += value
    return total


@kernel(fastmath={"reassoc", "contract"})
def _count(joint, k, N):
    total = 0.0
    for n in range(N):
        total += joint[k, n]
    return total


@kernel(fastmath={"contract"})
def _moments(XT, joint, offsets, row, firsts, counts, means, scatter, diagonal, K, N, D):
    """Fill counts, means and scatter matrices; the means are read first, as references.

    Where the structure is diagonal, only the diagonals.
    """
    for k in range(K):
        count = _count(joint, k, N)
        counts[k] = count
        if not count > 0.0:
            continue
        _offsets_from(XT, means, k, offsets, N, D)
        for i in range(D):
            firsts[i] = _weigh(joint, k, offsets, i, row, N)
            for j in range(i if diagonal else 0, i + 1):
                scatter[k, i, j] = _dot(row, offsets, j, N)
        for i in range(D):
            means[k, i] += firsts[i] / count
            for j in range(i if diagonal else 0, i + 1):
                scatter[k, i, j] -= firsts[i] * firsts[j] / count
                scatter[k, j, i] = scatter[k, i, j]


@kernel()
def _entropy(joint, weights, K, N):
    """Return the entropy of the responsibilities, which the weights have multiplied."""
    total = 0.0
    for n in range(N):
        if weights[n] > 0.0:
            for k in range(K):
                share = joint[k, n] / weights[n]
                if share > 0.0:
                    total -= weights[n] * share * math.log(share)
    return total


@kernel()
def small_fit_slot(task, slot):
    """Fit the candidate of a slot."""
    X, weights = task.X, task.weights
    n_rows, D = X.shape
    # Rows of weight 0 fill the last vectors, so that no loop ends in single lanes.
    N = (n_rows + _LANES - 1) // _LANES * _LANES
    K = task.n_components[slot]
    volume, shape, orientation = task.letters[slot]
    diagonal = orientation == IDENTITY
    means, covariances = task.means[slot], task.covariances[slot]
    labels = task.labels[K - 1]
    XT, weight, joint = np.zeros((D, N)), np.zeros(N), np.zeros((K, N))
    for n in range(n_rows):
        weight[n] = weights[n]
        for j in range(D):
            XT[j, n] = X[n, j]
        if labels[n] >= 0:
            joint[labels[n], n] = weight[n]
    largest, total, row, squares = np.empty(N), np.empty(N), np.empty(N), np.empty(N)
    offsets, firsts = np.empty((D, N)), np.empty(D)
    counts, log_weights, log_determinants = np.empty(K), np.empty(K), np.empty(K)
    scatter, whiteners = np.empty((K, D, D)), np.zeros((K, D, D))
    memory = Memory(
        np.ones(D), np.ones(K), np.eye(D), np.empty((K, D)), np.zeros((K, D, D)),
        np.empty((K, D, D)), np.empty((D, D)), np.empty((D, D)),
    )  # fmt: skip
    sum_of_weights = weight.sum()
    smallest_count = 1e-10 * sum_of_weights
    before = -np.inf
    task.status[slot] = MAX_ITER
    task.log_likelihood[slot] = np.nan
    for iteration in range(task.max_iter + 1):
        _moments(XT, joint, offsets, row, firsts, counts, means, scatter, diagonal, K, N, D)
        for k in range(K):
            if not counts[k] > smallest_count:
                task.status[slot] = EMPTY
                return
            log_weights[k] = math.log(counts[k] / sum_of_weights)
        if iteration == 0 and not diagonal:
            _first_guess(scatter, counts, memory, K, D)
        if diagonal:
            sound = diagonal_m_step(volume, shape, scatter, counts, memory, covariances, K, D)
        else:
            sound = full_m_step(
                volume, shape, orientation, scatter, counts, memory, covariances, K, D,
                task.smallest, iteration == 0,
            )  # fmt: skip
        for k in range(K):
            if sound:
                log_determinants[k] = invert_cholesky(
                    covariances[k], whiteners[k], D, task.smallest
                )
                sound = not math.isnan(log_determinants[k])
        if not sound:
            task.status[slot] = SINGULAR
            return
        found = _e_step(
            XT, weight, joint, largest, total, offsets, row, squares, log_weights, means,
            whiteners, log_determinants, diagonal, K, N, D,
        )  # fmt: skip
        if not math.isfinite(found):
            task.status[slot] = SINGULAR
            return
        task.n_iter[slot] = iteration
        task.log_likelihood[slot] = found
        if iteration > 0 and abs(found - before) <= task.tol * (1.0 + abs(found)):
            task.status[slot] = CONVERGED
            break
        before = found
    for k in range(K):
        task.mixture_weights[slot, k] = counts[k] / sum_of_weights
    task.entropy[slot] = _entropy(joint, weight, K, N)


@kernel()
def _first_guess(scatter, counts, memory, K, D):
    """Set what inner iterations begin from: the axes and the shape of all points together."""
    pooled = memory.pooled
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for k in range(K):
                total += scatter[k, i, j]
            pooled[i, j] = total
            pooled[j, i] = total
    for k in range(K):
        trace = 0.0
        for j in range(D):
            trace += scatter[k, j, j]
            memory.vectors[k, j, j] = 1.0
        memory.volumes[k] = max(trace / (D * counts[k]), 1e-300)
    eigen(pooled, memory.axes, D)
