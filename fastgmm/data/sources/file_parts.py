"""Files that the workers of a cluster read, a part of one at a time, as a Dask collection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgmm.data.column_names import default_names
from fastgmm.data.errors import DataError
from fastgmm.data.formats.table_file import TableFile, common_dtype
from fastgmm.data.options import ReadingOptions
from fastgmm.data.selection import Selection
from fastgmm.data.sources.dask_collection import DaskSource, token_of
from fastgmm.data.sources.file_source import FileSource


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """How a part of a file is read."""

    selection: Selection
    options: ReadingOptions
    dtypes: dict[str, np.dtype[Any]]  # of the columns
    token: str  # what distinguishes the files from others

    def __dask_tokenize__(self) -> str:
        return self.token

    def matrix(self, file: TableFile) -> npt.NDArray[Any]:
        """Return the rows of a part, perhaps none, in the type that those of all parts have."""
        source = FileSource([file], self.selection, self.options)
        source.may_be_empty = True
        dtype = np.result_type(*self.dtypes.values())
        blocks = [X.astype(dtype) for X, _ in source.blocks()]
        return np.concatenate([np.empty((0, source.n_features), dtype), *blocks])

    def frame(self, file: TableFile) -> Any:
        """Return them with the names of their columns."""
        import pandas

        return pandas.DataFrame(self.matrix(file), columns=list(self.dtypes)).astype(self.dtypes)

    def frames(self, files: Sequence[TableFile]) -> Any:
        """Return the collection of all parts, whose columns have names."""
        import pandas

        frames: Any = import_module("dask.dataframe")
        empty = pandas.DataFrame({name: np.empty(0, dtype) for name, dtype in self.dtypes.items()})
        return frames.from_map(self.frame, files, meta=empty)

    def array(self, files: Sequence[TableFile]) -> Any:
        """Return the same of columns that have no names."""
        from dask.highlevelgraph import HighLevelGraph

        arrays: Any = import_module("dask.array")
        name = f"fastgmm-read-{self.token}"
        graph: dict[Any, Any] = {(name, i, 0): (self.matrix, file) for i, file in enumerate(files)}
        sizes = [file.n_rows if file.rows is None else len(file.rows) for file in files]
        return arrays.Array(
            HighLevelGraph.from_collections(name, graph),
            name,
            (tuple(math.nan if size is None else size for size in sizes), (len(self.dtypes),)),
            np.result_type(*self.dtypes.values()),
        )


def open_on_workers(source: FileSource, client: Any) -> DaskSource:
    """Return the rows of files as the workers of a cluster read them."""
    if source.options.on_error == "skip":
        raise ValueError(
            "on_error='skip' reports what is left out, which workers do not: leave client out"
        )
    if not source.replayable:
        raise DataError(f"{source.description()} can be read once, and here: leave client out")
    apart, first = source.selection.apart, source.files[0]
    features = source.names[: source.n_features]
    columns = (*features, *apart)
    reading = _Reading(
        Selection(columns, filter=source.selection.filter),
        replace(source.options, missing="model"),
        dict.fromkeys(features, source.dtype)
        | {each.name: common_dtype("", [each]) for each in first.columns if each.name in apart},
        token_of(source.fingerprint()),
    )
    parts = [part for file in source.files for part in file.split()]
    named = source.feature_names is not None
    places = dict(zip(columns, columns if named else default_names(len(columns)), strict=True))
    found = DaskSource(
        reading.frames(parts) if named else reading.array(parts),
        Selection(
            weight_column=places.get(source.selection.weight_column or ""),
            label_column=places.get(source.selection.label_column or ""),
        ),
        source.options.missing,
        client,
    )
    found.unused_columns = source.unused_columns
    return found
