"""Arrow batches as pieces of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastgmm.data.formats.arrow_columns import batch_numbers
from fastgmm.data.formats.arrow_filters import rows_satisfying
from fastgmm.data.formats.table_file import Piece


def pieces_of(batch: Any, names: Sequence[str], row: int, rows_wanted: Any) -> Iterator[Piece]:
    """Yield a batch's rows as a piece, unless a condition leaves none."""
    numbers = None
    if rows_wanted is not None:
        numbers = np.flatnonzero(rows_satisfying(batch, rows_wanted))
        batch = batch.take(numbers)
    if batch.num_rows:
        yield Piece(batch_numbers(batch, names), row, numbers, batch)
