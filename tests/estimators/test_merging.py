"""Clusters of several components, as users see them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from fastgmm import GaussianMixture, merge_components


def arc_and_blob(dtype=np.float64):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0.0, np.pi, 400)
    arc = 6.0 * np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.3, (400, 2))
    return np.concatenate([arc, rng.normal([0.0, -6.0], 0.5, (200, 2))]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_clusters_that_are_no_ellipsoids(dtype):
    X = arc_and_blob(dtype)
    mixture = GaussianMixture(6, random_state=0).fit(X)
    merged = merge_components(mixture, X)
    labels = merged.predict(X, n_clusters=2)
    assert labels.dtype == np.int64
    assert len(set(labels[:400])) == len(set(labels[400:])) == 1
    assert labels[0] != labels[-1]
    assert_array_equal(merged.n_clusters, [6, 5, 4, 3, 2, 1])
    assert merged.mixture is mixture
    assert merged.entropies[0] == pytest.approx(mixture.entropy(X), rel=1e-5)


def test_values_for_each_number_of_clusters():
    X = arc_and_blob()
    mixture = GaussianMixture(5, random_state=0).fit(X)
    merged = merge_components(mixture, X)
    shares = mixture.predict_proba(X)
    for clusters, n_clusters, entropy in zip(
        merged.clusters, merged.n_clusters, merged.entropies, strict=True
    ):
        probabilities = merged.predict_proba(X, n_clusters)
        assert probabilities.shape == (len(X), n_clusters)
        expected = np.stack([shares[:, clusters == c].sum(axis=1) for c in range(n_clusters)], 1)
        assert_allclose(probabilities, expected, atol=1e-12)
        assert_array_equal(merged.predict(X, n_clusters), expected.argmax(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(expected > 0, expected * np.log(expected), 0.0)
        assert entropy == pytest.approx(-terms.sum(), abs=1e-8)
    assert_array_equal(merged.predict_proba(X), merged.predict_proba(X, merged.elbow))


def test_weights_and_files(tmp_path):
    pl = pytest.importorskip("polars")
    X = arc_and_blob()
    copies = np.random.default_rng(1).integers(0, 3, size=len(X))
    mixture = GaussianMixture(5, random_state=0).fit(X)
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "w": copies}).write_parquet(path)
    of_file = merge_components(mixture, path, "w")
    repeated = merge_components(mixture, np.repeat(X, copies, axis=0))
    assert_allclose(of_file.entropies, repeated.entropies, rtol=1e-9, atol=1e-9)
    assert_allclose(of_file.n_merged, repeated.n_merged, rtol=1e-9)
    assert_array_equal(of_file.clusters, repeated.clusters)
    features = pl.read_parquet(path, columns=["a", "b"])
    assert_array_equal(of_file.predict(features.to_numpy()), repeated.predict(X))


@pytest.mark.parametrize("n_components", [1, 2])
def test_with_few_components_none_are_merged(n_components):
    X = arc_and_blob()
    mixture = GaussianMixture(n_components, random_state=0).fit(X)
    merged = merge_components(mixture, X)
    assert merged.elbow == n_components
    assert_array_equal(merged.predict(X), mixture.predict(X))


def test_arguments_are_checked():
    X = arc_and_blob()
    mixture = GaussianMixture(3, random_state=0).fit(X)
    merged = merge_components(mixture, X)
    for n_clusters in (0, 4):
        with pytest.raises(ValueError, match=f"n_clusters={n_clusters} should be from 1 to 3"):
            merged.predict(X, n_clusters)
    with pytest.raises(NotFittedError, match="not fitted"):
        merge_components(GaussianMixture(2), X)
    with pytest.raises(ValueError, match="reads the rows 2 times, and an iterator"):
        merge_components(mixture, iter([X]))


def test_noise_is_not_merged():
    X = np.random.default_rng(0).normal(size=(200, 2))
    mixture = GaussianMixture(3, noise_volume="auto", random_state=0).fit(X)
    with pytest.raises(ValueError, match="has noise, which is none: use a mixture without"):
        merge_components(mixture, X)
