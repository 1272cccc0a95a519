"""`MessageLengthGaussianMixture`: what it finds, keeps, saves and refuses."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score

import fastgmm
from fastgmm import MessageLengthGaussianMixture
from fastgmm.em.degeneracy import DegenerateComponentWarning
from tests import oracle


def three(n_samples=900, seed=0):
    """Return the rows of the paper's first example, and the component of each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n_samples)
    centers = np.array([[0.0, -2.0], [0.0, 0.0], [0.0, 2.0]])
    return centers[labels] + np.sqrt([2.0, 0.2]) * rng.normal(size=(n_samples, 2)), labels


@pytest.fixture(scope="module")
def fitted():
    return MessageLengthGaussianMixture(random_state=0).fit(three()[0])


@pytest.mark.parametrize("seed", range(5))
def test_the_example_of_the_paper(seed):
    X, labels = three(seed=seed)
    mixture = MessageLengthGaussianMixture(random_state=seed).fit(X)
    assert mixture.n_components_ == 3
    assert mixture.converged_
    order = np.argsort(mixture.means_[:, 1])
    assert_allclose(mixture.means_[order], [[0, -2], [0, 0], [0, 2]], atol=0.25)
    assert_allclose(mixture.covariances_, [np.diag([2.0, 0.2])] * 3, atol=0.6)
    assert adjusted_rand_score(labels, mixture.predict(X)) > 0.9


def test_attributes_are_those_of_the_shortest_message(fitted):
    X = three()[0]
    density = oracle.log_density(X, fitted.weights_, fitted.means_, fitted.covariances_)
    assert_allclose(fitted.lower_bound_, density.mean(), rtol=1e-10)
    assert_allclose(fitted.score(X), density.mean(), rtol=1e-10)
    # five parameters for each of three components, and their weights
    parameters = 2.5 * np.log(900 * fitted.weights_).sum() + 1.5 * np.log(900)
    assert_allclose(fitted.message_length_, parameters - density.sum(), rtol=1e-10)
    numbers, lengths = fitted.trace_.T
    assert (np.diff(numbers) < 0).all()
    assert numbers[-1] == 1
    assert fitted.message_length_ == lengths[numbers == 3][0] == lengths.min()
    assert fitted.n_iter_ >= len(numbers)
    assert_allclose(fitted.bic(X), -2 * density.sum() + 17 * np.log(900), rtol=1e-10)


def few_rows():
    """Yield small data on which densities of rows underflow under all components but one."""
    yield np.array([[7.0], [7.0], [5.0]])
    for seed in range(66):
        rng = np.random.default_rng(seed)
        yield np.column_stack([rng.integers(0, 2, size=60), rng.normal(size=(60, 2))])
        yield rng.normal(size=(25, 2))
        yield rng.integers(0, 3, size=(rng.integers(2, 9), rng.integers(1, 4))).astype(float)


@pytest.mark.filterwarnings("ignore::fastgmm.em.degeneracy.DegenerateComponentWarning")
def test_small_data_give_finite_mixtures():
    for X in few_rows():
        mixture = MessageLengthGaussianMixture(random_state=0).fit(X)
        density = oracle.log_density(X, mixture.weights_, mixture.means_, mixture.covariances_)
        assert_allclose(mixture.lower_bound_, density.mean(), rtol=1e-6)
        assert np.isfinite(mixture.means_).all()
        assert np.isfinite(mixture.precisions_cholesky_).all()
        assert np.isfinite(mixture.trace_).all()
        assert mixture.weights_.sum() == pytest.approx(1.0)


def test_clone_pickle_and_model_files(fitted, tmp_path):
    X = three()[0]
    assert clone(fitted).get_params() == fitted.get_params()
    fitted.save(tmp_path / "mixture.fgm")
    for again in (pickle.loads(pickle.dumps(fitted)), fastgmm.load(tmp_path / "mixture.fgm")):
        assert type(again) is MessageLengthGaussianMixture
        assert vars(again).keys() == vars(fitted).keys()
        assert_array_equal(again.trace_, fitted.trace_)
        assert again.message_length_ == fitted.message_length_
        assert again.n_components_ == 3
        assert_array_equal(again.score_samples(X), fitted.score_samples(X))
        assert_array_equal(again.sample(4)[0], fitted.sample(4)[0])
    with pytest.raises(NotFittedError):
        MessageLengthGaussianMixture().save(tmp_path / "mixture.fgm")


def test_a_mixture_of_a_given_number_continues(fitted):
    X = three()[0]
    mixture = fitted.to_gaussian_mixture()
    assert_array_equal(mixture.predict_proba(X), fitted.predict_proba(X))
    likeliest = mixture.set_params(warm_start=True, tol=1e-8, max_iter=1000).fit(X)
    assert likeliest.lower_bound_ > fitted.lower_bound_
    assert_allclose(likeliest.means_, fitted.means_, atol=0.05)
    with pytest.raises(NotFittedError):
        MessageLengthGaussianMixture().to_gaussian_mixture()


def test_more_starts_find_messages_that_are_no_longer():
    X = three(200)[0]
    options = {"max_components": 8, "random_state": 0}
    one = MessageLengthGaussianMixture(**options).fit(X)
    more = MessageLengthGaussianMixture(n_init=4, **options).fit(X)
    assert more.message_length_ <= one.message_length_
    again = clone(more).fit(X)
    assert_array_equal(more.means_, again.means_)


def test_rows_without_weight_do_not_count_and_columns_have_names():
    X, _ = three(1500)
    counted = np.random.default_rng(1).random(len(X)) < 0.6
    X[~counted] += 30.0
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(w=counted.astype(float))
    mixture = MessageLengthGaussianMixture(random_state=0, tol=1e-6)
    weighted = mixture.fit(frame, sample_weight="w")
    assert weighted.feature_names_in_.tolist() == ["a", "b"]
    without = clone(mixture).fit(X[counted])
    assert weighted.n_components_ == without.n_components_ == 3
    order, other = weighted.means_[:, 1].argsort(), without.means_[:, 1].argsort()
    assert_allclose(weighted.means_[order], without.means_[other], atol=0.02)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_files_give_the_fit_of_the_array(tmp_path, dtype):
    X = three(40_000)[0].astype(dtype)
    np.save(tmp_path / "rows.npy", X)
    mixture = MessageLengthGaussianMixture(max_components=8, random_state=0)
    from_file = mixture.fit(tmp_path / "rows.npy")
    from_array = clone(mixture).fit(X)
    assert from_file.n_components_ == 3
    assert from_file.means_.dtype == np.float64
    assert_array_equal(from_file.means_, from_array.means_)
    assert_array_equal(from_file.trace_, from_array.trace_)
    with pytest.raises(ValueError, match="can be iterated over only once"):
        mixture.fit(iter([X]))


def test_structures_with_a_common_covariance():
    X = three()[0]
    for name in ("tied", "tied_diag", "EEE"):
        mixture = MessageLengthGaussianMixture(covariance_type=name, random_state=0).fit(X)
        assert mixture.n_components_ == 3


def test_the_fewest_components():
    mixture = MessageLengthGaussianMixture(min_components=5, random_state=0).fit(three()[0])
    assert mixture.n_components_ >= 5
    assert mixture.trace_[-1, 0] == 5


def test_a_fit_that_does_not_converge_says_so():
    with pytest.warns(ConvergenceWarning, match="did not converge: after max_iter=1 iterations"):
        mixture = MessageLengthGaussianMixture(max_iter=1, random_state=0).fit(three(100)[0])
    assert not mixture.converged_


def test_repeated_rows_are_reported():
    X = np.vstack([three(200)[0], np.full((60, 2), 20.0)])
    with pytest.warns(DegenerateComponentWarning, match="collapsed|lost its spread"):
        MessageLengthGaussianMixture(random_state=0).fit(X)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"min_components": 4, "max_components": 3}, "min_components=4 should be no more than"),
        ({"min_components": 25}, "n_samples >= n_components"),
        ({"covariance_type": "E"}, "is for data with a single feature"),
        ({"n_init": 0}, "The 'n_init' parameter"),
    ],
)
def test_impossible_parameters_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        MessageLengthGaussianMixture(**given).fit(three(20)[0])
