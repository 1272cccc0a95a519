"""Optimal transport between Gaussians and mixtures, against closed forms."""

import itertools

import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_allclose

from fastgmm.analysis.bootstrap import DrawnSource
from fastgmm.analysis.transport import squared_distances, transport
from fastgmm.mixture.parameters import MixtureParameters
from tests.incomplete_rows import mixture, parameters_of


@pytest.mark.parametrize(
    ("diagonal", "other_diagonal"), list(itertools.product([False, True], repeat=2))
)
def test_gaussians_have_a_closed_form(diagonal, other_diagonal):
    p, q = mixture(3, 2, diagonal=diagonal), mixture(3, 4, diagonal=other_diagonal, seed=1)
    found = squared_distances(
        parameters_of(*p, diagonal=diagonal), parameters_of(*q, diagonal=other_diagonal)
    )
    for a, b in itertools.product(range(2), range(4)):
        root = scipy.linalg.sqrtm(p[2][a])
        between = scipy.linalg.sqrtm(root @ q[2][b] @ root).real
        expected = ((p[1][a] - q[1][b]) ** 2).sum() + np.trace(p[2][a] + q[2][b] - 2.0 * between)
        assert_allclose(found[a, b], expected, rtol=1e-10)


def test_near_components_keep_their_digits():
    p = parameters_of(*mixture(4, 2))
    assert np.diag(squared_distances(p, p)).max() < 1e-28
    wider = MixtureParameters.from_whiteners(p.weights, p.means, p.whiteners / (1.0 + 1e-9))
    traces = np.trace(p.covariances(), axis1=1, axis2=2)
    assert_allclose(np.diag(squared_distances(p, wider)), 1e-18 * traces, rtol=1e-5)


@pytest.mark.parametrize("diagonal", [False, True])
def test_plan_and_distance(diagonal):
    p, q = (
        parameters_of(*mixture(2, K, diagonal=diagonal, seed=K), diagonal=diagonal) for K in (3, 4)
    )
    distance, plan = transport(p, q)
    assert_allclose(plan.sum(axis=1), p.weights, atol=1e-12)
    assert_allclose(plan.sum(axis=0), q.weights, atol=1e-12)
    assert (plan >= 0.0).all()
    costs = squared_distances(p, q)
    assert_allclose(distance**2, (plan * costs).sum(), rtol=1e-12)
    assert distance**2 < p.weights @ costs @ q.weights
    # an optimal plan has as many entries as a basis of the sums, at most
    assert np.count_nonzero(plan > 1e-12) <= 3 + 4 - 1
    assert_allclose(transport(q, p).distance, distance, rtol=1e-9)


def test_it_is_a_distance():
    p, q, r = (parameters_of(*mixture(2, 3, seed=seed)) for seed in range(3))
    assert transport(p, p).distance < 1e-10
    lengths = [transport(*each).distance for each in ((p, q), (q, r), (p, r))]
    assert lengths[2] <= lengths[0] + lengths[1]


def test_moving_a_mixture_costs_how_far_it_is_moved():
    weights, means, covariances = mixture(3, 4)
    there = means + np.array([3.0, 0.0, 4.0])
    p = parameters_of(weights, means, covariances)
    moved = parameters_of(weights, there, covariances)
    assert_allclose(transport(p, moved).distance, 5.0, rtol=1e-9)
    tiny = parameters_of(weights, 1e-9 * means, 1e-18 * covariances)
    tiny_moved = parameters_of(weights, 1e-9 * there, 1e-18 * covariances)
    assert_allclose(transport(tiny, tiny_moved).distance, 5e-9, rtol=1e-6)


def test_it_is_no_shorter_than_any_transport():
    p, q = (parameters_of(*mixture(1, 2, seed=seed)) for seed in (1, 2))
    drawn = [
        np.sort(DrawnSource(each, 100_000, np.float64, 0, 1).held().X[:, 0]) for each in (p, q)
    ]
    shortest = np.sqrt(np.mean((drawn[0] - drawn[1]) ** 2))
    assert shortest < transport(p, q).distance + 0.02


def test_components_without_weight_are_not_moved():
    p = parameters_of(*mixture(2, 2))
    _, means, covariances = mixture(2, 3, seed=1)
    q = parameters_of(np.array([0.4, 0.6, 0.0]), means, covariances)
    _, plan = transport(p, q)
    assert_allclose(plan[:, 2], 0.0, atol=1e-12)
