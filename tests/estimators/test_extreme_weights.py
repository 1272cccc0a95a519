"""Weights and values of extreme scales: the same results, or an error that says what to do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

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
    StudentMixture,
)

# Powers of two, so that proportions are the same to the bit.
SCALES = [2.0**996, 2.0**333, 2.0**-333, 2.0**-1000]


def rows():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(150, 2)), rng.normal(size=(150, 2)) + 4.0])
    return X, rng.integers(1, 16, len(X)) / 8.0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "mixture",
    [
        GaussianMixture(2),
        GaussianMixture(2, covariance_type="VVE", init_params="k-means++"),
        GaussianMixture(2, covariance_type="tied_diag", init_params="random"),
        GaussianMixture(2, init_params="random_from_data"),
        GaussianMixture(2, init_params="hierarchical"),
        GaussianMixture(2, noise_volume="auto"),
        MiniBatchGaussianMixture(2),
    ],
    ids=lambda each: f"{type(each).__name__}-{each.init_params}",
)
def test_mixtures(mixture, scale):
    X, weights = rows()
    mixture.set_params(random_state=0)
    expected = mixture.fit(X, sample_weight=weights)
    means, covariances = expected.means_, expected.covariances_
    lower_bound, score = expected.lower_bound_, expected.score(X, sample_weight=weights)
    found = mixture.fit(X, sample_weight=weights * scale)
    assert_allclose(found.means_, means, rtol=1e-9)
    assert_allclose(found.covariances_, covariances, rtol=1e-9, atol=1e-9)
    assert_allclose(found.lower_bound_, lower_bound, rtol=1e-9)
    assert_allclose(found.score(X, sample_weight=weights * scale), score, rtol=1e-9)


@pytest.mark.parametrize("weight", [1e300, 1e-100, 5e-324])
def test_equal_weights_are_like_none(weight):
    X, _ = rows()
    weights = np.full(len(X), weight)
    found = GaussianMixture(2, random_state=0).fit(X, sample_weight=weights)
    assert_allclose(found.means_, GaussianMixture(2, random_state=0).fit(X).means_, rtol=1e-6)
    clusters = KMeans(2, random_state=0).fit(X, sample_weight=weights)
    assert_allclose(clusters.cluster_centers_, KMeans(2, random_state=0).fit(X).cluster_centers_)


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_made_of_mixtures_and_clusters(scale):
    X, weights = rows()
    scaled = weights * scale
    for estimator in (
        GaussianMixtureOutlierDetector(2, random_state=0),
        GaussianMixtureTransformer(2, random_state=0),
    ):
        expected = estimator.fit(X, sample_weight=weights).mixture_.means_
        found = estimator.fit(X, sample_weight=scaled).mixture_.means_
        assert_allclose(found, expected, rtol=1e-9)
    regressor = GaussianMixtureRegressor(2, random_state=0)
    expected = regressor.fit(X[:, :1], X[:, 1], sample_weight=weights).predict(X[:, :1])
    found = regressor.fit(X[:, :1], X[:, 1], sample_weight=scaled).predict(X[:, :1])
    assert_allclose(found, expected, rtol=1e-9)
    clusters = KMeans(2, random_state=0)
    inertia = clusters.fit(X, sample_weight=weights).inertia_
    centers = clusters.cluster_centers_
    clusters.fit(X, sample_weight=scaled)
    assert_allclose(clusters.cluster_centers_, centers)
    assert_allclose(clusters.inertia_, inertia * scale)
    if scale < 1.0:
        y = np.arange(len(X)) < 150
        classifier = GaussianMixtureClassifier(covariance_type="full", random_state=0)
        shares = classifier.fit(X, y, sample_weight=weights).predict_proba(X)
        found = classifier.fit(X, y, sample_weight=scaled).predict_proba(X)
        assert_allclose(found, shares, atol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_weights_in_a_column(tmp_path, scale, form):
    X, weights = rows()
    frame = pd.DataFrame(X, columns=["a", "b"])
    for name, factor in (("plain", 1.0), ("scaled", scale)):
        path = tmp_path / f"{name}.{form}"
        table = frame.assign(w=weights * factor)
        table.to_csv(path, index=False) if form == "csv" else table.to_parquet(path)
    mixture = GaussianMixture(2, random_state=0)
    expected = mixture.fit(tmp_path / f"plain.{form}", sample_weight="w").means_
    found = mixture.fit(tmp_path / f"scaled.{form}", sample_weight="w")
    assert_allclose(found.means_, expected, rtol=1e-9)
    path = tmp_path / f"scaled.{form}"
    assert_allclose(found.score(path, sample_weight="w"), found.lower_bound_, rtol=1e-6)


@pytest.mark.parametrize(
    "estimator",
    [
        GaussianMixture(2, priors="mclust"),
        StudentMixture(2, priors="mclust"),
        MixtureSearch([1, 2]),
        MessageLengthGaussianMixture(2),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("weight", [1e300, 5e-324])
def test_weights_that_cannot_count_as_copies_are_refused(estimator, weight):
    X, _ = rows()
    with pytest.raises(ValueError, match=r"sample_weight sums to .* give weights nearer to 1"):
        estimator.fit(X, sample_weight=np.full(len(X), weight))
    with pytest.raises(ValueError, match="sample_weight sums to"):
        GaussianMixture(2).partial_fit(X, sample_weight=np.full(len(X), weight))


@pytest.mark.parametrize("kind", ["dirichlet_process", "dirichlet_distribution"])
@pytest.mark.parametrize("concentration", [1e300, 1e17, 1e-300])
def test_extreme_priors_of_the_weights(kind, concentration):
    X, _ = rows()
    mixture = BayesianGaussianMixture(
        2,
        weight_concentration_prior_type=kind,
        weight_concentration_prior=concentration,
        covariance_type="tied",
        max_iter=1000,
        random_state=0,
    ).fit(X)
    assert np.isfinite(mixture.score(X))
    assert np.isfinite(mixture.sample(10)[0]).all()
    before = np.sort(mixture.means_, axis=0)
    mixture.partial_fit(X).partial_fit(X)
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        assert np.isfinite(getattr(mixture, name)).all()
    assert_allclose(np.sort(mixture.means_, axis=0), before, atol=0.1)


@pytest.mark.parametrize("concentration", [1e305, 5e-324])
def test_priors_of_the_weights_beyond_all_sums(concentration):
    mixture = BayesianGaussianMixture(2, weight_concentration_prior=concentration)
    with pytest.raises(ValueError, match="'weight_concentration_prior' should be from 1e-300"):
        mixture.fit(rows()[0])


def test_learned_statistics_may_be_lost_in_rounding():
    mixture = BayesianGaussianMixture(
        2,
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=1e20,
        mean_precision_prior=1e20,
        max_iter=1000,
        random_state=0,
    ).fit(rows()[0])
    with pytest.raises(ValueError, match="fit with smaller priors"):
        mixture.partial_fit(rows()[0])


def test_values_whose_squares_overflow_are_named():
    X, _ = rows()
    y = np.arange(len(X)) < 150
    classifier = GaussianMixtureClassifier(covariance_type="full")
    with pytest.raises(ValueError, match="values of feature 0 are too large"):
        classifier.fit(X * 1e200, y)
    with pytest.raises(ValueError, match="values of feature 0 are too large"):
        classifier.partial_fit(X * 1e200, y, classes=[False, True])
    with pytest.raises(ValueError, match=r"'means_init' should hold values up to 1e.150"):
        GaussianMixture(2, means_init=[[1e300, 0.0], [0.0, 0.0]]).fit(X)
    with pytest.raises(ValueError, match=r"'mean_prior' should hold values up to 1e.150"):
        BayesianGaussianMixture(2, mean_prior=[1e300, 0.0]).fit(X)
    for covariance_type, shape in (("full", np.eye(2)), ("diag", np.ones(2))):
        precisions = np.array([5e-324 * shape, shape])
        mixture = GaussianMixture(
            2, covariance_type=covariance_type, precisions_init=precisions, max_iter=0
        )
        with pytest.raises(ValueError, match="'precisions_init' should be at least 1e-300"):
            mixture.fit(X)


@pytest.mark.parametrize("scale", [1e-150, 1e-20, 1e20, 1e150])
def test_rows_are_drawn_at_any_scale(scale):
    X, _ = rows()
    X = X @ [[1.0, 0.7], [0.0, 1.0]] * [scale, 1.0]
    mixture = GaussianMixture(2, random_state=0).fit(X)
    drawn, _ = mixture.sample(20_000)
    assert_allclose(drawn.std(axis=0) / X.std(axis=0), 1.0, rtol=0.03)
    expected = np.corrcoef(X / [scale, 1.0], rowvar=False)[0, 1]
    assert_allclose(np.corrcoef(drawn / [scale, 1.0], rowvar=False)[0, 1], expected, atol=0.03)


@pytest.mark.parametrize("scale", [1e-149, 1e-155, 1e-160, 1e-162, 1e-170])
@pytest.mark.parametrize(
    "estimator",
    [
        GaussianMixture(2),
        GaussianMixture(2, covariance_type="diag", reg_covar=0.0),
        MiniBatchGaussianMixture(2),
        BayesianGaussianMixture(2),
        MessageLengthGaussianMixture(5),
        StudentMixture(2),
        MixtureSearch((1, 2)),
        GaussianMixtureOutlierDetector(2, contamination=0.1),
        GaussianMixtureTransformer(2),
        GaussianMixtureClassifier(),
        GaussianMixtureClassifier(2),
        GaussianMixtureRegressor(2),
    ],
    ids=str,
)
def test_values_too_small_for_inverses_of_their_variances_are_an_error(estimator, scale):
    X, _ = rows()
    y = [] if not hasattr(estimator, "predict") else [(X[:, 0] > 2.0).astype(int)]
    if isinstance(estimator, GaussianMixtureRegressor):
        X, y = X[:, :1], [X[:, 1] * scale]
    X = X * scale
    if scale > 1e-150:
        fitted = estimator.fit(X, *y)
        fitted = getattr(fitted, "mixture_", getattr(fitted, "best_estimator_", fitted))
        for each in getattr(fitted, "mixtures_", [fitted]):
            assert np.isfinite(each.precisions_).all()
        return
    with pytest.raises(
        ValueError, match=r"feature \d are too small: .*; multiply the feature by a"
    ):
        estimator.fit(X, *y)


def test_constant_features_of_any_size_are_fitted():
    X, _ = rows()
    for constant in (0.0, 1e-140, 1e140):
        mixture = GaussianMixture(2).fit(np.column_stack([X, np.full(len(X), constant)]))
        assert np.isfinite(mixture.precisions_).all()
