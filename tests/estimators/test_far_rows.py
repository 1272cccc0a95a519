"""Rows so far away that squared distances overflow belong to what is nearest in the limit."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import matrix, mp, mpf
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    KMeans,
    fisher_vectors,
)
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step.passes import mixture_statistics

DOUBLE = [1e9, 1e16, 1e20, 1e160, 1e308]
SINGLE = [1e9, 1e19, 1e37, 3e38]


def rows(n_features=2, n_samples=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features))
    X[n_samples // 3 : 2 * n_samples // 3] += 3.0
    X[2 * n_samples // 3 :] *= 1.5
    return X


def directions(n_features, dtype):
    """Return vectors whose largest entry is 1, of which the first are along axes."""
    rng = np.random.default_rng(1)
    U = np.concatenate([np.eye(n_features), -np.eye(n_features), rng.normal(size=(4, n_features))])
    return (U / np.abs(U).max(axis=1, keepdims=True)).astype(dtype)


def exact_responsibilities(mixture, row):
    """Return the responsibilities for a row, worked out with 700 digits."""
    kind, shape = mixture._structure(), mixture.means_.shape
    covariances = kind.expand(mixture.covariances_, *shape)
    if kind.is_diagonal:
        covariances = covariances[..., None] * np.eye(shape[1])
    with mp.workdps(700):
        logs = []
        for weight, mean, covariance in zip(
            mixture.weights_, mixture.means_, covariances, strict=True
        ):
            S = matrix(covariance.tolist())
            offset = matrix([mpf(float(a)) - mpf(float(b)) for a, b in zip(row, mean, strict=True)])
            square = (offset.T * (S**-1) * offset)[0]
            logs.append(mp.log(mpf(float(weight))) - mp.log(mp.det(S)) / 2 - square / 2)
        largest = max(logs)
        exponentials = [mp.exp(each - largest) for each in logs]
        return np.array([float(each / sum(exponentials)) for each in exponentials])


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "tied_diag", "spherical"])
@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_responsibilities_are_those_of_exact_arithmetic(covariance_type, n_features):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0)
    mixture.fit(rows(n_features))
    for dtype, sizes in ((np.float64, DOUBLE), (np.float32, SINGLE)):
        for size in sizes:
            X = (size * directions(n_features, np.float64)).astype(dtype)
            near = rows(n_features)[:3].astype(dtype)
            X = np.concatenate([near, X])
            found = mixture.predict_proba(X)
            expected = [exact_responsibilities(mixture, row) for row in X]
            assert_allclose(found, expected, atol=1e-5)
            assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)
            assert_array_equal(mixture.predict(X), found.argmax(axis=1))
            assert not np.isnan(mixture.score_samples(X)).any()


def test_whiteners_whose_products_with_rows_overflow_with_both_signs():
    mixture = GaussianMixture(2, covariance_type="full", random_state=0).fit(1e-3 * rows())
    X = np.array([[1.5e308, 1.5e308], [1.5e308, -1.5e308], [-1.5e308, 1.7e308]])
    expected = [exact_responsibilities(mixture, row) for row in X]
    assert_allclose(mixture.predict_proba(X), expected, atol=1e-9)
    assert not np.isnan(mixture.score_samples(X)).any()


def test_a_component_without_weight_is_nobodys():
    mixture = GaussianMixture(2, random_state=0).fit(rows())
    mixture.weights_ = np.array([0.0, 1.0])
    X = 1e200 * directions(2, np.float64)
    assert_array_equal(mixture.predict_proba(X), np.tile([0.0, 1.0], (len(X), 1)))


@pytest.mark.parametrize("size", [1e20, 1e160, 1e300])
def test_conditional_mixtures(size):
    mixture = GaussianMixture(3, random_state=0).fit(rows())
    part = mixture.condition({0: -size})
    marginal = mixture.marginal([0])
    assert_allclose(part.weights_, exact_responsibilities(marginal, [-size]), atol=1e-9)
    assert np.isfinite(part.means_).all()


def test_a_conditional_mean_beyond_all_numbers_is_refused():
    X = rows() * [1e-150, 1e150]
    X[:, 1] += 1e300 * X[:, 0]
    mixture = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"value of column 0, 1e\+200, is so large"):
        mixture.condition({0: 1e200})


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_rows_that_lack_values(covariance_type):
    mixture = GaussianMixture(
        3, covariance_type=covariance_type, missing="model", random_state=0
    ).fit(rows(3))
    for size in (1e20, 1e160, 1e300):
        X = np.concatenate([size * directions(3, np.float64), rows(3)[:5]])
        X[:, 1] = np.nan
        marginal = mixture.marginal([0, 2])
        expected = [exact_responsibilities(marginal, row) for row in X[:, [0, 2]]]
        assert_allclose(mixture.predict_proba(X), expected, atol=1e-9)
        assert_array_equal(mixture.predict(X), np.argmax(expected, axis=1))
        assert np.isfinite(mixture.impute(X)).all()


def test_the_noise_takes_what_is_far():
    mixture = GaussianMixture(2, noise_volume="auto", random_state=0).fit(rows())
    X = np.array([[1e160, -1e160], [1.7e308, 1.7e308], [1e3, 0.0]])
    assert_allclose(mixture.predict_proba(X), np.tile([0.0, 0.0, 1.0], (3, 1)), atol=1e-12)
    assert_array_equal(mixture.predict(X), [-1, -1, -1])


@pytest.mark.parametrize("size", [1e17, 1e160, 1e300])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_classes(size, covariance_type):
    X = rows()
    y = np.repeat(["a", "b", "c"], 100)
    classifier = GaussianMixtureClassifier(covariance_type=covariance_type, random_state=0)
    classifier.fit(X, y)
    far = np.concatenate([size * directions(2, np.float64), X[:3]])
    parts = classifier.mixtures_
    whole = GaussianMixture(3, covariance_type="full")
    whole.weights_ = classifier.class_prior_
    whole.means_ = np.concatenate([each.means_ for each in parts])
    kinds = [each._structure().expand(each.covariances_, 1, 2) for each in parts]
    covariances = [each if each.ndim == 3 else each[..., None] * np.eye(2) for each in kinds]
    whole.covariances_ = np.concatenate(covariances)
    expected = np.array([exact_responsibilities(whole, row) for row in far])
    assert_allclose(classifier.predict_proba(far), expected, atol=1e-9)
    assert_array_equal(classifier.predict(far), classifier.classes_[expected.argmax(axis=1)])
    assert not np.isnan(classifier.decision_function(far)).any()
    assert (classifier.score_samples(far[:-3]) < -1e30).all()
    classifier.calibrate(far, np.repeat("a", len(far)))
    assert_allclose(classifier.predict_proba(far).sum(axis=1), 1.0)


def test_what_is_made_of_mixtures():
    X = rows(3)
    far = np.concatenate([1e160 * directions(3, np.float64), X[:3]])
    regressor = GaussianMixtureRegressor(3, random_state=0).fit(X[:, :2], X[:, 2])
    predicted, deviation = regressor.predict(far[:, :2], return_std=True)
    assert np.isfinite(predicted).all()
    assert np.isfinite(deviation).all()
    shares = GaussianMixtureTransformer(3, random_state=0).fit(X).transform(far)
    assert_allclose(shares.sum(axis=1), 1.0)
    detector = GaussianMixtureOutlierDetector(3, random_state=0).fit(X)
    assert (detector.predict(far)[:-3] == -1).all()
    bayesian = BayesianGaussianMixture(3, random_state=0).fit(X)
    assert_allclose(bayesian.predict_proba(far).sum(axis=1), 1.0)
    diagonal = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
    vectors = fisher_vectors(diagonal, [1e100 * X[:5]])
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("covariance_type", ["full", "tied_diag"])
def test_a_row_of_known_component_counts_with_it(covariance_type):
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(rows())
    far = ArraySource(1e20 * directions(2, np.float64))
    parameters = mixture._parameters()
    alike = mixture_statistics(far, parameters)
    assert_allclose(alike.counts, mixture.predict_proba(far.X).sum(axis=0))
    known = np.arange(far.n_samples) % 2
    known[-1] = -1
    found = mixture_statistics(far, parameters, known=known)
    expected = np.bincount(known[:-1]) + mixture.predict_proba(far.X[-1:])[0]
    assert_allclose(found.counts, expected)
    assert found.log_likelihood <= alike.log_likelihood < -1e38


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_clusters(dtype):
    clusters = KMeans(3, random_state=0).fit(rows().astype(dtype))
    centers = clusters.cluster_centers_
    for size in DOUBLE[1:] if dtype == np.float64 else [*SINGLE[:-1], 1e38]:
        far = (size * directions(2, np.float64)).astype(dtype)
        X = np.concatenate([rows().astype(dtype), far])
        labels = clusters.predict(X)
        assert_array_equal(labels[: -len(far)], clusters.labels_)
        # the nearest center in the limit is the one farthest out in the direction of the row
        outward = far.astype(np.float64) / size @ centers.T
        assert_array_equal(labels[-len(far) :], outward.argmax(axis=1))
        distances = clusters.transform(X)
        assert_allclose(distances[: -len(far)], clusters.transform(rows().astype(dtype)))
        lengths = np.linalg.norm(far.astype(np.float64) / size, axis=1)
        assert_allclose(distances[-len(far) :, 0] / size, lengths, rtol=1e-6)
