"""Mixtures of rows that lack values: what is recovered, filled in and refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone

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
    StudentMixture,
    open_data,
)
from fastgmm.data.errors import MissingValueError
from fastgmm.em import problem as em_problem
from tests import oracle

ESTIMATORS = [GaussianMixture, MiniBatchGaussianMixture]

DROPPING = [
    GaussianMixture(2, random_state=0),
    MiniBatchGaussianMixture(2, max_epochs=1, random_state=0),
    BayesianGaussianMixture(2, random_state=0, max_iter=500),
    MessageLengthGaussianMixture(5, random_state=0),
    StudentMixture(2, random_state=0),
    MixtureSearch((1, 2), structures=["EEE"], random_state=0),
    GaussianMixtureOutlierDetector(2, contamination=0.1, random_state=0),
    GaussianMixtureTransformer(2, random_state=0),
    KMeans(2, random_state=0),
]
"""One of each estimator that needs rows alone."""


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
    with pytest.raises(ValueError, match=r"leaves 1 of the 2 rows of X, .* at least 2 are needed"):
        GaussianMixture(missing="drop").fit([[1.0, 2.0], [np.nan, 3.0]])
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
    take_pass, n_passes = em_problem.mixture_statistics, []

    def fail_at_the_fourth(*arguments, **settings):
        n_passes.append(1)
        if len(n_passes) == 4:
            raise KeyboardInterrupt
        return take_pass(*arguments, **settings)

    monkeypatch.setattr(em_problem, "mixture_statistics", fail_at_the_fourth)
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


def numbers_of(estimator):
    """Return what was fitted, whatever holds it."""
    for name in ("mixture_", "best_estimator_"):
        estimator = getattr(estimator, name, estimator)
    return vars(estimator).get("means_", vars(estimator).get("cluster_centers_"))


@pytest.mark.parametrize("estimator", DROPPING, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("kind", ["array", "frame", "file"])
def test_incomplete_rows_are_left_out_of_fits_and_scores(estimator, kind, tmp_path):
    X = with_holes(rows(600, separation=8.0))
    weights = np.random.default_rng(3).random(600)
    complete = ~np.isnan(X).any(axis=1)
    given, sample_weight = X, weights
    if kind == "frame":
        given = pd.DataFrame(X, columns=["a", "b", "c"])
    elif kind == "file":
        given, sample_weight = tmp_path / "rows.csv", "w"
        pd.DataFrame(X, columns=["a", "b", "c"]).assign(w=weights).to_csv(given, index=False)
    expected = clone(estimator).fit(X[complete], sample_weight=weights[complete])
    dropping = clone(estimator).set_params(missing="drop")
    found = clone(dropping).fit(given, sample_weight=sample_weight)
    if kind == "file" and isinstance(estimator, MiniBatchGaussianMixture):
        # Batches of files come in the order of the rows.
        assert_allclose(numbers_of(found), numbers_of(expected), atol=0.1)
        return
    assert_array_equal(numbers_of(found), numbers_of(expected))
    if hasattr(found, "score"):
        whole = expected.score(X[complete], sample_weight=weights[complete])
        assert found.score(given, sample_weight=sample_weight) == whole
    if kind != "array":
        return
    method = found.transform if hasattr(found, "transform") else found.predict
    with pytest.raises(
        ValueError, match=r"NaN, first in row .*, (or )?fill in what is missing"
    ) as caught:
        method(X)
    assert "missing='drop'" not in str(caught.value)
    if isinstance(found, KMeans):
        assert_array_equal(found.labels_ == -1, ~complete)
    elif hasattr(found, "fit_predict") and not hasattr(found, "mixture_"):
        labels = clone(dropping).fit_predict(X)
        assert_array_equal(labels == -1, ~complete)
        assert_array_equal(labels[complete], clone(estimator).fit_predict(X[complete]))


@pytest.mark.parametrize("estimator", DROPPING, ids=lambda each: type(each).__name__)
def test_advice_is_what_an_estimator_has(estimator, tmp_path):
    with pytest.raises(ValueError, match="contains NaN") as caught:
        estimator.fit(with_holes(rows(100)))
    assert "set missing='drop' to leave them out of the fit" in str(caught.value)
    models = not isinstance(estimator, KMeans | MessageLengthGaussianMixture)
    assert ("or set missing='model' to fit what is there" in str(caught.value)) == models
    path = tmp_path / "holes.npy"
    np.save(path, with_holes(rows(100)))
    with pytest.raises(MissingValueError, match=r"holes\.npy': the value .* is missing") as of_file:
        clone(estimator).fit(path)
    assert str(of_file.value).split(" is missing: ")[1] in str(caught.value)
    with pytest.raises(MissingValueError, match=r"leave them out with open_data\(\.\.\., missing="):
        clone(estimator).fit(open_data(path))
    if models:
        assert numbers_of(clone(estimator).set_params(missing="model").fit(rows(100))) is not None
    else:
        with pytest.raises(ValueError, match=r"'missing' parameter .* \{'(error|drop)', '"):
            clone(estimator).set_params(missing="model").fit(rows(100))


def test_labels_follow_the_rows_that_are_left():
    X = with_holes(rows(600, separation=8.0))
    complete = ~np.isnan(X).any(axis=1)
    y = (np.nansum(X, axis=1) > 12.0).astype(int)
    known = np.where(np.arange(600) % 3 == 0, y, -1)
    mixture = GaussianMixture(2, semi_supervised=True, random_state=0)
    expected = clone(mixture).fit(X[complete], known[complete])
    found = clone(mixture).set_params(missing="drop").fit(X, known)
    assert_array_equal(found.means_, expected.means_)
    started = GaussianMixture(2, labels_init=y, missing="drop", max_iter=0).fit(X)
    assert started.means_[0].sum() < started.means_[1].sum()
    classifier = GaussianMixtureClassifier(2, random_state=0)
    expected = clone(classifier).fit(X[complete], y[complete])
    found = clone(classifier).set_params(missing="drop").fit(X, y)
    assert_array_equal(found.mixtures_[1].means_, expected.mixtures_[1].means_)
    assert found.score(X, y) == expected.score(X[complete], y[complete])
    detector = GaussianMixtureOutlierDetector(2, random_state=0, missing="drop").fit(X)
    point = detector.choose_threshold(X, y == 1)
    assert point.offset == clone(detector).fit(X).choose_threshold(X[complete], y[complete]).offset


@pytest.mark.parametrize("missing", ["drop", "model"])
def test_regressions_leave_out_targets_that_are_not_known(missing):
    X = with_holes(rows(600, separation=8.0), 0.1)
    regressor = GaussianMixtureRegressor(2, random_state=0, missing=missing).fit(X[:, :2], X[:, 2])
    used = ~np.isnan(X).any(axis=1) if missing == "drop" else ~np.isnan(X[:, 2])
    score = regressor.score(X[:, :2], X[:, 2])
    assert score == pytest.approx(regressor.score(X[used, :2], X[used, 2]), abs=1e-15)
    if missing == "drop":
        expected = GaussianMixtureRegressor(2, random_state=0).fit(X[used, :2], X[used, 2])
        assert_array_equal(regressor.mixture_.means_, expected.mixture_.means_)
    with pytest.raises(ValueError, match="y holds no row of targets that are all known"):
        GaussianMixtureRegressor.score(
            regressor.set_params(missing="model"), X[:, :2], np.full(600, np.nan)
        )


@pytest.mark.parametrize(
    ("n_components", "common"), [(1, "auto"), (1, False), (2, False), (2, True), ([1, 2], "auto")]
)
def test_classes_of_incomplete_rows(n_components, common):
    X = rows(1500, separation=3.0)
    y = np.random.default_rng(0).integers(2, size=1500)
    X[:, 0] += 6.0 * y
    classifier = GaussianMixtureClassifier(
        n_components,
        covariance_type="VVV",
        common_structure=common,
        reject_below=0.1,
        random_state=0,
        max_iter=1000,
    )
    whole = clone(classifier).fit(X, y)
    holes = with_holes(X, 0.2)
    holes[3] = np.nan
    partly = clone(classifier).set_params(missing="model").fit(holes, y)
    assert partly.score(X, y) == pytest.approx(whole.score(X, y), abs=0.05)
    for ours, theirs in zip(partly.mixtures_, whole.mixtures_, strict=True):
        if n_components == 1:
            assert_allclose(ours.means_, theirs.means_, atol=0.4)
    incomplete = np.isnan(holes).any(axis=1)
    rejected = partly.rejected(holes)
    assert 0.02 < rejected[incomplete].mean() < 0.18
    assert_allclose(partly.predict_proba(holes).sum(axis=1), 1.0)
    assert_allclose(partly.predict_proba(holes[3:4])[0], partly.class_prior_)
    unknown = clone(partly).set_params(semi_supervised=True)
    unknown.fit(holes, np.where(np.arange(1500) % 2, y, -1))
    assert unknown.score(X, y) == pytest.approx(whole.score(X, y), abs=0.05)


def test_classes_of_incomplete_rows_are_learned_as_mixtures_only():
    X, y = with_holes(rows(600)), np.arange(600) % 2
    classifier = GaussianMixtureClassifier(covariance_type="VVV", missing="model")
    with pytest.raises(ValueError, match=r"whole rows, .* use fit, or common_structure=False"):
        classifier.partial_fit(X, y, classes=[0, 1])
    classifier.set_params(common_structure=False).partial_fit(X, y, classes=[0, 1])
    assert classifier.score(X, y) >= 0.4


@pytest.mark.parametrize("contamination", ["auto", 0.05])
def test_scores_of_incomplete_rows_are_comparable_with_those_of_whole_ones(contamination):
    # In units in which densities of fewer features are larger, and in ones in which they are less.
    X = rows(6000) * [1.0, 1e3, 1e-3]
    holes = with_holes(X, 0.2)
    holes[3] = np.nan
    detector = GaussianMixtureOutlierDetector(
        2, contamination=contamination, missing="model", random_state=0
    ).fit(holes)
    incomplete = np.isnan(holes).any(axis=1)
    found = detector.predict(holes) == -1
    assert found[incomplete].mean() == pytest.approx(found[~incomplete].mean(), abs=0.015)
    assert 0.02 < found.mean() < 0.06
    assert detector.predict(holes[3:4])[0] == 1
    blocks = np.concatenate(list(detector.score_samples_blocks(holes)))
    assert_array_equal(blocks, detector.score_samples(holes))
    # Rows without gaps score as always, and far ones lower still.
    assert_array_equal(blocks[~incomplete], detector.mixture_.score_samples(X[~incomplete]))
    far = np.array([[50.0, np.nan, np.nan], [500.0, np.nan, np.nan], [np.nan, 5e6, np.nan]])
    scores = detector.score_samples(far)
    assert scores[1] < scores[0] < blocks.min()
    assert scores[2] < scores[0]
    detector.partial_fit(holes)
    assert np.isfinite(detector.offset_)


def test_a_search_models_what_is_missing():
    X = rows(900, separation=6.0)
    holes = with_holes(X, 0.15)
    holes[3] = np.nan
    search = MixtureSearch((1, 2, 3), structures=["VVV", "EEE"], missing="model", random_state=0)
    search.fit(holes)
    assert search.best_params_ == {"n_components": 2, "covariance_type": "VVV"}
    best = GaussianMixture(2, missing="model", reg_covar=0.0, tol=1e-9, max_iter=2000).fit(holes)
    assert search.best_score_ == pytest.approx(best.bic(holes), abs=0.05)
    assert search.score(holes) == pytest.approx(best.score(holes), abs=1e-4)
    observed = np.delete(holes, 3, axis=0)
    assert search.best_score_ == pytest.approx(clone(search).fit(observed).best_score_)
    held_out = clone(search).set_params(criterion="log_likelihood", cv=3).fit(holes)
    assert held_out.best_params_["n_components"] == 2
