"""What sources have in common whose rows are made of those of another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from fastgmm.data.source import Rows, Source


class WrappedSource(Source):
    """Rows made of those of a source that is not in memory; every pass reads all of that."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.n_features = source.n_features
        self.feature_names = source.feature_names
        self.dtype = source.dtype
        self.replayable = source.replayable
        self.incomplete = source.incomplete
        self.unused_columns = source.unused_columns

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights."""
        return self._source.has_weights

    @property
    def reads_ahead(self) -> bool:
        """Whether threads read the next block while one is worked on."""
        return self._source.reads_ahead

    def _wrapped_blocks(self) -> Iterator[Rows]:
        """Yield the blocks of the source, which is closed when no more are asked for."""
        with closing(self._source.blocks()) as blocks:  # type: ignore[type-var]
            yield from blocks
