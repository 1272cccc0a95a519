"""Whiteners, and what becomes of singular covariances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures.whitening import (
    make_regular,
    smallest_raised,
    square_roots,
    whiten_matrices,
    whiten_variances,
)

NONE = Regularization.none(3)
SOME = Regularization(np.full(3, 1e-6), np.zeros(3, dtype=bool))


def covariances(n=3, n_features=3, seed=0):
    A = np.random.default_rng(seed).normal(size=(n, n_features, 2 * n_features))
    return A @ A.transpose(0, 2, 1)


def singular(seed=0):
    A = np.random.default_rng(seed).normal(size=(1, 3, 2)) * [[[1e-4], [1.0], [1e5]]]
    return A @ A.transpose(0, 2, 1)


@pytest.mark.parametrize("units", [[1.0, 1.0, 1.0], [1e-150, 1.0, 1e140]])
def test_a_whitener_makes_the_covariance_the_identity(units):
    S = covariances() * np.multiply.outer(units, units)
    W = whiten_matrices(S.copy(), NONE)
    assert_array_equal(np.triu(W, 1), 0.0)
    assert_allclose(W @ S @ W.transpose(0, 2, 1), np.eye(3)[None] * np.ones((3, 1, 1)), atol=1e-12)


def test_inverse_standard_deviations():
    assert_allclose(whiten_variances(np.array([[4.0, 0.25]])), [[0.5, 2.0]])


@pytest.mark.parametrize("function", [whiten_matrices, make_regular])
def test_singular_covariances_are_an_error_without_regularization(function):
    S = np.concatenate([covariances(1), singular()])
    with pytest.raises(IllDefinedCovarianceError, match=r"component 1.*linearly dependent"):
        function(S.copy(), NONE)
    S[1, 2] = S[1, :, 2] = 0.0
    with pytest.raises(IllDefinedCovarianceError, match=r"component 1.*variance in feature 2 is 0"):
        function(S.copy(), NONE)
    with pytest.raises(IllDefinedCovarianceError, match=r"the mixture.*variance in feature 2 is 0"):
        function(S[1:].copy(), NONE)


def test_only_singular_covariances_are_raised():
    S = np.concatenate([covariances(2), singular()])
    before = S.copy()
    regular = make_regular(S, SOME)
    assert_array_equal(S, before)
    assert_array_equal(regular[:2], S[:2])
    deviations = np.sqrt(np.diag(S[2]))
    correlations = regular[2] / deviations / deviations[:, None]
    assert np.linalg.eigvalsh(correlations)[0] == pytest.approx(smallest_raised(3), rel=0.1)
    assert_allclose(correlations, S[2] / deviations / deviations[:, None], atol=1e-12)
    assert make_regular(S[:2], SOME) is not None
    # An eigenvalue that was raised is known as well as 64 roundings allow.
    assert_allclose(whiten_matrices(regular, NONE), whiten_matrices(S, SOME), rtol=1e-2)


def test_square_roots_of_regular_and_singular_covariances():
    S = np.concatenate([covariances(2), singular(), np.zeros((1, 3, 3))])
    F = square_roots(S)
    deviations = np.sqrt(np.einsum("kii->ki", S)) + (S == 0).all(axis=(1, 2))[:, None]
    error = (F @ F.transpose(0, 2, 1) - S) / deviations[:, :, None] / deviations[:, None, :]
    assert np.abs(error).max() < 1e-13
    assert_array_equal(np.linalg.matrix_rank(F[2:3] / deviations[2:3, :, None], tol=1e-12), 2)
