"""One pass of EM: E-step, moments and M-step, a fixed number of times from a fixed start."""

import numpy as np

from fastgmm.bench.mixture_problem import make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure
from fastgmm.mixture.student import StudentParameters
from harness.memory import peak_memory

from .sizes import N_THREADS, PASSES, THREADS


class _Passes:
    """Data, start and compiled kernels."""

    timeout = 600

    def setup(self, name, n_threads=N_THREADS):
        case = PASSES[name]
        problem = make_problem(case)
        self.n_threads = n_threads
        self.n_passes = case.n_passes
        self.source = ArraySource(problem.X)
        self.structure = structure(case.structure)
        self.regularization = Regularization.none(case.n_features)
        self.start = MixtureParameters.from_covariances(
            problem.weights, problem.means, problem.covariances
        )
        # Compiles, or loads what was compiled, without touching the data.
        few = ArraySource(problem.X[: 4 * case.n_components])
        mixture_statistics(few, self.start, n_jobs=n_threads)

    def run(self):
        parameters = self.start
        for _ in range(self.n_passes):
            statistics = mixture_statistics(self.source, parameters, n_jobs=self.n_threads)
            parameters = self.structure.solve(statistics, self.regularization)
        return statistics


class Time(_Passes):
    """Seconds for the passes of a case, with one thread and with all."""

    params = (list(PASSES), THREADS)
    param_names = ("case", "threads")

    def time_passes(self, name, n_threads):
        del name, n_threads
        self.run()


class Student(_Passes):
    """Seconds for the passes of a case at t-distributions, with one thread and with all."""

    params = (list(PASSES), THREADS)
    param_names = ("case", "threads")

    def setup(self, name, n_threads=N_THREADS):
        super().setup(name, n_threads)
        dofs = np.full(PASSES[name].n_components, 5.0)
        self.start = StudentParameters.from_gaussians(self.start, dofs)
        few = ArraySource(self.source.X[: 4 * len(dofs)])
        mixture_statistics(few, self.start, n_jobs=n_threads)

    def time_passes(self, name, n_threads):
        del name
        for _ in range(self.n_passes):
            mixture_statistics(self.source, self.start, n_jobs=n_threads)


class Memory(_Passes):
    """Peak memory, of the process and above the data."""

    params = (list(PASSES),)
    param_names = ("case",)

    def peakmem_passes(self, name):
        del name
        self.run()

    def track_bytes_above_the_data(self, name):
        del name
        return peak_memory(self.run).n_bytes

    track_bytes_above_the_data.unit = "bytes"


class Quality(_Passes):
    """What the passes lead to: it must not change when they become faster."""

    params = (list(PASSES),)
    param_names = ("case",)

    def track_log_likelihood(self, name):
        del name
        statistics = self.run()
        return statistics.log_likelihood / statistics.weight

    track_log_likelihood.unit = "nats a row"
