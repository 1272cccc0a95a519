"""Each pass over a source, on one thread and on all.

Not part of the test suite. To run them:  pytest tests/benchmarks/bench_*.py
"""

import numba
import numpy as np
import pytest

from fastgmm.bench.grid import Case
from fastgmm.bench.mixture_problem import make_problem
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.em.initialization import kmeans_passes
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure

SIZES = [(100_000, 2, 8), (100_000, 8, 16), (20_000, 32, 32)]

by_threads = pytest.mark.parametrize("n_jobs", sorted({1, numba.get_num_threads()}))
by_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])
by_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
by_structure = pytest.mark.parametrize("kind", ["full", "diag"])


def source_and_start(size, kind="full", dtype="float64"):
    problem = make_problem(Case("pass", kind, *size, dtype=dtype))
    start = MixtureParameters.from_covariances(problem.weights, problem.means, problem.covariances)
    return ArraySource(problem.X), start


@by_threads
@by_dtype
@by_structure
@by_size
def test_mixture_statistics(benchmark, size, kind, dtype, n_jobs):
    source, start = source_and_start(size, kind, dtype)
    benchmark(passes.mixture_statistics, source, start, n_jobs=n_jobs)


@pytest.mark.parametrize("pooled", [False, True])
@by_dtype
@pytest.mark.parametrize(
    "size", [*SIZES, (100_000, 16, 16)], ids=lambda size: "x".join(map(str, size))
)
def test_one_common_covariance(benchmark, size, dtype, pooled):
    source, start = source_and_start(size, dtype=dtype)
    covariances = np.repeat(start.covariances()[:1], start.n_components, axis=0)
    start = MixtureParameters.from_covariances(start.weights, start.means, covariances)
    benchmark(passes.mixture_statistics, source, start, pooled=pooled)


@by_size
def test_weighted_rows(benchmark, size):
    source, start = source_and_start(size)
    benchmark(passes.mixture_statistics, ArraySource(source.X, np.ones(len(source.X))), start)


@pytest.mark.parametrize("layout", ["Fortran order", "every other column"])
def test_other_layouts(benchmark, layout):
    source, start = source_and_start((100_000, 8, 16))
    X = np.asfortranarray(source.X) if layout == "Fortran order" else source.X.repeat(2, 1)[:, ::2]
    benchmark(passes.mixture_statistics, ArraySource(X), start)


@by_dtype
@by_structure
@pytest.mark.parametrize(
    "evaluate",
    [passes.log_likelihood, passes.log_density, passes.responsibilities, passes.labels],
    ids=lambda function: function.__name__,
)
def test_evaluations(benchmark, evaluate, kind, dtype):
    source, start = source_and_start((100_000, 8, 16), kind, dtype)
    benchmark(evaluate, source, start)


@by_structure
def test_labeled_statistics(benchmark, kind):
    source, _ = source_and_start((100_000, 8, 16))
    labels = np.arange(source.n_samples) % 16
    benchmark(passes.labeled_statistics, source, labels, 16, diagonal=kind == "diag")


@by_structure
def test_responsibility_statistics(benchmark, kind):
    source, start = source_and_start((100_000, 8, 16))
    shares = passes.responsibilities(source, start)
    benchmark(passes.responsibility_statistics, source, shares, diagonal=kind == "diag")


@by_dtype
@by_size
@pytest.mark.parametrize(
    "evaluate",
    [kmeans_passes.lloyd_statistics, kmeans_passes.nearest_centers],
    ids=lambda function: function.__name__,
)
def test_centers(benchmark, evaluate, size, dtype):
    source, start = source_and_start(size, dtype=dtype)
    benchmark(evaluate, source, start.means)


@by_dtype
def test_kmeans_plus_plus(benchmark, dtype):
    source, _ = source_and_start((100_000, 8, 16), dtype=dtype)
    benchmark(lambda: kmeans_passes.kmeans_plus_plus(source, 16, np.random.RandomState(0)))


@pytest.mark.parametrize("name", ["full", "tied", "diag", "spherical"])
def test_solve(benchmark, name):
    solving = structure(name)
    source, start = source_and_start((5_000, 64, 32), "diag" if solving.is_diagonal else "full")
    statistics = passes.mixture_statistics(source, start)
    benchmark(solving.solve, statistics, Regularization.none(64))
