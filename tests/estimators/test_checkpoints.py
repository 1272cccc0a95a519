"""Fits that are cut off and go on as if they never had been."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgmm import (
    BayesianGaussianMixture,
    ConjugatePriors,
    GaussianMixture,
    MiniBatchGaussianMixture,
    ModelFileError,
)
from fastgmm.data.sources.array import ArraySource
from fastgmm.em import problem as em_problem
from fastgmm.em.stopping import SmallChange
from fastgmm.io.checkpoint import Checkpoint, CheckpointError
from tests.problems import problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_", "trace_")


class CutOffError(Exception):
    """Stands for the end of the process."""


def mixture(path=None, **parameters):
    settings = {"n_components": 3, "random_state": 7, "tol": 1e-4, "max_iter": 8, "n_init": 2}
    settings |= {"checkpoint": path, "checkpoint_interval": 0.0, "resume": True}
    return GaussianMixture(**{**settings, **parameters})


def cut_off_after(monkeypatch, n_passes):
    """Let the pass after so many fail."""
    passes = [0]
    for name in ("mixture_statistics", "log_likelihood"):
        run = getattr(em_problem, name)

        def counted(*arguments, run=run, **options):
            passes[0] += 1
            if passes[0] > n_passes:
                raise CutOffError
            return run(*arguments, **options)

        monkeypatch.setattr(em_problem, name, counted)


def assert_same_fit(one, other):
    for name in ATTRIBUTES:
        assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.n_iter_ == other.n_iter_
    assert one.converged_ == other.converged_
    for name in ("n_passes", "reason", "start", "degeneracies", "initialization"):
        assert getattr(one.fit_info_, name) == getattr(other.fit_info_, name)


def resumed(X, path, monkeypatch, n_passes, **parameters):
    """Fit, cut off after every so many passes, until there is a result."""
    for _ in range(100):
        with monkeypatch.context() as patch:
            cut_off_after(patch, n_passes)
            try:
                return mixture(path, **parameters).fit(X)
            except CutOffError:
                continue
    raise AssertionError("never done")


@pytest.mark.parametrize("n_passes", [1, 2, 3, 5, 11])
@pytest.mark.parametrize("covariance_type", ["full", "diag", "tied"])
def test_a_fit_cut_off_at_any_pass_ends_the_same(tmp_path, monkeypatch, n_passes, covariance_type):
    X = problem("overlapping").X
    whole = mixture(covariance_type=covariance_type).fit(X)
    again = resumed(X, tmp_path / "run.fgm", monkeypatch, n_passes, covariance_type=covariance_type)
    assert_same_fit(again, whole)


@pytest.mark.parametrize("n_passes", [2, 5])
@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_an_accelerated_fit_is_cut_off_between_its_steps(
    tmp_path, monkeypatch, n_passes, covariance_type
):
    X = problem("overlapping").X
    settings = {"covariance_type": covariance_type, "acceleration": "squarem", "n_init": 1}
    settings |= {"tol": 1e-9, "max_iter": 40}
    whole = mixture(**settings).fit(X)
    assert whole.n_iter_ > 8
    again = resumed(X, tmp_path / "run.fgm", monkeypatch, n_passes, **settings)
    assert_same_fit(again, whole)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_priors_and_noise_come_out_the_same_again(tmp_path, monkeypatch, covariance_type):
    X = problem("overlapping").X
    settings = {"covariance_type": covariance_type, "priors": "mclust", "noise_volume": "auto"}
    whole = mixture(**settings).fit(X)
    again = resumed(X, tmp_path / "run.fgm", monkeypatch, 3, **settings)
    assert_same_fit(again, whole)
    assert again.noise_weight_ == whole.noise_weight_
    assert again.noise_log_volume_ == whole.noise_log_volume_
    settings["priors"] = ConjugatePriors(mean_precision=0.5)
    with pytest.raises(CheckpointError, match=r"priors: 'mclust' then, .*'mean_precision': 0\.5"):
        mixture(tmp_path / "run.fgm", **settings).fit(X)
    settings |= {"priors": "mclust", "noise_volume": 3.0}
    with pytest.raises(CheckpointError, match=r"noise_volume: 'auto' then, 3\.0 now"):
        mixture(tmp_path / "run.fgm", **settings).fit(X)


def test_what_is_known_of_rows_is_part_of_a_fit(tmp_path, monkeypatch):
    X = problem("overlapping").X
    y = np.where(np.arange(len(X)) % 5, -1, np.arange(len(X)) % 3)
    settings = {"semi_supervised": True, "n_init": 2}
    whole = mixture(**settings).fit(X, y)
    with monkeypatch.context() as patch:
        cut_off_after(patch, 3)
        with pytest.raises(CutOffError):
            mixture(tmp_path / "run.fgm", **settings).fit(X, y)
    other = np.where(y == 2, 1, y)
    with pytest.raises(CheckpointError, match=r"fit with other data .*y: .* then, .* now"):
        mixture(tmp_path / "run.fgm", **settings).fit(X, other)
    assert_same_fit(mixture(tmp_path / "run.fgm", **settings).fit(X, y), whole)


def test_held_covariances_are_held_on(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(size=(60, 2)), np.full((30, 2), 3.0)])
    settings = {"reg_covar": 1e-2, "n_components": 4, "tol": 0.0, "max_iter": 30, "n_init": 1}
    with pytest.warns(UserWarning, match="spread"):
        whole = mixture(**settings).fit(X)
    with pytest.warns(UserWarning, match="spread"):
        again = resumed(X, tmp_path / "run.fgm", monkeypatch, 1, **settings)
    assert_same_fit(again, whole)


def test_a_warm_start_continues_the_same(tmp_path, monkeypatch):
    X = problem("overlapping").X
    start = mixture(max_iter=2, n_init=1, warm_start=True).fit(X)
    params = {"max_iter": 6, "warm_start": True}

    def fit(path):
        copy = mixture(path, **params)
        copy.__dict__.update(
            {name: start.__dict__[name] for name in vars(start) if name[-1] == "_"}
        )
        return copy.fit(X)

    whole = fit(None)
    for _ in range(20):
        with monkeypatch.context() as patch:
            cut_off_after(patch, 2)
            try:
                again = fit(tmp_path / "run.fgm")
                break
            except CutOffError:
                continue
    assert_same_fit(again, whole)


def test_a_generator_continues_where_it_was(tmp_path, monkeypatch):
    X = problem("overlapping").X
    given = np.random.RandomState(3)
    whole = mixture(random_state=given).fit(X)
    afterwards = given.random_sample()
    path = tmp_path / "run.fgm"
    with monkeypatch.context() as patch:
        cut_off_after(patch, 3)
        with pytest.raises(CutOffError):
            mixture(path, random_state=np.random.RandomState(3)).fit(X)
    other = np.random.RandomState(3)
    with pytest.raises(CheckpointError, match=r"random_state: {'RandomState': .*} then, .* now"):
        mixture(path, random_state=np.random.RandomState(4)).fit(X)
    assert_same_fit(mixture(path, random_state=other).fit(X), whole)
    assert other.random_sample() == afterwards


def test_a_generator_whose_state_a_checkpoint_cannot_hold_is_refused(tmp_path):
    other = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(ValueError, match=r"random_state draws with PCG64.*: give an int, or a"):
        mixture(tmp_path / "run.fgm", random_state=other).fit(problem("overlapping").X)


def test_without_a_seed_the_draws_continue_too(tmp_path, monkeypatch):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    with monkeypatch.context() as patch:
        cut_off_after(patch, 3)
        with pytest.raises(CutOffError):
            mixture(path, random_state=None).fit(X)
    kept = path.read_bytes()
    first = mixture(path, random_state=None).fit(X)
    path.write_bytes(kept)
    assert_same_fit(mixture(path, random_state=None).fit(X), first)


def test_a_finished_fit_is_read_back_without_a_pass(tmp_path, monkeypatch):
    X = problem("overlapping").X
    whole = mixture(tmp_path / "run.fgm").fit(X)
    cut_off_after(monkeypatch, 0)
    assert_same_fit(mixture(tmp_path / "run.fgm").fit(X), whole)


def test_a_file_that_is_there_is_not_overwritten(tmp_path):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    mixture(path).fit(X)
    before = path.read_bytes()
    with pytest.raises(
        CheckpointError, match=r"already: resume from it with resume=True .--resume., or rem"
    ):
        mixture(path, resume=False).fit(X)
    assert path.read_bytes() == before


def test_no_checkpoint_is_written_before_its_time(tmp_path, monkeypatch):
    written = []
    save = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "write", lambda self: (written.append(1), save(self)))
    mixture(tmp_path / "run.fgm", checkpoint_interval=3600.0).fit(problem("overlapping").X)
    assert len(written) == 2  # the first start and the end


def test_an_interrupted_fit_leaves_its_last_state(tmp_path):
    class Interrupt:
        def setup(self, **_): ...
        def teardown(self, **_): ...
        def on_fit_task_begin(self, *_): ...
        def on_fit_task_end(self, _estimator, context, **_):
            if context.task_name == "iteration" and context.task_id == 3:
                raise KeyboardInterrupt

    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    cut = mixture(path, checkpoint_interval=3600.0)
    cut.set_callbacks(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        cut.fit(X)
    with zipfile.ZipFile(path) as archive:
        state = json.loads(archive.read("header.json"))["values"]["state"]
    assert len(state["current"]["trace"]) == 5
    assert_same_fit(mixture(path).fit(X), mixture().fit(X))


@pytest.mark.parametrize("before_the_rename", [False, True])
@pytest.mark.parametrize("n_written", [1, 3])
def test_an_interrupt_while_the_file_takes_its_place_is_one(
    tmp_path, monkeypatch, before_the_rename, n_written
):
    real, calls = Path.replace, []

    def replace(part, target):
        calls.append(part)
        if len(calls) == n_written and before_the_rename:
            raise KeyboardInterrupt
        real(part, target)
        if len(calls) == n_written:
            raise KeyboardInterrupt

    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            mixture(path).fit(X)
    assert len(calls) == n_written + 1
    assert list(tmp_path.iterdir()) == [path]
    assert_same_fit(mixture(path).fit(X), mixture().fit(X))


TERMINATED = """
import os, signal, sys
import numpy as np
from fastgmm import BayesianGaussianMixture, GaussianMixture, MiniBatchGaussianMixture
from tests.estimators.test_checkpoints import TERMINATED_FITS

class Terminate:
    def setup(self, **_): ...
    def teardown(self, **_): ...
    def on_fit_task_begin(self, *_): ...
    def on_fit_task_end(self, _estimator, context, **_):
        if context.task_name == "iteration" and context.task_id == 2:
            os.kill(os.getpid(), signal.SIGTERM)

fit = TERMINATED_FITS[sys.argv[1]](sys.argv[2]).set_callbacks(Terminate())
fit.fit(np.random.default_rng(0).normal(size=(3000, 2)))
print("not ended")
"""

TERMINATED_FITS = {
    "batch": lambda path: mixture(path, checkpoint_interval=3600.0),
    "every state": mixture,
    "variational": lambda path: BayesianGaussianMixture(
        3, random_state=0, tol=0.0, max_iter=8, checkpoint=path, checkpoint_interval=3600.0,
        resume=True,
    ),
    "minibatch": lambda path: MiniBatchGaussianMixture(
        3, random_state=0, tol=0.0, max_epochs=5, checkpoint=path, checkpoint_interval=3600.0,
        resume=True,
    ),
}  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")
@pytest.mark.parametrize("kind", TERMINATED_FITS)
def test_sigterm_writes_the_last_state_and_ends_the_process(tmp_path, kind):
    path = tmp_path / "run.fgm"
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED, kind, path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    with zipfile.ZipFile(path) as archive:
        state = json.loads(archive.read("header.json"))["values"]["state"]
    trace = state["fit"]["scores"] if kind == "minibatch" else state["current"]["trace"]
    assert len(trace) >= 3
    X = np.random.default_rng(0).normal(size=(3000, 2))
    resumed, whole = TERMINATED_FITS[kind](path).fit(X), TERMINATED_FITS[kind](None).fit(X)
    assert_array_equal(resumed.means_, whole.means_)
    assert list(tmp_path.iterdir()) == [path]


def test_handlers_of_sigterm_are_restored_and_those_of_others_are_left_alone(tmp_path):
    seen = []

    class Look:
        def setup(self, **_): ...
        def teardown(self, **_): ...
        def on_fit_task_begin(self, *_): ...
        def on_fit_task_end(self, *_, **__):
            seen.append(signal.getsignal(signal.SIGTERM))

    def handler(*_): ...

    def fit(path):
        one = mixture(path, max_iter=1)
        one.set_callbacks(Look())
        one.fit(problem("overlapping").X)

    fit(tmp_path / "main.fgm")
    assert seen[0] != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    seen.clear()
    thread = threading.Thread(target=fit, args=(tmp_path / "thread.fgm",))
    thread.start()
    thread.join()
    assert set(seen) == {signal.SIG_DFL}
    seen.clear()
    signal.signal(signal.SIGTERM, handler)
    try:
        fit(tmp_path / "other.fgm")
        assert set(seen) == {handler}
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_components": 4}, "other parameters (n_components: 3 then, 4 now)"),
        ({"random_state": 8}, "(random_state: 7 then, 8 now)"),
        ({"means_init": np.zeros((3, 3))}, "(means_init: None then, {'shape': [3, 3], 'dig"),
    ],
)
def test_other_parameters_are_refused(tmp_path, change, words):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    mixture(path).fit(X)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=re.escape(words)):
        mixture(path, **change).fit(X)
    assert path.read_bytes() == before


def test_a_stopping_rule_is_known_by_what_it_holds(tmp_path):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    whole = mixture(path, tol=SmallChange(1e-4)).fit(X)
    assert_same_fit(mixture(path, tol=SmallChange(1e-4)).fit(X), whole)
    with pytest.raises(CheckpointError, match=r"tol: .*'tol': 0\.0001.* then, .*'tol': 0\.5.* now"):
        mixture(path, tol=SmallChange(0.5)).fit(X)


def test_parameters_that_do_not_change_the_result_may_change(tmp_path):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    whole = mixture(path).fit(X)
    assert_same_fit(mixture(path, n_jobs=1, checkpoint_interval=5.0).fit(X), whole)


def test_other_data_are_refused(tmp_path):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    mixture(path).fit(X)
    changed = X.copy()
    changed[17, 1] = np.nextafter(changed[17, 1], 9.0)
    with pytest.raises(CheckpointError, match=r"other data \(digest: '\w+' then, '\w+' now\)"):
        mixture(path).fit(changed)
    with pytest.raises(CheckpointError, match="weights: False then, True now"):
        mixture(path).fit(X, sample_weight=np.ones(len(X)))
    with pytest.raises(CheckpointError, match="shape: "):
        mixture(path).fit(X[:-1])


def test_another_version_is_refused(tmp_path, monkeypatch):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    mixture(path).fit(X)
    monkeypatch.setattr("fastgmm.__version__", "99.0", raising=False)
    with pytest.raises(CheckpointError, match=r"written by fastgmm 0\..*, and this is 99\.0"):
        mixture(path).fit(X)


def test_a_model_is_no_checkpoint_and_the_other_way_round(tmp_path):
    from fastgmm import load

    X = problem("overlapping").X
    mixture(tmp_path / "run.fgm").fit(X).save(tmp_path / "model.fgm")
    with pytest.raises(ModelFileError, match="holds a GaussianMixture, not a Checkpoint"):
        mixture(tmp_path / "model.fgm").fit(X)
    with pytest.raises(ModelFileError, match="holds a Checkpoint"):
        load(tmp_path / "run.fgm")


def test_a_damaged_checkpoint_is_reported(tmp_path):
    X = problem("overlapping").X
    path = tmp_path / "run.fgm"
    mixture(path).fit(X)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="damaged or incomplete"):
        mixture(path).fit(X)


def test_a_folder_that_is_missing_is_reported_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        mixture(tmp_path / "none" / "run.fgm").fit(problem("overlapping").X)


def test_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "run.fgm"
    abandoned = tmp_path / ".run.fgm.abc123.part"
    abandoned.write_bytes(b"half")
    other = tmp_path / ".other.fgm.abc123.part"
    other.write_bytes(b"half")
    mixture(path).fit(problem("overlapping").X)
    assert not abandoned.exists()
    assert other.exists()


def test_two_fits_do_not_share_a_checkpoint(tmp_path):
    path = tmp_path / "run.fgm"
    one, other = (Checkpoint(path, 0.0, {}, resume=False) for _ in range(2))
    one.observe(lambda: ({"of": "one"}, {}))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="another fit has written"), other:
        other.observe(lambda: ({"of": "other"}, {}))
    assert path.read_bytes() == before
    one.observe(lambda: ({"of": "one again"}, {}))
    assert path.read_bytes() != before
    path.unlink()
    one.observe(lambda: ({"of": "one"}, {}))
    assert path.exists()


def test_large_arrays_are_distinguished_by_rows_spread_over_them(monkeypatch):
    from fastgmm.data.sources import array

    monkeypatch.setattr(array, "_DIGESTED_BYTES", 2**21)
    X = np.zeros((600_000, 2))
    before = ArraySource(X).fingerprint()
    X[-1, 0] = 1.0
    assert ArraySource(X).fingerprint()["digest"] == before["digest"]
    X[0, 0] = 1.0
    assert ArraySource(X).fingerprint()["digest"] != before["digest"]


def test_more_iterations_continue_a_fit_that_had_too_few(tmp_path):
    X = problem("overlapping").X
    how = {"n_init": 1, "tol": 1e-9}
    whole = mixture(max_iter=9, **how).fit(X)
    path = tmp_path / "run.fgm"
    first = mixture(path, max_iter=4, **how).fit(X)
    assert not first.converged_
    continued = mixture(path, max_iter=9, **how).fit(X)
    again = mixture(path, max_iter=9, **how).fit(X)  # as long as it was asked to be already
    for name in ATTRIBUTES:
        assert_array_equal(getattr(continued, name), getattr(whole, name))
        assert_array_equal(getattr(again, name), getattr(whole, name))
