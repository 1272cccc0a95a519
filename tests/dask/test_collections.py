"""Fits to Dask's arrays and data frames, against the same rows in memory."""

import warnings

import dask
import dask.array as da
import dask.bag
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from fastgmm import GaussianMixture, open_data
from fastgmm.data.errors import DataError, MissingValueError
from fastgmm.data.sources.batch import checked

COLUMNS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    X = np.concatenate([random.normal(size=(2500, 3)), random.normal([4, 3, 1], size=(1500, 3))])
    return X[random.permutation(len(X))]


@pytest.fixture(scope="module")
def weights(rows):
    return np.random.default_rng(1).integers(0, 3, len(rows)).astype(float)


def array(X, chunks=(700, 2)):
    return da.from_array(X, chunks=chunks)


def frame(X, n=5):
    return dd.from_pandas(pd.DataFrame(X, columns=COLUMNS), npartitions=n)


def given_start(X, **more):
    start = {
        "n_components": 2,
        "weights_init": [0.5, 0.5],
        "means_init": np.nan_to_num(X[:2]),
        "precisions_init": np.array([np.eye(3)] * 2),
        "max_iter": 12,
        "tol": 0,
    }
    return GaussianMixture(**start, **more)


def fitted(mixture, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(*args, **kwargs)


def assert_same_mixture(one, other, rtol=1e-12):
    assert_allclose(one.weights_, other.weights_, rtol=rtol)
    assert_allclose(one.means_, other.means_, rtol=rtol, atol=rtol)
    assert_allclose(one.covariances_, other.covariances_, rtol=rtol, atol=rtol)
    assert_allclose(one.trace_, other.trace_, rtol=rtol)


@pytest.mark.parametrize("make", [array, frame])
def test_a_fit_is_that_of_the_rows_in_memory(rows, make):
    found = fitted(given_start(rows), make(rows))
    assert_same_mixture(found, fitted(given_start(rows), rows))
    assert found.n_features_in_ == 3
    assert hasattr(found, "feature_names_in_") == (make is frame)


@pytest.mark.parametrize("make", [array, frame])
@pytest.mark.parametrize("missing", ["drop", "model"])
def test_missing_values_and_weights_are_as_in_memory(rows, weights, make, missing):
    X = rows.copy()
    X[np.random.default_rng(2).random(X.shape) < 0.2] = np.nan
    X[10] = np.nan
    Y = make(X)
    sizes = tuple(Y.map_partitions(len).compute()) if make is frame else 333
    beside = da.from_array(weights, chunks=(sizes,))
    found = fitted(given_start(X, missing=missing), Y, sample_weight=beside)
    expected = fitted(given_start(X, missing=missing), X, sample_weight=weights)
    assert_same_mixture(found, expected, rtol=1e-11)
    if missing == "model":
        assert_allclose(found.score(Y), expected.score(X), rtol=1e-12)


def test_weights_may_be_a_column_or_a_series(rows, weights):
    table = frame(rows).assign(w=dd.from_pandas(pd.Series(weights), npartitions=5))
    expected = fitted(given_start(rows), rows, sample_weight=weights)
    assert_same_mixture(fitted(given_start(rows), table, sample_weight="w"), expected)
    beside = fitted(given_start(rows), table[COLUMNS], sample_weight=table["w"])
    assert_same_mixture(beside, expected)


def test_criteria_are_numbers(rows, weights):
    mixture = fitted(given_start(rows), rows)
    beside = da.from_array(weights, chunks=500)
    for name in ("score", "bic", "aic", "icl", "entropy"):
        found = getattr(mixture, name)(array(rows), sample_weight=beside)
        assert isinstance(found, float)
        assert_allclose(found, getattr(mixture, name)(rows, sample_weight=weights), rtol=1e-12)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_a_start_is_found_from_a_sample_that_the_seed_fixes(rows, init):
    X = array(rows, (500, 3))
    mixtures = [
        fitted(GaussianMixture(2, random_state=3, init_params=init, max_iter=200), X)
        for _ in range(2)
    ]
    assert_array_equal(mixtures[0].means_, mixtures[1].means_)
    if init != "random":
        order = np.argsort(mixtures[0].means_[:, 0])
        assert_allclose(mixtures[0].means_[order], [[0, 0, 0], [4, 3, 1]], atol=0.3)


def test_unknown_chunks_empty_partitions_and_local_schedulers(rows):
    X = array(rows, (500, 3))
    some = X[X[:, 0] > -100.0]
    assert np.isnan(some.shape[0])
    with_empty = da.concatenate([X[:1000], X[:100][X[:100, 0] > 1e9], X[1000:]])
    expected = fitted(given_start(rows), X)
    for each in (some, with_empty):
        assert_same_mixture(fitted(given_start(rows), each), expected)
    assert open_data(some).n_samples == len(rows)
    import dask

    with dask.config.set(scheduler="synchronous"):
        found = fitted(given_start(rows), X)
    assert_array_equal(found.means_, expected.means_)


def test_blocks_are_the_rows_in_their_order(rows, weights):
    source = open_data(array(rows, (300, 1))).weighted(da.from_array(weights, chunks=300))
    blocks = list(source.blocks())
    assert_array_equal(np.concatenate([X for X, _ in blocks]), rows)
    assert_array_equal(np.concatenate([w for _, w in blocks]), weights)
    assert_array_equal(source.some_rows(50), rows[weights > 0][:50])
    assert_array_equal(source.partition_sizes.sum(), np.count_nonzero(weights))


def test_single_precision_stays(rows):
    X = rows.astype(np.float32)
    assert open_data(array(X)).dtype == np.float32
    found, expected = fitted(given_start(X), array(X)), fitted(given_start(X), X)
    assert_allclose(found.means_, expected.means_, rtol=1e-4, atol=1e-4)


def test_what_is_wrong_with_a_partition_names_it(rows):
    X = rows.copy()
    X[1234, 1] = np.nan
    with pytest.raises(MissingValueError, match=r"partition 2 .*column 'x1' in row 234.*missing="):
        GaussianMixture().fit(array(X, (500, 3)))
    X[1234, 1] = np.inf
    with pytest.raises(DataError, match=r"partition 1 .*column 'b' in row 434, .*inf"):
        GaussianMixture().fit(frame(X))
    wide = da.map_blocks(
        lambda block, block_info: block[:, : 3 - block_info[0]["chunk-location"][0] // 3],
        array(rows, (1000, 3)),
        dtype=float,
        meta=np.empty((0, 0)),
    )
    with pytest.raises(DataError, match=r"partition 3 .*has 2 features.* 3"):
        GaussianMixture().fit(wide)
    typed = array(rows, (1000, 3)).map_blocks(lambda block: block, dtype=np.float32)
    with pytest.raises(DataError, match=r"partition . .*float64.*float32"):
        GaussianMixture().fit(typed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part: part.assign(d=0.0), "has 4 features.* 3: make all partitions equally wide"),
        (
            lambda part: part[["b", "a", "c"]],
            "features .'b', 'a', 'c'.* says .'a', 'b', 'c'.:",
        ),
        (lambda part: part.rename(columns={"c": "z"}), "features .'a', 'b', 'z'.*same columns"),
        (lambda part: part.astype(str), "holds other things than real numbers in the columns"),
        (lambda part: part["a"], "not a table"),
    ],
)
def test_a_partition_of_a_frame_unlike_the_others_is_named(rows, change, message):
    part = pd.DataFrame(rows[:100], columns=COLUMNS)
    X = dd.from_map(
        lambda i: change(part) if i == 1 else part,
        [0, 1],
        meta=part.iloc[:0],
        enforce_metadata=False,
    )
    with pytest.raises(DataError, match=f"partition 1 of the collection.*{message}"):
        GaussianMixture().fit(X)


def test_what_lies_beside_the_rows_must_be_partitioned_alike(rows, weights):
    X = array(rows)
    with pytest.raises(TypeError, match=r"sample_weight .* Dask array or series"):
        GaussianMixture().fit(X, sample_weight=weights)
    with pytest.raises(ValueError, match=r"one value for each of the 4000 rows, but got 100"):
        GaussianMixture().fit(X, sample_weight=da.from_array(weights[:100], chunks=50))
    with pytest.raises(ValueError, match=r"has 2 partitions, and X has 5"):
        GaussianMixture().fit(frame(rows), sample_weight=da.from_array(weights, chunks=2000))
    uneven = da.from_array(weights, chunks=((799, 801, 800, 800, 800),))
    with pytest.raises(DataError, match=r"partition \d .* 800 rows, but sample_weight has"):
        GaussianMixture().fit(frame(rows), sample_weight=uneven)
    with pytest.raises(DataError, match=r"partition \d .*the weight in row 0, .*-1"):
        GaussianMixture().fit(X, sample_weight=-da.ones(len(rows), chunks=700))
    with pytest.raises(DataError, match=r"every row has weight 0"):
        GaussianMixture().fit(X, sample_weight=da.zeros(len(rows), chunks=700))


def as_parts(parts, width=3):
    shape = (np.nan, width)
    delayed = [da.from_delayed(dask.delayed(each), shape, dtype=float) for each in parts]
    return da.concatenate(delayed, allow_unknown_chunksizes=True)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (np.ones(9), r"shape \(9,\)"),
        (np.ones((9, 3), complex), "complex128, not real numbers"),
        (np.full((9, 3), "a"), "'a' of type str in row 0, column 0"),
        (sparse.csr_array(np.ones((9, 3))), r"sparse matrix: give a dense array, as X\.toarray"),
        (None, "is None"),
    ],
)
def test_a_partition_that_is_no_matrix_of_numbers_is_named(rows, part, message):
    with pytest.raises((DataError, TypeError), match=f"partition 1 of the collection.*{message}"):
        GaussianMixture(2).fit(as_parts([rows, part]))


def test_what_is_no_array_or_data_frame_of_dask(rows):
    series = dd.from_pandas(pd.Series(rows[:, 0]), npartitions=2)
    for X in (dask.delayed(rows), dask.bag.from_sequence([1, 2]), series):
        with pytest.raises(
            TypeError, match=r"(Delayed\w*|Bag|Series) .* no table: give a Dask array"
        ):
            GaussianMixture(2).fit(X)
    with pytest.raises(TypeError, match=r"distributed\.Client, .* got 'tcp://127\.0\.0\.1:1'"):
        open_data(array(rows), client="tcp://127.0.0.1:1")


def test_an_error_is_not_its_own_cause(rows):
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    labels = mixture.predict(as_parts([rows, rows[:, :2]]))
    with pytest.raises(DataError, match=r"partition 1 .*2 features.* expecting 3") as caught:
        labels.compute()
    assert caught.value.__cause__.__cause__ is None  # a worker follows them to the end


def test_a_collection_without_rows_or_of_another_shape(rows):
    X = array(rows)
    with pytest.raises(DataError, match=r"the collection has no rows"):
        GaussianMixture().fit(X[X[:, 0] > 1e9])
    with pytest.raises(DataError, match=r"shape \(4000,\)"):
        GaussianMixture().fit(X[:, 0])
    with pytest.raises(
        ValueError, match=r"client is for files and for a Dask array or data frame.*ndarray"
    ):
        open_data(rows, client=object())


def test_partitions_in_memory_are_checked_once(rows, monkeypatch):
    looked_at = []

    def counted(batch, names, missing):
        looked_at.append(len(batch.values))
        return checked(batch, names, missing)

    monkeypatch.setattr("fastgmm.data.sources.frames.checked", counted)
    X = rows.copy()
    X[-1, 2] = np.nan
    with dask.config.set(scheduler="synchronous"):
        there = array(X, (1000, 3)).persist()
        fitted(GaussianMixture(2, random_state=0), open_data(there, columns=["x0", "x1"]))
        looked_at.clear()
        good = array(rows, (1000, 3)).persist()
        fitted(given_start(rows), good)
        assert looked_at == [1000] * 4
        # Of the others only some columns have been looked at.
        with pytest.raises(MissingValueError, match="partition 3"):
            fitted(given_start(rows), there)
