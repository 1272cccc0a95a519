"""What a fresh process pays once: importing, compiling, loading compiled code."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
    """

    import_sklearn_mixture: float
    import_fastgmm: float
    import_estimator: float
    first_fit_cold: float
    first_fit_warm: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def import_seconds(
    statements: Sequence[str], environment: Mapping[str, str], *, n_repeats: int
) -> list[float]:
    """Return the shortest times that fresh processes take over imports."""
    scripts = [_IMPORT.format(statement=statement) for statement in statements]
    rounds = [[_run(script, environment) for script in scripts] for _ in range(n_repeats)]
    return [min(times) for times in zip(*rounds, strict=True)]


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
    return Startup(sklearn_mixture, fastgmm, estimator, cold, warm)


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
