"""What a fresh process pays once: importing, compiling, loading compiled code.

The import of the estimator is compared with that of scikit-learn's mixtures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastgmm.bench.report import duration
from harness.targets import Target, report_targets
from harness.throughput import environment_at_best

_IMPORT = """
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""

_FIRST_FIT = """
import time
import numpy as np
from fastgmm import GaussianMixture
X = np.random.default_rng(0).normal(size=(20_000, 8))
start = time.perf_counter()
GaussianMixture(4, random_state=0).fit(X)
print(time.perf_counter() - start)
"""


_WRONG = (
    "fit nope.csv -k 2",
    "fit nope.csv --wrong",
    "info bad.fgm",
    "predict bad.fgm -m bad.fgm",
)
"""A file that is not there, an option that does not exist, and a model that is none."""


class StartupError(Exception):
    """A process that measures imports or first fits failed."""


@dataclass(frozen=True, slots=True)
class Startup:
    """Seconds, each measured in processes of its own; the best of several but for the cold fit.

    Attributes
    ----------
    import_sklearn_mixture : float
        ``import sklearn.mixture``, the yardstick.
    import_fastgmm : float
        ``import fastgmm``, which puts off what it can.
    import_estimator : float
        ``from fastgmm import GaussianMixture``, which no longer can.
    first_fit_cold, first_fit_warm : float
        The first fit of 20,000 rows of 8 features with 4 components, defaults otherwise, with an
        empty numba cache and with one filled by an earlier process. Imports are not included.
    wrong_command : float
        The slowest of the commands `_WRONG`, the whole process.
    """

    import_sklearn_mixture: float
    import_fastgmm: float
    import_estimator: float
    first_fit_cold: float
    first_fit_warm: float
    wrong_command: float

    def targets(self) -> tuple[Target, ...]:
        """Return the targets beside what was measured."""
        cold, warm = self.first_fit_cold, self.first_fit_warm
        beyond = self.import_estimator - self.import_sklearn_mixture
        return (
            Target("first fit in a process, empty numba cache", 6.0, "s", False, cold),
            Target("first fit in a process, filled numba cache", 0.5, "s", False, warm),
            Target("fastgmm with something wrong", 0.35, "s", False, self.wrong_command),
            Target(
                "import of the estimator, beyond that of sklearn.mixture", 0.3, "s", False, beyond
            ),
        )


def import_seconds(
    statements: Sequence[str], environment: Mapping[str, str], *, n_repeats: int
) -> list[float]:
    """Return the shortest times that fresh processes take over imports."""
    scripts = [_IMPORT.format(statement=statement) for statement in statements]
    rounds = [[_run(script, environment) for script in scripts] for _ in range(n_repeats)]
    return [min(times) for times in zip(*rounds, strict=True)]


def command_seconds(arguments: str, environment: Mapping[str, str], *, n_repeats: int) -> float:
    """Return the shortest time that a command takes which ends before anything is fitted."""
    command = [sys.executable, "-m", "fastgmm", *arguments.split()]
    times = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bad.fgm").write_bytes(b"no model")
        for _ in range(n_repeats):
            began = time.perf_counter()
            subprocess.run(
                command, cwd=folder, env=dict(environment), capture_output=True, check=False
            )
            times.append(time.perf_counter() - began)
    return min(times)


def first_fit_seconds(environment: Mapping[str, str], *, n_repeats: int) -> tuple[float, float]:
    """Time the first fit of a process, with an empty numba cache and then with a filled one."""
    with tempfile.TemporaryDirectory() as folder:
        own_cache = {**environment, "NUMBA_CACHE_DIR": folder}
        cold = _run(_FIRST_FIT, own_cache)
        return cold, min(_run(_FIRST_FIT, own_cache) for _ in range(n_repeats))


def measure_startup(environment: Mapping[str, str], *, n_repeats: int = 5) -> Startup:
    """Measure imports and first fits in fresh processes."""
    cold, warm = first_fit_seconds(environment, n_repeats=n_repeats)
    sklearn_mixture, fastgmm, estimator = import_seconds(
        ("import sklearn.mixture", "import fastgmm", "from fastgmm import GaussianMixture"),
        environment,
        n_repeats=n_repeats,
    )
    wrong = max(command_seconds(each, environment, n_repeats=n_repeats) for each in _WRONG)
    return Startup(sklearn_mixture, fastgmm, estimator, cold, warm, wrong)


def _run(script: str, environment: Mapping[str, str]) -> float:
    finished = subprocess.run(
        [sys.executable, "-c", script],
        env=dict(environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if finished.returncode != 0:
        lines = finished.stderr.strip().splitlines() or ["it wrote nothing"]
        raise StartupError(
            f"a process that measures start-up ended with code {finished.returncode}: {lines[-1]}"
        )
    return float(finished.stdout)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--processes", type=int, default=5, help="for each figure (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    environment, _ = environment_at_best(os.environ)
    try:
        found = measure_startup(environment, n_repeats=options.processes)
    except StartupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for subject, seconds in (
        ("import sklearn.mixture", found.import_sklearn_mixture),
        ("import fastgmm", found.import_fastgmm),
        ("from fastgmm import GaussianMixture", found.import_estimator),
        ("first fit, empty numba cache", found.first_fit_cold),
        ("first fit, filled numba cache", found.first_fit_warm),
        ("fastgmm with something wrong", found.wrong_command),
    ):
        print(f"{subject:<36}{duration(seconds):>10}")
    return report_targets(found.targets())


if __name__ == "__main__":
    sys.exit(main())
