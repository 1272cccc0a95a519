"""An image in the mean colors of its components."""

import math
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.exceptions import ConvergenceWarning

from fastgmm import segment_image
from fastgmm.data.source import Source
from fastgmm.segmentation import pixels as pixels_module
from fastgmm.segmentation.pixels import DistinctColors

RANDOM = np.random.default_rng(0)


def two_halves(dtype, n_channels):
    """Return a dark upper and a light lower half with a little noise."""
    largest = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    shape = (20, 30) if n_channels == 0 else (20, 30, n_channels)
    levels = (0.2 + 0.02 * RANDOM.random(shape), 0.8 + 0.02 * RANDOM.random(shape))
    return np.concatenate([largest * half for half in levels]).astype(dtype)


def photograph(height=60, width=80):
    """Return few colors that overlap."""
    centers = RANDOM.integers(40, 220, (3, 3))
    labels = RANDOM.integers(0, 3, (height, width))
    noise = RANDOM.normal(0.0, 4.0, (height, width, 1)) + RANDOM.normal(
        0.0, 2.0, (height, width, 3)
    )
    return np.clip(np.rint(centers[labels] + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("n_channels", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_halves_are_distinguished(dtype, n_channels):
    image = two_halves(dtype, n_channels)
    segmentation = segment_image(image, 2, random_state=0)
    assert segmentation.image.dtype == segmentation.palette.dtype == dtype
    assert segmentation.image.shape == image.shape
    assert segmentation.palette.shape == (2, n_channels or 1)
    assert segmentation.labels.shape == (40, 30)
    assert segmentation.labels.dtype == np.uint8
    assert_array_equal(segmentation.original, image)
    for half in (slice(0, 20), slice(20, 40)):
        painted = segmentation.image[half].reshape(600, -1)
        assert (painted == painted[0]).all()
        mean = image[half].reshape(600, -1).astype(float).mean(axis=0)
        step = 0.5 if np.dtype(dtype).kind == "u" else 1e-5
        assert_allclose(painted[0], mean, atol=1.01 * step)


@pytest.mark.parametrize("space", ["lab", "luv"])
@pytest.mark.parametrize("n_channels", [0, 3])
def test_means_in_other_spaces_come_back_as_levels(space, n_channels):
    image = two_halves(np.uint8, n_channels)
    segmentation = segment_image(image, 2, color_space=space, random_state=0)
    assert segmentation.model.means_[:, 0].max() > 75.0  # L* of 0.81
    for half in (slice(0, 20), slice(20, 40)):
        mean = image[half].reshape(600, -1).astype(float).mean(axis=0)
        assert_allclose(segmentation.image[half][0, 0], mean, atol=1.0)


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_distinct_colors_give_the_fit_of_all_pixels(monkeypatch, space):
    image = photograph() // 4 * 4
    model = segment_image(image, 3, color_space=space, random_state=0).model
    start = {
        "weights_init": np.full(3, 1 / 3),
        "means_init": model.means_ + 0.1 * model.means_.std(axis=0),
        "precisions_init": 0.5 * model.precisions_,
        "tol": 0.0,
        "max_iter": 12,
    }
    seen = []

    def fit(model, rows):
        seen.append(rows.n_samples)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # as many iterations for both
            model.fit(rows)

    counted = segment_image(image, 3, color_space=space, fit=fit, **start)
    monkeypatch.setattr(DistinctColors, "of", lambda _pixels: None)
    all_pixels = segment_image(image, 3, color_space=space, fit=fit, **start)
    assert seen[0] == len(np.unique(image.reshape(-1, 3), axis=0)) < 2400
    # Both passes round in single precision.
    assert_allclose(counted.model.trace_, all_pixels.model.trace_, rtol=1e-6)
    assert_allclose(counted.model.means_, all_pixels.model.means_, rtol=1e-5)
    scale = np.abs(all_pixels.model.covariances_).max()
    assert_allclose(counted.model.covariances_, all_pixels.model.covariances_, atol=1e-5 * scale)
    assert_array_equal(counted.labels, all_pixels.labels)
    assert_array_equal(counted.image, all_pixels.image)


@pytest.mark.parametrize("spatial_weight", [0.0, 1.0])
def test_the_image_does_not_depend_on_strips_and_views(monkeypatch, spatial_weight):
    image = photograph()
    whole = segment_image(image, 3, spatial_weight=spatial_weight, random_state=0)
    wide = np.zeros((120, 240, 3), np.uint8)
    wide[::2, ::3] = image
    monkeypatch.setattr(pixels_module, "_PIXELS_AT_ONCE", 170)
    short = 1000 if spatial_weight else 10**9
    strips = segment_image(
        wide[::2, ::3], 3, spatial_weight=spatial_weight, memory_budget=short, random_state=0
    )
    assert_array_equal(strips.labels, whole.labels)
    assert_array_equal(strips.image, whole.image)
    assert strips.psnr() == pytest.approx(whole.psnr(), rel=1e-12)


def test_position_distinguishes_equal_colors():
    image = two_halves(np.uint8, 3)[:20]
    options = {"covariance_type": "tied_spherical", "random_state": 0}
    labels = segment_image(image, 2, spatial_weight=10.0, **options).labels
    assert (labels[:, :14] == labels[0, 0]).all()
    assert (labels[:, 16:] == labels[0, 29]).all()
    assert labels[0, 0] != labels[0, 29]


def test_alpha_is_kept_and_transparent_pixels_do_not_count():
    opaque = two_halves(np.uint8, 3)
    image = np.full((60, 30, 4), 255, np.uint8)
    image[:40, :, :3] = opaque
    image[40:] = (255, 0, 255, 0)
    segmentation = segment_image(image, 2, random_state=0)
    expected = segment_image(opaque, 2, random_state=0)
    assert_array_equal(segmentation.image[..., 3], image[..., 3])
    assert_array_equal(segmentation.image[:40, :, :3], expected.image)
    assert_array_equal(np.sort(segmentation.palette, axis=0), np.sort(expected.palette, axis=0))
    assert segmentation.psnr() == pytest.approx(expected.psnr(), rel=1e-12)
    with_place = segment_image(image, 2, spatial_weight=1e-3, random_state=0)
    assert_array_equal(with_place.image[:40, :, :3], expected.image)


def test_side_by_side():
    for n_channels in (0, 3, 4):
        image = two_halves(np.uint8, n_channels)
        segmentation = segment_image(image, 2, random_state=0)
        both = segmentation.side_by_side()
        assert_array_equal(both[:, :30], image)
        assert_array_equal(both[:, 30:], segmentation.image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_psnr_is_that_of_the_definition(dtype):
    image = two_halves(dtype, 3)
    segmentation = segment_image(image, 2, random_state=0)
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    error = np.mean((image.astype(float) - segmentation.image.astype(float)) ** 2)
    assert segmentation.psnr() == pytest.approx(10.0 * math.log10(peak**2 / error), rel=1e-12)


def test_psnr_of_equal_and_of_invisible_images():
    image = np.zeros((4, 5, 2), np.uint8)
    image[..., 1] = 255
    assert segment_image(image, 1).psnr() == math.inf
    image[..., 1] = 0
    with pytest.raises(ValueError, match="0 distinct colors"):
        segment_image(image, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_channels", [0, 3])
def test_indexed_image_holds_the_new_one(tmp_path, dtype, n_channels):
    image = two_halves(dtype, n_channels)
    segmentation = segment_image(image, 2, random_state=0)
    size = segmentation.save_indexed(tmp_path / "a.png")
    assert size == (tmp_path / "a.png").stat().st_size < 200
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.mode == "P"
        colors = np.asarray(opened.convert("RGB"))
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    expected = np.rint(segmentation.image.reshape(40, 30, -1) * (255.0 / peak))
    assert_array_equal(colors, np.broadcast_to(expected, (40, 30, 3)))


def test_indexed_image_hides_what_is_less_than_half_opaque(tmp_path):
    image = two_halves(np.uint8, 4)
    image[..., 3] = np.where(np.arange(30) < 10, 100, 200)
    segmentation = segment_image(image, 2, random_state=0)
    segmentation.save_indexed(str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png") as opened:
        shown = np.asarray(opened.convert("RGBA"))
    assert (shown[:, :10, 3] == 0).all()
    assert (shown[:, 10:, 3] == 255).all()
    assert_array_equal(shown[:, 10:, :3], segmentation.image[:, 10:, :3])


def test_parameters_go_to_the_mixture_and_caller_may_do_the_fitting():
    seen = []

    def fit(model, rows):
        assert isinstance(rows, Source)
        seen.append((rows.n_features, rows.total_weight))
        model.fit(rows)

    segmentation = segment_image(
        two_halves(np.uint8, 3), 2, fit=fit, covariance_type="spherical", random_state=3
    )
    assert seen == [(3, 1200.0)]
    assert segmentation.model.covariances_.shape == (2,)
    assert segmentation.model.random_state == 3


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.int8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 3), (12, 10, 4)])
def test_other_levels_are_scaled(tmp_path, dtype, shape):
    unit = np.random.default_rng(0).integers(0, 50, shape) / 49.0
    unit.flat[:2] = 0.0, 1.0
    low = 0 if np.dtype(dtype).kind == "u" else -50
    image = (49 * unit + low).round().astype(dtype)
    found, expected = (segment_image(each, 3, random_state=0) for each in (image, unit))
    assert found.image.dtype == found.palette.dtype == dtype
    assert_array_equal(found.labels, expected.labels)
    half_a_level = 0.5 if np.dtype(dtype).kind in "iu" else 1e-4
    assert_allclose(found.palette, 49 * expected.palette + low, atol=half_a_level)
    assert_allclose(found.psnr(), expected.psnr(), atol=0.2)
    assert found.save_indexed(tmp_path / "a.png") > 0


def test_an_image_of_one_level():
    found = segment_image(np.full((8, 8), 300, np.int32), 1)
    assert_array_equal(found.image, np.full((8, 8), 300))


def test_refusals():
    with pytest.raises(ValueError, match="2 pixels, too few for n_components=3"):
        segment_image(np.zeros((1, 2, 3), np.uint8), 3)
    with pytest.raises(ValueError, match="1 distinct colors, too few for n_components=2"):
        segment_image(np.zeros((10, 20, 3), np.uint8), 2)
    with pytest.raises(ValueError, match="noise has no color"):
        segment_image(two_halves(np.uint8, 3), 2, noise_volume="auto")
    with pytest.raises(ValueError, match="color_space must be one of"):
        segment_image(two_halves(np.uint8, 3), 2, color_space="cmyk")


def test_masked_images_are_refused():
    levels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = np.ma.array(levels, mask=False)
    expected = segment_image(image.data, 2, random_state=0).labels
    assert_array_equal(segment_image(image, 2, random_state=0).labels, expected)
    image[2, 1, 0] = np.ma.masked
    with pytest.raises(ValueError, match="masked, first in line 2, column 1, counted from 0: fill"):
        segment_image(image, 2)
