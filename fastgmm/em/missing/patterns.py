"""Rows of a chunk, grouped by which of their values are missing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastgmm.kernels.patterns import (
    WORD_BITS,
    GatherTask,
    MarkTask,
    find_groups,
    gather_slot,
    mark_slot,
    order_rows,
)
from fastgmm.kernels.threads import run_slots

IndexArray = npt.NDArray[np.int64]

_SLOTS = 64
_OPERATIONS_PER_VALUE = 4


class Group(NamedTuple):
    """Rows of one pattern."""

    rows: IndexArray  # (n_rows,): their numbers in the chunk
    is_observed: npt.NDArray[np.bool_]  # (n_features,): which of their values are not missing
    values: npt.NDArray[Any]  # (n_rows, n_observed): those


class GroupedRows(NamedTuple):
    """A chunk of rows by pattern."""

    large: list[Group]
    """The rows without gaps, if there are any, and those of patterns that many rows have, in the
    order in which they appear.
    """
    scattered: IndexArray
    """Numbers of the rows of all other patterns, by how many of their values are missing, those of
    one pattern side by side.
    """


def group_rows(X: npt.NDArray[Any], many: int, *, n_jobs: int | None = None) -> GroupedRows:
    """Group rows by which of their values are missing."""
    n_rows, n_features = X.shape
    operations = _OPERATIONS_PER_VALUE * X.size
    marks = np.empty((n_rows, -(-n_features // WORD_BITS)), np.uint64)
    run_slots(mark_slot, MarkTask(X, _SLOTS, marks), _SLOTS, n_jobs, operations)
    if not marks.any():
        whole = Group(np.arange(n_rows), np.ones(n_features, dtype=bool), X)
        return GroupedRows([whole], np.empty(0, np.int64))
    table = np.full(1 << (2 * n_rows - 1).bit_length(), -1)
    groups, firsts, counts = (np.empty(n_rows, np.int64) for _ in range(3))
    n_groups = find_groups(marks, table, groups, firsts, counts)
    marks, counts = marks[firsts[:n_groups]], counts[:n_groups]
    missing = np.bitwise_count(marks).sum(axis=1, dtype=np.int64)
    widths = n_features - missing
    is_apart = (missing == 0) | (counts >= many)
    # rows that are completed one by one come by how much they lack
    sequence = np.lexsort((np.arange(n_groups), np.where(is_apart, 0, missing), ~is_apart))
    starts = np.empty(n_groups, np.int64)
    order, places = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)
    order_rows(groups, sequence, counts, widths, starts, order, places)
    apart = sequence[: np.count_nonzero(is_apart)]
    n_apart = int(counts[apart].sum())
    values = np.empty(int(widths[apart] @ counts[apart]), X.dtype)
    gathered = GatherTask(X, _SLOTS, order[:n_apart], places[:n_apart], values)
    run_slots(gather_slot, gathered, _SLOTS, n_jobs, operations)
    features = np.arange(n_features)
    words, bits = features // WORD_BITS, (features % WORD_BITS).astype(np.uint64)
    large = []
    for g in apart:
        start, count, width = starts[g], counts[g], widths[g]
        first = places[start]
        is_observed = (marks[g, words] >> bits) & np.uint64(1) == 0
        observed = values[first : first + count * width].reshape(count, width)
        large.append(Group(order[start : start + count], is_observed, observed))
    return GroupedRows(large, order[n_apart:])
