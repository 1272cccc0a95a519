"""k-means: a fixed number of Lloyd's passes, seeding, and a fit to the tolerance."""

import numpy as np

from fastgmm import KMeans
from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.initialization.kmeans_passes import kmeans_plus_plus, lloyd_statistics

from .sizes import SLOW, THREADS, rows


class Lloyd:
    """Passes from a fixed start."""

    params = (["float64", "float32"], THREADS)
    param_names = ("dtype", "threads")
    timeout = 600

    def setup(self, dtype, n_threads):
        del n_threads
        case = Case("k-means", "diag", rows(1_000_000), 8, 16, dtype=dtype)
        problem = make_problem(case)
        self.n_passes = case.n_passes
        self.source = ArraySource(problem.X)
        self.start = problem.means
        lloyd_statistics(ArraySource(problem.X[:1_000]), self.start)

    def time_passes(self, dtype, n_threads):
        del dtype
        centers = self.start
        for _ in range(self.n_passes):
            counts, sums, _ = lloyd_statistics(self.source, centers, n_jobs=n_threads)
            centers = centers + sums / np.maximum(counts, 1.0)[:, None]


class Fit:
    """Seeding and a fit."""

    timeout = 600
    number, repeat, warmup_time = SLOW["number"], SLOW["repeat"], SLOW["warmup_time"]

    def setup(self):
        self.X = make_problem(Case("k-means", "diag", rows(500_000), 8, 16)).X
        self.estimator().fit(self.X[:1_000])

    def estimator(self):
        return KMeans(16, n_init=1, random_state=0)

    def time_fit(self):
        self.estimator().fit(self.X)

    def time_seeding(self):
        kmeans_plus_plus(ArraySource(self.X), 16, np.random.RandomState(0))

    def peakmem_fit(self):
        self.estimator().fit(self.X)

    def track_inertia(self):
        return self.estimator().fit(self.X).inertia_ / len(self.X)

    track_inertia.unit = "mean squared distance"
