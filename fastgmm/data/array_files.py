"""Arrays in NumPy's own files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.data.column_names import name_list


def read_array(path: Path) -> NDArray[Any]:
    """Map the array in a ``.npy`` file, or read the one in an ``.npz`` file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Real numbers of any type.

    Raises
    ------
    ValueError
        If the file does not hold one table of numbers.
    """
    try:
        if path.suffix.lower() == ".npy":
            loaded: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        else:
            loaded = _read_npz(path)
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"cannot read {str(path)!r} as a NumPy file: {error}") from error
    if loaded.ndim != 2:
        raise ValueError(
            f"{str(path)!r} holds an array of shape {loaded.shape}, which is not a table: "
            "it must have two dimensions, rows and columns"
        )
    if loaded.dtype.kind not in "buif":
        raise ValueError(f"{str(path)!r} holds values of type {loaded.dtype}, not real numbers")
    return loaded


def _read_npz(path: Path) -> NDArray[Any]:
    # The file is opened here because NumPy leaves its own open when it turns out to be no archive.
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no archive of arrays, or is cut off")
        with np.load(file, allow_pickle=False) as archive:
            names = archive.files
            if "X" not in names and len(names) != 1:
                raise ValueError(
                    f"it holds {f'the arrays {name_list(names)}' if names else 'no array'}, and "
                    "must hold one, or one with the name X"
                )
            array: NDArray[Any] = archive["X" if "X" in names else names[0]]
            return array
