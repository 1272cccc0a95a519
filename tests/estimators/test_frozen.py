"""Mixtures of which some parameters are frozen."""

import math
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastgmm
from fastgmm import (
    ConjugatePriors,
    GaussianMixture,
    MiniBatchGaussianMixture,
    bootstrap_parameters,
)
from fastgmm.extend import Prior
from tests import oracle
from tests.problems import problem

HARD = problem("overlapping")
X = HARD.X
START = GaussianMixture(3, random_state=0, max_iter=0).fit(X)
INITIAL = {
    "weights_init": np.array([0.2, 0.5, 0.3]),
    "means_init": START.means_ + 0.1,
    "precisions_init": START.precisions_,
}
FROZEN = {"weights": [2], "means": [0, 2], "covariances": [1]}


def frozen_mixture(**settings):
    return GaussianMixture(3, **{**INITIAL, "frozen": FROZEN, "random_state": 0, **settings})


def assert_frozen(mixture):
    assert_array_equal(mixture.means_[[0, 2]], INITIAL["means_init"][[0, 2]])
    assert_allclose(mixture.precisions_[1], INITIAL["precisions_init"][1], rtol=1e-9)
    assert mixture.weights_[2] == pytest.approx(0.3, rel=1e-15)
    assert mixture.weights_.sum() == pytest.approx(1.0)
    free = mixture.means_[1], mixture.weights_[0]
    assert not np.allclose(free[0], INITIAL["means_init"][1], atol=1e-3)
    assert free[1] != pytest.approx(0.2, rel=1e-3)


def test_frozen_parameters_stay_and_the_likelihood_rises():
    mixture = frozen_mixture(tol=1e-10, max_iter=500).fit(X)
    assert mixture.converged_
    assert_frozen(mixture)
    assert np.diff(mixture.trace_).min() >= 0.0


def test_a_free_fit_is_no_worse():
    mixture = frozen_mixture(tol=1e-10, max_iter=500).fit(X)
    free = frozen_mixture(frozen=None, tol=1e-5, max_iter=500).fit(X)
    assert free.lower_bound_ > mixture.lower_bound_


def test_the_fixed_point_is_that_of_the_oracle():
    mixture = frozen_mixture(tol=1e-13, max_iter=3000, reg_covar=0.0).fit(X)
    shares = oracle.responsibilities(X, mixture.weights_, mixture.means_, mixture.covariances_)
    counts = shares.sum(axis=0)
    assert_allclose(mixture.weights_[:2], 0.7 * counts[:2] / counts[:2].sum(), rtol=1e-6)
    assert_allclose(mixture.means_[1], shares[:, 1] @ X / counts[1], rtol=1e-6, atol=1e-6)
    for k in (0, 2):
        offsets = X - mixture.means_[k]
        scatter = (shares[:, k, None] * offsets).T @ offsets / counts[k]
        assert_allclose(mixture.covariances_[k], scatter, rtol=1e-5, atol=1e-7)


def test_a_weight_is_as_many_copies():
    weights = np.random.default_rng(0).integers(0, 3, size=len(X))
    one = frozen_mixture().fit(X, sample_weight=weights)
    other = frozen_mixture().fit(np.repeat(X, weights, axis=0))
    assert_frozen(one)
    assert_allclose(one.means_, other.means_, rtol=1e-9)


def test_files_give_the_same_bits(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    from_file = frozen_mixture().fit(tmp_path / "rows.npy")
    in_memory = frozen_mixture().fit(X)
    assert_array_equal(from_file.means_, in_memory.means_)
    assert_array_equal(from_file.covariances_, in_memory.covariances_)


def test_dask_collections_are_taken():
    array = pytest.importorskip("dask.array")
    mixture = frozen_mixture().fit(array.from_array(X, chunks=(100, X.shape[1])))
    assert_frozen(mixture)
    assert_allclose(mixture.means_, frozen_mixture().fit(X).means_, rtol=1e-9)


def test_missing_values_are_integrated_out():
    holed = X.copy()
    holed[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    mixture = frozen_mixture(missing="model", tol=1e-9, max_iter=500).fit(holed)
    assert_frozen(mixture)
    assert np.diff(mixture.trace_).min() >= -1e-12


def test_weights_are_shares_of_what_is_not_noise():
    far = np.random.default_rng(0).uniform(-50.0, 50.0, size=(40, X.shape[1]))
    mixture = frozen_mixture(noise_volume=1e6).fit(np.concatenate([X, far]))
    assert mixture.noise_weight_ > 0.0
    assert mixture.weights_[2] == pytest.approx(0.3 * (1.0 - mixture.noise_weight_), rel=1e-12)
    assert_allclose(mixture.means_[[0, 2]], INITIAL["means_init"][[0, 2]], rtol=1e-15)


def test_a_prior_acts_on_what_is_free():
    mixture = frozen_mixture(priors=ConjugatePriors(mean_precision=5.0), tol=1e-9).fit(X)
    assert_frozen(mixture)
    assert np.diff(mixture.trace_).min() >= -1e-12


def test_known_components_are_kept():
    y = np.full(len(X), -1)
    y[:50] = 1
    mixture = frozen_mixture(semi_supervised=True).fit(X, y)
    assert_frozen(mixture)


def test_a_fit_continues_from_a_fitted_mixture():
    mixture = GaussianMixture(3, random_state=0).fit(X[:200])
    before = mixture.means_.copy(), mixture.weights_.copy()
    mixture.set_params(warm_start=True, frozen={"means": True}).fit(X)
    assert_array_equal(mixture.means_, before[0])
    assert not np.allclose(mixture.weights_, before[1], rtol=1e-4)


@pytest.mark.parametrize("averaging", [False, True])
def test_streams_leave_frozen_parameters_alone(averaging):
    mixture = GaussianMixture(3, random_state=0).fit(X[:200])
    before = mixture.means_.copy(), mixture.covariances_.copy()
    mixture.set_params(averaging=averaging, frozen={"means": True, "covariances": [0]})
    for batch in np.array_split(X, 4):
        mixture.partial_fit(batch)
    assert_array_equal(mixture.means_, before[0])
    assert_allclose(mixture.covariances_[0], before[1][0], rtol=1e-12)
    assert not np.allclose(mixture.covariances_[1], before[1][1], rtol=1e-4)
    copy = pickle.loads(pickle.dumps(mixture)).partial_fit(X[:100])
    assert_array_equal(copy.means_, before[0])


def test_minibatches_leave_frozen_parameters_alone(tmp_path):
    mixture = MiniBatchGaussianMixture(3, batch_size=64, random_state=0, frozen=FROZEN, **INITIAL)
    mixture.fit(X)
    assert_frozen(mixture)
    mixture.save(tmp_path / "model.fgm")
    loaded = fastgmm.load(tmp_path / "model.fgm").partial_fit(X)
    assert_array_equal(loaded.means_[[0, 2]], INITIAL["means_init"][[0, 2]])


def test_criteria_count_free_parameters():
    mixture = frozen_mixture().fit(X)
    D = X.shape[1]
    n_parameters = 1 + D + 2 * D * (D + 1) // 2
    total = mixture.score(X) * len(X)
    assert mixture.bic(X) == pytest.approx(-2.0 * total + n_parameters * math.log(len(X)))
    assert mixture.aic(X) == pytest.approx(-2.0 * total + 2.0 * n_parameters)


def test_models_are_saved_cloned_and_pickled(tmp_path):
    mixture = frozen_mixture(frozen={"means": np.array([0, 2]), "weights": True}).fit(X)
    mixture.save(tmp_path / "model.fgm")
    loaded = fastgmm.load(tmp_path / "model.fgm")
    assert loaded.frozen == {"means": [0, 2], "weights": True}
    for copy in (loaded, pickle.loads(pickle.dumps(mixture)), clone(mixture).fit(X)):
        assert_array_equal(copy.means_, mixture.means_)
        assert copy.bic(X) == mixture.bic(X)


def test_what_was_changed_to_the_impossible_is_not_saved(tmp_path):
    mixture = frozen_mixture().fit(X).set_params(frozen={"means": [9]})
    with pytest.raises(ValueError, match="names component 9"):
        mixture.save(tmp_path / "model.fgm")


def test_an_interrupted_fit_resumes(tmp_path):
    settings = {"tol": 0.0, "checkpoint": tmp_path / "fit.ckpt", "checkpoint_interval": 0}
    whole = frozen_mixture(tol=0.0, max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole.fit(X)
        frozen_mixture(**settings, max_iter=5).fit(X)
        resumed = frozen_mixture(**settings, max_iter=20, resume=True).fit(X)
    assert_array_equal(resumed.means_, whole.means_)
    assert_array_equal(resumed.covariances_, whole.covariances_)


class Own(Prior):
    def solve(self, *_):
        raise AssertionError

    def log_density(self, *_):
        return 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frozen": {"covariance": True}}, "'covariance', which is no kind of parameter"),
        ({"frozen": {"means": [3]}}, r"frozen\['means'\] names component 3"),
        ({"covariance_type": "tied", "precisions_init": None}, "one covariance for all components"),
        ({"means_init": None}, r"frozen\['means'\] keeps the initial values.*give means_init"),
        ({"weights_init": None}, "give weights_init"),
        ({"precisions_init": None}, "give precisions_init"),
        ({"priors": Own()}, "frozen and priors=.* do not go together"),
        ({"frozen": [0, 2]}, "The 'frozen' parameter"),
    ],
)
def test_what_cannot_be_frozen_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        frozen_mixture(**settings).fit(X)
    if "priors" not in settings:
        with pytest.raises(ValueError, match=message):
            frozen_mixture(**settings).partial_fit(np.repeat(X, 5, axis=0))


def test_tests_of_free_mixtures_refuse_frozen_ones():
    with pytest.raises(ValueError, match="has frozen"):
        bootstrap_parameters(frozen_mixture().fit(X), X, n_resamples=10)


def test_frozen_covariances_do_not_count_as_collapsed(recwarn):
    narrow = {**INITIAL, "precisions_init": np.repeat(np.eye(X.shape[1])[None] * 1e9, 3, axis=0)}
    mixture = GaussianMixture(3, **narrow, frozen={"covariances": True}, max_iter=2).fit(X)
    assert_allclose(mixture.precisions_, narrow["precisions_init"], rtol=1e-9)
    assert not [each for each in recwarn if "reg_covar" in str(each.message)]
