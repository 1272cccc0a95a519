"""Data frames: types, names, gaps."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastgmm import BayesianGaussianMixture, GaussianMixture, KMeans
from fastgmm.data.errors import DataError, DataWarning
from fastgmm.data.opening import open_data
from fastgmm.data.sources.array import ArraySource
from tests.written_data import all_rows

nan = np.nan


def series(values, **options):
    return pd.DataFrame({"a": pd.Series(values, **options)})


NUMBERS = {
    "integers": (series([1, 2]), [1, 2]),
    "nullable integers": (series([1, 2], dtype="Int64"), [1, 2]),
    "nullable booleans": (series([True, False], dtype="boolean"), [1, 0]),
    "booleans": (series([True, False]), [1, 0]),
    "half precision": (series(np.float16([0.5, 2])), [0.5, 2]),
    "objects": (series([1, 2.5], dtype=object), [1, 2.5]),
    "decimals as objects": (series([Decimal("1.5"), Decimal(2)], dtype=object), [1.5, 2]),
    "polars decimals": (pl.DataFrame({"a": [Decimal("1.50"), Decimal("2.00")]}), [1.5, 2]),
    "polars booleans": (pl.DataFrame({"a": [True, False]}), [1, 0]),
    "Arrow chunks": (pa.table({"a": pa.chunked_array([[1], [2]])}), [1, 2]),
    "Arrow batch": (pa.RecordBatch.from_pydict({"a": [1, 2]}), [1, 2]),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_all_kinds(kind):
    frame, expected = NUMBERS[kind]
    source = open_data(frame)
    assert isinstance(source, ArraySource)
    assert source.dtype == np.float64
    assert source.feature_names == ("a",)
    np.testing.assert_array_equal(all_rows(source)[:, 0], expected)


MISSING = {
    "pandas": series([1.0, None]),
    "nullable integers": series([1, None], dtype="Int64"),
    "nullable booleans": series([True, None], dtype="boolean"),
    "objects": series([1, None], dtype=object),
    "objects with NA": series([1, pd.NA], dtype=object),
    "polars": pl.DataFrame({"a": [1, None]}),
    "polars booleans": pl.DataFrame({"a": [True, None]}),
    "polars NaN": pl.DataFrame({"a": [1.0, float("nan")]}),
    "polars decimals": pl.DataFrame({"a": [Decimal("1.00"), None]}),
    "Arrow": pa.table({"a": [1.0, None]}),
    "Arrow booleans": pa.table({"a": [True, None]}),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_values_of_all_kinds(kind):
    with pytest.raises(
        DataError, match="the data frame: the value in column 'a' in row 1, counted from 0, is miss"
    ):
        open_data(MISSING[kind])
    np.testing.assert_array_equal(all_rows(open_data(MISSING[kind], missing="drop")), [[1.0]])


@pytest.mark.parametrize("frame", [pl.DataFrame({"a": [None]}), pa.table({"a": pa.nulls(1)})])
def test_columns_without_any_value_are_missing(frame):
    with pytest.raises(DataError, match="column 'a' in row 0, counted from 0, is missing"):
        open_data(frame)


def test_other_things_than_numbers_are_all_named():
    frame = pd.DataFrame(
        {
            "x": [1.0],
            "kind": ["text"],
            "class": pd.Categorical(["u"]),
            "when": pd.to_datetime(["2020-01-01"]),
            "object": pd.Series([{}], dtype=object),
        }
    )
    with pytest.raises(
        DataError,
        match=r"the data frame holds other things than real numbers in the columns 'kind' "
        r"\(String\), 'class' \(Categorical\), 'when' \(Datetime.*\), 'object' \(Object\): leave",
    ):
        open_data(frame)
    np.testing.assert_array_equal(all_rows(open_data(frame, columns=["x"])), [[1.0]])
    with pytest.raises(DataError, match=r"in the columns 'kind' \(String\)"):
        open_data(frame, columns=["x"], weight_column="kind")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_columns_and_weights(make):
    source = open_data(make({"a": [1.0, 2.0], "w": [3, 0], "b": [5.0, 6.0]}), weight_column="w")
    assert source.feature_names == ("a", "b")
    assert isinstance(source, ArraySource)
    np.testing.assert_array_equal(source.X, [[1, 5], [2, 6]])
    assert source.X.flags.f_contiguous
    np.testing.assert_array_equal(source.weights, [3, 0])
    with pytest.raises(ValueError, match="the data frame has no column 'z': its columns are 'a'"):
        open_data(make({"a": [1.0]}), columns=["z"])


def test_single_precision_only_where_all_is():
    frame = pd.DataFrame(np.ones((2, 2), np.float32), columns=["a", "b"])
    assert open_data(frame).dtype == np.float32
    assert open_data(frame.assign(c=1)).dtype == np.float64


def test_names_that_are_not_all_text_are_none():
    assert open_data(pd.DataFrame({"a": [1.0], 5: [2.0]})).feature_names is None


def test_repeated_names():
    with pytest.raises(DataError, match="the data frame has several columns of the name 'a'"):
        open_data(pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]))
    table = pa.Table.from_arrays([pa.array([1.0])] * 3, names=["b", "a", "b"])
    with pytest.raises(DataError, match="the data frame has several columns of the name 'b'"):
        open_data(table)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_frame_that_is_one_matrix_is_used_where_it_is(order, dtype):
    matrix = np.arange(12, dtype=dtype).reshape(4, 3).copy(order=order)
    frame = pd.DataFrame(matrix, columns=["a", "b", "c"])
    source = open_data(frame)
    assert np.shares_memory(source.X, frame.to_numpy())
    np.testing.assert_array_equal(source.X, matrix)
    np.testing.assert_array_equal(open_data(frame, columns=["c", "a"]).X, matrix[:, [2, 0]])


def test_a_frame_of_several_arrays_is_copied():
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    source = open_data(frame)
    del frame
    np.testing.assert_array_equal(source.X, [[1.0, 3.0], [2.0, 4.0]])


def test_lazy_frames_are_refused():
    with pytest.raises(ValueError, match=r"is lazy and has no rows yet: give what its collect\(\)"):
        open_data(pl.LazyFrame({"a": [1.0]}))


def test_frames_without_rows_or_columns():
    with pytest.raises(DataError, match="the data frame has no rows"):
        open_data(pd.DataFrame({"a": []}))
    with pytest.raises(DataError, match="the data frame has no columns to use as features"):
        open_data(pd.DataFrame())


OTHER_NUMBERS = {
    "big-endian": pd.DataFrame({"a": np.array([1.5, 2.0], ">f8")}),
    "big-endian integers": pd.DataFrame({"a": np.array([1, 2], ">i2")}),
    "long double": pd.DataFrame({"a": np.array([1.5, 2.0], np.longdouble)}),
    "half": pd.DataFrame({"a": np.array([1.5, 2.0], np.float16)}),
    "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 1.5])}),
    "sparse integers": pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}),
    "categories": pd.DataFrame({"a": pd.Series([1.5, None], dtype="category")}),
    "pandas dictionary": pd.DataFrame(
        {"a": pd.Series([1.5, None], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.float64())))}
    ),
    "Arrow dictionary": pa.table({"a": pa.array([1.5, None, 2.0]).dictionary_encode()}),
    "polars Int128": pl.DataFrame({"a": pl.Series([1, None], dtype=pl.Int128)}),
    "polars UInt128": pl.DataFrame({"a": pl.Series([1, 2], dtype=pl.UInt128)}),
    "polars Decimal": pl.DataFrame({"a": [Decimal("1.5"), None]}),
    "polars Float16": pl.DataFrame({"a": pl.Series([1.5, 2.0], dtype=pl.Float16)}),
    "Arrow decimal": pa.table({"a": pa.array([Decimal("1.5"), None])}),
    "pandas decimal": pd.DataFrame(
        {"a": pd.Series([Decimal("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2)))}
    ),
    "decimal objects": pd.DataFrame({"a": [Decimal("1.5"), Decimal(2)]}),
    "Arrow half": pa.table({"a": pa.array(np.array([1.5, 2.0], np.float16))}),
    "pandas half": pd.DataFrame({"a": pd.Series([1.5, 2.0], dtype=pd.ArrowDtype(pa.float16()))}),
    "nullable": pd.DataFrame({"a": pd.Series([1.5, None], dtype="Float64")}),
    "nullable bool": pd.DataFrame({"a": pd.Series([True, None], dtype="boolean")}),
    "Arrow bool": pd.DataFrame({"a": pd.Series([True, None], dtype=pd.ArrowDtype(pa.bool_()))}),
}
VALUES = {
    "big-endian integers": [1.0, 2.0],
    "sparse": [0.0, 1.5],
    "sparse integers": [0.0, 1.0],
    "Arrow dictionary": [1.5, nan, 2.0],
    "polars Int128": [1.0, nan],
    "polars UInt128": [1.0, 2.0],
    "nullable bool": [1.0, nan],
    "Arrow bool": [1.0, nan],
}
LACKING = {
    "categories",
    "pandas dictionary",
    "polars Decimal",
    "Arrow decimal",
    "pandas decimal",
    "nullable",
}


@pytest.mark.parametrize("kind", OTHER_NUMBERS)
def test_whatever_holds_numbers_is_read(kind):
    expected = VALUES.get(kind, [1.5, nan if kind in LACKING else 2.0])
    source = open_data(OTHER_NUMBERS[kind], missing="model")
    np.testing.assert_array_equal(source.X[:, 0], expected)
    assert source.dtype == np.float64
    batches = open_data(iter([OTHER_NUMBERS[kind]]), missing="model")
    np.testing.assert_array_equal(next(iter(batches.blocks())).X[:, 0], expected)


def test_single_precision_of_either_byte_order():
    frame = pd.DataFrame({"a": np.array([1.5, 2.0], ">f4"), "b": np.array([1.0, 2.0], "f4")})
    assert open_data(frame).dtype == np.float32


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.Series(["1", "2"], dtype="category"), "Categorical"),
        (pd.Series(["1", 2.0], dtype=object), "Object"),
        (np.array([1j, 2.0]), "complex128"),
        (pd.Series([["a"], ["b"]]), "Object"),
    ],
)
def test_what_holds_other_things_is_named(column, kind):
    with pytest.raises(DataError, match=rf"real numbers in the columns 'a' \({kind}\): leave"):
        open_data(pd.DataFrame({"a": column}))


def test_names_that_differ_only_in_kind_are_two():
    frame = pd.DataFrame([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]], columns=[1, "1"])
    source = open_data(frame)
    np.testing.assert_array_equal(source.X, frame.to_numpy())
    assert source.feature_names is None
    assert open_data(frame, columns=["'1'"]).X[:, 0].tolist() == [2.0, 5.0, 4.0]
    assert GaussianMixture().fit(source).n_features_in_ == 2
    frame.columns = [1, 2]
    for estimator in (GaussianMixture(), KMeans(1)):
        assert estimator.fit(frame).n_features_in_ == 2


VECTORS = np.random.default_rng(0).normal(size=(20, 3))


def vectors(kind, values=VECTORS):
    rows = [each.tolist() if isinstance(each, np.ndarray) else each for each in values]
    extra = np.arange(float(len(rows)))
    if kind == "lists":
        return pd.DataFrame({"emb": pd.Series(rows, dtype=object), "x": extra})
    if kind == "arrays":
        arrays = [None if each is None else np.array(each) for each in rows]
        return pd.DataFrame({"emb": pd.Series(arrays, dtype=object), "x": extra})
    if kind == "polars List":
        return pl.DataFrame({"emb": rows, "x": extra})
    if kind == "polars Array":
        return pl.DataFrame({"emb": pl.Series(rows, dtype=pl.Array(pl.Float64, 3)), "x": extra})
    if kind == "ArrowDtype":
        dtype = pd.ArrowDtype(pa.list_(pa.float64()))
        return pd.DataFrame({"emb": pd.Series(rows, dtype=dtype), "x": extra})
    lists = pa.list_(pa.float64(), *([3] if kind == "Arrow fixed" else []))
    return pa.table({"emb": pa.array(rows, lists), "x": extra})


VECTOR_KINDS = [
    "lists",
    "arrays",
    "polars List",
    "polars Array",
    "ArrowDtype",
    "Arrow",
    "Arrow fixed",
]


@pytest.mark.parametrize("kind", VECTOR_KINDS)
def test_columns_of_lists_are_a_feature_for_each_place(kind):
    frame = vectors(kind)
    names = ("emb[0]", "emb[1]", "emb[2]", "x")
    source = open_data(frame)
    assert source.feature_names == names
    np.testing.assert_array_equal(source.X, np.column_stack([VECTORS, np.arange(20.0)]))
    chosen = open_data(frame, columns=["x", "emb"])
    assert chosen.feature_names == ("x", "emb[0]", "emb[1]", "emb[2]")
    np.testing.assert_array_equal(open_data(frame, columns=["emb[1]"]).X[:, 0], VECTORS[:, 1])
    weighted = open_data(frame, weight_column="x")
    assert weighted.feature_names == names[:3]
    mixture = GaussianMixture().fit(frame)
    assert mixture.feature_names_in_.tolist() == list(names)
    np.testing.assert_array_equal(mixture.predict(frame), np.zeros(20))
    batches = open_data(iter([frame, frame]))
    assert batches.feature_names == names
    assert sum(len(each.X) for each in batches.blocks()) == 40


@pytest.mark.parametrize("kind", VECTOR_KINDS)
@pytest.mark.parametrize(("last", "length"), [([1.0], 1), ([], 0)])
def test_lists_that_differ_in_length_are_named(kind, last, length):
    if kind in ("polars Array", "Arrow fixed"):
        return
    frame = vectors(kind, [*VECTORS, last])
    words = "column 'emb' of the data frame should hold a list of 3 numbers in each row, but has "
    with pytest.raises(DataError, match=f"{words}one of length {length} in row 20, counted from 0"):
        open_data(frame)
    assert open_data(frame, columns=["x"]).n_samples == 21


@pytest.mark.parametrize("kind", VECTOR_KINDS)
def test_a_row_without_a_list_lacks_its_numbers(kind):
    frame = vectors(kind, [*VECTORS, None])
    with pytest.raises(DataError, match=r"column 'emb\[0\]' in row 20, counted from 0, is missing"):
        open_data(frame)
    assert open_data(frame, missing="drop").n_samples == 20
    rows = open_data(frame, missing="model")
    assert np.isnan(rows.X[20, :3]).all()
    assert np.isfinite(rows.X[:, 3]).all()
    with pytest.raises(DataError, match="is missing: remove such rows"):
        GaussianMixture().fit(frame)
    mixture = GaussianMixture(missing="model", random_state=0)
    expected = mixture.fit(rows.X).means_
    np.testing.assert_array_equal(mixture.fit(frame).means_, expected)


def test_what_stands_for_a_list_is_named():
    frame = pd.DataFrame({"emb": [[1.0, 2.0], [3.0, 4.0], "a"]})
    with pytest.raises(DataError, match="has no list in row 2, counted from 0"):
        open_data(frame)
    frame["emb"] = [[1.0, 2.0], pd.NA, np.nan]
    assert open_data(frame, missing="drop").X.tolist() == [[1.0, 2.0]]


def test_lists_of_single_precision():
    frame = pd.DataFrame({"emb": list(VECTORS.astype(np.float32))})
    assert open_data(frame).dtype == np.float32


NAMELESS = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "polars": pl.DataFrame,
    "Arrow": pa.table,
}


@pytest.mark.parametrize("kind", NAMELESS)
@pytest.mark.parametrize("name", ["Unnamed: 0", ""])
def test_integers_without_a_name_may_be_an_index(kind, name):
    frame = NAMELESS[kind]({name: np.arange(5), "a": np.arange(5.0) ** 2})
    words = f"column '{name}' of the data frame has no name of its own, and may be a row index"
    with pytest.warns(DataWarning, match=words):
        assert open_data(frame).feature_names == (name, "a")
    with pytest.warns(DataWarning, match=words):
        assert GaussianMixture().fit(frame).n_features_in_ == 2
    with pytest.warns(DataWarning, match="column '' of batch 1" if not name else "of batch 1"):
        assert open_data(iter([frame, frame])).n_features == 2
    assert open_data(frame, columns=[name, "a"]).n_features == 2  # without a warning
    assert open_data(frame, weight_column=name).n_features == 1
    real = NAMELESS[kind]({name: np.arange(5) / 2, "a": np.arange(5.0) ** 2})
    assert open_data(real).n_features == 2


@pytest.mark.parametrize("names", [(1, "1"), ("a", 2), (2, "a", None)])
def test_names_of_several_types(names):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(9, len(names))), columns=names)
    assert open_data(frame).n_features == len(names)
    for estimator in (GaussianMixture(), KMeans(1), BayesianGaussianMixture(1)):
        with pytest.raises(TypeError, match=r"of type str and .*X\.columns\.astype\(str\)"):
            estimator.fit(frame)
