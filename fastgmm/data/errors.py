"""What is raised where data cannot be read, and warned of where some of them were left out."""

from __future__ import annotations

import warnings
from typing import Any


class DataError(ValueError):
    """Rows could not be read; the message says in which file, where in it, and what to do."""


_ADVICE = (
    "remove such rows, fill them in, or leave them out with open_data(..., missing='drop'); "
    "GaussianMixture(missing='model') fits what is there"
)


class MissingValueError(DataError):
    """A value is missing where none may be."""

    def __init__(self, place: str, advice: str | None = None) -> None:
        super().__init__(f"{place} is missing: {advice or _ADVICE}")
        self.place = place
        self._advice = advice

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place, self._advice)


class DamagedDataError(DataError):
    """A part of a file cannot be read."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"{place}: repair the file, or leave such parts out with open_data(..., "
            "on_error='skip')"
        )
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place,)


class ClusterError(RuntimeError):
    """The scheduler of a cluster has gone, or a worker of it cannot be used."""


class DataWarning(UserWarning):
    """Data may be meant otherwise than they are read; the message says how to say so."""


class SkippedDataWarning(UserWarning):
    """Damaged files, or parts of them, were left out; the message says which and how much."""


def warn_of_doubt(doubt: str) -> None:
    """Warn of how data are understood, if there is a doubt."""
    if doubt:
        warnings.warn(doubt, DataWarning, stacklevel=2)


class RoundedDataWarning(UserWarning):
    """Integers are so large that float64 rounds them; the message says in which columns."""
