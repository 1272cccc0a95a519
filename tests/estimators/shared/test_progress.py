"""Lines on the terminal and scikit-learn's callbacks during a fit."""

import re

import numpy as np
import pytest
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastgmm import GaussianMixture


def rows():
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=2.0, size=(3, 4))
    return centers[rng.integers(3, size=400)] + rng.normal(size=(400, 4))


# The names of the hooks' parameters are the protocol's.
# ruff: noqa: ARG002


class Recorder:
    """A callback that keeps what it sees and may ask to stop."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.events = []
        self.fitted = []
        self.seen = {}

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.events.append(("end", context.task_name, context.task_id))
        self.seen = {"X": X, "y": y, "metadata": metadata}
        if fitted_estimator is not None:
            self.fitted.append((context.task_name, fitted_estimator))
        return (context.task_name, context.task_id) == self.stop_at

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name, None))


def fit_with(callback, n_iter=None, **options):
    options = {"random_state": 0, "tol": 1e-6, **options}
    mixture = GaussianMixture(3, **options).set_callbacks(callback)
    if n_iter is not None:
        mixture.set_params(max_iter=n_iter, tol=0.0)
    return mixture.fit(rows())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_callbacks_see_a_tree_of_starts_and_iterations():
    recorder = Recorder()
    fit_with(recorder, 2, n_init=2)
    iterations = [
        event
        for number in range(2)
        for event in (("begin", "iteration", number), ("end", "iteration", number))
    ]
    assert recorder.events == [
        ("setup", "fit", 2),
        ("begin", "fit", 0),
        ("begin", "initialization", 0),
        *iterations,
        ("end", "initialization", 0),
        ("begin", "initialization", 1),
        *iterations,
        ("end", "initialization", 1),
        ("end", "fit", 0),
        ("teardown", "fit", None),
    ]


@pytest.fixture
def rises_count_only_if_large(monkeypatch):
    """Make EM stop as it does where no step raises the log-likelihood."""
    monkeypatch.setattr("fastgmm.em.problem.ROUNDING", {8: -1e-4})


def tasks(events, kind):
    return sorted(event[1:] for event in events if event[0] == kind)


@pytest.mark.parametrize("options", [{}, {"max_iter": 0}, {"n_init": 3}])
def test_every_task_that_begins_ends(options):
    recorder = Recorder()
    mixture = fit_with(recorder, **options)
    assert tasks(recorder.events, "begin") == tasks(recorder.events, "end")
    iterations = [each for each in tasks(recorder.events, "end") if each[0] == "iteration"]
    assert len(iterations) >= mixture.n_iter_


@pytest.mark.usefixtures("rises_count_only_if_large")
def test_every_task_ends_in_a_fit_that_stops_before_the_tolerance():
    recorder = Recorder()
    mixture = fit_with(recorder, tol=0.0)
    assert mixture.fit_info_.reason == "rounding"
    assert tasks(recorder.events, "begin") == tasks(recorder.events, "end")


def test_callbacks_see_the_mixture_as_it_is():
    X = rows()
    recorder = Recorder()
    mixture = fit_with(recorder)
    scores = [each.score(X) for name, each in recorder.fitted if name == "iteration"]
    assert_allclose(scores, mixture.lower_bounds_, rtol=1e-12)
    last = dict(recorder.fitted)["fit"]
    assert_array_equal(last.means_, mixture.means_)
    assert last.n_iter_ == mixture.n_iter_


def test_callbacks_see_the_rows_and_weights():
    X, weights = rows(), np.linspace(1, 2, 400)
    recorder = Recorder()
    labels = np.arange(400) % 2
    GaussianMixture().set_callbacks(recorder).fit(X, labels, sample_weight=weights)
    assert recorder.seen["X"] is X
    assert recorder.seen["y"] is labels
    assert_array_equal(recorder.seen["metadata"]["sample_weight"], weights)


@pytest.mark.parametrize("n_init", [1, 3])
def test_a_callback_can_stop_the_fit(n_init):
    recorder = Recorder(stop_at=("iteration", 2))
    mixture = fit_with(recorder, tol=0.0, n_init=n_init)
    assert mixture.n_iter_ == 3
    assert not mixture.converged_
    assert mixture.fit_info_.reason == "callback"
    assert ("begin", "initialization", 1) not in recorder.events
    assert ("end", "fit", 0) in recorder.events


def test_an_error_in_a_callback_ends_the_fit_and_tears_it_down():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("no more")

    recorder = Failing()
    with pytest.raises(RuntimeError, match="no more"):
        fit_with(recorder)
    assert recorder.events[-1][0] == "teardown"


def test_fit_predict_and_warm_starts_call_them_too():
    recorder = Recorder()
    mixture = GaussianMixture(3, random_state=0, warm_start=True).set_callbacks(recorder)
    mixture.fit_predict(rows())
    n_events = len(recorder.events)
    mixture.fit(rows())
    assert ("begin", "iteration", 0) in recorder.events[n_events:]


def test_something_else_is_no_callback():
    with pytest.raises(TypeError, match="FitCallback"):
        GaussianMixture().set_callbacks(print)


@pytest.fixture
def theirs():
    """The callbacks that scikit-learn has, from 1.9 on."""
    return pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 brought callbacks")


def test_the_progress_bar_of_scikit_learn(theirs, capsys):
    fit_with(theirs.ProgressBar(max_propagation_depth=None), n_init=2)
    shown = capsys.readouterr().out
    assert "GaussianMixture" in shown
    assert "100%" in shown


def test_the_scoring_monitor_of_scikit_learn(theirs):
    monitor = theirs.ScoringMonitor(scoring={"score": lambda mixture, X, _: mixture.score(X)})
    mixture = GaussianMixture(3, random_state=0, tol=1e-6).set_callbacks(monitor)
    X = rows()
    mixture.fit(X, np.zeros(len(X)))
    scores = [
        entry["score"] for entry in monitor.get_logs().data if entry["task_name"] == "iteration"
    ]
    assert_allclose(scores, mixture.lower_bounds_)


@pytest.mark.usefixtures("theirs")
def test_callbacks_come_down_from_meta_estimators():
    class Recording(Recorder):
        max_propagation_depth = None

    recorder = Recording()
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0))
    pipeline.set_callbacks(recorder).fit(rows())
    assert ("begin", "iteration", 0) in recorder.events


@pytest.mark.usefixtures("theirs")
def test_clones_keep_the_callbacks():
    recorder = Recorder()
    clone(GaussianMixture().set_callbacks(recorder)).fit(rows())
    assert ("end", "fit", 0) in recorder.events


def test_grid_search_with_callbacks_on_it(theirs, capsys):
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 2]}, cv=2)
    search.set_callbacks(theirs.ProgressBar()).fit(rows())
    assert search.best_params_["n_components"] in (1, 2)
    assert "GridSearchCV" in capsys.readouterr().out


def printed(cls, capsys, **options):
    """Return what a fit prints, with times and differences in the last digit taken out."""
    with pytest.warns(ConvergenceWarning):
        cls(3, random_state=0, **options).fit(rows())
    return re.sub(r"\d+\.\d+s", "SECONDS", capsys.readouterr().out)


@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose_fits_print_what_scikit_learn_prints(verbose, capsys):
    X = rows()
    options = {
        "verbose": verbose,
        "verbose_interval": 2,
        "max_iter": 5,
        "tol": 0.0,
        "n_init": 2,
        "weights_init": [0.3, 0.3, 0.4],
        "means_init": X[:3],
        "precisions_init": np.repeat(np.eye(4)[None], 3, axis=0),
    }
    ours = printed(GaussianMixture, capsys, **options)
    theirs = printed(sklearn.mixture.GaussianMixture, capsys, **options)
    assert ours == theirs


def test_a_converged_fit_says_so(capsys):
    GaussianMixture(3, random_state=0, verbose=1).fit(rows())
    assert "Initialization converged." in capsys.readouterr().out


@pytest.mark.usefixtures("rises_count_only_if_large")
def test_a_fit_that_stops_before_the_tolerance_says_so(capsys):
    mixture = GaussianMixture(3, random_state=0, tol=0.0, verbose=1).fit(rows())
    assert mixture.converged_
    assert "Initialization converged." in capsys.readouterr().out


def test_a_start_from_a_subsample_says_so(capsys):
    X = np.random.default_rng(0).normal(size=(30_000, 2))
    mixture = GaussianMixture(2, random_state=0, verbose=1).fit(X)
    found = mixture.fit_info_.initialization
    assert found.subsampled
    assert f"from a random subsample of {found.n_rows} rows" in capsys.readouterr().out


def test_a_quiet_fit_prints_nothing(capsys):
    GaussianMixture(3, random_state=0).fit(rows())
    assert capsys.readouterr().out == ""


def test_callbacks_can_follow_the_log_likelihood():
    recorder = Recorder()
    mixture = fit_with(recorder)
    traces = [fitted.trace_ for name, fitted in recorder.fitted if name == "iteration"]
    for number, trace in enumerate(traces, start=1):
        assert_array_equal(trace, mixture.trace_[:number])
