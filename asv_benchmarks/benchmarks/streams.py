"""Rows that are not in memory, and online EM: passes over files, batches, epochs."""

import tempfile
import warnings
from pathlib import Path

import numpy as np

from fastgmm import GaussianMixture, MiniBatchGaussianMixture, open_data
from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.data.table_output import write_table
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.mixture.parameters import MixtureParameters

from .sizes import SLOW, rows

CASES = {
    "reading": Case("pass", "full", rows(2_000_000), 4, 2),
    "arithmetic": Case("pass", "full", rows(500_000), 16, 64),
}
"""By what takes the time of a pass over files."""

_N_FILES = 4


def _write(case, folder):
    """Write a problem's rows to Parquet files, and return the problem."""
    problem = make_problem(case)
    for number, part in enumerate(np.array_split(problem.X, _N_FILES)):
        columns = {f"x{j}": part[:, j] for j in range(case.n_features)}
        write_table(Path(folder, f"part-{number}.parquet"), columns)
    return problem


def _open(case, folder):
    """Open the files with a budget of an eighth of their rows, which are thus never kept."""
    return open_data(folder, memory_budget=case.n_samples * case.n_features)


class Passes:
    """Passes over files that are decoded each time."""

    params = (list(CASES),)
    param_names = ("case",)
    timeout = 600

    def setup(self, name):
        case = CASES[name]
        self.folder = tempfile.TemporaryDirectory(prefix="fastgmm-asv-")
        problem = _write(case, self.folder.name)
        self.source = _open(case, self.folder.name)
        self.start = MixtureParameters.from_covariances(
            problem.weights, problem.means, problem.covariances
        )
        mixture_statistics(ArraySource(problem.X[: 4 * case.n_components]), self.start)

    def teardown(self, name):
        del name
        self.folder.cleanup()

    def time_pass(self, name):
        del name
        mixture_statistics(self.source, self.start)


class Memory:
    """Peak memory of a process that fits files which another process has written."""

    timeout = 600
    case = CASES["reading"]

    def setup_cache(self):
        # asv runs this once, and the benchmark afterwards in the same folder.
        _write(self.case, ".")

    def peakmem_fit(self):
        mixture = GaussianMixture(self.case.n_components, tol=0.0, max_iter=2, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two iterations are not enough to converge
            mixture.fit(_open(self.case, "*.parquet"))


class Online:
    """A batch of a stream; one epoch over rows in memory, and what it reaches."""

    timeout = 600
    number, repeat, warmup_time = SLOW["number"], SLOW["repeat"], SLOW["warmup_time"]

    def setup(self):
        self.X = make_problem(Case("fit", "full", rows(1_000_000), 8, 16)).X
        self.batch = self.X[: rows(50_000)].copy()
        self.mixture = GaussianMixture(16, random_state=0)
        # The first begins the mixture, the second compiles the step.
        self.mixture.partial_fit(self.X[:10_000]).partial_fit(self.batch)

    def epoch(self):
        return MiniBatchGaussianMixture(16, max_epochs=1, random_state=0).fit(self.X)

    def time_partial_fit(self):
        self.mixture.partial_fit(self.batch)

    def time_epoch(self):
        self.epoch()

    def track_log_likelihood(self):
        return self.epoch().score(self.X)

    track_log_likelihood.unit = "nats a row"
