"""Mixtures of rows with limits: what is recovered, and how it relates to other fits."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import fastgmm
from fastgmm import GaussianMixture, open_data
from tests.structures import ANY_FEATURES
from tests.two_groups import assert_same_fit, drawn, start_near

MEANS = np.array([[-1.0, 0.0], [2.0, 1.0]])
COVARIANCES = np.array([[[0.6, 0.3], [0.3, 0.5]], [[1.0, -0.4], [-0.4, 0.6]]])
LOW, HIGH = -0.8, 2.2


def censored_rows(n_samples=1500, seed=0):
    """Return true values, what is known of them within an instrument's range, and flags."""
    rng = np.random.default_rng(seed)
    true = drawn(MEANS, COVARIANCES, n_samples, rng)
    return true, np.clip(true, LOW, HIGH), (true > HIGH) * 1 - (true < LOW) * 1


TRUE, X, FLAGS = censored_rows()
START = start_near(MEANS, COVARIANCES)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_what_is_censored_and_missing_is_recovered(missing):
    true, rows, flags = censored_rows(3000)
    rows[np.random.default_rng(1).random(rows.shape) < missing] = np.nan
    mixture = GaussianMixture(2, tol=1e-5, max_iter=300, random_state=0, missing="model")
    mixture.fit(rows, censored=flags)
    order = np.argsort(mixture.means_[:, 0])
    assert mixture.converged_
    assert (np.diff(mixture.trace_) > -1e-10).all()
    assert_allclose(mixture.weights_, 0.5, atol=0.04)
    assert_allclose(mixture.means_[order], MEANS, atol=0.15)
    assert_allclose(mixture.covariances_[order], COVARIANCES, atol=0.2)
    with warnings.catch_warnings():  # components collapse to the limits
        warnings.simplefilter("ignore", fastgmm.DegenerateComponentWarning)
        plain = GaussianMixture(2, random_state=0, missing="model").fit(rows)
    assert np.abs(np.sort(plain.means_[:, 0]) - MEANS[:, 0]).max() > 0.2
    filled = mixture.impute(rows, censored=flags)
    unknown = (flags != 0) & ~np.isnan(rows)
    assert_array_equal(filled[(flags == 0) & ~np.isnan(rows)], rows[(flags == 0) & ~np.isnan(rows)])
    assert (filled[unknown & (flags > 0)] > HIGH).all()
    assert (filled[unknown & (flags < 0)] < LOW).all()
    assert np.mean((filled - true)[unknown] ** 2) < 0.6 * np.mean((rows - true)[unknown] ** 2)


def test_one_censored_feature_is_fitted_by_maximum_likelihood():
    rng = np.random.default_rng(0)
    true = rng.normal(1.0, 2.0, 400)
    rows, flags = np.maximum(true, 0.0), -(true < 0.0).astype(int)

    def minus_log_likelihood(parameters):
        mean, deviation = parameters[0], np.exp(parameters[1])
        normal = scipy.stats.norm(mean, deviation)
        return -np.where(flags == 0, normal.logpdf(rows), normal.logcdf(rows)).sum()

    best = scipy.optimize.minimize(minus_log_likelihood, [0.0, 0.0], tol=1e-10)
    mixture = GaussianMixture(tol=0, max_iter=200, reg_covar=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(rows[:, None], censored=flags[:, None])
    assert mixture.means_[0, 0] == pytest.approx(best.x[0], abs=1e-4)
    assert np.sqrt(mixture.covariances_[0, 0, 0]) == pytest.approx(np.exp(best.x[1]), abs=1e-4)
    assert 400 * mixture.lower_bound_ == pytest.approx(-best.fun, abs=1e-6)


@pytest.mark.parametrize("covariance_type", ANY_FEATURES)
def test_the_likelihood_rises_with_every_structure(covariance_type):
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, tol=1e-9, max_iter=8, random_state=0
    )
    with pytest.warns(ConvergenceWarning):
        mixture.fit(X[:200], censored=FLAGS[:200])
    assert (np.diff(mixture.trace_) > -1e-10).all()
    assert mixture.score(X[:200], censored=FLAGS[:200]) == pytest.approx(mixture.lower_bound_)


def test_no_limits_are_an_ordinary_fit():
    mixture = GaussianMixture(2, random_state=0).fit(TRUE, censored=np.zeros(X.shape))
    assert_same_fit(mixture, GaussianMixture(2, random_state=0).fit(TRUE))


def test_weights_are_copies_and_units_do_not_matter():
    copies = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = GaussianMixture(2, random_state=0, max_iter=5, tol=1, **START)
    weighted.fit(X, sample_weight=copies, censored=FLAGS)
    repeated = GaussianMixture(2, random_state=0, max_iter=5, tol=1, **START)
    repeated.fit(np.repeat(X, copies, axis=0), censored=np.repeat(FLAGS, copies, axis=0))
    assert_same_fit(weighted, repeated)
    score = weighted.score(X, sample_weight=copies, censored=FLAGS)
    assert score == pytest.approx(weighted.lower_bound_)
    mirrored = weighted.score_samples(X, censored=FLAGS)
    weighted.means_ = -weighted.means_
    assert_allclose(weighted.score_samples(-X, censored=-FLAGS), mirrored, atol=1e-6)


@pytest.mark.parametrize("form", ["csv", "parquet", "frame"])
def test_columns_say_what_is_censored(tmp_path, form):
    table = pd.DataFrame(X, columns=["x", "y"])
    table[["lx", "ly"]] = FLAGS
    data = table if form == "frame" else tmp_path / f"rows.{form}"
    if form == "csv":
        table.to_csv(data, index=False)
    elif form == "parquet":
        table.to_parquet(data)
    source = open_data(data, columns=["x", "y"], censored_columns=["lx", "ly"])
    ours = GaussianMixture(2, random_state=0, tol=0.1).fit(source)
    array = GaussianMixture(2, random_state=0, tol=0.1).fit(X, censored=FLAGS)
    assert_array_equal(ours.means_, array.means_)
    assert list(ours.feature_names_in_) == ["x", "y"]
    assert_array_equal(ours.predict(source), array.predict(X, censored=FLAGS))
    assert_array_equal(ours.impute(source), array.impute(X, censored=FLAGS))
    assert_allclose(
        np.concatenate(list(ours.predict_proba_blocks(source))),
        array.predict_proba(X, censored=FLAGS),
        rtol=1e-12,
    )
    assert np.isfinite(ours.bic(source))
    assert np.isfinite(ours.icl(source))


def test_interrupted_fits_resume(tmp_path):
    settings = {"tol": 1e-4, "random_state": 0, "checkpoint": tmp_path / "c"}
    whole = GaussianMixture(2, tol=1e-4, random_state=0).fit(X, censored=FLAGS)
    short = GaussianMixture(2, max_iter=3, checkpoint_interval=0, **settings)
    with pytest.warns(ConvergenceWarning):
        short.fit(X, censored=FLAGS)
    resumed = short.set_params(resume=True, max_iter=100).fit(X, censored=FLAGS)
    assert_array_equal(resumed.covariances_, whole.covariances_)


def test_what_does_not_take_limits_refuses_them():
    source = open_data(X, censored=FLAGS)
    fitted = GaussianMixture(2, random_state=0, tol=0.1).fit(source)
    for cls in (fastgmm.BayesianGaussianMixture, fastgmm.StudentMixture, fastgmm.KMeans):
        with pytest.raises(ValueError, match=f"censored values, which {cls.__name__} does not"):
            cls(2).fit(source)
    for method in (fitted.explain, fitted.partial_fit):
        with pytest.raises(ValueError, match="have censored values"):
            method(source)
    with pytest.raises(ValueError, match="censored values are imputed by means"):
        fitted.impute(source, n_draws=2)
    with pytest.raises(ValueError, match="denoise is for rows with measurement errors"):
        fitted.denoise(source)
    rows = np.random.default_rng(0).normal(size=(300, 5))
    for given, what in (
        ({"covariance_type": "factors", "n_factors": 1}, "n_factors and censored values do"),
        ({"e_step": "truncated"}, "'truncated' does not go together with errors and limits"),
        ({"noise_volume": 1.0}, "noise_volume and censored values do not go together"),
    ):
        mixture = GaussianMixture(300 if "e_step" in given else 2, **given)
        with pytest.raises(ValueError, match=what):
            mixture.fit(rows, censored=np.zeros(rows.shape))


def test_collections_with_limits_are_refused():
    dask_array = pytest.importorskip("dask.array")
    rows = dask_array.from_array(X)
    with pytest.raises(ValueError, match="Dask collection"):
        GaussianMixture(2).fit(rows, censored=FLAGS)
    fitted = GaussianMixture(2, random_state=0).fit(TRUE)
    with pytest.raises(ValueError, match="without errors and limits"):
        fitted.predict(rows, censored=FLAGS)


def test_methods_that_take_limits_say_so():
    for name in ("fit", "predict", "predict_proba", "score_samples", "score", "impute"):
        method = getattr(GaussianMixture, name)
        assert "censored" in inspect.signature(method).parameters
        assert "censored : array-like" in method.__doc__
