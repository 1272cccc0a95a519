"""The k-means of dask-ml, which has an environment of its own: no fastgmm there.

Started with a folder that holds the rows and the first centers; for each number of iterations that
it reads, it fits and writes the centers.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    """Fit as often as asked."""
    array: Any = import_module("dask.array")
    distributed: Any = import_module("distributed")
    from dask_ml.cluster import KMeans

    X = np.load(folder / "X.npy")
    centers = np.load(folder / "centers.npy")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as workers,
        distributed.Client(workers) as client,
    ):
        rows = client.persist(array.from_array(X, chunks=(-(-len(X) // 8), X.shape[1])))
        for line in sys.stdin:
            model = KMeans(len(centers), init=centers, max_iter=int(line), tol=0.0)
            print(json.dumps(model.fit(rows).cluster_centers_.tolist()), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
