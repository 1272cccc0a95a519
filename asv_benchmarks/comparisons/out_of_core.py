"""Data larger than memory.

Writes files of the size asked for, and compares with the targets: peak resident memory of a
fit under a memory budget, a pass over files against the same pass in memory where arithmetic takes
the time, and against mere decoding where reading does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastgmm
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters
from harness.memory import process_peak_memory
from harness.targets import Target, report_targets

_ROWS_AT_ONCE = 1_000_000
_ROUNDS = 5
_COMPONENTS = 8
_SECONDS_BETWEEN_LOOKS = 0.05


def write_mixture(
    folder: Path, n_rows: int, n_features: int, n_files: int, suffix: str, *, seed: int = 0
) -> None:
    """Write files of rows from a mixture of overlapping components.

    Parameters
    ----------
    folder : Path
        Where to.
    n_rows, n_features : int
        Size of all files together.
    n_files : int
        How many there are.
    suffix : {".parquet", ".npy"}
        Their format; Parquet with pyarrow's defaults.
    seed : int, default=0
        Seed of the rows.
    """
    from fastgmm.data.table_output import table_writer

    generator = np.random.default_rng(seed)
    centers = generator.standard_normal((_COMPONENTS, n_features)) * 2.0
    for number in range(n_files):
        left = n_rows // n_files
        with table_writer(folder / f"part-{number:04d}{suffix}") as write:
            while left:
                count = min(left, _ROWS_AT_ONCE)
                rows = generator.standard_normal((count, n_features))
                rows += centers[generator.integers(_COMPONENTS, size=count)]
                write({f"x{j}": rows[:, j] for j in range(n_features)})
                left -= count


def measure_memory(folder: Path, gigabytes: float, budget: str, suffix: str) -> tuple[float, float]:
    """Fit files with the command line and return its peak memory.

    Parameters
    ----------
    folder : Path
        Where to write the files.
    gigabytes : float
        Their size as float64, in 10^9 bytes.
    budget : str
        What ``--memory`` is given.
    suffix : {".parquet", ".npy"}
        Their format.

    Returns
    -------
    bytes : float
        Peak resident memory of the process.
    seconds : float
        How long it took.
    """
    n_features = 16
    n_rows = int(gigabytes * 1e9 / (8 * n_features))
    write_mixture(folder, n_rows, n_features, 8, suffix)
    command = [sys.executable, "-m", "fastgmm", "fit", str(folder), "-k", str(_COMPONENTS)]
    command += ["--memory", budget, "--max-iter", "2", "--seed", "0", "-q"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peak = 0
        while process.poll() is None:
            # Not the system's own account at the end: that has the parent's memory in it.
            peak = max(peak, process_peak_memory(process.pid) or 0)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise RuntimeError(f"the fit ended with status {process.returncode}")
    return float(peak), time.perf_counter() - began


def measure_passes(
    folder: Path, n_rows: int, n_features: int, n_components: int
) -> dict[str, float]:
    """Time passes over Parquet files, over the same rows in memory, and mere decoding.

    Parameters
    ----------
    folder : Path
        Where to write the files.
    n_rows, n_features, n_components : int
        Size of the problem.

    Returns
    -------
    dict of str to float
        Seconds of the quickest of several rounds: of "files" that are decoded again, of files
        whose rows are "kept", of rows in "memory", and of mere decoding in each of the ways that
        pyarrow has.
    """
    write_mixture(folder, n_rows, n_features, 4, ".parquet")
    size = 8 * n_rows * n_features
    kept = fastgmm.open_data(folder, memory_budget=4 * size)
    # A little too small for the rows to be kept, so that they are decoded in every pass.
    read = fastgmm.open_data(folder, memory_budget=2 * size - 1)
    X = np.concatenate([np.array(block.X) for block in kept.blocks()])
    chosen = np.linspace(0, len(X) - 1, n_components).astype(int)
    parameters = MixtureParameters.from_covariances(
        np.full(n_components, 1.0 / n_components),
        X[chosen],
        np.repeat(np.eye(n_features)[None], n_components, axis=0),
    )
    actions: dict[str, Callable[[], Any]] = {
        "files": lambda: mixture_statistics(read, parameters),
        "kept": lambda: mixture_statistics(kept, parameters),
        "memory": lambda: mixture_statistics(ArraySource(X), parameters),
        **_decoders(folder),
    }
    seconds = dict.fromkeys(actions, np.inf)
    for _ in range(_ROUNDS):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds


def _decoders(folder: Path) -> dict[str, Callable[[], None]]:
    """Return what decodes all columns of the files and does nothing with them."""
    from pyarrow import dataset, parquet

    paths = sorted(folder.glob("*.parquet"))

    def table() -> None:
        for path in paths:
            parquet.read_table(path)

    def batches() -> None:
        for path in paths:
            for _ in parquet.ParquetFile(path).iter_batches():
                pass

    def scanner() -> None:
        for _ in dataset.dataset(folder, format="parquet").to_batches():
            pass

    return {"read_table": table, "iter_batches": batches, "dataset": scanner}


def measure(gigabytes: float, budget: str, scale: float) -> list[Target]:
    """Measure everything.

    Parameters
    ----------
    gigabytes : float
        Size of the files for the memory figures.
    budget : str
        Memory budget of these fits.
    scale : float
        What to multiply the rows of the timed passes by.

    Returns
    -------
    list of Target
        The targets beside the figures.
    """
    targets = []
    for suffix in (".parquet", ".npy"):
        with tempfile.TemporaryDirectory() as name:
            peak, seconds = measure_memory(Path(name), gigabytes, budget, suffix)
        subject = f"peak memory, {gigabytes:g} GB {suffix}, --memory {budget}, {seconds:.0f} s"
        targets.append(Target(subject, 1200.0, "MB", at_least=False, measured=peak / 1e6))
    with tempfile.TemporaryDirectory() as name:
        seconds_of = measure_passes(Path(name), int(1_000_000 * scale), 16, 64)
    for name, words in (("files", "decoded again"), ("kept", "kept decoded")):
        ratio = seconds_of[name] / seconds_of["memory"]
        subject = f"pass D=16, K=64: files, {words} / memory"
        targets.append(Target(subject, 1.1, "x", at_least=False, measured=ratio))
    with tempfile.TemporaryDirectory() as name:
        seconds_of = measure_passes(Path(name), int(20_000_000 * scale), 4, 2)
    for name, words in (("files", "decoded again"), ("kept", "kept decoded")):
        for decoder in ("read_table", "dataset", "iter_batches"):
            ratio = seconds_of[name] / seconds_of[decoder]
            subject = f"pass D=4, K=2: files, {words} / pyarrow {decoder}"
            targets.append(Target(subject, 1.25, "x", at_least=False, measured=ratio))
    return targets


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0, or 1 if a target was missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0, help="(default: %(default)s)")
    parser.add_argument("--memory", default="1GB", help="budget (default: %(default)s)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the rows of timed passes (default: 1)"
    )
    options = parser.parse_args(arguments)
    targets = measure(options.gigabytes, options.memory, options.scale)
    return report_targets(targets)


if __name__ == "__main__":
    sys.exit(main())
