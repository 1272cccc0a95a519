"""Whole fits: to the tolerance, and the search for a start."""

import warnings

from fastgmm import GaussianMixture
from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem

from .sizes import N_THREADS, SLOW, rows

OVERLAPS = ("overlapping", "separated")
STARTS = ("kmeans", "k-means++", "random", "random_from_data")
MAX_ITER = 200


def _mixture(**parameters):
    return GaussianMixture(16, random_state=0, **parameters)


def _fitted(mixture, X):
    with warnings.catch_warnings():
        # How a fit ends is tracked here, whatever it warns of.
        warnings.simplefilter("ignore")
        return mixture.fit(X)


class _Data:
    """Data of 8 features from 16 components, and compiled kernels."""

    timeout = 600
    n_samples = rows(500_000)

    def setup(self, variant=OVERLAPS[0]):
        overlap = variant if variant in OVERLAPS else OVERLAPS[0]
        self.X = make_problem(Case("fit", "full", self.n_samples, 8, 16, overlap=overlap)).X
        init = variant if variant in STARTS else STARTS[0]
        _fitted(_mixture(init_params=init, max_iter=1), self.X[:1_000])


class ToTolerance(_Data):
    """A fit with scikit-learn's default tolerance, and what it reaches."""

    params = (list(OVERLAPS),)
    param_names = ("data",)
    number, repeat, warmup_time = SLOW["number"], SLOW["repeat"], SLOW["warmup_time"]

    def time_fit(self, overlap):
        del overlap
        _fitted(_mixture(max_iter=MAX_ITER), self.X)

    def track_log_likelihood(self, overlap):
        del overlap
        return _fitted(_mixture(max_iter=MAX_ITER), self.X).lower_bound_

    track_log_likelihood.unit = "nats a row"

    def track_passes(self, overlap):
        del overlap
        return _fitted(_mixture(max_iter=MAX_ITER), self.X).n_iter_

    track_passes.unit = "passes"


class Memory(_Data):
    """Peak memory of a process that fits."""

    def peakmem_fit(self):
        _fitted(_mixture(max_iter=2), self.X)


class Initialization(_Data):
    """A start, one pass and the score of its result."""

    params = (list(STARTS),)
    param_names = ("start",)
    number, repeat, warmup_time = SLOW["number"], SLOW["repeat"], SLOW["warmup_time"]

    def time_start(self, start):
        _fitted(_mixture(init_params=start, max_iter=1), self.X)


def track_threads():
    """Return how many threads all of these figures are for, unless they say otherwise."""
    return N_THREADS


track_threads.unit = "threads"
