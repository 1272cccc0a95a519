"""Columns that are no features, carried beside the rows through whatever is done with these."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np


class CarriedColumns:
    """Columns that wait until as many rows of features have been worked on.

    A reader puts them in, perhaps from a thread of its own, and runs ahead of the rows by no more
    than it does anyway.
    """

    def __init__(
        self, names: Sequence[str], order: Sequence[str], index: Sequence[str] = ()
    ) -> None:
        self.names = tuple(names)
        self.order = tuple(order)
        self.index = tuple(index)
        self._waiting: deque[Sequence[Any]] = deque()

    def clear(self) -> None:
        """Forget what waits: the rows begin anew."""
        self._waiting.clear()

    def put(self, columns: Sequence[Any]) -> None:
        """Add rows at the end."""
        if columns and len(columns[0]):
            self._waiting.append(columns)

    def take(self, n_rows: int) -> dict[str, Any]:
        """Return the next rows, which were put in before."""
        parts: list[Sequence[Any]] = []
        while n_rows and self.names:
            columns = self._waiting.popleft()
            n_here = len(columns[0])
            if n_here > n_rows:
                self._waiting.appendleft([column[n_rows:] for column in columns])
                columns = [column[:n_rows] for column in columns]
            parts.append(columns)
            n_rows -= min(n_here, n_rows)
        if not parts:
            return {}
        return {
            name: _joined(column)
            for name, column in zip(self.names, zip(*parts, strict=True), strict=True)
        }


def _joined(parts: Sequence[Any]) -> Any:
    """Return pieces of a column as one."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import pyarrow

    return pyarrow.chunked_array(parts)
