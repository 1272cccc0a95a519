"""`KMeans` against scikit-learn's, and the conventions of an estimator."""

import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from fastgmm import KMeans
from tests.written_data import write_parquet


def rows(dtype=np.float64):
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=4.0, size=(4, 3))
    return (centers[rng.integers(4, size=400)] + rng.normal(size=(400, 3))).astype(dtype)


@pytest.mark.parametrize("weighted", [False, True])
def test_from_the_same_centers_all_is_as_in_scikit_learn(weighted):
    X = rows()
    weights = np.random.default_rng(1).uniform(0.5, 2.0, size=400) if weighted else None
    options = {"init": X[:4], "n_init": 1, "tol": 0.0}
    ours = KMeans(4, **options).fit(X, sample_weight=weights)
    theirs = sklearn.cluster.KMeans(4, **options).fit(X, sample_weight=weights)
    assert {name for name in vars(theirs) if name.endswith("_")} <= set(dir(ours))
    assert_allclose(ours.cluster_centers_, theirs.cluster_centers_)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_)
    assert ours.n_iter_ == theirs.n_iter_
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert_allclose(ours.transform(X), theirs.transform(X))
    assert ours.score(X) == pytest.approx(theirs.score(X))
    assert ours.score(X, sample_weight=weights) == pytest.approx(
        theirs.score(X, sample_weight=weights)
    )
    assert_array_equal(ours.get_feature_names_out(), theirs.get_feature_names_out())


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("max_iter", [1, 300])
def test_results_belong_together(init, dtype, max_iter):
    X = rows(dtype)
    clusters = KMeans(5, init=init, max_iter=max_iter, random_state=0)
    labels = clusters.fit_predict(X)
    assert clusters.cluster_centers_.dtype == np.float64
    assert clusters.cluster_centers_.shape == (5, 3)
    assert_array_equal(labels, clusters.labels_)
    assert_array_equal(labels, clusters.predict(X))
    assert labels.dtype == np.int64
    assert clusters.inertia_ == pytest.approx(-clusters.score(X))
    distances = clusters.transform(X)
    assert distances.dtype == dtype
    assert clusters.inertia_ == pytest.approx((distances.min(axis=1) ** 2).sum(), rel=1e-5)
    assert_array_equal(distances, clusters.fit_transform(X))
    assert isinstance(clusters.inertia_, float)


def test_distances_far_from_the_origin():
    X = rows()
    near = KMeans(4, random_state=0).fit(X)
    far = KMeans(4)
    far.cluster_centers_ = near.cluster_centers_ + 1e8
    assert_allclose(far.transform(X + 1e8), near.transform(X), atol=1e-6)


@pytest.mark.parametrize(
    ("init", "n_init", "n_runs"),
    [
        ("k-means++", "auto", 1),
        ("random", "auto", 10),
        (lambda X, n_clusters, **_: X[:n_clusters], "auto", 10),
        (rows()[:4].tolist(), "auto", 1),
        ("k-means++", 3, 3),
    ],
    ids=["k-means++", "random", "callable", "centers", "given"],
)
def test_number_of_runs(init, n_init, n_runs, capsys):
    KMeans(4, init=init, n_init=n_init, random_state=0, verbose=1).fit(rows())
    assert capsys.readouterr().out.count("complete") == n_runs


def test_centers_given_and_several_runs_warn_where_fit_was_called():
    X = rows()
    with pytest.warns(RuntimeWarning, match=r"one run, not n_init=3") as caught:
        KMeans(4, init=X[:4], n_init=3).fit(X)
    assert [each.filename for each in caught] == [__file__]


def test_empty_clusters_warn_where_fit_was_called():
    X = np.repeat(np.eye(3), 5, axis=0)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="Use fewer") as caught:
        KMeans(4, random_state=0).fit(X)
    assert [each.filename for each in caught] == [__file__]


def test_a_function_gets_what_scikit_learn_gives_it():
    X = rows()
    seen = []

    def init(X, n_clusters, random_state):
        seen.append((X, n_clusters, random_state))
        return X[:n_clusters].tolist()

    KMeans(4, init=init, n_init=1, random_state=0).fit(X)
    assert seen[0][0] is X
    assert seen[0][1] == 4
    assert isinstance(seen[0][2], np.random.RandomState)


def test_wrong_centers_are_named():
    with pytest.raises(ValueError, match=r"initial centers \(3, 3\) .* \(4, 3\)"):
        KMeans(4, init=rows()[:3]).fit(rows())


def test_a_quiet_fit_prints_nothing(capsys):
    KMeans(4, random_state=0).fit(rows())
    assert capsys.readouterr().out == ""


def test_verbose_fits_print_each_iteration(capsys):
    clusters = KMeans(4, random_state=0, verbose=1).fit(rows())
    lines = [line for line in capsys.readouterr().out.splitlines() if "Iteration" in line]
    assert len(lines) == clusters.n_iter_
    assert "inertia" in lines[0]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_in_and_out(library):
    X = pd.DataFrame(rows(), columns=["a", "b", "c"], index=range(100, 500))
    clusters = KMeans(2, random_state=0).set_output(transform=library).fit(X)
    assert_array_equal(clusters.feature_names_in_, ["a", "b", "c"])
    for distances in (clusters.transform(X), clusters.fit_transform(X)):
        assert list(distances.columns) == ["kmeans0", "kmeans1"]
    if library == "pandas":
        assert_array_equal(distances.index, X.index)


def test_assigned_centers_serve():
    clusters = KMeans(2)
    clusters.cluster_centers_ = [[0.0, 0.0], [1.0, 1.0]]
    assert_array_equal(clusters.predict([[0.1, 0.2], [3.0, 3.0]]), [0, 1])
    with pytest.raises(ValueError, match=r"X has 1 features, but cluster_centers_"):
        clusters.predict([[1.0]])


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_unfitted_clusters_cannot_tell(method):
    with pytest.raises(NotFittedError):
        getattr(KMeans(), method)(rows())


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_clusters_whose_only_fit_failed_cannot_tell(method):
    clusters = KMeans(2, init=np.zeros((1, 3)), n_init=1)
    with pytest.raises(ValueError, match="initial centers"):
        clusters.fit(np.eye(3))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(clusters, method)(np.eye(3))


def test_threads_do_not_change_a_bit():
    X = rows()
    one, several = (KMeans(6, random_state=0, n_jobs=n_jobs).fit(X) for n_jobs in (1, -1))
    assert_array_equal(one.cluster_centers_, several.cluster_centers_)
    assert one.inertia_ == several.inertia_


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
@pytest.mark.parametrize("copy_x", [True, False])
def test_algorithm_and_copy_change_nothing(algorithm, copy_x):
    X = rows()
    before = X.copy()
    clusters = KMeans(4, random_state=0, algorithm=algorithm, copy_x=copy_x).fit(X)
    assert_array_equal(X, before)
    assert_array_equal(clusters.labels_, KMeans(4, random_state=0).fit(X).labels_)


def test_rows_without_weight_may_hold_anything():
    X = np.random.default_rng(0).normal(size=(60, 2))
    filled = np.r_[X, np.full((5, 2), 1e160)]
    weights = np.r_[np.ones(60), np.zeros(5)]
    ours = KMeans(2, random_state=0, tol=0).fit(filled, sample_weight=weights)
    assert np.isfinite(ours.inertia_)
    assert ours.score(filled, sample_weight=weights) == pytest.approx(-ours.inertia_)
    assert ours.inertia_ == pytest.approx(KMeans(2, random_state=0, tol=0).fit(X).inertia_)


def test_files_and_streams_are_read_into_memory(tmp_path):
    X = np.random.default_rng(0).normal(size=(3000, 2))
    weights = np.random.default_rng(1).random(3000)
    path = write_parquet(tmp_path / "rows.parquet", np.column_stack([X, weights]))
    expected = KMeans(3, random_state=0).fit(X, sample_weight=weights)
    of_file = KMeans(3, random_state=0).fit(path, sample_weight="c")
    assert_array_equal(of_file.cluster_centers_, expected.cluster_centers_)
    assert list(of_file.feature_names_in_) == ["a", "b"]
    assert of_file.score(path, sample_weight="c") == expected.score(X, sample_weight=weights)
    streamed = KMeans(3, random_state=0).fit(iter([X[:1000], X[1000:]]))
    assert_array_equal(streamed.labels_, KMeans(3, random_state=0).fit(X).labels_)
    with pytest.raises(FileNotFoundError, match=r"there is no file 'rows\.npy'"):
        KMeans(2).fit("rows.npy")
