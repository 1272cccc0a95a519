"""Conditions on the rows of Arrow batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.formats.arrow_columns import import_pyarrow

_MASK = "wanted"


def as_expression(condition: Any) -> Any:
    """Return a condition on rows as Arrow's."""
    import_pyarrow("filtering rows")
    from pyarrow import compute, parquet

    if isinstance(condition, compute.Expression):
        return condition
    try:
        return parquet.filters_to_expression(condition)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"filter is {condition!r}: give an expression as pyarrow.compute.field('a') > 3, or "
            f"a list of tuples as ('a', '>', 3): {error}"
        ) from error


def filter_columns(origin: str, schema: Any, condition: Any) -> list[str]:
    """Return the columns that a condition is about."""
    pyarrow = import_pyarrow("filtering rows")
    try:
        _evaluate(schema.empty_table(), condition)
    except (pyarrow.ArrowException, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{origin} cannot be filtered by {condition}: {reason}") from error

    def needed(names: Sequence[str]) -> list[str]:
        """Return those of some columns that the condition cannot do without."""
        left_out = set(names)
        rest = pyarrow.schema([field for field in schema if field.name not in left_out])
        try:
            _evaluate(rest.empty_table(), condition)
        except pyarrow.ArrowException:
            if len(names) == 1:
                return list(names)
            half = len(names) // 2
            return needed(names[:half]) + needed(names[half:])
        return []

    # Expressions do not say what they are about; those that no column satisfies do.
    return needed(schema.names)


def columns_to_read(origin: str, schema: Any, names: Sequence[str], condition: Any) -> list[str]:
    """Return the columns that are wanted, and those that a condition on the rows is about."""
    conditions = [] if condition is None else filter_columns(origin, schema, condition)
    return list(dict.fromkeys([*names, *conditions]))


def rows_satisfying(batch: Any, condition: Any) -> npt.NDArray[np.bool_]:
    """Return which rows satisfy a condition."""
    pyarrow = import_pyarrow("filtering rows")
    mask = _evaluate(pyarrow.Table.from_batches([batch]), condition)[_MASK].combine_chunks()
    satisfied: npt.NDArray[np.bool_] = mask.fill_null(False).to_numpy(zero_copy_only=False)
    return satisfied


def _evaluate(table: Any, condition: Any) -> Any:
    from pyarrow import dataset

    rows = dataset.dataset(table).scanner(columns={_MASK: condition}, use_threads=False)
    return rows.to_table()
