"""After the warm-up nothing is left to compile."""

import json
import os
import subprocess
import sys

import pytest

USE_EVERYTHING = """
import warnings
import numpy as np
from fastgmm import (
    GaussianMixture, KMeans, MixtureSearch, StudentMixture, bootstrap_parameters, fit_groups
)
from fastgmm.em.initialization.methods import INIT_METHODS
from tests.structures import ANY_FEATURES

warnings.simplefilter("ignore")
for dtype in (np.float32, np.float64):
    for order in "CF":
        X = np.asarray(np.random.default_rng(0).normal(size=(500, 5)), dtype=dtype, order=order)
        for name in ANY_FEATURES:
            for init in INIT_METHODS:
                mixture = GaussianMixture(3, covariance_type=name, init_params=init, max_iter=2)
                mixture.fit(X, sample_weight=np.ones(len(X)))
            mixture.predict(X), mixture.predict_proba(X), mixture.score_samples(X), mixture.icl(X)
        for name in ("full", "diag"):
            GaussianMixture(256, covariance_type=name, e_step="truncated", max_iter=2).fit(X)
        for scale in (1, 1e-18):
            for name in ("full", "diag"):
                student = StudentMixture(3, covariance_type=name, max_iter=2).fit(X * dtype(scale))
                student.predict(X), student.predict_proba(X), student.score_samples(X)
        GaussianMixture(2, max_iter=1).fit(X * dtype(1e-18))
        factors = GaussianMixture(2, covariance_type="factors", n_factors=2, max_iter=2).fit(X)
        factors.predict(X), factors.predict_proba(X), factors.score_samples(X)
        for errors in (np.ones_like(X), np.tile(np.eye(5, dtype=dtype), (500, 1, 1))):
            mixture = GaussianMixture(2, max_iter=2).fit(X, error_covariance=errors)
            mixture.predict(X, errors), mixture.denoise(X, errors)
        flags = np.arange(X.size).reshape(X.shape) % 7 == 0
        for name in ("full", "diag"):
            mixture = GaussianMixture(2, covariance_type=name, max_iter=2).fit(X, censored=flags)
            mixture.predict(X, censored=flags), mixture.impute(X, censored=flags)
        X[::3, 1] = X[::5, 0] = np.nan
        for name in ("full", "diag"):
            mixture = GaussianMixture(2, covariance_type=name, missing="model", max_iter=2).fit(X)
            mixture.predict(X), mixture.icl(X), mixture.impute(X), mixture.impute(X, n_draws=2)
        X[np.isnan(X)] = 0
        KMeans(3, n_init=1).fit(X).transform(X)
        fit_groups(X, np.arange(500) % 5, 2)
        search = MixtureSearch(2).fit(X[:, :2])
        bootstrap_parameters(search.best_estimator_, X[:, :2], n_resamples=2, random_state=0)
"""


VERSIONS = """
import gc, json
from numba.core.dispatcher import Dispatcher

ours = [x for x in gc.get_objects() if isinstance(x, Dispatcher) and "fastgmm" in x.__module__]
compiled = [f"{x.__qualname__}{sig}" for x in ours for sig in x.stats.cache_misses]
loaded = [f"{x.__qualname__}{sig}" for x in ours for sig in x.stats.cache_hits]
print(json.dumps([compiled, loaded]))
"""


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled without the JIT"
)
def test_leaves_nothing_to_compile():
    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", code + VERSIONS], capture_output=True, text=True, check=True
        )
        return map(set, json.loads(done.stdout))

    compiled, loaded = run("from fastgmm.warmup import compile_kernels; compile_kernels()\n")
    still_compiled, used = run(USE_EVERYTHING)
    assert used
    assert not still_compiled
    assert used <= compiled | loaded  # the cache may hold more than the warm-up leaves in it
