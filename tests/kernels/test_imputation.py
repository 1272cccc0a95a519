"""Rows with what is missing filled in: expected values against the oracle, and draws."""

import numpy as np
import pytest
from scipy.special import softmax

from fastgmm.data.sources.array import ArraySource
from fastgmm.em.missing.imputation import impute_blocks
from tests import oracle
from tests.incomplete_rows import mixture, parameters_of, rows_of

by_kind = pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diag"])


def imputed(X, parameters, **options):
    source = ArraySource(X, incomplete=True)
    return np.concatenate(list(impute_blocks(source, parameters, **options)), axis=-2)


@by_kind
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("D", "K", "share"), [(1, 2, 0.5), (5, 3, 0.3), (6, 2, 0.8)])
def test_expected_values(D, K, share, dtype, diagonal):
    truth = mixture(D, K, diagonal=diagonal)
    X = rows_of(truth, 80, share, dtype)
    X[3] = np.nan
    shares = softmax(oracle.observed_joint_log_density(X, *truth), axis=1)
    expected = np.zeros((80, D))
    for n, x in enumerate(X):
        for k in range(K):
            expected[n] += shares[n, k] * oracle.conditional(x, truth[1][k], truth[2][k])[0]
    found = imputed(X, parameters_of(*truth, diagonal=diagonal))
    assert found.dtype == dtype
    tolerance = 1e-10 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    seen = ~np.isnan(X)
    np.testing.assert_array_equal(found[seen], X[seen])
    np.testing.assert_allclose(found[3], truth[0] @ truth[1], rtol=tolerance)


@by_kind
@pytest.mark.parametrize("holes", [[0], [0, 2, 3], [0, 1, 2, 3]])
def test_draws_have_the_conditional_moments(holes, diagonal):
    truth = mixture(4, 2, diagonal=diagonal)
    x = truth[1].mean(axis=0)
    x[holes] = np.nan
    shares = softmax(oracle.observed_joint_log_density(x[None], *truth), axis=1)[0]
    parts = [oracle.conditional(x, mean, cov) for mean, cov in zip(*truth[1:], strict=True)]
    mean = sum(r * filled for r, (filled, _) in zip(shares, parts, strict=True))
    second = sum(
        r * (rest + np.outer(filled - mean, filled - mean))
        for r, (filled, rest) in zip(shares, parts, strict=True)
    )
    n_draws = 2000
    draws = imputed(x[None], parameters_of(*truth, diagonal=diagonal), n_draws=n_draws, seed=1)
    assert draws.shape == (n_draws, 1, 4)
    draws = draws[:, 0]
    assert (np.delete(draws, holes, axis=1) == np.delete(x, holes)).all()
    draws, mean, second = draws[:, holes], mean[holes], second[np.ix_(holes, holes)]
    errors = np.sqrt(np.diagonal(second) / n_draws)
    assert (np.abs(draws.mean(axis=0) - mean) <= 5.0 * errors).all()
    # the standard error of a covariance is below √2 times that of normal numbers' variances
    scale = np.sqrt(np.outer(np.diagonal(second), np.diagonal(second)) * 4.0 / n_draws)
    found = np.atleast_2d(np.cov(draws.T, bias=True))
    assert (np.abs(found - second) <= 5.0 * scale).all()
