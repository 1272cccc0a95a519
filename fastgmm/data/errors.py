"""What is raised where data cannot be read, and warned of where some of them were left out."""

from __future__ import annotations


class DataError(ValueError):
    """Rows could not be read; the message says in which file, where in it, and what to do."""


class SkippedDataWarning(UserWarning):
    """Damaged files, or parts of them, were left out; the message says which and how much."""


class RoundedDataWarning(UserWarning):
    """Integers are so large that float64 rounds them; the message says in which columns."""
