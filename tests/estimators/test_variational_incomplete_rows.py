"""Variational Bayes of rows that lack values, beside NumPy's version of a step."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from fastgmm import BayesianGaussianMixture, GaussianMixture
from tests import variational_oracle as oracle


def rows(n_samples=400, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3)) @ rng.normal(size=(3, 3))
    X[n_samples // 2 :] += 4.0
    X[rng.random(X.shape) < 0.25] = np.nan
    return X[~np.isnan(X).all(axis=1)]


def posterior_of(mixture):
    concentrations = np.array(mixture.weight_concentration_)
    K, D = mixture.means_.shape
    degrees = np.broadcast_to(mixture.degrees_of_freedom_, K).copy()
    precisions = mixture._parameters().precisions()
    if precisions.ndim == 2:
        precisions = precisions[:, :, None] * np.eye(D)
    return oracle.Posterior(
        concentrations,
        mixture.means_,
        mixture.mean_precision_,
        precisions / degrees[:, None, None],
        degrees,
    )


def expected_step(X, posterior, prior_mean, prior_precision, prior_scatter):
    """Return joint densities of what is observed, and expected counts, means and scatters."""
    K, D = posterior.means.shape
    joint = np.zeros((len(X), K))
    completed = np.repeat(X[:, None], K, axis=1)
    spreads = np.zeros((len(X), K, D, D))
    # what the logarithm of weight times density has beside the normal density itself
    at_means = np.array(
        [oracle.log_joint(m[None], posterior)[0, k] for k, m in enumerate(posterior.means)]
    )
    for k, mean in enumerate(posterior.means):
        covariance = np.linalg.inv(oracle.precisions(posterior)[k])
        shift = at_means[k] - multivariate_normal.logpdf(mean, mean, covariance)
        for i, x in enumerate(X):
            o, m = np.flatnonzero(~np.isnan(x)), np.flatnonzero(np.isnan(x))
            own = covariance[np.ix_(o, o)]
            joint[i, k] = shift + multivariate_normal.logpdf(x[o], mean[o], own)
            B = np.linalg.solve(own, covariance[np.ix_(o, m)]).T
            completed[i, k, m] = mean[m] + B @ (x[o] - mean[o])
            spreads[i, k][np.ix_(m, m)] = covariance[np.ix_(m, m)] - B @ covariance[np.ix_(o, m)]
    shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    counts = shares.sum(axis=0)
    means = np.einsum("nk,nkd->kd", shares, completed) / counts[:, None]
    offsets = completed - means
    scatters = np.einsum("nk,nki,nkj->kij", shares, offsets, offsets)
    scatters += np.einsum("nk,nkij->kij", shares, spreads)
    apart = means - prior_mean
    factors = prior_precision * counts / (prior_precision + counts)
    scatters += factors[:, None, None] * apart[:, :, None] * apart[:, None] + prior_scatter
    posterior_means = prior_precision * prior_mean + counts[:, None] * means
    return joint, counts, posterior_means / (prior_precision + counts)[:, None], scatters


def fitted(X, max_iter, **parameters):
    labels = (np.nanmean(X, axis=1) > 2.0).astype(int)
    mixture = BayesianGaussianMixture(
        2,
        max_iter=max_iter,
        tol=0.0,
        reg_covar=0.0,
        labels_init=labels,
        missing="model",
        random_state=0,
        **parameters,
    )
    with pytest.warns(UserWarning, match="did not converge"):
        return mixture.fit(X)


@pytest.mark.parametrize("kind", ["dirichlet_process", "dirichlet_distribution"])
def test_a_step_is_that_of_numpy(kind):
    X = rows()
    before, after = (fitted(X, n, weight_concentration_prior_type=kind) for n in (3, 4))
    joint, counts, means, scatters = expected_step(
        X,
        posterior_of(before),
        before.mean_prior_,
        before.mean_precision_prior_,
        before.covariance_prior_,
    )
    assert_allclose(before.score_samples(X), logsumexp(joint, axis=1), rtol=1e-9)
    assert_allclose(after.mean_precision_, 1.0 + counts, rtol=1e-9)
    assert_allclose(after.means_, means, rtol=1e-8)
    degrees = before.degrees_of_freedom_prior_ + counts
    assert_allclose(after.covariances_, scatters / degrees[:, None, None], rtol=1e-8)
    # The bound of the best responsibilities lies between those of the steps around it.
    constant = 0.5 * X.size * np.log(2.0 * np.pi)
    bound = logsumexp(joint, axis=1).sum() + constant - before._posterior().divergence()
    assert before.lower_bound_ <= bound <= after.lower_bound_


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "VEV", "EVI"])
@pytest.mark.parametrize("reg_covar", [0.0, 1e-2])
def test_the_bound_never_falls_and_converges(covariance_type, reg_covar):
    X = rows(600)
    mixture = BayesianGaussianMixture(
        4,
        covariance_type=covariance_type,
        reg_covar=reg_covar,
        missing="model",
        max_iter=2000,
        tol=1e-6,
        random_state=0,
    ).fit(X)
    assert mixture.converged_
    assert np.diff(mixture.trace_).min() > -1e-8
    assert mixture.predict(X).shape == (len(X),)


def test_much_data_lead_to_maximum_likelihood():
    X = rows(4000)
    X = X[~np.isnan(X).all(axis=1)]
    bayes = BayesianGaussianMixture(
        2,
        missing="model",
        tol=1e-7,
        max_iter=2000,
        random_state=0,
        weight_concentration_prior_type="dirichlet_distribution",
    ).fit(X)
    plain = GaussianMixture(2, missing="model", tol=1e-9, max_iter=2000, random_state=0).fit(X)
    order = np.argsort(bayes.means_[:, 0]), np.argsort(plain.means_[:, 0])
    assert_allclose(bayes.means_[order[0]], plain.means_[order[1]], atol=0.02)
    assert_allclose(bayes.weights_[order[0]], plain.weights_[order[1]], atol=0.01)


def test_rows_without_any_value_say_nothing():
    X = rows()
    empty = np.insert(X, [0, 100, 300], np.nan, axis=0)
    parameters = {"missing": "model", "random_state": 0, "max_iter": 500}
    expected = BayesianGaussianMixture(3, **parameters).fit(X)
    found = BayesianGaussianMixture(3, **parameters).fit(empty)
    assert_array_equal(found.means_, expected.means_)
    assert found.lower_bound_ == expected.lower_bound_
    assert found.score(empty) == expected.score(X)


def test_nothing_missing_is_the_same_fit_to_the_bit():
    X = np.nan_to_num(rows())
    expected = BayesianGaussianMixture(3, random_state=0, max_iter=500).fit(X)
    found = BayesianGaussianMixture(3, random_state=0, max_iter=500, missing="model").fit(X)
    assert_array_equal(found.covariances_, expected.covariances_)
    assert found.lower_bound_ == expected.lower_bound_


def test_values_are_imputed_under_the_expected_parameters():
    X = rows(60)
    mixture = BayesianGaussianMixture(2, missing="model", random_state=0, max_iter=500).fit(X)
    plain = GaussianMixture(2)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_", "n_features_in_"):
        setattr(plain, name, getattr(mixture, name))
    known = mixture.predict_proba(X).max(axis=1) > 1.0 - 1e-9
    assert known.sum() > 10
    assert_allclose(mixture.impute(X)[known], plain.impute(X)[known], rtol=1e-6)


def test_batches_with_gaps_are_learned():
    X = rows(4000)
    X = X[np.random.default_rng(0).permutation(len(X))]
    mixture = BayesianGaussianMixture(2, missing="model", random_state=0)
    for first in range(0, len(X), 500):
        mixture.partial_fit(X[first : first + 500])
    whole = BayesianGaussianMixture(2, missing="model", random_state=0, max_iter=500).fit(X)
    order = np.argsort(mixture.means_[:, 0]), np.argsort(whole.means_[:, 0])
    assert_allclose(mixture.means_[order[0]], whole.means_[order[1]], atol=0.3)
