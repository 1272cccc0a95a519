from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from fastgmm.bench.grid import FULL_GRID, Case
from fastgmm.bench.mixture_problem import make_problem
from tests import oracle

CASE = Case("pass", "full", 3_000, 3, 4)


def log_joint(problem, X):
    return oracle.joint_log_density(X, problem.weights, problem.means, problem.covariances)


def test_every_process_gets_the_same_data():
    first, second = make_problem(CASE), make_problem(CASE)
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.means, second.means)
    np.testing.assert_array_equal(first.covariances, second.covariances)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("structure", "shape"), [("full", (4, 3, 3)), ("diag", (4, 3))])
def test_shapes_and_types(dtype, structure, shape):
    problem = make_problem(replace(CASE, dtype=dtype, structure=structure))
    assert problem.X.shape == (3_000, 3)
    assert problem.X.dtype == dtype
    assert problem.X.flags.c_contiguous
    assert problem.means.shape == (4, 3)
    assert problem.covariances.shape == shape


def test_number_of_rows_for_warming_up():
    assert make_problem(CASE, n_samples=17).X.shape == (17, 3)


def test_features_are_correlated():
    correlations = np.corrcoef(make_problem(replace(CASE, n_features=8)).X.T)
    assert np.abs(correlations - np.eye(8)).max() > 0.3


@pytest.mark.parametrize(
    "case",
    [case for case in FULL_GRID if case.task == "pass" and case.dtype == "float64"],
    ids=lambda case: case.identifier,
)
def test_components_overlap_as_stated(case):
    # One thread, because BLAS takes seconds over little matrices where its threads must wait.
    with threadpool_limits(1):
        problem = make_problem(case, n_samples=1_000)
        joint = log_joint(problem, problem.X)
    responsibilities = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    certainty = responsibilities.max(axis=1).mean()
    if case.overlap == "overlapping":
        # No component is ever so far away that it could be left out unnoticed.
        assert certainty < 0.9
        assert (joint.max(axis=1) - joint.min(axis=1)).max() < 40
    else:
        assert certainty > 0.98
