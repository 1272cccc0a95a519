"""Parameters and statistics of mixtures of t-distributions."""

import mpmath
import numpy as np
import pytest
from scipy.special import digamma

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import ConjugatePriors
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import structure
from fastgmm.mixture.student import DOF_BOUNDS, StudentParameters, StudentStatistics
from tests import oracle

DOFS = [0.1, 0.5, 1.0, 2.5, 30.0, 1e3, 1e6, 1e12]


@pytest.mark.parametrize("n_features", [1, 2, 3, 4, 9, 50])
def test_normalizers_are_exact_however_many_degrees_of_freedom_there_are(n_features):
    scales = np.full((len(DOFS), n_features), 4.0)
    plain = MixtureParameters.from_covariances(np.full(len(DOFS), 1.0), scales, scales)
    found = StudentParameters.from_gaussians(plain, np.array(DOFS)).log_normalizers
    with mpmath.workdps(40):
        for dof, value in zip(DOFS, found, strict=True):
            nu, D = mpmath.mpf(dof), n_features
            exact = mpmath.loggamma((nu + D) / 2) - mpmath.loggamma(nu / 2)
            exact -= mpmath.mpf(D) / 2 * mpmath.log(nu * mpmath.pi * 4)
            assert value == pytest.approx(float(exact), abs=2e-11)


def statistics(scaled=(20.0, 45.0), logarithms=(-15.0, -4.0), counts=(30.0, 50.0)):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) + np.array([3.0, 1.0])
    shares = np.repeat(np.diag(np.divide(scaled, [30, 50])), [30, 50], axis=0)
    reference = np.zeros((2, 2))
    _, first, second = oracle.moments(X, shares, reference)
    return X, StudentStatistics(
        reference, np.array(counts), first, second, -100.0, 80.0, np.array(scaled),
        np.array(logarithms),
    )  # fmt: skip


def test_moments_are_weighted_and_scatter_is_divided_by_the_counts():
    X, found = statistics()
    groups = X[:30], X[30:]
    np.testing.assert_allclose(found.means(), [each.mean(axis=0) for each in groups])
    expected = [
        share * np.cov(each.T, bias=True)
        for share, each in zip([20 / 30, 45 / 50], groups, strict=True)
    ]
    np.testing.assert_allclose(found.covariances(), expected)
    np.testing.assert_allclose(found.weights(), [3 / 8, 5 / 8])
    moved = found.about(found.reference + np.array([5.0, -2.0]))
    assert isinstance(moved, StudentStatistics)
    np.testing.assert_allclose(moved.means(), found.means())
    np.testing.assert_allclose(moved.covariances(), found.covariances())


def test_components_without_points_keep_their_degrees_of_freedom():
    _, found = statistics(scaled=(20.0, 0.0), logarithms=(-15.0, 0.0), counts=(80.0, 0.0))
    before = np.array([5.0, 7.0])
    for careful in (False, True):
        assert found.solve_dofs("separate", before, careful=careful)[1] == 7.0
    assert np.isfinite(found.covariances()).all()


@pytest.mark.parametrize("dof", ["common", "separate"])
def test_degrees_of_freedom_solve_their_equation(dof):
    _, found = statistics(logarithms=(-20.0, -12.0))
    before = np.array([4.0, 9.0]) if dof == "separate" else np.array([6.0, 6.0])
    nu = found.solve_dofs(dof, before, careful=True)
    sums = found.logarithms - found.scaled_counts
    slopes = found.counts * (np.log(nu / 2) - digamma(nu / 2) + 1) + sums
    if dof == "common":
        assert nu[0] == nu[1]
        slopes = slopes.sum()
    np.testing.assert_allclose(slopes, 0.0, atol=1e-9)


def test_degrees_of_freedom_stay_within_bounds_or_as_they_are_given():
    _, found = statistics(scaled=(30.0, 1.0), logarithms=(0.0, -900.0))
    before = np.array([999.99, 5.0])
    for careful in (False, True):
        nu = found.solve_dofs("separate", before, careful=careful)
        assert DOF_BOUNDS[0] <= nu.min() <= nu.max() <= DOF_BOUNDS[1]
        np.testing.assert_array_equal(found.solve_dofs(3.5, before, careful=careful), 3.5)


def test_priors_of_means_weigh_against_weighted_counts():
    """The maximum of the log-likelihood and log-prior, by a small change in any direction."""
    _, found = statistics()
    kind = structure("VVV")
    given = ConjugatePriors(mean_precision=10.0, scale=1.0)
    prior = given.for_data(kind, 2, np.array([-1.0, 2.0]), np.eye(2))
    best = prior.solve(found, kind)

    def expected(parameters):
        about = found.about(parameters.means)
        log_scales = parameters.log_normalizers + np.log(2 * np.pi)
        squares = np.einsum("kij,kji->k", parameters.precisions(), about.second)
        weights = found.counts @ parameters.log_weights
        likelihood = found.counts @ log_scales - 0.5 * squares.sum() + weights
        return likelihood + prior.log_density(parameters, kind)

    highest, rng = expected(best), np.random.default_rng(1)
    for _ in range(20):
        turn = np.eye(2) + 1e-3 * rng.normal(size=(2, 2, 2))
        other = MixtureParameters.from_covariances(
            best.weights,
            best.means + 1e-3 * rng.normal(size=(2, 2)),
            turn @ best.covariances() @ turn.transpose(0, 2, 1),
        )
        assert expected(other) < highest


def test_statistics_of_gaussians_count_rows_alone():
    _, found = statistics()
    plain = SufficientStatistics(
        found.reference, found.counts, found.first, found.second, found.log_likelihood, 80.0
    )
    assert plain.location_counts is plain.counts
