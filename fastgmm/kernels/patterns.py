"""Which values of rows are missing, and rows with the same ones side by side.

Symbols: N rows, D features, W words of 64 bits for the marks of a row, G groups.

A missing value is NaN.  The *pattern* of a row is the set of its missing features; a *group* is
all rows of one pattern.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgmm.kernels.compilation import inner_kernel, kernel, slot_kernel, task_at
from fastgmm.kernels.tiles import BLOCK_ROWS

WORD_BITS = 64
"""Features whose marks fill a word."""


class MarkTask(NamedTuple):
    """Rows to look at.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        The rows, float64 or float32, of any strides.
    n_slots : int
        Number of slots.
    marks : ndarray of uint64 of shape (N, W)
        Receives the patterns: bit j of a row is set where feature j is missing.
    """

    X: np.ndarray
    n_slots: int
    marks: np.ndarray


class GatherTask(NamedTuple):
    """Rows to copy what is observed of.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        The rows, float64 or float32, of any strides.
    n_slots : int
        Number of slots.
    order : ndarray of int64 of shape (n,)
        Numbers of the rows to copy.
    places : ndarray of int64 of shape (n,)
        Where the values of each start.
    values : ndarray
        Receives the values that are not missing, one after the other.
    """

    X: np.ndarray
    n_slots: int
    order: np.ndarray
    places: np.ndarray
    values: np.ndarray


@slot_kernel()
def mark_slot(address, slot):
    """Mark what is missing in the blocks of one slot."""
    task = task_at(address)
    X, marks = task.X, task.marks
    N, D = X.shape
    n_words = marks.shape[1]
    n_blocks = (N + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range(slot, n_blocks, task.n_slots):
        for row in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, N)):
            for word in range(n_words):
                first = word * WORD_BITS
                mark = np.uint64(0)
                for j in range(first, min(first + WORD_BITS, D)):
                    missing = np.isnan(X[row, j])
                    mark |= np.uint64(missing) << np.uint64(j - first)
                marks[row, word] = mark


@slot_kernel()
def gather_slot(address, slot):
    """Copy what is observed in the rows of one slot's blocks."""
    task = task_at(address)
    X, order, places, values = task.X, task.order, task.places, task.values
    n, D = len(order), X.shape[1]
    n_blocks = (n + BLOCK_ROWS - 1) // BLOCK_ROWS
    for block in range(slot, n_blocks, task.n_slots):
        for i in range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, n)):
            row, at = order[i], places[i]
            for j in range(D):
                value = X[row, j]
                if not np.isnan(value):
                    values[at] = value
                    at += 1


@inner_kernel()
def _same(marks, i, j):
    """Say whether two rows have the same pattern."""
    same = True
    for word in range(marks.shape[1]):
        same = same and marks[i, word] == marks[j, word]
    return same


@inner_kernel()
def _hashed(marks, i):
    """Return a number that rows of other patterns hardly ever have, too (Fibonacci hashing).

    In halves of words, whose products with the golden ratio do not overflow.
    """
    mixed = np.uint64(0)
    for word in range(marks.shape[1]):
        for half in (marks[i, word], marks[i, word] >> np.uint64(32)):
            mixed = ((mixed ^ half) & np.uint64(0xFFFFFFFF)) * np.uint64(0x9E3779B1)
            mixed ^= mixed >> np.uint64(32)
    return mixed


@kernel()
def find_groups(marks, table, groups, firsts, counts):
    """Give each pattern a number, in the order in which they appear.

    Parameters
    ----------
    marks : ndarray of uint64 of shape (N, W)
        The patterns.
    table : ndarray of int64
        −1 everywhere; a power of two, at least 2 N, in length.
    groups : ndarray of int64 of shape (N,)
        Receives the group of each row.
    firsts, counts : ndarray of int64 of shape (N,)
        Receive the first row and the number of rows of each group.

    Returns
    -------
    int
        Number of groups, G.
    """
    last = np.uint64(len(table) - 1)
    n_groups = 0
    for i in range(len(marks)):
        if i > 0 and _same(marks, i, i - 1):
            group = groups[i - 1]
        else:
            place = _hashed(marks, i) & last
            while table[place] >= 0 and not _same(marks, i, firsts[table[place]]):
                place = (place + np.uint64(1)) & last
            if table[place] < 0:
                table[place] = n_groups
                firsts[n_groups] = i
                counts[n_groups] = 0
                n_groups += 1
            group = table[place]
        groups[i] = group
        counts[group] += 1
    return n_groups


@kernel()
def order_rows(groups, sequence, counts, widths, starts, order, places):
    """Put the rows of each group side by side, in their order.

    Parameters
    ----------
    groups : ndarray of int64 of shape (N,)
        The group of each row.
    sequence : ndarray of int64 of shape (G,)
        The groups in the order in which they are to come.
    counts, widths : ndarray of int64 of shape (G,)
        The number of rows of each group, and how many values of each row are observed.
    starts : ndarray of int64 of shape (G,)
        Receives where each group starts in the order.
    order : ndarray of int64 of shape (N,)
        Receives the numbers of the rows.
    places : ndarray of int64 of shape (N,)
        Receives where the observed values of each row in that order start, laid one after the
        other.
    """
    next_place, next_value = np.empty_like(starts), np.empty_like(starts)
    place = value = 0
    for group in sequence:
        starts[group] = next_place[group] = place
        next_value[group] = value
        place += counts[group]
        value += counts[group] * widths[group]
    for i in range(len(groups)):
        group = groups[i]
        at = next_place[group]
        order[at] = i
        places[at] = next_value[group]
        next_place[group] = at + 1
        next_value[group] += widths[group]
