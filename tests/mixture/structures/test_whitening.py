"""Whiteners, volumes and axes, and what becomes of singular covariances."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.parameters import whiteners_from_covariances
from fastgmm.mixture.regularization import IllDefinedCovarianceError, Regularization
from fastgmm.mixture.structures.whitening import (
    compose,
    equalize_volumes,
    log_volumes,
    make_regular,
    principal_axes,
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


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("unit", [1e-140, 1.0, 1e140])
def test_volumes_become_their_mean_and_shapes_stay(diagonal, unit):
    S = covariances(3, 4)
    S = np.einsum("kii->ki", S) if diagonal else S
    volumes = S.prod(axis=1) ** 0.25 if diagonal else np.linalg.det(S) ** 0.25
    W = whiteners_from_covariances(S * unit**2)
    assert_allclose(log_volumes(W), np.log(volumes) + 2 * np.log(unit), rtol=1e-12)
    shares = np.array([0.5, 0.2, 0.3])
    equal = equalize_volumes(W, shares)
    assert_allclose(log_volumes(equal), np.log(shares @ volumes) + 2 * np.log(unit), rtol=1e-12)
    ratios = np.where(W == 0.0, 1.0, equal / np.where(W == 0.0, 1.0, W)).reshape(3, -1)
    factors = np.sqrt(volumes / (shares @ volumes))
    assert_allclose(ratios[:, 0], factors, rtol=1e-12)
    assert_allclose(equal, W * factors.reshape(-1, *[1] * (W.ndim - 1)), rtol=1e-12)


def test_volumes_too_far_apart_for_float64_do_not_overflow():
    W = np.array([[1e-120, 1e-120], [1e120, 1e120]])
    equal = equalize_volumes(W, np.array([0.5, 0.5]))
    assert_allclose(log_volumes(equal), 2 * [2 * 120 * np.log(10) - np.log(2)], rtol=1e-12)


def correlations(seed, n_features):
    A = np.random.default_rng(seed).normal(size=(n_features, 2 * n_features))
    S = A @ A.T
    deviations = np.sqrt(np.diag(S))
    return S / deviations / deviations[:, None]


@pytest.mark.parametrize(
    "units", [[1.0, 2.0, 3.0], [1.0, 1e-12, 3e-12], [1e150, 1e149, 1e140], [1e-150, 1e-151, 1e-140]]
)
def test_every_eigenvalue_has_all_its_digits(units):
    S = correlations(0, 3) * np.multiply.outer(units, units)
    variances, axes = principal_axes(S[None])
    with mpmath.workdps(100):
        exact = sorted(mpmath.eigsy(mpmath.matrix(S.tolist()), eigvals_only=True), reverse=True)
        exact = [float(each) for each in exact]
    assert_allclose(variances[0], exact, rtol=1e-13)
    assert_allclose(axes[0].T @ axes[0], np.eye(3), atol=1e-14)
    scale = np.multiply.outer(units, units)
    assert_allclose(compose(variances, axes)[0] / scale, S / scale, rtol=1e-12, atol=1e-13)


def test_singular_covariances_have_variances_of_exactly_zero():
    A = np.random.default_rng(1).normal(size=(4, 2))
    S = np.stack([A @ A.T, np.zeros((4, 4)), np.diag([1.0, 0.0, 3.0, 0.0])])
    variances, axes = principal_axes(S)
    assert_array_equal(variances[0, 2:], 0.0)
    assert_array_equal(variances[1], 0.0)
    assert_allclose(variances[2], [3.0, 1.0, 0.0, 0.0], rtol=1e-15)
    for each in axes:
        assert_allclose(each @ each.T, np.eye(4), atol=1e-14)
    assert_allclose(compose(variances, axes), S, atol=1e-14)


def test_either_part_may_be_common():
    axes = np.linalg.qr(np.random.default_rng(2).normal(size=(2, 3, 3)))[0]
    variances = np.array([[3.0, 2.0, 1.0], [1.0, 5.0, 2.0]])
    for k in range(2):
        shared = compose(variances, axes[0])[k]
        assert_allclose(shared, axes[0] @ np.diag(variances[k]) @ axes[0].T)
        own = compose(variances[0], axes)[k]
        assert_allclose(own, axes[k] @ np.diag(variances[0]) @ axes[k].T)
