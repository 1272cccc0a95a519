"""The benchmark of segmenting, on small images."""

import numpy as np
import pytest

from comparisons import segmentation
from comparisons.segmentation import Timing, main, measure, photograph, time_scikit_learn


def test_photograph_has_the_size_and_the_noise_asked_for():
    smooth, noisy = (photograph("flower.jpg", 300, 400, noise) for noise in (0.0, 3.0))
    assert smooth.shape == noisy.shape == (300, 400, 3)
    inner = (smooth > 12) & (smooth < 243)
    differences = noisy.astype(float)[inner] - smooth[inner]
    assert differences.std() == pytest.approx(3.0, rel=0.05)
    assert np.array_equal(noisy, photograph("flower.jpg", 300, 400, 3.0))


def test_a_segmentation_is_measured():
    image = photograph("china.jpg", 64, 96, 2.0)
    timing, result = measure("lab", image, 3, 1, color_space="lab")
    assert timing.seconds > 0.0
    assert timing.psnr == result.psnr()
    assert timing.n_passes == result.model.fit_info_.n_passes
    n_pixels, seconds, n_iterations = time_scikit_learn(image, 3, 1000)
    assert n_pixels == 1024
    assert seconds > 0.0
    assert n_iterations >= 1


@pytest.mark.parametrize(("seconds", "status"), [(4.5, 0), (5.5, 1)])
def test_targets_are_put_beside_what_was_measured(monkeypatch, capsys, seconds, status):
    timing = Timing("rgb", seconds, 10**8, 24, 3.7, 21.0)
    monkeypatch.setattr(segmentation, "measure", lambda *_, **__: (timing, None))
    assert main(["--height", "20", "--width", "30", "--peer-pixels", "0", "--all"]) == status
    shown = capsys.readouterr().out
    assert "600 pixels, 0 MB, K=8" in shown
    assert shown.count("100 MB") == 4
    assert "600 pixels, rgb" in shown
    assert f"≤ 5.00 s     {seconds:.2f} s" in shown
