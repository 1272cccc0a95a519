"""Classifiers in model files."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from fastgmm.estimators.classifier import GaussianMixtureClassifier
from fastgmm.estimators.loading import load
from fastgmm.io import model_file as persistence
from fastgmm.io.model_file import ModelFileError

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


@pytest.mark.parametrize(
    ("classifier", "y"),
    [
        (GaussianMixtureClassifier(covariance_type=("EEE", "VVV"), reject_below=0.05), NAMES),
        (GaussianMixtureClassifier(covariance_type="VEI"), NAMES.astype(object)),
        (
            GaussianMixtureClassifier(
                {-1: 1, 1: range(1, 3), 2: np.int64(2)},
                covariance_type="VII",
                class_weight={-1: 2.0, 1: 1.0, 2: 1.0},
                priors=np.array([0.2, 0.3, 0.5]),
                random_state=np.random.RandomState(0),
            ),
            np.where(Y == 0, -1, Y),
        ),
        (GaussianMixtureClassifier(covariance_type="EEI"), Y == 1),
    ],
)
def test_a_classifier_comes_back_as_it_was(tmp_path, classifier, y):
    frame = pd.DataFrame(X, columns=list("abcd"))
    classifier.fit(frame, y).calibrate(frame, y)
    classifier.save(tmp_path / "classifier.fgm")
    loaded = load(tmp_path / "classifier.fgm")
    assert isinstance(loaded, GaussianMixtureClassifier)
    assert loaded.classes_.dtype == classifier.classes_.dtype
    np.testing.assert_array_equal(loaded.classes_, classifier.classes_)
    np.testing.assert_array_equal(loaded.predict_proba(frame), classifier.predict_proba(frame))
    np.testing.assert_array_equal(loaded.predict(frame), classifier.predict(frame))
    np.testing.assert_array_equal(loaded.feature_names_in_, list("abcd"))
    assert loaded.structure_shares_ == classifier.structure_shares_
    assert loaded.n_iter_ == classifier.n_iter_
    if classifier.n_components == 1:
        assert loaded.get_params()["reject_below"] == classifier.reject_below
        loaded.partial_fit(frame, y)
        classifier.partial_fit(frame, y)
        np.testing.assert_array_equal(loaded.predict_proba(frame), classifier.predict_proba(frame))
    loaded.fit(frame, y)


def test_an_unfitted_classifier_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        GaussianMixtureClassifier().save(tmp_path / "classifier.fgm")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": [0, 1]}, "2 classes, but 3 mixtures"),
        ({"classes": [0, 1, 1]}, r"the classes \[0, 1, 1\] are not different ones of one type"),
        ({"classes": [0, 1, 2.5]}, "are not different ones of one type"),
        ({"reject_label": -1}, "reject_below_ goes with a label"),
        ({"temperature": 0.0}, "temperature_ is 0.0"),
        ({"feature_names": ["a"]}, "1 names, but means_ 4 columns"),
    ],
)
def test_parts_that_do_not_belong_together_are_reported(tmp_path, change, words):
    path = tmp_path / "classifier.fgm"
    GaussianMixtureClassifier(covariance_type="EEI").fit(X, Y).save(path)
    stored = persistence.load(str(path))
    persistence.save(str(path), stored.model_class, {**stored.values, **change}, stored.arrays)
    with pytest.raises(ModelFileError, match=words):
        load(path)


def test_levels_of_classes_without_weight(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 2)) + np.repeat([0.0, 5.0, -5.0], 20)[:, None]
    y = np.repeat([0, 1, 2], 20)
    weights = (y != 1).astype(float)
    classifier = GaussianMixtureClassifier(reject_below=0.05, covariance_type="VVV")
    learned = clone(classifier).partial_fit(X[y != 1], y[y != 1], classes=[0, 1, 2])
    for each in (classifier.fit(X, y, weights), learned):
        assert each.reject_below_[1] == -np.inf
        each.save(tmp_path / "c.fgm")
        loaded = load(tmp_path / "c.fgm")
        np.testing.assert_array_equal(loaded.reject_below_, each.reject_below_)
        np.testing.assert_array_equal(loaded.predict(X), each.predict(X))
