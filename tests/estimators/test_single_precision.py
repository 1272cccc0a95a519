"""float32 rows far from zero, and of extreme scales, are evaluated as their float64 copies are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal

import fastgmm
from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    KMeans,
    MessageLengthGaussianMixture,
    MiniBatchGaussianMixture,
    MixtureSearch,
)

NORTHING = 5.4e6
"""Meters north of the equator, where neighboring float32 numbers are half a meter apart."""

MIXTURES = [
    GaussianMixture(2, random_state=0),
    GaussianMixture(2, covariance_type="tied_diag", random_state=0),
    GaussianMixture(2, noise_volume="auto", random_state=0),
    BayesianGaussianMixture(2, random_state=0),
    MiniBatchGaussianMixture(2, random_state=0),
    MessageLengthGaussianMixture(3, random_state=0),
]

every_mixture = pytest.mark.parametrize(
    "mixture", MIXTURES, ids=lambda each: f"{type(each).__name__}-{each.covariance_type}"
)


def rows(scale=1.0, offset=0.0, n_samples=2000):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 2))
    X[n_samples // 2 :] += [4.0, 1.0]
    return (scale * X + offset).astype(np.float32)


def exact_score(mixture, X):
    """Return the mean log-density by SciPy, in double precision."""
    covariances = mixture._parameters().covariances()
    offsets = X.astype(np.float64)[:, None] - mixture.means_
    densities = sum(
        weight * multivariate_normal(np.zeros(2), covariance).pdf(offsets[:, k])
        for k, (weight, covariance) in enumerate(zip(mixture.weights_, covariances, strict=True))
    )
    return np.log(densities).mean()


def test_mixtures_are_evaluated_at_the_parameters_that_were_fitted():
    X = rows(offset=NORTHING)
    for n_components in (1, 2, 3):
        mixture = GaussianMixture(n_components, random_state=0).fit(X)
        assert_allclose(mixture.score(X), mixture.lower_bound_, rtol=1e-9)
        assert_allclose(mixture.score(X), exact_score(mixture, X), rtol=1e-6)
        assert_allclose(mixture.bic(X), mixture.bic(X.astype(np.float64)), rtol=1e-6)


@every_mixture
def test_single_and_double_precision_tell_the_same(mixture):
    X = rows(offset=NORTHING)
    double = X.astype(np.float64)
    found = mixture.fit(X)
    assert found.means_.dtype == found.covariances_.dtype == np.float64
    assert_allclose(found.score(X), found.score(double), rtol=1e-6)
    assert_allclose(found.predict_proba(X), found.predict_proba(double), atol=1e-4)
    assert_allclose(found.score(X), found.fit(double).score(double), rtol=1e-3)


def test_cluster_centers_are_the_means_of_the_clusters():
    X = rows(offset=NORTHING)
    clusters = KMeans(3, random_state=0).fit(X)
    double = X.astype(np.float64)
    means = [double[clusters.labels_ == k].mean(axis=0) for k in range(3)]
    assert_allclose(clusters.cluster_centers_, means, rtol=1e-12)
    inertia = sum(((double[clusters.labels_ == k] - means[k]) ** 2).sum() for k in range(3))
    assert_allclose(clusters.inertia_, inertia, rtol=1e-6)
    assert_allclose(-clusters.score(X), inertia, rtol=1e-6)
    assert_array_equal(clusters.predict(X), clusters.labels_)


def test_a_search_reports_the_criterion_of_the_mixture_that_it_keeps():
    X = rows(offset=NORTHING)
    search = MixtureSearch([1, 2, 3], random_state=0).fit(X)
    assert_allclose(search.best_score_, search.best_estimator_.bic(X), rtol=1e-9)


def test_what_is_made_of_mixtures_agrees_with_double_precision():
    X = rows(offset=NORTHING)
    double = X.astype(np.float64)
    detector = GaussianMixtureOutlierDetector(2, contamination=0.05, random_state=0)
    flagged = detector.fit(X).predict(X)
    assert np.mean(flagged == -1) == pytest.approx(0.05, abs=0.002)
    assert_array_equal(flagged, detector.predict(double))
    y = np.arange(len(X)) >= len(X) // 2
    classifier = GaussianMixtureClassifier(random_state=0).fit(X, y)
    assert_allclose(
        classifier.predict_proba(X),
        GaussianMixtureClassifier(random_state=0).fit(double, y).predict_proba(double),
        atol=1e-4,
    )
    regressor = GaussianMixtureRegressor(2, random_state=0).fit(X[:, :1], X[:, 1])
    assert_allclose(regressor.predict(X[:, :1]), regressor.predict(double[:, :1]), rtol=1e-12)
    transformer = GaussianMixtureTransformer(2, random_state=0).fit(X)
    assert_allclose(transformer.transform(X), transformer.transform(double), atol=1e-4)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    expected = GaussianMixture(2, random_state=0).fit(double).condition({0: NORTHING})
    assert_allclose(mixture.condition({0: NORTHING}).means_, expected.means_, rtol=1e-9)
    assert mixture.marginal([1]).means_.dtype == np.float64


def test_targets_far_from_zero_are_not_rounded_to_the_type_of_the_inputs():
    X = rows()[:, :1]
    y = 1e9 + X[:, 0].astype(np.float64) + np.random.default_rng(1).normal(scale=0.1, size=len(X))
    regressor = GaussianMixtureRegressor(random_state=0).fit(X, y)
    assert_allclose(regressor.predict(X), y, rtol=0, atol=0.6)


@pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e20, 1e35])
@every_mixture
def test_scales_whose_squares_single_precision_does_not_hold(mixture, scale, tmp_path):
    X = rows(scale)
    mixture = mixture.fit(X)
    assert np.isfinite(mixture.covariances_).all()
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    drawn, _ = loaded.sample(4000)
    assert_allclose(drawn.std(axis=0), X.astype(np.float64).std(axis=0), rtol=0.15)
    assert_allclose(loaded.predict_proba(X).sum(axis=1), 1.0, rtol=1e-6)
    assert_allclose(loaded.score(X), mixture.score(X.astype(np.float64)), rtol=1e-6)


def test_a_mixture_with_float32_attributes_is_still_evaluated(tmp_path):
    X = rows()
    mixture = GaussianMixture(2, random_state=0).fit(X)
    double = mixture.score(X)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        setattr(mixture, name, getattr(mixture, name).astype(np.float32))
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert loaded.means_.dtype == np.float32
    assert_allclose(loaded.score(X), double, rtol=1e-5)
