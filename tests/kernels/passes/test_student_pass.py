"""Passes over mixtures of t-distributions against SciPy: values, layouts, types, threads."""

import numpy as np
import pytest
from scipy.special import logsumexp

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.mixture.student import StudentParameters
from tests import oracle
from tests.em.block_source import BlockSource
from tests.incomplete_rows import mixture, parameters_of
from tests.pairwise import parametrize_pairwise

DOFS = np.array([0.7, 3.0, 40.0, 9.0])


def student(truth, *, diagonal=False):
    parameters = parameters_of(*truth, diagonal=diagonal)
    return StudentParameters.from_gaussians(parameters, DOFS[: len(truth[0])])


def rows_of(truth, n_samples, dtype=np.float64):
    rng = np.random.default_rng(1)
    chosen = truth[1][rng.integers(len(truth[1]), size=n_samples)]
    return (chosen + rng.standard_t(2.0, size=chosen.shape)).astype(dtype)


@parametrize_pairwise(
    problem=[(1, 3, True), (2, 1, False), (5, 4, True), (9, 3, False)],
    separation=[2.0, 300.0],
    diagonal=[False, True],
    dtype=[np.float64, np.float32],
)
def test_every_value_of_a_pass(problem, separation, diagonal, dtype):
    D, K, weighted = problem
    truth = mixture(D, K, diagonal=diagonal, separation=separation)
    X = rows_of(truth, 300, dtype)
    weights = np.random.default_rng(2).uniform(0, 2, len(X)) if weighted else None
    source = ArraySource(X, weights)
    parameters = student(truth, diagonal=diagonal)
    X = X.astype(np.float64)
    joint = oracle.student_joint_log_density(X, *truth, DOFS[:K])
    density = logsumexp(joint, axis=1)
    shares = np.exp(joint - density[:, None])
    u = oracle.student_weights(X, truth[1], truth[2], DOFS[:K])
    tolerance = 1e-11 if dtype is np.float64 else 5e-5

    found = passes.mixture_statistics(source, parameters, n_jobs=1)
    copies = np.ones(len(X)) if weights is None else weights
    counts, first, second = oracle.moments(X, shares * u, found.reference, weights)
    if diagonal:
        second = np.einsum("kii->ki", second)
    wanted = {
        "counts": copies @ shares,
        "scaled_counts": counts,
        "logarithms": copies @ (shares * oracle.student_logarithms(u, D, DOFS[:K])),
        "first": first,
        "second": second,
    }
    for name, values in wanted.items():
        atol = tolerance * np.abs(values).max()
        np.testing.assert_allclose(getattr(found, name), values, atol=atol, err_msg=name)
    assert found.log_likelihood == pytest.approx(copies @ density, rel=tolerance)
    assert passes.log_likelihood(source, parameters, n_jobs=1) == found.log_likelihood

    values = passes.log_density(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, density, rtol=tolerance, atol=tolerance)
    values = passes.responsibilities(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, shares, atol=5 * tolerance)
    labels = passes.labels(source, parameters, n_jobs=1)
    certain = shares.max(axis=1) > 0.5 + 1e-3
    np.testing.assert_array_equal(labels[certain], joint.argmax(axis=1)[certain])
    alone = passes.component_log_densities(source, parameters, n_jobs=1)
    np.testing.assert_allclose(alone, joint - np.log(truth[0]), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_neither_threads_nor_layout_nor_blocks_matter(dtype, diagonal):
    truth = mixture(3, 4, diagonal=diagonal)
    X = rows_of(truth, 9000, dtype)
    weights = np.random.default_rng(2).uniform(0, 2, len(X))
    parameters = student(truth, diagonal=diagonal)
    expected = passes.mixture_statistics(ArraySource(X, weights), parameters, n_jobs=1)
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    blocks = BlockSource(X, weights)
    for source in (ArraySource(np.asfortranarray(X), weights), ArraySource(wide, weights), blocks):
        for n_jobs in (1, 2):
            found = passes.mixture_statistics(source, parameters, n_jobs=n_jobs)
            for name in ("counts", "scaled_counts", "logarithms", "first", "second"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
            assert found.log_likelihood == expected.log_likelihood


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")  # as plain Python, NumPy warns
@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 1e120), (np.float32, 1e15)])
def test_rows_far_out_have_their_density_and_hardly_any_weight(dtype, far, diagonal):
    truth = mixture(2, 3, diagonal=diagonal)
    parameters = student(truth, diagonal=diagonal)
    X = np.concatenate([rows_of(truth, 500), [[far, 0.0], [-far, far]]]).astype(dtype)
    density = logsumexp(oracle.student_joint_log_density(X, *truth, DOFS[:3]), axis=1)
    found = passes.log_density(ArraySource(X), parameters)
    np.testing.assert_allclose(found, density, rtol=1e-12 if dtype is np.float64 else 1e-4)
    near, all_rows = (
        passes.mixture_statistics(ArraySource(rows), parameters) for rows in (X[:-2], X)
    )
    assert all_rows.counts.sum() == pytest.approx(502)
    np.testing.assert_allclose(all_rows.means(), near.means(), rtol=0.01)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
@pytest.mark.parametrize("diagonal", [False, True])
def test_rows_whose_squares_overflow_have_no_weight(diagonal):
    truth = mixture(2, 3, diagonal=diagonal)
    parameters = student(truth, diagonal=diagonal)
    X = np.concatenate([rows_of(truth, 500), [[1e200, 0.0], [1e308, -1e308]]])
    near, found = (passes.mixture_statistics(ArraySource(rows), parameters) for rows in (X[:-2], X))
    np.testing.assert_array_equal(found.scaled_counts, near.scaled_counts)
    np.testing.assert_allclose(found.means(), near.means())
    assert np.isfinite(found.log_likelihood)
    assert passes.responsibilities(ArraySource(X), parameters).sum() == pytest.approx(502)
