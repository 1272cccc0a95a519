"""Which columns and rows of a mixture are drawn."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureOutlierDetector,
    KMeans,
    MiniBatchGaussianMixture,
    MixtureSearch,
)
from fastgmm.plotting.projection import project
from tests import oracle
from tests.plotting.drawn_mixtures import ROWS, fitted


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "VEV", "EEI"])
def test_columns_are_marginalized(covariance_type):
    mixture, X = fitted(covariance_type)
    covariances = oracle.fitted_covariances(mixture)
    shown = project(mixture, X, [3, 1], at_most=2)
    assert shown.names == ("x3", "x1")
    assert_allclose(shown.parameters.means, mixture.means_[:, [3, 1]])
    assert_allclose(shown.parameters.weights, mixture.weights_)
    found = shown.parameters.covariances()
    expected = covariances[:, [3, 1]][:, :, [3, 1]]
    if found.ndim == 2:
        expected = np.einsum("kii->ki", expected)
    assert_allclose(found, expected, rtol=1e-8)
    assert_array_equal(shown.rows, X[:, [3, 1]])
    assert_array_equal(shown.labels, mixture.predict(X))
    again = shown.of([1])
    assert again.names == ("x1",)
    assert_allclose(again.parameters.means, mixture.means_[:, [1]])
    assert_array_equal(again.rows, X[:, [1]])


@pytest.mark.parametrize(
    "estimator",
    [
        BayesianGaussianMixture(2, random_state=0),
        MiniBatchGaussianMixture(2, random_state=0),
        GaussianMixtureOutlierDetector(2, random_state=0),
        MixtureSearch([2], structures=["EEE"]),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_mixtures_are_found_in_all_that_hold_one(estimator):
    estimator.fit(ROWS)
    mixture = getattr(estimator, "mixture_", getattr(estimator, "best_estimator_", estimator))
    shown = project(estimator, ROWS, None, at_most=3, with_uncertainties=True)
    assert shown.names == ("x0", "x1", "x2")
    assert_allclose(shown.parameters.means, mixture.means_[:, :3])
    assert_array_equal(shown.labels, mixture.predict(ROWS))
    assert_allclose(shown.uncertainties, 1.0 - mixture.predict_proba(ROWS).max(axis=1))


def test_noise_keeps_its_weight_and_its_rows():
    mixture, X = fitted(n_features=2, noise_volume=200.0)
    shown = project(mixture, X, None, at_most=2)
    assert_allclose(shown.parameters.weights, mixture.weights_)
    assert shown.parameters.n_components == 2
    assert shown.parameters.weights.sum() == pytest.approx(1.0 - mixture.noise_weight_)
    assert_array_equal(shown.labels, mixture.predict(X))


def test_columns_have_names(tmp_path):
    frame = pd.DataFrame(ROWS, columns=list("abcd"))
    mixture = GaussianMixture(2, random_state=0).fit(frame)
    frame.to_parquet(tmp_path / "rows.parquet")
    for X in (frame, tmp_path / "rows.parquet"):
        shown = project(mixture, X, ["d", -3], at_most=2)
        assert shown.names == ("d", "b")
        assert_allclose(shown.rows, ROWS[:, [3, 1]])
    assert project(mixture, None, "c", at_most=2).names == ("c",)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["y"], "there is no column 'y' to draw: the mixture has 4 columns, x0, x1, x2, x3"),
        ([4], "there is no column 4 to draw"),
        ([], "columns must name 1 to 2 different columns"),
        ([0, 0], r"columns must name 1 to 2 different columns; got \[0, 0\]"),
        ([0, 1, 2], "columns must name 1 to 2 different columns"),
    ],
)
def test_columns_that_cannot_be_drawn(columns, words):
    with pytest.raises(ValueError, match=words):
        project(fitted()[0], None, columns, at_most=2)


def test_estimators_that_cannot_be_drawn():
    with pytest.raises(NotFittedError, match="not fitted"):
        project(GaussianMixture(), None, None, at_most=2)
    with pytest.raises(ValueError, match="there is no mixture to draw in a KMeans"):
        project(KMeans(2, random_state=0).fit(ROWS), None, None, at_most=2)
