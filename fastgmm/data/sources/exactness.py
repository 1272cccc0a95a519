"""Values that float64 cannot stand for: dates and durations, and integers from 2**53 on."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError, RoundedDataWarning

FIRST_ROUNDED = 2**53
"""From here on, float64 does not distinguish an integer from the next."""

_TIMES = (
    np.datetime64,
    np.timedelta64,
    datetime.date,  # of which datetime and what pandas has are kinds
    datetime.time,
    datetime.timedelta,
)


def is_long_integer(dtype: np.dtype[Any] | None) -> bool:
    """Say whether a type is one of integers that float64 may round."""
    return dtype is not None and dtype.kind in "iu" and dtype.itemsize > 4


def reaches_rounding(integers: npt.NDArray[Any]) -> bool:
    """Say whether some integers are so large that float64 may round them."""
    if not integers.size:
        return False
    # These pass over NaN.
    largest, smallest = np.fmax.reduce(integers, axis=None), np.fmin.reduce(integers, axis=None)
    return bool(largest >= FIRST_ROUNDED or smallest <= -FIRST_ROUNDED)


def warn_of_rounding(origin: str, names: Iterable[str]) -> None:
    """Warn that integers of some columns are rounded."""
    if names := list(names):
        warnings.warn(
            f"{origin}: integers of 2**53 and more, which float64 rounds, in column "
            f"{name_list(names)}: leave such columns out if they are keys, or subtract a large "
            "number first",
            RoundedDataWarning,
            stacklevel=2,
        )


def check_no_times(origin: str, values: Any) -> None:
    """Make sure that values are no dates, times or durations, which NumPy makes numbers of."""
    if isinstance(values, list | tuple):
        values = np.array(values, dtype=object)
    if not isinstance(values, np.ndarray):
        return
    kind = str(values.dtype) if values.dtype.kind in "mM" else ""
    if values.dtype.kind == "O":
        kind = next((type(each).__name__ for each in values.flat if isinstance(each, _TIMES)), "")
    if kind:
        raise DataError(
            f"{origin} holds dates, times or durations ({kind}), not real numbers: leave them out, "
            "or give what they count, as in (X - X.min()) / numpy.timedelta64(1, 's')"
        )
