"""What the estimators accept and refuse: compared with scikit-learn on the same calls."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
import sklearn.cluster
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm import (
    GaussianMixture,
    GaussianMixtureOutlierDetector,
    KMeans,
    MessageLengthGaussianMixture,
    open_data,
)
from fastgmm.data.sources.array import ArraySource
from fastgmm.estimators import gaussian_mixture, kmeans
from fastgmm.estimators.shared.validation import check_in_memory, check_source

PAIRS = [(GaussianMixture, sklearn.mixture.GaussianMixture), (KMeans, sklearn.cluster.KMeans)]


def rows(n_samples=60, n_features=3, dtype=np.float64):
    return np.random.default_rng(0).normal(size=(n_samples, n_features)).astype(dtype)


def caught(call):
    """Return the class of error or warning of a call, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except (Exception, Warning) as error:
            return error
    return None


WRONG_PARAMETERS = [
    {"n_components": 0},
    {"n_components": 2.0},
    {"n_components": "two"},
    {"covariance_type": "triangular"},
    {"tol": -1.0},
    {"tol": "small"},
    {"reg_covar": -1e-6},
    {"max_iter": -1},
    {"max_iter": 1.5},
    {"n_init": 0},
    {"init_params": "best"},
    {"weights_init": 0.5},
    {"means_init": "here"},
    {"random_state": "seed"},
    {"warm_start": "yes"},
    {"verbose": -1},
    {"verbose_interval": 0},
]

WRONG_STARTS = [
    {"weights_init": [0.5, 0.25, 0.25]},
    {"weights_init": [0.5, 0.6]},
    {"weights_init": [-0.5, 1.5]},
    {"weights_init": [np.nan, 0.5]},
    {"weights_init": [[0.5, 0.5]]},
    {"means_init": np.zeros((3, 3))},
    {"means_init": np.zeros((2, 2))},
    {"means_init": np.full((2, 3), np.inf)},
    {"precisions_init": np.zeros((2, 3))},
    {"precisions_init": np.repeat(np.eye(3)[None], 3, axis=0)},
    {"precisions_init": np.repeat(-np.eye(3)[None], 2, axis=0)},
    {"precisions_init": np.repeat(np.triu(np.ones((3, 3)))[None], 2, axis=0)},
    {"precisions_init": np.eye(2), "covariance_type": "tied"},
    {"precisions_init": -np.eye(3), "covariance_type": "tied"},
    {"precisions_init": -np.ones((2, 3)), "covariance_type": "diag"},
    {"precisions_init": [1.0, 0.0], "covariance_type": "spherical"},
    {"precisions_init": [1.0, 1.0, 1.0], "covariance_type": "spherical"},
]

WRONG_ROWS = {
    "one axis": rows()[:, 0],
    "three axes": rows()[:, :, None],
    "no rows": rows()[:0],
    "no columns": rows()[:, :0],
    "one row": rows()[:1],
    "nan": np.where(rows() > 2.0, np.nan, rows()),
    "infinity": np.where(rows() > 2.0, np.inf, rows()),
    "complex": rows() + 1j,
    "sparse": scipy.sparse.csr_array(rows()),
    "text": np.full((60, 3), "one"),
    "objects": np.full((60, 3), object()),
    "a number": 3.0,
    "nothing": None,
    "names": pd.DataFrame(rows(), columns=["a", 1, "b"]),
}


@pytest.mark.parametrize("parameters", WRONG_PARAMETERS, ids=str)
def test_wrong_parameters_raise_what_scikit_learn_raises(parameters):
    ours = caught(lambda: GaussianMixture(**parameters).fit(rows()))
    theirs = caught(lambda: sklearn.mixture.GaussianMixture(**parameters).fit(rows()))
    assert type(ours) is type(theirs)
    assert next(iter(parameters)) in str(ours)


@pytest.mark.parametrize("parameters", WRONG_STARTS, ids=str)
def test_wrong_starts_raise_what_scikit_learn_raises(parameters):
    ours = caught(lambda: GaussianMixture(2, **parameters).fit(rows()))
    theirs = caught(lambda: sklearn.mixture.GaussianMixture(2, **parameters).fit(rows()))
    assert type(ours) is type(theirs) is ValueError


@pytest.mark.parametrize(
    ("our_class", "their_class", "case"),
    [
        (*pair, case)
        for pair in PAIRS
        for case in WRONG_ROWS
        # scikit-learn's k-means takes these.
        if not (pair[0] is KMeans and case in ("sparse", "one row"))
    ],
)
def test_wrong_rows_raise_what_scikit_learn_raises(our_class, their_class, case):
    X = WRONG_ROWS[case]
    ours = caught(lambda: our_class(1).fit(X))
    theirs = caught(lambda: their_class(1).fit(X))
    assert theirs is not None
    assert type(ours) is type(theirs)
    fitted = our_class(1).fit(rows()), their_class(1).fit(rows())
    if case != "one row":
        ours, theirs = (caught(lambda each=each: each.predict(X)) for each in fitted)
        assert type(ours) is type(theirs)


def test_sparse_rows_are_refused_by_kmeans_too():
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        KMeans(2).fit(scipy.sparse.csr_array(rows()))


def test_fewer_rows_than_components_raise_what_scikit_learn_raises():
    X = rows(3)
    ours = caught(lambda: GaussianMixture(4).fit(X))
    theirs = caught(lambda: sklearn.mixture.GaussianMixture(4).fit(X))
    assert type(ours) is type(theirs) is ValueError
    assert "n_components = 4, n_samples = 3" in str(ours)
    ours = caught(lambda: KMeans(4).fit(X))
    theirs = caught(lambda: sklearn.cluster.KMeans(4).fit(X))
    assert type(ours) is type(theirs) is ValueError
    assert "n_samples=3 should be >= n_clusters=4" in str(ours)


class FirstRow:
    """An initialization that returns too few centers."""

    def __call__(self, X, **_):
        return X[:1]

    def __repr__(self):
        return "FirstRow()"


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_clusters": 0},
        {"init": "best"},
        {"n_init": 0},
        {"n_init": "many"},
        {"max_iter": 0},
        {"tol": -1.0},
        {"copy_x": "no"},
        {"algorithm": "fast"},
        {"init": np.zeros((3, 3))},
        {"init": np.zeros((2, 2))},
        {"init": np.full((2, 3), np.nan)},
        {"init": FirstRow()},
        {"init": rows()[:2], "n_init": 5},
    ],
    ids=str,
)
def test_wrong_parameters_of_kmeans_raise_what_scikit_learn_raises(parameters):
    parameters = {"n_clusters": 2, **parameters}
    ours = caught(lambda: KMeans(**parameters).fit(rows()))
    theirs = caught(lambda: sklearn.cluster.KMeans(**parameters).fit(rows()))
    assert type(ours) is type(theirs)
    assert theirs is not None


def test_too_few_distinct_rows_warn_as_in_scikit_learn():
    X = np.repeat(np.eye(3), 5, axis=0)
    ours = caught(lambda: KMeans(4, random_state=0).fit(X))
    theirs = caught(lambda: sklearn.cluster.KMeans(4, random_state=0).fit(X))
    assert type(ours) is type(theirs)
    assert "Only 3 of n_clusters=4 clusters have rows" in str(ours)


@pytest.mark.parametrize("estimator", [GaussianMixture, KMeans])
@pytest.mark.parametrize("n_jobs", [0, 1.5, "all"])
def test_wrong_numbers_of_threads(estimator, n_jobs):
    with pytest.raises(ValueError, match="n_jobs"):
        estimator(2, n_jobs=n_jobs).fit(rows())


def test_wrong_scale_of_the_regularization():
    with pytest.raises(ValueError, match=r"'reg_covar_scale' parameter .*'absolute'"):
        GaussianMixture(reg_covar_scale="squared").fit(rows())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(59), r"'labels_init' should have the shape of \(60,\), but got \(59,\)"),
        (np.full(60, 2), r"integers from 0 to n_components - 1 = 1, .*but got 2"),
        (np.full(60, -2), "or -1 for rows without a label, but got -2"),
        (np.full(60, 0.5), r"but got 0\.5"),
        (np.full(60, np.nan), "labels_init"),
    ],
)
def test_wrong_labels(labels, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(2, labels_init=labels).fit(rows())


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"weights_init": [0.5, 0.6]}, r"'weights_init' should be normalized, .*1\.1: divide"),
        ({"weights_init": [-0.5, 1.5]}, r"'weights_init' .*\[0, 1\], .*1\.50000, .*-0\.50000"),
        ({"means_init": np.zeros((3, 3))}, r"'means_init' .*\(2, 3\), but got \(3, 3\)"),
        (
            {"precisions_init": np.repeat(np.triu(np.ones((3, 3)))[None], 2, axis=0)},
            r"'precisions_init' .*symmetric.* entry \(0, 0, 1\)",
        ),
        (
            {"precisions_init": [1.0, -2.0], "covariance_type": "spherical"},
            r"'precisions_init' should be positive .*'spherical', but got min value -2",
        ),
        (
            {"precisions_init": np.repeat(-np.eye(3)[None], 2, axis=0)},
            "precision of component 0 is not positive",
        ),
    ],
    ids=str,
)
def test_wrong_starts_are_named(parameters, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(2, **parameters).fit(rows())


@pytest.mark.parametrize("estimator", [GaussianMixture, KMeans])
@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.ones(59), ValueError, r"sample_weight.shape == \(59,\)"),
        (np.ones((60, 1)), ValueError, "1D"),
        (-np.ones(60), ValueError, "[Nn]egative"),
        (np.zeros(60), ValueError, "non-zero|positive"),
        (np.full(60, np.nan), ValueError, "NaN"),
        (np.nan, ValueError, "sample_weight should have a finite sum, but got nan"),
        (np.full(60, 1e308), ValueError, "sample_weight should have a finite sum, but got inf"),
        (np.full(60, "one"), ValueError, "sample_weight holds 'one' of type str in row 0"),
    ],
    ids=str,
)
def test_wrong_weights(estimator, weights, error, words):
    with pytest.raises(error, match=words):
        estimator(2).fit(rows(), sample_weight=weights)


@pytest.mark.parametrize(
    ("estimator", "value", "words"),
    [
        (
            GaussianMixture(2),
            np.nan,
            "NaN, first in row 7, column 1, counted from 0: .* set missing='model'",
        ),
        (
            KMeans(2),
            np.nan,
            r"NaN, first in row 7, column 1, counted from 0: .*GaussianMixture\(missing='model'\)",
        ),
        (
            GaussianMixture(2),
            -np.inf,
            "infinity .* for float64, first in row 7, column 1, counted from 0: remove",
        ),
        (GaussianMixture(2, missing="model"), np.inf, "infinity .*, first in row 9, column 2"),
    ],
    ids=str,
)
def test_values_that_cannot_be_used_are_reported_with_their_place(estimator, value, words):
    X = rows()
    X[9, 2] = value
    X[7, 1] = value if "missing='model'" not in str(estimator) else np.nan
    with pytest.raises(ValueError, match=words):
        estimator.fit(X)


def test_a_column_of_weights_needs_columns_with_names():
    with pytest.raises(ValueError, match="sample_weight='w' names a column, and X has no names"):
        GaussianMixture(2).fit(rows(), sample_weight="w")


@pytest.mark.parametrize("estimator", [GaussianMixture, KMeans])
def test_rows_of_no_weight_do_not_count(estimator):
    weights = np.zeros(60)
    weights[:3] = 1.0
    with pytest.raises(ValueError, match="positive"):
        estimator(4).fit(rows(), sample_weight=weights)


def held_arrays():
    """Arrays that must be used where they are."""
    for dtype in (np.float64, np.float32):
        X = rows(dtype=dtype)
        name = np.dtype(dtype).name
        yield pytest.param(X, id=f"C {name}")
        yield pytest.param(np.asfortranarray(X), id=f"F {name}")
        yield pytest.param(rows(120, 6, dtype)[::2, ::2], id=f"strided {name}")
        yield pytest.param(X[::-1, ::-1], id=f"reversed {name}")
        read_only = X.copy()
        read_only.setflags(write=False)
        yield pytest.param(read_only, id=f"read-only {name}")


@pytest.mark.parametrize("X", list(held_arrays()))
def test_float_arrays_are_not_copied(X):
    assert np.shares_memory(check_source(GaussianMixture(), X, reset=True).X, X)
    assert np.shares_memory(check_source(KMeans(), X, reset=True).X, X)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_memory_maps_are_not_copied(tmp_path, dtype):
    rows(dtype=dtype).tofile(tmp_path / "rows")
    X = np.memmap(tmp_path / "rows", dtype=dtype, mode="r", shape=(60, 3))
    assert np.shares_memory(check_source(GaussianMixture(), X, reset=True).X, X)
    assert_allclose(GaussianMixture().fit(X).means_[0], X.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_tables_of_one_type_are_not_copied():
    table = pd.DataFrame(rows())
    held = check_source(GaussianMixture(), table, reset=True).X
    assert np.shares_memory(held, table.to_numpy())


@pytest.mark.parametrize(
    ("module", "check"),
    [(gaussian_mixture, check_source), (kmeans, check_in_memory)],
)
def test_fit_hands_on_the_very_array(monkeypatch, module, check):
    X = np.asfortranarray(rows())
    handed_on = []

    def record(*arguments, **options):
        source = check(*arguments, **options)
        handed_on.append(source)
        return source

    monkeypatch.setattr(module, check.__name__, record)
    estimator = GaussianMixture() if module is gaussian_mixture else KMeans(2)
    estimator.fit(X)
    assert isinstance(handed_on[0], ArraySource)
    assert np.shares_memory(handed_on[0].X, X)


@pytest.mark.parametrize(
    "estimator", [GaussianMixture(2, random_state=0), KMeans(2, random_state=0)]
)
@pytest.mark.parametrize("X", list(held_arrays()))
def test_layout_does_not_matter(estimator, X):
    plain = np.ascontiguousarray(X)
    assert_array_equal(estimator.fit_predict(X), estimator.fit_predict(plain))
    assert_array_equal(estimator.predict(X), estimator.predict(plain))


@pytest.mark.parametrize(
    "estimator", [GaussianMixture(2, random_state=0), KMeans(2, random_state=0)]
)
def test_single_precision_stays_in_either_byte_order(estimator):
    X = rows().astype(np.float32)
    attribute = "means_" if isinstance(estimator, GaussianMixture) else "cluster_centers_"
    expected = getattr(estimator.fit(X), attribute)
    found = getattr(estimator.fit(X.astype(">f4")), attribute)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()
    assert estimator.predict(X.astype(">f4")).tobytes() == estimator.predict(X).tobytes()


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X.astype(np.int64),
        lambda X: X.astype(np.int8),
        lambda X: X.astype(np.float16),
        lambda X: X.astype(np.longdouble),
        lambda X: X.astype(object),
        lambda X: X.astype(">f8"),
        lambda X: X.astype(">i4"),
        lambda X: X.tolist(),
        lambda X: pd.DataFrame(X, columns=list("abc")),
        lambda X: pd.DataFrame(X.astype(np.int64), columns=list("abc")).astype("Int64"),
        lambda X: pl.DataFrame(X, schema=list("abc")),
    ],
)
@pytest.mark.parametrize(
    "estimator", [GaussianMixture(2, random_state=0), KMeans(2, random_state=0)]
)
def test_other_numbers_become_native_float64(estimator, convert):
    X = np.round(10 * rows())
    estimator.fit(convert(X))
    attribute = "means_" if isinstance(estimator, GaussianMixture) else "cluster_centers_"
    converted = getattr(estimator, attribute)
    assert converted.dtype == np.float64
    assert converted.dtype.isnative
    assert_allclose(converted, getattr(estimator.fit(X), attribute))


@pytest.mark.parametrize(
    "estimator", [GaussianMixture(2, random_state=0), KMeans(2, random_state=0)]
)
def test_rows_are_left_as_they_are(estimator):
    X = rows()
    before = X.copy()
    estimator.fit(X, sample_weight=np.ones(60))
    estimator.predict(X)
    assert_array_equal(X, before)


class ForeignArray:
    """An array of another library that NumPy can convert."""

    def __init__(self, values):
        self.values = values
        self.shape = values.shape
        self.ndim = values.ndim
        self.dtype = values.dtype

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)


def test_arrays_of_other_libraries_become_arrays_of_numpy():
    X = ForeignArray(rows())
    mixture = GaussianMixture(2, random_state=0).fit(X)
    assert isinstance(mixture.predict_proba(X), np.ndarray)


def test_array_api_dispatch_does_not_change_what_is_computed(monkeypatch):
    if sklearn.__version__ < "1.7":
        pytest.importorskip("array_api_compat", reason="which scikit-learn did not hold then")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    X = rows()
    expected = GaussianMixture(2, random_state=0).fit(X).predict_proba(X)
    with sklearn.config_context(array_api_dispatch=True):
        given = GaussianMixture(2, random_state=0, weights_init=[0.5, 0.5]).fit(X)
        assert isinstance(given.predict_proba(X), np.ndarray)
        result = GaussianMixture(2, random_state=0).fit(X).predict_proba(X)
    assert_array_equal(result, expected)


@pytest.mark.parametrize("estimator", [GaussianMixture(2, missing="model"), KMeans(2)])
def test_masked_weights_and_parameters_are_refused(estimator):
    X = rows()
    weights = np.ma.array(np.ones(len(X)), mask=np.arange(len(X)) == 7)
    with pytest.raises(ValueError, match=r"NaN.*the weight in row 7, counted from 0, is nan, and"):
        estimator.fit(X, sample_weight=weights)
    assert_allclose(estimator.fit(X, sample_weight=weights.data).predict(X[:1]), [0], atol=1)
    start = np.ma.array(X[:2], mask=False)
    start[1, 1] = np.ma.masked
    name = "init" if isinstance(estimator, KMeans) else "means_init"
    with pytest.raises(ValueError, match=f"Input {name} contains NaN"):
        estimator.set_params(**{name: start}).fit(X)


def test_masked_values_are_missing():
    X = rows()
    holes = X.copy()
    holes[7, 1] = np.nan
    masked = np.ma.array(X, mask=np.isnan(holes))
    model = GaussianMixture(2, missing="model", random_state=0)
    expected = model.fit(holes).means_
    np.testing.assert_array_equal(model.fit(masked).means_, expected)
    np.testing.assert_array_equal(model.score_samples(masked), model.score_samples(holes))
    np.testing.assert_array_equal(model.fit(list(masked)).means_, expected)
    batches = open_data(lambda: iter([masked]), missing="model")
    np.testing.assert_array_equal(model.fit(batches).means_, expected)
    assert open_data(masked, missing="drop").n_samples == len(X) - 1
    for estimator in (GaussianMixture(2), KMeans(2), MessageLengthGaussianMixture()):
        with pytest.raises(ValueError, match="NaN, first in row 7, column 1, counted from 0: "):
            estimator.fit(masked)
    with pytest.raises(ValueError, match="NaN, first in row 7, column 1, counted from 0: "):
        GaussianMixture(2).fit(X).predict(masked)


@pytest.mark.parametrize(
    ("estimator", "advice"),
    [
        (KMeans(1), "use fewer columns or components$"),
        (GaussianMixture(1), "use fewer columns or components, or covariance_type='diag'$"),
        (GaussianMixtureOutlierDetector(1), "or covariance_type='diag'$"),
    ],
)
def test_memory_that_is_used_up_in_a_fit(estimator, advice, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("fastgmm.data.sources.array.ArraySource.blocks", fail)
    with pytest.raises(
        MemoryError, match=rf"\.fit needs more memory than there is \(.*\): .*{advice}"
    ):
        estimator.fit(np.ones((5, 2)))
