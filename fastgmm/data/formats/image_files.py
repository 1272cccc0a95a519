"""Images whose pixels are rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.file_stamps import FileStamp
from fastgmm.data.formats.images import image_header, read_image
from fastgmm.data.formats.table_file import (
    Column,
    Damage,
    Piece,
    TableFile,
    chosen_columns,
    column_numbers,
)

_COLORS = ("red", "green", "blue")
_LARGEST = {np.dtype(np.uint8): np.float32(255), np.dtype(np.uint16): np.float32(65535)}
"""White in the types whose levels are brought to 0 to 1."""


class ImageFile(TableFile):
    """An image: a row for each pixel, line by line, with its colors.

    Levels of 8 and of 16 bits are brought to 0 to 1; others are as the file has them.
    """

    kind = "image"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.origin = repr(str(path))
        self.stamp = FileStamp.of(path)
        self.n_rows, levels = image_header(path)
        dtype = np.dtype(np.float32) if levels in _LARGEST else levels
        self.columns = tuple(Column(name, str(dtype), dtype) for name in _COLORS)

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
        except DataError as error:
            damage.report(f"{self.origin} ({self.n_rows} rows)", error)
            return
        pixels = image.reshape(-1, 1 if image.ndim == 2 else 3)
        indices = column_numbers(self.columns, names)
        for first in range(0, len(pixels), n_rows):
            part = pixels[first : first + n_rows]
            if image.dtype in _LARGEST:
                part = part.astype(np.float32) / _LARGEST[image.dtype]
            colors = np.broadcast_to(part, (len(part), len(_COLORS)))
            yield Piece(chosen_columns(colors, indices), first)
