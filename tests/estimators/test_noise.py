"""Mixtures with uniform noise: against mclust, and on rows of which some come from nowhere."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastgmm
from fastgmm import GaussianMixture, MiniBatchGaussianMixture
from fastgmm.em.degeneracy import DegenerateComponentWarning
from fastgmm.mixture.noise import INITIAL_SHARE
from tests import oracle

REFERENCE = Path(__file__).parents[1] / "reference" / "mclust_priors_and_noise.json"
MCLUST = json.loads(REFERENCE.read_text())
NAMES = {
    "EII": "tied_spherical",
    "VII": "spherical",
    "EEI": "tied_diag",
    "VVI": "diag",
    "EEE": "tied",
    "VVV": "full",
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def rows(seed=0, n_noise=300):
    """Return rows of two components and of noise, and which they come from, -1 for noise."""
    rng = np.random.default_rng(seed)
    clusters = [rng.normal([0, 0], 1.0, (500, 2)), rng.normal([12, 3], [2.0, 0.5], (700, 2))]
    X = np.concatenate([*clusters, rng.uniform([-20, -20], [30, 20], (n_noise, 2))])
    labels = np.repeat([0, 1, -1], [500, 700, n_noise])
    order = rng.permutation(len(X))
    return X[order], labels[order]


def fitted(X, **parameters):
    settings = {"n_components": 2, "noise_volume": "auto", "random_state": 0}
    return GaussianMixture(**{**settings, **parameters}).fit(X)


def joint_log_density(mixture, X):
    """Return the log-densities of the components and, last, of the noise, weights included."""
    gaussians = oracle.joint_log_density(X, *oracle.mixture_of(mixture))
    noise = np.full(len(X), np.log(mixture.noise_weight_) - mixture.noise_log_volume_)
    return np.column_stack([gaussians, noise])


def assert_is(mixture, X, reference):
    assert_allclose(mixture.score(X) * len(X), reference["log_likelihood"], rtol=1e-9)
    assert_allclose(mixture.weights_, reference["weights"][:2], rtol=1e-6)
    assert_allclose(mixture.noise_weight_, reference["weights"][2], rtol=1e-6)
    assert_allclose(mixture.means_, reference["means"], rtol=1e-6)
    assert_allclose(oracle.fitted_covariances(mixture), reference["covariances"], rtol=2e-6)
    assert_allclose(mixture.bic(X), -reference["bic"], rtol=1e-9)


@pytest.mark.parametrize("model", sorted(MCLUST["noise"]))
def test_the_result_is_mclusts(model):
    X, labels = np.array(MCLUST["rows_with_noise"]), np.array(MCLUST["labels_with_noise"])
    mixture = fitted(
        X, covariance_type=NAMES[model], labels_init=np.where(labels == 2, -1, labels),
        reg_covar=0.0, tol=1e-14, max_iter=1000,
    )  # fmt: skip
    assert_allclose(mixture.noise_volume_, MCLUST["volume"], rtol=1e-12)
    assert_is(mixture, X, MCLUST["noise"][model])


def test_the_result_with_a_prior_is_mclusts():
    X, labels = np.array(MCLUST["rows_with_noise"]), np.array(MCLUST["labels_with_noise"])
    labels = np.where(labels == 2, -1, labels)
    mixture = fitted(X, priors="mclust", labels_init=labels, tol=1e-14, max_iter=1000)
    assert_is(mixture, X, MCLUST["noise_and_prior"])


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "tied_diag"])
def test_noise_and_weights_are_recovered(covariance_type):
    X, labels = rows()
    mixture = fitted(X, covariance_type=covariance_type)
    order = np.argsort(mixture.means_[:, 0])
    assert_allclose(mixture.weights_.sum() + mixture.noise_weight_, 1.0)
    assert_allclose(mixture.noise_weight_, 300 / 1500, atol=0.03)
    assert_allclose(mixture.weights_[order], [500 / 1500, 700 / 1500], atol=0.03)
    assert_allclose(mixture.means_[order], [[0, 0], [12, 3]], atol=0.3)
    found = mixture.predict(X)
    assert set(found) == {-1, 0, 1}
    assert ((found == -1) == (labels == -1)).mean() > 0.95
    assert (order[labels[labels >= 0]] == found[labels >= 0]).mean() > 0.95


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_values_of_rows_are_those_of_the_oracle(covariance_type):
    X, _ = rows()
    mixture = fitted(X, covariance_type=covariance_type)
    joint = joint_log_density(mixture, X)
    densities = np.logaddexp.reduce(joint, axis=1)
    assert_allclose(mixture.score_samples(X), densities, rtol=1e-10)
    assert_allclose(mixture.score(X), densities.mean())
    assert_allclose(mixture.lower_bound_, densities.mean())
    shares = np.exp(joint - densities[:, None])
    assert_allclose(mixture.predict_proba(X), shares, atol=1e-10)
    best = joint.argmax(axis=1)
    assert_array_equal(mixture.predict(X), np.where(best == 2, -1, best))
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum()
    assert_allclose(mixture.entropy(X), entropy)
    assert_allclose(mixture.icl(X), mixture.bic(X) + 2.0 * entropy)


def test_blocks_are_those_of_the_whole():
    X, _ = rows()
    mixture = fitted(X)
    assert_array_equal(np.concatenate(list(mixture.predict_blocks(X))), mixture.predict(X))
    shares = np.concatenate(list(mixture.predict_proba_blocks(X)))
    assert_array_equal(shares, mixture.predict_proba(X))
    refitted = clone(mixture)
    assert_array_equal(refitted.fit_predict(X), mixture.predict(X))


@pytest.mark.parametrize("priors", [None, "mclust"])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "spherical"])
def test_the_trace_rises_from_noise_of_a_small_weight(priors, covariance_type):
    X, _ = rows()
    settings = {"priors": priors, "covariance_type": covariance_type, "init_params": "k-means++"}
    start = fitted(X, max_iter=0, **settings)
    assert_allclose(start.noise_weight_, INITIAL_SHARE)
    mixture = fitted(X, tol=0.0, max_iter=40, **settings)
    assert (np.diff(mixture.trace_) > -1e-12).all()
    assert mixture.trace_[0] == start.trace_[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_volume_is_that_of_the_smaller_box(seed):
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(400, 3)) * [1.0, 5.0, 100.0]
    along = np.ptp(X, axis=0).prod()
    turned = X @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    axes = np.linalg.eigh(np.cov(turned.T))[1]
    across = np.ptp(turned @ axes, axis=0).prod()
    assert_allclose(fitted(X).noise_volume_, along)
    assert_allclose(fitted(turned).noise_volume_, across)


def test_rows_of_weight_zero_do_not_widen_the_volume():
    X, labels = rows()
    weights = (labels >= 0).astype(np.float64)
    mixture = GaussianMixture(2, noise_volume="auto", random_state=0)
    weighted = clone(mixture).fit(X, sample_weight=weights)
    assert weighted.noise_volume_ == clone(mixture).fit(X[labels >= 0]).noise_volume_


def test_a_volume_that_is_given_is_one_parameter_less():
    X, _ = rows()
    plain = GaussianMixture(2, random_state=0).fit(X)
    auto, given = fitted(X), fitted(X, noise_volume=2000)
    assert_allclose(given.noise_volume_, 2000.0)
    for mixture, extra in ((auto, 2), (given, 1)):
        n_parameters = plain._n_parameters() + extra
        total = mixture.score(X) * len(X)
        assert_allclose(mixture.bic(X), -2.0 * total + n_parameters * np.log(len(X)))
        assert_allclose(mixture.aic(X), -2.0 * total + n_parameters * 2.0)


def test_rows_are_drawn_from_the_components_alone():
    X, _ = rows()
    mixture = fitted(X)
    drawn, components = mixture.sample(2000)
    assert set(components) == {0, 1}
    shares = mixture.weights_ / mixture.weights_.sum()
    assert_allclose(np.bincount(components) / 2000, shares, atol=0.03)
    assert (mixture.predict(drawn) >= 0).mean() > 0.9


def test_starts_that_are_given_are_those_of_the_components():
    X, labels = rows()
    means = np.array([[0.0, 0.0], [12.0, 3.0]])
    precisions = np.array([np.eye(2), 0.5 * np.eye(2)])
    start = fitted(
        X, weights_init=[0.25, 0.75], means_init=means, precisions_init=precisions, max_iter=0
    )
    left = 1.0 - INITIAL_SHARE
    assert_allclose(start.weights_, [0.25 * left, 0.75 * left])
    assert_array_equal(start.means_, means)
    assert_allclose(start.precisions_, precisions)
    labeled = fitted(X, labels_init=labels, max_iter=0)
    for k in (0, 1):
        assert_allclose(labeled.means_[k], X[labels == k].mean(axis=0))


def test_single_precision_is_close_to_double():
    X, _ = rows()
    double, single = fitted(X), fitted(X.astype(np.float32))
    assert single.weights_.dtype == np.float64
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert_allclose(single.noise_weight_, double.noise_weight_, rtol=1e-3)
    assert_allclose(single.covariances_, double.covariances_, rtol=2e-2, atol=1e-3)


def test_a_file_gives_the_bits_of_an_array(tmp_path):
    X, _ = rows()
    np.save(tmp_path / "rows.npy", X)
    one, other = fitted(X), fitted(tmp_path / "rows.npy")
    assert other.noise_log_volume_ == one.noise_log_volume_
    assert_array_equal(other.trace_, one.trace_)
    assert_array_equal(other.predict(tmp_path / "rows.npy"), one.predict(X))


def test_the_unit_of_the_rows_does_not_matter():
    X = rows()[0] @ np.random.default_rng(0).normal(size=(2, 4))
    X += np.random.default_rng(1).normal(size=X.shape)
    one, tiny = fitted(X, reg_covar=0.0), fitted(X * 1e-100, reg_covar=0.0)
    assert_allclose(tiny.noise_weight_, one.noise_weight_, rtol=1e-8)
    assert tiny.noise_volume_ == 0.0  # no float64 is as small
    assert_allclose(tiny.noise_log_volume_, one.noise_log_volume_ - 400 * np.log(10))
    assert_array_equal(tiny.predict(X * 1e-100), one.predict(X))


def test_a_warm_start_continues_with_the_noise():
    X, _ = rows()
    settings = {"tol": 0.0, "max_iter": 12}
    whole = fitted(X, **settings)
    parts = fitted(X, tol=0.0, max_iter=5, warm_start=True)
    parts.set_params(max_iter=7).fit(X)
    assert_allclose(parts.noise_weight_, whole.noise_weight_, rtol=1e-12)
    assert_allclose(parts.means_, whole.means_, rtol=1e-12)
    # other rows have another volume, under which the likelihood rises again
    parts.fit(X[: len(X) // 2] * 2.0)
    assert (np.diff(parts.trace_) > -1e-12).all()
    assert parts.noise_volume_ != whole.noise_volume_


def test_a_warm_start_needs_the_noise_that_was_there():
    X, _ = rows()
    without = GaussianMixture(2, warm_start=True, random_state=0).fit(X)
    with pytest.raises(
        ValueError, match="continues from a fit without noise, but noise_volume is 'a"
    ):
        without.set_params(noise_volume="auto").fit(X)
    having = fitted(X, warm_start=True)
    with pytest.raises(ValueError, match="from a fit with noise, but noise_volume is None"):
        having.set_params(noise_volume=None).fit(X)


def test_a_fit_without_noise_leaves_none():
    X, _ = rows()
    mixture = fitted(X).set_params(noise_volume=None).fit(X)
    assert not hasattr(mixture, "noise_weight_")
    assert not hasattr(mixture, "noise_volume_")
    assert mixture.predict_proba(X).shape == (len(X), 2)
    assert mixture.predict(X).min() == 0
    assert_allclose(mixture.weights_.sum(), 1.0)


def test_copies_and_files_keep_the_noise(tmp_path):
    X, _ = rows()
    mixture = fitted(X)
    mixture.save(tmp_path / "mixture.fgm")
    for copy in (fastgmm.load(tmp_path / "mixture.fgm"), pickle.loads(pickle.dumps(mixture))):
        assert vars(copy).keys() == vars(mixture).keys()
        assert copy.noise_weight_ == mixture.noise_weight_
        assert_array_equal(copy.predict_proba(X), mixture.predict_proba(X))
        assert copy.bic(X) == mixture.bic(X)


@pytest.mark.parametrize("priors", [None, "mclust"])
def test_rows_without_structure_are_all_noise(priors):
    X = np.random.default_rng(0).uniform(size=(300, 2))
    with pytest.warns(DegenerateComponentWarning, match="component 0 has no points left"):
        mixture = fitted(X, noise_volume=1e-300, priors=priors)
    assert mixture.noise_weight_ == 1.0
    assert_array_equal(mixture.weights_, [0.0, 0.0])
    assert_array_equal(mixture.predict(X), np.full(300, -1))
    assert_allclose(mixture.score(X), 300 * np.log(10))
    assert (np.diff(mixture.trace_) >= 0.0).all()
    with pytest.raises(ValueError, match="all noise"):
        mixture.sample()


def test_rows_without_volume_are_reported():
    X, _ = rows()
    flat = np.column_stack([X, np.full(len(X), 3.0)])
    with pytest.raises(ValueError, match=r"feature 2 has a single value.*give the volume"):
        fitted(flat)
    assert fitted(flat, noise_volume=1e4).noise_weight_ > 0.0


def test_rows_that_lack_values_are_refused():
    X, _ = rows()
    mixture = fitted(X, missing="model")
    X[3, 1] = np.nan
    for use in (mixture.predict, clone(mixture).fit):
        with pytest.raises(ValueError, match=r"do not go together.*leave out the noise, or the r"):
            use(X)


@pytest.mark.parametrize("volume", [0.0, -1, "large", np.inf, np.nan])
def test_volumes_that_are_none_are_refused(volume):
    with pytest.raises(ValueError, match="'noise_volume' parameter"):
        fitted(rows()[0], noise_volume=volume)


def test_attributes_written_by_hand_are_looked_at():
    X, _ = rows()
    mixture = fitted(X)
    mixture.noise_weight_ = 1.5
    with pytest.raises(ValueError, match=r"noise_weight_ should be from 0 to 1.*1\.5"):
        mixture.predict(X)
    mixture.noise_weight_, mixture.noise_log_volume_ = 0.5, np.nan
    with pytest.raises(ValueError, match="noise_log_volume_ should be finite"):
        mixture.predict(X)


def test_what_knows_no_noise_says_so():
    X, _ = rows()
    mixture = fitted(X)
    for unconvertible in (mixture, GaussianMixture(noise_volume=2.0)):
        with pytest.raises(ValueError, match="to_sklearn cannot convert a mixture with noise"):
            unconvertible.to_sklearn()
    assert not hasattr(GaussianMixture(noise_volume="auto"), "partial_fit")
    for untaught, words in (
        (GaussianMixture(2, noise_volume="auto"), r"knows no noise_volume.*'auto'.*use fit"),
        (
            mixture.set_params(noise_volume=None),
            "cannot continue from a mixture with noise.*use fit",
        ),
    ):
        with pytest.raises(AttributeError, match="no attribute 'partial_fit'") as refusal:
            untaught.partial_fit(X)
        assert re.search(words, str(refusal.value.__cause__))
    assert "noise_volume" not in MiniBatchGaussianMixture().get_params()
    with pytest.raises(NotFittedError):
        GaussianMixture(noise_volume="auto").predict(X)
