"""Fits that are killed at random moments and resumed.

Each run is a process of its own, which is sent SIGKILL after a random time and started again with
``resume=True`` until it ends. What it ends with must be, bit for bit, the result of a run that was
left alone, with no row lost or counted twice.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastgmm import GaussianMixture, MiniBatchGaussianMixture
from fastgmm.data.table_output import write_table
from fastgmm.io import model_file as persistence

_N_FILES = 5
_ROWS_OF_FILE = 30_011


@dataclass
class Tally:
    """What the runs of one kind came to.

    Attributes
    ----------
    killed : int
        Processes that were killed.
    runs : int
        Fits that were brought to their end.
    differing : int
        Fits whose result differs from that of the one left alone.
    miscounted : int
        Rows that were lost or counted twice, over all fits.
    """

    killed: int = 0
    runs: int = 0
    differing: int = 0
    miscounted: int = 0


def batch(folder: Path, **checkpoint: Any) -> GaussianMixture:
    """Return a batch fit of files, with two starts."""
    mixture = GaussianMixture(4, tol=0.0, max_iter=12, n_init=2, random_state=1, **checkpoint)
    return mixture.fit(folder / "*.parquet")


def online(folder: Path, **checkpoint: Any) -> GaussianMixture:
    """Return a fit in minibatches, over two epochs."""
    mixture = MiniBatchGaussianMixture(
        4, batch_size=2000, max_epochs=2, random_state=1, **checkpoint
    )
    return mixture.fit(folder / "*.parquet")


KINDS: dict[str, Callable[..., GaussianMixture]] = {"batch": batch, "online": online}


def tally_killed(kind: str, n_killed: int, seed: int, folder: Path) -> Tally:
    """Kill and resume fits of one kind until so many processes have been killed.

    Parameters
    ----------
    kind : {"batch", "online"}
        The schedule.
    n_killed : int
        How many processes to kill at least.
    seed : int
        Seed of the moments.
    folder : Path
        Where there are files to fit, and room for others.

    Returns
    -------
    Tally
        What came out.
    """
    moments = random.Random(seed)
    expected, found, state = (folder / f"{kind}-{name}.fgm" for name in ("alone", "end", "state"))
    longest = 0.0
    for _ in range(2):  # the first may have to compile
        began = time.perf_counter()
        _, status = os.waitpid(_start(kind, folder, expected, None), 0)
        if status:
            raise RuntimeError(f"the fit that was left alone ended with status {status}")
        longest = time.perf_counter() - began
    tally = Tally()
    while tally.killed < n_killed:
        state.unlink(missing_ok=True)
        while True:
            process = _start(kind, folder, found, state)
            time.sleep(moments.uniform(0.0, longest))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            if os.WIFSIGNALED(status):
                tally.killed += 1
            elif os.waitstatus_to_exitcode(status):
                raise RuntimeError("a resumed fit failed")
            else:
                break
        tally.runs += 1
        _compare(expected, found, tally)
    return tally


def _start(kind: str, folder: Path, output: Path, state: Path | None) -> int:
    """Start a process that resumes a fit and saves the result; return its number."""
    process = os.fork()
    if process:
        return process
    try:
        warnings.simplefilter("ignore")
        options = {"checkpoint": state, "checkpoint_interval": 0.0, "resume": True}
        KINDS[kind](folder, **({} if state is None else options)).save(output)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _compare(expected: Path, found: Path, tally: Tally) -> None:
    one, other = persistence.load(expected), persistence.load(found)
    same = one.arrays.keys() == other.arrays.keys() and all(
        np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items()
    )
    tally.differing += not same
    counts = [
        stored.values["attributes"].get("n_samples_seen_", _N_FILES * _ROWS_OF_FILE)
        for stored in (one, other)
    ]
    tally.miscounted += abs(counts[0] - counts[1])


def write_files(folder: Path) -> None:
    """Write the files to fit: overlapping clusters, in row groups that cut through blocks.

    Parameters
    ----------
    folder : Path
        Where to.
    """
    generator = np.random.default_rng(0)
    for number in range(_N_FILES):
        labels = generator.integers(4, size=_ROWS_OF_FILE)
        rows = generator.standard_normal((_ROWS_OF_FILE, 3)) + 1.5 * labels[:, None]
        columns = {f"x{j}": rows[:, j] for j in range(3)}
        write_table(folder / f"part-{number}.parquet", columns)


def main(arguments: list[str] | None = None) -> int:
    """Kill, resume, compare and print.

    Parameters
    ----------
    arguments : list of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0, or 1 if a result differed or a row was lost or counted twice.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not hasattr(os, "fork"):
        print("error: this needs fork, which this system does not have", file=sys.stderr)
        return 2
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        for kind in KINDS:
            tally = tally_killed(kind, -(-options.kills // len(KINDS)), options.seed, folder)
            print(
                f"{kind}: {tally.killed} processes killed, {tally.runs} fits resumed to their end, "
                f"{tally.differing} with another result, {tally.miscounted} rows lost or counted "
                "twice",
                flush=True,
            )
            failed = failed or bool(tally.differing or tally.miscounted)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
