"""Images as rows of pixels."""

import numpy as np
import pytest
from PIL import Image

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.formats.images import write_image
from fastgmm.data.opening import open_data
from tests.written_data import all_rows


def image(path, height=20, width=30, seed=0, mode="RGB"):
    channels = (3,) if mode == "RGB" else ()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_folder_of_images(tmp_path):
    second = image(tmp_path / "10.png", 5, 7)
    first = image(tmp_path / "9.png", mode="L")
    source = open_data(tmp_path)
    assert source.feature_names == ("red", "green", "blue")
    assert source.dtype == np.float32
    assert source.expected_samples == 20 * 30 + 5 * 7
    found = all_rows(source)
    gray = np.repeat(first.reshape(-1, 1), 3, axis=1)
    np.testing.assert_allclose(found[:600], gray / 255.0, rtol=1e-7)
    np.testing.assert_allclose(found[600:], second.reshape(-1, 3) / 255.0, rtol=1e-7)


def test_colors_are_chosen_by_name(tmp_path):
    pixels = image(tmp_path / "a.png", 60, 70)
    found = all_rows(open_data(tmp_path / "a.png", columns=["blue"], block_rows=1024))
    np.testing.assert_allclose(found[:, 0], pixels[:, :, 2].ravel() / 255.0, rtol=1e-7)


def test_damaged_images(tmp_path):
    image(tmp_path / "a.png")
    image(tmp_path / "b.png", 50, 50)
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[:2000])
    with pytest.raises(
        DataError, match=r"b\.png' \(2500 rows\): cannot read '.*b\.png' as an image"
    ):
        all_rows(open_data(tmp_path))
    source = open_data(tmp_path, on_error="skip")
    with pytest.warns(SkippedDataWarning, match="2500 rows"):
        assert len(all_rows(source)) == 600
    (tmp_path / "b.png").write_bytes(content[:10])
    with pytest.raises(DataError, match=r"cannot read '.*b\.png' as an image"):
        open_data(tmp_path)


def test_levels_of_more_than_eight_bits(tmp_path):
    levels = np.array([[0, 1, 300, 65535], [7, 9, 40000, 256]], np.uint16)
    for name in ("a.png", "a.pgm", "a.tif"):
        Image.fromarray(levels).save(tmp_path / name)
        found = all_rows(open_data(tmp_path / name, columns=["green"]))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[:, 0], levels.ravel() / 65535, rtol=1e-6)
    colors = np.dstack([levels, levels[::-1], levels // 2])
    write_image(tmp_path / "c.png", colors)
    found = all_rows(open_data(tmp_path / "c.png"))
    np.testing.assert_allclose(found, colors.reshape(-1, 3) / 65535, rtol=1e-6)
    Image.fromarray(levels.astype(np.int32) * 30000 - 5).save(tmp_path / "i.tif")
    found = all_rows(open_data(tmp_path / "i.tif"))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[:, 0], levels.ravel() * 30000.0 - 5)
    Image.fromarray(levels.astype(np.float32) / 7).save(tmp_path / "f.tif")
    found = all_rows(open_data(tmp_path / "f.tif"))
    np.testing.assert_array_equal(found[:, 2], (levels.astype(np.float32) / 7).ravel())
