"""Pixels as rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgmm.data.options import ReadingOptions
from fastgmm.segmentation import pixels as pixels_module
from fastgmm.segmentation.color_spaces import coordinates, decoded
from fastgmm.segmentation.pixels import DistinctColors, Pixels, PixelSource
from tests.pairwise import parametrize_pairwise

RANDOM = np.random.default_rng(0)


def all_rows(pixels, **options):
    source = PixelSource(pixels, ReadingOptions(**options))
    blocks = [(block.X.copy(), block.weights) for block in source.blocks()]
    weights = None if blocks[0][1] is None else np.concatenate([each[1] for each in blocks])
    return np.concatenate([each[0] for each in blocks]), weights


@pytest.fixture(params=[2**18, 50], ids=["at once", "in strips"])
def _strips(request, monkeypatch):
    monkeypatch.setattr(pixels_module, "_PIXELS_AT_ONCE", request.param)


@pytest.mark.usefixtures("_strips")
@parametrize_pairwise(
    n_channels=[0, 1, 2, 3, 4],
    dtype=[np.uint8, np.uint16, np.float32, np.float64],
    space=["rgb", "lab", "luv"],
)
def test_rows_are_colors_and_weights_opacity(dtype, n_channels, space):
    shape = (13, 20) if n_channels == 0 else (13, 20, n_channels)
    levels = RANDOM.random(shape)
    largest = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    image = (largest * levels).astype(dtype)
    pixels = Pixels(image, space, 0.0)
    rows, weights = all_rows(pixels)
    flat = image.reshape(260, -1) / largest
    colors = flat[:, : 3 if n_channels > 2 else 1]
    assert_allclose(rows, coordinates(decoded(colors, space), space), rtol=1e-5, atol=1e-4)
    assert rows.dtype == np.float32
    if n_channels in (2, 4):
        assert_allclose(weights, flat[:, -1], rtol=1e-6)
    else:
        assert weights is None


@pytest.mark.usefixtures("_strips")
@pytest.mark.parametrize(("space", "largest"), [("rgb", 1.0), ("lab", 100.0), ("luv", 100.0)])
def test_place_is_scaled_by_the_longer_side(space, largest):
    image = RANDOM.integers(0, 256, (8, 16, 3), dtype=np.uint8)
    rows, _ = all_rows(Pixels(image, space, 0.5))
    line, column = np.divmod(np.arange(128), 16)
    assert_allclose(rows[:, 3], 0.5 * largest * line / 16)
    assert_allclose(rows[:, 4], 0.5 * largest * column / 16)
    assert_array_equal(rows[:, :3], all_rows(Pixels(image, space, 0.0))[0])


def test_views_of_images_are_read_where_they_are():
    image = RANDOM.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    view = image[::2, ::-3, :3]
    assert_array_equal(
        all_rows(Pixels(view, "rgb", 1.0))[0], all_rows(Pixels(view.copy(), "rgb", 1.0))[0]
    )


def test_rows_are_made_anew_where_memory_is_short():
    pixels = Pixels(RANDOM.integers(0, 256, (60, 70, 3), dtype=np.uint8), "lab", 1.0)
    plenty = PixelSource(pixels, ReadingOptions())
    short = PixelSource(pixels, ReadingOptions(memory_budget=1000))
    for _ in range(2):
        for source in (plenty, short):
            X = np.concatenate([block.X for block in source.blocks()])
            assert_array_equal(X, all_rows(pixels)[0])
    assert (plenty.reads_ahead, short.reads_ahead) == (False, True)
    assert (plenty.n_samples, short.n_samples) == (4200, 4200)


def test_fingerprints_distinguish_images_and_options():
    image = RANDOM.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    other = image.copy()
    other[2, 3, 1] ^= 1

    def fingerprint(*arguments):
        return PixelSource(Pixels(*arguments), ReadingOptions()).fingerprint()

    prints = [
        fingerprint(image, "rgb", 1.0),
        fingerprint(other, "rgb", 1.0),
        fingerprint(image, "lab", 1.0),
        fingerprint(image, "rgb", 2.0),
    ]
    assert fingerprint(image.copy(), "rgb", 1.0) == prints[0]
    assert all(prints[i] != prints[j] for i in range(4) for j in range(i))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros(5, np.uint8), r"an image is an array of shape .*; got shape \(5,\)"),
        (np.zeros((2, 2, 5), np.uint8), "with 1 to 4 channels"),
        (np.zeros((2, 2, 3, 1), np.uint8), "an image is an array of shape"),
        (np.zeros((4, 4), complex), "of integers or floats; got .* type complex128"),
        (np.zeros((4, 4), bool), "of integers or floats; got .* type bool"),
        (np.zeros((0, 4), np.uint8), r"has one pixel at least; got shape \(0, 4\)"),
        (np.full((4, 4), np.inf), "pixels that are no numbers or infinite: replace their levels"),
        (np.full((4, 4), np.nan), "pixels that are no numbers or infinite: replace their levels"),
    ],
)
def test_array_that_is_no_image(image, words):
    with pytest.raises(ValueError, match=words):
        Pixels(image, "rgb", 0.0)


def test_parameters_are_checked():
    image = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="color_space must be one of rgb, lab, luv; got 'hsv'"):
        Pixels(image, "hsv", 0.0)
    for weight in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"spatial_weight must be .* at least 0; got {weight}"):
            Pixels(image, "rgb", weight)


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
