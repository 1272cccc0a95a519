"""Files that fastgmm 0.1.0 wrote in November 2026, before attributes were float64, still load."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

import fastgmm

FILES = Path(__file__).parents[1] / "reference" / "files_0_1"
ROWS = np.array([[0.0, 0.0], [6.0, 6.0]])


@pytest.mark.parametrize("name", ["mixture", "bayesian"])
def test_mixtures_load(name):
    mixture = fastgmm.load(FILES / f"{name}.fgm")
    labels = mixture.predict(ROWS)
    assert labels[0] != labels[1]
    assert_allclose(mixture.means_[labels], ROWS, atol=0.5)
    assert_allclose(mixture.weights_[labels], [0.4, 0.6], atol=0.02)


def test_a_bayesian_mixture_learns_on():
    mixture = fastgmm.load(FILES / "bayesian.fgm")
    before = mixture.n_samples_seen_
    mixture.partial_fit(np.repeat(ROWS, 10, axis=0) + np.linspace(-1, 1, 20)[:, None])
    assert mixture.n_samples_seen_ == before + 20


def test_classifiers_detectors_and_regressors_load():
    assert_array_equal(fastgmm.load(FILES / "classifier.fgm").predict(ROWS), [0, 1])
    assert_array_equal(fastgmm.load(FILES / "detector.fgm").predict([[0, 0], [99, 99]]), [1, -1])
    regressor = fastgmm.load(FILES / "regressor.fgm")
    assert_allclose(regressor.predict(ROWS[:, :1]), [0.0, 6.0], atol=1.0)


def test_an_interrupted_fit_resumes(tmp_path):
    i = np.arange(3000)
    X = np.stack([(i * i * 7919) % 10007, (i * i * i * 104729) % 10009], axis=1) / 64.0
    X[i % 3 == 0] += 100.0
    shutil.copy(FILES / "checkpoint.fgm", tmp_path)
    settings = {"n_components": 4, "random_state": 0, "tol": 0, "max_iter": 300}
    begun = fastgmm.GaussianMixture(**settings, checkpoint=tmp_path / "checkpoint.fgm", resume=True)
    with pytest.warns(ConvergenceWarning):
        begun.fit(X)
    with pytest.warns(ConvergenceWarning):
        alone = fastgmm.GaussianMixture(**settings).fit(X)
    assert begun.n_iter_ == alone.n_iter_
    assert_allclose(begun.means_, alone.means_, rtol=1e-9)
