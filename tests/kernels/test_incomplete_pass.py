"""Passes over rows that lack values against the oracle: each row by its own marginal."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.e_step import passes
from fastgmm.em.missing import incomplete
from tests import oracle
from tests.incomplete_rows import mixture, parameters_of, rows_of
from tests.pairwise import parametrize_pairwise


@parametrize_pairwise(
    problem=[
        *((1, 2, 0.5, 2.0), (3, 3, 0.4, 2.0), (5, 2, 0.7, 300.0)),
        *((9, 4, 0.15, 2.0), (12, 2, 0.5, 2.0)),
    ],
    dtype=[np.float64, np.float32],
    diagonal=[False, True],
    many=[1, 10**9],  # by pattern, row by row
)
def test_every_value_of_a_pass(problem, dtype, diagonal, many, monkeypatch):
    D, K, share, separation = problem
    monkeypatch.setattr(incomplete, "_rows_of_large_group", lambda _: many)
    truth = mixture(D, K, diagonal=diagonal, separation=separation)
    X = rows_of(truth, 70, share, dtype)
    X[7] = X[50] = np.nan
    weights = np.random.default_rng(2).uniform(0, 2, len(X))
    source = ArraySource(X, weights, incomplete=True)
    parameters = parameters_of(*truth, diagonal=diagonal)
    joint = oracle.observed_joint_log_density(X, *truth)
    density, shares = logsumexp(joint, axis=1), softmax(joint, axis=1)
    tolerance = 1e-11 if dtype is np.float64 else 3e-5

    found = passes.mixture_statistics(source, parameters, n_jobs=1)
    counts, first, second = oracle.expected_moments(
        X, shares, found.reference, truth[1], truth[2], weights
    )
    if diagonal:
        second = np.einsum("kii->ki", second)
    np.testing.assert_allclose(found.counts, counts, atol=tolerance * counts.max())
    np.testing.assert_allclose(found.first, first, atol=tolerance * np.abs(first).max())
    np.testing.assert_allclose(found.second, second, atol=tolerance * np.abs(second).max())
    assert found.weight == source.total_weight
    assert found.log_likelihood == pytest.approx(weights @ density, rel=tolerance)
    assert passes.log_likelihood(source, parameters, n_jobs=1) == found.log_likelihood

    values = passes.log_density(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, density, rtol=tolerance, atol=50 * tolerance)
    assert abs(values[7]) < 1e-13
    values = passes.responsibilities(source, parameters, n_jobs=1)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, shares, atol=50 * tolerance)
    np.testing.assert_allclose(values[7], truth[0], atol=tolerance)
    labels = passes.labels(source, parameters, n_jobs=1)
    margin = np.sort(shares, axis=1)[:, -1] - np.sort(shares, axis=1)[:, -2]
    np.testing.assert_array_equal(labels[margin > 1e-3], shares.argmax(axis=1)[margin > 1e-3])
