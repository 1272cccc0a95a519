"""Rows on several processes: passes over a Dask collection, and other engines on the same rows.

Seconds of a pass are the difference between a fit of one pass and one of several more from the same
start, divided by their number, the least of some rounds in which all take turns. The scheduler, the
client and the workers are processes of their own on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from fastgmm import GaussianMixture, KMeans
from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import MixtureProblem, make_problem
from fastgmm.extras import import_from_extra
from harness.competitors import judge_centers, judge_mixture
from harness.memory import process_peak_memory
from harness.targets import Target, report_targets

_ROUNDS = 3
_AGREEMENT = 1e-6  # of what is compared: engines stop at other places in the last iteration

DASK_ML = ("dask-ml==2025.1.0", "dask[array,dataframe]", "distributed")

Fit = Callable[[int], float]
"""Runs so many passes and returns the mean log-likelihood, or squared distance, that they reach."""


def seconds_of_passes(fits: dict[str, Fit], n_passes: int) -> dict[str, float]:
    """Return the seconds of a pass by the name of the fit, which must all reach the same.

    Parameters
    ----------
    fits : dict of str to callable
        Runs so many passes.
    n_passes : int
        How many more the longer of two fits runs.

    Returns
    -------
    dict of str to float
        Seconds of a pass; nan where the result is not that of the first, or more passes took no
        longer.
    """
    reached = {name: fit(1 + n_passes) for name, fit in fits.items()}  # and all is compiled
    best = {name: {1: np.inf, 1 + n_passes: np.inf} for name in fits}
    for _ in range(_ROUNDS):
        for name, fit in fits.items():
            for count in best[name]:
                began = time.perf_counter()
                fit(count)
                best[name][count] = min(best[name][count], time.perf_counter() - began)
    expected = next(iter(reached.values()))
    seconds = {}
    for name, (once, more) in ((name, each.values()) for name, each in best.items()):
        same = abs(reached[name] - expected) <= _AGREEMENT * abs(expected)
        seconds[name] = (more - once) / n_passes if same and more > once else float("nan")
        print(
            f"  {name}: {seconds[name]:.4f} s a pass, {once:.3f} s with one, {more:.3f} s with "
            f"{1 + n_passes}; reaches {reached[name]:.9g}",
            flush=True,
        )
    return seconds


def own_mixture(X: Any, problem: MixtureProblem, **given: Any) -> Fit:
    """Return what fits a mixture to an array of NumPy's or of Dask's."""
    precisions = np.linalg.inv(problem.covariances)

    def fit(n_passes: int) -> float:
        mixture = GaussianMixture(
            len(problem.weights),
            weights_init=problem.weights,
            means_init=problem.means,
            precisions_init=precisions,
            max_iter=n_passes,
            tol=0.0,
            reg_covar=0.0,
            **given,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(X)
        fitted: Any = mixture
        return judge_mixture(problem.X, fitted.weights_, fitted.means_, fitted.covariances_)

    return fit


def _from_dask(module: str) -> Any:
    return import_from_extra(module, package="dask", extra="dask", purpose="this comparison")


@contextmanager
def cluster(n_workers: int) -> Iterator[Any]:
    """Start a scheduler and workers of one thread, and yield a client of theirs."""
    distributed = _from_dask("distributed")
    with (
        # A worker that is slow to start again stays wanted.
        _from_dask("dask").config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
            memory_limit=0,
        ) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


def persisted(client: Any, X: NDArray[Any], n_partitions: int) -> Any:
    """Return the rows as a Dask array that lies on the workers."""
    chunks = (-(-len(X) // n_partitions), X.shape[1])
    rows = client.persist(_from_dask("dask.array").from_array(X, chunks=chunks))
    client.gather(client.compute(rows[:: max(1, len(X) // 100)].sum()))
    return rows


def measure_passes(n_rows: int) -> list[Target]:
    """Compare passes on two workers of one thread each with those of two threads here."""
    case = Case("pass", "full", n_rows, 32, 32)
    problem = make_problem(case)
    with cluster(2) as client:
        rows = persisted(client, problem.X, 8)
        fits = {
            "two threads": own_mixture(problem.X, problem, n_jobs=2),
            "two workers": own_mixture(rows, problem),
        }
        seconds = seconds_of_passes(fits, 3)
    ratio = seconds["two workers"] / seconds["two threads"]
    subject = f"pass of {seconds['two threads']:.2f} s: 2 workers / 2 threads"
    return [Target(subject, 1.1, "x", at_least=False, measured=ratio)]


def measure_scheduling() -> list[Target]:
    """Measure what passes over many small partitions cost the scheduler and the client."""
    figures = {}
    for n_partitions in (500, 1000, 2000):
        problem = make_problem(Case("pass", "full", 50 * n_partitions, 4, 4))
        own_mixture(problem.X, problem)(1)  # which loads all libraries and compiled code
        loaded = process_peak_memory(os.getpid()) or 0
        with cluster(2) as client:
            rows = persisted(client, problem.X, n_partitions)
            fit = own_mixture(rows, problem)
            fit(20 if n_partitions == 1000 else 2)  # Dask keeps a log of 100,000 transitions
            used, memory = [], []
            for n_passes in (1, 6) * 4:
                began = time.process_time()  # of scheduler and client, which are in this process
                fit(n_passes)
                used.append(time.process_time() - began)
                memory.append((process_peak_memory(os.getpid()) or 0) - loaded)
            seconds = (min(used[1::2]) - min(used[::2])) / 5
            figures[n_partitions] = seconds, memory, loaded
            print(
                f"  {n_partitions} partitions: {seconds:.3f} s, {max(memory) / 1e6:.0f} MB beside "
                f"{loaded / 1e6:.0f} MB of libraries and rows",
                flush=True,
            )
    # over the whole range: neighboring figures swing with when Python collects garbage
    growth = figures[2000][0] / figures[500][0]
    _, memory, loaded = figures[1000]
    return [
        Target(
            "scheduler and client, 1000 partitions: time a pass",
            1.0,
            "s",
            at_least=False,
            measured=figures[1000][0],
        ),
        Target("the same, 2000 / 500 partitions", 4.4, "x", at_least=False, measured=growth),
        Target(
            "the same, 1000 partitions: memory beside that of a fit without a cluster",
            300.0,
            "MB",
            at_least=False,
            measured=max(memory) / 1e6,
        ),
        Target(
            "the same and all libraries, after 48 passes / after 21",
            1.05,
            "x",
            at_least=False,
            measured=(loaded + memory[-1]) / (loaded + memory[0]),
        ),
    ]


def measure_spark(n_rows: int) -> list[Target]:
    """Compare with the mixture of Spark's MLlib, which is given the same start."""
    if find_spec("pyspark") is None:
        return [Target("pass: Spark MLlib / fastgmm", 30.0, "x", at_least=True, measured=None)]
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.mllib.clustering import GaussianMixture as SparkMixture
    from pyspark.mllib.linalg import DenseMatrix, DenseVector
    from pyspark.mllib.stat.distribution import MultivariateGaussian
    from pyspark.sql import SparkSession

    problem = make_problem(Case("pass", "full", n_rows, 8, 16))
    session = SparkSession.builder.master("local[2]").config("spark.driver.memory", "8g")
    session = session.config("spark.ui.enabled", "false")
    spark = session.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    start = [
        MultivariateGaussian(
            DenseVector(mean), DenseMatrix(len(mean), len(mean), covariance.ravel().tolist())
        )
        for mean, covariance in zip(problem.means, problem.covariances, strict=True)
    ]
    given: Any = SimpleNamespace(k=len(start), weights=problem.weights.tolist(), gaussians=start)
    blocks = spark.sparkContext.parallelize(np.array_split(problem.X, 64), 2)
    rows = blocks.flatMap(lambda block: [DenseVector(row) for row in block]).cache()
    rows.count()

    def fit(n_passes: int) -> float:
        fitted = SparkMixture.train(
            rows, len(start), convergenceTol=0.0, maxIterations=n_passes, initialModel=given
        )
        means = np.array([each.mu.toArray() for each in fitted.gaussians])
        covariances = np.array([each.sigma.toArray() for each in fitted.gaussians])
        return judge_mixture(problem.X, np.asarray(fitted.weights), means, covariances)

    try:
        with cluster(2) as client:
            here = own_mixture(problem.X, problem, n_jobs=2)
            there = own_mixture(persisted(client, problem.X, 8), problem)
            fits = {"two threads": here, "two workers": there, "Spark MLlib, local[2]": fit}
            seconds = seconds_of_passes(fits, 4)
    finally:
        spark.stop()
    ratio = seconds["Spark MLlib, local[2]"] / seconds["two workers"]
    subject = "pass D=8, K=16: Spark MLlib local[2] / 2 workers"
    return [Target(subject, 30.0, "x", at_least=True, measured=ratio)]


def measure_kmeans(n_rows: int, python: str | None) -> list[Target]:
    """Compare with the k-means of dask-ml, in an environment of its own."""
    subject = f"iteration of k-means N={n_rows:,}, D=16, K=16: dask-ml / fastgmm"
    target = Target(subject, 5.0, "x", at_least=True, measured=None)
    problem = make_problem(Case("k-means", "diag", n_rows, 16, 16))
    with tempfile.TemporaryDirectory() as name:
        python = python or _environment_of_dask_ml(Path(name))
        if python is None:
            return [target]
        np.save(Path(name, "X.npy"), problem.X)
        np.save(Path(name, "centers.npy"), problem.means)
        program = Path(__file__).parent / "harness" / "dask_ml_kmeans.py"
        with (
            cluster(2) as client,
            subprocess.Popen(
                [python, program, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            answers = iter(process.stdout)
            rows = persisted(client, problem.X, 8)

            def here(n_passes: int) -> float:
                model = KMeans(
                    len(problem.means), init=problem.means, n_init=1, max_iter=n_passes, tol=0.0
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    fitted: Any = model.fit(rows)
                return judge_centers(problem.X, fitted.cluster_centers_)

            def there(n_passes: int) -> float:
                print(n_passes, file=process.stdin, flush=True)
                return judge_centers(problem.X, np.array(json.loads(next(answers))))

            seconds = seconds_of_passes({"2 workers": here, "dask-ml, 2 workers": there}, 5)
            process.stdin.close()
    ratio = seconds["dask-ml, 2 workers"] / seconds["2 workers"]
    return [replace(target, measured=ratio)]


def _environment_of_dask_ml(folder: Path) -> str | None:
    """Make an environment with dask-ml and return its interpreter; None if that fails."""
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    command = [python, "-m", "pip", "install", "--quiet", *DASK_ML]
    return python if subprocess.run(command, check=False).returncode == 0 else None


def measure_killed(n_killed: int, n_rows: int) -> list[Target]:
    """Kill a worker at a random moment of a fit, so many times, and compare the results."""
    moments = random.Random(0)
    problem = make_problem(Case("pass", "full", n_rows, 8, 8))
    same = 0
    with cluster(2) as client:
        fit = own_mixture(persisted(client, problem.X, 16), problem)
        expected, longest = fit(10), 0.0
        for number in range(n_killed):
            began = time.perf_counter()
            fit(10)
            longest = time.perf_counter() - began if not number else longest
            nanny = moments.choice(list(client.cluster.workers.values()))
            timer = threading.Timer(
                moments.uniform(0.0, longest), os.kill, (nanny.pid, signal.SIGKILL)
            )
            timer.start()
            same += fit(10) == expected
            timer.join()
            client.wait_for_workers(2)
    subject = f"fits with the same result, of {n_killed} in which a worker is killed"
    return [Target(subject, n_killed, "", at_least=True, measured=float(same))]


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
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the numbers of rows (default: 1)"
    )
    parser.add_argument("--killed", type=int, default=20, help="workers (default: %(default)s)")
    parser.add_argument(
        "--dask-ml", metavar="PYTHON", help="interpreter that has dask-ml (default: a new one)"
    )
    parser.add_argument("--only", nargs="+", choices=list(_MEASUREMENTS), help="(default: all)")
    options = parser.parse_args(arguments)
    targets = []
    for name in options.only or _MEASUREMENTS:
        print(name, flush=True)
        targets += _MEASUREMENTS[name](options)
    return report_targets(targets)


def _rows(options: argparse.Namespace, n_rows: int) -> int:
    return int(n_rows * options.scale)


_MEASUREMENTS: dict[str, Callable[[argparse.Namespace], list[Target]]] = {
    "passes": lambda options: measure_passes(_rows(options, 1_400_000)),
    "scheduling": lambda _: measure_scheduling(),
    "spark": lambda options: measure_spark(_rows(options, 1_000_000)),
    "kmeans": lambda options: measure_kmeans(_rows(options, 8_000_000), options.dask_ml),
    "killed": lambda options: measure_killed(options.killed, _rows(options, 1_000_000)),
}


if __name__ == "__main__":
    sys.exit(main())
