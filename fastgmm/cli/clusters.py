"""The option ``--dask``: rows that are read, and worked on, by the workers of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastgmm.cli.options import CsvReading, split_columns
from fastgmm.extras import import_from_extra

if TYPE_CHECKING:
    from fastgmm.data.source import Source

_READERS = {".parquet": "read_parquet", ".pq": "read_parquet", ".csv": "read_csv"}


@contextmanager
def rows_on_cluster(
    cluster: str,
    data: list[str],
    *,
    columns: str | None,
    weight_column: str | None,
    label_column: str | None,
    missing: Literal["error", "drop", "model"],
    csv: CsvReading,
) -> Iterator[Source]:
    """Yield tables as the workers of a cluster read them; a local one is started and stopped."""
    from fastgmm.data.opening import open_data

    suffixes = {Path(each).suffix for each in data}
    reader = _READERS.get(suffixes.pop()) if len(suffixes) == 1 else None
    if reader is None:
        raise ValueError(
            f"--dask reads files that all end in {', '.join(_READERS)}, or patterns of them; got "
            f"{', '.join(data)}"
        )
    if csv:
        name = next(iter(csv)).replace("_", "-")
        raise ValueError(f"--{name} is not for --dask, whose workers read CSV as pandas does")
    distributed: Any = import_from_extra(
        "distributed", package="distributed", extra="dask", purpose="--dask"
    )
    frames: Any = import_from_extra(
        "dask.dataframe", package="dask", extra="dask", purpose="--dask"
    )
    local = re.fullmatch(r"local:([1-9][0-9]*)", cluster)
    if local is None and "://" not in cluster:
        raise ValueError(
            "--dask must be the address of a scheduler, as tcp://host:8786, or local:4 for so many "
            f"processes on this machine; got {cluster!r}"
        )
    address: Any = cluster
    if local is not None:
        address = distributed.LocalCluster(
            n_workers=int(local[1]),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )
    try:
        with distributed.Client(address) as client:
            yield open_data(
                getattr(frames, reader)(data),
                columns=split_columns(columns),
                weight_column=weight_column,
                label_column=label_column,
                missing=missing,
                client=client,
            )
    finally:
        if local is not None:
            address.close()
