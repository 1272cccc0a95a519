"""What each scale of `reg_covar` adds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.mixture.regularization import ORDINARY_VARIANCE, Regularization

VARIANCES = np.array([1e-300, 1e-8, ORDINARY_VARIANCE, 1.0, 1e300])


def amounts(scale, variances=VARIANCES, means=None):
    means = np.zeros_like(variances) if means is None else means
    return Regularization.from_variances(1e-6, scale, means, variances).amounts


def test_absolute_adds_the_same_to_every_feature():
    assert_array_equal(amounts("absolute", VARIANCES[:-1]), np.full(4, 1e-6))


def test_relative_adds_a_share_of_each_variance():
    assert_allclose(amounts("relative"), 1e-6 * VARIANCES, rtol=1e-15)


def test_auto_is_absolute_for_ordinary_features_and_shrinks_below():
    assert_allclose(amounts("auto", VARIANCES[:-1]), [1e-304, 1e-12, 1e-6, 1e-6], rtol=1e-15)


@pytest.mark.parametrize("scale", ["auto", "relative", "absolute"])
def test_a_constant_feature_gets_the_whole_amount(scale):
    offset = 1e8
    noise = (4 * np.finfo(float).eps * offset) ** 2
    regularization = Regularization.from_variances(
        1e-6, scale, np.array([0.0, offset, offset]), np.array([0.0, noise, 1.0])
    )
    assert_array_equal(regularization.constant, [True, True, False])
    assert_array_equal(regularization.amounts, [1e-6, 1e-6, 1e-6])


@pytest.mark.parametrize("scale", ["auto", "relative", "absolute"])
def test_the_last_digits_of_the_data_are_within_the_regularization(scale):
    digits = np.finfo(float).eps * 1e33
    far, wide = amounts(scale, np.array([0.0, 1e66]), np.array([1e33, 0.0]))
    assert digits**2 < far < 100 * digits**2
    assert digits**2 < wide


@pytest.mark.parametrize("scale", ["auto", "relative", "absolute"])
def test_zero_adds_nothing(scale):
    regularization = Regularization.from_variances(0.0, scale, np.zeros(2), np.array([0.0, 1.0]))
    assert regularization.is_zero
    assert Regularization.none(2).is_zero
    assert not Regularization.from_variances(1e-6, scale, np.zeros(1), np.ones(1)).is_zero


def test_an_unknown_scale_is_named():
    with pytest.raises(ValueError, match="reg_covar_scale must be one of auto, absolute, relative"):
        amounts("percent")
