"""Priors and posteriors against the oracle, and the lower bound against its terms one by one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.priors.variational import (
    GivenPrior,
    VariationalPosterior,
    expected_log_joint,
    responsibility_entropy,
)
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES, weight_prior
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.statistics import SufficientStatistics
from fastgmm.mixture.structures import STRUCTURE_NAMES, structure
from tests import oracle, variational_oracle

SIX = ("full", "tied", "diag", "spherical", "tied_diag", "tied_spherical")
MATRICES = tuple(name for name in STRUCTURE_NAMES if not structure(name).needs_single_feature)
AMOUNTS = np.array([1e-3, 0.0, 2e-2])

every_structure = pytest.mark.parametrize("name", MATRICES)
every_six = pytest.mark.parametrize("name", SIX)
every_prior = pytest.mark.parametrize("weights", WEIGHT_PRIOR_NAMES)


def rows(seed=0, n_samples=80, n_features=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features)) + 5


def shares_of(X, n_components=4, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(n_components, 0.4), size=len(X))


def statistics_of(name, X, shares, *, log_likelihood=np.nan, about=None):
    reference = np.repeat(X.mean(axis=0)[None], shares.shape[1], axis=0) if about is None else about
    counts, first, second = oracle.moments(X, shares, reference)
    if structure(name).is_diagonal:
        second = np.einsum("kii->ki", second).copy()
    return SufficientStatistics(reference, counts, first, second, log_likelihood, shares.sum())


def regularization(amounts=AMOUNTS, constant=False):
    amounts = np.asarray(amounts, dtype=np.float64)
    return Regularization(amounts, np.broadcast_to(constant, amounts.shape))


def prior_for(name, weights, X, amounts=AMOUNTS, **given):
    moments = statistics_of(name, X, np.ones((len(X), 1)))
    prior = weight_prior(weights, 0.25)
    return GivenPrior(prior, **given).completed(moments, structure(name), regularization(amounts))


def solve(name, weights, X, shares, amounts=AMOUNTS, before=None):
    prior = prior_for(name, weights, X, amounts)
    statistics = statistics_of(name, X, shares)
    return VariationalPosterior.solve(
        prior, statistics, structure(name), regularization(amounts), before
    )


def matrices(values):
    return np.array([np.diag(each) for each in values]) if values.ndim == 2 else values


def as_oracle(posterior):
    """Return a posterior, and its prior, in the form of the oracle."""
    prior = posterior.prior
    scatter = prior.scatter if prior.scatter.ndim == 2 else np.diag(prior.scatter)
    precisions = matrices(posterior.mean_parameters().precisions())
    degrees = posterior.degrees_of_freedom
    return variational_oracle.Posterior(
        posterior.concentrations,
        posterior.means,
        posterior.mean_precisions,
        precisions / degrees[:, None, None],
        degrees,
    ), variational_oracle.Prior(
        prior.weights.name,
        prior.weights.concentration,
        prior.mean,
        prior.mean_precision,
        scatter,
        prior.degrees_of_freedom,
    )


def assert_same(found, expected, rtol=1e-9):
    ours, _ = as_oracle(found)
    assert_allclose(ours.concentrations, expected.concentrations, rtol=rtol)
    assert_allclose(ours.means, expected.means, rtol=rtol)
    assert_allclose(ours.mean_precisions, expected.mean_precisions, rtol=rtol)
    assert_allclose(ours.scales, expected.scales, rtol=rtol, atol=rtol * ours.scales.max())
    assert_allclose(ours.degrees, expected.degrees, rtol=rtol)


def entropy_of(shares):
    return -(shares * np.log(np.where(shares > 0.0, shares, 1.0))).sum()


@every_six
@every_prior
def test_the_posterior_is_that_of_the_formulas(name, weights):
    X = rows()
    shares = shares_of(X)
    prior = variational_oracle.prior_of(X, name, weights, 4)
    expected = variational_oracle.solve(X, shares, prior, name, AMOUNTS)
    assert_same(solve(name, weights, X, shares), expected)


@every_six
@every_prior
def test_what_the_passes_take_is_the_expected_log_joint(name, weights):
    X = rows()
    posterior = solve(name, weights, X, shares_of(X))
    parameters = posterior.expected_parameters()
    offsets = X[:, None, :] - parameters.means
    squares = np.einsum("nkd,kde,nke->nk", offsets, matrices(parameters.precisions()), offsets)
    joint = parameters.log_weights + parameters.log_normalizers - 0.5 * squares
    assert_allclose(joint, variational_oracle.log_joint(X, as_oracle(posterior)[0]), rtol=1e-9)


@every_six
@every_prior
def test_the_lower_bound_is_its_terms_but_for_a_constant(name, weights):
    X = rows()
    differences = []
    for seed in range(3):
        # under responsibilities that the posterior did not come from
        posterior = solve(name, weights, X, shares_of(X, seed=seed))
        shares = shares_of(X, seed=seed + 10)
        statistics = statistics_of(name, X, shares, about=posterior.means)
        bound = posterior.lower_bound(statistics, entropy_of(shares), AMOUNTS)
        exact = variational_oracle.lower_bound(X, shares, *as_oracle(posterior), AMOUNTS)
        differences.append(bound - exact)
    assert_allclose(differences, differences[0], rtol=0.0, atol=1e-9 * abs(exact))


@every_structure
@every_prior
def test_no_other_posterior_of_the_structure_has_a_higher_bound(name, weights):
    X = rows()
    shares = shares_of(X)
    statistics, entropy = statistics_of(name, X, shares), entropy_of(shares)
    others = [solve(name, weights, X, 0.9 * shares + 0.1 * shares_of(X, seed=s)) for s in (1, 2, 3)]
    for other in others:
        best = solve(name, weights, X, shares, before=other)
        reached = best.lower_bound(statistics, entropy, AMOUNTS)
        assert other.lower_bound(statistics, entropy, AMOUNTS) < reached


@every_six
@pytest.mark.parametrize("uncertain", [False, True])
def test_no_other_responsibilities_have_a_higher_bound(name, uncertain):
    X = rows()
    posterior = solve(name, "dirichlet_process", X, shares_of(X))
    amounts = AMOUNTS if uncertain else np.zeros(3)
    parameters = posterior.expected_parameters(amounts if uncertain else None)

    def bound(shares):
        statistics = statistics_of(name, X, shares)
        return posterior.lower_bound(statistics, entropy_of(shares), amounts)

    joint = variational_oracle.log_joint(X, as_oracle(posterior)[0])
    joint += parameters.log_normalizers - posterior.expected_parameters().log_normalizers
    shares = np.exp(joint - joint.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1, 1.0):
        others = shares * np.exp(size * rng.normal(size=shares.shape))
        others /= others.sum(axis=1, keepdims=True)
        assert bound(others) < bound(shares)


@every_six
def test_the_entropy_needs_no_responsibilities(name):
    X = rows()
    posterior = solve(name, "dirichlet_process", X, shares_of(X))
    joint = variational_oracle.log_joint(X, as_oracle(posterior)[0])
    shares = variational_oracle.responsibilities(X, as_oracle(posterior)[0])
    total = np.log(np.exp(joint).sum(axis=1)).sum()
    statistics = statistics_of(name, X, shares, log_likelihood=total, about=posterior.means + 0.5)
    parameters = posterior.expected_parameters()
    assert_allclose(expected_log_joint(parameters, statistics), (shares * joint).sum(), rtol=1e-12)
    assert_allclose(responsibility_entropy(parameters, statistics), entropy_of(shares), rtol=1e-9)


@every_structure
@every_prior
def test_a_component_without_points_has_the_prior_for_its_posterior(name, weights):
    X = rows()
    shares = np.column_stack([shares_of(X, 3), np.zeros(len(X))])
    posterior = solve(name, weights, X, shares)
    prior = posterior.prior
    assert_array_equal(posterior.means[3], prior.mean)
    assert posterior.mean_precisions[3] == prior.mean_precision
    if structure(name).letters == "VVV":
        assert posterior.degrees_of_freedom[3] == prior.degrees_of_freedom
        expected = np.linalg.inv(prior.scatter) * prior.degrees_of_freedom
        assert_allclose(posterior.mean_parameters().precisions()[3], expected, rtol=1e-9)


@every_six
@every_prior
def test_the_statistics_come_back_from_the_posterior(name, weights):
    X = rows() + 1e5
    shares = np.column_stack([shares_of(X, 3), np.zeros(len(X))])
    posterior = solve(name, weights, X, shares)
    statistics = posterior.statistics(structure(name), regularization())
    expected = statistics_of(name, X, shares)
    assert_allclose(statistics.counts, expected.counts, atol=1e-12)
    assert_allclose(statistics.means()[:3], expected.means()[:3], rtol=1e-12)
    if name in ("full", "diag"):
        assert_allclose(statistics.covariances()[:3], expected.covariances()[:3], atol=1e-6)
    again = VariationalPosterior.solve(
        posterior.prior, statistics, structure(name), regularization()
    )
    assert_same(again, as_oracle(posterior)[0], rtol=1e-8)


@every_six
@every_prior
def test_weights_count_as_copies(name, weights):
    X = rows()
    copies = np.random.default_rng(5).integers(0, 4, size=len(X))
    shares = shares_of(X)
    repeated = solve(name, weights, np.repeat(X, copies, axis=0), np.repeat(shares, copies, axis=0))
    moments = statistics_of(name, X, copies[:, None].astype(np.float64))
    prior = GivenPrior(weight_prior(weights, 0.25)).completed(
        moments, structure(name), regularization()
    )
    statistics = statistics_of(name, X, shares * copies[:, None])
    weighted = VariationalPosterior.solve(prior, statistics, structure(name), regularization())
    assert_same(weighted, as_oracle(repeated)[0])


@every_six
def test_shifted_and_scaled_rows_give_the_shifted_and_scaled_posterior(name):
    X, scale, shift = rows(), 2.0**-14, 2.0**30
    shares = shares_of(X)
    # Rounded to what the shifted rows can hold, so that nothing but the arithmetic differs.
    X = np.round(X * 2.0**20) * 2.0**-20
    near = solve(name, "dirichlet_process", X, shares, AMOUNTS)
    small = solve(name, "dirichlet_process", X * scale, shares, AMOUNTS * scale**2)
    far = solve(name, "dirichlet_process", X + shift, shares, AMOUNTS)
    assert_allclose(small.whiteners * scale, near.whiteners, rtol=1e-12)
    assert_allclose(small.means, near.means * scale, rtol=1e-12)
    assert_allclose(far.whiteners, near.whiteners, rtol=1e-5)
    assert_allclose(far.means - shift, near.means, atol=2e-6)


def test_the_default_prior_is_that_of_scikit_learn():
    X = rows()
    prior = prior_for("full", "dirichlet_process", X)
    assert_allclose(prior.mean, X.mean(axis=0))
    assert_allclose(prior.scatter, np.cov(X.T))
    assert prior.mean_precision == 1.0
    assert prior.degrees_of_freedom == 3.0
    assert_allclose(
        prior_for("diag", "dirichlet_process", X).scatter, np.var(X, axis=0, ddof=1), rtol=1e-12
    )
    assert_allclose(
        prior_for("spherical", "dirichlet_process", X).scatter,
        np.full(3, np.var(X, axis=0, ddof=1).mean()),
    )


def test_a_given_prior_is_kept():
    given = {
        "mean": np.array([1.0, 2.0, 3.0]),
        "mean_precision": 0.5,
        "scatter": np.diag([1.0, 2.0, 3.0]),
        "degrees_of_freedom": 7.5,
    }
    prior = prior_for("full", "dirichlet_process", rows(), **given)
    for name, value in given.items():
        assert_array_equal(getattr(prior, name), value)


@pytest.mark.parametrize("name", ["full", "diag"])
def test_constant_features_have_the_regularization_for_their_prior_variance(name):
    X = rows()
    X[:, 1] = 2.0
    moments = statistics_of(name, X, np.ones((len(X), 1)))
    prior = GivenPrior(weight_prior("dirichlet_process", 1.0)).completed(
        moments, structure(name), regularization([1e-6, 1e-6, 1e-6], [False, True, False])
    )
    variances = prior.scatter if prior.scatter.ndim == 1 else np.diag(prior.scatter)
    assert_allclose(variances, np.add(np.var(X, axis=0, ddof=1), [0.0, 1e-6, 0.0]))


def test_dependent_features_have_a_prior_that_is_positive_definite():
    X = rows()
    X[:, 2] = X[:, 0] - X[:, 1]
    scatter = prior_for("full", "dirichlet_process", X).scatter
    np.linalg.cholesky(scatter)
    assert_allclose(scatter, np.cov(X.T), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["full", "diag", "tied_spherical"])
def test_singular_rows_without_regularization_need_a_prior(name):
    X = np.ones((5, 3))
    with pytest.raises(IllDefinedCovarianceError, match="give covariance_prior, or use reg_covar"):
        prior_for(name, "dirichlet_process", X, np.zeros(3))


def test_no_more_than_one_row_by_weight_needs_a_prior():
    X = rows()
    moments = statistics_of("full", X, np.full((len(X), 1), 1.0 / len(X)))
    with pytest.raises(ValueError, match=r"sum to 1.* multiply the weights, or give covariance_pr"):
        GivenPrior(weight_prior("dirichlet_process", 1.0)).completed(
            moments, structure("full"), regularization()
        )
