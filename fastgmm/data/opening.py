"""Opening data of any kind as a source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgmm.data.formats.arrow_columns import as_expression
from fastgmm.data.formats.registry import refuse_csv_options
from fastgmm.data.options import (
    DEFAULT_BUDGET,
    ErrorPolicy,
    Header,
    MissingPolicy,
    ReadingOptions,
    bytes_of_memory,
    csv_options,
)
from fastgmm.data.remote import is_url
from fastgmm.data.selection import Selection
from fastgmm.data.source import Source
from fastgmm.data.sources.array_like import as_matrix
from fastgmm.data.sources.batch_iterators import BatchSource
from fastgmm.data.sources.dask_collection import DaskSource, is_collection
from fastgmm.data.sources.file_parts import open_on_workers
from fastgmm.data.sources.file_source import FileSource
from fastgmm.data.sources.frames import checked_array, is_frame, open_frame
from fastgmm.data.sources.limited import LimitedRows, refuse_collection, with_limits
from fastgmm.data.sources.measured import MeasuredRows, with_error_covariance
from fastgmm.data.tables import is_arrow_stream, is_list_of_paths, is_path, is_stored, open_tables
from fastgmm.kernels.passes.error_pass import DEVIATIONS


def open_data(
    data: Any,
    *,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    weight_column: str | None = None,
    filter: Any = None,
    columns_if_named: Sequence[str] | None = None,
    label_column: str | None = None,
    error_columns: Sequence[str] | None = None,
    error_covariance: ArrayLike | None = None,
    censored_columns: Sequence[str] | None = None,
    censored: ArrayLike | None = None,
    block_rows: int | None = None,
    memory_budget: int | str = DEFAULT_BUDGET,
    missing: MissingPolicy = "error",
    on_error: ErrorPolicy = "raise",
    header: Header = "infer",
    na_values: str | Sequence[str] | None = None,
    decimal: str = ".",
    delimiter: str | None = None,
    comment: str | None = None,
    encoding: str | None = None,
    client: Any = None,
) -> Source:
    """Open rows in files, arrays, data frames or streams.

    The format of data is recognized by their content. Files are never loaded as a whole: a pass
    reads them block by block, within a memory budget, and the result is bitwise identical to that
    of rows in memory.

    Parameters
    ----------
    data : path, list of paths, array, data frame, iterator, callable, or Source
        Where the rows are:

        - a path: a file, a folder of files, or a pattern such as ``"data/*.parquet"``; or a URL, as
          ``"s3://bucket/*.parquet"``; or a list of these. Parquet, Arrow (files, streams and
          Feather), CSV, NumPy's ``.npy`` and ``.npz``, HDF5, Zarr, and images, whose pixels are
          rows. CSV, ``.npy`` and Arrow streams may be compressed by gzip, bz2, xz or zstd, or be in
          a zip archive. An array inside a file is chosen as in ``"file.h5::group/array"``, a file
          inside an archive as in ``"archive.zip::rows.csv"``. ``"-"`` is standard input: CSV or an
          Arrow stream.
        - an array, a memory map, an `h5py.Dataset`, a `zarr.Array`.
        - a data frame of pandas, polars or Arrow; anything with ``__arrow_c_stream__``.
        - a Dask array or data frame, whose rows are worked on where they lie.
        - an iterator of batches, each a matrix, a pair of a matrix and weights, or a data frame:
          it can be iterated over once. Or a function that returns a new iterator each time.
        - a binary file object, read once as standard input is.
        - a `Source`, which is returned as it is.
    columns : sequence of str, default=None
        The columns to use, in this order; all but `weight_column` and `label_column` if not given.
        Columns without names of their own are called ``x0``, ``x1``, and so on.
    exclude : sequence of str, default=None
        Columns not to use, where `columns` does not name those to use.
    weight_column : str, default=None
        The column that holds the rows' weights.
    filter : pyarrow.compute.Expression or list of tuples, default=None
        Which rows of Parquet, Arrow and CSV files to use, as in
        ``pyarrow.compute.field("a") > 3`` or ``[("a", ">", 3)]``.
    columns_if_named : sequence of str, default=None
        As `columns`, for data whose columns have names of their own.
    label_column : str, default=None
        The column that holds the number of each row's component, counted from 0, and -1 or
        nothing where it is not known: for a mixture with ``semi_supervised=True``.
    error_columns : sequence of str, default=None
        The columns that hold the standard deviations of the measurement errors of `columns`, one
        for each and in their order, for a `GaussianMixture` of the values without errors.
    error_covariance : array-like, default=None
        The covariances of the measurement errors instead, as in `GaussianMixture.fit`: for each
        row of an array or a frame, or one for all rows.
    censored_columns : sequence of str, default=None
        The columns that say which values of `columns` are limits, one for each and in their order:
        -1 where the true value is at most the value, 1 where it is at least that, and 0 where it is
        measured; for a `GaussianMixture`.
    censored : array-like, default=None
        These flags instead, as in `GaussianMixture.fit`, for an array or a frame.
    block_rows : int, default=None
        Rows of a block, rounded up to whole multiples of 1024; None for as many as suit the
        memory budget. The result does not depend on it.
    memory_budget : int or str, default=10**9
        How much memory the reading may take, about: bytes, or text such as ``"2GB"``.
    missing : {"error", "drop", "model"}, default="error"
        What becomes of rows in which a value is missing: an error that names file, column and
        row; or the row is left out; or it is kept, with NaN for what is missing, for a mixture
        with ``missing="model"``.
    on_error : {"raise", "skip"}, default="raise"
        What becomes of damaged files: an error that says where, or the damaged part is left out
        with a `SkippedDataWarning`.
    header : bool or "infer", default="infer"
        Whether the first row of CSV names the columns. It is taken to unless each of its fields is
        a number or missing.
    na_values : str or sequence of str, default=None
        What stands for a missing value in CSV, as it is written there, besides nothing, ``NA``,
        ``NaN``, ``None``, ``null`` and the others of pandas.
    decimal : {".", ","}, default="."
        The decimal mark of CSV.
    delimiter : str, default=None
        The character that separates fields of CSV, a blank for any number of blanks and tabs.
        Commas, semicolons, tabs, bars and blanks are found out.
    comment : str, default=None
        The character that begins a comment in CSV, which ends with the line.
    encoding : str, default=None
        How characters are encoded in CSV; UTF-8 if not given and no byte order mark says otherwise.
    client : distributed.Client, default=None
        The client that works on a Dask collection; the current one if not given, and Dask's local
        scheduler where there is none. With a client, files are read by its workers, which must find
        them under the same names: a partition is a row group of Parquet, a run of batches of an
        Arrow file, of rows of ``.npy``, HDF5 and Zarr, or else a file.

    Returns
    -------
    Source
        The rows, float32 if all columns are, else float64.

    Raises
    ------
    DataError
        If the data cannot be read: the message says what, where, and what to do. Damage and missing
        values are found when the rows are read.
    FileNotFoundError
        If there is no such file.
    ImportError
        If a format needs a package that is not installed: the message names the extra.
    TypeError
        If `data` is of none of these types.
    ValueError
        If an option has a value that it cannot have, or a column is not there.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgmm
    >>> source = fastgmm.open_data(np.zeros((3, 2)))
    >>> source.n_samples, source.n_features
    (3, 2)
    """
    names = _names("columns", columns)
    of_errors = _annotation_names("error", names, error_columns, error_covariance)
    of_limits = _annotation_names("censored", names, censored_columns, censored)
    if (of_errors or error_covariance is not None) and (of_limits or censored is not None):
        raise ValueError(
            "values with errors and censored values do not go together: leave out one of them"
        )
    selection = Selection(
        _names("columns", (*names, *of_errors, *of_limits)) if names is not None else None,
        _names("columns_if_named", columns_if_named),
        weight_column,
        None if filter is None else as_expression(filter),
        label_column,
        _names("exclude", exclude) or (),
    )
    if columns is not None and exclude is not None:
        raise ValueError("columns names the columns to use, and exclude those not to: give one")
    if label_column is not None and label_column in (weight_column, *(columns or ())):
        raise ValueError(
            f"label_column is {label_column!r}, which is weight_column or among columns, too: a "
            "column can be only one of them"
        )
    csv = csv_options(header, na_values, decimal, delimiter, comment, encoding)
    budget = bytes_of_memory(memory_budget)
    options = ReadingOptions(budget, block_rows, missing, on_error, csv)
    if client is not None and not (is_collection(data) or is_path(data) or is_list_of_paths(data)):
        raise ValueError(
            "client is for files and for a Dask array or data frame, and data are of type "
            f"{type(data).__name__}"
        )
    if client is not None and not hasattr(client, "who_has"):
        raise TypeError(
            "client must be a distributed.Client, which is made of the address of a scheduler; "
            f"got {client!r}"
        )
    source = _opened(data, selection, options, client)
    if error_covariance is not None:
        return with_error_covariance(source, error_covariance)
    if censored is not None:
        return with_limits(source, censored)
    if names is not None and of_errors:
        return MeasuredRows(source, len(names), DEVIATIONS)
    if names is not None and of_limits:
        refuse_collection(source)
        return LimitedRows(source, len(names))
    return source


def _opened(data: Any, selection: Selection, options: ReadingOptions, client: Any) -> Source:
    """Open data by options that have been checked."""
    missing = options.missing
    if isinstance(data, Source):
        if selection != Selection() or options != ReadingOptions():
            raise ValueError("data are a source already: give the options to what opened it")
        return data
    if not (is_path(data) or is_list_of_paths(data) or hasattr(data, "read")):
        refuse_csv_options(f"data of type {type(data).__name__}", options)
    if is_collection(data):
        _refuse_filter(selection, "a Dask collection")
        return DaskSource(data, selection, missing, client)
    if is_frame(data):
        _refuse_filter(selection, "a data frame")
        return open_frame(data, selection, missing)
    if client is not None and not is_collection(data):  # its workers are in other folders
        names = map(os.fspath, [data] if is_path(data) else data)
        data = [
            each if is_url(each) or each == "-" else str(Path(each).absolute()) for each in names
        ]
    tables = open_tables(data, options)
    if tables is not None:
        files = FileSource(tables.files, selection, options, tables.unreadable)
        return files if client is None else open_on_workers(files, client)
    if isinstance(data, Iterator) or callable(data):
        _refuse_filter(selection, "batches")
        if callable(data):
            return BatchSource(lambda: _iterated(data()), True, selection, options)
        return BatchSource(lambda: data, False, selection, options)
    _refuse_filter(selection, "an array")
    return _open_array(data, selection, options)


def is_data_reference(data: Any) -> bool:
    """Say whether something is for `open_data` rather than an array in memory."""
    return (
        isinstance(data, Source | Iterator)
        or is_path(data)
        or is_list_of_paths(data)
        or is_stored(data)
        or (callable(data) and not hasattr(data, "__array__"))
        or is_arrow_stream(data)
        or is_frame(data)
        or is_collection(data)
    )


def _names(option: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names that were given as an option."""
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{option} must be a list of names; got {names!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"{option} names a column twice; got {list(names)}")
    if not names:
        raise ValueError(f"{option} names no column; leave it out to use all")
    return tuple(names)


def _annotation_names(
    kind: str, columns: Sequence[str] | None, annotations: Sequence[str] | None, array: Any
) -> tuple[str, ...]:
    """Return the columns that hold what is known of values, one for each column of values."""
    names = _names(f"{kind}_columns", annotations) or ()
    if not names:
        return ()
    if array is not None:
        other = {"error": "error_covariance"}.get(kind, kind)
        raise ValueError(f"{kind}_columns and {other} both say the same of values: give one")
    if columns is None or len(names) != len(columns):
        raise ValueError(
            f"{kind}_columns holds a column for each of columns, in their order; got "
            f"columns={columns!r} and {kind}_columns={list(names)}"
        )
    return names


def _refuse_filter(selection: Selection, what: str) -> None:
    if selection.filter is not None:
        raise ValueError(
            f"{what} cannot be filtered here: filter works on Parquet, Arrow and CSV files"
        )


def _iterated(batches: Any) -> Iterator[Any]:
    """Return an iterator over what a function returned."""
    try:
        return iter(batches)
    except TypeError:
        raise TypeError(
            f"the function that should return an iterator of batches returned {batches!r} of type "
            f"{type(batches).__name__}"
        ) from None


def _open_array(data: Any, selection: Selection, options: ReadingOptions) -> Source:
    """Open what is an array in memory, or can be made one."""
    found = selection.of_matrix("the array", as_matrix("the array", data))
    return checked_array("the array", np.asarray(found.values, found.dtype), found, options.missing)
