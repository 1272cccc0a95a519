"""Principal axes to the last digits, whatever the scales of the features."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.structures.principal_axes import compose, principal_axes


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
