"""The passes that are timed: of EM, over scores, and of Lloyd's algorithm, from one start."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.bench.grid import Case
from fastgmm.bench.machine import Machine
from fastgmm.bench.mixture_problem import MixtureProblem, make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.blas_threads import one_blas_thread
from fastgmm.em.e_step.passes import log_density
from fastgmm.em.initialization.kmeans_passes import lloyd_statistics
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure

# Enough rows for several blocks, so that everything compiles and starts its threads.
WARM_UP_ROWS = 4_000


class Passes:
    """The passes of a case, and what the last of them led to."""

    def __init__(self, case: Case, problem: MixtureProblem) -> None:
        self._task = case.task
        self._source = ArraySource(problem.X)
        self._structure = structure(case.structure)
        self._regularization = Regularization.none(case.n_features)
        self._start = MixtureParameters.from_covariances(
            problem.weights, problem.means, problem.covariances
        )
        self._start_centers = problem.means
        self.parameters = self._start
        self.centers: NDArray[np.float64] = problem.means
        self.scores: NDArray[Any] = np.empty(0)

    def run(self, n_passes: int) -> None:
        """Run passes from the start."""
        if self._task == "scoring":
            for _ in range(n_passes):
                self.scores = log_density(self._source, self._start)
        elif self._task == "k-means":
            self.centers = self._start_centers
            for _ in range(n_passes):
                counts, sums, _ = lloyd_statistics(self._source, self.centers)
                self.centers = self.centers + sums / np.maximum(counts, 1.0)[:, None]
        else:
            self.parameters = self._start
            problem = EMProblem(self._source, self._structure, self._regularization)
            with one_blas_thread():
                for _ in range(n_passes):
                    found = problem.e_step(self.parameters)
                    self.parameters = problem.m_step(found, self.parameters)


@dataclass(frozen=True, slots=True)
class Row:
    """One case: the shortest and the median time of a pass, over repeats."""

    case: Case
    seconds: float
    median_seconds: float
    n_repeats: int

    @property
    def flops_per_second(self) -> float:
        """Useful operations a second."""
        return self.case.flops / self.seconds

    def share_of_peak(self, machine: Machine) -> float:
        """Return the share of the machine's multiply-add peak for the type of the data."""
        return self.flops_per_second / machine.peaks[self.case.dtype].all_threads


def measure_case(case: Case, seconds: float) -> Row:
    """Time the passes of a case for some time, once at least."""
    few = min(case.n_samples, WARM_UP_ROWS)
    Passes(replace(case, n_samples=few), make_problem(case, n_samples=few)).run(2)
    passes = Passes(case, make_problem(case))
    passes.run(1)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        passes.run(case.n_passes)
        times.append((time.perf_counter() - began) / case.n_passes)
    return Row(case, min(times), statistics.median(times), len(times))
