"""Fitted regressors to model files and back."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

import fastgmm
from fastgmm import GaussianMixtureRegressor, ModelFileError
from fastgmm.io import model_file as persistence


def rows(seed=0):
    x = np.random.default_rng(seed).normal(size=(400, 4))
    return pd.DataFrame(
        {"y": x[:, 0] + x[:, 1] + x[:, 3], "a": x[:, 0], "z": x[:, 2], "b": x[:, 1]}
    )


@pytest.mark.parametrize("y", ["y", ["z", "y"]])
def test_what_is_loaded_is_what_was_saved(tmp_path, y):
    data = rows()
    regressor = GaussianMixtureRegressor(2, covariance_type="tied", random_state=0).fit(data, y)
    regressor.save(tmp_path / "model.fgm")
    loaded = fastgmm.load(tmp_path / "model.fgm")
    assert type(loaded) is GaussianMixtureRegressor
    assert loaded.get_params() == regressor.get_params()
    assert_array_equal(loaded.feature_names_in_, regressor.feature_names_in_)
    inputs = data[list(regressor.feature_names_in_)]
    assert_array_equal(loaded.predict(inputs), regressor.predict(inputs))
    assert_array_equal(loaded.log_density(data, y), regressor.log_density(data, y))
    more = rows(1)
    assert_array_equal(
        loaded.partial_fit(more, y).predict(inputs), regressor.partial_fit(more, y).predict(inputs)
    )


def test_arrays_without_names(tmp_path):
    X, y = rows()[["a", "b"]].to_numpy(), rows()["y"].to_numpy()
    regressor = GaussianMixtureRegressor(random_state=np.random.RandomState(0)).fit(X, y)
    regressor.save(tmp_path / "model.fgm")
    loaded = fastgmm.load(tmp_path / "model.fgm")
    assert not hasattr(loaded, "feature_names_in_")
    assert loaded.n_features_in_ == 2
    assert loaded.random_state is None
    assert_array_equal(loaded.predict(X), regressor.predict(X))


def test_only_fitted_regressors_are_saved(tmp_path):
    with pytest.raises(NotFittedError):
        GaussianMixtureRegressor().save(tmp_path / "model.fgm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda held: held.update(
                targets={**held["targets"], "numbers": [0, 0]}, feature_names=None
            ),
            "the targets .0, 0. are no columns",
        ),
        (lambda held: held["targets"].update(numbers=[9]), "the targets .9. are no columns of 4"),
        (lambda held: held["targets"].update(names=["y", "z"]), "2 names for 1 targets"),
        (lambda held: held.update(feature_names=["a"]), "1 names, but means_ 3 columns"),
        (lambda held: held.pop("targets"), "'targets' is missing"),
    ],
)
def test_parts_that_do_not_belong_together(tmp_path, change, message):
    path = str(tmp_path / "model.fgm")
    GaussianMixtureRegressor(random_state=0).fit(rows(), "y").save(path)
    stored = persistence.load(path)
    values = json.loads(json.dumps(stored.values))
    change(values)
    persistence.save(path, stored.model_class, values, dict(stored.arrays))
    with pytest.raises(ModelFileError, match=message):
        fastgmm.load(path)
