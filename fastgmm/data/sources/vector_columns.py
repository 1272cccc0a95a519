"""Columns that hold a list of numbers in each row, as embeddings do: each place is a feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import DataError


def part_names(name: str, width: int) -> tuple[str, ...]:
    """Return the names of the features that a column of lists becomes.

    Parameters
    ----------
    name : str
        The column's name.
    width : int
        How many numbers each list has.

    Returns
    -------
    tuple of str
        As ``emb[0]``, ``emb[1]``, and so on.
    """
    return tuple(f"{name}[{i}]" for i in range(width))


def with_parts(
    names: Sequence[str] | None, parts: Mapping[str, Sequence[str]]
) -> tuple[str, ...] | None:
    """Return names in which those of columns of lists stand for all of their features.

    Parameters
    ----------
    names : sequence of str or None
        The names; None for None.
    parts : mapping of str to sequence of str
        The names of the features of each column of lists.

    Returns
    -------
    tuple of str or None
        The names of features.
    """
    if names is None:
        return None
    return tuple(part for name in names for part in parts.get(name, (name,)))


def stored_names(names: Sequence[str], parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns that hold features, each once: the other way round.

    Parameters
    ----------
    names : sequence of str
        The names of features.
    parts : mapping of str to sequence of str
        The names of the features of each column of lists.

    Returns
    -------
    list of str
        The names of columns.
    """
    parents = {part: name for name, own in parts.items() for part in own}
    return list(dict.fromkeys(parents.get(name, name) for name in names))


def width_of(lists: Any) -> int | None:
    """Return how many numbers the first of some lists has.

    Parameters
    ----------
    lists : iterable
        One list, tuple or array for each row; None, or anything else, where there is none.

    Returns
    -------
    int or None
        The number; None if there is no list, or it holds other things than numbers.
    """
    for each in lists:
        if isinstance(each, list | tuple | np.ndarray):
            numbers = np.asarray(each)
            is_list = numbers.ndim == 1 and numbers.dtype.kind in "biuf"
            return len(numbers) if is_list and len(numbers) else None
    return None


def wrong_list(where: str, width: int, found: str, row: int) -> DataError:
    """Return the error to raise where a row has no list, or one of another length.

    Parameters
    ----------
    where : str
        What messages call the column.
    width : int
        How many numbers each list should have.
    found : str
        What there is instead.
    row : int
        The row, counted from 0.

    Returns
    -------
    DataError
        The error.
    """
    return DataError(
        f"{where} should hold a list of {width} numbers in each row, but has {found} in row {row}, "
        "counted from 0: leave such rows out, or fill them in"
    )


def matrix_of_lists(where: str, lists: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Return lists of numbers as the rows of a matrix.

    Parameters
    ----------
    where : str
        What messages call the column.
    lists : ndarray of object of shape (n_rows,), or ndarray of shape (n_rows, width)
        One list for each row.
    width : int
        How many numbers each should have.

    Returns
    -------
    ndarray of shape (n_rows, width)
        float32 if all lists are, else float64; NaN for what is missing in a list.

    Raises
    ------
    DataError
        If a row has no list, or one of another length, or one that holds other things.
    """
    if lists.ndim == 2:
        return lists
    for i, each in enumerate(lists):
        if not isinstance(each, list | tuple | np.ndarray) or len(each) != width:
            found = "no list" if not hasattr(each, "__len__") else f"one of length {len(each)}"
            raise wrong_list(where, width, found, i)
    single = all(isinstance(each, np.ndarray) and each.dtype.char == "f" for each in lists)
    matrix = np.empty((len(lists), width), dtype=np.float32 if single else np.float64)
    for i, each in enumerate(lists):
        try:
            matrix[i] = np.asarray(each, dtype=matrix.dtype)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where} holds other things than numbers in row {i}, counted from 0: {error}"
            ) from error
    return matrix
