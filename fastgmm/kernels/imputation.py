"""Filling in what is missing in rows: expected values, or draws from the conditional mixture.

Symbols: N rows, D features, K components, T lanes of a tile, S draws of each row.

Given what is observed of a row, what is missing follows a mixture of Gaussians with the row's
responsibilities for weights, whose means and covariances are those of ``completion``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, slot_kernel, task_at
from fastgmm.kernels.completion import complete_lanes, covariance_lanes, factorize
from fastgmm.kernels.incomplete_pass import load_patterns
from fastgmm.kernels.tiles import BLOCK_ROWS


class ImputationTask(NamedTuple):
    """All that filling in reads and writes.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        The rows, those with like numbers of missing values side by side.
    lanes : int
        Lanes of a tile, T.
    diagonal : bool
        Whether covariances are diagonal.
    n_slots : int
        Number of slots.
    constants, offset, log_normalizers, whiteners, precisions, covariances, centers, references, \
            nothing
        As in ``incomplete_pass.CompletionParameters``.
    responsibilities : ndarray of shape (N, K)
        Posterior probabilities of the components.
    uniforms : ndarray of shape (N, S)
        Numbers from 0 to 1 that choose a component for each draw; none of them (S = 0) where
        expected values are wanted.
    normals : ndarray of shape (N, S, D)
        Normal numbers that draws are made of.
    filled : ndarray of shape (N, max(S, 1), D)
        Receives the rows.
    """

    X: np.ndarray
    lanes: int
    diagonal: bool
    n_slots: int
    constants: np.ndarray
    offset: float
    log_normalizers: np.ndarray
    whiteners: np.ndarray
    precisions: np.ndarray
    covariances: np.ndarray
    centers: np.ndarray
    references: np.ndarray
    nothing: np.ndarray
    responsibilities: np.ndarray
    uniforms: np.ndarray
    normals: np.ndarray
    filled: np.ndarray


@inner_kernel()
def choose_components(responsibilities, uniforms, row, n, chosen):
    """Choose a component for each draw of some rows, by their responsibilities."""
    K, S = responsibilities.shape[1], uniforms.shape[1]
    for lane in range(n):
        for draw in range(S):
            left = uniforms[row + lane, draw]
            k = 0
            while k < K - 1 and left >= responsibilities[row + lane, k]:
                left -= responsibilities[row + lane, k]
                k += 1
            chosen[lane, draw] = k


@inner_kernel()
def add_expected(values, shares, k, centers, P, missing, n_missing, D, T, row, n, filled):
    """Add one component's conditional means of what is missing, by responsibility."""
    for lane in range(n):
        share = shares[row + lane, k]
        for i in range(n_missing[lane]):
            j = missing[lane * D + i]
            filled[row + lane, 0, j] += share * (centers[k * P + j] + values[i * T + lane])


@inner_kernel()
def write_draws(
    values, factors, order, k, centers, P, missing, n_missing, D, T, row, n, chosen, normals, filled
):  # fmt: skip
    """Write the draws that come from one component.

    ``factors`` are those of the conditional covariances, as ``completion.factorize`` leaves them.
    """
    for lane in range(n):
        for draw in range(chosen.shape[1]):
            if chosen[lane, draw] != k:
                continue
            for i in range(n_missing[lane]):
                j = missing[lane * D + i]
                value = centers[k * P + j] + values[i * T + lane]
                for p in range(i + 1):
                    normal = normals[row + lane, draw, missing[lane * D + p]]
                    factor = factors[(i * order + p) * T + lane]
                    value += normal / factor if p == i else normal * factor
                filled[row + lane, draw, j] = value


@inner_kernel()
def write_independent_draws(
    variances, k, centers, P, missing, n_missing, D, row, n, chosen, normals, filled
):  # fmt: skip
    """Write the draws that come from one component, where features are independent."""
    for lane in range(n):
        for draw in range(chosen.shape[1]):
            if chosen[lane, draw] == k:
                for i in range(n_missing[lane]):
                    j = missing[lane * D + i]
                    spread = math.sqrt(variances[k * D + j]) * normals[row + lane, draw, j]
                    filled[row + lane, draw, j] = centers[k * P + j] + spread


@slot_kernel()
def imputation_slot(address, slot):
    """Fill in the rows of the blocks of one slot."""
    task = task_at(address)
    X, T, diagonal = task.X, task.lanes, task.diagonal
    precisions, covariances, centers = task.precisions, task.covariances, task.centers
    log_normalizers, references = task.log_normalizers, task.references
    shares, uniforms, normals = task.responsibilities, task.uniforms, task.normals
    filled = task.filled
    N, D = X.shape
    K = shares.shape[1]
    P = centers.shape[0] // K
    S = uniforms.shape[1]
    tile = np.empty(D * T)
    rows, present = np.zeros(T * P), np.zeros(T * P)
    missing, observed = np.empty(T * D, np.int64), np.empty(T * D, np.int64)
    n_missing, n_observed = np.empty(T, np.int64), np.empty(T, np.int64)
    # of no use where features are independent
    square = 0 if diagonal else D * D * T
    factors, solved, conditional = np.empty(square), np.empty(square), np.empty(square)
    values, offsets, ones = np.zeros(D * T), np.zeros(P), np.ones(T)
    pivots, signs, terms = np.empty(T), np.empty(T), np.empty(T)
    chosen = np.empty((T, S), np.int64)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range(slot, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N), T):
            n = min(T, N - row)
            load_patterns(
                X, row, n, T, P, references, tile, rows, present, missing, observed, n_missing,
                n_observed,
            )  # fmt: skip
            for lane in range(n):
                for draw in range(filled.shape[1]):
                    filled[row + lane, draw] = rows[lane * P : lane * P + D]
            choose_components(shares, uniforms, row, n, chosen)
            order, most_observed = n_missing.max(), n_observed.max()
            for k in range(K):
                if S > 0 and not (chosen[:n] == k).any():
                    continue
                if not diagonal:
                    complete_lanes(
                        precisions, covariances, log_normalizers[k], centers, k, D, T, rows,
                        present, missing, observed, n_missing, n_observed, order, most_observed,
                        factors, values, offsets, ones, pivots, terms,
                    )  # fmt: skip
                if S == 0:
                    add_expected(
                        values, shares, k, centers, P, missing, n_missing, D, T, row, n, filled
                    )
                elif diagonal:
                    write_independent_draws(
                        covariances, k, centers, P, missing, n_missing, D, row, n, chosen, normals,
                        filled,
                    )  # fmt: skip
                else:
                    covariance_lanes(
                        precisions, covariances, k, D, P, T, missing, observed, n_missing,
                        n_observed, order, most_observed, factors, solved, conditional, ones,
                        pivots, signs, terms,
                    )  # fmt: skip
                    factorize(conditional, order, T, ones, pivots, terms)
                    write_draws(
                        values, conditional, order, k, centers, P, missing, n_missing, D, T, row,
                        n, chosen, normals, filled,
                    )  # fmt: skip
