"""Columns that hold a list of numbers in each row, as embeddings do: each place is a feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.errors import DataError
from fastgmm.data.sources.array_like import is_missing


def part_names(name: str, width: int) -> tuple[str, ...]:
    """Return the names of the features that a column of lists becomes."""
    return tuple(f"{name}[{i}]" for i in range(width))


def with_parts(
    names: Sequence[str] | None, parts: Mapping[str, Sequence[str]]
) -> tuple[str, ...] | None:
    """Return names in which those of columns of lists stand for all of their features."""
    if names is None:
        return None
    return tuple(part for name in names for part in parts.get(name, (name,)))


def stored_names(names: Sequence[str], parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns that hold features, each once: the other way round."""
    parents = {part: name for name, own in parts.items() for part in own}
    return list(dict.fromkeys(parents.get(name, name) for name in names))


def width_of(lists: Any) -> int | None:
    """Return how many numbers the first of some lists has."""
    for each in lists:
        if isinstance(each, list | tuple | np.ndarray):
            numbers = np.asarray(each)
            is_list = numbers.ndim == 1 and numbers.dtype.kind in "biuf"
            return len(numbers) if is_list and len(numbers) else None
    return None


def wrong_list(where: str, width: int, found: str, row: int) -> DataError:
    """Return the error to raise where a row has something else than a list of the right length."""
    return DataError(
        f"{where} should hold a list of {width} numbers in each row, but has {found} in row {row}, "
        "counted from 0: leave such rows out, or fill them in"
    )


def matrix_of_lists(where: str, lists: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Return lists of numbers as the rows of a matrix, NaN where there is no list."""
    if lists.ndim == 2:
        return lists
    present = [i for i, each in enumerate(lists) if not is_missing(each)]
    for i in present:
        each = lists[i]
        is_list = isinstance(each, list | tuple | np.ndarray)
        if not is_list or len(each) != width:
            found = f"one of length {len(each)}" if is_list else "no list"
            raise wrong_list(where, width, found, i)
    single = all(isinstance(lists[i], np.ndarray) and lists[i].dtype.char == "f" for i in present)
    matrix = np.full((len(lists), width), np.nan, dtype=np.float32 if single else np.float64)
    for i in present:
        try:
            matrix[i] = np.asarray(lists[i], dtype=matrix.dtype)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where} holds other things than numbers in row {i}, counted from 0: {error}"
            ) from error
    return matrix
