"""Results for each row of a collection are collections of the same kind, computed on demand."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from fastgmm import (
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    KMeans,
    open_data,
)
from fastgmm.data.errors import DataError

COLUMNS = ["a", "b"]


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return np.concatenate([random.normal(size=(300, 2)), random.normal(size=(200, 2)) + 5.0])


@pytest.fixture(scope="module")
def table(rows):
    return pd.DataFrame(rows, columns=COLUMNS, index=np.arange(len(rows)) * 2)


CASES = {
    "mixture": (
        lambda X, _: GaussianMixture(2, random_state=0, missing="model").fit(X),
        ("predict", "predict_proba", "score_samples", "impute"),
    ),
    "classifier": (
        lambda X, y: GaussianMixtureClassifier(reject_below=0.01).fit(X, y),
        (
            "predict",
            "predict_proba",
            "predict_log_proba",
            "decision_function",
            "score_samples",
            "rejected",
        ),
    ),
    "detector": (
        lambda X, _: GaussianMixtureOutlierDetector(2, random_state=0).fit(X),
        ("predict", "decision_function", "score_samples"),
    ),
    "transformer": (
        lambda X, _: GaussianMixtureTransformer(2, random_state=0).fit(X),
        ("transform",),
    ),
    "kmeans": (lambda X, _: KMeans(2, random_state=0).fit(X), ("predict", "transform")),
    "regressor": (
        lambda X, _: GaussianMixtureRegressor(2, random_state=0).fit(
            X, np.sin(3.0 * np.asarray(X)).sum(axis=1)
        ),
        ("predict",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_collections_of_the_same_kind(rows, table, case):
    make, methods = CASES[case]
    y = np.where(np.arange(len(rows)) < 300, "near", "far")
    on_arrays, on_tables = make(rows, y), make(table, y)
    chunked = da.from_array(rows, chunks=(120, 1))
    unknown = chunked[chunked[:, 0] > -100.0]
    frame = dd.from_pandas(table, npartitions=3)
    for method in methods:
        expected = getattr(on_arrays, method)(rows)
        found = getattr(on_arrays, method)(chunked)
        assert isinstance(found, da.Array)
        assert found.chunks == (chunked.chunks[0], *((n,) for n in expected.shape[1:]))
        assert found.dtype == expected.dtype
        assert_array_equal(found.compute(), expected)
        assert_array_equal(getattr(on_arrays, method)(unknown).compute(), expected)
        expected = getattr(on_tables, method)(table)
        found = getattr(on_tables, method)(frame)
        assert isinstance(found, dd.Series if expected.ndim == 1 else dd.DataFrame)
        assert found.divisions == frame.divisions
        computed = found.compute()
        assert_array_equal(computed, expected)
        assert_array_equal(computed.index, table.index)
        types = computed.dtypes if expected.ndim > 1 else [computed.dtype]
        assert list(types) == list(found.dtypes if expected.ndim > 1 else [found.dtype])
        if method == "transform":
            assert list(found.columns) == list(on_tables.get_feature_names_out())


def test_nothing_is_computed_before_it_is_asked_for(rows):
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    calls = []

    def count(block):
        calls.append(len(block))
        return block

    X = da.from_array(rows, chunks=(100, 2)).map_blocks(count, meta=np.empty((0, 0)))
    labels = mixture.predict(X)
    assert not calls
    before = mixture.predict(rows)
    mixture.means_ = mixture.means_[::-1]
    assert_array_equal(labels.compute(), before)
    assert len(calls) == 5


def test_single_precision_empty_partitions_and_sources(rows, table):
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    single = da.from_array(rows.astype(np.float32), chunks=(250, 2))
    assert mixture.score_samples(single).dtype == np.float32
    X = da.from_array(rows, chunks=(250, 2))
    some = da.concatenate([X[:250], X[250:][X[250:, 0] > 1e9]])
    assert_array_equal(mixture.predict(some).compute(), mixture.predict(rows[:250]))
    wide = da.from_array(np.column_stack([rows, rows]), chunks=(250, 4))
    source = open_data(wide, columns=["x2", "x1"])
    assert_array_equal(mixture.predict(source).compute(), mixture.predict(rows[:, [0, 1]]))
    frame = dd.from_pandas(table.assign(w=1.0), npartitions=3)
    source = open_data(frame, weight_column="w")
    of_table = GaussianMixture(2, random_state=0).fit(table)
    assert_array_equal(of_table.predict(source).compute(), of_table.predict(table))


def test_a_fit_predicts_lazily(rows):
    X = da.from_array(rows, chunks=(250, 2))
    mixture = GaussianMixture(2, random_state=0)
    labels = mixture.fit_predict(X)
    assert isinstance(labels, da.Array)
    assert_array_equal(labels.compute(), mixture.predict(rows))


def test_what_cannot_be_evaluated_names_the_partition(rows):
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    broken = rows.copy()
    broken[301, 1] = np.nan
    with pytest.raises(DataError, match=r"partition 3 .*NaN, first in row 1, column 1"):
        mixture.predict(da.from_array(broken, chunks=(100, 2))).compute()
    frame = dd.from_pandas(pd.DataFrame(broken, columns=["0", "1"]), npartitions=5)
    named = GaussianMixture(2, random_state=0).fit(pd.DataFrame(rows, columns=["0", "1"]))
    with pytest.raises(DataError, match=r"partition 3 .*column '1' in row 1, counted from 0,"):
        named.predict(frame).compute()
    with pytest.raises(ValueError, match="3 features, but GaussianMixture is expecting 2"):
        mixture.predict(da.zeros((10, 3)))
    with pytest.raises(ValueError, match="imputed by means"):
        mixture.impute(da.zeros((10, 2)), n_draws=2)
    regressor = GaussianMixtureRegressor(2, random_state=0).fit(rows, np.sin(rows[:, 0] * 3.0))
    with pytest.raises(TypeError, match="ask for one result at a time"):
        regressor.predict(da.zeros((10, 2)), return_std=True)
