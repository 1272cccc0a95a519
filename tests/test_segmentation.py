"""A picture in the mean colours of its components."""

import numpy as np
import pytest

from fastgmm import GaussianMixture
from fastgmm.segmentation import segment_image


def two_halves(dtype, n_channels):
    """Return a dark upper and a light lower half with a little noise, and both means."""
    random = np.random.default_rng(0)
    largest = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    shape = (20, 30) if n_channels == 0 else (20, 30, n_channels)
    levels = (0.2 + 0.02 * random.random(shape), 0.8 + 0.02 * random.random(shape))
    return np.concatenate([largest * half for half in levels]).astype(dtype)


@pytest.mark.parametrize("n_channels", [0, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_halves_are_told_apart(dtype, n_channels):
    image = two_halves(dtype, n_channels)
    segmentation = segment_image(image, GaussianMixture(2, random_state=0))
    assert segmentation.image.dtype == dtype
    assert segmentation.image.shape == image.shape
    assert segmentation.labels.shape == (40, 30)
    for half in (slice(0, 20), slice(20, 40)):
        painted = segmentation.image[half].reshape(600, -1)
        assert (painted == painted[0]).all()
        mean = image[half].reshape(600, -1).astype(float).mean(axis=0)
        step = 0.5 if np.dtype(dtype).kind == "u" else 1e-5
        np.testing.assert_allclose(painted[0], mean, atol=1.01 * step)


def test_model_is_fitted_in_place_to_colours_between_0_and_1():
    model = GaussianMixture(2, random_state=0)
    segmentation = segment_image(two_halves(np.uint8, 3), model)
    assert segmentation.model is model
    np.testing.assert_allclose(np.sort(model.means_[:, 0]), [0.21, 0.81], atol=0.01)


def test_caller_may_do_the_fitting():
    seen = []

    def fit(model, rows):
        seen.append(rows.shape)
        model.fit(rows)

    segment_image(two_halves(np.uint8, 3), GaussianMixture(2, random_state=0), fit=fit)
    assert seen == [(1200, 3)]


@pytest.mark.parametrize(
    "image", [np.zeros(5, np.uint8), np.zeros((2, 2, 3, 1), np.uint8), np.zeros((4, 4), int)]
)
def test_array_that_is_no_picture(image):
    with pytest.raises(ValueError, match=r"an image is an array of shape .*; got shape \("):
        segment_image(image, GaussianMixture(2))


def test_too_few_pixels():
    with pytest.raises(ValueError, match="n_components = 3"):
        segment_image(np.zeros((1, 2, 3), np.uint8), GaussianMixture(3))
