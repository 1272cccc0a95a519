"""`partial_fit` and `MiniBatchGaussianMixture` as users see them."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as ScikitLearnMixture

import fastgmm
from fastgmm import DegenerateComponentWarning, GaussianMixture, MiniBatchGaussianMixture
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.loop import Progress
from fastgmm.em.online.minibatch import MinibatchPlan, batch_rows, fit_minibatch
from fastgmm.em.online.start import OnlineStart, begin_online
from fastgmm.estimators import minibatch
from fastgmm.io import model_file as persistence
from fastgmm.io.checkpoint import CheckpointError
from fastgmm.mixture.structures import structure

DESCRIBING = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
both_classes = pytest.mark.parametrize("kind", [GaussianMixture, MiniBatchGaussianMixture])


def rows(n_rows=2000, seed=0, distance=6.0):
    """Return rows of two groups, a third of them in the first, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n_rows) > 1 / 3
    return rng.normal(size=(n_rows, 2)) + distance * labels[:, None]


def assert_same(left, right):
    for name in (*DESCRIBING, "lower_bound_", "n_samples_seen_", "n_steps_"):
        assert_array_equal(getattr(left, name), getattr(right, name))


def in_batches(X, size):
    return lambda: (X[first : first + size] for first in range(0, len(X), size))


@both_classes
def test_rows_are_kept_until_they_are_enough(kind):
    X = rows()
    mixture = kind(2, random_state=0)
    for first in range(59):
        mixture.partial_fit(X[first : first + 1])
    with pytest.raises(NotFittedError, match="it waits with 59 rows for 60 to begin with"):
        mixture.predict(X)
    mixture.partial_fit(X[59:60])
    assert mixture.predict(X).shape == (2000,)
    assert mixture.n_samples_seen_ == 60
    assert mixture.n_steps_ == 0
    at_once = kind(2, random_state=0).partial_fit(X[:60])
    assert_same(mixture, at_once)


def test_copies_of_a_few_rows_and_rows_without_weight_are_not_enough():
    mixture = GaussianMixture(2, random_state=0)
    mixture.partial_fit(np.ones((100, 2)))
    with pytest.raises(NotFittedError, match=r"waits with 100 rows for 200 .* 2 of them different"):
        mixture.score(np.ones((3, 2)))
    mixture.partial_fit(rows(100))
    assert mixture.n_samples_seen_ == 200
    weighted = GaussianMixture(2, random_state=0)
    weighted.partial_fit(rows(100), sample_weight=np.arange(100) < 50)
    assert not hasattr(weighted, "means_")
    weighted.partial_fit(rows(100, seed=1))
    assert weighted.n_samples_seen_ == 150


def test_what_waits_is_a_copy():
    X = rows(60)
    mixture = GaussianMixture(2, random_state=0)
    room = np.empty((1, 2))
    for row in X:
        room[:] = row
        mixture.partial_fit(room)
    assert_same(mixture, GaussianMixture(2, random_state=0).partial_fit(X))


@both_classes
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "tied_diag"])
def test_a_stream_is_learned(kind, covariance_type):
    X = rows(6000)
    mixture = kind(2, covariance_type=covariance_type, random_state=0, averaging=True)
    for first in range(0, 6000, 50):
        assert mixture.partial_fit(X[first : first + 50]) is mixture
    assert_allclose(np.sort(mixture.means_[:, 0]), [0.0, 6.0], atol=0.1)
    assert_allclose(np.sort(mixture.weights_), [1 / 3, 2 / 3], atol=0.03)
    assert mixture.n_samples_seen_ == 6000
    assert mixture.n_steps_ == mixture.n_iter_ == 118
    assert_allclose(mixture.lower_bound_, mixture.score(rows(20_000, seed=1)), atol=0.1)
    assert not hasattr(mixture, "trace_")


def test_rows_of_a_function_of_batches_are_learned_in_order():
    size = batch_rows(2, 2, None)
    X = rows(2 * size + 1000)
    parts = GaussianMixture(2, random_state=0)
    parts.partial_fit(X[:size]).partial_fit(X[size : 2 * size]).partial_fit(X[2 * size :])
    once = GaussianMixture(2, random_state=0).partial_fit(in_batches(X, 77_777))
    assert_same(parts, once)
    iterator = GaussianMixture(2, random_state=0).partial_fit(in_batches(X, 15_000)())
    assert_same(parts, iterator)


def test_a_fitted_mixture_continues_and_counts_as_one_batch():
    X = rows(3000)
    mixture = GaussianMixture(2, random_state=0, step_exponent=1.0, step_offset=0.0).fit(X[:1000])
    before = mixture.means_
    mixture.partial_fit(X[1000:2000])
    alone = GaussianMixture(2, means_init=before, random_state=0).fit(X[1000:2000])
    assert_allclose(mixture.means_, (before + alone.means_) / 2, atol=0.02)
    assert mixture.n_samples_seen_ == 1000
    assert not hasattr(mixture, "fit_info_")
    assert not mixture.converged_


def test_a_new_fit_or_new_attributes_take_the_place_of_what_was_learned():
    X = rows(3000)
    fitted = GaussianMixture(2, random_state=0).fit(X[:1000])
    fresh = clone(fitted).fit(X[:1000]).partial_fit(X[1000:])
    again = clone(fitted).partial_fit(X + 100.0)
    again.fit(X[:1000])
    assert not hasattr(again, "n_samples_seen_")
    again.partial_fit(X[1000:])
    assert_same(again, fresh)
    by_hand = clone(fitted).partial_fit(X + 100.0)
    for name in DESCRIBING:
        setattr(by_hand, name, getattr(fitted, name))
    by_hand.partial_fit(X[1000:])
    assert_same(by_hand, fresh)


def test_parameters_written_into_take_the_place_of_what_was_learned():
    X = rows(1000)
    mixture = GaussianMixture(2, random_state=0).partial_fit(X)
    mixture.means_ += 100.0
    mixture.partial_fit(X[:100] + 100.0)
    assert mixture.n_samples_seen_ == 100
    assert mixture.means_.min() > 90.0


def test_rows_of_a_stream_that_have_no_weight_are_passed_over(monkeypatch):
    monkeypatch.setattr("fastgmm.estimators.shared.online.batch_rows", lambda *_: 100)
    X = rows(500)

    def parts():
        yield X[:200], np.zeros(200)
        yield X[200:], np.ones(300)

    mixture = GaussianMixture(2, random_state=0).fit(X)
    streamed = clone(mixture).fit(X).partial_fit(parts)
    for first in (200, 300, 400):
        mixture.partial_fit(X[first : first + 100], sample_weight=np.ones(100))
    assert_same(streamed, mixture)


def test_a_mixture_put_together_by_hand_learns():
    mixture = GaussianMixture(2)
    mixture.weights_ = np.array([0.5, 0.5])
    mixture.means_ = np.array([[1.0, 1.0], [5.0, 5.0]])
    mixture.precisions_cholesky_ = np.array([np.eye(2)] * 2)
    mixture.partial_fit(rows(5000)).partial_fit(rows(5000, seed=1))
    assert_allclose(np.sort(mixture.means_[:, 0]), [0.0, 6.0], atol=0.5)


@both_classes
@pytest.mark.parametrize("way", ["pickle", "file"])
@pytest.mark.parametrize("averaging", [False, True])
def test_a_copy_continues_to_the_last_bit(kind, way, averaging, tmp_path):
    X = rows(3000).astype(np.float32)
    mixture = kind(2, random_state=0, averaging=averaging)
    mixture.partial_fit(X[:500]).partial_fit(X[500:600])
    if way == "pickle":
        copied = pickle.loads(pickle.dumps(mixture))
    else:
        mixture.save(tmp_path / "mixture.fgm")
        copied = fastgmm.load(tmp_path / "mixture.fgm")
    assert type(copied) is kind
    assert copied.get_params() == mixture.get_params()
    assert_same(copied, mixture)
    for each in (mixture, copied):
        each.partial_fit(X[600:1000]).partial_fit(X[1000:1001])
    assert_same(copied, mixture)
    assert mixture.means_.dtype == np.float64


def test_rows_that_wait_are_pickled():
    X = rows(100)
    mixture = GaussianMixture(2, random_state=0).partial_fit(X[:30])
    copied = pickle.loads(pickle.dumps(mixture))
    assert_same(mixture.partial_fit(X[30:]), copied.partial_fit(X[30:]))


def test_a_file_without_its_online_state_is_damaged(tmp_path):
    path = tmp_path / "mixture.fgm"
    GaussianMixture(2, random_state=0).partial_fit(rows()).save(path)
    stored = persistence.load(path)
    del stored.arrays["online_amounts"]
    persistence.save(path, stored.model_class, stored.values, stored.arrays)
    with pytest.raises(persistence.ModelFileError, match="'online_amounts' is missing"):
        fastgmm.load(path)


@both_classes
def test_rows_of_another_width_or_a_mixture_of_another_size(kind):
    X = rows()
    mixture = kind(2, random_state=0).partial_fit(X[:10])
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 2"):
        mixture.partial_fit(np.ones((10, 3)))
    mixture.partial_fit(X)
    before = mixture.means_
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 2"):
        mixture.partial_fit(np.ones((10, 3)))
    mixture.set_params(n_components=3)
    with pytest.raises(ValueError, match=r"fit continues from means_ of shape \(2, 2\).*use"):
        mixture.partial_fit(X)
    mixture.set_params(n_components=2, covariance_type="diag")
    with pytest.raises(
        ValueError, match="was fitted with covariance_type='full', and 'diag' cannot continue"
    ):
        mixture.partial_fit(X)
    assert mixture.means_ is before


def test_a_bad_batch_leaves_the_model_unchanged():
    X = rows()
    mixture = GaussianMixture(2, random_state=0).partial_fit(X)
    untouched = pickle.loads(pickle.dumps(mixture))
    with pytest.raises(ValueError, match="impossibly far"):
        mixture.partial_fit(np.array([[1e200, 0.0]]))
    with pytest.raises(ValueError, match="NaN"):
        mixture.partial_fit(np.array([[np.nan, 0.0]]))
    assert_same(mixture.partial_fit(X[:100]), untouched.partial_fit(X[:100]))


def test_a_degenerate_component_is_reported_once():
    X = rows()
    X[:1000] = 50.0
    mixture = GaussianMixture(2, random_state=0, n_init=5)
    with pytest.warns(DegenerateComponentWarning, match="lost its spread"):
        mixture.partial_fit(X)
    mixture.partial_fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"step_exponent": 0.5}, "'step_exponent'"),
        ({"step_offset": -1.0}, "'step_offset'"),
        ({"forgetting": 0.0}, "'forgetting'"),
        ({"averaging": "yes"}, "'averaging'"),
        ({"batch_size": 0}, "'batch_size'"),
        ({"batch_size": "large"}, "'batch_size'"),
        ({"max_epochs": 0}, "'max_epochs'"),
        ({"validation_fraction": 0.6}, "'validation_fraction'"),
        ({"n_iter_no_change": 0}, "'n_iter_no_change'"),
    ],
)
def test_parameters_are_checked(parameters, message):
    with pytest.raises(ValueError, match=message):
        MiniBatchGaussianMixture(**parameters).fit(rows(100))


def test_a_stream_that_drifts_is_followed_with_forgetting_alone():
    following = GaussianMixture(2, random_state=0, forgetting=0.3)
    standing = GaussianMixture(2, random_state=0, step_exponent=1.0)
    for number in range(150):
        X = rows(200, seed=number) + 0.2 * number
        following.partial_fit(X)
        standing.partial_fit(X)
    now = rows(5000, seed=999) + 0.2 * 149
    best = GaussianMixture(2, random_state=0).fit(now).score(now)
    assert following.score(now) > best - 0.3
    assert standing.score(now) < best - 2.0


def test_fit_reaches_the_optimum_of_batch_em():
    X = rows(100_000, distance=3.0)
    mixture = MiniBatchGaussianMixture(2, max_epochs=1, random_state=0).fit(X)
    best = GaussianMixture(2, tol=1e-7, max_iter=500, random_state=0).fit(X)
    assert best.score(X) - mixture.score(X) < 1e-3 * abs(best.score(X))
    assert mixture.n_epochs_ == mixture.n_iter_ == 1
    assert mixture.n_steps_ == 40
    assert mixture.n_samples_seen_ == 100_000
    assert not mixture.converged_
    assert mixture.validation_scores_.shape == (0,)
    assert mixture.trace_.shape == (2,)
    assert mixture.lower_bounds_ == [mixture.lower_bound_]
    assert mixture.fit_info_.reason == "max_iter"
    assert_allclose(mixture.lower_bound_, mixture.score(X), atol=0.02)


def test_fit_ends_when_the_rows_held_out_no_longer_improve():
    X = rows(20_000)
    mixture = MiniBatchGaussianMixture(2, batch_size=500, random_state=0).fit(X)
    assert mixture.converged_
    assert mixture.n_epochs_ == len(mixture.validation_scores_) < 10
    assert mixture.n_samples_seen_ == 18_000 * mixture.n_epochs_
    assert_array_equal(mixture.trace_[1:], mixture.validation_scores_)
    assert mixture.lower_bounds_[-1] == mixture.lower_bound_
    assert mixture.fit_info_.reason == "tolerance"


def test_a_fit_that_still_improves_says_so():
    with pytest.warns(ConvergenceWarning, match=r"max_epochs=2 epochs still raised .*tol=0"):
        MiniBatchGaussianMixture(2, max_epochs=2, tol=0.0, batch_size=100, random_state=3).fit(
            rows(3000, distance=1.0)
        )


def test_no_rows_are_held_out_without_early_stopping():
    mixture = MiniBatchGaussianMixture(2, max_epochs=3, early_stopping=False, random_state=0)
    mixture.fit(rows(1000))
    assert mixture.n_samples_seen_ == 3000
    assert mixture.validation_scores_.size == 0
    assert len(mixture.trace_) == 4


def test_fit_of_batches_and_of_an_iterator():
    X = rows(30_000)
    mixture = MiniBatchGaussianMixture(2, batch_size=1000, max_epochs=1, random_state=0)
    streamed = clone(mixture).fit(in_batches(X, 700))
    assert_same(streamed, clone(mixture).fit(in_batches(X, 5000)))
    once = clone(mixture).set_params(max_epochs=5).fit(in_batches(X, 5000)())
    assert_same(once, streamed)
    assert once.n_epochs_ == 1


def test_weights_count_as_copies():
    rng = np.random.default_rng(0)
    X, weights = rows(20_000, distance=3.0), rng.integers(0, 4, 20_000)
    options = {"max_epochs": 1, "batch_size": 500, "averaging": True, "random_state": 0}
    weighted = MiniBatchGaussianMixture(2, **options).fit(X, sample_weight=weights)
    repeated = MiniBatchGaussianMixture(2, **options).fit(np.repeat(X, weights, axis=0))
    assert_allclose(np.sort(weighted.means_, axis=0), np.sort(repeated.means_, axis=0), atol=0.05)
    assert weighted.n_samples_seen_ == np.count_nonzero(weights)


def test_a_fit_continues_with_partial_fit():
    X = rows(10_000)
    mixture = MiniBatchGaussianMixture(2, batch_size=500, max_epochs=1, random_state=0).fit(X)
    epoch, moved = mixture.n_samples_seen_, mixture.means_
    mixture.partial_fit(rows(500, seed=1))
    assert mixture.n_samples_seen_ == epoch + 500
    assert 0.0 < np.abs(mixture.means_ - moved).max() < 0.1


def test_the_result_is_the_same_for_a_seed_and_any_number_of_threads():
    X = rows(5000)
    fits = [
        MiniBatchGaussianMixture(2, random_state=0, n_jobs=n_jobs).fit(X) for n_jobs in (None, 1)
    ]
    assert_same(*fits)
    other = MiniBatchGaussianMixture(2, random_state=1).fit(X)
    assert (other.means_ != fits[0].means_).any()


class InterruptError(Exception):
    pass


@pytest.mark.parametrize("streamed", [False, True])
def test_a_fit_that_is_cut_off_after_any_batch_is_resumed_to_the_last_bit(
    streamed, tmp_path, monkeypatch
):
    X = rows(2000)
    options = {"batch_size": 300, "max_epochs": 2, "random_state": 5, "tol": 0.0}
    path = tmp_path / "run.fgm"

    def fit(**parameters):
        mixture = MiniBatchGaussianMixture(2, **options, **parameters)
        return mixture.fit(in_batches(X, 170) if streamed else X)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole = fit()
        original = minibatch._Observer.__call__
        for last in range(1, 18):
            calls = 0

            def interrupted(self, state, last=last):
                nonlocal calls
                result = original(self, state)
                calls += 1
                if calls == last:
                    raise InterruptError
                return result

            monkeypatch.setattr(minibatch._Observer, "__call__", interrupted)
            with pytest.raises(InterruptError):
                fit(checkpoint=path, checkpoint_interval=0.0)
            monkeypatch.setattr(minibatch._Observer, "__call__", original)
            resumed = fit(checkpoint=path, checkpoint_interval=0.0, resume=True)
            assert_same(resumed, whole)
            assert_array_equal(resumed.trace_, whole.trace_)
            path.unlink()


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path):
    path = tmp_path / "run.fgm"
    MiniBatchGaussianMixture(2, random_state=0, checkpoint=path).fit(rows())
    with pytest.raises(CheckpointError, match="batch_size: 'auto' then, 7 now"):
        MiniBatchGaussianMixture(2, random_state=0, checkpoint=path, resume=True, batch_size=7).fit(
            rows()
        )


def test_save_and_load_of_a_fit(tmp_path):
    mixture = MiniBatchGaussianMixture(2, random_state=0, averaging=True).fit(rows())
    mixture.save(tmp_path / "mixture.fgm")
    loaded = fastgmm.load(tmp_path / "mixture.fgm")
    assert type(loaded) is MiniBatchGaussianMixture
    assert_same(loaded, mixture)
    assert_array_equal(loaded.validation_scores_, mixture.validation_scores_)
    assert loaded.fit_info_ == mixture.fit_info_
    assert_same(loaded.partial_fit(rows(100)), mixture.partial_fit(rows(100)))


def test_to_and_from_scikit_learn():
    X = rows()
    mixture = MiniBatchGaussianMixture(2, random_state=0).fit(X)
    converted = mixture.to_sklearn()
    assert isinstance(converted, ScikitLearnMixture)
    assert_allclose(converted.score(X), mixture.score(X))
    back = MiniBatchGaussianMixture.from_sklearn(converted)
    assert_array_equal(back.means_, mixture.means_)
    back.partial_fit(X)


def test_verbose_reports_epochs(capsys):
    MiniBatchGaussianMixture(2, random_state=0, verbose=1).fit(rows())
    shown = capsys.readouterr().out
    assert "  Iteration 1\n" in shown
    assert "Initialization converged." in shown


def test_a_callback_sees_epochs_and_can_end_the_fit():
    class Epochs:
        def __init__(self):
            self.seen = []

        def begin(self, number, parameters):
            self.seen.append((number, parameters.means.shape))

        def iterate(self, progress):
            assert isinstance(progress, Progress)
            self.seen.append(progress.iteration)
            return True

    epochs = Epochs()
    X = rows()
    plan = MinibatchPlan(200, max_epochs=5, sample_rows=500)
    state, reason = fit_minibatch(
        ArraySource(X),
        lambda sample: begin_online(
            sample,
            2,
            structure("full"),
            OnlineStart(1e-6, "auto", np.random.RandomState(0), "k-means++"),
        )[0],
        plan,
        structure("full"),
        observe=minibatch._Observer(None, plan, epochs),
    )
    assert reason == "callback"
    assert state.epoch == 1
    assert epochs.seen == [(0, (2, 2)), 1]
