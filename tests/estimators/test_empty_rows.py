"""Rows without any value say nothing: fits and scores are those of the other rows, to the bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgmm
from fastgmm import (
    GaussianMixture,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    MiniBatchGaussianMixture,
    bootstrap_parameters,
    merge_components,
)
from fastgmm.data.errors import DataError

FITTED = ("weights_", "means_", "covariances_", "trace_")


def rows(n_samples=700):
    """Return rows with gaps, and the same among three times as many without any value."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 3))
    X[n_samples // 2 :] += [3.0, 1.0, 0.0]
    X[rng.random(X.shape) < 0.2] = np.nan
    X = X[~np.isnan(X).all(axis=1)]
    places = np.sort(rng.choice(4 * len(X), len(X), replace=False))
    among = np.full((4 * len(X), 3), np.nan)
    among[places] = X
    return X, among, places


def assert_same(found, expected, names=FITTED):
    for name in names:
        assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"covariance_type": "tied"},
        {"covariance_type": "diag", "init_params": "random_from_data"},
        {"priors": "mclust"},
        {"n_init": 2, "init_params": "k-means++"},
    ],
)
def test_fits_and_scores_of_arrays(settings):
    X, among, places = rows()
    mixture = GaussianMixture(2, missing="model", random_state=0, **settings)
    expected = mixture.fit(X)
    scores = [getattr(expected, name)(X) for name in ("score", "bic", "aic", "icl", "entropy")]
    found = GaussianMixture(2, missing="model", random_state=0, **settings).fit(among)
    assert_same(found, expected)
    assert found.n_iter_ == expected.n_iter_
    again = [getattr(found, name)(among) for name in ("score", "bic", "aic", "icl", "entropy")]
    assert again == scores
    assert_allclose(found.lower_bound_, expected.lower_bound_)
    assert_array_equal(found.predict_proba(among)[places], found.predict_proba(X))
    empty = np.isnan(among).all(axis=1)
    assert_allclose(found.predict_proba(among)[empty] - found.weights_, 0.0, atol=1e-12)
    assert_array_equal(found.score_samples(among)[empty], 0.0)
    assert len(GaussianMixture(2, missing="model").fit_predict(among)) == len(among)


def test_convergence_is_that_of_the_rows_with_values():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + 2.0])
    among = np.concatenate([X, np.full((59_400, 2), np.nan)])
    mixture = GaussianMixture(2, missing="model", random_state=0)
    expected = GaussianMixture(2, random_state=0).fit(X)
    found = mixture.fit(among)
    assert_same(found, expected)
    assert found.bic(among) == expected.bic(X)


def test_weights_labels_and_starts_keep_to_their_rows():
    X, among, places = rows()
    rng = np.random.default_rng(1)
    weights, labels = rng.random(len(among)), rng.integers(-1, 2, len(among))
    settings = {"missing": "model", "random_state": 0}
    expected = GaussianMixture(2, **settings).fit(X, sample_weight=weights[places])
    found = GaussianMixture(2, **settings).fit(among, sample_weight=weights)
    assert_same(found, expected)
    assert found.bic(among, weights) == expected.bic(X, weights[places])
    expected = GaussianMixture(2, labels_init=labels[places], **settings).fit(X)
    assert_same(GaussianMixture(2, labels_init=labels, **settings).fit(among), expected)
    expected = GaussianMixture(2, semi_supervised=True, **settings).fit(X, labels[places])
    assert_same(GaussianMixture(2, semi_supervised=True, **settings).fit(among, labels), expected)
    with pytest.raises(ValueError, match=f"each of the {len(among)} rows"):
        GaussianMixture(2, semi_supervised=True, **settings).fit(among, labels[:-1])
    with pytest.raises(ValueError, match="labels_init"):
        GaussianMixture(2, labels_init=labels[:-1], **settings).fit(among)


@pytest.mark.parametrize("form", ["csv", "parquet", "frame", "function"])
@pytest.mark.parametrize("kind", [GaussianMixture, MiniBatchGaussianMixture])
def test_files_frames_and_streams(tmp_path, form, kind):
    X, among, _ = rows(3000)
    data = []
    for name, values in (("whole", X), ("among", among)):
        frame = pd.DataFrame(values, columns=["a", "b", "c"])
        path = tmp_path / f"{name}.{form}"
        if form == "csv":
            frame.to_csv(path, index=False)
        elif form == "parquet":
            frame.to_parquet(path, row_group_size=999)
        data.append(
            {
                "frame": frame,
                "function": lambda values=values: iter(np.array_split(values, 7)),
            }.get(form, path)
        )
    expected, found = (kind(2, missing="model", random_state=0).fit(each) for each in data)
    assert_same(found, expected)
    assert found.bic(data[1]) == expected.bic(data[0])
    assert found.n_iter_ == expected.n_iter_
    assert len(found.predict(data[1])) == len(among)


def test_labels_in_a_column(tmp_path):
    X, among, places = rows()
    labels = np.random.default_rng(1).integers(-1, 2, len(among)).astype(float)
    for name, values, of_rows in (("x", X, labels[places]), ("y", among, labels)):
        frame = pd.DataFrame(values, columns=["a", "b", "c"]).assign(label=of_rows)
        frame.to_parquet(tmp_path / f"{name}.parquet")
    settings = {"missing": "model", "random_state": 0, "semi_supervised": True}
    expected = GaussianMixture(2, **settings).fit(tmp_path / "x.parquet", "label")
    found = GaussianMixture(2, **settings).fit(tmp_path / "y.parquet", "label")
    assert_same(found, expected)


def test_batches():
    X, among, _ = rows(2000)
    names = ("weights_", "means_", "covariances_", "n_samples_seen_", "lower_bound_")
    expected = GaussianMixture(2, missing="model", random_state=0)
    found = GaussianMixture(2, missing="model", random_state=0)
    for part in np.array_split(among, 5):
        kept = part[~np.isnan(part).all(axis=1)]
        expected.partial_fit(kept)
        found.partial_fit(part)
    found.partial_fit(np.full((10, 3), np.nan))
    assert_same(found, expected, names)
    assert found.n_samples_seen_ == len(X)


def test_what_is_made_of_mixtures():
    X, among, _ = rows()
    expected = GaussianMixtureTransformer(2, missing="model", random_state=0).fit(X)
    found = GaussianMixtureTransformer(2, missing="model", random_state=0).fit(among)
    assert_same(found.mixture_, expected.mixture_)
    expected = GaussianMixtureRegressor(2, missing="model", random_state=0)
    found = GaussianMixtureRegressor(2, missing="model", random_state=0)
    expected.fit(X[:, :2], X[:, 2])
    found.fit(among[:, :2], among[:, 2])
    assert_same(found.mixture_, expected.mixture_)
    mixture = GaussianMixture(3, missing="model", random_state=0).fit(X)
    assert_array_equal(
        merge_components(mixture, among).entropies, merge_components(mixture, X).entropies
    )
    settings = {"n_resamples": 20, "random_state": 0}
    assert_array_equal(
        bootstrap_parameters(mixture, among, **settings).means.replicates,
        bootstrap_parameters(mixture, X, **settings).means.replicates,
    )


def test_nothing_but_empty_rows(tmp_path):
    empty = np.full((10, 2), np.nan)
    mixture = GaussianMixture(missing="model")
    with pytest.raises(ValueError, match="no row of X has a value"):
        mixture.fit(empty)
    mixture.fit(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(ValueError, match="no row of X has a value"):
        mixture.score(empty)
    pd.DataFrame(empty, columns=["a", "b"]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no row has a value"):
        mixture.fit(tmp_path / "x.parquet")
    source = fastgmm.open_data(tmp_path / "x.parquet", missing="model")
    mixture.fit(np.random.default_rng(0).normal(size=(20, 2)))
    assert_array_equal(mixture.score_samples(source), np.zeros(10))
