"""Columns and their names, as users choose them and as messages list them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_NAMELESS = re.compile(r"(Unnamed: \d+(\.\d+)?)?")

_INDEX_NAME = re.compile(r"__index_level_\d+__")


def choose_columns(
    origin: str,
    names: Sequence[str],
    columns: Sequence[str] | None,
    apart: Sequence[str],
) -> list[str]:
    """Return the names of the columns to read as features."""
    known = set(names)
    for name in (*(columns or ()), *apart):
        if name not in known:
            raise ValueError(f"{origin} has no column {name!r}: its columns are {name_list(names)}")
    return list(columns) if columns else [name for name in names if name not in apart]


def is_index_name(name: str) -> bool:
    """Say whether pandas gives this name to a row index that has none, where it stores it."""
    return _INDEX_NAME.fullmatch(name) is not None


def is_nameless(name: str) -> bool:
    """Say whether a name is empty, or what pandas calls a column without one where it reads CSV."""
    return _NAMELESS.fullmatch(name) is not None


def doubt_of_nameless(origin: str, names: Sequence[str]) -> str:
    """Return what to say of features without names of their own that are integers."""
    return (
        f"the column {name_list(names)} of {origin} has no name of its own, and may be a row "
        "index, as pandas writes it into CSV: if it is no feature, leave it out by naming the "
        "columns to use"
    )


def default_names(count: int) -> tuple[str, ...]:
    """Return what columns without names of their own are called."""
    return tuple(f"x{j}" for j in range(count))


def shown_name(name: str) -> str:
    """Return a name as text shows it, in quotes where it could not be seen."""
    return name if name.strip() and name.isprintable() else repr(name)


def name_list(names: Sequence[str], limit: int = 8, *, quoted: bool = True) -> str:
    """Return names as a message lists them, no more than a few."""
    shown = ", ".join(repr(name) if quoted else shown_name(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


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
