"""Arrow's columns and batches as numbers, and conditions on their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import is_index_name, name_list, part_names, stored_names
from fastgmm.data.errors import DataError
from fastgmm.data.formats.table_file import Column, Piece, TableFile, Wanted
from fastgmm.extras import import_pyarrow

ROW_INDEX = "row index"
"""What a column is that pandas keeps the labels of rows in."""

_MASK = "wanted"


class ArrowTable(TableFile):
    """Rows that come in Arrow batches."""

    by_columns = True
    _schema: Any  # without metadata

    def check_filter(self, condition: Any) -> None:
        """Make sure that there are the columns of a condition."""
        filter_columns(self.origin, self._whole_schema(), condition)

    def _note_schema(self, schema: Any, give_rows: Callable[[], Any]) -> None:
        """Take over the columns of a schema; the first rows say how long lists are."""
        self._schema = schema.remove_metadata()
        try:
            self.parts = _list_parts(schema, give_rows)
            self.columns = schema_columns(self.origin, schema, self.parts)
        except UnicodeDecodeError as error:
            raise DataError(
                f"cannot read {self.origin}: the name of a column is damaged ({error}): write the "
                "file again"
            ) from error

    def _whole_schema(self) -> Any:
        """Return the schema of all columns that a condition may be about."""
        return self._schema

    def _to_read(self, wanted: Wanted) -> list[str]:
        """Return the columns that are wanted, and those that the condition is about."""
        stored = stored_names(wanted.names, self.parts)
        if wanted.condition is not None:
            stored += filter_columns(self.origin, self._whole_schema(), wanted.condition)
        return list(dict.fromkeys(stored))

    def _pieces_of(self, batch: Any, wanted: Wanted, row: int) -> Iterator[Piece]:
        """Yield a batch's rows as a piece, unless the condition leaves none."""
        batch = _with_parts_of_lists(self.origin, batch, self.parts, wanted.names, row)
        numbers = None
        if wanted.condition is not None:
            numbers = np.flatnonzero(_rows_satisfying(batch, wanted.condition))
            batch = batch.take(numbers)
        if batch.num_rows:
            pyarrow = import_pyarrow("reading columns")
            values = [_numbers(pyarrow, batch.column(name)) for name in wanted.names]
            yield Piece(values, row, numbers, batch)


def schema_columns(
    origin: str, schema: Any, parts: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> tuple[Column, ...]:
    """Return the columns of an Arrow schema."""
    names = [name for field in schema for name in parts.get(field.name, (field.name,))]
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise DataError(
            f"{origin} has several columns of the name {name_list(repeated)}: rename them"
        )
    types = import_pyarrow("reading columns").types
    index = index_columns(origin, schema)
    return tuple(
        Column(
            name,
            str(field.type),
            _dtype(types, field.type.value_type if field.name in parts else field.type),
            ROW_INDEX if field.name in index else "",
        )
        for field in schema
        for name in parts.get(field.name, (field.name,))
    )


def index_columns(origin: str, schema: Any) -> frozenset[str]:
    """Return the columns that hold the index of a data frame, as pandas marks and names them."""
    try:
        # A range is described by a dict there, and is no column.
        marked = list((schema.pandas_metadata or {}).get("index_columns", []))
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"{origin}: its 'pandas' metadata, which say what the row index is, are damaged "
            f"({error}): write it again, or without them"
        ) from error
    return frozenset(name for name in schema.names if name in marked or is_index_name(name))


def _list_parts(schema: Any, give_rows: Callable[[], Any]) -> dict[str, tuple[str, ...]]:
    """Return the names of the columns that stand for each one of lists of numbers."""
    types = import_pyarrow("reading columns").types
    rows: Any = None
    parts = {}
    for field in schema:
        kind, width = field.type, 0
        if types.is_fixed_size_list(kind):
            width = kind.list_size
        elif types.is_list(kind) or types.is_large_list(kind):
            rows = give_rows() if rows is None else rows
            present = [] if rows is None else rows.column(field.name).drop_null()
            width = len(present[0]) if len(present) else 0
        if width and _dtype(types, kind.value_type) is not None:
            parts[field.name] = part_names(field.name, width)
    return parts


def _with_parts_of_lists(
    origin: str,
    batch: Any,
    parts: Mapping[str, tuple[str, ...]],
    names: Sequence[str],
    row: int,
) -> Any:
    """Return a batch with a column for each place in the lists of a column, instead of that.

    A row without a list lacks all of its numbers.
    """
    own = {name: each for name, each in parts.items() if not set(each).isdisjoint(names)}
    if not own:
        return batch
    pyarrow = import_pyarrow("reading columns")
    from pyarrow import compute

    columns: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name not in own:
            columns[name] = column
            continue
        width = len(parts[name])
        lengths = compute.list_value_length(column).fill_null(width).to_numpy()
        wrong = np.flatnonzero(lengths != width)
        if len(wrong):
            found = f"one of length {lengths[wrong[0]]}"
            raise wrong_list(f"column {name!r} of {origin}", width, found, row + int(wrong[0]))
        numbers = _numbers(pyarrow, column.flatten()).reshape(-1, width)
        if column.null_count:
            present = column.is_valid().to_numpy(zero_copy_only=False)
            matrix = np.full((len(column), width), np.nan, numbers.dtype)
            matrix[present] = numbers
            numbers = matrix
        for part, place in zip(parts[name], numbers.T, strict=True):
            columns[part] = pyarrow.array(place, from_pandas=True)
    return pyarrow.RecordBatch.from_pydict(columns)


def wrong_list(where: str, width: int, found: str, row: int) -> DataError:
    """Return the error to raise where a row has something else than a list of the right length."""
    return DataError(
        f"{where} should hold a list of {width} numbers in each row, but has {found} in row {row}, "
        "counted from 0: leave such rows out, or fill them in"
    )


def _dtype(types: Any, kind: Any) -> np.dtype[Any] | None:
    """Return the type of an Arrow type's numbers in NumPy; None if they are other things."""
    if types.is_dictionary(kind):
        return _dtype(types, kind.value_type)
    if types.is_float32(kind) or types.is_integer(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    if types.is_boolean(kind):
        return np.dtype(np.bool_)
    is_number = types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)
    return np.dtype(np.float64) if is_number else None


def _numbers(pyarrow: Any, column: Any) -> npt.NDArray[Any]:
    dtype = _dtype(pyarrow.types, column.type)
    if dtype is None:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return np.where(missing, np.nan, 0.0)
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = np.float32 if dtype == np.float32 else np.float64
    cast = column.cast(pyarrow.from_numpy_dtype(kind), safe=False)
    values: npt.NDArray[Any] = cast.to_numpy(zero_copy_only=False)
    return values


def reason_of(error: BaseException) -> str:
    """Return what an error of Arrow's says, without what is of use to its makers only."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


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


def _rows_satisfying(batch: Any, condition: Any) -> npt.NDArray[np.bool_]:
    """Return which rows satisfy a condition."""
    pyarrow = import_pyarrow("filtering rows")
    mask = _evaluate(pyarrow.Table.from_batches([batch]), condition)[_MASK].combine_chunks()
    satisfied: npt.NDArray[np.bool_] = mask.fill_null(False).to_numpy(zero_copy_only=False)
    return satisfied


def _evaluate(table: Any, condition: Any) -> Any:
    from pyarrow import dataset

    rows = dataset.dataset(table).scanner(columns={_MASK: condition}, use_threads=False)
    return rows.to_table()
