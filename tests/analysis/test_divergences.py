"""Divergences between Gaussians and mixtures, against closed forms and each other."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.analysis.divergences import (
    approximated_divergence,
    estimated_divergence,
    gaussian_divergences,
)
from fastgmm.mixture.parameters import MixtureParameters
from tests.incomplete_rows import mixture, parameters_of


def plain_divergence(mean, covariance, other_mean, other_covariance):
    precision, offset = np.linalg.inv(other_covariance), other_mean - mean
    log_determinants = np.linalg.slogdet(other_covariance)[1] - np.linalg.slogdet(covariance)[1]
    squares = offset @ precision @ offset
    return 0.5 * (log_determinants + np.trace(precision @ covariance) + squares - len(mean))


def pair(K=3, L=3, D=2, separation=2.0, seed=0):
    return (
        parameters_of(*mixture(D, K, separation=separation, seed=seed)),
        parameters_of(*mixture(D, L, separation=separation, seed=seed + 100)),
    )


@pytest.mark.parametrize(
    ("diagonal", "other_diagonal"), list(itertools.product([False, True], repeat=2))
)
def test_gaussians_have_a_closed_form(diagonal, other_diagonal):
    p, q = mixture(3, 2, diagonal=diagonal), mixture(3, 4, diagonal=other_diagonal, seed=1)
    found = gaussian_divergences(
        parameters_of(*p, diagonal=diagonal), parameters_of(*q, diagonal=other_diagonal)
    )
    for a, b in itertools.product(range(2), range(4)):
        expected = plain_divergence(p[1][a], p[2][a], q[1][b], q[2][b])
        assert_allclose(found[a, b], expected, rtol=1e-10)


def test_a_gaussian_does_not_diverge_from_itself():
    p, _ = pair(D=5)
    divergences = gaussian_divergences(p, p)
    assert_allclose(np.diag(divergences), 0.0, atol=1e-13)
    assert (divergences >= 0.0).all()


@pytest.mark.parametrize("diagonal", [False, True])
def test_draws_estimate_the_closed_form(diagonal):
    p = parameters_of(*mixture(3, 1, diagonal=diagonal), diagonal=diagonal)
    q = parameters_of(*mixture(3, 1, diagonal=diagonal, seed=1), diagonal=diagonal)
    exact = gaussian_divergences(p, q)[0, 0]
    errors = []
    for seed in range(20):
        value, error = estimated_divergence(p, q, n_draws=3000, seed=seed)
        errors.append((value - exact) / error)
    assert np.abs(errors).max() < 4.0
    assert 0.5 < np.std(errors) < 1.6  # the standard error is neither too small nor too large


def test_mixtures_that_hardly_overlap_have_an_estimate_too():
    p, q = pair(separation=300.0)
    value, error = estimated_divergence(p, q, n_draws=200_000, seed=0)
    assert error < 0.05 * value
    assert estimated_divergence(p, p, n_draws=1000, seed=0) == (0.0, 0.0)


@pytest.mark.parametrize("separation", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("sizes", [(3, 3), (2, 5), (4, 2)])
def test_bounds_are_above_the_divergence(sizes, separation):
    p, q = pair(*sizes, separation=separation)
    value, error = estimated_divergence(p, q, n_draws=50_000, seed=0)
    found = approximated_divergence(p, q)
    assert found.variational_upper_bound > value - 4.0 * error
    assert found.variational_upper_bound <= found.matched_upper_bound + 1e-6
    assert np.isinf(found.matched_upper_bound) == (sizes[0] > sizes[1])
    convexity = p.weights @ gaussian_divergences(p, q) @ q.weights
    assert found.variational_upper_bound <= convexity + 1e-12
    assert found.matched_approximation <= found.matched_upper_bound + 1e-12
    scale = max(value, 0.1)
    assert abs(found.variational_approximation - value) < scale


def test_one_component_leaves_nothing_to_approximate():
    p, q = pair(1, 1)
    exact = gaussian_divergences(p, q)[0, 0]
    found = approximated_divergence(p, q)
    for value in (
        found.variational_upper_bound,
        found.matched_upper_bound,
        found.variational_approximation,
        found.matched_approximation,
    ):
        assert_allclose(value, exact, rtol=1e-12)


def test_equal_mixtures_in_another_order():
    p, _ = pair(4)
    turned = MixtureParameters.from_whiteners(
        p.weights[::-1], p.means[::-1], np.ascontiguousarray(p.whiteners[::-1])
    )
    found = approximated_divergence(p, turned)
    assert_allclose(found.matched_upper_bound, 0.0, atol=1e-12)
    assert_allclose(found.variational_approximation, 0.0, atol=1e-12)
    assert_allclose(found.variational_upper_bound, 0.0, atol=1e-6)


def test_the_best_matching_is_found():
    p, q = pair(4, 4)
    divergences = gaussian_divergences(p, q)
    best = min(
        sum(
            p.weights[a] * (p.log_weights[a] - q.log_weights[b] + divergences[a, b])
            for a, b in enumerate(order)
        )
        for order in itertools.permutations(range(4))
    )
    assert_allclose(approximated_divergence(p, q).matched_upper_bound, best, rtol=1e-12)


def test_components_without_weight_do_not_count():
    p, q = pair(2, 2)
    more = MixtureParameters.from_whiteners(
        np.append(q.weights, 0.0),
        q.means[[0, 1, 0]] + 7.0 * np.eye(3, 2, -2),
        q.whiteners[[0, 1, 0]],
    )
    assert approximated_divergence(p, more) == approximated_divergence(p, q)
    assert approximated_divergence(more, p) == approximated_divergence(q, p)
