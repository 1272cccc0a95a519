"""Mixtures fitted under conjugate priors: against mclust, and as maxima of the posterior."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import invgamma, invwishart, multivariate_normal
from sklearn.base import clone

import fastgmm
from fastgmm import ConjugatePriors, GaussianMixture
from tests import oracle
from tests.problems import problem

REFERENCE = Path(__file__).parents[1] / "reference"
MCLUST = json.loads((REFERENCE / "mclust_priors_and_noise.json").read_text())
NAMES = {"EII": "tied_spherical", "VII": "spherical", "VVI": "diag", "EEE": "tied", "VVV": "full"}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def columns_of(name):
    with (REFERENCE / name).open() as file:
        return list(csv.reader(file))[1:]


def irises():
    rows = columns_of("iris.csv")
    return np.array([row[:4] for row in rows], dtype=np.float64), np.repeat([0, 1, 2], 50)


def assert_is(mixture, X, reference):
    assert_allclose(mixture.score(X) * len(X), reference["log_likelihood"], rtol=1e-8)
    assert_allclose(mixture.bic(X), -reference["bic"], rtol=1e-8)
    assert_allclose(mixture.weights_, reference["weights"], rtol=1e-6)
    means = np.reshape(reference["means"], mixture.means_.shape)
    assert_allclose(mixture.means_, means, rtol=1e-6)
    expected = np.reshape(reference["covariances"], oracle.fitted_covariances(mixture).shape)
    assert_allclose(oracle.fitted_covariances(mixture), expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("model", ["VII", "VVI", "EEE", "VVV"])
def test_the_result_is_mclusts(model):
    X, species = irises()
    mixture = GaussianMixture(
        3, covariance_type=NAMES[model], priors="mclust", labels_init=species, tol=1e-14,
        max_iter=1000,
    ).fit(X)  # fmt: skip
    assert_is(mixture, X, MCLUST["prior"][model])


def test_the_result_for_one_feature_is_mclusts():
    X = np.array(columns_of("faithful.csv"), dtype=np.float64)[:, :1]
    mixture = GaussianMixture(
        2, priors="mclust", labels_init=(X[:, 0] > 3).astype(int), tol=1e-14, max_iter=1000
    ).fit(X)
    assert_is(mixture, X, MCLUST["prior_single_feature"])


def test_for_one_variance_mclust_leaves_the_scale_out():
    X, species = irises()
    mixture = GaussianMixture(
        3, covariance_type="tied_spherical", priors=ConjugatePriors(scale=1e-30),
        labels_init=species, tol=1e-14, max_iter=1000,
    ).fit(X)  # fmt: skip
    assert_is(mixture, X, MCLUST["prior"]["EII"])


@pytest.mark.parametrize(
    ("model", "count", "mclusts"),
    [
        ("EEI", 150 + 6 + 3 + 2, 150 + 6 + 2),
        ("EVI", 150 + 3 * (6 + 3), 150 + 6 + 2),
        ("EEV", 150 + 3 * (6 + 4 + 2), 150 + 6 + 4 + 2),
        ("VEI", 50 + 6 + 3, 50 + (6 + 3) / 4),
        ("VEV", 50 + 6 + 4 + 2, 50),
    ],
)
def test_in_some_models_mclust_divides_by_other_counts(model, count, mclusts):
    X, species = irises()
    start = GaussianMixture(
        3, covariance_type=model, priors="mclust", labels_init=species, max_iter=0
    ).fit(X)
    reference = MCLUST["m_steps"][model]
    found = start._parameters().covariances()
    found = np.array([np.diag(each) for each in found]) if found.ndim == 2 else found
    assert_allclose(found * count, np.array(reference["covariances"]) * mclusts, atol=1e-8)
    if model == "EEI":  # whose means mclust leaves as they are
        expected = [X[species == k].mean(axis=0) for k in range(3)]
        assert_allclose(reference["means"], expected)
    else:
        assert_allclose(start.means_, reference["means"])


def log_prior(mixture, X):
    """Return the logarithm of the prior's density: means and covariances of each component."""
    D = X.shape[1]
    total, scale = 0.0, np.cov(X.T) / mixture.n_components ** (2 / D)
    variance = np.trace(np.cov(X.T)) / D / mixture.n_components ** (2 / D)
    for mean, matrix in zip(mixture.means_, oracle.fitted_covariances(mixture), strict=True):
        total += multivariate_normal.logpdf(mean, X.mean(axis=0), matrix / 0.01)
        if mixture.covariance_type == "full":
            total += invwishart.logpdf(matrix, D + 2, scale)
        elif mixture.covariance_type == "diag":
            total += invgamma.logpdf(np.diag(matrix), (D + 2) / 2, scale=variance / 2).sum()
    if mixture.covariance_type == "tied":
        total += invwishart.logpdf(oracle.fitted_covariances(mixture)[0], D + 2, scale)
    return total


@pytest.mark.parametrize("covariance_type", ["full", "diag", "tied"])
def test_the_trace_is_the_log_posterior_and_rises(covariance_type):
    X = problem("overlapping").X
    traced = []
    for max_iter in (1, 30):
        mixture = GaussianMixture(
            3, covariance_type=covariance_type, priors="mclust", tol=0.0, max_iter=max_iter,
            init_params="random_from_data", random_state=0,
        ).fit(X)  # fmt: skip
        posterior = mixture.score(X) + log_prior(mixture, X) / len(X)
        traced.append(mixture.lower_bound_ - posterior)
        assert mixture.lower_bound_ == mixture.trace_[-1]
    assert_allclose(*traced, rtol=1e-11)  # the same constant
    assert (np.diff(mixture.trace_) > -1e-12).all()
    assert mixture.n_iter_ == 30


def test_criteria_take_the_likelihood_alone():
    X = problem("overlapping").X
    mixture = GaussianMixture(3, priors="mclust", random_state=0).fit(X)
    joint = oracle.log_density(X, mixture.weights_, mixture.means_, mixture.covariances_)
    assert_allclose(mixture.score(X), joint.mean())
    n_parameters = GaussianMixture(3, random_state=0).fit(X)._n_parameters()
    assert_allclose(mixture.bic(X), -2.0 * joint.sum() + n_parameters * np.log(len(X)))
    assert_allclose(mixture.aic(X), -2.0 * joint.sum() + n_parameters * 2.0)
    assert_allclose(mixture.icl(X), mixture.bic(X) + 2.0 * mixture.entropy(X))


def test_a_prior_takes_the_place_of_the_regularization():
    X = np.concatenate([problem("overlapping").X, np.full((30, 3), 40.0)])
    fits = [
        GaussianMixture(4, priors="mclust", reg_covar=amount, random_state=0).fit(X)
        for amount in (0.0, 1e-6, 10.0)
    ]
    for fit in fits[1:]:
        assert_array_equal(fit.covariances_, fits[0].covariances_)
        assert fit.fit_info_.degeneracies == ()
    # the thirty equal rows have the covariance that the prior gives them
    k = fits[0].predict([[40.0, 40.0, 40.0]])[0]
    share = 0.01 * 30 / 30.01 * np.outer(*[X.mean(axis=0) - 40.0] * 2)
    expected = (np.cov(X.T) / 4 ** (2 / 3) + share) / (5 + 30 + 3 + 2)
    assert_allclose(fits[0].covariances_[k], expected, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_integer_weights_are_repetitions(covariance_type):
    X = problem("overlapping").X[:200]
    copies = np.random.default_rng(0).integers(1, 4, size=len(X))
    start = GaussianMixture(3, random_state=0).fit(X)
    settings = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "priors": ConjugatePriors(weight_concentration=2.0),
        "means_init": start.means_,
        "labels_init": start.predict(X),
    }
    weighted = GaussianMixture(**settings).fit(X, sample_weight=copies)
    settings["labels_init"] = np.repeat(settings["labels_init"], copies)
    repeated = GaussianMixture(**settings).fit(np.repeat(X, copies, axis=0))
    assert_allclose(weighted.weights_, repeated.weights_, rtol=1e-9)
    assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-9)


def test_weights_that_sum_to_less_than_a_row_are_possible():
    X = problem("overlapping").X
    weights = np.full(len(X), 0.5 / len(X))
    mixture = GaussianMixture(2, priors="mclust", random_state=0).fit(X, sample_weight=weights)
    assert np.isfinite(mixture.covariances_).all()


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_what_follows_from_the_data_follows_their_unit(scale):
    X = problem("overlapping").X
    one = GaussianMixture(3, priors="mclust", random_state=0, tol=0.0, max_iter=20).fit(X)
    other = clone(one).fit(X * scale)
    assert_allclose(other.means_, one.means_ * scale, rtol=1e-8)
    assert_allclose(other.covariances_ / scale**2, one.covariances_, rtol=1e-8)


def test_single_precision_is_close_to_double():
    X = problem("overlapping").X
    mixture = GaussianMixture(3, priors="mclust", random_state=0)
    double, single = clone(mixture).fit(X), clone(mixture).fit(X.astype(np.float32))
    assert single.covariances_.dtype == np.float64
    assert_allclose(single.covariances_, double.covariances_, rtol=5e-3, atol=5e-3)


def test_a_file_gives_the_bits_of_an_array(tmp_path):
    X = problem("overlapping").X
    np.save(tmp_path / "rows.npy", X)
    mixture = GaussianMixture(3, priors="mclust", random_state=0)
    one, other = clone(mixture).fit(X), clone(mixture).fit(tmp_path / "rows.npy")
    assert_array_equal(other.covariances_, one.covariances_)


def test_a_warm_start_continues():
    X = problem("overlapping").X
    settings = {"priors": "mclust", "tol": 0.0, "random_state": 0}
    whole = GaussianMixture(3, max_iter=10, **settings).fit(X)
    parts = GaussianMixture(3, max_iter=4, warm_start=True, **settings).fit(X)
    assert_array_equal(parts.set_params(max_iter=6).fit(X).means_, whole.means_)


def test_priors_are_values():
    given = ConjugatePriors(mean=[1.0, 2.0], scale=np.eye(2), degrees_of_freedom=7)
    equal = ConjugatePriors(mean=np.array([1, 2]), scale=[[1, 0], [0, 1]], degrees_of_freedom=7.0)
    assert given == equal
    assert hash(given) == hash(equal)
    assert given != ConjugatePriors(mean=[1.0, 2.0], degrees_of_freedom=7)
    assert given != "mclust"
    assert ConjugatePriors.from_plain(json.loads(json.dumps(given.plain()))) == given


def test_copies_and_files_keep_the_priors(tmp_path):
    X = problem("overlapping").X
    given = ConjugatePriors(mean=X.mean(axis=0), scale=np.cov(X.T), mean_precision=0.5)
    mixture = GaussianMixture(2, priors=given, random_state=0).fit(X)
    assert clone(mixture).priors == given
    assert pickle.loads(pickle.dumps(mixture)).priors == given
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert loaded.priors == given
    assert_array_equal(loaded.fit(X).covariances_, mixture.covariances_)
    mixture.set_params(priors="mclust").fit(X).save(tmp_path / "other.fgm")
    assert fastgmm.load(tmp_path / "other.fgm").priors == "mclust"


def test_the_converted_mixture_is_the_same():
    X = problem("overlapping").X
    mixture = GaussianMixture(2, priors="mclust", random_state=0).fit(X)
    assert_allclose(mixture.to_sklearn().score_samples(X), mixture.score_samples(X))


@pytest.mark.parametrize(
    ("columns", "covariance_type", "words"),
    [
        ([0, 0], "full", "features are linearly dependent"),
        ([0, 3], "tied", "feature 1 has a single value"),
        ([3, 3], "diag", "no feature varies"),
    ],
)
def test_data_that_give_no_scale_are_reported(columns, covariance_type, words):
    X = problem("overlapping").X
    X = np.column_stack([X, np.full(len(X), 5.0)])
    mixture = GaussianMixture(2, covariance_type=covariance_type, priors="mclust")
    with pytest.raises(ValueError, match=f"{words}.*give the scale"):
        mixture.fit(X[:, columns])
    scale = ConjugatePriors(scale=1.0)
    assert np.isfinite(mixture.set_params(priors=scale).fit(X[:, columns]).covariances_).all()


@pytest.mark.parametrize("priors", ["jeffreys", 3, {"mean": [0.0]}])
def test_priors_of_another_kind_are_refused(priors):
    with pytest.raises(ValueError, match="'priors' parameter"):
        GaussianMixture(priors=priors).fit(problem("overlapping").X)


def test_hyperparameters_that_do_not_go_with_the_rows_are_refused():
    X = problem("overlapping").X
    with pytest.raises(ValueError, match="mean must be 3 finite numbers"):
        GaussianMixture(priors=ConjugatePriors(mean=[1.0, 2.0])).fit(X)
    with pytest.raises(ValueError, match="degrees_of_freedom must be above n_features - 1 = 2"):
        GaussianMixture(priors=ConjugatePriors(degrees_of_freedom=0.5)).fit(X)


def test_online_learning_refuses_priors():
    mixture = GaussianMixture(priors="mclust")
    assert not hasattr(mixture, "partial_fit")
    with pytest.raises(AttributeError, match="no attribute 'partial_fit'") as refusal:
        mixture.partial_fit(problem("overlapping").X)
    assert "knows no priors, and they are 'mclust': use fit" in str(refusal.value.__cause__)
