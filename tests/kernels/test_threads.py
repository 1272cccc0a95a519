"""The same bits on any number of threads, in forked processes and in every threading layer."""

import os
import re
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.kernels import threads
from fastgmm.kernels.compilation import slot_kernel, task_at
from fastgmm.mixture.parameters import MixtureParameters

with_threads = pytest.mark.skipif(
    numba.config.DISABLE_JIT, reason="numba starts no threads without the JIT"
)


def problem(n_samples=5000):
    rng = np.random.default_rng(0)
    means = rng.normal(size=(3, 2))
    parameters = MixtureParameters.from_covariances(
        np.full(3, 1 / 3), means, np.stack([np.eye(2)] * 3)
    )
    return ArraySource(rng.normal(size=(n_samples, 2))), parameters


@with_threads
def test_the_number_of_threads_does_not_change_a_bit():
    source, parameters = problem()
    expected = passes.mixture_statistics(source, parameters, n_jobs=1)
    for n_jobs in (2, -1, None):
        found = passes.mixture_statistics(source, parameters, n_jobs=n_jobs)
        np.testing.assert_array_equal(found.second, expected.second)
        np.testing.assert_array_equal(found.first, expected.first)
        assert found.log_likelihood == expected.log_likelihood


@with_threads
def test_the_pool_gives_the_same_bits(monkeypatch):
    source, parameters = problem()
    expected = passes.mixture_statistics(source, parameters)
    monkeypatch.setattr(threads, "needs_pool", lambda: True)
    for n_jobs in (1, 2):
        found = passes.mixture_statistics(source, parameters, n_jobs=n_jobs)
        np.testing.assert_array_equal(found.second, expected.second)
        assert found.log_likelihood == expected.log_likelihood


def test_a_long_pass_is_run_in_chunks_to_the_same_bits(monkeypatch):
    source, parameters = problem(3 * threads.BLOCK_ROWS + 5)
    weighted = ArraySource(source.X, np.linspace(0, 1, source.n_samples))
    expected = (
        passes.mixture_statistics(weighted, parameters),
        passes.log_density(source, parameters),
        passes.labels(source, parameters),
        passes.responsibilities(source, parameters),
    )
    monkeypatch.setattr(threads, "OPERATIONS_AT_ONCE", 1)
    monkeypatch.setattr(threads, "_FEWEST_BLOCKS", 1)
    ran = []
    real = threads._run_chunk
    monkeypatch.setattr(threads, "_run_chunk", lambda *a: (ran.append(len(a[1].X)), real(*a)))
    found = passes.mixture_statistics(weighted, parameters)
    assert ran == [threads.BLOCK_ROWS] * 3 + [5]
    np.testing.assert_array_equal(found.second, expected[0].second)
    assert found.log_likelihood == expected[0].log_likelihood
    np.testing.assert_array_equal(passes.log_density(source, parameters), expected[1])
    np.testing.assert_array_equal(passes.labels(source, parameters), expected[2])
    np.testing.assert_array_equal(passes.responsibilities(source, parameters), expected[3])


@with_threads
def test_the_number_of_threads_is_restored_when_an_exception_passes():
    before = numba.get_num_threads()

    def fail():
        with threads._numba_threads(1):
            assert numba.get_num_threads() == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert numba.get_num_threads() == before


class Slots(NamedTuple):
    X: np.ndarray
    taken: np.ndarray


@slot_kernel()
def count_slot(address, slot):
    taken = task_at(address).taken
    taken[slot] += 1
    if slot == 0:
        for i in range(10**7):
            taken[-1] ^= i


@with_threads
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("n_slots", [1, 2, 7, 64, 1000])
def test_every_slot_is_run_once_however_long_one_takes(monkeypatch, n_slots, pool):
    if pool:
        monkeypatch.setattr(threads, "needs_pool", lambda: True)
    task = Slots(np.empty((0, 1)), np.zeros(n_slots + 1, np.int64))
    threads.run_slots(count_slot, task, n_slots, 2, 10**9)
    assert (task.taken[:-1] == 1).all()


def test_numbers_are_counted():
    counter = np.array([7], np.int64)
    assert threads.next_number.twin(counter.ctypes.data) == 7
    assert counter[0] == 8


def test_n_jobs_counts_as_in_joblib():
    available = numba.config.NUMBA_NUM_THREADS
    assert threads.effective_threads(1) == 1
    assert threads.effective_threads(10**6) == available
    assert threads.effective_threads(-1) == available
    assert threads.effective_threads(-(10**6)) == 1
    assert threads.effective_threads(None) == numba.get_num_threads()
    with pytest.raises(ValueError, match=r"n_jobs=0 has no meaning.*-1 for all"):
        threads.effective_threads(0)


SETUP = """
import os, threading
import numpy as np
from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.mixture.parameters import MixtureParameters
rng = np.random.default_rng(0)
means = rng.normal(size=(3, 2))
parameters = MixtureParameters.from_covariances(
    np.full(3, 1 / 3), means, np.stack([np.eye(2)] * 3))
source = ArraySource(rng.normal(size=(5000, 2)))
def value():
    return passes.mixture_statistics(source, parameters).log_likelihood
"""


def run_script(body, **variables):
    return subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(body)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=900,
    )


@with_threads
@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
)
def test_threads_wait_awake_for_a_short_while_or_as_the_user_says(variables, expected):
    done = run_script(
        """
        value()
        import numba
        print(numba.threading_layer(), os.environ.get("GOMP_SPINCOUNT"))
        """,
        OMP_DISPLAY_ENV="verbose",  # GNU OpenMP prints what it has read
        NUMBA_THREADING_LAYER_PRIORITY="omp workqueue tbb",
        **variables,
    )
    layer, after = done.stdout.split()
    assert after == str(variables.get("GOMP_SPINCOUNT"))
    read = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if layer == "omp" and sys.platform == "linux":
        assert read[-1] == expected  # the first may be that of scikit-learn's own copy


@with_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
def test_a_child_of_fork_neither_hangs_nor_dies():
    done = run_script(
        """
        expected = value()
        for generation in range(2):
            child = os.fork()
            if child == 0:
                assert value() == expected
                if generation == 0 and os.fork() == 0:
                    os._exit(0 if value() == expected else 3)
                os.wait() if generation == 0 else None
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        print("well")
        """
    )
    assert done.stdout.strip() == "well", done.stderr


LIBTBB = Path(sysconfig.get_path("data"), "lib", "libtbb.so.12")
"""Where pip puts it, and the loader does not look."""


@with_threads
@pytest.mark.parametrize(
    "layer",
    [
        "workqueue",
        "omp",
        pytest.param("tbb", marks=pytest.mark.skipif(not LIBTBB.exists(), reason="no TBB here")),
    ],
)
def test_many_threads_may_run_passes_at_once(layer):
    done = run_script(
        """
        import ctypes, numba
        if os.environ["NUMBA_THREADING_LAYER"] == "tbb":
            ctypes.CDLL(os.environ["LIBTBB"])
        expected = value()
        found = []
        def work():
            for _ in range(20):
                found.append(value())
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        assert found == [expected] * 80
        print(numba.threading_layer())
        """,
        NUMBA_THREADING_LAYER=layer,
        LIBTBB=str(LIBTBB),
    )
    if "No threading layer" in done.stderr:
        pytest.skip("this build of numba has no such layer")
    assert done.stdout.strip() == layer, done.stderr


@with_threads
def test_only_openmp_threads_are_entered_and_others_get_the_pool(monkeypatch):
    for layer in ("omp", "tbb", "workqueue"):
        monkeypatch.setattr(numba, "threading_layer", lambda layer=layer: layer)
        assert threads.needs_pool() is (layer != "omp")


@with_threads
@pytest.mark.parametrize("pool", [False, True])
def test_no_python_code_runs_between_the_call_of_a_kernel_and_its_loop(monkeypatch, pool):
    # An interrupt that lands in such code is not raised as what it is.
    source, parameters = problem()
    monkeypatch.setattr(threads, "needs_pool", lambda: pool)
    passes.mixture_statistics(source, parameters, n_jobs=1)
    events = []

    def profile(frame, event, function):
        events.append((event, getattr(function, "__name__", frame.f_code.co_name)))

    sys.setprofile(profile)
    try:
        passes.mixture_statistics(source, parameters, n_jobs=1)
    finally:
        sys.setprofile(None)
    assert events[events.index(("c_call", "run_task")) + 1] == ("c_return", "run_task")
