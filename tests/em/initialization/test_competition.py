"""The best of several starts, compared on a sample of the rows."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm import GaussianMixture
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import log_likelihood
from fastgmm.em.initialization.competition import (
    ROUND_ITERATIONS,
    Candidate,
    affordable_iterations,
    best_start,
    further_starts,
)
from fastgmm.em.initialization.methods import InitializationInfo, InitSettings, initialize
from fastgmm.em.problem import EMProblem
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.structures import structure


def overlapping(n_samples, n_components=8, seed=0):
    rng = np.random.default_rng(seed)
    means = 2.5 * rng.normal(size=(n_components, 3))
    factors = 0.7 * rng.normal(size=(n_components, 3, 3))
    chosen = rng.integers(n_components, size=n_samples)
    noise = rng.normal(size=(n_samples, 3))
    return means[chosen] + np.einsum("nij,nj->ni", factors[chosen], noise)


def problem_of(X, amount=1e-6):
    n_features = X.shape[1]
    regularization = Regularization(np.full(n_features, amount), np.zeros(n_features, dtype=bool))
    return EMProblem(ArraySource(X), structure("full"), regularization)


def settings(seed, method="kmeans"):
    return InitSettings(np.random.RandomState(seed), method, subsampled=True)


def test_starts_are_compared_for_no_longer_than_a_fit_takes():
    assert affordable_iterations(10_000_000, 25_000) == 8 * ROUND_ITERATIONS
    assert affordable_iterations(None, 25_000) == 8 * ROUND_ITERATIONS
    assert affordable_iterations(29_000, 25_000) == 0  # not even two starts
    assert affordable_iterations(50_000, 25_000) == 200  # 200 * 12,500 rows are 50 * 50,000


def came_to(n_passes, *objectives):
    none = InitializationInfo("kmeans", 0, subsampled=True)
    return [Candidate(none, None, (True, value), n_passes) for value in objectives]


def test_more_starts_are_tried_where_they_differ_and_cost_little():
    limit = 8 * ROUND_ITERATIONS
    assert further_starts(came_to(20, 1.0, 2.0, 3.0, 4.0), limit) == 4
    assert further_starts(came_to(55, *range(7)), limit) == 1  # eight at most
    assert further_starts(came_to(20, *range(8)), limit) == 0
    assert further_starts(came_to(5, *range(8)), limit) == 4  # sixteen where they converge at once
    assert further_starts(came_to(5, *range(14)), limit) == 2
    assert further_starts(came_to(5, *range(16)), limit) == 0
    assert further_starts(came_to(60, 1.0, 2.0, 3.0), 200) == 0


def test_no_more_starts_are_tried_where_three_lead_to_the_same():
    limit = 8 * ROUND_ITERATIONS
    assert further_starts(came_to(5, 4.0, 3.9995, 1.0, 3.9999), limit) == 0
    assert further_starts(came_to(5, 4.0, 3.0, 3.0, 3.0), limit) == 4  # not the highest
    degenerate = [each._replace(rank=(False, 9.0)) for each in came_to(5, 0.0)]
    assert further_starts([*came_to(5, 4.0, 4.0, 4.0), *degenerate], limit) == 0


def test_the_fewest_starts_are_compared_where_no_more_can_be_afforded():
    X = overlapping(20_000, n_components=2)
    _, info = best_start(problem_of(X), ArraySource(X), 2, settings(0), 100, n_iterations=1)
    assert info.n_candidates == 1


@pytest.mark.parametrize("method", ["kmeans", "k-means++", "random_from_data"])
def test_the_best_start_leaves_less_to_be_gained_than_any_other(method):
    X = overlapping(20_000)
    problem, sample = problem_of(X), ArraySource(X[::4])
    drawn = settings(0, method)
    others = [initialize(problem, sample, 8, drawn)[0] for _ in range(8)]
    best, info = best_start(problem, sample, 8, settings(0, method), 100, n_candidates=8)
    assert (info.method, info.n_rows, info.n_candidates) == (method, 5_000, 8)
    source = problem.source
    assert log_likelihood(source, best) > max(log_likelihood(source, each) for each in others)
    again, _ = best_start(problem, sample, 8, settings(0, method), 100, n_candidates=8)
    assert_array_equal(again.means, best.means)


def test_starts_that_a_few_rows_leave_singular_take_no_part():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(40, 3)), 100, axis=0)
    problem = problem_of(X, amount=0.0)
    sample = ArraySource(X[::20])
    best, info = best_start(problem, sample, 30, settings(0, "random"), 100, n_candidates=4)
    assert np.isfinite(best.means).all()
    assert info.n_candidates == 1


def fitted(X, **parameters):
    return GaussianMixture(8, random_state=0, **parameters).fit(X)


def test_a_fit_of_many_rows_begins_at_the_best_of_several_starts():
    X = overlapping(120_000)
    alone, compared = fitted(X, n_candidates=1), fitted(X)
    assert alone.fit_info_.initialization.n_candidates == 1
    assert compared.fit_info_.initialization.n_candidates >= 4
    assert compared.lower_bound_ > alone.lower_bound_ - 1e-3
    assert compared.n_iter_ < alone.n_iter_
    assert_array_equal(fitted(X, n_jobs=1).means_, compared.means_)
    assert fitted(X, n_candidates=2).fit_info_.initialization.n_candidates == 2


def test_few_rows_and_starts_that_say_more_are_not_compared():
    X = overlapping(30_000)
    labels = np.where(np.arange(len(X)) < 100, 0, -1)
    for few in (
        fitted(X[:20_000], n_candidates=8),
        fitted(X, n_candidates=8, means_init=X[:8]),
        fitted(X, n_candidates=8, init_params="hierarchical"),
        GaussianMixture(8, semi_supervised=True, n_candidates=8, random_state=0).fit(X, labels),
    ):
        assert few.fit_info_.initialization.n_candidates == 1
