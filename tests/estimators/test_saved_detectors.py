"""Fitted outlier detectors to model files and back."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

import fastgmm
from fastgmm import GaussianMixtureOutlierDetector, ModelFileError
from fastgmm.io import model_file as persistence


def rows(n_rows=400, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, 3))


def labeled():
    X = rows(100, 1)
    X[:20] += 2.5
    return X, np.arange(100) < 20


def fitted(**parameters):
    parameters = {"n_components": 2, "random_state": 0, "contamination": 0.1, **parameters}
    return GaussianMixtureOutlierDetector(**parameters).fit(rows())


def reloaded(detector, path):
    detector.save(path / "detector.fgm")
    return fastgmm.load(path / "detector.fgm")


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_what_is_loaded_is_what_was_saved(tmp_path, contamination):
    detector = fitted(contamination=contamination, covariance_type="tied", forgetting=0.9)
    loaded = reloaded(detector, tmp_path)
    assert type(loaded) is GaussianMixtureOutlierDetector
    assert loaded.get_params() == detector.get_params()
    assert loaded.offset_ == detector.offset_
    assert loaded.n_features_in_ == 3
    assert not hasattr(loaded, "feature_names_in_")
    assert not hasattr(loaded, "operating_point_")
    assert_array_equal(loaded.decision_function(rows()), detector.decision_function(rows()))
    assert loaded.mixture_.fit_info_ == detector.mixture_.fit_info_


@pytest.mark.parametrize("begun", ["by fit", "by partial_fit"])
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_a_loaded_detector_follows_the_stream_as_the_original(tmp_path, contamination, begun):
    detector = fitted(contamination=contamination)
    if begun == "by partial_fit":
        detector.partial_fit(rows(200, 1))
    loaded = reloaded(detector, tmp_path)
    for seed in (2, 3):
        assert loaded.partial_fit(rows(200, seed)).offset_ == (
            detector.partial_fit(rows(200, seed)).offset_
        )


def test_names_and_the_operating_point_are_kept(tmp_path):
    table = pd.DataFrame(rows(), columns=["a", "b", "c"])
    detector = GaussianMixtureOutlierDetector(random_state=np.random.RandomState(0)).fit(table)
    X, y = labeled()
    point = detector.choose_threshold(pd.DataFrame(X, columns=table.columns), y, "precision", 0.5)
    loaded = reloaded(detector, tmp_path)
    assert loaded.random_state is None
    assert_array_equal(loaded.feature_names_in_, ["a", "b", "c"])
    for name in point.__slots__:
        assert_array_equal(getattr(loaded.operating_point_, name), getattr(point, name))
    loaded.partial_fit(table)
    assert loaded.offset_ == point.offset


def test_a_detector_that_waits_cannot_be_saved(tmp_path):
    detector = GaussianMixtureOutlierDetector(5).partial_fit(rows(3))
    with pytest.raises(NotFittedError):
        detector.save(tmp_path / "detector.fgm")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held.pop("offset"), "'offset' is missing"),
        (lambda held: held.update(offset="low"), "low"),
        (lambda held: held.update(offset="inf"), "offset is 'inf', not float"),
        (lambda held: held["parameters"].update(contamination=0.7), "'contamination'"),
        (lambda held: held.update(feature_names=["a"]), "1 names, but means_ 3 columns"),
        (lambda held: held["mixture"].update({"class": "Forest"}), "Forest"),
        (lambda held: held["mixture"].pop("attributes"), "'attributes' is missing"),
        (lambda held: held["arrays"].pop("recent_masses"), "'recent_masses' is missing"),
        (lambda held: held["arrays"].update(recent_masses=np.ones(2)), "differ in shape"),
        (lambda held: held["arrays"].pop("operating_point_recalls"), "'operating_point_recalls'"),
        (lambda held: held["arrays"].update(mood=np.ones(2)), "no attribute 'mood'"),
        (lambda held: held["operating_point"].update(mood=1), "mood"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, change, words):
    detector = fitted()
    detector.choose_threshold(*labeled())
    path = tmp_path / "detector.fgm"
    detector.save(path)
    stored = persistence.load(path)
    held = {**json.loads(json.dumps(stored.values)), "arrays": dict(stored.arrays)}
    change(held)
    arrays = held.pop("arrays")
    persistence.save(path, stored.model_class, held, arrays)
    with pytest.raises(ModelFileError, match=rf"detector\.fgm.*{words}.*save the model again"):
        fastgmm.load(path)
