"""Components of two fits matched, and put into an order."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    match_components,
    reorder_components,
)
from tests.structures import every_structure

COSTS = ["wasserstein", "kl", "means"]


def rows(seed=0):
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 7.0], [8.0, 8.0]])
    spreads = np.array([0.5, 0.8, 1.0, 1.3])
    parts = [rng.normal(c, s, (150, 2)) for c, s in zip(centers, spreads, strict=True)]
    return np.concatenate(parts)


def fitted(name="full", **parameters):
    return GaussianMixture(4, covariance_type=name, random_state=0, **parameters).fit(rows())


@pytest.mark.parametrize("cost", COSTS)
@every_structure
def test_a_permutation_is_found_again(name, cost):
    mixture = fitted(name)
    order = np.array([2, 0, 3, 1])
    turned = reorder_components(mixture, order)
    assert turned.covariance_type == name
    assert_array_equal(turned.means_, mixture.means_[order])
    assert_allclose(turned.weights_, mixture.weights_[order], rtol=1e-15)  # exp(log(w))
    found = match_components(mixture, turned, cost=cost)
    assert found.dtype == np.int64
    assert_array_equal(order[found], np.arange(4))
    again = reorder_components(turned, found)
    assert_allclose(again.covariances_, mixture.covariances_, rtol=1e-12)
    assert_array_equal(again.predict(rows()), mixture.predict(rows()))
    assert_allclose(turned.score_samples(rows()), mixture.score_samples(rows()), rtol=1e-9)


@pytest.mark.parametrize("cost", COSTS)
def test_fits_of_other_rows(cost):
    first = fitted()
    second = GaussianMixture(4, random_state=5).fit(rows(1))
    aligned = reorder_components(second, match_components(first, second, cost=cost))
    assert np.abs(aligned.means_ - first.means_).max() < 0.5


def test_means_alone_do_not_tell_spreads_apart():
    mixture = GaussianMixture(2, covariance_type="spherical")
    mixture.weights_, mixture.means_ = np.full(2, 0.5), np.array([[0.0], [0.1]])
    mixture.covariances_ = np.array([1.0, 100.0])
    mixture.precisions_cholesky_ = np.array([1.0, 0.1])
    other = reorder_components(mixture, [0, 1])
    other.means_ = np.array([[0.1], [0.0]])
    assert_array_equal(match_components(mixture, other, cost="means"), [1, 0])
    assert_array_equal(match_components(mixture, other), [0, 1])
    assert_array_equal(match_components(mixture, other, cost="kl"), [0, 1])


def test_noise_stays_the_last():
    mixture = fitted(noise_volume="auto")
    turned = reorder_components(mixture, [3, 2, 1, 0])
    assert turned.noise_weight_ == pytest.approx(mixture.noise_weight_)
    assert turned.noise_log_volume_ == mixture.noise_log_volume_
    assert_allclose(turned.score_samples(rows()), mixture.score_samples(rows()), rtol=1e-9)
    assert_array_equal(match_components(mixture, turned), [3, 2, 1, 0])


def test_what_stays():
    frame = pd.DataFrame(rows(), columns=["a", "b"])
    mixture = GaussianMixture(4, random_state=0).fit(frame)
    turned = reorder_components(mixture, np.argsort(mixture.means_[:, 0]))
    assert (np.diff(turned.means_[:, 0]) > 0).all()
    assert list(turned.feature_names_in_) == ["a", "b"]
    assert turned.lower_bound_ == mixture.lower_bound_
    assert turned.n_iter_ == mixture.n_iter_
    turned.means_[0] = 99.0
    assert (mixture.means_ != 99.0).all()


def test_variational_mixtures():
    bayes = BayesianGaussianMixture(4, max_iter=500, random_state=0).fit(rows())
    turned = reorder_components(bayes, [1, 0, 3, 2])
    assert type(turned) is GaussianMixture
    assert_array_equal(turned.weights_, bayes.weights_[[1, 0, 3, 2]])
    assert_array_equal(match_components(bayes, turned), [1, 0, 3, 2])


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4], [[0, 1, 2, 3]]])
def test_orders_that_are_none(order):
    with pytest.raises(ValueError, match="order must hold each of the numbers from 0 to 3 once"):
        reorder_components(fitted(), order)


def test_mixtures_that_do_not_match():
    three = GaussianMixture(3, random_state=0).fit(rows())
    with pytest.raises(ValueError, match=r"means_ have the shapes \(4, 2\) and \(3, 2\)"):
        match_components(fitted(), three)
    with pytest.raises(ValueError, match="cost must be 'wasserstein' or 'kl' or 'means'; got 'l1'"):
        match_components(three, three, cost="l1")
    with pytest.raises(NotFittedError):
        match_components(three, GaussianMixture(3))
