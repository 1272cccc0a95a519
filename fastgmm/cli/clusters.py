"""The option ``--dask``: a cluster whose workers read the rows and work on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from fastgmm.extras import import_from_extra


@contextmanager
def client_of(cluster: str) -> Iterator[Any]:
    """Yield a client of a cluster; a local one is started and stopped."""
    distributed: Any = import_from_extra(
        "distributed", package="distributed", extra="dask", purpose="--dask"
    )
    local = re.fullmatch(r"local:([1-9][0-9]*)", cluster)
    if local is None and "://" not in cluster:
        raise ValueError(
            "--dask must be the address of a scheduler, as tcp://host:8786, or local:4 for so many "
            f"processes on this machine; got {cluster!r}"
        )
    started: Any = nullcontext(cluster)
    if local is not None:
        started = distributed.LocalCluster(
            n_workers=int(local[1]),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )
    with started as address, distributed.Client(address) as client:
        yield client
