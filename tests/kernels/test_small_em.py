"""Whole fits in one call: against EM in plain NumPy, step by step."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.kernels import small_em
from fastgmm.kernels.microkernels.densities import DIAGONAL_VECTORS
from fastgmm.kernels.microkernels.simd import BLOCK
from fastgmm.kernels.mixture_pass import pass_address
from fastgmm.kernels.packing import ROWS
from fastgmm.kernels.threads import run_slots
from tests import oracle
from tests.kernels.lane_arrays import callable_from_python
from tests.kernels.test_structure_m_steps import LETTERS


def fits(X, partitions, candidates, *, weights=None, tol=0.0, max_iter=4):
    """Return what became of candidates (structure, K), fitted from partitions of the rows."""
    n_samples, n_features = X.shape
    most, n_fits = max(partitions), len(candidates)
    task = small_em.SmallFits(
        run_pass=pass_address(),
        X=X[None],
        weights=np.ones((1, n_samples)) if weights is None else weights[None],
        rows_of=np.zeros(n_fits, dtype=np.int64),
        labels=np.array([partitions[n_components] for _, n_components in candidates]),
        given=np.zeros(n_fits, dtype=bool),
        n_components=np.array([n_components for _, n_components in candidates]),
        letters=np.array([[LETTERS[each] for each in letters] for letters, _ in candidates]),
        amounts=np.zeros(n_features),
        tol=tol,
        mean_tol=0.0,
        max_iter=max_iter,
        smallest=1e-14,
        smallest_share=1e-15,
        rounding=1e-10,
        farthest_shared=30.0,
        mixture_weights=np.zeros((n_fits, most)),
        means=np.zeros((n_fits, most, n_features)),
        whiteners=np.zeros((n_fits, most, n_features, n_features)),
        log_likelihood=np.zeros(n_fits),
        entropy=np.zeros(n_fits),
        n_iter=np.zeros(n_fits, dtype=np.int64),
        status=np.zeros(n_fits, dtype=np.int64),
    )
    run_slots(small_em.small_fit_slot, task, n_fits, 1, 0)
    return task


def covariances_of(task):
    whiteners = task.whiteners[0]
    return np.linalg.inv(whiteners.transpose(0, 2, 1) @ whiteners)


def problem(n_features):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, n_features)) * np.arange(1.0, n_features + 1.0)
    X[20:] += 2.5
    return X - X.mean(axis=0), np.repeat([0, 1], [20, 30]), rng.uniform(0.5, 2.0, size=50)


@pytest.mark.parametrize("letters", ["VVV", "EEE", "EVI", "EVV", "VVI", "EEI", "VII", "EII"])
@pytest.mark.parametrize("n_features", [1, 3])
def test_steps_are_those_of_em(letters, n_features):
    X, start, weights = problem(n_features)
    n_iter = 3
    task = fits(X, {2: start}, [(letters, 2)], weights=weights, max_iter=n_iter)

    parameters = oracle.m_step(X, oracle.one_hot(start, 2), letters, sample_weight=weights)
    parameters, _ = oracle.em(X, *parameters, letters, n_iter, sample_weight=weights)
    assert task.status[0] == small_em.MAX_ITER
    assert task.n_iter[0] == n_iter
    assert_allclose(task.mixture_weights[0], parameters[0], rtol=1e-8)
    assert_allclose(task.means[0], parameters[1], rtol=1e-7, atol=1e-8)
    assert_allclose(covariances_of(task), parameters[2], rtol=1e-6, atol=1e-8)
    expected = weights @ oracle.log_density(X, *parameters)
    assert task.log_likelihood[0] == pytest.approx(expected, rel=1e-9)
    shares = oracle.responsibilities(X, *parameters)
    entropy = -weights @ (shares * np.log(shares)).sum(axis=1)
    assert task.entropy[0] == pytest.approx(entropy, rel=1e-6)


@pytest.mark.parametrize("letters", ["VVV", "EVI"])
def test_components_far_apart_lose_no_digits(letters):
    """Moments are not about the mean of all rows then."""
    X, start, _ = problem(3)
    X[20:] += 1e5
    task = fits(X, {2: start}, [(letters, 2)], max_iter=2)
    weights, means, covariances = oracle.m_step(X, oracle.one_hot(start, 2), letters)
    assert_allclose(task.mixture_weights[0], weights, rtol=1e-14)
    assert_allclose(task.means[0], means, rtol=1e-10, atol=1e-10)
    assert_allclose(covariances_of(task), covariances, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_samples", [1, 31, 321, 1024, 1025, 2500])
def test_any_number_of_rows(n_samples):
    X = np.random.default_rng(n_samples).normal(size=(n_samples, 2))
    task = fits(X, {1: np.zeros(n_samples, dtype=np.int64)}, [("EII", 1)], max_iter=1)
    if n_samples == 1:
        assert task.status[0] == small_em.SINGULAR
        return
    parameters = oracle.m_step(X, np.ones((n_samples, 1)), "EII")
    expected = oracle.log_density(X, *parameters).sum()
    assert task.log_likelihood[0] == pytest.approx(expected, rel=1e-10)
    assert_allclose(task.means[0], parameters[1], atol=1e-13)


@pytest.mark.parametrize("n_samples", [1, 32, 50, 272, 320, 700, 1024, 4096])
def test_no_pass_writes_beyond_its_tile(n_samples):
    lanes = callable_from_python(small_em._lanes_of_tiles)(n_samples)
    assert lanes % (max(DIAGONAL_VECTORS, ROWS) * BLOCK.n_bytes // 8) == 0
    assert lanes >= min(n_samples, 256)


def test_rows_without_a_label_do_not_count_in_the_first_step():
    X, start, _ = problem(2)
    some = start.copy()
    some[::3] = -1
    task = fits(X, {2: some}, [("VVV", 2)], max_iter=0)
    known = some >= 0
    expected = oracle.m_step(X[known], oracle.one_hot(some[known], 2), "VVV")
    assert_allclose(task.means[0], expected[1], rtol=1e-9, atol=1e-12)
    assert_allclose(covariances_of(task), expected[2], rtol=1e-9, atol=1e-12)


def test_every_candidate_has_an_end_of_its_own():
    X, start, _ = problem(2)
    X[:20] = X[0]  # a component that is a single point
    partitions = {1: np.zeros(50, dtype=np.int64), 2: start, 3: start}
    candidates = [("VVV", 1), ("VVV", 2), ("EVE", 2), ("VVI", 2), ("EEE", 3)]
    task = fits(X, partitions, candidates, tol=1e-6, max_iter=500)
    singular = small_em.SINGULAR
    assert list(task.status) == [small_em.CONVERGED, singular, singular, singular, small_em.EMPTY]
    assert list(np.isnan(task.log_likelihood)) == [False, True, True, True, True]
    assert task.n_iter[0] == 1


def test_rows_beyond_all_numbers_are_no_fit():
    X, start, _ = problem(2)
    with np.errstate(over="ignore", invalid="ignore"):  # heard of only where nothing is compiled
        task = fits(1e200 * X, {2: start}, [("VVV", 2)])
    assert task.status[0] == small_em.SINGULAR


_BROKEN_STEP = """
import numpy as np
from fastgmm.kernels import small_em
from tests.kernels.test_small_em import fits, problem

X, start, _ = problem(2)
whole = fits(X, {2: start}, [("VVV", 2)], max_iter=2)
sound, n_steps = small_em.m_step, 0

def broken(letters, covariances, shares, memory, whiteners, log_determinants, *others):
    global n_steps
    n_steps += 1
    found = sound(letters, covariances, shares, memory, whiteners, log_determinants, *others)
    if n_steps == 4:
        whiteners *= 3.0
        log_determinants -= 4.0 * np.log(3.0)
    return found

small_em.m_step = broken
task = fits(X, {2: start}, [("VVV", 2)], max_iter=9)
assert task.status[0] == small_em.FALLEN, task.status
assert task.n_iter[0] == 2
for name in ("mixture_weights", "means", "whiteners", "log_likelihood"):
    assert np.array_equal(getattr(task, name)[0], getattr(whole, name)[0]), name
assert np.isclose(task.entropy[0], whole.entropy[0], rtol=1e-12)
"""


def test_a_fall_of_the_log_likelihood_ends_a_fit_at_the_mixture_before():
    """No M-step of ours makes it fall, so that one is broken, which only plain Python allows."""
    subprocess.run(
        [sys.executable, "-c", _BROKEN_STEP],
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )


def test_a_component_is_empty_where_it_is_for_every_other_fit():
    """Beside rows of weight 1, one of weight 1e-13 is few, and one of 1e-16 none."""
    X, start, weights = problem(2)
    for share, status in ((1e-13, small_em.MAX_ITER), (1e-17, small_em.EMPTY)):
        few = np.where(start == 0, share, 1.0) * weights
        task = fits(X, {2: start}, [("EII", 2)], weights=few, max_iter=0)
        assert task.status[0] == status
