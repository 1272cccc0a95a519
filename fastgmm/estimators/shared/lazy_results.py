"""Results for the rows of Dask collections: collections again, of which nothing is computed yet."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import wraps
from typing import Any, TypeVar, cast

import numba
import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.sources.dask_collection import DaskSource, is_array_collection, is_collection
from fastgmm.kernels.threads import effective_threads

_Method = TypeVar("_Method", bound=Callable[..., Any])


def lazy_on_collections(method: _Method) -> _Method:
    """Make a method that returns an array with an entry for each row take Dask collections, too.

    It returns an array of Dask's for one, and a series or a data frame for a data frame, with the
    partitions and the index of the rows. A task is the method on the rows of a partition.
    """

    @wraps(method)
    def wrapper(estimator: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(X, DaskSource):
            X = X.features()
        if not is_collection(X):
            return method(estimator, X, *args, **kwargs)
        return _mapped(estimator, method, X, args, kwargs)

    return cast(_Method, wrapper)


class _RowMethod:
    """A method of an estimator as it was when it was called, for the rows of a partition."""

    def __init__(
        self, estimator: Any, method: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> None:
        self._estimator = copy(estimator)
        for name, value in vars(estimator).items():
            if is_collection(value):
                delattr(self._estimator, name)
        self._name = method.__name__
        self._arguments = args, kwargs

    def __call__(self, rows: Any, number: int = 0) -> np.ndarray:
        """Return what there is for each row, worked out by one thread: Dask's own work, too."""
        args, kwargs = self._arguments
        if "partition" in kwargs:
            kwargs = {**kwargs, "partition": number}
        before = effective_threads(None)
        numba.set_num_threads(1)
        try:
            found = getattr(self._estimator, self._name)(rows, *args, **kwargs)
        finally:
            numba.set_num_threads(before)
        if not isinstance(found, np.ndarray):
            raise TypeError(
                f"{type(self._estimator).__name__}.{self._name} returns a {type(found).__name__} "
                "here, and for the rows of a Dask collection there can be one array only: ask for "
                "one result at a time"
            )
        return found

    def of_partition(self, rows: Any, number: int, like: np.ndarray) -> np.ndarray:
        """Return what there is for each row of a partition, in the form of an example."""
        if not len(rows):
            return like[:0]
        try:
            return self(rows, number).astype(like.dtype, copy=False)
        except ValueError as error:
            raise DataError(f"partition {number} of the collection: {error}") from error


def _mapped(
    estimator: Any, method: Callable[..., Any], X: Any, args: tuple[Any, ...], kwargs: Any
) -> Any:
    """Return the collection of what a method returns for each row."""
    from dask.delayed import delayed

    DaskSource.check(X)
    of_rows = _RowMethod(estimator, method, args, kwargs)
    if is_array_collection(X):
        like = of_rows(np.zeros((1, X.shape[1]), X.dtype))
        more = {} if like.ndim == 1 else {"chunks": (X.chunks[0], *((n,) for n in like.shape[1:]))}
        return X.rechunk({1: -1}).map_blocks(
            _of_block,
            delayed(of_rows, traverse=False),
            like,
            dtype=like.dtype,
            meta=np.empty((0,) * like.ndim, like.dtype),
            drop_axis=1 if like.ndim == 1 else None,
            **more,
        )
    import pandas

    example = pandas.DataFrame({name: np.zeros(1, dtype) for name, dtype in X.dtypes.items()})
    like = of_rows(example)
    names = None
    if method.__name__ == "transform":
        names = estimator.get_feature_names_out()
    empty = _framed(like[:0], X._meta.index[:0], names)
    return X.map_partitions(_of_frame, delayed(of_rows, traverse=False), like, names, meta=empty)


def _of_block(
    rows: Any, of_rows: _RowMethod, like: np.ndarray, block_id: tuple[int, ...] | None = None
) -> np.ndarray:
    return of_rows.of_partition(rows, block_id[0] if block_id else 0, like)


def _of_frame(
    rows: Any,
    of_rows: _RowMethod,
    like: np.ndarray,
    names: Any,
    partition_info: dict[str, Any] | None = None,
) -> Any:
    number = partition_info["number"] if partition_info else 0
    return _framed(of_rows.of_partition(rows, number, like), rows.index, names)


def _framed(values: np.ndarray, index: Any, names: Any) -> Any:
    """Return values of rows as a series or a data frame with the index of the rows."""
    import pandas

    if values.ndim == 1:
        return pandas.Series(values, index)
    return pandas.DataFrame(values, index, names)
