"""Rows described by the components of a mixture."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import fastgmm
from fastgmm import GaussianMixture, GaussianMixtureTransformer
from tests import oracle


def rows(n_samples=600):
    rng = np.random.default_rng(0)
    corners = rng.integers(2, size=(n_samples, 2))
    return corners * 5.0 + rng.normal(size=(n_samples, 2)), corners[:, 0] ^ corners[:, 1]


@pytest.mark.parametrize("name", ["full", "diag"])
def test_features_are_those_of_the_mixture(name):
    X, _ = rows()
    mixture = GaussianMixture(4, covariance_type=name, random_state=0).fit(X)
    transformer = GaussianMixtureTransformer(4, covariance_type=name, random_state=0)
    assert_array_equal(transformer.fit_transform(X), mixture.predict_proba(X))
    found = transformer.set_params(output="log_densities").transform(X)
    covariances = mixture.covariances_
    if name == "diag":
        covariances = covariances[..., None] * np.eye(2)
    expected = oracle.joint_log_density(X, np.ones(4), mixture.means_, covariances)
    assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert_array_equal(np.concatenate(list(transformer.transform_blocks(X))), found)


def test_in_a_pipeline():
    X, y = rows()
    pipeline = make_pipeline(GaussianMixtureTransformer(4, random_state=0), LogisticRegression())
    assert pipeline.fit(X, y).score(X, y) > 0.98
    names = ["gaussianmixturetransformer0", "gaussianmixturetransformer1"]
    assert list(pipeline[0].get_feature_names_out()[:2]) == names


def test_data_frames_out():
    frame = pd.DataFrame(rows()[0], columns=["a", "b"], index=np.arange(600) + 7)
    transformer = GaussianMixtureTransformer(3, random_state=0).set_output(transform="pandas")
    found = transformer.fit_transform(frame)
    assert_array_equal(found.index, frame.index)
    assert list(found.columns) == list(transformer.get_feature_names_out())
    assert_array_equal(found, transformer.mixture_.predict_proba(frame))


def test_files(tmp_path):
    frame = pd.DataFrame(rows()[0], columns=["a", "b"])
    frame.assign(other=1.0).to_parquet(tmp_path / "rows.parquet")
    path = str(tmp_path / "rows.parquet")
    transformer = GaussianMixtureTransformer(3, random_state=0).fit(frame)
    assert_array_equal(transformer.transform(path), transformer.transform(frame))
    weighted = GaussianMixtureTransformer(1).fit(path, sample_weight="other")
    assert_allclose(weighted.mixture_.means_[0], frame.mean())


def test_learning_in_batches():
    X, _ = rows(4000)
    transformer = GaussianMixtureTransformer(4, random_state=0).partial_fit(X[:10])
    with pytest.raises(NotFittedError):
        transformer.transform(X)
    for first in range(10, 4000, 399):
        transformer.partial_fit(X[first : first + 399])
    assert transformer.mixture_.n_samples_seen_ == 4000
    batch = GaussianMixture(4, random_state=0).fit(X)
    assert transformer.mixture_.score(X) == pytest.approx(batch.score(X), abs=0.02)
    assert_array_equal(transformer.fit(X).transform(X), batch.predict_proba(X))


@pytest.mark.parametrize("output", ["responsibilities", "log_densities"])
def test_values_that_are_missing(output):
    X, _ = rows()
    holes = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    transformer = GaussianMixtureTransformer(4, output=output, missing="model", random_state=0)
    found = transformer.fit(holes).transform([[np.nan, 5.0]])
    marginal = transformer.mixture_.marginal([1])
    alone = [[5.0]]
    expected = marginal.predict_proba(alone)
    if output == "log_densities":
        expected = oracle.joint_log_density(
            alone, np.ones(4), marginal.means_, marginal.covariances_
        )
    assert_allclose(found, expected, rtol=1e-8)


def test_files_of_models(tmp_path):
    X, _ = rows()
    transformer = GaussianMixtureTransformer(3, output="log_densities", random_state=0).fit(X)
    transformer.save(tmp_path / "model.fgm")
    for again in (fastgmm.load(tmp_path / "model.fgm"), pickle.loads(pickle.dumps(transformer))):
        assert type(again) is GaussianMixtureTransformer
        assert again.get_params() == transformer.get_params()
        assert_array_equal(again.transform(X), transformer.transform(X))


def test_refusals():
    X, _ = rows()
    with pytest.raises(ValueError, match="The 'output' parameter"):
        GaussianMixtureTransformer(output="labels").fit(X)
    with pytest.raises(NotFittedError):
        GaussianMixtureTransformer().save("model.fgm")
    with pytest.raises(ValueError, match="use partial_fit"):
        GaussianMixtureTransformer().fit(iter([X]))
