"""M-steps of mixtures with frozen parameters, against the oracle."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import ConjugatePriors
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import CovarianceStructure, constrained, structure
from tests import oracle
from tests.structures import DISTINCT, covariances_of, every_structure

K, D = 4, 3
NONE = Regularization.none(D)
TIED = [name for name in DISTINCT if structure(name).is_tied]


def spread_out(name, seed):
    """Return statistics of four groups of points, and a mixture of the structure nearby."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(400, D)) * rng.uniform(0.5, 3.0, size=D)
    labels = rng.integers(0, K, size=400)
    X = (1.0 + 0.5 * labels[:, None]) * (X + 2.0 * labels[:, None])
    shares = oracle.one_hot(labels, K) * 0.7 + 0.3 / K
    reference = rng.normal(size=(K, D))
    counts, first, second = oracle.moments(X, shares, reference)
    kind = structure(name)
    if kind.is_diagonal:
        second = np.einsum("kii->ki", second)
    statistics = SufficientStatistics(reference, counts, first, second, 0.0, 400.0)
    start = kind.solve(statistics, NONE)
    matrices = np.array([np.cov(X[rng.integers(0, 400, 30)].T) for _ in range(K)])
    if kind.is_diagonal:
        matrices = np.einsum("kii->ki", matrices)
    means, weights = rng.normal(size=(K, D)), rng.dirichlet(np.full(K, 5.0))
    start = kind.assemble(weights, means, start.whiteners)
    if not kind.is_tied:
        start = kind.nearest(MixtureParameters.from_covariances(weights, means, matrices))
    return X, shares, statistics, start


def expected_covariances(name, X, shares, means, held, before):
    """Return the best covariances: of the frozen ones, infinitely many points are as they are."""
    counts, _, second = oracle.moments(X, shares, means)
    covariances = second / counts[:, None, None]
    covariances[held] = before[held]
    counts[held] *= 1e10
    return oracle.best_covariances(name, covariances, counts)


@every_structure
@pytest.mark.parametrize("means", [[], [1, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("covariances", [[], [2], [0, 2]])
def test_free_parameters_are_the_best_given_the_frozen(name, means, covariances):
    if covariances and name in TIED:
        covariances = range(K)
    X, shares, statistics, before = spread_out(name, seed=len(means))
    frozen = {"weights": [1, 2], "means": list(means), "covariances": list(covariances)}
    solved = constrained(structure(name), frozen, K).solve(statistics, NONE, before)

    left = 1.0 - before.weights[[1, 2]].sum()
    counts = shares.sum(axis=0)
    weights = before.weights.copy()
    weights[[0, 3]] = left * counts[[0, 3]] / counts[[0, 3]].sum()
    assert_allclose(solved.weights, weights, rtol=1e-13)
    assert_array_equal(solved.log_weights[[1, 2]], before.log_weights[[1, 2]])

    centers = (shares.T @ X) / counts[:, None]
    centers[frozen["means"]] = before.means[frozen["means"]]
    assert_allclose(solved.means, centers, rtol=1e-11)
    assert_array_equal(solved.means[frozen["means"]], before.means[frozen["means"]])

    held = np.isin(range(K), frozen["covariances"])
    given = covariances_of(name, before)
    expected = expected_covariances(name, X, shares, centers, held, given)
    found = covariances_of(name, solved)
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert_allclose(found / scale, expected / scale, atol=3e-7 if held.any() else 1e-9)
    assert_array_equal(solved.whiteners[held], before.whiteners[held])


@every_structure
def test_the_posterior_is_highest_there_under_a_prior(name):
    X, shares, statistics, before = spread_out(name, seed=5)
    kind = constrained(structure(name), {"means": [0, 3]}, K)
    mean, covariance = X.mean(axis=0), np.cov(X.T)
    if kind.is_diagonal:
        covariance = np.diag(covariance)
    given = ConjugatePriors(mean_precision=30.0, weight_concentration=2.0)
    prior = given.for_data(kind, K, mean, covariance)
    seen = kind.about_frozen_means(statistics, before)
    solved = kind.restored(prior.solve(seen, kind, before), before)
    assert_array_equal(solved.means[[0, 3]], before.means[[0, 3]])

    def expected_posterior(parameters):
        joint = oracle.joint_log_density(
            X, parameters.weights, parameters.means, covariances_of(name, parameters)
        )
        return (shares * joint).sum() + prior.log_density(parameters, structure(name))

    highest = expected_posterior(solved)
    rng = np.random.default_rng(1)
    for size in (1e-2, 1e-3):
        for _ in range(10):
            covariances = solved.covariances()
            noise = rng.normal(size=(1 if kind.is_tied else K, D)) * size
            if kind.is_spherical:
                noise = noise[:, :1]
            factors = np.exp(np.broadcast_to(noise, (K, D)))
            if not kind.is_diagonal:
                factors = factors[:, :, None] * factors[:, None, :]
            means = solved.means + size * rng.normal(size=(K, D))
            means[[0, 3]] = before.means[[0, 3]]
            weights = solved.weights * np.exp(size * rng.normal(size=K))
            moved = MixtureParameters.from_covariances(
                weights / weights.sum(), means, covariances * factors
            )
            assert expected_posterior(structure(name).nearest(moved)) < highest + 1e-9


@pytest.mark.parametrize(
    ("name", "frozen", "expected"),
    [
        ("full", {"means": [0, 2]}, 3 + 2 * D + 4 * 6),
        ("full", {"weights": [0, 2], "covariances": [3]}, 1 + 4 * D + 3 * 6),
        ("tied", {"covariances": True}, 3 + 4 * D),
        ("VEE", {"covariances": [1]}, 3 + 4 * D + 3),
        ("EVE", {"covariances": [1]}, 3 + 4 * D + 3 * 2),
        ("VEV", {"covariances": [1, 2]}, 3 + 4 * D + 2 * (1 + 3)),
        ("EVI", {"weights": [0, 1, 2], "covariances": [0]}, 4 * D + 3 * 2),
        ("diag", {"weights": True, "means": True, "covariances": True}, 0),
        ("diag", {"weights": False, "means": []}, 3 + 4 * D + 4 * D),
    ],
)
def test_free_parameters_are_counted(name, frozen, expected):
    assert constrained(structure(name), frozen, K).n_parameters(K, D) == expected


def test_a_structure_without_frozen_parameters_is_itself():
    kind = structure("VVE")
    assert constrained(kind, None, K) is kind
    assert constrained(kind, {}, K) is kind
    assert constrained(kind, {"means": []}, K) is kind


def test_weights_stay_where_no_free_component_has_points():
    _, _, statistics, before = spread_out("full", seed=0)
    none = np.array([True, True, False, False])
    emptied = SufficientStatistics(
        statistics.reference,
        np.where(none, 0.0, statistics.counts),
        np.where(none[:, None], 0.0, statistics.first),
        np.where(none[:, None, None], 0.0, statistics.second),
        0.0,
        400.0,
    )
    solved = constrained(structure("full"), {"weights": [2, 3]}, K).solve(emptied, NONE, before)
    assert_array_equal(solved.log_weights, before.log_weights)


class Coupled(CovarianceStructure):
    def whiten(self, spread):
        return structure("tied").whiten(spread)


@pytest.mark.parametrize(
    ("kind", "frozen", "message"),
    [
        (structure("full"), {"mean": True}, "frozen has 'mean', which is no kind of parameter"),
        (structure("full"), {"means": [4]}, r"frozen\['means'\] names component 4, .* = 3"),
        (structure("full"), {"means": [-1]}, "names component -1"),
        (structure("full"), {"means": 1}, "must be True or a list of numbers"),
        (structure("full"), {"means": [0.5]}, "must be True or a list of numbers"),
        (structure("EEE"), {"covariances": [0]}, "'EEE' has one covariance for all components"),
        (Coupled(), {"covariances": [0]}, "'Coupled' depend on each other"),
    ],
)
def test_what_cannot_be_frozen_is_refused(kind, frozen, message):
    with pytest.raises(ValueError, match=message):
        constrained(kind, frozen, K)
