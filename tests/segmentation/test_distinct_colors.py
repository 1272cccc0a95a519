"""Distinct colors and their counts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.segmentation import pixels as pixels_module
from fastgmm.segmentation.distinct_colors import DistinctColors
from fastgmm.segmentation.pixels import Pixels

RANDOM = np.random.default_rng(0)


def distinct(image, space="rgb", spatial_weight=0.0):
    return DistinctColors.of(Pixels(image, space, spatial_weight))


@pytest.mark.parametrize("at_once", [2**18, 100])
@pytest.mark.parametrize(
    ("dtype", "shape"), [(np.uint8, (40, 50, 3)), (np.uint8, (40, 50)), (np.uint16, (40, 50, 1))]
)
def test_colors_and_counts(monkeypatch, dtype, shape, at_once):
    monkeypatch.setattr(pixels_module, "_PIXELS_AT_ONCE", at_once)
    largest = np.iinfo(dtype).max
    image = (RANDOM.integers(0, 6, shape) * (largest // 5)).astype(dtype)
    found = distinct(image)
    colors, inverse, counts = np.unique(
        image.reshape(2000, -1), axis=0, return_inverse=True, return_counts=True
    )
    assert_allclose(found.rows(), colors / largest, rtol=1e-6)
    assert_array_equal(found.weights, counts)
    numbers = np.arange(len(colors), dtype=np.uint16)
    assert_array_equal(found.of_pixels(numbers), inverse.reshape(40, 50))


def test_a_pixel_counts_as_far_as_it_is_opaque():
    image = np.zeros((4, 5, 4), np.uint8)
    image[:2, :, :3] = 7
    image[..., 3] = 51
    image[3, 4, 3] = 255
    image[0, 0] = (1, 2, 3, 0)
    found = distinct(image)
    assert_allclose(found.rows() * 255, [[0, 0, 0], [1, 2, 3], [7, 7, 7]], atol=1e-5)
    assert_allclose(found.weights, [9 * 0.2 + 1.0, 0.0, 9 * 0.2])


@pytest.mark.parametrize(
    ("image", "spatial_weight"),
    [
        (np.zeros((20, 20, 3), np.uint8), 1.0),
        (np.zeros((20, 20, 3), np.uint16), 0.0),
        (np.zeros((20, 20)), 0.0),
        (np.arange(65536).astype(np.uint16).reshape(256, 256), 0.0),
    ],
    ids=["with place", "too many possible", "floats", "too many"],
)
def test_pixels_are_used_where_counting_does_not_pay(image, spatial_weight):
    assert distinct(image, spatial_weight=spatial_weight) is None
