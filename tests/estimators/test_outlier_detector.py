"""`GaussianMixtureOutlierDetector` as users see it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.base import clone, is_outlier_detector
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as ScikitLearnMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgmm
from fastgmm import GaussianMixture, GaussianMixtureOutlierDetector
from fastgmm.analysis import quantiles
from fastgmm.em.online.steps import StepSchedule
from fastgmm.estimators.shared import score_thresholds
from tests import written_data
from tests.written_data import FORMS, batches, write_parquet


def rows(n_rows=1000, seed=0, distance=6.0):
    """Return rows of two groups, in random order."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, 2)) + distance * rng.integers(2, size=n_rows)[:, None]


def detector(**parameters):
    return GaussianMixtureOutlierDetector(**{"n_components": 2, "random_state": 0, **parameters})


def labeled(n_rows=500, seed=1):
    """Return rows, a tenth of them far out, and labels: -1 for those."""
    X = rows(n_rows, seed)
    y = np.where(np.arange(n_rows) % 10 == 0, -1, 1)
    X[y == -1] += np.random.default_rng(seed).uniform(2.0, 9.0, (np.sum(y == -1), 2)) * [1.0, -1.0]
    return X, y


def test_a_detector_is_the_mixture_and_a_threshold():
    X = rows()
    found = detector(contamination=0.1, covariance_type="diag", tol=1e-5).fit(X)
    mixture = GaussianMixture(2, covariance_type="diag", tol=1e-5, random_state=0).fit(X)
    assert_array_equal(found.mixture_.means_, mixture.means_)
    assert_array_equal(found.score_samples(X), mixture.score_samples(X))
    assert_array_equal(found.decision_function(X), mixture.score_samples(X) - found.offset_)
    assert_array_equal(found.predict(X), np.where(found.decision_function(X) < 0, -1, 1))
    expected = found.predict(X)
    assert_array_equal(found.fit_predict(X), expected)
    assert is_outlier_detector(found)
    assert found.n_features_in_ == 2
    assert found.n_iter_ == mixture.n_iter_


def test_against_scikit_learn():
    X = rows(600)
    theirs = ScikitLearnMixture(2, random_state=0).fit(X)
    found = detector(contamination=0.05).fit(X)
    assert_allclose(found.score_samples(X), theirs.score_samples(X), rtol=1e-3)
    scores = np.sort(theirs.score_samples(X))
    assert scores[29] < found.offset_ < scores[30]


@pytest.mark.parametrize("contamination", [0.001, 0.01, 0.05, 0.29, 0.5])
def test_contamination_is_the_share_of_training_rows(contamination):
    X = rows()
    labels = detector(contamination=contamination).fit_predict(X)
    assert np.sum(labels == -1) == round(1000 * contamination)


def test_so_little_contamination_that_no_row_is_an_outlier():
    assert np.all(detector(contamination=0.0005).fit_predict(rows()) == 1)


def test_weights_are_copies():
    X = rows(300)
    copies = np.random.default_rng(3).integers(0, 4, 300)
    start = {"random_state": 0, "n_components": 1}
    weighted = detector(contamination=0.07, **start).fit(X, sample_weight=copies)
    repeated = detector(contamination=0.07, **start).fit(np.repeat(X, copies, axis=0))
    assert_allclose(weighted.offset_, repeated.offset_, rtol=1e-10)
    assert_array_equal(weighted.predict(X), repeated.predict(X))
    share = copies[weighted.predict(X) == -1].sum() / copies.sum()
    assert 0.06 < share <= 0.07


def test_auto_is_a_level_of_the_mixture():
    X = rows()
    single = GaussianMixtureOutlierDetector().fit(X)
    # The outermost twentieth of a normal distribution in two dimensions: beyond sqrt(2 log 20).
    mean, covariance = single.mixture_.means_[0], single.mixture_.covariances_[0]
    away = mean + np.sqrt(2 * np.log(20)) * np.linalg.cholesky(covariance)[:, 1]
    assert_allclose(single.offset_, multivariate_normal(mean, covariance).logpdf(away))
    double = detector().fit(X)
    assert_allclose(np.mean(double.predict(rows(100_000, 5)) == -1), 0.05, atol=0.01)


def test_float32_rows():
    X = rows().astype(np.float32)
    found = detector(contamination=0.05).fit(X)
    assert found.score_samples(X).dtype == np.float32
    assert found.decision_function(X).dtype == np.float64
    assert np.sum(found.predict(X) == -1) == 50


@pytest.mark.parametrize(
    ("form", "contamination"),
    [
        *(("memory map", "auto"), ("npz", 0.05), ("Parquet folder", "auto"), ("CSV list", 0.05)),
        *(("Arrow stream", "auto"), ("HDF5 dataset", 0.05), ("Zarr 3", 0.05), ("pandas", "auto")),
        *(("polars", 0.05), ("Arrow capsule", "auto"), ("function", 0.05)),
    ],
)
def test_every_form_of_data_gives_the_same(tmp_path, form, contamination):
    X = written_data.rows(3500)
    expected = detector(contamination=contamination).fit(X)
    given = FORMS[form](tmp_path, X)
    found = detector(contamination=contamination).fit(given)
    assert found.offset_ == expected.offset_
    assert_array_equal(found.predict(given), expected.predict(X))


def test_many_rows_are_not_held(tmp_path, monkeypatch):
    X = written_data.rows(5000)
    expected = detector(contamination=0.03, n_components=1).fit(X).offset_
    path = write_parquet(tmp_path / "rows.parquet", X)
    monkeypatch.setattr(score_thresholds, "ROWS_AT_ONCE", 512)
    monkeypatch.setattr(
        quantiles.quantile_cut, "__kwdefaults__", {"most_kept": 100, "observe": None}
    )
    found = detector(contamination=0.03, n_components=1)
    assert found.fit(fastgmm.open_data(path, block_rows=1024)).offset_ == expected


def test_weights_in_a_column(tmp_path):
    X = rows(2000)
    weights = np.random.default_rng(1).uniform(size=2000)
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "w": weights}).to_parquet(path)
    expected = detector(contamination=0.05).fit(X, sample_weight=weights)
    found = detector(contamination=0.05).fit(path, sample_weight="w")
    assert found.offset_ == expected.offset_
    assert_array_equal(found.feature_names_in_, ["a", "b"])
    assert_array_equal(found.predict(path), expected.predict(X))


def test_results_come_in_blocks(tmp_path):
    X = written_data.rows(5000)
    found = detector(contamination=0.05).fit(X)
    path = write_parquet(tmp_path / "rows.parquet", X)
    for name in ("predict", "decision_function", "score_samples"):
        source = fastgmm.open_data(path, block_rows=1024)
        blocks = list(getattr(found, f"{name}_blocks")(source))
        assert len(blocks) > 2
        whole = getattr(found, name)(X)
        assert blocks[0].dtype == whole.dtype
        assert_array_equal(np.concatenate(blocks), whole)
    assert_array_equal(found.predict(batches(X)), found.predict(X))


def test_names_of_columns_are_learned_and_compared():
    table = pd.DataFrame(rows(), columns=["width", "height"])
    found = detector().fit(table)
    assert_array_equal(found.feature_names_in_, ["width", "height"])
    with pytest.raises(ValueError, match="feature names should match"):
        found.predict(table[["height", "width"]])
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixtureOutlierDetector is"):
        detector().fit(rows()).predict(np.zeros((2, 3)))


def test_rows_that_come_only_once_cannot_be_fitted():
    with pytest.raises(
        ValueError, match=r"GaussianMixtureOutlierDetector\.fit reads .* partial_fit"
    ):
        detector().fit(iter([rows()]))


def test_a_failed_fit_leaves_the_detector_as_it_was():
    X = rows()
    found = detector().fit(X)
    offset = found.offset_
    with pytest.raises(ValueError, match="n_samples >= n_components"):
        found.set_params(n_components=2000).fit(X)
    assert found.offset_ == offset
    assert_array_equal(found.predict(X), detector().fit(X).predict(X))


@pytest.mark.parametrize("contamination", [0.0, 0.6, "some"])
def test_impossible_contamination(contamination):
    with pytest.raises(ValueError, match="'contamination' parameter"):
        detector(contamination=contamination).fit(rows())


def test_not_fitted():
    for use in (
        lambda new: new.predict(rows()),
        lambda new: new.score_samples_blocks(rows()),
        lambda new: new.decision_function_blocks(rows()),
        lambda new: new.choose_threshold(*labeled()),
    ):
        with pytest.raises(NotFittedError, match="GaussianMixtureOutlierDetector"):
            use(detector())


def test_in_a_pipeline():
    X = rows()
    pipeline = make_pipeline(StandardScaler(), detector(contamination=0.1)).fit(X)
    assert np.sum(pipeline.predict(X) == -1) == 100


def test_clones_and_pickles():
    X = rows()
    found = detector(contamination=0.1, forgetting=0.9).fit(X)
    found.choose_threshold(*labeled())
    assert clone(found).get_params() == found.get_params()
    assert not hasattr(clone(found), "offset_")
    copy = pickle.loads(pickle.dumps(found))
    assert_array_equal(copy.predict(X), found.predict(X))
    assert copy.operating_point_.f1 == found.operating_point_.f1


def test_a_threshold_chosen_from_labels():
    X, y = labeled()
    found = detector(contamination=0.3).fit(rows())
    point = found.choose_threshold(X, y)
    assert point is found.operating_point_
    assert found.offset_ == point.offset
    predicted = found.predict(X)
    assert_allclose(point.recall, np.mean(predicted[y == -1] == -1))
    assert_allclose(point.precision, np.mean(y[predicted == -1] == -1))
    assert point.f1 > 0.9
    assert found.choose_threshold(X, y == -1, "precision", 1.0).precision == 1.0
    point = found.choose_threshold(X, y, target="false_positive_rate", value=0.02)
    assert np.mean(found.predict(X)[y == 1] == -1) <= 0.02
    assert point.roc_auc > 0.95


def test_what_the_threshold_does_to_other_rows():
    found = detector().fit(rows())
    found.choose_threshold(*labeled())
    chosen = found.offset_
    X, y = labeled(300, seed=7)
    point = found.operating_point(X, y)
    assert (point.offset, point.target) == (chosen, None)
    assert_allclose(point.recall, np.mean(found.predict(X)[y == -1] == -1))
    assert found.operating_point_.target == "f1"


def test_labeled_rows_of_files_and_with_weights(tmp_path):
    X, y = labeled(3000)
    weights = np.random.default_rng(2).integers(0, 3, 3000).astype(float)
    found = detector().fit(rows())
    expected = found.choose_threshold(
        np.repeat(X, weights.astype(int), axis=0), np.repeat(y, weights.astype(int))
    )
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"x0": X[:, 0], "x1": X[:, 1], "w": weights}).to_parquet(path)
    source = fastgmm.open_data(path, weight_column="w", block_rows=1024)
    for point in (
        found.choose_threshold(X, y, sample_weight=weights),
        found.choose_threshold(source, y),
    ):
        assert point.offset == expected.offset
        assert_allclose((point.f1, point.roc_auc), (expected.f1, expected.roc_auc))
    with pytest.raises(ValueError, match="y has 2 labels for the 3000 rows"):
        found.choose_threshold(source, [1, -1])


def test_a_failed_choice_leaves_the_threshold():
    X, y = labeled()
    found = detector().fit(rows())
    offset = found.offset_
    with pytest.raises(ValueError, match="target should be one of"):
        found.choose_threshold(X, y, "recall", 0.5)
    assert found.offset_ == offset
    assert not hasattr(found, "operating_point_")


def test_a_new_fit_forgets_the_choice():
    found = detector().fit(rows())
    automatic = found.offset_
    found.choose_threshold(*labeled())
    found.fit(rows())
    assert found.offset_ == automatic
    assert not hasattr(found, "operating_point_")


@pytest.mark.parametrize("contamination", ["auto", 0.05])
def test_a_stream_is_learned(contamination):
    X = rows(6000)
    found = detector(contamination=contamination)
    found.partial_fit(X[:30])
    with pytest.raises(NotFittedError, match="it waits with 30 rows for 60"):
        found.predict(X)
    for first in range(30, 6000, 70):
        assert found.partial_fit(X[first : first + 70]) is found
    mixture = GaussianMixture(2, random_state=0)
    for first in (0, *range(30, 6000, 70)):
        mixture.partial_fit(X[first : 30 if first == 0 else first + 70])
    assert_array_equal(found.mixture_.means_, mixture.means_)
    assert_allclose(np.mean(found.predict(rows(50_000, 9)) == -1), 0.05, atol=0.01)


def test_the_threshold_is_the_blended_quantile_of_scores_before_learning():
    X, share = rows(2000), 0.1
    found = detector(contamination=share, forgetting=0.9).partial_fit(X[:100])
    mixture = GaussianMixture(2, random_state=0, forgetting=0.9).partial_fit(X[:100])
    scores, masses = [mixture.score_samples(X[:100])], [np.full(100, 0.01)]
    assert np.mean(scores[0] < found.offset_) == share
    time, schedule = 1.0, StepSchedule(forgetting=0.9)
    for first in range(100, 2000, 50):
        batch = X[first : first + 50]
        scores.append(mixture.score_samples(batch))
        # A unit is as many rows as the mixture was begun from.
        step = schedule.step(time, 0.5)
        masses = [(1.0 - step) * each for each in masses]
        masses.append(np.full(50, step / 50))
        time += 0.5
        mixture.partial_fit(batch)
        found.partial_fit(batch)
        below = np.concatenate(scores) < found.offset_
        largest = max(each[0] for each in masses)
        assert share - largest <= np.concatenate(masses)[below].sum() <= share + 1e-9


def test_rows_that_waited_are_in_the_threshold():
    X = rows(60)
    parts = detector(contamination=0.1)
    for row in X:
        parts.partial_fit(row[None])
    assert parts.offset_ == detector(contamination=0.1).partial_fit(X).offset_
    assert np.sum(parts.predict(X) == -1) == 6


@pytest.mark.parametrize("contamination", ["auto", 0.05])
def test_a_drifting_stream_is_followed(contamination):
    rng = np.random.default_rng(0)
    following = detector(contamination=contamination, forgetting=0.5)
    still = detector(contamination=contamination, n_init=2)
    shares, found = [], []
    for shift in np.linspace(0.0, 60.0, 150):
        batch = rows(100, rng.integers(1000)) + np.array([shift, 0.0])
        # One that was never usual, and one that has not been for long.
        far = np.array([[shift + 3.0, -6.0], [shift - 6.0, 0.0]])
        if shift > 1.0:
            shares.append([np.mean(each.predict(batch) == -1) for each in (following, still)])
            found.append([np.all(each.predict(far) == -1) for each in (following, still)])
        following.partial_fit(batch)
        still.partial_fit(batch)
    # Of the rows to come about as many are outliers as should be, and what is one is found.
    assert_allclose(np.mean(shares, axis=0)[0], 0.05, atol=0.03)
    assert np.mean(found, axis=0)[0] == 1.0
    # A detector that never forgets comes to take the whole past for usual.
    assert np.mean(found, axis=0)[1] < 0.5


def test_the_threshold_follows_scores_that_drift():
    rng = np.random.default_rng(1)
    found = {
        c: GaussianMixtureOutlierDetector(contamination=c, forgetting=0.7) for c in (0.01, 0.2)
    }
    # The rows spread more and more, in tails that no normal distribution has.
    for number in range(300):
        batch = np.exp(number / 100) * rng.standard_t(3, size=(200, 2))
        if number == 250:
            before = {c: each.offset_ for c, each in found.items()}
            shares = {c: [] for c in found}
        for c, each in found.items():
            if number >= 250:
                shares[c].append(np.mean(each.predict(batch) == -1))
            each.partial_fit(batch)
    for c, each in found.items():
        assert_allclose(np.mean(shares[c]), c, rtol=0.25)
        assert each.offset_ < before[c] - 0.5


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_a_fitted_detector_continues(contamination):
    X = rows(4000)
    found = detector(contamination=contamination).fit(X[:2000])
    before = found.offset_
    found.partial_fit(X[2000:])
    mixture = GaussianMixture(2, random_state=0).fit(X[:2000])
    old, new = mixture.score_samples(X[:2000]), mixture.score_samples(X[2000:])
    assert_array_equal(found.mixture_.means_, mixture.partial_fit(X[2000:]).means_)
    assert found.offset_ != before
    if contamination != "auto":
        # The rows it was fitted to count as one unit, as they do for the mixture.
        step = StepSchedule().step(1.0, 1.0)
        share = (1 - step) * np.mean(old < found.offset_) + step * np.mean(new < found.offset_)
        assert_allclose(share, 0.1, atol=0.001)


def test_a_chosen_threshold_stays_while_the_mixture_learns():
    X = rows(3000)
    found = detector(contamination=0.1).fit(X[:1000])
    point = found.choose_threshold(*labeled())
    means = found.mixture_.means_
    found.partial_fit(X[1000:])
    assert found.offset_ == point.offset
    assert not np.array_equal(found.mixture_.means_, means)


def test_contamination_that_is_set_later_begins_with_the_next_rows():
    X = rows(3000)
    found = detector().fit(X[:1000])
    found.set_params(contamination=0.1).partial_fit(X[1000:2000])
    mixture = GaussianMixture(2, random_state=0).fit(X[:1000])
    assert np.mean(mixture.score_samples(X[1000:2000]) < found.offset_) == 0.1


def test_streams_of_batches_and_rows_without_weight(monkeypatch):
    monkeypatch.setattr("fastgmm.estimators.shared.online.batch_rows", lambda *_: 500)
    X = rows(3000)
    whole = detector(contamination=0.1)
    for first in range(0, 3000, 500):
        whole.partial_fit(X[first : first + 500])
    assert detector(contamination=0.1).partial_fit(batches(X, 700)).offset_ == whole.offset_
    weights = np.ones(500)
    weightless = pickle.loads(pickle.dumps(whole))
    with pytest.raises(ValueError, match="weight"):
        weightless.partial_fit(X[:500] + 50.0, sample_weight=np.zeros(500))
    assert weightless.offset_ == whole.offset_
    weights[1:] = 0.0
    heavy = pickle.loads(pickle.dumps(whole)).partial_fit(X[:500], sample_weight=weights)
    alone = pickle.loads(pickle.dumps(whole)).partial_fit(X[:1])
    assert_allclose(heavy.offset_, alone.offset_, rtol=1e-6)


def test_a_batch_without_weight_in_a_stream_changes_nothing(monkeypatch):
    monkeypatch.setattr("fastgmm.estimators.shared.online.batch_rows", lambda *_: 1024)
    X, weights = rows(3072), np.ones(3072)
    X[1024:2048] += 40.0
    weights[1024:2048] = 0.0
    found = detector(contamination=0.1).partial_fit(iter([(X, weights)]))
    expected = detector(contamination=0.1)
    for first in (0, 2048):
        expected.partial_fit(X[first : first + 1024])
    assert found.offset_ == expected.offset_


def test_a_failing_batch_leaves_the_model_unchanged():
    X = rows(2000)
    found = detector(contamination=0.1).partial_fit(X)
    before = pickle.loads(pickle.dumps(found))
    with pytest.raises(ValueError, match="impossibly far"):
        found.partial_fit(np.full((10, 2), 1e200))
    assert found.offset_ == before.offset_
    assert_array_equal(found.partial_fit(X).offset_, before.partial_fit(X).offset_)
    with pytest.raises(ValueError, match="3 features"):
        found.partial_fit(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="use fit, or a new estimator"):
        found.set_params(n_components=3).partial_fit(X)
