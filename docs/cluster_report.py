"""Dask's report of a fit on two workers, for the page "Beyond one machine".

It is made at the end of each build; ``python docs/cluster_report.py fit.html`` makes one, too.
"""

import subprocess
import sys
from pathlib import Path

import dask.array
from distributed import Client, LocalCluster, performance_report, wait

from fastgmm import GaussianMixture

REPORT = "_static/cluster_report.html"


def main(path):
    """Fit a mixture to sixteen partitions on two workers, and write the report."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, silence_logs=50) as cluster,
        Client(cluster),
    ):
        random = dask.array.random.default_rng(0)
        rows = random.normal(size=(1_600_000, 8), chunks=(100_000, 8))
        rows = (rows + 5 * random.integers(4, size=(1_600_000, 1), chunks=(100_000, 1))).persist()
        wait(rows)
        mixture = GaussianMixture(4, random_state=0).fit(rows)  # which compiles
        with performance_report(path, mode="inline"):
            mixture.fit(rows)


def make_report(app, exception):
    """Write the report, in a process of its own, because workers load the program anew."""
    if exception is None and app.builder.name == "html":
        subprocess.run([sys.executable, __file__, Path(app.outdir, REPORT)], check=True)


def setup(app):
    """Register the report, before links are checked."""
    app.connect("build-finished", make_report)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    main(sys.argv[1])
