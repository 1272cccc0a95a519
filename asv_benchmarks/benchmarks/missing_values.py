"""Rows that lack values: passes over them, and filling in."""

import numpy as np

from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics
from fastgmm.em.missing.imputation import impute_blocks
from fastgmm.mixture.parameters import MixtureParameters
from harness.memory import peak_memory
from harness.missing_patterns import few_patterns, scattered

from .sizes import rows

HOLES = {
    "none": lambda X: X,
    "20 patterns": lambda X: few_patterns(X, 0.1, 20),
    "any": lambda X: scattered(X, 0.1),
}


class Passes:
    """A pass over rows of few features, and of many, where nearly each has a pattern of its own."""

    params = (list(HOLES), ["8x16", "25x8"], ["full", "diag"])
    param_names = ("holes", "size", "structure")
    timeout = 600

    def setup(self, holes, size, structure):
        n_features, n_components = map(int, size.split("x"))
        case = Case("pass", structure, rows(500_000), n_features, n_components)
        problem = make_problem(case)
        self.parameters = MixtureParameters.from_covariances(
            problem.weights, problem.means, problem.covariances
        )
        X = HOLES[holes](problem.X)
        self.source = ArraySource(X, incomplete=bool(np.isnan(X).any()))
        few = ArraySource(X[:5_000], incomplete=self.source.incomplete)
        mixture_statistics(few, self.parameters)

    def run(self):
        return mixture_statistics(self.source, self.parameters)

    def time_pass(self, holes, size, structure):
        del holes, size, structure
        self.run()

    def track_bytes_above_the_data(self, holes, size, structure):
        del holes, size, structure
        return peak_memory(self.run).n_bytes

    track_bytes_above_the_data.unit = "bytes"

    def track_log_likelihood(self, holes, size, structure):
        del holes, size, structure
        return self.run().mean_log_likelihood

    track_log_likelihood.unit = "nats a row"


class FillingIn:
    """What is missing, by expected values or by draws."""

    params = ([None, 3],)
    param_names = ("draws",)
    timeout = 600

    def setup(self, draws):
        problem = make_problem(Case("pass", "full", rows(200_000), 8, 16))
        self.parameters = MixtureParameters.from_covariances(
            problem.weights, problem.means, problem.covariances
        )
        self.source = ArraySource(scattered(problem.X, 0.1), incomplete=True)
        self.fill_in(ArraySource(self.source.X[:1_000], incomplete=True), draws)

    def fill_in(self, source, draws):
        for _ in impute_blocks(source, self.parameters, n_draws=draws):
            pass

    def time_filling_in(self, draws):
        self.fill_in(self.source, draws)
