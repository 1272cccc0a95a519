"""Variational Bayes: iterations, whole fits, and batches of a stream."""

import warnings

import numpy as np

from fastgmm import BayesianGaussianMixture
from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem

from .sizes import SLOW, rows

STRUCTURES = ("full", "diag")
MAX_ITER = 100


def _fitted(mixture, X):
    with warnings.catch_warnings():
        # How a fit ends is tracked here, whatever it warns of.
        warnings.simplefilter("ignore")
        return mixture.fit(X)


class Iterations:
    """Iterations from a posterior of rows that are as many."""

    params = (list(STRUCTURES),)
    param_names = ("structure",)
    timeout = 600
    n_iterations = 10

    def setup(self, structure):
        self.X = make_problem(Case("fit", structure, rows(1_000_000), 8, 16)).X
        start = BayesianGaussianMixture(
            16, covariance_type=structure, max_iter=2, tol=0.0, random_state=0
        )
        self.mixture = _fitted(start, self.X)
        self.mixture.set_params(warm_start=True, max_iter=self.n_iterations)

    def time_iterations(self, structure):
        del structure
        _fitted(self.mixture, self.X)


class ToTolerance:
    """A fit with more components than there are, until rows gain next to nothing."""

    timeout = 600
    number, repeat, warmup_time = SLOW["number"], SLOW["repeat"], SLOW["warmup_time"]

    def setup(self):
        case = Case("fit", "full", rows(200_000), 4, 8, overlap="separated")
        self.X = make_problem(case).X
        self.fit(self.X[:1_000])

    def fit(self, X):
        mixture = BayesianGaussianMixture(
            16, tol=1e-5 * len(X), max_iter=MAX_ITER, weight_concentration_prior=1e-2
        )
        return _fitted(mixture.set_params(random_state=0), X)

    def time_fit(self):
        self.fit(self.X)

    def track_lower_bound(self):
        return self.fit(self.X).lower_bound_ / len(self.X)

    track_lower_bound.unit = "nats a row"

    def track_components(self):
        return int(np.count_nonzero(self.fit(self.X).weights_ > 1e-3))

    track_components.unit = "components"


class Online:
    """A batch of a stream."""

    timeout = 600

    def setup(self):
        X = make_problem(Case("fit", "full", rows(100_000), 8, 16)).X
        self.batch = X[: rows(50_000)].copy()
        self.mixture = BayesianGaussianMixture(16, random_state=0)
        # The first begins the mixture, the second compiles the step.
        self.mixture.partial_fit(X).partial_fit(self.batch)

    def time_partial_fit(self):
        self.mixture.partial_fit(self.batch)
