"""Regression by mixtures, as users see it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score

import fastgmm
from fastgmm import GaussianMixtureRegressor
from fastgmm.analysis import regression
from tests.structures import every_structure


def table(n_samples=600, seed=0):
    """Return rows of two inputs and two targets, of two branches."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 2))
    branch = np.where(rng.random(n_samples) < 0.5, 1.0, -1.0)
    Y = np.column_stack([branch * (X[:, 0] + 4.0), X @ [1.0, -2.0]])
    return X, Y + rng.normal(scale=0.3, size=Y.shape)


def frame(n_samples=600):
    X, Y = table(n_samples)
    columns = {"first": Y[:, 0], "a": X[:, 0], "second": Y[:, 1], "b": X[:, 1]}
    return pd.DataFrame(columns)


def fitted(n_components=2, **parameters):
    return GaussianMixtureRegressor(n_components, random_state=0, **parameters).fit(*table())


@pytest.mark.parametrize("shift", [0.0, 1e5])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_component_is_least_squares(shift, weighted):
    X, Y = table()
    weights = np.random.default_rng(1).integers(1, 4, len(X)).astype(float) if weighted else None
    regressor = GaussianMixtureRegressor(reg_covar=0.0).fit(X + shift, Y, sample_weight=weights)
    expected = LinearRegression().fit(X, Y, sample_weight=weights)
    assert_allclose(regressor.predict(X + shift), expected.predict(X), rtol=1e-8, atol=1e-8)
    residuals = Y - expected.predict(X)
    covariance = np.cov(residuals.T, aweights=weights, ddof=0)
    _, found = regressor.predict(X[:3] + shift, return_cov=True)
    assert_allclose(found, np.broadcast_to(covariance, (3, 2, 2)), rtol=1e-8, atol=1e-10)


@every_structure
def test_each_row_has_the_conditional_of_the_mixture(name):
    regressor = fitted(covariance_type=name)
    X, Y = table(5, seed=1)
    mean, covariance = regressor.predict(X, return_cov=True)
    _, deviation = regressor.predict(X, return_std=True)
    density = regressor.log_density(X, Y)
    assert_array_equal(regressor.target_columns_, [2, 3])
    for i, x in enumerate(X):
        given = regressor.mixture_.condition({0: x[0], 1: x[1]})
        assert_allclose(mean[i], given.weights_ @ given.means_, rtol=1e-10, atol=1e-12)
        assert_allclose(density[i], given.score_samples(Y[i : i + 1])[0], rtol=1e-9)
        offsets = given.means_ - mean[i]
        within = given._parameters().covariances()
        within = within[..., None] * np.eye(2) if within.ndim == 2 else within
        spread = np.einsum("k,kij->ij", given.weights_, within)
        spread += np.einsum("k,ki,kj->ij", given.weights_, offsets, offsets)
        assert_allclose(covariance[i], spread, rtol=1e-9, atol=1e-12)
        assert_allclose(deviation[i], np.sqrt(np.diag(spread)), rtol=1e-9)


def test_quantiles_and_draws_agree():
    regressor = fitted()
    X, _ = table(3, seed=2)
    levels = [0.05, 0.5, 0.9]
    quantiles = regressor.predict_quantiles(X, levels)
    assert quantiles.shape == (3, 2, 3)
    assert_array_equal(regressor.predict_quantiles(X, 0.9), quantiles[:, :, 2])
    draws = regressor.sample_y(X, 20_000, random_state=5)
    assert draws.shape == (3, 2, 20_000)
    below = (draws[:, :, None] < quantiles[..., None]).mean(axis=3)
    assert (np.abs(below - levels) < 4.5 * np.sqrt(0.25 / 20_000)).all()
    assert_array_equal(draws, regressor.sample_y(X, 20_000, random_state=5))
    # one target per branch: the mean lies where there is hardly a target
    mean, deviation = regressor.predict([[0.0, 0.0]], return_std=True)
    assert abs(mean[0, 0]) < 1.0
    assert deviation[0, 0] == pytest.approx(4.0, abs=0.2)
    assert norm.cdf(1.0 / deviation[0, 0]) < 0.7
    ends = regressor.predict_quantiles([[0.0, 0.0]], [0.25, 0.75])[0, 0]
    assert_allclose(ends, [-4.0, 4.0], atol=0.3)


def test_a_single_target_has_no_axis():
    X, Y = table()
    flat = GaussianMixtureRegressor(2, random_state=0).fit(X, Y[:, 1])
    column = GaussianMixtureRegressor(2, random_state=0).fit(X, Y[:, 1:])
    for name, arguments in {"predict": (), "predict_quantiles": (0.3,), "sample_y": (4, 0)}.items():
        one, two = (getattr(each, name)(X[:7], *arguments) for each in (flat, column))
        assert_array_equal(one, two[:, 0])
    _, variance = flat.predict(X[:7], return_cov=True)
    _, deviation = flat.predict(X[:7], return_std=True)
    assert variance.shape == (7,)
    assert_allclose(np.sqrt(variance), deviation)
    assert flat.predict_quantiles(X[:7], [0.1, 0.2]).shape == (7, 2)
    assert_array_equal(np.concatenate(list(flat.predict_blocks(X))), flat.predict(X))


def test_targets_by_name(tmp_path):
    data = frame()
    data.to_parquet(tmp_path / "rows.parquet")
    X, Y = data[["a", "b"]], data[["second", "first"]]
    by_name = GaussianMixtureRegressor(2, random_state=0).fit(data, ["second", "first"])
    by_file = GaussianMixtureRegressor(2, random_state=0)
    by_file.fit(str(tmp_path / "rows.parquet"), ["second", "first"])
    assert list(by_name.feature_names_in_) == ["a", "b"]
    assert list(by_name.mixture_.feature_names_in_) == list(data.columns)
    assert by_name.n_features_in_ == by_file.n_features_in_ == 2
    expected = by_name.predict(X)
    assert_array_equal(by_file.predict(X), expected)
    # the file still holds the targets beside the inputs
    assert_array_equal(by_file.predict(str(tmp_path / "rows.parquet")), expected)
    assert r2_score(Y, expected) == pytest.approx(by_name.score(X, Y))
    assert by_file.score(str(tmp_path / "rows.parquet"), ["second", "first"]) == pytest.approx(
        by_name.score(X, Y)
    )
    assert_allclose(by_name.log_density(data, ["second", "first"]), by_name.log_density(X, Y))
    single = GaussianMixtureRegressor().fit(data[["a", "b", "second"]], "second")
    assert single.predict(X).shape == (600,)


def test_weights_by_name():
    data = frame().assign(weight=np.arange(600) % 3)
    columns = ["first", "second"]
    by_name = GaussianMixtureRegressor(reg_covar=0.0).fit(data, columns, sample_weight="weight")
    inputs = data[["a", "b"]]
    by_array = GaussianMixtureRegressor(reg_covar=0.0).fit(
        inputs, data[columns], sample_weight=data["weight"]
    )
    assert_allclose(by_name.predict(inputs), by_array.predict(inputs), rtol=1e-10)
    assert by_name.score(data, columns, sample_weight="weight") == pytest.approx(
        by_array.score(inputs, data[columns], sample_weight=data["weight"])
    )


def test_results_do_not_depend_on_how_many_rows_are_held(monkeypatch):
    X, Y = table(3000)
    regressor = fitted()
    calls = [
        lambda: regressor.log_density(X, Y),
        lambda: regressor.score(X, Y, sample_weight=np.arange(3000.0)),
        lambda: regressor.predict(X, return_cov=True)[1],
    ]
    expected = [call() for call in calls]
    assert expected[1] == pytest.approx(
        r2_score(Y, regressor.predict(X), sample_weight=np.arange(3000.0))
    )
    monkeypatch.setattr(regression, "_PIECE_BYTES", 1)
    assert len(list(regressor.predict_blocks(X))) == 3
    for call, value in zip(calls, expected, strict=True):
        assert_array_equal(call(), value)


def test_values_that_are_missing():
    X, Y = table(3000)
    rng = np.random.default_rng(3)
    holes, no_target = rng.random(X.shape) < 0.2, rng.random(Y.shape) < 0.1
    regressor = GaussianMixtureRegressor(2, missing="model", random_state=0)
    regressor.fit(np.where(holes, np.nan, X), np.where(no_target, np.nan, Y))
    full = GaussianMixtureRegressor(2, random_state=0).fit(X, Y)
    assert_allclose(regressor.predict(X[:50])[:, 1], full.predict(X[:50])[:, 1], atol=0.1)
    given = regressor.mixture_.condition({1: 0.7})
    column = given.weights_ @ given.means_[:, 1:]
    assert_allclose(regressor.predict([[np.nan, 0.7]])[0], column, rtol=1e-9)
    nothing = regressor.predict([[np.nan, np.nan]])[0]
    assert_allclose(nothing, regressor.mixture_.weights_ @ regressor.mixture_.means_[:, 2:])
    densities = regressor.log_density([[np.nan, 0.7]], [[4.0, np.nan]])
    assert_allclose(densities, given.marginal([1]).score_samples([[4.0]]), rtol=1e-9)
    with pytest.raises(ValueError, match="NaN"):
        full.predict([[np.nan, 0.7]])


def test_learning_in_batches():
    X, Y = table(6000)
    regressor = GaussianMixtureRegressor(2, random_state=0)
    assert regressor.partial_fit(X[:5], Y[:5]) is regressor
    with pytest.raises(NotFittedError):
        regressor.predict(X)
    for first in range(5, 6000, 500):
        regressor.partial_fit(X[first : first + 500], Y[first : first + 500])
    batch = GaussianMixtureRegressor(2, random_state=0).fit(X, Y)
    assert regressor.score(X, Y) == pytest.approx(batch.score(X, Y), abs=0.01)
    regressor.fit(X, Y)
    assert_array_equal(regressor.predict(X), batch.predict(X))
    data = frame()
    by_name = GaussianMixtureRegressor().partial_fit(data, ["first", "second"])
    by_name.partial_fit(data[["a", "b"]], data[["first", "second"]])
    assert by_name.mixture_.n_samples_seen_ == 1200
    assert_array_equal(by_name.target_columns_, [0, 2])
    twice = GaussianMixtureRegressor().partial_fit(data, ["first", "second"])
    twice.partial_fit(data, ["first", "second"])
    assert_allclose(by_name.mixture_.means_, twice.mixture_.means_, rtol=1e-12)


def test_predictions_of_targets_of_float32_rows_are_float64():
    X, Y = (each.astype(np.float32) for each in table())
    regressor = GaussianMixtureRegressor(2, random_state=0).fit(X, Y)
    assert regressor.mixture_.means_.dtype == np.float64
    assert regressor.predict(X).dtype == np.float64
    assert regressor.log_density(X, Y).dtype == np.float32
    assert_allclose(regressor.predict(X), fitted().predict(X.astype(float)), rtol=1e-3, atol=1e-3)


def test_copies():
    regressor = fitted()
    X, Y = table()
    assert clone(regressor).get_params() == regressor.get_params()
    assert_array_equal(pickle.loads(pickle.dumps(regressor)).predict(X), regressor.predict(X))
    assert cross_val_score(clone(regressor), X, Y[:, 1]).min() > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda each, X: each.predict(X, return_std=True, return_cov=True), "ask for one of them"),
        (lambda each, X: each.predict_quantiles(X, 1.0), "above 0 and below 1; got 1.0"),
        (lambda each, X: each.predict_quantiles(X, []), "a list of levels"),
        (lambda each, X: each.sample_y(X, 0), "Invalid value for 'n_samples': 0"),
        (lambda each, X: each.predict(X[:, :1]), "X has 1 features"),
        (lambda each, X: each.log_density(X, X[:, 0]), "y has 1 targets, but .* fitted to 2"),
    ],
)
def test_what_cannot_be_asked(call, message):
    regressor, (X, _) = fitted(), table()
    with pytest.raises(ValueError, match=message):
        call(regressor, X)


def test_an_iterator_is_for_partial_fit():
    batches = iter([frame()])
    with pytest.raises(ValueError, match="use partial_fit"):
        GaussianMixtureRegressor().fit(batches, "first")
    learned = GaussianMixtureRegressor().partial_fit(iter([frame()]), ["first", "second"])
    assert learned.predict(frame()[["a", "b"]]).shape == (600, 2)


def test_it_is_found_where_it_is_public():
    assert fastgmm.GaussianMixtureRegressor is GaussianMixtureRegressor


def small_frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(50, 3)), columns=["a", "b", "c"])


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (small_frame(), "z", "X has no column 'z': its columns are 'a', 'b', 'c'"),
        (small_frame(), ["a", "a"], "names a column twice"),
        (small_frame(), ["a", "b", "c"], "which leaves no input"),
        (small_frame().to_numpy(), "c", "X has no names: give an array of targets"),
        (lambda: iter([small_frame().to_numpy()]), "c", "those of X have no names"),
        (small_frame(), None, "requires y to be passed, but the target y is None"),
        (small_frame(), np.zeros(49), "inconsistent numbers of samples"),
        (
            small_frame(),
            np.ma.array(np.zeros(50), mask=np.arange(50) == 7),
            "Input y contains NaN, first in row 7, counted from 0: remove such rows, fill in",
        ),
        (small_frame(), np.full(50, np.inf), "Input y contains infinity"),
        (small_frame(), np.zeros((50, 1, 1)), "Found array with dim 3"),
    ],
)
def test_targets_that_cannot_be(X, y, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixtureRegressor().fit(X, y)


def test_a_file_has_its_targets_in_a_column(tmp_path):
    small_frame().to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(TypeError, match="have their targets in a column: name it"):
        GaussianMixtureRegressor().fit(str(tmp_path / "rows.csv"), np.zeros(50))


def test_targets_are_those_of_the_fit():
    data = small_frame()
    by_name = GaussianMixtureRegressor().fit(data, "c")
    with pytest.raises(ValueError, match=r"y names the columns 'b', but .* the columns 'c' as y"):
        by_name.log_density(data, "b")
    by_array = GaussianMixtureRegressor().fit(data[["a", "b"]], data["c"])
    with pytest.raises(ValueError, match="was fitted to an array as y"):
        by_array.log_density(data, "c")
