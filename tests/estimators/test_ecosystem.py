"""The estimators among scikit-learn's tools: copies, pipelines, routing, threads, display."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_clusterer
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr, get_tags

from fastgmm import GaussianMixture, KMeans

ESTIMATORS = [GaussianMixture(3, random_state=0), KMeans(3, random_state=0)]
both = pytest.mark.parametrize("estimator", ESTIMATORS, ids=["mixture", "kmeans"])


def rows(n_samples=300):
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=3.0, size=(3, 3))
    return centers[rng.integers(3, size=n_samples)] + rng.normal(size=(n_samples, 3))


def pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))


@both
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_are_equal(estimator, duplicate):
    X = rows()
    fitted = clone(estimator).fit(X)
    copied = duplicate(fitted)
    assert_array_equal(copied.predict(X), fitted.predict(X))
    assert copied.score(X) == fitted.score(X)
    assert copied.get_params() == fitted.get_params()
    assert vars(copied).keys() == vars(fitted).keys()


@both
def test_clones_are_unfitted(estimator):
    fitted = clone(estimator).fit(rows())
    cloned = clone(fitted)
    assert cloned.get_params() == fitted.get_params()
    assert not any(name.endswith("_") for name in vars(cloned))


@both
def test_parameters_can_be_set_and_are_shown(estimator):
    changed = clone(estimator).set_params(n_jobs=2, tol=0.5)
    assert "n_jobs=2" in repr(changed)
    assert "tol=0.5" in repr(changed)
    with pytest.raises(ValueError, match="Invalid parameter 'color'"):
        changed.set_params(color="red")
    assert type(estimator).__name__ in estimator_html_repr(changed.fit(rows()))


@both
def test_names_of_features(estimator):
    table = pd.DataFrame(rows(), columns=["a", "b", "c"])
    fitted = clone(estimator).fit(table)
    assert_array_equal(fitted.feature_names_in_, ["a", "b", "c"])
    assert fitted.n_features_in_ == 3
    fitted.predict(table)
    with pytest.raises(ValueError, match="in the same order"):
        fitted.predict(table[["c", "b", "a"]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        fitted.predict(table.rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.predict(table.to_numpy())
    if sklearn.__version__ >= "1.9":  # before, it does not see the names of the newest polars
        assert_array_equal(fitted.predict(pl.from_pandas(table)), fitted.predict(table))


@both
def test_in_a_pipeline_and_a_search(estimator):
    X = rows()
    pipeline = make_pipeline(StandardScaler(), clone(estimator))
    assert pipeline.fit_predict(X).shape == (300,)
    assert np.isfinite(pipeline.score(X))
    name = "n_components" if isinstance(estimator, GaussianMixture) else "n_clusters"
    search = GridSearchCV(clone(estimator), {name: [1, 2, 3]}, cv=3).fit(X)
    assert search.best_params_[name] in (2, 3)
    assert len(cross_val_score(clone(estimator), X, cv=4)) == 4


def test_weights_are_routed_to_fit_and_score():
    X = rows()
    weights = np.random.default_rng(1).integers(0, 3, size=300).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        mixture = GaussianMixture(3, random_state=0).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler(with_std=False, with_mean=False), mixture)
        pipeline.named_steps["standardscaler"].set_fit_request(sample_weight=False)
        pipeline.fit(X, sample_weight=weights)
        mixture.set_score_request(sample_weight=True)
        score = pipeline.score(X, sample_weight=weights)
        labels = pipeline.fit_predict(X, sample_weight=weights)
        unset = make_pipeline(StandardScaler(), GaussianMixture())
        unset.named_steps["standardscaler"].set_fit_request(sample_weight=False)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            unset.fit(X, sample_weight=weights)
    expected = GaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    assert_allclose(pipeline[-1].means_, expected.means_)
    assert score == pytest.approx(expected.score(X, sample_weight=weights))
    assert_array_equal(labels, expected.predict(X))


def test_weights_are_routed_to_kmeans():
    X = rows()
    weights = np.random.default_rng(1).uniform(size=300)
    with sklearn.config_context(enable_metadata_routing=True):
        clusters = KMeans(3, random_state=0).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), clusters)
        pipeline.fit(X, sample_weight=weights)
    scaled = StandardScaler().fit_transform(X)
    expected = KMeans(3, random_state=0).fit(scaled, sample_weight=weights)
    assert_allclose(pipeline[-1].cluster_centers_, expected.cluster_centers_)


@both
def test_threads_of_python_share_an_estimator(estimator):
    X = rows(2000)
    fitted = clone(estimator).fit(X)
    expected = fitted.predict(X)
    with ThreadPoolExecutor(4) as pool:
        for labels in pool.map(lambda _: fitted.predict(X), range(8)):
            assert_array_equal(labels, expected)
        for other in pool.map(lambda _: clone(estimator).fit(X), range(4)):
            assert_array_equal(other.predict(X), expected)


@both
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_in_workers_of_joblib(estimator, backend):
    X = rows()
    expected = clone(estimator).fit(X).predict(X)
    results = Parallel(n_jobs=2, backend=backend)(
        delayed(clone(estimator).fit_predict)(X) for _ in range(2)
    )
    for labels in results:
        assert_array_equal(labels, expected)


def test_tags():
    mixture, clusters = get_tags(GaussianMixture()), get_tags(KMeans())
    assert mixture.estimator_type == "density_estimator"
    assert clusters.estimator_type == "clusterer"
    assert is_clusterer(KMeans())
    for tags in (mixture, clusters):
        assert not tags.input_tags.sparse
        assert not tags.array_api_support
    assert clusters.transformer_tags.preserves_dtype == ["float64", "float32"]


def test_subclasses():
    class Restrained(GaussianMixture):
        """A mixture with a parameter of its own, fitted on part of the rows."""

        def __init__(self, n_components=1, *, share=0.5, random_state=None):
            super().__init__(n_components, random_state=random_state)
            self.share = share

        def fit(self, X, y=None, sample_weight=None):
            return super().fit(X[: int(self.share * len(X))], y, sample_weight)

    X = rows()
    mixture = Restrained(3, share=0.4, random_state=0).fit(X)
    expected = GaussianMixture(3, random_state=0).fit(X[:120])
    assert_array_equal(mixture.means_, expected.means_)
    assert clone(mixture).share == 0.4
    assert mixture.get_params().keys() == {"n_components", "share", "random_state"}


@both
def test_results_do_not_depend_on_what_was_fitted_before(estimator):
    X = rows()
    used = clone(estimator).fit(rows(50)[:, :2])
    assert_array_equal(used.fit(X).predict(X), clone(estimator).fit(X).predict(X))
