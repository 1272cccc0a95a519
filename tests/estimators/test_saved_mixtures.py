"""Fitted mixtures to model files and back."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

import fastgmm
from fastgmm import GaussianMixture
from fastgmm.io import model_file as persistence
from fastgmm.io.model_file import ModelFileError
from tests.structures import ANY_FEATURES


def rows(dtype=np.float64):
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=3.0, size=(3, 3))
    return (centers[rng.integers(3, size=300)] + rng.normal(size=(300, 3))).astype(dtype)


def assert_equal_state(first, second):
    assert vars(first).keys() == vars(second).keys()
    for name, value in vars(first).items():
        other = vars(second)[name]
        if isinstance(value, np.ndarray):
            assert isinstance(other, np.ndarray)
            assert value.dtype == other.dtype
            assert_array_equal(value, other)
        else:
            assert value == other
            assert type(value) is type(other)


@pytest.mark.parametrize("covariance_type", ANY_FEATURES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_loaded_is_what_was_saved(tmp_path, covariance_type, dtype):
    X = rows(dtype)
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0, n_jobs=1).fit(X)
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert type(loaded) is GaussianMixture
    assert_equal_state(mixture, loaded)
    assert_array_equal(loaded.score_samples(X), mixture.score_samples(X))
    assert_array_equal(loaded.sample(5)[0], mixture.sample(5)[0])


def test_names_starting_values_and_degeneracies_are_kept(tmp_path):
    X = np.vstack([rows(), np.full((40, 3), 50.0)])
    labels = np.r_[np.zeros(300, dtype=np.int64), np.ones(40, dtype=np.int64)]
    mixture = GaussianMixture(2, labels_init=labels, weights_init=np.array([0.5, 0.5]))
    with pytest.warns(fastgmm.em.degeneracy.DegenerateComponentWarning):
        mixture.fit(pd.DataFrame(X, columns=["a", "b", "c"]))
    mixture.save(str(tmp_path / "mixture.fgm"))
    loaded = fastgmm.load(str(tmp_path / "mixture.fgm"))
    assert_equal_state(mixture, loaded)
    assert loaded.fit_info_.degeneracies[0].kind == "collapsed"


def test_a_loaded_mixture_continues(tmp_path):
    X = rows()
    mixture = GaussianMixture(3, random_state=0, warm_start=True).fit(X)
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert_array_equal(loaded.fit(X).means_, mixture.fit(X).means_)


def test_mixtures_put_together_by_hand(tmp_path):
    mixture = GaussianMixture(2)
    mixture.weights_ = [0.5, 0.5]
    mixture.means_ = [[0.0], [1.0]]
    mixture.precisions_cholesky_ = [[[1.0]], [[2.0]]]
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert_array_equal(loaded.score_samples([[0.5]]), mixture.score_samples([[0.5]]))


@pytest.mark.parametrize("max_iter", [0, 5])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mixtures_of_scikit_learn(tmp_path, max_iter):
    theirs = sklearn.mixture.GaussianMixture(3, random_state=0, max_iter=max_iter).fit(rows())
    mixture = GaussianMixture.from_sklearn(theirs)
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert loaded.lower_bound_ == theirs.lower_bound_
    assert_array_equal(loaded.covariances_, theirs.covariances_)


def test_a_generator_is_saved_as_none(tmp_path):
    mixture = GaussianMixture(random_state=np.random.RandomState(0)).fit(rows())
    mixture.save(tmp_path / "mixture.fgm")
    assert fastgmm.load(tmp_path / "mixture.fgm").random_state is None


def test_a_subclass_is_saved_as_a_mixture(tmp_path):
    class Mixture(GaussianMixture):
        def __init__(self, n_components=1, threshold=0.5):
            super().__init__(n_components)
            self.threshold = threshold

    Mixture(2).fit(rows()).save(tmp_path / "mixture.fgm")
    assert type(fastgmm.load(tmp_path / "mixture.fgm")) is GaussianMixture


def test_an_unfitted_mixture_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        GaussianMixture().save(tmp_path / "mixture.fgm")
    failed = GaussianMixture(2, means_init=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="means_init"):
        failed.fit(rows())
    with pytest.raises(NotFittedError):
        failed.save(tmp_path / "mixture.fgm")
    assert not list(tmp_path.iterdir())


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mixture\.fgm"):
        fastgmm.load(tmp_path / "mixture.fgm")


def test_a_foreign_file(tmp_path):
    (tmp_path / "mixture.fgm").write_bytes(b"something else")
    with pytest.raises(ModelFileError, match="not a fastgmm model"):
        fastgmm.load(tmp_path / "mixture.fgm")


def test_a_pickle_is_not_run(tmp_path):
    import pickle

    (tmp_path / "mixture.fgm").write_bytes(pickle.dumps(GaussianMixture()))
    with pytest.raises(ModelFileError, match="not a fastgmm model"):
        fastgmm.load(tmp_path / "mixture.fgm")


def halved(held, name):
    held["arrays"][name] = 0.5 * held["arrays"][name]


def rewritten(tmp_path, change):
    """Save a mixture, change what the file holds, and return the path of the new file."""
    path = tmp_path / "mixture.fgm"
    GaussianMixture(3, random_state=0).fit(rows()).save(path)
    stored = persistence.load(path)
    held = {**json.loads(json.dumps(stored.values)), "arrays": dict(stored.arrays)}
    change(held)
    arrays = held.pop("arrays")
    persistence.save(path, stored.model_class, held, arrays)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held.pop("parameters"), "'parameters' is missing"),
        (lambda held: held["parameters"].update(color="red"), "color"),
        (lambda held: held["parameters"].update(tol=-1.0), "'tol'"),
        (lambda held: held["parameters"].update(covariance_type="diag"), "shape"),
        (lambda held: held["attributes"].update(mood_=1), "no attribute 'mood_'"),
        (lambda held: held["attributes"].update(n_features_in_=7), "is 7, .* has 3"),
        (lambda held: held["attributes"].update(feature_names_in_=["a"]), "1 names, .* 3 columns"),
        (lambda held: held["attributes"].update(fit_info_={}), "'.*' is missing"),
        (lambda held: held["arrays"].pop("means_"), "means_"),
        (lambda held: held["arrays"].update(means_=np.zeros((2, 3))), r"weights_ .*\(2,\)"),
        (lambda held: held["arrays"].update(weights_=-held["arrays"]["weights_"]), "at least 0"),
        (lambda held: held["arrays"].update(covariances_=np.eye(3)), "covariances_ should"),
        (lambda held: halved(held, "weights_"), r"the weights, 0\.5 in all, sum to 1"),
        (lambda held: halved(held, "covariances_"), "covariances_ belong to precisions_cholesky_"),
        (lambda held: halved(held, "precisions_"), "precisions_ belong to precisions_cholesky_"),
        (lambda held: held["arrays"].pop("trace_"), "'trace_' is missing"),
    ],
    ids=[
        "no parameters",
        "foreign parameter",
        "impossible parameter",
        "another structure",
        "foreign attribute",
        "another width",
        "fewer names",
        "no information",
        "no means",
        "fewer means",
        "negative weights",
        "one covariance",
        "half the weights",
        "half the covariances",
        "half the precisions",
        "no trace",
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, change, words):
    path = rewritten(tmp_path, change)
    with pytest.raises(ModelFileError, match=rf"mixture\.fgm.*{words}.*save the model again"):
        fastgmm.load(path)


def test_what_cannot_be_loaded_is_not_saved(tmp_path):
    mixture = GaussianMixture(3, random_state=0).fit(rows())
    mixture.covariances_ = mixture.covariances_ * 9.0
    with pytest.raises(ValueError, match="covariances_ belong to precisions_cholesky_"):
        mixture.save(tmp_path / "mixture.fgm")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"n_init": 0}, "'n_init' parameter of GaussianMixture must be an int"),
        ({"tol": np.nan}, "'tol' parameter of GaussianMixture must be a float"),
        ({"reg_covar": np.inf}, "'reg_covar' parameter of GaussianMixture must be a float"),
    ],
)
def test_parameters_that_load_would_refuse_are_not_saved(tmp_path, parameter, words):
    mixture = GaussianMixture(2, random_state=0).fit(rows()).set_params(**parameter)
    with pytest.raises(ValueError, match=words):
        mixture.save(tmp_path / "model.fgm")
    assert not list(tmp_path.iterdir())


def test_a_model_of_another_class_is_refused(tmp_path):
    persistence.save(tmp_path / "model.fgm", "Forest", {}, {})
    with pytest.raises(ModelFileError, match="holds a Forest"):
        fastgmm.load(tmp_path / "model.fgm")


def test_the_file_is_plain(tmp_path):
    path = tmp_path / "mixture.fgm"
    GaussianMixture(random_state=0).fit(rows()).save(path)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("header.json"))["class"] == "GaussianMixture"
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["means_"].shape == (1, 3)
