"""Rows that come only once, kept in a temporary file so that they can be read again."""

from __future__ import annotations

import hashlib
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np

from fastgmm.data.formats.byte_streams import read_array
from fastgmm.data.options import ReadingOptions
from fastgmm.data.source import Source
from fastgmm.data.sources.batch import Batch
from fastgmm.data.sources.stream import StreamSource


class SpooledSource(StreamSource):
    """A copy of a source's rows in a temporary file, which is removed with this object."""

    _stays_the_same = True

    def __init__(self, source: Source, options: ReadingOptions) -> None:
        super().__init__(
            dtype=source.dtype,
            n_features=source.n_features,
            feature_names=source.feature_names,
            has_weights=source.has_weights,
            options=options,
        )
        self.unused_columns = source.unused_columns
        self._file = tempfile.TemporaryFile(prefix="fastgmm-")  # noqa: SIM115 - kept open
        weakref.finalize(self, self._file.close)
        self._sizes: list[int] = []
        digest = hashlib.blake2b(digest_size=16)
        with closing(source.blocks()) as blocks:  # type: ignore[type-var]
            for X, weights in blocks:
                self._sizes.append(len(X))
                for part in (X, weights):
                    if part is not None:
                        content = np.ascontiguousarray(part).data.cast("B")
                        digest.update(content)
                        self._append(content)
        self._digest = digest.hexdigest()
        self.expected_samples = sum(self._sizes)

    def _append(self, content: memoryview | bytes) -> None:
        """Write to the file, and let nothing wait in memory."""
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise OSError(
                f"cannot keep a copy of the rows in {tempfile.gettempdir()!r} ({error.strerror}): "
                "free some space there, or name another folder in the environment variable TMPDIR"
            ) from error

    def description(self) -> str:
        """Return what messages call the rows."""
        return "the copy of the rows in a temporary file"

    def _batches(self) -> Iterator[Batch]:
        self._file.seek(0)
        row = 0
        for n_rows in self._sizes:
            X = np.empty((n_rows, self.n_features), self.dtype)
            weights = np.empty(n_rows) if self.has_weights else None
            try:
                for part in (X, weights):
                    if part is not None:
                        read_array(self._file, part)
            except EOFError as error:
                raise OSError(f"{self.description()} was cut short") from error
            yield Batch(X, weights, self.description(), row)
            row += n_rows

    def _identity(self) -> dict[str, Any]:
        return {"kind": "spooled", "rows": self.expected_samples, "digest": self._digest}
