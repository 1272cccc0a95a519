"""Volumes of covariances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgmm.mixture.parameters import whiteners_from_covariances
from fastgmm.mixture.structures.volumes import equalize_volumes, log_volumes


def matrices(seed=0):
    A = np.random.default_rng(seed).normal(size=(3, 4, 9))
    return A @ A.transpose(0, 2, 1)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("unit", [1e-140, 1.0, 1e140])
def test_volumes_become_their_mean_and_shapes_stay(diagonal, unit):
    S = matrices()
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
