"""Rows in pieces of another size than the blocks that they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.source import Rows, Source


def recut(blocks: Iterable[Rows], size: int, skipped: int = 0) -> Iterator[Rows]:
    """Yield rows in batches that do not depend on the blocks they come in."""
    parts: list[Rows] = []
    missing = size
    for X, weights in blocks:
        used = min(skipped, len(X))
        skipped -= used
        while used < len(X):
            taken = min(missing, len(X) - used)
            part = slice(used, used + taken)
            rows = Rows(X[part], None if weights is None else weights[part])
            used += taken
            if taken == size:
                yield rows
                continue
            # The block may be overwritten before the batch is complete.
            parts.append(Rows(rows.X.copy(), None if rows.weights is None else rows.weights.copy()))
            missing -= taken
            if not missing:
                yield joined(parts)
                parts, missing = [], size
    if skipped:
        raise DataError(
            f"the data end {skipped} rows before the place that the fit had come to: give the data "
            "that it was begun with, from the first row on"
        )
    if parts:
        yield joined(parts)


def rows_in_memory(source: Source) -> Rows:
    """Return all rows of a source as one piece."""
    parts = (Rows(X.copy(), None if w is None else w.copy()) for X, w in source.blocks())
    return joined(list(parts))


def joined(parts: list[Rows]) -> Rows:
    """Return several pieces of rows as one."""
    X = np.concatenate([each.X for each in parts])
    if all(each.weights is None for each in parts):
        return Rows(X, None)
    weights = [np.ones(len(each.X)) if each.weights is None else each.weights for each in parts]
    return Rows(X, np.concatenate(weights))
