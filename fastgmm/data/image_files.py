"""Pictures whose pixels are rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.file_stamps import FileStamp
from fastgmm.data.images import pixel_count, read_image
from fastgmm.data.table_file import (
    Column,
    Damage,
    Piece,
    TableFile,
    chosen_columns,
    column_numbers,
)

_COLOURS = ("red", "green", "blue")
_FULL = np.float32(255)


class ImageFile(TableFile):
    """A picture: a row for each pixel, line by line, with its colours from 0 to 1.

    Parameters
    ----------
    path : Path
        The picture.

    Raises
    ------
    DataError
        If it is no picture, or a damaged one.
    """

    kind = "image"
    columns = tuple(Column(name, "float32", np.dtype(np.float32)) for name in _COLOURS)

    def __init__(self, path: Path) -> None:
        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        try:
            self.n_rows = pixel_count(path)
        except ValueError as error:
            raise DataError(str(error)) from error

    def pieces(
        self,
        names: Sequence[str],
        n_rows: int,
        rows_wanted: Any,  # noqa: ARG002
        damage: Damage,
    ) -> Iterator[Piece]:
        """Return the pixels."""
        try:
            image = read_image(self._path)
        except ValueError as error:
            damage.report(f"{self.origin} ({self.n_rows} rows)", error)
            return
        pixels = image.reshape(-1, 3 if image.ndim == 3 else 1)
        indices = column_numbers(self.columns, names)
        for first in range(0, len(pixels), n_rows):
            part = pixels[first : first + n_rows].astype(np.float32) / _FULL
            colours = np.broadcast_to(part, (len(part), len(_COLOURS)))
            yield Piece(chosen_columns(colours, indices), first)
