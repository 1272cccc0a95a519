"""The same results in processes of every start method, in threads, and in one within the other.

Threads alone, under every layer, are in ``tests/kernels/test_threads.py``.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastgmm

LIBTBB = Path(sysconfig.get_path("data"), "lib", "libtbb.so.12")
"""Where pip puts it, and the loader does not look."""

PROGRAM = """
import ctypes, json, multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

if os.environ.get("NUMBA_THREADING_LAYER") == "tbb":
    ctypes.CDLL(os.environ["LIBTBB"])
import numpy as np
from fastgmm import GaussianMixture

X = np.random.default_rng(0).normal(size=(5000, 2)) + 5.0 * (np.arange(5000) % 2)[:, None]

def fitted(n_jobs=None):
    return GaussianMixture(2, random_state=0, n_jobs=n_jobs).fit(X).means_.tolist()

def in_threads(_=0):
    with ThreadPoolExecutor(3) as pool:
        return [each for each in pool.map(fitted, [1, 2, None])]

def in_processes(context, n=2):
    with ProcessPoolExecutor(n, mp_context=context) as pool:
        return [each for found in pool.map(in_threads, range(n)) for each in found]

def in_loky():
    from joblib import Parallel, delayed
    return sum(Parallel(n_jobs=2, backend="loky")(delayed(in_threads)() for _ in range(2)), [])

def in_processes_of_threads(context):
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(in_processes, [context] * 2, [1, 1]), [])

if __name__ == "__main__":
    expected, way = fitted(), sys.argv[1]
    if way == "loky":
        found = in_loky()
    elif way == "spawn in threads":
        found = in_processes_of_threads(multiprocessing.get_context("spawn"))
    else:
        found = in_processes(multiprocessing.get_context(way))
    print(json.dumps([len(found), all(each == expected for each in found)]))
"""


def run(program, *arguments, **variables):
    """Run a program in a new process; return what it prints, and fail if it fails or hangs."""
    process = subprocess.run(
        [sys.executable, "-W", "error", program, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if "No threading layer" in process.stderr:
        pytest.skip("this build of numba has no such layer")
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize(
    ("way", "layer"),
    [
        ("fork", "omp"),
        ("fork", "workqueue"),
        ("forkserver", "tbb"),
        ("loky", "omp"),
        ("spawn in threads", "workqueue"),
    ],
)
def test_processes_with_threads_in_them(tmp_path, way, layer):
    if way.startswith("fork") and not hasattr(os, "fork"):
        pytest.skip("there is no fork on this platform")
    if layer == "tbb" and not LIBTBB.exists():
        pytest.skip("no TBB here")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    found = run(program, way, NUMBA_THREADING_LAYER=layer, LIBTBB=str(LIBTBB))
    assert json.loads(found) == [6, True]


COMPILE = """
import numpy as np
from fastgmm.kernels.agglomeration import search_row
lowest, partner = np.ones(3), np.ones(3, np.int64)
search_row(np.ones(3), 2, lowest, partner, np.ones(3, np.bool_))
print(sum(search_row._cache_hits.values()))
"""


def test_eight_processes_compile_at_once_into_an_empty_cache(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", COMPILE]
    running = [subprocess.Popen(command, env=environment) for _ in range(8)]
    assert [process.wait(timeout=900) for process in running] == [0] * 8
    assert (
        subprocess.run(command, env=environment, capture_output=True, check=True).stdout == b"1\n"
    )
    assert not list(tmp_path.rglob("*.part"))


def test_an_installation_that_takes_no_cache_nor_the_home_folder(tmp_path):
    """Files in the place of folders stand for what even root cannot write."""
    package = tmp_path / "fastgmm"
    shutil.copytree(
        Path(fastgmm.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "kernels" / "__pycache__").touch()
    (tmp_path / "home").touch()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path / "home")}
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMPILE],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
