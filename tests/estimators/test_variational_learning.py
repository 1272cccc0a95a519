"""`partial_fit` of variational mixtures, from rows, fits and files."""

import copy
import pickle
from typing import get_args

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from fastgmm import BayesianGaussianMixture
from fastgmm.mixture.covariance_types import CovarianceType

CENTERS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 5.0]])

every_type = pytest.mark.parametrize(
    "covariance_type", ["full", "tied", "diag", "spherical", "EEV"]
)


def rows(n_samples=3000, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n_samples, p=[0.5, 0.3, 0.2])
    return CENTERS[labels] + rng.normal(size=(n_samples, 2))


def mixture(n_components=3, **parameters):
    return BayesianGaussianMixture(n_components, random_state=0, **parameters)


def learn(model, X, size=200):
    for first in range(0, len(X), size):
        model.partial_fit(X[first : first + size])
    return model


def in_order(model):
    """Return weights and means with the components in the order of the centers."""
    order = [int(np.square(model.means_ - center).sum(axis=1).argmin()) for center in CENTERS]
    return model.weights_[order], model.means_[order]


@every_type
@pytest.mark.parametrize("weights", ["dirichlet_process", "dirichlet_distribution"])
def test_a_stream_is_learned(covariance_type, weights):
    X = rows(6000)
    model = mixture(covariance_type=covariance_type, weight_concentration_prior_type=weights)
    learn(model, X)
    found, means = in_order(model)
    assert_allclose(found, [0.5, 0.3, 0.2], atol=0.03)
    assert_allclose(means, CENTERS, atol=0.2)
    assert_allclose(model.mean_precision_.sum(), 6000 + 3)
    # the first batch was begun from, and is no step
    assert model.n_steps_ == model.n_iter_ == 29
    assert model.n_samples_seen_ == 6000
    assert not model.converged_
    assert not hasattr(model, "trace_")


def test_few_rows_are_waited_with():
    X = rows(100)
    model = mixture()
    for first in range(0, 80, 20):
        model.partial_fit(X[first : first + 20])
    with pytest.raises(NotFittedError, match="waits with 80 rows for 90 to begin with"):
        model.predict(X)
    assert model.partial_fit(X[80:]).predict(X).shape == (100,)


def test_the_prior_is_that_of_the_first_rows_and_stays():
    X = rows(1000)
    model = mixture().partial_fit(X[:400])
    assert_allclose(model.mean_prior_, X[:400].mean(axis=0))
    assert_allclose(model.covariance_prior_, np.cov(X[:400].T))
    prior = model.mean_prior_
    model.partial_fit(X[400:] + 3.0)
    assert_array_equal(model.mean_prior_, prior)


def test_given_priors_are_those_of_streams_too():
    model = mixture(mean_prior=[1.0, 2.0], covariance_prior=np.eye(2), mean_precision_prior=0.5)
    model.partial_fit(rows(400))
    assert_array_equal(model.mean_prior_, [1.0, 2.0])
    assert_array_equal(model.covariance_prior_, np.eye(2))
    assert_allclose(model.mean_precision_.sum(), 400 + 1.5)


def test_the_lower_bound_is_close_to_that_of_a_fit():
    X = rows(6000)
    streamed = learn(mixture(), X)
    fitted = mixture().fit(X)
    assert_allclose(streamed.lower_bound_, fitted.lower_bound_, rtol=0.02)


@every_type
def test_a_fit_counts_as_many_rows_as_it_was_fitted_to(covariance_type):
    X = rows(3000)
    model = mixture(covariance_type=covariance_type, max_iter=500).fit(X[:2000])
    before = in_order(model)
    model.partial_fit(X[2000:2100] + 30.0)
    # A hundred rows that are far away are a hundred of two thousand and one hundred.
    assert_allclose(model.mean_precision_.sum(), 2100 + 3)
    model = mixture(covariance_type=covariance_type, max_iter=500).fit(X[:2000])
    model.partial_fit(X[2000:])
    after = in_order(model)
    assert_allclose(after[0], before[0], atol=0.03)
    assert_allclose(after[1], before[1], atol=0.15)
    assert_allclose(model.mean_precision_.sum(), 3000 + 3)
    assert model.n_samples_seen_ == 1000


def test_a_new_fit_or_new_attributes_take_the_place_of_what_was_learned():
    X = rows(1000)
    model = learn(mixture(), X)
    model.mean_precision_ = model.mean_precision_ * 2.0
    model.weight_concentration_ = tuple(2.0 * each for each in model.weight_concentration_)
    model.partial_fit(X)
    assert model.n_samples_seen_ == 1000
    model.fit(X)
    assert not hasattr(model, "n_samples_seen_")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize(
    "covariance_type", [name for name in get_args(CovarianceType) if len(name) > 1]
)
def test_copies_continue_alike(again, covariance_type):
    X = rows(2000)
    model = learn(mixture(covariance_type=covariance_type, averaging=True), X[:1000])
    other = again(model)
    learn(model, X[1000:])
    learn(other, X[1000:])
    assert other.n_samples_seen_ == 2000
    assert_array_equal(model.means_, other.means_)
    assert model.lower_bound_ == other.lower_bound_


@pytest.mark.parametrize(
    "name", ["means_", "degrees_of_freedom_", "mean_prior_", "degrees_of_freedom_prior_"]
)
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_attributes_changed_by_hand_are_a_warm_start(name, covariance_type):
    X = rows(1000)
    model = learn(mixture(covariance_type=covariance_type), X)
    value = getattr(model, name)
    if isinstance(value, np.ndarray):
        value *= 1.5  # in the array that is there
    else:
        setattr(model, name, value * 1.5)
    model.partial_fit(X[:100])
    assert model.n_samples_seen_ == 100


def test_a_file_is_learned_in_batches(tmp_path):
    X = rows(4000)
    np.save(tmp_path / "x.npy", X)
    model = mixture().partial_fit(tmp_path / "x.npy")
    assert model.n_samples_seen_ == 4000
    assert_allclose(in_order(model)[0], [0.5, 0.3, 0.2], atol=0.03)


def test_weights_count_as_copies():
    X = rows(1000)
    copies = np.random.default_rng(1).integers(1, 4, size=500)
    start = mixture().partial_fit(X[:500])
    one, other = copy.deepcopy(start), copy.deepcopy(start)
    one.partial_fit(X[500:], sample_weight=copies)
    other.partial_fit(np.repeat(X[500:], copies, axis=0))
    assert_allclose(one.means_, other.means_, rtol=1e-9)
    assert_allclose(one.mean_precision_, other.mean_precision_, rtol=1e-9)


def test_a_stream_that_drifts_is_followed_with_forgetting():
    X = rows(6000)
    moved = np.add(rows(6000, seed=1), [4.0, -3.0])
    model = learn(learn(mixture(forgetting=0.8), X), moved)
    assert_allclose(model.weights_ @ model.means_, moved.mean(axis=0), atol=0.4)
    assert model.mean_precision_.sum() < 1500.0


def test_rows_of_another_size_are_reported():
    model = mixture().partial_fit(rows(400))
    with pytest.raises(ValueError, match="X has 3 features"):
        model.partial_fit(np.zeros((5, 3)))
    model.set_params(n_components=4)
    with pytest.raises(ValueError, match=r"partial_fit continues from means_ of shape \(3, 2\)"):
        model.partial_fit(rows(400))


def test_a_warm_start_continues_from_a_stream():
    X = rows(2000)
    model = learn(mixture(warm_start=True, max_iter=3), X)
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
    assert_allclose(model.means_[model.weights_.argmax()], [0.0, 0.0], atol=0.2)
