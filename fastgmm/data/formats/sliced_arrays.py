"""Memory maps, and arrays of other types than are computed with, used by slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.formats.table_file import (
    Damage,
    Piece,
    TableFile,
    check_matrix,
    chosen_columns,
    column_numbers,
    unnamed_columns,
)
from fastgmm.data.sources.array import ArraySource


class SlicedArray(TableFile):
    """A matrix that is converted, or checked, some rows at a time."""

    named = False

    def __init__(self, array: npt.NDArray[Any], origin: str, kind: str) -> None:
        check_matrix(origin, array.shape, array.dtype)
        self._array = array
        self.origin = origin
        self.kind = kind
        self.n_rows = int(array.shape[0])
        self.columns = unnamed_columns(array.dtype, int(array.shape[1]))

    def identity(self) -> dict[str, Any]:
        """Return shape, type and a digest."""
        return ArraySource(self._array).fingerprint()

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,
        rows_wanted: Any,  # noqa: ARG002
        damage: Damage,  # noqa: ARG002
    ) -> Iterator[Piece]:
        """Return the rows, slice by slice."""
        assert self.n_rows is not None
        indices = column_numbers(self.columns, names)
        for first in range(0, self.n_rows, n_rows):
            rows = np.asarray(self._array[first : first + n_rows])
            yield Piece(chosen_columns(rows, indices), first)
