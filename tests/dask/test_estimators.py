"""Each estimator on a collection against the same rows in memory."""

import warnings

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgmm.analysis.quantiles as quantiles
import fastgmm.em.initialization.data_scan as data_scan
import fastgmm.em.initialization.kmeans as kmeans
import fastgmm.em.initialization.methods as methods
import fastgmm.estimators.mixture_search as mixture_search
import fastgmm.estimators.shared.score_thresholds as score_thresholds
from fastgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    GaussianMixtureTransformer,
    KMeans,
    MessageLengthGaussianMixture,
    MiniBatchGaussianMixture,
    MixtureSearch,
)
from fastgmm.data.sources.array import ArraySource

CENTERS = np.array([[0.0, 0.0], [6.0, 2.0], [0.0, 7.0]])


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    X = np.concatenate([center + random.normal(size=(700, 2)) for center in CENTERS])
    return X[random.permutation(len(X))]


@pytest.fixture(scope="module")
def weights(rows):
    return np.random.default_rng(1).integers(0, 3, len(rows)).astype(float)


def chunked(values):
    return da.from_array(values, chunks=(400, *values.shape[1:]))


def quiet(call, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return call(*args, **kwargs)


@pytest.mark.parametrize("weighted", [False, True])
def test_kmeans_from_given_centers(rows, weights, weighted):
    start = rows[:3]
    given = {"sample_weight": weights} if weighted else {}
    beside = {"sample_weight": chunked(weights)} if weighted else {}
    expected = KMeans(3, init=start, n_init=1).fit(rows, **given)
    found = KMeans(3, init=start, n_init=1).fit(chunked(rows), **beside)
    assert_allclose(found.cluster_centers_, expected.cluster_centers_, rtol=1e-12)
    assert_allclose(found.inertia_, expected.inertia_, rtol=1e-12)
    assert found.n_iter_ == expected.n_iter_
    assert isinstance(found.labels_, da.Array)
    assert_array_equal(found.labels_.compute(), expected.labels_)
    score = found.score(chunked(rows), **beside)
    assert_allclose(score, expected.score(rows, **given), rtol=1e-12)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("many", [1000, 3])
def test_kmeans_from_a_start_of_its_own(rows, init, many, monkeypatch):
    monkeypatch.setattr(kmeans, "_MANY_CLUSTERS", many)
    found = [KMeans(3, init=init, n_init=3, random_state=0).fit(chunked(rows)) for _ in range(2)]
    assert_array_equal(found[0].cluster_centers_, found[1].cluster_centers_)
    order = np.lexsort(np.rint(found[0].cluster_centers_).T)
    assert_allclose(found[0].cluster_centers_[order], CENTERS, atol=0.2)


def test_an_empty_cluster_moves_to_the_farthest_row(rows):
    start = np.array([[0.0, 0.0], [6.0, 2.0], [500.0, 500.0]])
    expected = KMeans(3, init=start, n_init=1, max_iter=3).fit(rows)
    found = KMeans(3, init=start, n_init=1, max_iter=3).fit(chunked(rows))
    assert_allclose(found.cluster_centers_, expected.cluster_centers_, rtol=1e-12)


def test_more_clusters_than_the_farthest_rows_of_a_partition():
    X = np.repeat(np.arange(6.0), 3)[:, None]
    start = np.array([[0.0], *[[100.0 + i] for i in range(4)]])
    found = KMeans(5, init=start, n_init=1).fit(da.from_array(X, chunks=(3, 1)))
    expected = KMeans(5, init=start, n_init=1).fit(X)
    assert_allclose(found.inertia_, expected.inertia_)


def test_kmeans_takes_no_function_for_rows_that_lie_elsewhere(rows):
    with pytest.raises(ValueError, match="init is a function, which takes all rows"):
        KMeans(3, init=lambda X, k, **_: X[:k]).fit(chunked(rows))


FITS = {
    "mixture": GaussianMixture(3, random_state=0, tol=1e-9, max_iter=500),
    "variational": BayesianGaussianMixture(3, random_state=0, tol=1e-9, max_iter=500),
    "message length": MessageLengthGaussianMixture(8, random_state=0),
    "transformer": GaussianMixtureTransformer(3, random_state=0),
    "detector": GaussianMixtureOutlierDetector(3, contamination=0.05, random_state=0),
    "search": MixtureSearch([2, 3], structures=["full", "diag"], random_state=0),
}


@pytest.mark.parametrize("kind", FITS)
def test_a_fit_from_a_start_of_its_own_is_that_of_the_rows_in_memory(rows, kind):
    found, expected = (quiet(clone(FITS[kind]).fit, X) for X in (chunked(rows), rows))
    one, other = (
        getattr(each, "best_estimator_", getattr(each, "mixture_", each))
        for each in (found, expected)
    )
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-11, atol=1e-11)
    assert one.n_iter_ == other.n_iter_
    if kind == "detector":
        assert_allclose(found.offset_, expected.offset_, rtol=1e-12)
    if kind == "transformer":
        assert_allclose(found.transform(rows).sum(axis=1), 1.0)


def test_minibatches_are_those_of_a_file(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    kwargs = {"n_components": 3, "batch_size": 300, "random_state": 0, "max_epochs": 2}
    found = quiet(MiniBatchGaussianMixture(**kwargs).fit, chunked(rows))
    expected = quiet(MiniBatchGaussianMixture(**kwargs).fit, tmp_path / "rows.npy")
    assert_array_equal(found.means_, expected.means_)


def test_criteria_of_a_search(rows):
    for criterion in ("bic", "icl"):
        search = MixtureSearch([2, 3], structures=["full", "diag"], criterion=criterion)
        found = search.set_params(random_state=0).fit(chunked(rows))
        assert found.best_params_["n_components"] == 3
        expected = found.best_estimator_.bic(rows)
        assert_allclose(found.best_estimator_.bic(chunked(rows)), expected, rtol=1e-12)


@pytest.mark.parametrize("init_params", ["kmeans", "hierarchical"])
def test_a_search_by_rows_that_are_held_out(rows, init_params, monkeypatch):
    monkeypatch.setattr(data_scan, "SMALLEST_SAMPLE", 500)
    monkeypatch.setattr(data_scan, "ROWS_PER_PARAMETER", 10)
    monkeypatch.setattr(mixture_search, "MOST_AGGLOMERATED", 200)
    how = {"structures": ["diag"], "criterion": "log_likelihood", "init_params": init_params}
    search = MixtureSearch([2, 3], cv=3, random_state=0, **how)
    expected = search.fit(rows).best_score_
    found = search.fit(chunked(rows))
    assert found.best_params_["n_components"] == 3
    assert_allclose(found.best_score_, expected, atol=0.02)
    with pytest.raises(ValueError, match="or a Dask collection and a number of folds, cv"):
        search.set_params(cv=KFold(3)).fit(chunked(rows))


@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
def test_centers_of_many_components_are_drawn_from_all_rows(rows, kind, monkeypatch):
    monkeypatch.setattr(kmeans, "_MANY_CLUSTERS", 3)
    drawn = []

    def watched(*args, **more):
        drawn.append(kmeans.scalable_centers(*args, **more))
        return drawn[-1]

    monkeypatch.setattr(methods, "scalable_centers", watched)
    quiet(kind(3, random_state=0).fit, chunked(rows))
    assert_allclose(drawn[0][np.lexsort(np.rint(drawn[0]).T)], CENTERS, atol=0.3)
    quiet(kind(2, random_state=0).fit, chunked(rows))
    quiet(kind(3, random_state=0).fit, rows)
    quiet(kind(3, random_state=0, init_params="random").fit, chunked(rows))
    assert len(drawn) == 1


@pytest.mark.parametrize("missing", [False, True])
def test_known_components(rows, missing):
    X = rows.copy()
    if missing:
        X[np.random.default_rng(3).random(X.shape) < 0.1] = np.nan
        X[5] = np.nan
    nearest = ((rows[:, None] - CENTERS) ** 2).sum(axis=2).argmin(axis=1)
    y = np.where(np.arange(len(rows)) % 3 == 0, nearest, -1)
    kwargs = {"semi_supervised": True, "tol": 0, "max_iter": 200, "random_state": 0}
    if missing:
        kwargs = {**kwargs, "missing": "model", "tol": 1e-9}
    mixture = GaussianMixture(3, **kwargs)
    expected = quiet(mixture.fit, X, y).means_
    rtol = 1e-3 if missing else 1e-9  # other draws in place of what is missing
    assert_allclose(
        quiet(mixture.fit, chunked(X), chunked(y)).means_, expected, rtol=rtol, atol=rtol
    )
    table = pd.DataFrame(X, columns=["a", "b"]).assign(k=y)
    frame = dd.from_pandas(table, npartitions=4)
    assert_allclose(quiet(mixture.fit, frame, "k").means_, expected, rtol=rtol, atol=rtol)
    beside = quiet(mixture.fit, frame[["a", "b"]], frame["k"]).means_
    assert_allclose(beside, expected, rtol=rtol, atol=rtol)
    with pytest.raises(ValueError, match=r"partition 2 .* from 0 to n_components - 1 = 2,.*7 in"):
        mixture.fit(chunked(X), chunked(np.where(np.arange(len(X)) == 1000, 7, y)))
    with pytest.raises(ValueError, match=r"labels_init .* Dask collection: start from means_init"):
        GaussianMixture(3, labels_init=y).fit(chunked(rows))


def test_noise_and_priors(rows):
    for kwargs in ({"noise_volume": "auto"}, {"priors": "mclust"}):
        mixture = GaussianMixture(
            3, means_init=CENTERS, weights_init=np.full(3, 1 / 3), max_iter=500, tol=0, **kwargs
        )
        mixture.set_params(precisions_init=np.array([np.eye(2)] * 3))
        expected = quiet(mixture.fit, rows)
        means, covariances = expected.means_, expected.covariances_
        found = quiet(mixture.fit, chunked(rows))
        assert_allclose(found.means_, means, rtol=1e-10, atol=1e-10)
        assert_allclose(found.covariances_, covariances, rtol=1e-10)


def test_a_fit_resumes_from_a_checkpoint(rows, tmp_path):
    start = {"means_init": CENTERS, "tol": 0, "random_state": 0, "checkpoint": tmp_path / "c"}
    whole = quiet(
        GaussianMixture(3, max_iter=9, **{**start, "checkpoint": None}).fit, chunked(rows)
    )
    mixture = GaussianMixture(3, max_iter=9, checkpoint_interval=0, **start)
    states = []

    class Stop:
        def __init__(self):
            self.left = 4

        def __call__(self, *_):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    original = ArraySource.blocks
    stop = Stop()

    def blocks(self):
        if len(states) == 40:
            stop.left = 1
            stop()
        states.append(None)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        import dask

        patch.setattr(ArraySource, "blocks", blocks)
        with dask.config.set(scheduler="synchronous"), pytest.raises(KeyboardInterrupt):
            quiet(mixture.fit, chunked(rows))
    resumed = quiet(mixture.set_params(resume=True).fit, chunked(rows))
    assert_array_equal(resumed.means_, whole.means_)
    with pytest.raises(ValueError, match="checkpoint"):
        mixture.fit(chunked(rows + 1.0))


@pytest.mark.parametrize("most_kept", [2**20, 100])
def test_thresholds_are_those_of_the_rows_in_memory(rows, weights, most_kept, monkeypatch):
    for function in (quantiles.go_through, quantiles.both_intervals):
        more = {**function.__kwdefaults__, "most_kept": most_kept}
        monkeypatch.setattr(function, "__kwdefaults__", more)
    start = {"random_state": 0, "tol": 1e-12, "max_iter": 2000}
    detector = GaussianMixtureOutlierDetector(1, contamination=0.03, **start)
    expected = detector.fit(rows, None, weights)
    offset, recent = expected.offset_, expected._recent.cut(0.2)
    found = detector.fit(chunked(rows), None, chunked(weights))
    assert_allclose(found.offset_, offset, rtol=1e-12)
    assert_allclose(found._recent.cut(0.2), recent, rtol=1e-12)


def test_operating_points_are_those_of_the_rows_in_memory(rows, weights, monkeypatch):
    random = np.random.default_rng(4)
    y = np.where(random.random(len(rows)) < 0.1, -1, 1)
    X = rows + (y == -1)[:, None] * random.normal(scale=4.0, size=rows.shape)
    detector = GaussianMixtureOutlierDetector(3, random_state=0).fit(rows)
    for target in ({}, {"target": "precision", "value": 0.8}):
        expected = detector.choose_threshold(X, y, sample_weight=weights, **target)
        found = detector.choose_threshold(
            chunked(X), chunked(y), sample_weight=chunked(weights), **target
        )
        for name in ("offset", "precision", "recall", "f1", "roc_auc", "average_precision"):
            assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)
    monkeypatch.setattr(score_thresholds, "_MOST_SCORES", 100)
    found = detector.operating_point(chunked(X), chunked(y))
    assert len(found.offsets) <= 202
    assert_allclose(found.roc_auc, detector.operating_point(X, y).roc_auc, atol=0.02)
    with pytest.raises(ValueError, match=r"-1 for outliers and 1 for inliers.*got the labels"):
        detector.operating_point(chunked(X), chunked(np.arange(len(X))))
    with pytest.raises(ValueError, match="no label for a row of partition 2"):
        detector.operating_point(chunked(X), chunked(np.where(np.arange(len(X)) == 999, np.nan, y)))


def test_targets_are_columns_of_a_table(rows):
    y = np.sin(rows[:, 0]) + rows[:, 1]
    table = pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "y": y})
    frame = dd.from_pandas(table, npartitions=4)
    kwargs = {"n_components": 3, "random_state": 0, "tol": 1e-9, "max_iter": 1000}
    found = quiet(GaussianMixtureRegressor(**kwargs).fit, frame, "y")
    inputs = frame[["a", "b"]]
    predicted = found.predict(inputs)
    assert isinstance(predicted, dd.Series)
    assert_allclose(predicted.compute(), found.predict(table[["a", "b"]]), rtol=1e-12)
    assert_allclose(found.score(frame, "y"), found.score(table, "y"), rtol=1e-12)
    densities = found.log_density(frame, "y")
    assert isinstance(densities, dd.Series)
    assert_array_equal(densities.compute(), found.log_density(table, "y"))
    draws = found.sample_y(inputs, 4, random_state=1).compute().to_numpy()
    assert draws.shape == (len(rows), 4)
    assert_allclose(draws.mean(), y.mean(), atol=0.1)
    size = len(frame.partitions[0])
    own = found.sample_y(table[["a", "b"]][:size], 4, random_state=1)
    assert_array_equal(draws[:size], own)
    assert len(np.unique(draws)) == draws.size  # each partition has draws of its own
    with pytest.raises(TypeError, match="targets in a column: name it"):
        found.log_density(inputs, y)
    with pytest.raises(TypeError, match="targets in a column: name it"):
        GaussianMixtureRegressor().fit(chunked(rows), y)


@pytest.mark.parametrize("as_table", [False, True])
@pytest.mark.parametrize("model", ["single", "mixtures", "common"])
def test_classifier(rows, weights, model, as_table):
    distances = ((rows[:, None] - CENTERS) ** 2).sum(axis=2)
    y = np.array(["left", "right", "top"])[distances.argmin(axis=1)]
    kwargs = {
        "single": {"reject_below": 0.01, "class_weight": "balanced"},
        "mixtures": {"n_components": 2, "common_structure": False, "random_state": 0},
        "common": {"semi_supervised": True, "random_state": 0, "max_iter": 500, "tol": 1e-9},
    }[model]
    if model == "common":
        y = np.where(np.arange(len(y)) % 3 == 0, "-1", y)
    classifier = GaussianMixtureClassifier(**kwargs)
    expected = quiet(classifier.fit, rows, y, weights)
    means = [each.means_ for each in expected.mixtures_]
    levels = getattr(expected, "reject_below_", None)
    if as_table:
        known = np.where(y == "-1", None, y)
        table = pd.DataFrame(rows, columns=["a", "b"]).assign(w=weights, y=known)
        frame = dd.from_pandas(table, npartitions=4)
        found = quiet(classifier.fit, frame, "y", "w")
        inputs, judged = frame[["a", "b"]], (frame[["a", "b", "y"]], "y")
        local = table[["a", "b"]], (table[["a", "b", "y"]], "y")
    else:
        found = quiet(classifier.fit, chunked(rows), chunked(y), chunked(weights))
        inputs, judged = chunked(rows), (chunked(rows), chunked(y))
        local = rows, (rows, y)
    assert_array_equal(found.classes_, ["left", "right", "top"])
    if model != "mixtures":  # which start from samples of their own
        for one, other in zip(found.mixtures_, means, strict=True):
            assert_allclose(one.means_, other, rtol=1e-9, atol=1e-9)
    if model == "single":
        assert_allclose(found.reject_below_, levels, rtol=1e-9)
    predicted = found.predict(inputs)
    assert_array_equal(predicted.compute(), found.predict(local[0]))
    if model != "common":
        assert_allclose(found.score(*judged), found.score(*local[1]), rtol=1e-12)
        temperature = found.calibrate(*judged).temperature_
        assert_allclose(temperature, found.calibrate(*local[1]).temperature_, rtol=1e-6)


def test_classes_that_cannot_be_used(rows):
    X, y = chunked(rows), np.where(rows[:, 0] > 3, 1.0, 0.0)
    broken = np.where(np.arange(len(y)) == 1000, np.nan, y)
    with pytest.raises(ValueError, match="y contains NaN or nothing in partition 2 of"):
        GaussianMixtureClassifier().fit(X, chunked(broken))
    fitted = GaussianMixtureClassifier().fit(X, chunked(y))
    with pytest.raises(TypeError, match=r"^y of a Dask collection must be a Dask array"):
        fitted.score(X, y)
    with pytest.raises(ValueError, match="classes"):
        fitted.calibrate(X, chunked(y + 1))
    with pytest.raises(ValueError, match="requires y to be passed"):
        GaussianMixtureClassifier().fit(X, None)


def test_model_selection_of_scikit_learn_is_refused(rows):
    search = GridSearchCV(GaussianMixture(), {"n_components": [1, 2]})
    frame = dd.from_pandas(pd.DataFrame(rows, columns=["a", "b"]), npartitions=4)
    scaled = make_pipeline(StandardScaler(), GaussianMixture())
    for X in (chunked(rows), frame):
        with pytest.raises(NotImplementedError, match="use MixtureSearch"):
            search.fit(X)
        for estimator in (scaled, KMeans(3), GaussianMixtureTransformer()):
            with pytest.raises(NotImplementedError, match="use MixtureSearch"):
                cross_val_score(estimator, X, scoring=lambda *_: 0.0)
