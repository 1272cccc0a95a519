"""Mixtures of rows with measurement errors: what is recovered, and how it relates to other fits."""

import inspect

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import fastgmm
from fastgmm import ConjugatePriors, GaussianMixture, open_data
from tests.structures import ANY_FEATURES
from tests.two_groups import assert_same_fit, drawn, start_near

MEANS = np.array([[-2.0, 0.0], [2.0, 1.0]])
COVARIANCES = np.array([[[0.3, 0.2], [0.2, 0.4]], [[1.0, -0.5], [-0.5, 0.6]]])


def measured_rows(n_samples=2000, seed=0):
    """Return true values, rows and the variances of their errors."""
    rng = np.random.default_rng(seed)
    true = drawn(MEANS, COVARIANCES, n_samples, rng)
    deviations = rng.gamma(2.0, 0.3, size=true.shape)
    return true, true + deviations * rng.normal(size=true.shape), deviations**2


TRUE, X, ERRORS = measured_rows()
START = start_near(MEANS, COVARIANCES)


def test_the_distribution_of_true_values_is_recovered():
    true, rows, errors = measured_rows(20_000)
    mixture = GaussianMixture(2, tol=1e-7, max_iter=1000, random_state=0)
    mixture.fit(rows, error_covariance=errors)
    order = np.argsort(mixture.means_[:, 0])
    assert mixture.converged_
    assert_allclose(mixture.weights_, 0.5, atol=0.02)
    assert_allclose(mixture.means_[order], MEANS, atol=0.05)
    assert_allclose(mixture.covariances_[order], COVARIANCES, atol=0.07)
    means, covariances = mixture.denoise(rows, errors)
    assert np.mean((means - true) ** 2) < 0.5 * np.mean((rows - true) ** 2)
    distances = np.einsum("ni,nij,nj->n", means - true, np.linalg.inv(covariances), means - true)
    assert distances.mean() == pytest.approx(2.0, abs=0.05)  # as chi-square of two features


@pytest.mark.parametrize("covariance_type", ANY_FEATURES)
def test_the_likelihood_rises_with_every_structure(covariance_type):
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, tol=0, max_iter=15, random_state=0
    )
    with pytest.warns(ConvergenceWarning):
        mixture.fit(X[:500], error_covariance=ERRORS[:500])
    assert (np.diff(mixture.trace_) > -1e-10).all()
    assert mixture.score(X[:500], error_covariance=ERRORS[:500]) == mixture.lower_bound_


@pytest.mark.parametrize("shape", [(2,), (2, 2), X.shape, (*X.shape, 2)])
@pytest.mark.parametrize("covariance_type", ["full", "diag", "tied"])
def test_no_errors_are_an_ordinary_fit(shape, covariance_type):
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    plain = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    assert_same_fit(mixture.fit(X, error_covariance=np.zeros(shape)), plain)


def test_one_covariance_for_all_rows_is_that_of_each():
    one = np.array([[0.2, 0.1], [0.1, 0.3]])
    for common, each in (
        (one, np.repeat(one[None], len(X), axis=0)),
        (np.diag(one), np.repeat(np.diag(one)[None], len(X), axis=0)),
    ):
        fits = [
            GaussianMixture(2, random_state=0).fit(X, error_covariance=given)
            for given in (common, each)
        ]
        assert_same_fit(*fits)


def test_one_component_with_common_errors_is_a_fit_less_the_errors():
    common = np.array([[0.2, 0.1], [0.1, 0.3]])
    mixture = GaussianMixture(1, tol=0, max_iter=400, reg_covar=0, random_state=0)
    with pytest.warns(ConvergenceWarning):
        mixture.fit(X, error_covariance=common)
    assert_allclose(mixture.means_[0], X.mean(axis=0), rtol=1e-10)
    assert_allclose(mixture.covariances_[0], np.cov(X.T, ddof=0) - common, rtol=1e-8)


def test_weights_are_copies():
    copies = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = GaussianMixture(2, random_state=0, **START).fit(
        X, sample_weight=copies, error_covariance=ERRORS
    )
    repeated = GaussianMixture(2, random_state=0, **START).fit(
        np.repeat(X, copies, axis=0), error_covariance=np.repeat(ERRORS, copies, axis=0)
    )
    assert_same_fit(weighted, repeated)
    assert weighted.score(X, sample_weight=copies, error_covariance=ERRORS) == pytest.approx(
        weighted.lower_bound_
    )


def test_units_and_order_of_rows_do_not_matter():
    scales = np.array([1e-6, 1e5])
    order = np.random.default_rng(0).permutation(len(X))
    one = GaussianMixture(2, reg_covar=0, **START).fit(X, error_covariance=ERRORS)
    start = {
        **START,
        "means_init": START["means_init"] * scales,
        "precisions_init": START["precisions_init"] / scales / scales[:, None],
    }
    other = GaussianMixture(2, reg_covar=0, **start).fit(
        (X * scales)[order], error_covariance=(ERRORS * scales**2)[order]
    )
    assert_allclose(other.means_, one.means_ * scales, rtol=1e-9)
    assert_allclose(other.covariances_, one.covariances_ * scales * scales[:, None], rtol=1e-9)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_file_gives_the_same_bits(tmp_path, suffix):
    frame = pd.DataFrame(np.hstack([X, np.sqrt(ERRORS)]), columns=["a", "b", "a_error", "b_error"])
    path = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    source = open_data(
        path, columns=["a", "b"], error_columns=["a_error", "b_error"], block_rows=1024
    )
    errors = np.sqrt(ERRORS) ** 2
    one = GaussianMixture(2, random_state=0).fit(source)
    other = GaussianMixture(2, random_state=0, n_jobs=1).fit(X, error_covariance=errors)
    assert_array_equal(one.covariances_, other.covariances_)
    assert one.lower_bound_ == other.lower_bound_
    assert list(one.feature_names_in_) == ["a", "b"]
    assert_array_equal(one.predict(source), other.predict(X, errors))
    assert_array_equal(one.score_samples(source), other.score_samples(X, errors))
    assert_array_equal(
        np.concatenate(list(one.predict_proba_blocks(source))), other.predict_proba(X, errors)
    )
    assert_array_equal(one.denoise(source)[1], other.denoise(X, errors)[1])
    assert one.bic(source) == other.bic(open_data(X, error_covariance=errors))
    assert one.icl(source) > one.bic(source)


def test_missing_values_beside_errors():
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    mixture = GaussianMixture(2, missing="model", tol=1e-6, max_iter=500, random_state=0)
    mixture.fit(holes, error_covariance=ERRORS)
    order = np.argsort(mixture.means_[:, 0])
    assert_allclose(mixture.means_[order], MEANS, atol=0.2)
    assert (np.diff(mixture.trace_) > -1e-10).all()
    huge = np.where(np.isnan(holes), 1e12, ERRORS)
    other = GaussianMixture(2, tol=1e-6, max_iter=500, random_state=0)
    other.set_params(
        weights_init=mixture.weights_,
        means_init=mixture.means_,
        precisions_init=mixture.precisions_,
    )
    other.fit(np.nan_to_num(holes), error_covariance=huge)
    assert_allclose(other.means_[order], mixture.means_[order], atol=0.01)


def test_priors_frozen_parameters_and_known_components_go_along():
    y = np.where(np.arange(len(X)) % 4 == 0, (X[:, 0] > 0).astype(int), -1)
    frozen = GaussianMixture(2, frozen={"means": [0]}, **START).fit(X, error_covariance=ERRORS)
    assert_array_equal(frozen.means_[0], START["means_init"][0])
    prior = GaussianMixture(2, priors=ConjugatePriors(), random_state=0)
    prior.fit(X, error_covariance=ERRORS)
    known = GaussianMixture(2, semi_supervised=True, random_state=0)
    known.fit(X, y, error_covariance=ERRORS)
    for each in (frozen, prior, known):
        assert (np.diff(each.trace_) > -1e-10).all()
    assert_array_equal(known.means_[:, 0] > 0, [False, True])


def test_a_fit_with_errors_can_be_saved_and_resumed(tmp_path):
    whole = GaussianMixture(2, random_state=0, tol=1e-6).fit(X, error_covariance=ERRORS)
    short = GaussianMixture(
        2, random_state=0, tol=1e-6, max_iter=3, checkpoint=tmp_path / "c", checkpoint_interval=0
    )
    with pytest.warns(ConvergenceWarning):
        short.fit(X, error_covariance=ERRORS)
    resumed = short.set_params(resume=True, max_iter=100).fit(X, error_covariance=ERRORS)
    assert_array_equal(resumed.covariances_, whole.covariances_)
    whole.save(tmp_path / "m")
    loaded = fastgmm.load(tmp_path / "m")
    assert_array_equal(loaded.predict(X, ERRORS), whole.predict(X, ERRORS))


def test_a_dask_data_frame_holds_errors_beside_its_rows():
    dask_frames = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(np.hstack([X, np.sqrt(ERRORS)]), columns=["x", "y", "ex", "ey"])
    source = open_data(
        dask_frames.from_pandas(table, npartitions=3),
        columns=["x", "y"],
        error_columns=["ex", "ey"],
    )
    ours = GaussianMixture(2, tol=0.1, **START).fit(source)
    array = GaussianMixture(2, tol=0.1, **START).fit(X, error_covariance=ERRORS)
    assert_same_fit(ours, array)
    assert ours.score(source) == pytest.approx(array.score(X, error_covariance=ERRORS))
    assert_array_equal(ours.predict(source), array.predict(X, ERRORS))


def test_what_does_not_take_errors_refuses_them():
    source = open_data(X, error_covariance=ERRORS)
    fitted = GaussianMixture(2, random_state=0).fit(source)
    for cls in (fastgmm.BayesianGaussianMixture, fastgmm.MiniBatchGaussianMixture, fastgmm.KMeans):
        with pytest.raises(ValueError, match=f"errors, which {cls.__name__} does not take"):
            cls(2).fit(source)
    for method in (fitted.impute, fitted.explain, fitted.partial_fit):
        with pytest.raises(ValueError, match="have measurement errors"):
            method(source)
    for given, what in (
        ({"covariance_type": "factors", "n_factors": 1}, "n_factors and measurement errors do"),
        (
            {"e_step": "truncated"},
            "'truncated' does not go together with errors and limits of values",
        ),
    ):
        rows = np.random.default_rng(0).normal(size=(300, 5))
        mixture = GaussianMixture(300 if "e_step" in given else 2, **given)
        with pytest.raises(ValueError, match=what):
            mixture.fit(rows, error_covariance=np.ones(5))
    with pytest.raises(ValueError, match="noise_volume and measurement errors do not go together"):
        GaussianMixture(2, noise_volume=1.0).fit(source)
    with pytest.raises(ValueError, match="denoise is for rows with measurement errors"):
        fitted.denoise(X)


def test_methods_that_take_errors_say_so():
    for name in ("fit", "predict", "predict_proba", "score_samples", "score", "denoise"):
        method = getattr(GaussianMixture, name)
        assert "error_covariance" in inspect.signature(method).parameters
        assert "error_covariance : array-like" in method.__doc__
