"""Fits on a cluster of processes, of which workers die, come late, or are of another version."""

import json
import multiprocessing
import os
import signal
import threading
import time
import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, get_task_stream, wait
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastgmm
from fastgmm import GaussianMixture, KMeans, open_data
from fastgmm.data.errors import ClusterError
from fastgmm.io import model_file
from tests.cli_process import in_here
from tests.clusters import local_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N_ITER = 5


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return random.normal(size=(20_000, 3)) + random.integers(0, 3, (20_000, 1)) * 4.0


@pytest.fixture(scope="module")
def cluster():
    settings = {
        # A worker that is slow to start again stays wanted.
        "distributed.deploy.lost-worker-timeout": "10 minutes",
        # A partition may be in the making on every worker that a test kills.
        "distributed.scheduler.allowed-failures": 100,
        "distributed.worker.multiprocessing-method": "forkserver",
    }
    # Replacements of workers need not import anything.
    multiprocessing.set_forkserver_preload(["distributed", "fastgmm.em.e_step.passes"])
    with (
        dask.config.set(settings),
        local_cluster(2) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        until(lambda: len(client.scheduler_info()["workers"]) == 2)
        yield client


def until(condition):
    """Wait for what must come to be, however busy the machine is."""
    end = time.monotonic() + 300.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def tasks_of(client):
    return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def chunked(rows):
    return da.from_array(rows, chunks=(2500, 3))


def fit(rows, X, n_iter=N_ITER, **more):
    mixture = GaussianMixture(
        3,
        weights_init=np.full(3, 1 / 3),
        means_init=rows[:3],
        precisions_init=np.array([np.eye(3)] * 3),
        max_iter=n_iter,
        tol=0,
        **more,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(X)


@pytest.fixture(scope="module")
def expected(rows):
    with dask.config.set(scheduler="synchronous"):
        return fit(rows, chunked(rows))


def later(seconds, call):
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


def test_bits_depend_on_the_partitions_and_not_on_who_works_on_them(rows, expected, client):
    X = chunked(rows).persist()
    assert_array_equal(fit(rows, X).means_, expected.means_)
    assert_array_equal(fit(rows, open_data(chunked(rows), client=client)).means_, expected.means_)
    first = client.scheduler_info()["workers"]
    with dask.annotate(workers=[next(iter(first))], allow_other_workers=False):
        one = fit(rows, chunked(rows))
    assert_array_equal(one.means_, expected.means_)
    mixture = GaussianMixture(3, random_state=0).fit(X)
    with dask.config.set(scheduler="threads"):
        assert_array_equal(
            GaussianMixture(3, random_state=0).fit(chunked(rows)).means_, mixture.means_
        )
        clusters = KMeans(3, random_state=0, max_iter=3).fit(chunked(rows))
    assert_array_equal(
        KMeans(3, random_state=0, max_iter=3).fit(X).cluster_centers_, clusters.cluster_centers_
    )
    labels = mixture.predict(X)
    assert_array_equal(labels.compute(), mixture.predict(rows))


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_partitions_on_the_same_worker_share_a_task(rows, client, kind):
    X = (
        chunked(rows)
        if kind == "array"
        else dd.from_pandas(pd.DataFrame(rows, columns=list("abc")), npartitions=8)
    )
    parts = X.partitions[:4], X.partitions[4:]
    halves = [
        client.persist(half, workers=[worker])
        for half, worker in zip(parts, client.scheduler_info()["workers"], strict=True)
    ]
    X = da.concatenate(halves) if kind == "array" else dd.concat(halves)
    X = X.persist()
    wait(X)
    labels = GaussianMixture(3, means_init=rows[:3]).fit(X)
    with get_task_stream(client) as stream:
        assert_allclose(labels.score(X), labels.score(rows if kind == "array" else X.compute()))
    passes = [each for each in stream.data if "sums" in str(each["key"])]
    places = {each["worker"] for each in passes}
    assert len(places) == 2
    assert len(passes) <= 4  # two groups, one merge, what is asked for


def test_a_pass_leaves_nothing_behind(rows, client):
    X = chunked(rows).persist()
    for n_iter in (1, 6):
        fit(rows, X, n_iter)
        until(lambda: tasks_of(client) == 8)


def test_a_worker_that_is_killed_costs_its_partitions_only(rows, expected, cluster, client):
    X = chunked(rows).persist()
    began = time.perf_counter()
    fit(rows, X)
    usual = time.perf_counter() - began
    random = np.random.default_rng(0)
    for number in range(20):
        until(lambda: len(client.scheduler_info()["workers"]) == 2)

        def kill(number=number):
            nanny = list(cluster.workers.values())[number % 2]
            if nanny.pid:
                os.kill(nanny.pid, signal.SIGKILL)

        timer = later(usual * random.random(), kill)
        assert_array_equal(fit(rows, X).means_, expected.means_)
        timer.join()


def test_callbacks_and_checkpoints_on_a_cluster(rows, client, tmp_path, capsys):
    class Iterations:
        def __init__(self):
            self.numbers = []

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, **_):  # noqa: ARG002
            if context.task_name == "iteration":
                self.numbers.append(context.task_id)
            return len(self.numbers) == 3

        def teardown(self, estimator, context):
            pass

    X = client.persist(chunked(rows))
    seen = Iterations()
    kept = {"checkpoint": tmp_path / "fit", "checkpoint_interval": 0.0, "random_state": 0}
    mixture = GaussianMixture(
        3, max_iter=N_ITER, means_init=rows[:3], tol=0.0, verbose=1, verbose_interval=1, **kept
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clone(mixture).set_callbacks(seen).fit(X)
        assert seen.numbers == [0, 1, 2]
        assert "Iteration 3" in capsys.readouterr().out
        resumed = clone(mixture).set_params(resume=True).fit(X)
        assert resumed.n_iter_ == N_ITER
        expected = clone(mixture).set_params(checkpoint=None).fit(X)
    assert_array_equal(resumed.means_, expected.means_)


def test_a_worker_that_comes_in_mid_fit(rows, expected, cluster, client):
    timer = later(0.1, lambda: cluster.scale(3))
    assert_array_equal(fit(rows, chunked(rows).persist()).means_, expected.means_)
    timer.join()
    until(lambda: len(client.scheduler_info()["workers"]) == 3)
    cluster.scale(2)


def test_a_worker_of_another_version_is_refused_by_name(rows, client):
    def pretend(version):
        import fastgmm

        fastgmm.__version__ = version

    import fastgmm

    address = next(iter(client.scheduler_info()["workers"]))
    client.run(pretend, "0.0.1", workers=[address])
    try:
        message = rf"worker .* at {address} has fastgmm 0.0.1, and the client has"
        with pytest.raises(ClusterError, match=message):
            fit(rows, chunked(rows))
    finally:
        client.run(pretend, fastgmm.__version__, workers=[address])


def once_there(path, call):
    """Call a function in a thread once there is a file."""

    def wait_and_call():
        until(path.exists)
        call()

    return later(0.0, wait_and_call)


ENDLESS = 1_000_000


def test_an_interrupted_fit_leaves_no_tasks(rows, client, tmp_path):
    X = chunked(rows).persist()
    path = tmp_path / "fit"
    thread = once_there(path, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        fit(rows, X, ENDLESS, checkpoint=path, random_state=0)
    thread.join()
    until(lambda: tasks_of(client) == 8)


def test_a_scheduler_that_closes_leaves_a_checkpoint(rows, tmp_path):
    path = tmp_path / "fit"
    kept = {"checkpoint": path, "random_state": 0}
    with (
        local_cluster(1, processes=False) as cluster,
        Client(cluster),
    ):
        thread = once_there(path, cluster.close)
        with pytest.raises(ClusterError, match=r"scheduler has closed.*resume=True"):
            fit(rows, chunked(rows), ENDLESS, **kept)
        thread.join()
    n_iter = len(model_file.load(path).values["state"]["current"]["trace"]) + 3
    with dask.config.set(scheduler="synchronous"):
        found = fit(rows, chunked(rows), n_iter, **kept, resume=True)
        assert_array_equal(found.means_, fit(rows, chunked(rows), n_iter, random_state=0).means_)


@pytest.mark.parametrize("address", ["local:1", None])
def test_the_command_fits_on_a_cluster(rows, cluster, tmp_path, address):
    table = pd.DataFrame(rows[:3000], columns=["a", "b", "c"]).assign(number=range(3000))
    table.to_parquet(tmp_path / "rows.parquet", index=False, row_group_size=1000)
    table.to_csv(tmp_path / "rows.csv", index=False)
    fit = ("fit", "--exclude", "number", "--seed", 0, "--json")
    cluster_of = ("--dask", address or cluster.scheduler_address)
    first = in_here(*fit, "rows.csv", "-k", 3, *cluster_of, "-o", "m.fgm", cwd=tmp_path)
    assert not first.returncode, first.stderr
    assert list(fastgmm.load(tmp_path / "m.fgm").feature_names_in_) == ["a", "b", "c"]
    again = (*fit, "rows.parquet", "--init-from", "m.fgm")
    found = in_here(*again, *cluster_of, cwd=tmp_path)
    assert not found.returncode, found.stderr
    expected = in_here(*again, cwd=tmp_path)
    assert_allclose(
        json.loads(found.stdout)["trace"], json.loads(expected.stdout)["trace"], rtol=1e-12
    )


def test_what_the_command_refuses(tmp_path):
    done = in_here("fit", "rows.csv", "--dask", "here", "-k", 2, cwd=tmp_path)
    assert done.returncode
    assert "address of a scheduler" in " ".join(done.stderr.split())
