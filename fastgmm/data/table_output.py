"""Tables written to NumPy, CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.atomic_file import atomic_file
from fastgmm.data.column_files import import_pyarrow

WRITABLE = (".npy", ".csv", ".parquet")

_BLOCK_ROWS = 1 << 16


def write_table(path: str | Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns to a file, all of it or nothing.

    Parameters
    ----------
    path : str or Path
        A ``.npy``, ``.csv`` or ``.parquet`` file. A ``.npy`` file holds a single column as a
        one-dimensional array, and several as the columns of a two-dimensional one.
    columns : mapping of str to ndarray of shape (n_samples,)
        The columns and their names.

    Raises
    ------
    ImportError
        If the file is to be Parquet and pyarrow is not installed.
    ValueError
        If the suffix is none of these.
    """
    path = Path(path)
    suffix = writable_suffix(path)
    with atomic_file(path) as file:
        if suffix == ".npy":
            arrays = list(columns.values())
            np.save(file, arrays[0] if len(arrays) == 1 else np.column_stack(arrays))
        elif suffix == ".csv":
            for text in csv_blocks(columns):
                file.write(text.encode())
        else:
            pyarrow = import_pyarrow("writing Parquet")
            from pyarrow import parquet

            parquet.write_table(pyarrow.table(dict(columns)), file)


def writable_suffix(path: Path) -> str:
    """Return the suffix of a file to be written.

    Parameters
    ----------
    path : Path
        Where the file is to be.

    Returns
    -------
    str
        One of `WRITABLE`.

    Raises
    ------
    ImportError
        If the file is to be Parquet and pyarrow is not installed.
    ValueError
        If the suffix is none of these, or the folder does not exist.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(
            f"cannot write {str(path)!r}: its name must end in one of {', '.join(WRITABLE)}"
        )
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
    if suffix == ".parquet":
        import_pyarrow("writing Parquet")
    return suffix


def csv_blocks(columns: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield the text of a CSV file, many rows at a time.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_samples,)
        The columns and their names, which make the first line.

    Yields
    ------
    str
        Whole lines. Numbers are written with the fewest digits that give them back exactly.
    """
    yield ",".join(_quoted(name) for name in columns) + "\n"
    arrays = list(columns.values())
    for start in range(0, len(arrays[0]), _BLOCK_ROWS):
        cells = [_texts(array[start : start + _BLOCK_ROWS]) for array in arrays]
        yield "".join(",".join(row) + "\n" for row in zip(*cells, strict=True))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


def _texts(array: NDArray[Any]) -> list[str]:
    # NumPy's own float32 prints fewer digits than the Python float that tolist makes of it.
    return [str(value) for value in (array if array.dtype == np.float32 else array.tolist())]
