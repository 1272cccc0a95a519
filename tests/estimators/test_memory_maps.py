"""Memory maps of any real type: the results of the converted array, without converting it whole."""

import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastgmm
from fastgmm.data.sources import array

N = 60_000
TYPES = ["bool", "u1", "i2", "<i8", ">i4", "f2", ">f2", ">f4", ">f8"]


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch):
    monkeypatch.setattr(array, "_MAPPED_BYTES", 2**18)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", fastgmm.DegenerateComponentWarning)  # of a binary column
        yield


def mapped(path, dtype, order="C", n_samples=N):
    """Return a memory map of rows in two groups, and the array that it stands for."""
    rng = np.random.default_rng(0)
    X = np.rint(rng.normal(3.0, 1.5, (n_samples, 6)) + 7.0 * rng.integers(0, 2, (n_samples, 1)))
    X = np.clip(X, 0, 20)
    if dtype == "bool":
        X = rng.random(X.shape) < 0.2 + 0.6 * (X[:, :1] > 7)
    np.save(path, np.asarray(X, dtype=dtype, order=order))
    X = np.load(path)
    single = np.dtype(dtype).char == "f"
    return np.load(path, mmap_mode="r"), X.astype(np.float32 if single else np.float64)


def results(X, y, weights):
    """Return what mixtures and k-means make of rows."""
    mixture = fastgmm.GaussianMixture(2, max_iter=3, random_state=0).fit(X, sample_weight=weights)
    yield from (mixture.means_, mixture.covariances_, mixture.predict_proba(X))
    yield from (mixture.score(X), mixture.score_samples(X), mixture.predict(X), mixture.bic(X))
    online = fastgmm.GaussianMixture(2, random_state=0).partial_fit(X).partial_fit(X)
    yield online.means_
    batches = fastgmm.MiniBatchGaussianMixture(2, batch_size=4096, max_epochs=2, random_state=0)
    yield batches.fit(X).means_
    clusters = fastgmm.KMeans(2, max_iter=3, random_state=0).fit(X, sample_weight=weights)
    yield from (clusters.cluster_centers_, clusters.inertia_, clusters.labels_)
    yield from (clusters.predict(X), clusters.transform(X), clusters.score(X))
    classifier = fastgmm.GaussianMixtureClassifier(1, random_state=0).fit(X, y)
    yield classifier.predict(X)
    detector = fastgmm.GaussianMixtureOutlierDetector(2, max_iter=3, random_state=0).fit(X)
    yield from (detector.predict(X), detector.offset_)
    few = fastgmm.GaussianMixture(1).fit(X[:300])
    yield fastgmm.bootstrap_parameters(few, X[:300], n_resamples=3, random_state=0).means.replicates


@pytest.mark.parametrize(
    ("dtype", "order"), [*((each, "C") for each in TYPES), ("i2", "F"), ("f2", "F"), (">f4", "F")]
)
def test_the_bits_are_those_of_the_converted_array(tmp_path, dtype, order):
    memory_map, X = mapped(tmp_path / "x.npy", dtype, order)
    y = np.arange(N) % 2
    weights = 1.0 + np.arange(N) % 3
    for found, expected in zip(
        results(memory_map, y, weights), results(X, y, weights), strict=True
    ):
        np.testing.assert_array_equal(found, expected, strict=isinstance(found, np.ndarray))


FITS = {
    "GaussianMixture": lambda X: fastgmm.GaussianMixture(2, max_iter=2, random_state=0).fit(X),
    "BayesianGaussianMixture": lambda X: fastgmm.BayesianGaussianMixture(
        2, max_iter=2, random_state=0
    ).fit(X),
    "score": lambda X: MIXTURE.score(X),
    "bic": lambda X: MIXTURE.bic(X),
    "partial_fit": lambda X: fastgmm.GaussianMixture(2, random_state=0).fit(X[:99]).partial_fit(X),
    "MiniBatchGaussianMixture": lambda X: fastgmm.MiniBatchGaussianMixture(
        2, batch_size=1024, max_epochs=1, random_state=0
    ).fit(X),
    "KMeans": lambda X: fastgmm.KMeans(2, max_iter=2, random_state=0).fit(X),
    "KMeans.score": lambda X: CLUSTERS.score(X),
    "open_data": lambda X: sum(
        len(rows) for rows, _ in fastgmm.open_data(X, memory_budget="1MB").blocks()
    ),
}
MIXTURE = fastgmm.GaussianMixture(2, random_state=0)
CLUSTERS = fastgmm.KMeans(2, random_state=0)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("dtype", ["u1", "f2", ">f8"])
def test_a_map_is_never_converted_whole(tmp_path, name, dtype):
    memory_map, X = mapped(tmp_path / "x.npy", dtype, n_samples=8 * N)
    MIXTURE.fit(X[:99])
    CLUSTERS.fit(X[:99])
    whole = X.nbytes
    del X
    tracemalloc.start()
    try:
        FITS[name](memory_map)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What a pass keeps for each row, its label, distance or log-likelihood, is another matter.
    assert peak < 0.5 * whole


def test_what_a_map_cannot_be(tmp_path):
    mixture = fastgmm.GaussianMixture(1)
    for values in (np.arange(5), np.ones((2, 2, 2)), np.ones((4, 2), complex)):
        np.save(tmp_path / "x.npy", values)
        with pytest.raises(
            ValueError, match=r"Expected 2D array|Found array with dim 3|Complex data"
        ):
            mixture.fit(np.load(tmp_path / "x.npy", mmap_mode="r"))
    half = np.ones((3000, 2), np.float16)
    half[2000, 1] = np.nan
    np.save(tmp_path / "x.npy", half)
    with pytest.raises(ValueError, match="NaN, first in row 2000, column 1"):
        mixture.fit(np.load(tmp_path / "x.npy", mmap_mode="r"))
