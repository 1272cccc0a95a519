"""EM in other engines, as the documentation shows it."""

import io
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fastgmm import GaussianMixture
from fastgmm.extend import Regularization, block_statistics, structure

RECIPES = Path(__file__).parent.parent / "docs" / "recipes"
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")

needs_spark = pytest.mark.skipif(
    find_spec("pyspark") is None or shutil.which("java") is None, reason="needs pyspark and Java"
)
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")
needs_mpi = pytest.mark.skipif(
    find_spec("mpi4py") is None or MPIEXEC is None, reason="needs mpi4py and mpiexec"
)


def rows():
    """Return rows of two clusters."""
    X = np.random.default_rng(0).normal(size=(5000, 3))
    X[::2] += 4.0
    return X


def write_npy(path, X):
    """Write rows to a file and return its path."""
    np.save(path, X)
    return path


def means_after(X, n_iter=20):
    """Return the means after so many iterations in memory, from the start of the recipes."""
    start = GaussianMixture(2, random_state=0).fit(X[:1000])
    full = structure("full")
    parameters = full.from_covariances(start.weights_, start.means_, start.covariances_)
    for _ in range(n_iter):
        statistics = block_statistics(parameters, X)
        parameters = full.solve(statistics, Regularization.none(X.shape[1]), parameters)
    return parameters.means


def run(name, *arguments, before=()):
    """Return the means that a recipe prints."""
    ended = subprocess.run(
        [*before, sys.executable, RECIPES / name, *arguments],
        capture_output=True,
        encoding="utf-8",
        env={
            **os.environ,
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "RAY_raylet_start_wait_time_s": "240",
        },
        timeout=900,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return np.loadtxt(io.StringIO("\n".join(ended.stdout.splitlines()[-2:])))


@pytest.mark.slow
@needs_spark
def test_em_with_spark(tmp_path):
    X = rows()
    for i, part in enumerate(np.split(X, [3000, 3001])):
        pd.DataFrame(part, columns=["a", "b", "c"]).to_parquet(tmp_path / f"{i}.parquet")
    # Spark reads the largest file first, which the start is fitted to.
    assert_allclose(run("em_with_spark.py", tmp_path), means_after(X), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@needs_ray
def test_em_with_ray(tmp_path):
    X = rows()
    paths = [write_npy(tmp_path / f"{i}.npy", each) for i, each in enumerate(np.split(X, 5))]
    assert_allclose(run("em_with_ray.py", *paths), means_after(X), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@needs_mpi
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_em_with_mpi(tmp_path, n_ranks):
    X = rows()
    paths = [write_npy(tmp_path / f"{i}.npy", each) for i, each in enumerate(np.split(X, [2000]))]
    found = run("em_with_mpi.py", *paths, before=[MPIEXEC, "-n", str(n_ranks)])
    assert_allclose(found, means_after(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_recipes_are_short(path):
    assert len(path.read_text().splitlines()) < 40
