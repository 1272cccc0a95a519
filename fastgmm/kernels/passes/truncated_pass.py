"""A pass in which each cell of rows has a few components of its own: truncated EM.

A *cell* is a set of rows that lie near each other, no more than fill a tile.  Components that are
not among its own are as if they had no weight there (Forster and Lücke, 2018, "Can clustering scale
sublinearly with its clusters?", AISTATS): the log-likelihood is a lower bound, and a pass over K
components takes the time of one over as many as a cell has.

The pass itself is that of ``mixture_pass``, which is called by address for the rows and components
of each cell.  Symbols are the same; C is the most components that a cell has.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np

from fastgmm.kernels.compilation import (
    call_slot,
    inner_kernel,
    kernel,
    slot_address,
    slot_kernel,
    task_at,
)
from fastgmm.kernels.microkernels.simd import BLOCK
from fastgmm.kernels.mixture_pass import LABELS, PassTask, mixture_slot
from fastgmm.kernels.moments import diagonal_place
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.tiles import aligned_scratch

CELL_ROWS = 128
"""The most rows of a cell, and the most lanes of its tile."""

_TINY = 1e-300

_WIDEST = ROWS * BLOCK.n_bytes
"""Bytes of the widest block of registers: lanes of a tile are a multiple of those in it."""


class Cells(NamedTuple):
    """Cells, and their components.

    Parameters
    ----------
    order : ndarray of int64 of shape (N,)
        The rows, cell by cell.
    starts : ndarray of int64 of shape (n_cells + 1,)
        Where the rows of each cell begin there, and where the last ones end.
    whose : ndarray of int64 of shape (n_cells,)
        The label of each cell, in ascending order.
    members : ndarray of int64 of shape (K, C)
        The components of cells with each label.
    sizes : ndarray of int64 of shape (K,)
        How many they are.
    masses : ndarray of shape (n_cells, C)
        Receives their sums of weighted responsibilities.
    """

    order: np.ndarray
    starts: np.ndarray
    whose: np.ndarray
    members: np.ndarray
    sizes: np.ndarray
    masses: np.ndarray


TruncatedTask = namedtuple("TruncatedTask", (*PassTask._fields, *Cells._fields, "run_pass"))
"""A ``PassTask`` about the components' own means, with cells, and what ``call_slot`` runs by."""


def truncated_task(task: Any, cells: Cells) -> Any:
    """Return the task of a pass over cells from that of an ordinary one."""
    return TruncatedTask(*task, *cells, slot_address(mixture_slot, task))


@inner_kernel()
def _take(values, size, members, n, out):
    """Copy what there is of some components, ``size`` numbers each."""
    for c in range(n):
        k = members[c]
        for i in range(size):
            out[c * size + i] = values[k * size + i]


@inner_kernel()
def _add(sums, size, members, n, values):
    """Add what there is of some components to that of all."""
    for c in range(n):
        k = members[c]
        for i in range(size):
            sums[k * size + i] += values[c * size + i]


@slot_kernel()
def truncated_slot(address, slot):
    """Pass over the cells of one slot, which follow each other."""
    task = task_at(address)
    X, weights, diagonal = task.X, task.weights, task.diagonal
    order, starts, whose, sizes = task.order, task.starts, task.whose, task.sizes
    K, D, C = task.constants.shape[0], X.shape[1], task.members.shape[1]
    packed = task.whiteners.shape[0] // K
    blocks = task.second.shape[1] // K
    # as ``mixture_slot`` lays sums out
    n_columns = (2 * D + ROWS - 1) // ROWS * ROWS if diagonal else D
    n_first = (C + ROWS - 1) // ROWS * ROWS * n_columns
    rows, row_weights = np.empty((CELL_ROWS, D), X.dtype), np.empty(CELL_ROWS)
    constants = aligned_scratch(C, task.constants)
    whiteners, shifts = aligned_scratch(C * packed, constants), np.zeros(C * D, constants.dtype)
    references, references_low = np.empty_like(shifts), np.empty_like(shifts)
    counts, first, second = np.empty(C), np.empty(n_first), np.empty(C * blocks)
    labels = np.empty(CELL_ROWS if task.mode & LABELS else 0, np.int64)
    width = _WIDEST // constants.itemsize
    n_cells = whose.shape[0]
    each = (n_cells + task.n_slots - 1) // task.n_slots
    for cell in range(slot * each, min((slot + 1) * each, n_cells)):
        begin, n, n_own = starts[cell], starts[cell + 1] - starts[cell], sizes[whose[cell]]
        members = task.members[whose[cell]]
        for i in range(n):
            row = order[begin + i]
            row_weights[i] = weights[row] if weights.shape[0] > 0 else 1.0
            for j in range(D):
                rows[i, j] = X[row, j]
        T = (n + width - 1) // width * width
        _take(task.constants, 1, members, n_own, constants)
        _take(task.whiteners, packed, members, n_own, whiteners)
        _take(task.references, D, members, n_own, references)
        _take(task.references_low, D, members, n_own, references_low)
        counts[:] = 0.0
        first[:] = 0.0
        second[:] = 0.0
        own_first = n_own * D
        if diagonal:
            own_first = (n_own + ROWS - 1) // ROWS * ROWS * n_columns
        run = PassTask(
            rows[:n],
            row_weights[:n],
            0,
            T,
            diagonal,
            task.mode,
            1,
            constants[:n_own],
            task.offset,
            whiteners[: n_own * packed],
            shifts[: n_own * D],
            task.center,
            task.center_low,
            references[: n_own * D],
            references_low[: n_own * D],
            False,
            False,
            task.margin,
            task.near,
            counts[:n_own].reshape((1, n_own)),
            first[:own_first].reshape((1, own_first)),
            second[: n_own * blocks].reshape((1, n_own * blocks)),
            task.likelihood[slot : slot + 1],
            task.log_density,
            labels,
            task.responsibilities,
        )
        call_slot(task.run_pass, run, 0)
        if task.mode & LABELS:
            for i in range(n):
                task.labels[order[begin + i]] = members[labels[i]]
        if task.first.shape[1] == 0:
            continue  # no moments are wanted
        task.masses[cell, :n_own] = counts[:n_own]
        _add(task.counts[slot], 1, members, n_own, counts)
        _add(task.second[slot], blocks, members, n_own, second)
        if not diagonal:
            _add(task.first[slot], D, members, n_own, first)
            continue
        sums = task.first[slot]
        for c in range(n_own):
            for j in range(2 * D):
                at = diagonal_place(members[c], j, n_columns)
                sums[at] += first[diagonal_place(c, j, n_columns)]


class Links(NamedTuple):
    """What each component has to do with some others: those of k from ``starts[k]`` on.

    Parameters
    ----------
    starts : ndarray of int64 of shape (K + 1,)
        Where those of each component begin, and where the last ones end.
    others : ndarray of int64
        Components.
    amounts : ndarray
        How much there is of each.
    """

    starts: np.ndarray
    others: np.ndarray
    amounts: np.ndarray


@inner_kernel()
def _increase(component, amount, mass, found, n):
    """Add to the mass of a component, and return how many have some."""
    if amount == 0.0:
        return n
    if mass[component] == 0.0:
        found[n] = component
        n += 1
    mass[component] += amount
    return n


@kernel()
def choose_members(members, sizes, shares, moves, seen, n_tried, turn, chosen, n_chosen):
    """Choose the components that cells with each label have in the next pass.

    Parameters
    ----------
    members, sizes : ndarray of int64 of shape (K, C), ndarray of int64 of shape (K,)
        As in ``Cells``.
    shares : ndarray of shape (K, C)
        The mass of each of them, for a row.
    moves : Links
        The weight of rows of each label that had others before.
    seen : Links
        Responsibilities of all components for some rows of each label.
    n_tried : int
        How many components are tried of those that the heaviest of a label have and it has not;
        more where there is room.
    turn : int
        Number of the pass: others are tried each time.
    chosen, n_chosen : ndarray of int64 of shape (K, C), ndarray of int64 of shape (K,)
        Receive the members, the heaviest first, and how many they are; 0 if no row has a label.
    """
    K, C = members.shape
    mass, found = np.zeros(K), np.empty(K, np.int64)
    for k in range(K):
        n_chosen[k] = 0
        if moves.starts[k] == moves.starts[k + 1]:
            continue
        found[0], mass[k], n = k, _TINY, 1
        for at in range(moves.starts[k], moves.starts[k + 1]):
            before = moves.others[at]
            for c in range(sizes[before]):
                n = _increase(
                    members[before, c], moves.amounts[at] * shares[before, c], mass, found, n
                )
        for at in range(seen.starts[k], seen.starts[k + 1]):
            n = _increase(seen.others[at], seen.amounts[at], mass, found, n)
        heaviest = found[np.argsort(-mass[found[:n]], kind="mergesort")]
        n_known = n
        for c in range(min(n_known, n_tried)):
            hub = heaviest[c]
            for i in range(sizes[hub]):
                other = members[hub, i]
                if mass[other] <= 0.0:
                    drawn = (other * 40503 + k * 30011 + turn * 20011) % 65521 / 65521.0
                    amount = drawn * mass[hub] * shares[hub, i]
                    n = _increase(other, -amount, mass, found, n)
        tried = found[n_known:n]
        tried = tried[np.argsort(mass[tried], kind="mergesort")]
        n_kept = min(n_known, C - min(n_tried, tried.shape[0]))
        n_chosen[k] = min(C, n_kept + tried.shape[0])
        for c in range(n_kept):
            chosen[k, c] = heaviest[c]
        for c in range(n_kept, n_chosen[k]):
            chosen[k, c] = tried[c - n_kept]
        for c in range(n):
            mass[found[c]] = 0.0
