"""Arrow's columns and batches as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import name_list
from fastgmm.data.errors import DataError
from fastgmm.data.table_file import Column
from fastgmm.extras import import_from_extra


def import_pyarrow(purpose: str) -> Any:
    """Import pyarrow, or say which extra brings it.

    Parameters
    ----------
    purpose : str
        What it is needed for, as the subject of a sentence.

    Returns
    -------
    module
        The package.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    return import_from_extra("pyarrow", package="pyarrow", extra="parquet", purpose=purpose)


def schema_columns(origin: str, schema: Any) -> tuple[Column, ...]:
    """Return the columns of an Arrow schema.

    Parameters
    ----------
    origin : str
        Where it is from, as messages name it.
    schema : pyarrow.Schema
        The schema.

    Returns
    -------
    tuple of Column
        Its columns.

    Raises
    ------
    DataError
        If two columns have the same name.
    """
    repeated = sorted(name for name, count in Counter(schema.names).items() if count > 1)
    if repeated:
        raise DataError(f"{origin} has several columns of the name {name_list(repeated)}")
    return tuple(Column(field.name, str(field.type), arrow_dtype(field.type)) for field in schema)


def arrow_dtype(kind: Any) -> np.dtype[Any] | None:
    """Return the type in which `numbers` gives the values of an Arrow type.

    Parameters
    ----------
    kind : pyarrow.DataType
        The type.

    Returns
    -------
    dtype or None
        float32 for Arrow's, float64 for all other real numbers; None for other things.
    """
    types = import_pyarrow("reading columns").types
    if types.is_float32(kind):
        return np.dtype(np.float32)
    is_number = (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
    )
    return np.dtype(np.float64) if is_number else None


def numbers(column: Any) -> npt.NDArray[Any]:
    """Return the values of a column.

    Parameters
    ----------
    column : pyarrow.Array
        The column.

    Returns
    -------
    ndarray of shape (n_rows,)
        float32 or float64, NaN for what is missing; 0 for values that are no numbers.
    """
    pyarrow = import_pyarrow("reading columns")
    dtype = arrow_dtype(column.type)
    if dtype is None:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return np.where(missing, np.nan, 0.0)
    cast = column.cast(pyarrow.from_numpy_dtype(dtype), safe=False)
    values: npt.NDArray[Any] = cast.to_numpy(zero_copy_only=False)
    return values


def batch_numbers(batch: Any, names: Sequence[str]) -> list[npt.NDArray[Any]]:
    """Return some columns of a batch.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        The batch.
    names : sequence of str
        The columns.

    Returns
    -------
    list of ndarray of shape (n_rows,)
        Their values, as `numbers` gives them.
    """
    return [numbers(batch.column(name)) for name in names]


def reason_of(error: BaseException) -> str:
    """Return what an error of Arrow's says, without what is of use to its makers only.

    Parameters
    ----------
    error : exception
        The error.

    Returns
    -------
    str
        The first line of its message.
    """
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
