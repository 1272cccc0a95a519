"""A pass over rows put in the order of the components that they are near to, block by block.

A tile of such rows has few components, and most others are seen to be out of the question from
some first terms of their squared distances: a pass over components that lie apart takes a part of
the time. What a component is left out for is less than rounding, so that the sums are the same.

Which component a row is near to is found from functions that are affine in it, as those are that
linear discriminant analysis compares: one multiplication a feature and component.

The pass itself is that of ``mixture_pass``, which is called by address for each block: what pays
for some mixtures only is not compiled for all.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from fastgmm.kernels.compilation import (
    call_slot,
    inner_kernel,
    slot_address,
    slot_kernel,
    task_at,
)
from fastgmm.kernels.microkernels.kmeans import find_cheapest
from fastgmm.kernels.mixture_pass import PassTask, mixture_slot
from fastgmm.kernels.tiles import BLOCK_ROWS, aligned_scratch, load_tile

PruningTask = namedtuple("PruningTask", (*PassTask._fields, "slopes", "intercepts", "run_pass"))
"""A ``PassTask``, with K affine functions about the center, the least of which says what a row is
near to, and what ``call_slot`` runs a pass by."""


def pruning_task(task: Any, margin: float, slopes: np.ndarray, intercepts: np.ndarray) -> Any:
    """Return the task of a pass over sorted rows, with a margin, from that of an ordinary one."""
    address = slot_address(mixture_slot, task)
    return PruningTask(*task._replace(margin=margin), slopes, intercepts, address)


@inner_kernel()
def sort_rows(
    X, weights, first, n_rows, center, center_low, slopes, intercepts, tile, T, best, lowest, near,
    starts, sorted_rows, sorted_weights, sorted_near,
):  # fmt: skip
    """Copy the rows of a block, their weights and the components that they are near to."""
    D, K = X.shape[1], intercepts.shape[0]
    for k in range(K + 1):
        starts[k] = 0
    for row in range(0, n_rows, T):
        n = min(T, n_rows - row)
        load_tile(X, first + row, n, center, center_low, tile, T)
        find_cheapest(tile, T, D, slopes, D, intercepts, K, best, lowest)
        for lane in range(n):
            near[row + lane] = best[lane]
            starts[best[lane] + 1] += 1
    for k in range(K):
        starts[k + 1] += starts[k]
    for i in range(n_rows):
        place = starts[near[i]]
        starts[near[i]] += 1
        sorted_near[place] = near[i]
        sorted_weights[place] = weights[first + i] if weights.shape[0] > 0 else 1.0
        for j in range(D):
            sorted_rows[place, j] = X[first + i, j]


@slot_kernel()
def pruning_slot(address, slot):
    """Pass over the blocks of one slot."""
    task = task_at(address)
    X, weights, T, n_slots = task.X, task.weights, task.lanes, task.n_slots
    slopes, intercepts = task.slopes, task.intercepts
    (N, D), K = X.shape, intercepts.shape[0]
    tile, lowest = aligned_scratch(D * T, slopes), aligned_scratch(T, slopes)
    best, starts = np.empty(T, np.int64), np.empty(K + 1, np.int64)
    near, sorted_near = np.empty(BLOCK_ROWS, np.int64), np.empty(BLOCK_ROWS, np.int64)
    sorted_rows, sorted_weights = np.empty((BLOCK_ROWS, D), X.dtype), np.empty(BLOCK_ROWS)
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range((slot - task.first_block) % n_slots, n_blocks, n_slots):
        first = block * BLOCK_ROWS
        n_rows = min(BLOCK_ROWS, N - first)
        sort_rows(
            X, weights, first, n_rows, task.center, task.center_low, slopes, intercepts, tile, T,
            best, lowest, near, starts, sorted_rows, sorted_weights, sorted_near,
        )  # fmt: skip
        rows = PassTask(
            sorted_rows[:n_rows],
            sorted_weights[:n_rows],
            slot,
            T,
            task.diagonal,
            task.mode,
            n_slots,
            task.constants,
            task.offset,
            task.whiteners,
            task.shifts,
            task.center,
            task.center_low,
            task.references,
            task.references_low,
            task.shared,
            task.pooled,
            task.margin,
            sorted_near[:n_rows],
            task.counts,
            task.first,
            task.second,
            task.likelihood,
            task.log_density,
            task.labels,
            task.responsibilities,
        )
        call_slot(task.run_pass, rows, slot)
