"""Variational mixtures to model files, to scikit-learn's, and back."""

import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal

import fastgmm
from fastgmm import BayesianGaussianMixture, GaussianMixture
from fastgmm.io import model_file as persistence
from fastgmm.io.model_file import ModelFileError
from fastgmm.mixture.priors.weights import WEIGHT_PRIOR_NAMES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TYPES = ["full", "tied", "diag", "spherical", "tied_diag", "tied_spherical", "VEI", "EVV"]

every_type = pytest.mark.parametrize("covariance_type", TYPES)
every_prior = pytest.mark.parametrize("weights", WEIGHT_PRIOR_NAMES)


def rows(dtype=np.float64, n_samples=300):
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=3.0, size=(3, 3))
    return (centers[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, 3))).astype(
        dtype
    )


def assert_equal_values(one, other):
    assert type(one) is type(other)
    for a, b in zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]:
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert_array_equal(a, b)
        else:
            assert a == b


def assert_equal_state(first, second):
    one, other = ({n: v for n, v in vars(each).items() if n[0] != "_"} for each in (first, second))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert_equal_values(value, other[name])


@every_type
@every_prior
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_loaded_is_what_was_saved(tmp_path, covariance_type, weights, dtype):
    X = rows(dtype)
    mixture = BayesianGaussianMixture(
        3,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        random_state=0,
    ).fit(X)
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert type(loaded) is BayesianGaussianMixture
    assert_equal_state(mixture, loaded)
    assert_array_equal(loaded.score_samples(X), mixture.score_samples(X))


def test_given_priors_and_names_are_kept(tmp_path):
    mixture = BayesianGaussianMixture(
        2, mean_prior=np.array([1.0, 2.0, 3.0]), covariance_prior=np.eye(3), random_state=0
    ).fit(pd.DataFrame(rows(), columns=["a", "b", "c"]))
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert_equal_state(mixture, loaded)
    assert list(loaded.feature_names_in_) == ["a", "b", "c"]


@every_type
def test_a_stream_continues_from_the_file_with_the_same_bits(tmp_path, covariance_type):
    X = rows(n_samples=900)
    mixture = BayesianGaussianMixture(3, covariance_type=covariance_type, averaging=True)
    mixture.set_params(random_state=0)
    for first in range(0, 600, 200):
        mixture.partial_fit(X[first : first + 200])
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert_equal_state(mixture, loaded)
    for each in (mixture, loaded):
        each.partial_fit(X[600:])
    assert loaded.n_samples_seen_ == 900
    assert_equal_state(mixture, loaded)


def test_a_file_that_lacks_a_part_says_so(tmp_path):
    path = tmp_path / "mixture.fgm"
    BayesianGaussianMixture(2, random_state=0).fit(rows()).save(path)
    stored = persistence.load(path)
    values = stored.values
    del values["attributes"]["mean_precision_prior_"]
    persistence.save(path, stored.model_class, values, dict(stored.arrays))
    with pytest.raises(ModelFileError, match="hold a BayesianGaussianMixture that fits together"):
        fastgmm.load(path)


@pytest.mark.parametrize("covariance_type", TYPES[:6])
@every_prior
def test_scikit_learns_mixture_is_the_same_and_comes_back(covariance_type, weights):
    X = rows()
    mixture = BayesianGaussianMixture(
        3,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        random_state=0,
        n_jobs=1,
    ).fit(X)
    theirs = mixture.to_sklearn()
    assert type(theirs) is sklearn.mixture.BayesianGaussianMixture
    assert_allclose(theirs.score_samples(X), mixture.score_samples(X), rtol=1e-10)
    assert_array_equal(theirs.predict(X), mixture.predict(X))
    assert theirs.random_state == 0
    assert theirs.lower_bound_ == mixture.lower_bound_
    again = BayesianGaussianMixture.from_sklearn(theirs)
    assert_allclose(again.score_samples(X), mixture.score_samples(X), rtol=1e-10)


@pytest.mark.parametrize("covariance_type", TYPES[:4])
@every_prior
def test_a_fit_of_scikit_learns_is_a_warm_start(covariance_type, weights):
    X = rows()
    theirs = sklearn.mixture.BayesianGaussianMixture(
        n_components=3,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        random_state=0,
        warm_start=True,
        max_iter=3,
    ).fit(X)
    ours = BayesianGaussianMixture.from_sklearn(theirs)
    assert isinstance(ours.lower_bound_, float)
    assert all(isinstance(each, float) for each in vars(ours).get("lower_bounds_", []))
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-10)
    assert_allclose(ours.fit(X).means_, theirs.fit(X).means_, rtol=1e-8)
    assert_allclose(ours.lower_bound_, np.ravel(theirs.lower_bound_)[0], rtol=1e-10)


def test_unfitted_mixtures_are_converted_too():
    mixture = BayesianGaussianMixture(5, weight_concentration_prior=0.1, mean_prior=[1.0])
    theirs = mixture.to_sklearn()
    assert theirs.weight_concentration_prior == 0.1
    assert theirs.mean_prior == [1.0]
    assert theirs.mean_prior is not mixture.mean_prior
    again = BayesianGaussianMixture.from_sklearn(theirs)
    assert again.get_params() == mixture.get_params()


def test_mixtures_of_maximum_likelihood_are_refused():
    with pytest.raises(TypeError, match=r"takes a sklearn\.mixture\.BayesianGaussianMixture"):
        BayesianGaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture())
    with pytest.raises(TypeError, match=r"takes a sklearn\.mixture\.GaussianMixture"):
        GaussianMixture.from_sklearn(sklearn.mixture.BayesianGaussianMixture())
