"""How much memory the reading of data may take, and what follows for the size of blocks."""

from __future__ import annotations

import re

from fastgmm.kernels.tiles import BLOCK_ROWS

DEFAULT_BUDGET = 10**9

PREFETCH_DEPTH = 2
"""Blocks that wait to be worked on."""

_LARGEST_BLOCK = 2**24
"""Larger blocks leave the caches and gain nothing."""

_SHARE_OF_BLOCK = 16
"""A block's share of the budget: some wait, one is used, one is made, and readers hold parts."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def bytes_of_memory(amount: int | str) -> int:
    """Return an amount of memory in bytes."""
    if isinstance(amount, str):
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?)b?\s*", amount, re.IGNORECASE)
        if found is None or (found[3] and not found[2]):
            raise ValueError(
                f"{amount!r} is no amount of memory: give a number and a unit, as 500MB or 2GB"
            )
        units = _BINARY_UNITS if found[3] else _UNITS
        amount = int(float(found[1]) * units[found[2].lower()])
    if amount <= 0:
        raise ValueError(f"an amount of memory must be more than nothing; got {amount}")
    return int(amount)


def rows_of_block(bytes_per_row: int, budget: int) -> int:
    """Return how many rows a block should have."""
    size = min(_LARGEST_BLOCK, budget // _SHARE_OF_BLOCK)
    return BLOCK_ROWS * max(1, size // (BLOCK_ROWS * bytes_per_row))
