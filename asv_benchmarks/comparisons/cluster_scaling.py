"""How long a pass would take on clusters larger than this machine: measured terms, simulated.

Measures on this machine, with Dask, what a pass over partitions consists of: the kernel's time for
a row on one thread and how it varies from task to task, the scheduler's time for a task, and the
time to add two statistics. A simulation hands tasks out one by one to cores that become free, and
adds up the results in a tree. It must reproduce passes on one and on two workers before it is asked
about more. Latency and bandwidth of the network are assumptions, printed with the rest.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import pickle
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cluster import cluster, own_mixture, persisted
from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.extend import MixtureParameters, block_statistics, merge
from harness.targets import Target, report_targets

_FEATURES, _COMPONENTS = 32, 32
_MERGED_AT_ONCE = 16
_TASKS_OF_A_CORE = 4
_MOST_SIMULATED = 100_000
_PARTITIONS = 16
_PASSES = 4


@dataclass(frozen=True)
class Terms:
    """What a pass consists of, in seconds and bytes.

    Attributes
    ----------
    row : float
        One thread's time for a row.
    variation : float
        Standard deviation of the logarithm of a task's time.
    task : float
        The scheduler's time for a task.
    addition : float
        Time to add two statistics.
    size : int
        Bytes of parameters, and of statistics, as they are sent.
    latency, bandwidth : float
        Of the network, in seconds and bytes a second: assumed, not measured.
    """

    row: float
    variation: float
    task: float
    addition: float
    size: int
    latency: float = 1e-4
    bandwidth: float = 1.25e9


def simulated_pass(
    terms: Terms, n_rows: float, n_cores: int, n_partitions: int
) -> dict[str, float]:
    """Return the seconds of a pass and of its parts.

    Parameters
    ----------
    terms : Terms
        What it consists of.
    n_rows : float
        Number of rows.
    n_cores : int
        Number of cores, of which each works on one partition at a time.
    n_partitions : int
        Number of partitions of equal size.

    Returns
    -------
    dict of str to float
        Seconds: "broadcast", "compute" as if divided evenly, "scheduling" and "stragglers" beyond
        that, "tree", and the "total".
    """
    message = terms.latency + terms.size / terms.bandwidth
    broadcast = math.ceil(math.log2(n_cores)) * message if n_cores > 1 else 0.0
    mean = terms.row * n_rows / n_partitions
    generator = np.random.default_rng(0)
    simulated = min(n_partitions, _MOST_SIMULATED)
    spread = generator.lognormal(-0.5 * terms.variation**2, terms.variation, simulated)
    durations = mean * np.resize(spread, n_partitions)
    even = float(durations.sum()) / n_cores
    free = [0.0] * n_cores
    for number, duration in enumerate(durations.tolist()):
        handed_out = max(free[0], (number + 1) * terms.task)
        heapq.heapreplace(free, handed_out + duration)
    end = max(free)
    unhindered = [0.0] * n_cores
    for duration in durations.tolist():
        heapq.heapreplace(unhindered, unhindered[0] + duration)
    stragglers = max(unhindered) - even
    levels = math.ceil(math.log(n_partitions, _MERGED_AT_ONCE)) if n_partitions > 1 else 0
    merges = n_partitions / (_MERGED_AT_ONCE - 1)
    tree = levels * _MERGED_AT_ONCE * (message + terms.addition) + merges * terms.task
    return {
        "broadcast": broadcast,
        "compute": even,
        "stragglers": stragglers,
        "scheduling": end - even - stragglers,
        "tree": tree,
        "total": broadcast + end + tree,
    }


def measured_terms(n_rows: int) -> Terms:
    """Measure the terms on this machine, as many rows in a partition as given."""
    problem = make_problem(Case("pass", "full", n_rows, _FEATURES, _COMPONENTS))
    parameters = MixtureParameters.from_covariances(
        problem.weights, problem.means, problem.covariances
    )
    durations = []
    for _ in range(20):
        began = time.perf_counter()
        statistics = block_statistics(parameters, problem.X, n_jobs=1)
        durations.append(time.perf_counter() - began)
    sent = pickle.dumps(statistics)
    began = time.perf_counter()
    for _ in range(100):
        merge(statistics, statistics)
    addition = (time.perf_counter() - began) / 100
    logs = np.log(durations[1:])
    return Terms(
        row=float(np.exp(logs).mean()) / n_rows,
        variation=float(logs.std()),
        task=_seconds_of_scheduler(500),
        addition=addition,
        size=len(sent),
    )


def _seconds_of_scheduler(n_partitions: int) -> float:
    """Return the processor time of scheduler and client for a task of a pass."""
    problem = make_problem(Case("pass", "full", 50 * n_partitions, 4, 4))
    with cluster(2) as client:
        fit = own_mixture(persisted(client, problem.X, n_partitions), problem)
        fit(1)
        used = []
        for n_passes in (1, 1 + _PASSES):
            began = time.process_time()
            fit(n_passes)
            used.append(time.process_time() - began)
    # Of each run of partitions, those on one of the two workers are a task, beside the merges.
    tasks = n_partitions * (2 / _MERGED_AT_ONCE + 1 / (_MERGED_AT_ONCE - 1))
    return (used[1] - used[0]) / (_PASSES * tasks)


def measured_pass(n_workers: int, n_rows: int) -> tuple[float, list[dict[str, Any]]]:
    """Return the seconds of a pass on workers of one thread each, and what they did in some."""
    problem = make_problem(Case("pass", "full", n_rows, _FEATURES, _COMPONENTS))
    with cluster(n_workers) as client:
        fit = own_mixture(persisted(client, problem.X, _PARTITIONS), problem)
        fit(1)
        best = {1: math.inf, 1 + _PASSES: math.inf}
        for _ in range(3):
            for n_passes in best:
                began = time.perf_counter()
                fit(n_passes)
                best[n_passes] = min(best[n_passes], time.perf_counter() - began)
        with import_module("distributed").get_task_stream(client) as stream:
            fit(1 + _PASSES)
    return (best[1 + _PASSES] - best[1]) / _PASSES, task_stream(stream.data)


def task_stream(tasks: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what workers, numbered from 0, did from when to when, in seconds from the start."""
    began = min(each["start"] for task in tasks for each in task["startstops"])
    workers = sorted({task["worker"] for task in tasks})
    found = []
    for task in tasks:
        for each in task["startstops"]:
            merges = each["action"] == "compute" and "-merged" in str(task["key"])
            found.append(
                {
                    "worker": workers.index(task["worker"]),
                    "action": "merge" if merges else each["action"],
                    "start": round(each["start"] - began, 4),
                    "stop": round(each["stop"] - began, 4),
                }
            )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, simulate, print, and write the figures.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments, those of the process by default.

    Returns
    -------
    int
        0, or 1 if the simulation does not reproduce what is measured here.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=800_000, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    terms = measured_terms(options.rows // _PARTITIONS)
    figures: dict[str, Any] = {
        "cores": os.cpu_count(),
        "problem": f"D={_FEATURES}, K={_COMPONENTS}, full covariances, float64",
        "terms": asdict(terms),
        "here": [],
        "elsewhere": [],
    }
    targets = []
    for n_workers in (1, 2):
        expected = simulated_pass(terms, options.rows, n_workers, _PARTITIONS)["total"]
        found, figures["stream"] = measured_pass(n_workers, options.rows)
        figures["here"].append({"workers": n_workers, "measured": found, "simulated": expected})
        for limit, at_least in ((0.8, True), (1.25, False)):
            subject = f"pass on {n_workers} workers: measured / simulated"
            targets.append(Target(subject, limit, "x", at_least, measured=found / expected))
    for n_rows in (1e9, 1e12):
        for n_cores in (100, 10_000):
            n_partitions = _TASKS_OF_A_CORE * n_cores
            parts = simulated_pass(terms, n_rows, n_cores, n_partitions)
            case = {"rows": n_rows, "cores": n_cores, "partitions": n_partitions}
            figures["elsewhere"].append({**case, **parts})
    text = json.dumps(figures, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", "utf-8")
    return report_targets(targets)


if __name__ == "__main__":
    sys.exit(main())
