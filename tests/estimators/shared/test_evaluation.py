"""Densities, labels and scores by a fitted mixture, or one put together by hand."""

import numpy as np
import pytest
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import entropy, multivariate_normal
from sklearn.exceptions import NotFittedError

from fastgmm import GaussianMixture
from fastgmm.mixture.structures import structure

ALL_TYPES = ["full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"]
SCIKIT_LEARN_TYPES = ALL_TYPES[:4]
EVALUATIONS = [
    "predict", "predict_proba", "score_samples", "score", "bic", "aic", "icl", "entropy"
]  # fmt: skip


def rows(n_samples=300, dtype=np.float64):
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0, 0.0], [3.0, 1.0, 0.0], [0.0, 4.0, 2.0]])
    return (centers[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, 3))).astype(
        dtype
    )


def by_hand(cls, covariance_type="full"):
    """Return a mixture whose attributes were assigned, not fitted."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(2, 3, 3)) + 2 * np.eye(3)
    covariances = mixing @ mixing.transpose(0, 2, 1)
    mixture = cls(2, covariance_type=covariance_type, random_state=0)
    mixture.weights_ = np.array([0.3, 0.7])
    mixture.means_ = rng.normal(size=(2, 3))
    if covariance_type == "tied":
        covariances = covariances[0]
    elif covariance_type != "full":
        deviations = rng.uniform(1.0, 2.0, size=(2, 3))
        index = {"diag": ..., "spherical": (..., 0), "tied_diag": 0, "tied_spherical": (0, 0)}
        covariances = deviations[index[covariance_type]] ** 2
        mixture.precisions_cholesky_ = 1 / np.sqrt(covariances)
    if covariance_type in ("full", "tied"):
        # L with L L^T = P is lower triangular, which is not the triangle that fit leaves.
        mixture.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(covariances))
    mixture.covariances_ = covariances
    return mixture


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
def test_assigned_attributes_serve_as_in_scikit_learn(covariance_type):
    X = rows()
    ours = by_hand(GaussianMixture, covariance_type)
    theirs = by_hand(sklearn.mixture.GaussianMixture, covariance_type)
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-10)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X) == pytest.approx(theirs.score(X))
    for drawn, expected in zip(ours.sample(50), theirs.sample(50), strict=True):
        assert_allclose(drawn, expected)


@pytest.mark.parametrize("covariance_type", ["tied_diag", "tied_spherical"])
def test_assigned_attributes_of_structures_of_our_own(covariance_type):
    X = rows()
    mixture = by_hand(GaussianMixture, covariance_type)
    covariance = np.diag(np.broadcast_to(mixture.covariances_, 3))
    density = sum(
        weight * multivariate_normal(mean, covariance).pdf(X)
        for weight, mean in zip(mixture.weights_, mixture.means_, strict=True)
    )
    assert_allclose(mixture.score_samples(X), np.log(density), rtol=1e-10)


def test_any_factor_of_the_precision_serves():
    X = rows()
    mixture = by_hand(GaussianMixture)
    expected = mixture.score_samples(X)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    mixture.precisions_cholesky_ = mixture.precisions_cholesky_ @ rotation
    assert_allclose(mixture.score_samples(X), expected, rtol=1e-10)


def test_the_sign_of_a_factor_does_not_matter():
    X = rows()
    mixture = by_hand(GaussianMixture)
    expected = mixture.score_samples(X)
    mixture.precisions_cholesky_ = -mixture.precisions_cholesky_
    assert_array_equal(mixture.score_samples(X), expected)


def test_changes_by_hand_after_a_fit_count():
    X = rows()
    mixture = GaussianMixture(3, random_state=0).fit(X)
    order = [2, 0, 1]
    expected = mixture.predict_proba(X)[:, order]
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(mixture, name, getattr(mixture, name)[order])
    assert_allclose(mixture.predict_proba(X), expected, atol=1e-12)
    mixture.means_[0] += 100.0
    assert mixture.predict_proba(X)[:, 0].max() < 1e-12


def test_a_component_of_weight_zero_takes_no_row():
    X = rows()
    mixture = by_hand(GaussianMixture)
    mixture.weights_ = [0.0, 1.0]
    assert_array_equal(mixture.predict_proba(X), np.repeat([[0.0, 1.0]], len(X), axis=0))


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("weights_", np.ones(3) / 3, r"weights_ should have the shape of \(2,\) .*got \(3,\)"),
        ("weights_", np.array([-0.5, 1.5]), r"weights_ should be at least 0.*-0\.5"),
        ("means_", np.zeros(3), r"means_ should have the shape .*got \(3,\)"),
        ("precisions_cholesky_", np.ones((2, 3)), r"precisions_cholesky_ .*\(2, 3, 3\)"),
        ("precisions_cholesky_", np.zeros((2, 3, 3)), "precisions_cholesky_ .*has no inverse"),
        ("precisions_cholesky_", np.full((2, 3, 3), np.inf), "precisions_cholesky_ .*finite.*inf"),
        ("means_", np.full((2, 3), np.nan), "means_ should be finite, but got nan"),
        ("weights_", np.array([np.nan, 1.0]), "weights_ should be finite, but got nan"),
    ],
)
def test_assigned_attributes_that_do_not_fit_are_named(attribute, value, words):
    mixture = by_hand(GaussianMixture)
    setattr(mixture, attribute, value)
    with pytest.raises(ValueError, match=words):
        mixture.predict(rows())


def test_assigned_deviations_must_be_positive():
    X = rows()
    mixture = GaussianMixture(2, covariance_type="diag", random_state=0).fit(X)
    mixture.precisions_cholesky_ = -mixture.precisions_cholesky_
    with pytest.raises(ValueError, match=r"positive for covariance_type='diag'.*min value -"):
        mixture.predict(X)


def test_covariances_that_do_not_fit_are_named():
    mixture = by_hand(GaussianMixture)
    mixture.covariances_ = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"covariances_ should have the shape of \(2, 3, 3\)"):
        mixture.sample()


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="X has 2 features, but means_ has 3"):
        by_hand(GaussianMixture).predict(rows()[:, :2])
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixture is expecting 3"):
        GaussianMixture().fit(rows()).predict(rows()[:, :2])


@pytest.mark.parametrize("method", EVALUATIONS)
def test_an_unfitted_mixture_cannot_tell(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(GaussianMixture(), method)(rows())


@pytest.mark.parametrize("method", EVALUATIONS)
def test_a_mixture_whose_only_fit_failed_cannot_tell(method):
    mixture = GaussianMixture(2, means_init=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="means_init"):
        mixture.fit(rows())
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(mixture, method)(rows())


def test_an_unfitted_mixture_cannot_be_sampled():
    with pytest.raises(NotFittedError):
        GaussianMixture().sample()


@pytest.mark.parametrize("method", EVALUATIONS)
@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_float32_rows_and_float64_rows_agree(method, covariance_type):
    X = rows(dtype=np.float32)
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    from_float32 = getattr(mixture, method)(X)
    from_float64 = getattr(mixture, method)(X.astype(np.float64))
    assert_allclose(from_float32, from_float64, rtol=1e-4, atol=1e-5)


def test_responsibilities_sum_to_one():
    X = rows()
    mixture = GaussianMixture(3, random_state=0).fit(X)
    proba = mixture.predict_proba(np.vstack([X, 1e3 * X]))
    assert_allclose(proba.sum(axis=1), 1.0)
    assert proba.min() >= 0.0


def test_entropy_and_completed_likelihood():
    X = rows()
    mixture = GaussianMixture(3, random_state=0).fit(X)
    proba = mixture.predict_proba(X)
    assert mixture.entropy(X) == pytest.approx(entropy(proba, axis=1).sum())
    assert mixture.icl(X) == pytest.approx(mixture.bic(X) + 2 * mixture.entropy(X))
    assert 0.0 <= mixture.entropy(X) <= len(X) * np.log(3)


def test_entropy_of_certain_and_of_wholly_uncertain_components():
    X = np.concatenate([rows() - 1e3, rows() + 1e3])
    assert GaussianMixture(2, random_state=0).fit(X).entropy(X) == 0.0
    equal = by_hand(GaussianMixture)
    equal.weights_ = np.array([0.5, 0.5])
    equal.means_ = np.zeros((2, 3))
    equal.precisions_cholesky_ = np.stack([np.eye(3), np.eye(3)])
    assert equal.entropy(X) == pytest.approx(len(X) * np.log(2))


def test_entropy_is_taken_in_blocks_of_rows(monkeypatch):
    X = rows()
    weights = np.random.default_rng(0).uniform(size=len(X))
    mixture = GaussianMixture(3, random_state=0).fit(X)
    at_once = mixture.entropy(X), mixture.entropy(X, sample_weight=weights)
    monkeypatch.setattr("fastgmm.analysis.criteria._BLOCK_BYTES", 8 * 3 * 7)
    assert mixture.entropy(X) == pytest.approx(at_once[0])
    assert mixture.entropy(X, sample_weight=weights) == pytest.approx(at_once[1])


@pytest.mark.parametrize("method", ["score", "bic", "aic", "icl", "entropy"])
def test_weights_in_evaluation_are_repetitions(method):
    X = rows()
    weights = np.random.default_rng(0).integers(0, 3, size=len(X))
    mixture = GaussianMixture(3, random_state=0).fit(X)
    weighted = getattr(mixture, method)(X, sample_weight=weights)
    assert weighted == pytest.approx(getattr(mixture, method)(np.repeat(X, weights, axis=0)))


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARN_TYPES)
def test_samples_are_those_of_scikit_learn(covariance_type):
    ours = GaussianMixture(3, covariance_type=covariance_type, random_state=5).fit(rows())
    theirs = ours.to_sklearn()
    for drawn, expected in zip(ours.sample(100), theirs.sample(100), strict=True):
        assert_allclose(drawn, expected)


@pytest.mark.parametrize("covariance_type", ALL_TYPES)
def test_samples_follow_the_mixture(covariance_type):
    mixture = by_hand(GaussianMixture, covariance_type)
    X, labels = mixture.sample(20_000)
    assert_allclose(np.bincount(labels) / len(labels), mixture.weights_, atol=0.02)
    covariances = structure(covariance_type).expand(mixture.covariances_, 2, 3)
    for k, covariance in enumerate(covariances):
        drawn = X[labels == k]
        expected = covariance if covariance.ndim == 2 else np.diag(covariance)
        assert_allclose(drawn.mean(axis=0), mixture.means_[k], atol=0.15)
        assert_allclose(np.cov(drawn.T), expected, rtol=0.1, atol=0.3)


def test_samples_are_drawn_afresh_from_a_generator():
    mixture = GaussianMixture(random_state=np.random.RandomState(0)).fit(rows())
    assert not np.array_equal(mixture.sample(5)[0], mixture.sample(5)[0])
    mixture.set_params(random_state=3)
    assert_array_equal(mixture.sample(5)[0], mixture.sample(5)[0])


@pytest.mark.parametrize("n_samples", [0, -3, 1.5, "x"])
def test_no_samples_are_refused(n_samples):
    mixture = GaussianMixture().fit(rows())
    with pytest.raises(ValueError, match=f"'n_samples': {n_samples!r}. It must be at least 1"):
        mixture.sample(n_samples)
