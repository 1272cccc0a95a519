"""MAP estimates: against the posterior written down plainly, and as maxima of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.em.problem import EMProblem
from fastgmm.mixture.parameters import MixtureParameters
from fastgmm.mixture.priors.conjugate import ConjugatePriors, Prior
from fastgmm.mixture.regularization import Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import structure
from tests import oracle

STRUCTURES = ("VVV", "EEE", "VVI", "EEI", "VII", "EII")


def draw(diagonal, seed=0, n_samples=50, K=3, D=3):
    rng = np.random.default_rng(seed)
    X = 5.0 + rng.normal(size=(n_samples, D)) @ rng.normal(size=(D, D))
    shares = rng.dirichlet(np.full(K, 0.3), size=n_samples)
    reference = np.repeat(X.mean(axis=0)[None], K, axis=0)
    counts, first, second = oracle.moments(X, shares, reference)
    if diagonal:
        second = np.einsum("kii->ki", second).copy()
    statistics = SufficientStatistics(reference, counts, first, second, 0.0, float(n_samples))
    return X, shares, statistics


def prior_of(kind, X, K, **given):
    covariance = np.cov(X.T, bias=True)
    return ConjugatePriors(**given).for_data(kind, K, X.mean(axis=0), covariance)


def solved(kind, statistics, prior):
    before = kind.solve(statistics, Regularization.none(statistics.n_features))
    none = Regularization.none(statistics.n_features)
    return EMProblem(None, kind, none, prior).m_step(statistics, before)


@pytest.mark.parametrize("letters", STRUCTURES)
def test_closed_forms_are_those_of_table_2_of_fraley_and_raftery(letters):
    kind = structure(letters)
    X, shares, statistics = draw(kind.is_diagonal)
    n, d, K = len(X), X.shape[1], shares.shape[1]
    prior = prior_of(kind, X, K)
    kappa, nu = 0.01, d + 2
    counts = shares.sum(axis=0)
    means = (shares.T @ X) / counts[:, None]
    expected_means = (counts[:, None] * means + kappa * X.mean(axis=0)) / (counts[:, None] + kappa)
    scatter = np.empty((K, d, d))
    for k in range(K):
        centered = X - means[k]
        between = means[k] - X.mean(axis=0)
        factor = kappa * counts[k] / (kappa + counts[k])
        scatter[k] = (shares[:, k, None] * centered).T @ centered
        scatter[k] += factor * np.outer(between, between)
    total = np.cov(X.T, bias=True)
    scale = total / K ** (2 / d)
    variance = np.trace(total) / d / K ** (2 / d)
    traces = np.einsum("kii->k", scatter)
    diagonals = np.einsum("kii->ki", scatter)
    each = counts[:, None]
    expected = {
        "VVV": lambda: (scale + scatter) / (nu + each[:, :, None] + d + 2),
        "EEE": lambda: (scale + scatter.sum(axis=0)) / (nu + n + d + K + 1),
        "VVI": lambda: (variance + diagonals) / (nu + each + 3),
        "EEI": lambda: (variance + diagonals.sum(axis=0)) / (nu + n + K + 2),
        "VII": lambda: (variance + traces) / (nu + (counts + 1) * d + 2),
        "EII": lambda: (variance + traces.sum()) / (nu + (n + K) * d + 2),
    }[letters]()

    found = solved(kind, statistics, prior)

    assert_allclose(found.means, expected_means, rtol=1e-12)
    assert_allclose(found.weights, counts / n, rtol=1e-12)
    assert_allclose(kind.covariances(found), expected, rtol=1e-10)


@pytest.mark.parametrize("letters", [*STRUCTURES, "VEI", "EVE", "EEV", "VVE"])
def test_no_step_aside_is_more_probable(letters):
    kind = structure(letters)
    X, shares, statistics = draw(kind.is_diagonal)
    prior = prior_of(kind, X, shares.shape[1], mean_precision=2.0, weight_concentration=3.0)

    found = solved(kind, statistics, prior)

    def objective(parameters):
        joint = oracle.joint_log_density(
            X, parameters.weights, parameters.means, matrices(parameters)
        )
        return (shares * joint).sum() + prior.log_density(parameters, kind)

    best = objective(found)
    rng = np.random.default_rng(1)
    for _ in range(30):
        size = 10.0 ** rng.uniform(-3, -1)
        weights = found.weights * np.exp(size * rng.normal(size=len(found.weights)))
        means = found.means + size * rng.normal(size=found.means.shape)
        scaled = np.exp(size * rng.normal())  # a change of all volumes is one of every structure
        aside = MixtureParameters.from_whiteners(
            weights / weights.sum(), means, found.whiteners * scaled
        )
        assert objective(aside) < best


def matrices(parameters):
    covariances = parameters.covariances()
    return [np.diag(each) if each.ndim == 1 else each for each in covariances]


def test_a_component_without_points_is_what_the_prior_says():
    kind = structure("VVV")
    X, shares, _ = draw(diagonal=False)
    shares[:, 1] = 0.0
    reference = np.repeat(X.mean(axis=0)[None], 3, axis=0)
    statistics = SufficientStatistics(
        reference, *oracle.moments(X, shares, reference), 0.0, shares.sum()
    )
    prior = prior_of(kind, X, 3, scale=np.eye(3), degrees_of_freedom=6.0)

    found = solved(kind, statistics, prior)

    assert found.weights[1] == 0.0
    assert_allclose(found.means[1], X.mean(axis=0))
    assert_allclose(found.covariances()[1], np.eye(3) / (6.0 + 3 + 2))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mean": [1.0, 2.0]}, "mean must be 3 finite numbers"),
        ({"mean": [1.0, np.nan, 2.0]}, "mean must be 3 finite numbers"),
        ({"degrees_of_freedom": 2.0}, "degrees_of_freedom must be above n_features - 1 = 2"),
        ({"scale": -1.0}, "scale must be positive"),
        ({"scale": np.ones((3, 3))}, "scale must be positive"),
        ({"scale": [[1, 2, 3], [0, 5, 0], [0, 0, 9]]}, "scale must be positive"),
        ({"scale": np.ones(2)}, "scale must be a number or have shape"),
        ({"mean_precision": -1.0}, "mean_precision must be 0 or more"),
        ({"weight_concentration": 0.5}, "weight_concentration must be 1 or more"),
    ],
)
def test_impossible_hyperparameters_are_refused(given, words):
    X, _, _ = draw(diagonal=False)
    with pytest.raises(ValueError, match=words):
        prior_of(structure("full"), X, 3, **given)


def test_a_scale_is_a_number_a_diagonal_or_a_matrix():
    X, _, _ = draw(diagonal=False)
    full, diagonal = structure("full"), structure("diag")
    assert_allclose(prior_of(full, X, 3, scale=2.0).scale, [2.0 * np.eye(3)] * 3)
    assert_allclose(prior_of(full, X, 3, scale=[1, 2, 3]).scale, [np.diag([1, 2, 3])] * 3)
    assert_allclose(prior_of(diagonal, X, 3, scale=np.diag([1, 2, 3])).scale, [[1, 2, 3]] * 3)
    assert isinstance(prior_of(full, X, 3), Prior)
