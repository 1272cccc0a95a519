"""Fits in which the components of some rows are known."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgmm
from fastgmm import GaussianMixture, MiniBatchGaussianMixture
from tests import oracle

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def rows(n_samples=900, seed=0):
    """Return rows of three components that overlap, and which they come from."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n_samples)
    X = np.array([[0.0, 0.0], [3.0, 3.0], [0.0, 4.0]])[truth] + rng.normal(size=(n_samples, 2))
    return X, truth


def some_of(truth, share, seed=1):
    """Return labels that are known for some rows."""
    return np.where(np.random.default_rng(seed).random(len(truth)) < share, truth, -1)


def mixture(**parameters):
    settings = {"n_components": 3, "semi_supervised": True, "random_state": 0}
    return GaussianMixture(**{**settings, **parameters})


def log_likelihood(fitted, X, y):
    """Return the mean log-density of rows together with what is known of them."""
    joint = oracle.joint_log_density(X, *oracle.mixture_of(fitted))
    known = joint[np.arange(len(X)), np.maximum(y, 0)]
    return np.where(y >= 0, known, np.logaddexp.reduce(joint, axis=1)).mean()


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_with_all_rows_known_the_fit_is_the_closed_form(covariance_type):
    X, truth = rows()
    fitted = mixture(covariance_type=covariance_type, reg_covar=0.0).fit(X, truth)
    shares = oracle.one_hot(truth, 3)
    weights, means, covariances = oracle.m_step(X, shares, covariance_type)
    assert_allclose(fitted.weights_, weights, rtol=1e-12)
    assert_allclose(fitted.means_, means, rtol=1e-12)
    assert_allclose(oracle.fitted_covariances(fitted), covariances, rtol=1e-10, atol=1e-12)
    assert_allclose(fitted.lower_bound_, log_likelihood(fitted, X, truth), rtol=1e-12)
    assert fitted.converged_


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_step_is_that_of_the_oracle(covariance_type):
    X, truth = rows()
    y = some_of(truth, 0.3)
    start = mixture(covariance_type=covariance_type, max_iter=0).fit(X, y)
    stepped = mixture(covariance_type=covariance_type, max_iter=1, reg_covar=0.0).fit(X, y)
    shares = oracle.responsibilities(X, *oracle.mixture_of(start))
    shares = np.where((y >= 0)[:, None], oracle.one_hot(y, 3), shares)
    weights, means, covariances = oracle.m_step(X, shares, covariance_type)
    # The start was solved with a regularization that is 1e-6 of a variance.
    assert_allclose(stepped.weights_, weights, rtol=1e-5)
    assert_allclose(stepped.means_, means, rtol=1e-5, atol=1e-5)
    assert_allclose(oracle.fitted_covariances(stepped), covariances, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "EVE"])
@pytest.mark.parametrize("noise_volume", [None, "auto"])
@pytest.mark.parametrize("priors", [None, "mclust"])
def test_the_trace_rises(covariance_type, noise_volume, priors):
    X, truth = rows(300)
    fitted = mixture(
        covariance_type=covariance_type, noise_volume=noise_volume, priors=priors, tol=0.0,
        max_iter=30,
    ).fit(X, some_of(truth, 0.1))  # fmt: skip
    assert (np.diff(fitted.trace_) > -1e-11).all()


def test_the_lower_bound_is_that_of_rows_with_what_is_known():
    X, truth = rows()
    y = some_of(truth, 0.2)
    fitted = mixture().fit(X, y)
    assert_allclose(fitted.lower_bound_, log_likelihood(fitted, X, y), rtol=1e-12)
    nothing_known = np.full(len(X), -1)
    assert_allclose(fitted.score(X, y), log_likelihood(fitted, X, nothing_known), rtol=1e-12)


def test_a_few_labels_name_the_components():
    X, truth = rows()
    y = np.full(len(X), -1)
    for k in range(3):
        y[np.flatnonzero(truth == k)[0]] = k  # one row of each
    fitted = mixture().fit(X, y)
    assert (fitted.predict(X) == truth).mean() > 0.9
    assert fitted.fit_info_.initialization.method == "kmeans"
    enough = mixture().fit(X, some_of(truth, 0.1))
    assert (enough.predict(X) == truth).mean() > 0.9
    assert enough.fit_info_.initialization.method == "labels"


@pytest.mark.parametrize("labeled", [0, 1, 2])
@pytest.mark.parametrize("method", ["kmeans", "k-means++", "hierarchical"])
def test_components_without_labels_are_found(labeled, method):
    X, truth = rows()
    y = np.where(truth == labeled, some_of(truth, 0.2), -1)
    fitted = mixture(init_params=method, tol=1e-6).fit(X, y)
    found = fitted.predict(X)
    assert (found[truth == labeled] == labeled).mean() > 0.9
    free = mixture(semi_supervised=False, init_params=method, tol=1e-6).fit(X)
    assert_allclose(np.sort(fitted.means_[:, 0]), np.sort(free.means_[:, 0]), atol=0.3)


def test_labels_move_what_rows_alone_would_say():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0.0, 1.0, (300, 1)), rng.normal(1.0, 1.0, (300, 1))])
    truth = np.repeat([0, 1], 300)
    known = mixture(n_components=2, tol=1e-6, max_iter=1000).fit(X, some_of(truth, 0.7))
    assert_allclose(known.means_.ravel(), [0.0, 1.0], atol=0.2)


def test_predictions_ignore_what_was_known():
    X, truth = rows()
    wrong = truth.copy()
    wrong[:10] = (truth[:10] + 1) % 3
    fitted = mixture()
    found = fitted.fit_predict(X, wrong)
    assert_array_equal(found, fitted.predict(X))
    assert (found[:10] != wrong[:10]).any()


def test_weights_count_as_copies():
    X, truth = rows(300)
    y, copies = some_of(truth, 0.3), np.random.default_rng(0).integers(1, 4, size=300)
    weighted = mixture(init_params="random_from_data").fit(X, y, sample_weight=copies)
    repeated = mixture().fit(np.repeat(X, copies, axis=0), np.repeat(y, copies))
    assert_allclose(weighted.means_, repeated.means_, rtol=1e-10)
    assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-9)


def test_nothing_known_is_a_fit_as_ever():
    X, _ = rows()
    fitted = mixture().fit(X, np.full(len(X), -1))
    plain = mixture(semi_supervised=False).fit(X)
    assert_allclose(np.sort(fitted.means_, axis=0), np.sort(plain.means_, axis=0), rtol=1e-6)


def test_given_starts_replace_what_labels_say():
    X, truth = rows()
    y = some_of(truth, 0.3)
    means = np.array([[0.5, 0.0], [3.0, 2.5], [0.0, 4.5]])
    start = mixture(means_init=means, max_iter=0).fit(X, y)
    assert_array_equal(start.means_, means)
    start = mixture(labels_init=truth, max_iter=0).fit(X, y)
    assert_allclose(start.means_[1], X[truth == 1].mean(axis=0))


def test_a_warm_start_keeps_what_is_known():
    X, truth = rows()
    y = some_of(truth, 0.1)
    whole = mixture(tol=0.0, max_iter=10).fit(X, y)
    parts = mixture(tol=0.0, max_iter=4, warm_start=True).fit(X, y)
    assert_array_equal(parts.set_params(max_iter=6).fit(X, y).means_, whole.means_)


@pytest.mark.parametrize("make", [list, np.float64, np.int8, pd.Series, pl.Series, np.bool_])
def test_labels_of_any_kind(make):
    X, truth = rows()
    y = some_of(truth, 0.3)
    if make is np.bool_:
        X, y = X[truth < 2], truth[truth < 2]
    given = y.astype(make) if isinstance(make, type) and issubclass(make, np.generic) else make(y)
    n_components = 2 if make is np.bool_ else 3
    fitted = mixture(n_components=n_components).fit(X, given)
    assert_array_equal(fitted.means_, mixture(n_components=n_components).fit(X, y).means_)


def test_what_is_missing_is_not_known():
    X, truth = rows()
    y = some_of(truth, 0.3)
    expected = mixture().fit(X, y).means_
    gaps = np.where(y >= 0, y, np.nan)
    for given in (gaps, pd.Series(gaps).astype("Int64"), pl.Series(gaps)):
        assert_array_equal(mixture().fit(X, given).means_, expected)


def frame_with_labels(X, y, kind):
    gaps = [None if each < 0 else int(each) for each in y]
    if kind == "pandas":
        return pd.DataFrame({"a": X[:, 0], "kind": pd.array(gaps, "Int64"), "b": X[:, 1]})
    if kind == "polars":
        return pl.DataFrame({"a": X[:, 0], "kind": gaps, "b": X[:, 1]})
    return pa.table({"a": X[:, 0], "kind": gaps, "b": X[:, 1]})


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_labels_are_a_column_of_a_frame(kind):
    X, truth = rows()
    y = some_of(truth, 0.3)
    fitted = mixture().fit(frame_with_labels(X, y, kind), "kind")
    assert_array_equal(fitted.means_, mixture().fit(X, y).means_)
    assert_array_equal(fitted.feature_names_in_, ["a", "b"])
    assert fitted.n_features_in_ == 2


def test_labels_and_weights_are_columns_of_a_frame():
    X, truth = rows()
    y, weights = some_of(truth, 0.3), np.random.default_rng(0).random(len(X))
    frame = frame_with_labels(X, y, "polars").with_columns(w=weights)
    fitted = mixture().fit(frame, "kind", sample_weight="w")
    assert_array_equal(fitted.means_, mixture().fit(X, y, sample_weight=weights).means_)
    assert_array_equal(fitted.feature_names_in_, ["a", "b"])
    given = mixture().fit(frame.drop("w"), "kind", sample_weight=weights)
    assert_array_equal(given.means_, fitted.means_)


@pytest.mark.parametrize("form", ["parquet", "csv", "source"])
def test_labels_are_a_column_of_a_file(tmp_path, form):
    X, truth = rows(3000)
    y = some_of(truth, 0.3)
    path = tmp_path / ("rows.csv" if form == "csv" else "rows.parquet")
    frame = frame_with_labels(X, y, "pandas")
    frame.to_csv(path, index=False) if form == "csv" else frame.to_parquet(path)
    if form == "source":
        fitted = mixture().fit(fastgmm.open_data(path, label_column="kind"))
    else:
        fitted = mixture().fit(path, "kind")
    expected = mixture().fit(X, y)
    assert_array_equal(fitted.means_, expected.means_)
    assert_array_equal(fitted.feature_names_in_, ["a", "b"])
    # the column that is no feature does not stand in the way afterwards
    assert_array_equal(fitted.predict(path), expected.predict(X))


def test_an_array_of_labels_belongs_to_a_file(tmp_path):
    X, truth = rows(3000)
    y = some_of(truth, 0.3)
    np.save(tmp_path / "rows.npy", X)
    fitted = mixture().fit(tmp_path / "rows.npy", y)
    assert_array_equal(fitted.means_, mixture().fit(X, y).means_)
    with pytest.raises(ValueError, match=r"each of the 3000 rows.*got an array of shape \(2999,\)"):
        mixture().fit(tmp_path / "rows.npy", y[1:])


def test_rows_may_lack_values_besides():
    X, truth = rows()
    y = some_of(truth, 0.3)
    X[::4, 1] = np.nan
    fitted = mixture(missing="model", tol=1e-5).fit(X, y)
    assert (np.diff(fitted.trace_) > -1e-11).all()
    assert (fitted.predict(X) == truth).mean() > 0.8
    # A row of known component counts with the density of what is observed of it alone.
    joint = np.empty((len(X), 3))
    for k in range(3):
        mean, covariance = fitted.means_[k], fitted.covariances_[k]
        seen = ~np.isnan(X[:, 1])
        one = (np.ones(1), mean[None, :1], covariance[None, :1, :1])
        joint[:, k] = np.log(fitted.weights_[k]) + np.where(
            seen,
            oracle.log_density(np.nan_to_num(X), np.ones(1), mean[None], covariance[None]),
            oracle.log_density(X[:, :1], *one),
        )
    known = joint[np.arange(len(X)), np.maximum(y, 0)]
    expected = np.where(y >= 0, known, np.logaddexp.reduce(joint, axis=1)).mean()
    assert_allclose(fitted.lower_bound_, expected, rtol=1e-10)


def test_a_pipeline_passes_labels_on():
    X, truth = rows()
    y = some_of(truth, 0.3)
    model = make_pipeline(StandardScaler(), mixture()).fit(X, y)
    assert (model.predict(X) == truth).mean() > 0.9


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a", "b"] * 450, "numbers of components, .*names of classes are for GaussianMixtureCla"),
        (
            np.full(900, 3),
            "integers from 0 to n_components - 1 = 2, or -1 .* got 3 in row 0, counted from 0",
        ),
        (np.full(900, -2), "got -2 in row 0, counted from 0"),
        (np.r_[np.zeros(5), np.full(895, 0.5)], r"got 0\.5 in row 5, counted from 0"),
        (np.zeros(899), r"each of the 900 rows, .*, but got an array of shape \(899,\)"),
        (np.zeros((900, 1)), r"got an array of shape \(900, 1\)"),
        (np.full(900, np.inf), "y contains infinity"),
        (np.full(900, "red"), "could not convert string"),
        (None, "semi_supervised=True requires y to be passed.*or -1 where it is not known"),
        ("kind", "y='kind' names a column, and X has no names"),
    ],
)
def test_labels_that_are_none_are_refused(y, words):
    with pytest.raises(ValueError, match=words):
        mixture().fit(rows()[0], y)


def test_columns_that_hold_no_labels_are_refused(tmp_path):
    X, truth = rows()
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": truth, "name": "x"})
    with pytest.raises(
        ValueError, match="labels in column 'name' of the data frame are no numbers"
    ):
        mixture().fit(frame, "name")
    with pytest.raises(ValueError, match="no column 'sort'"):
        mixture().fit(frame, "sort")
    with pytest.raises(ValueError, match="got 2 in row 0, counted from 0"):
        mixture(n_components=2).fit(frame.drop(columns="name"), "kind")
    frame.drop(columns="name").to_parquet(tmp_path / "rows.parquet")
    source = fastgmm.open_data(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="source already: give the options to what opened it"):
        mixture().fit(source, "kind")


@pytest.mark.parametrize("y", [np.array([0, -1] * 450), [0, -1] * 450, pd.Series([0, -1] * 450)])
def test_labels_that_are_ignored_are_reported(y):
    X, _ = rows()
    plain = GaussianMixture(3, random_state=0)
    with pytest.warns(
        UserWarning, match="y holds -1.* is ignored: use semi_supervised=True"
    ) as caught:
        fitted = clone(plain).fit(X, y)
    assert caught[0].filename == __file__
    assert_array_equal(fitted.means_, clone(plain).fit(X).means_)


@pytest.mark.parametrize("y", [None, np.zeros(900, int), np.linspace(-1, 1, 900), ["a"] * 900])
def test_other_targets_are_ignored_in_silence(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianMixture(3, random_state=0).fit(rows()[0], y)


def test_a_name_that_would_be_ignored_is_refused():
    X, truth = rows()
    frame = frame_with_labels(X, truth, "pandas")
    with pytest.raises(ValueError, match=r"y='kind' names .* only with semi_supervised=True"):
        GaussianMixture(3).fit(frame, "kind")


def test_files_and_copies_keep_the_parameter(tmp_path):
    X, truth = rows()
    fitted = mixture().fit(X, some_of(truth, 0.3))
    assert clone(fitted).semi_supervised
    fitted.save(tmp_path / "mixture.fgm")
    assert fastgmm.load(tmp_path / "mixture.fgm").semi_supervised


def test_what_takes_no_labels_says_so():
    with pytest.raises(AttributeError, match="no attribute 'partial_fit'") as refusal:
        mixture().partial_fit(rows()[0])
    assert "takes no labels, and semi_supervised is True" in str(refusal.value.__cause__)
    assert "semi_supervised" not in MiniBatchGaussianMixture().get_params()


@pytest.mark.parametrize(
    "make",
    [
        lambda y: np.ma.array(y, mask=y < 0),
        lambda y: pd.Series(y, dtype="Int64").mask(y < 0),
        lambda y: pd.Series(y, dtype="Int64").mask(y < 0).astype(object),
        lambda y: [None if each < 0 else each for each in y.tolist()],
        lambda y: pa.array([None if each < 0 else each for each in y.tolist()]),
    ],
)
def test_components_that_are_missing_are_unknown(make):
    X = np.random.default_rng(0).normal(size=(60, 2)) + np.repeat([0, 5], 30)[:, None]
    y = np.repeat([0, 1], 30)
    y[::3] = -1
    mixture = GaussianMixture(2, semi_supervised=True, random_state=0)
    expected = mixture.fit(X, y).means_
    np.testing.assert_array_equal(mixture.fit(X, make(y)).means_, expected)
