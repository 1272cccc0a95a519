"""Mixtures of rows that lack values: what is recovered, filled in and refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone

import fastgmm
from fastgmm import GaussianMixture, MiniBatchGaussianMixture, open_data
from fastgmm.em.models import mixture as ascent
from tests import oracle

ESTIMATORS = [GaussianMixture, MiniBatchGaussianMixture]


def rows(n_samples=4000, n_features=3, seed=0, separation=4.0):
    """Return rows of two correlated groups."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(2, n_features, n_features)) / np.sqrt(n_features)
    factors += 0.5 * np.eye(n_features)
    groups = rng.integers(2, size=n_samples)
    X = np.einsum("nij,nj->ni", factors[groups], rng.normal(size=(n_samples, n_features)))
    return X + separation * groups[:, None]


def with_holes(X, share=0.2, seed=1):
    holes = np.random.default_rng(seed).random(X.shape) < share
    return np.where(holes, np.nan, X)


def in_order(mixture, other):
    """Return the components of a mixture that are those of the other."""
    distances = ((mixture.means_[:, None] - other.means_) ** 2).sum(axis=2)
    return linear_sum_assignment(distances.T)[1]


def assert_same(one, other):
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_values_missing_at_random_leave_the_parameters_where_they_are(covariance_type):
    X = rows(20_000, 4)
    kept = 0.8
    whole = GaussianMixture(2, covariance_type=covariance_type, random_state=0, tol=1e-7).fit(X)
    partly = clone(whole).set_params(missing="model").fit(with_holes(X, 1.0 - kept))
    order = in_order(partly, whole)
    # what is missing costs no more than if the rows themselves were fewer in proportion
    counts = whole.weights_ * kept**4 * len(X)
    variances = np.array([np.diag(each) for each in whole._parameters().covariances()])
    if covariance_type == "diag":
        variances = whole.covariances_
    errors = np.sqrt(variances / counts[:, None])
    assert (np.abs(partly.means_[order] - whole.means_) < 4.0 * errors).all()
    assert_allclose(partly.weights_[order], whole.weights_, atol=4.0 * 0.5 / np.sqrt(len(X)))
    found = partly._parameters().covariances()[order]
    expected = whole._parameters().covariances()
    assert_allclose(found, expected, atol=4.0 * np.sqrt(2.0 / counts.min()) * variances.max())


def test_rows_that_lack_a_value_for_what_is_observed_of_them_do_not_mislead():
    # Missing at random, but not completely: large x hides y. Rows without gaps are all small.
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    X = np.column_stack([x, 2.0 * x + rng.normal(size=20_000)])
    X[x > 0.0, 1] = np.nan
    mixture = GaussianMixture(missing="model", tol=1e-9, max_iter=1000).fit(X)
    assert_allclose(mixture.means_[0], [0.0, 0.0], atol=0.06)
    assert_allclose(mixture.covariances_[0], [[1.0, 2.0], [2.0, 5.0]], rtol=0.05)
    assert np.nanmean(X[:, 1]) < -1.0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nothing_missing_is_the_same_fit_to_the_bit(estimator):
    X = rows(3000)
    expected = estimator(2, random_state=0).fit(X)
    assert_same(estimator(2, random_state=0, missing="model").fit(X), expected)
    source = open_data(lambda: iter([X[:1000], X[1000:]]), missing="model")
    if estimator is GaussianMixture:
        assert_same(estimator(2, random_state=0, missing="model").fit(source), expected)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_every_start(init_params):
    X = with_holes(rows(2000, separation=8.0))
    mixture = GaussianMixture(
        2, init_params=init_params, missing="model", random_state=0, max_iter=300
    ).fit(X)
    assert mixture.converged_
    n_observed = np.count_nonzero(~np.isnan(X).all(axis=1))
    assert mixture.fit_info_.initialization.n_rows == n_observed < 2000
    assert np.diff(mixture.trace_).min() > -1e-12


def test_labels_to_start_from_belong_to_rows_with_holes():
    X = rows(1000, separation=8.0)
    labels = (X.sum(axis=1) > 12.0).astype(int)
    X = with_holes(X)
    mixture = GaussianMixture(2, labels_init=labels, missing="model", max_iter=0, random_state=0)
    other = clone(mixture)
    mixture.fit(X)
    assert mixture.means_[0].sum() < mixture.means_[1].sum()
    source = open_data(lambda: iter([X[:300], X[300:]]), missing="model")
    assert_same(other.fit(source), mixture)


def test_given_starts_and_warm_starts():
    X = with_holes(rows(2000))
    mixture = GaussianMixture(
        2,
        weights_init=[0.5, 0.5],
        means_init=[[0.0] * 3, [4.0] * 3],
        precisions_init=[np.eye(3)] * 2,
        missing="model",
        max_iter=3,
        tol=0.0,
    )
    with pytest.warns(UserWarning, match="did not converge"):
        mixture.fit(X)
    before = mixture.lower_bound_
    with pytest.warns(UserWarning, match="did not converge"):
        mixture.set_params(warm_start=True).fit(X)
    assert mixture.lower_bound_ > before
    assert mixture.trace_[0] == before


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_methods_integrate_out_what_is_missing(dtype):
    X = with_holes(rows(500)).astype(dtype)
    X[3] = np.nan
    mixture = GaussianMixture(2, missing="model", random_state=0).fit(X)
    truth = mixture.weights_, mixture.means_, mixture.covariances_
    joint = oracle.observed_joint_log_density(X, *truth)
    density = np.logaddexp(joint[:, 0], joint[:, 1])
    tolerance = 1e-10 if dtype is np.float64 else 1e-4
    assert_allclose(mixture.score_samples(X), density, rtol=tolerance, atol=tolerance)
    assert mixture.score_samples(X).dtype == dtype
    shares = np.exp(joint - density[:, None])
    assert_allclose(mixture.predict_proba(X), shares, atol=100 * tolerance)
    assert_array_equal(mixture.predict(X), mixture.predict_proba(X).argmax(axis=1))
    observed = ~np.isnan(X).all(axis=1)
    assert mixture.score(X) == pytest.approx(density[observed].mean(), rel=tolerance)
    n_parameters = 2 * 9 + 1
    bic = -2.0 * density.sum() + n_parameters * np.log(np.count_nonzero(observed))
    assert mixture.bic(X) == pytest.approx(bic, rel=tolerance)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum((shares * np.log(shares))[observed])
    assert mixture.entropy(X) == pytest.approx(entropy, rel=1e3 * tolerance)
    assert mixture.icl(X) == pytest.approx(bic + 2.0 * entropy, rel=1e2 * tolerance)


def test_weights_are_copies():
    X = with_holes(rows(400))
    weights = np.random.default_rng(0).integers(0, 3, 400)
    given = {
        "means_init": [[0.0] * 3, [4.0] * 3],
        "weights_init": [0.5, 0.5],
        "precisions_init": [np.eye(3)] * 2,
    }
    mixture = GaussianMixture(2, missing="model", tol=1e-8, **given)
    one = clone(mixture).fit(X, sample_weight=weights)
    other = clone(mixture).fit(X.repeat(weights, axis=0))
    assert_allclose(one.means_, other.means_, rtol=1e-6)
    assert_allclose(one.covariances_, other.covariances_, rtol=1e-5)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_with_nulls(make):
    X = with_holes(rows(600))
    expected = GaussianMixture(2, missing="model", random_state=0).fit(X)
    table = {name: X[:, j] for j, name in enumerate("abc")}
    frame = make(table)
    if make is pl.DataFrame:
        frame = frame.fill_nan(None)
    mixture = GaussianMixture(2, missing="model", random_state=0).fit(frame)
    assert_same(mixture, expected)
    assert list(mixture.feature_names_in_) == ["a", "b", "c"]
    assert_array_equal(mixture.predict(frame), expected.predict(X))
    weighted = make({**table, "w": np.ones(600)})
    assert_allclose(
        GaussianMixture(2, missing="model", random_state=0).fit(weighted, sample_weight="w").means_,
        expected.means_,
    )


def test_files_give_the_same_bits(tmp_path):
    X = with_holes(rows(9000, 5), 0.3)
    pd.DataFrame(X).to_parquet(tmp_path / "rows.parquet", row_group_size=1500)
    expected = GaussianMixture(2, missing="model", random_state=0).fit(X)
    source = open_data(tmp_path / "rows.parquet", missing="model", block_rows=2048)
    mixture = GaussianMixture(2, missing="model", random_state=0, n_jobs=1).fit(source)
    assert_same(mixture, expected)
    del mixture.feature_names_in_
    assert_array_equal(mixture.score_samples(source), expected.score_samples(X))
    assert_array_equal(mixture.predict_proba(source), expected.predict_proba(X))
    assert_array_equal(mixture.impute(source), expected.impute(X))
    assert_array_equal(mixture.impute(source, n_draws=2), expected.impute(X, n_draws=2))
    assert mixture.score(source) == expected.score(X)
    path = str(tmp_path / "rows.parquet")
    assert_same(GaussianMixture(2, missing="model", random_state=0).fit(path), expected)


def test_batches_of_a_stream():
    X = rows(6000)
    whole = GaussianMixture(2, random_state=0).fit(X)
    holes = with_holes(X)
    stream = MiniBatchGaussianMixture(2, missing="model", random_state=0, batch_size=500)
    for mixture in (
        stream.fit(holes),
        clone(stream).fit(iter(np.array_split(holes, 7))),
    ):
        assert_allclose(mixture.means_[in_order(mixture, whole)], whole.means_, atol=0.15)
    online = GaussianMixture(2, missing="model", random_state=0)
    for batch in np.array_split(holes, 20):
        online.partial_fit(batch)
    assert_allclose(online.means_[in_order(online, whole)], whole.means_, atol=0.15)
    before = online.means_.copy()
    online.partial_fit(X[:100])
    assert (online.means_ != before).any()


def test_online_waits_for_a_value_of_each_feature():
    X = rows(400)
    late = X.copy()
    late[:, 2] = np.nan
    mixture = GaussianMixture(2, missing="model", random_state=0).partial_fit(late)
    assert not hasattr(mixture, "means_")
    mixture.partial_fit(X).partial_fit(X)
    assert np.isfinite(mixture.means_).all()


def test_filling_in():
    X = rows(300)
    holes = with_holes(X)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    filled = mixture.impute(holes)
    seen = ~np.isnan(holes)
    assert_array_equal(filled[seen], X[seen])
    assert np.isfinite(filled).all()
    spread = np.nanstd(holes, axis=0)
    errors = np.sqrt(((filled - X)[~seen] ** 2).mean())
    assert errors < 0.7 * spread.mean()
    draws = mixture.impute(holes, n_draws=50)
    assert draws.shape == (50, 300, 3)
    assert_array_equal(draws, mixture.impute(holes, n_draws=50))
    assert_array_equal(draws[:, seen], np.broadcast_to(X[seen], (50, seen.sum())))
    difference = (draws.mean(axis=0) - filled)[~seen] / draws.std(axis=0)[~seen]
    assert np.abs(difference).mean() < 0.2
    assert_array_equal(mixture.impute(X), X)
    blocks = list(mixture.impute_blocks(pd.DataFrame(holes)))
    assert_array_equal(np.concatenate(blocks), filled)


@pytest.mark.parametrize("n_draws", [0, -1, 1.5])
def test_impossible_numbers_of_draws(n_draws):
    mixture = GaussianMixture().fit(rows(50))
    with pytest.raises(ValueError, match="n_draws must be None or a number from 1 on"):
        mixture.impute(rows(5), n_draws=n_draws)


def test_what_cannot_be_modeled_is_refused():
    X = with_holes(rows(100))
    with pytest.raises(ValueError, match="contains NaN"):
        GaussianMixture().fit(X)
    fitted = GaussianMixture().fit(rows(100))
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.predict(X)
    for missing in ("error", "model"):
        infinite = rows(100)
        infinite[3, 1] = np.inf
        with pytest.raises(ValueError, match="infinity"):
            GaussianMixture(missing=missing).fit(infinite)
    mixture = GaussianMixture(missing="model")
    nothing = X.copy()
    nothing[:, 1] = np.nan
    with pytest.raises(ValueError, match="column 'x1' has no value in any row that counts"):
        mixture.fit(nothing)
    named = pd.DataFrame(nothing, columns=["a", "b", "c"])
    with pytest.raises(ValueError, match="column 'b' has no value"):
        mixture.fit(named)
    weights = np.ones(100)
    nothing[7, 1], weights[7] = 3.0, 0.0
    with pytest.raises(ValueError, match="column 'x1' has no value"):
        mixture.fit(nothing, sample_weight=weights)
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        mixture.fit(X, sample_weight=np.full(100, np.nan))
    with pytest.raises(ValueError, match="missing"):
        GaussianMixture(missing="drop").fit(X)
    with pytest.raises(ValueError, match="noise_volume and missing='model' do not go together"):
        GaussianMixture(missing="model", noise_volume="auto").fit(X)
    source = open_data(lambda: iter([X]), missing="model")
    with pytest.raises(ValueError, match="set its parameter missing='model'"):
        GaussianMixture().fit(source)


def test_rows_too_large_to_square_are_reported():
    X = with_holes(rows(100))
    X[5, 0], X[6, 0] = 1e200, -1e200
    with pytest.raises(ValueError, match="the values of feature 0 are too large"):
        GaussianMixture(missing="model").fit(X)


def test_a_file_keeps_the_parameter(tmp_path):
    X = with_holes(rows(300))
    mixture = GaussianMixture(2, missing="model", random_state=0).fit(X)
    mixture.save(tmp_path / "model.fgm")
    loaded = fastgmm.load(tmp_path / "model.fgm")
    assert loaded.missing == "model"
    assert_array_equal(loaded.predict(X), mixture.predict(X))


def test_an_interrupted_fit_resumes(tmp_path, monkeypatch):
    X = with_holes(rows(2000, separation=1.5))
    path = str(tmp_path / "fit.ckpt")
    options = {"missing": "model", "random_state": 0, "max_iter": 8, "tol": 0.0}
    with pytest.warns(UserWarning, match="did not converge"):
        expected = GaussianMixture(2, **options).fit(X)
    mixture = GaussianMixture(2, checkpoint=path, checkpoint_interval=0.0, resume=True, **options)
    take_pass, n_passes = ascent.mixture_statistics, []

    def fail_at_the_fourth(*arguments, **settings):
        n_passes.append(1)
        if len(n_passes) == 4:
            raise KeyboardInterrupt
        return take_pass(*arguments, **settings)

    monkeypatch.setattr(ascent, "mixture_statistics", fail_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        mixture.fit(X)
    with pytest.warns(UserWarning, match="did not converge"):
        mixture.fit(X)
    assert len(n_passes) == 3 + 1 + 5
    assert_same(mixture, expected)


def test_the_tag_follows_the_parameter():
    for estimator in ESTIMATORS:
        assert not estimator().__sklearn_tags__().input_tags.allow_nan
        assert estimator(missing="model").__sklearn_tags__().input_tags.allow_nan
