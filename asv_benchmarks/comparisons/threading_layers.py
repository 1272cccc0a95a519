"""A pass under each of numba's threading layers.

This program times passes in a process for each layer that the
machine has, by turns, so that other work meets all of them alike, and compares the medians with
that under OpenMP.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

LAYERS = ("omp", "tbb", "workqueue")
SIZES = ((1_000_000, 2, 8), (1_000_000, 8, 16), (200_000, 32, 64))
"""Rows, features and components."""

_WORKER = """
import ctypes, json, sys, time
layer, library = sys.argv[1:3]
if layer == "tbb":
    ctypes.CDLL(library)  # pip puts it where the loader does not look
import numba, numpy as np
numba.config.THREADING_LAYER = layer
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters
random = np.random.default_rng(0)
for line in sys.stdin:
    N, D, K = json.loads(line)
    if N:
        source = ArraySource(random.standard_normal((N, D)))
        mixture = MixtureParameters.from_covariances(
            np.full(K, 1 / K), random.standard_normal((K, D)), np.repeat(np.eye(D)[None], K, 0))
        mixture_statistics(source, mixture)
        assert numba.threading_layer() == layer
    time.sleep(0.05)  # OpenMP's threads keep a core busy for a while after a pass
    begin = time.perf_counter()
    mixture_statistics(source, mixture)
    print(time.perf_counter() - begin, flush=True)
"""


def main(arguments: list[str] | None = None) -> int:
    """Print seconds a pass and ratios; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="timings (default: %(default)s)")
    rounds = parser.parse_args(arguments).rounds
    library = Path(sysconfig.get_path("data"), "lib", "libtbb.so.12")
    layers = [layer for layer in LAYERS if layer != "tbb" or library.exists()]
    workers = {
        layer: subprocess.Popen(
            [sys.executable, "-c", _WORKER, layer, str(library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ),
            text=True,
        )
        for layer in layers
    }

    def timed(layer: str, size: tuple[int, int, int]) -> float:
        worker = workers[layer]
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(size) + "\n")
        worker.stdin.flush()
        return float(worker.stdout.readline())

    for size in SIZES:
        times: dict[str, list[float]] = {layer: [] for layer in layers}
        for layer in layers:
            timed(layer, size)
        for _ in range(rounds):
            for layer in layers:
                times[layer].append(timed(layer, (0, 0, 0)))
        medians = {layer: statistics.median(found) for layer, found in times.items()}
        figures = ", ".join(
            f"{layer} {seconds * 1e3:.2f} ms ({seconds / medians['omp']:.2f}x)"
            for layer, seconds in medians.items()
        )
        print(f"{size[0]:,} rows, {size[1]} features, {size[2]} components: {figures}")
    for worker in workers.values():
        worker.communicate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
