"""Pictures in and out."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from fastgmm.data.images import image_format, read_image, write_image, write_indexed_image

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_round_trip(tmp_path):
    for image in (COLOURS, COLOURS[..., 0]):
        write_image(tmp_path / "a.png", image)
        assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_transparency_and_palettes_become_colours(tmp_path):
    for mode in ("RGBA", "P", "CMYK"):
        Image.fromarray(COLOURS).convert(mode).save(tmp_path / "a.tiff")
        assert read_image(tmp_path / "a.tiff").shape == COLOURS.shape


def test_grey_stays_grey(tmp_path):
    Image.fromarray(COLOURS[..., 0]).convert("LA").save(tmp_path / "a.png")
    assert_array_equal(read_image(tmp_path / "a.png"), COLOURS[..., 0])


def test_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(COLOURS, -1))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_image(tmp_path / "a.png")


def test_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cannot read .* as an image"):
        read_image(tmp_path / "a.png")


def test_cut_off_picture(tmp_path):
    write_image(tmp_path / "a.png", COLOURS)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cannot read .* as an image"):
        read_image(tmp_path / "a.png")


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="must end in that of an image format"):
        image_format(tmp_path / "a.fgm")


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        image_format(tmp_path / "b" / "a.png")


def test_missing_pillow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'needs Pillow: .*"fastgmm\[plot\]"'):
        read_image(tmp_path / "a.png")


def test_transparency_is_kept_where_it_is_wanted(tmp_path):
    alpha = np.dstack([COLOURS, COLOURS[..., 0]])
    for image in (alpha, alpha[..., 2:]):
        write_image(tmp_path / "a.png", image)
        assert_array_equal(read_image(tmp_path / "a.png", with_alpha=True), image)
    write_image(tmp_path / "a.png", COLOURS)
    assert_array_equal(read_image(tmp_path / "a.png", with_alpha=True), COLOURS)


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    deep = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert_array_equal(read_image(tmp_path / "a.png"), [[0, 0, 1, 1, 128, 255]])


def test_indexed_picture(tmp_path):
    indices = np.arange(35, dtype=np.uint16).reshape(5, 7) % 3
    palette = COLOURS[0, :3]
    size = write_indexed_image(tmp_path / "a.png", indices, palette)
    assert size == (tmp_path / "a.png").stat().st_size
    assert_array_equal(read_image(tmp_path / "a.png"), palette[indices])
    write_indexed_image(tmp_path / "a.png", indices, palette, hidden=indices == 1)
    with_alpha = read_image(tmp_path / "a.png", with_alpha=True)
    assert_array_equal(with_alpha[..., 3], np.where(indices == 1, 0, 255))


def test_indexed_picture_is_a_png_of_few_colours(tmp_path):
    indices = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"an indexed picture's name must end in \.png"):
        write_indexed_image(tmp_path / "a.gif", indices, COLOURS[0])
    many = np.zeros((256, 3), np.uint8)
    with pytest.raises(ValueError, match="a palette holds 256 colours, and there are 257"):
        write_indexed_image(tmp_path / "a.png", indices, many, hidden=indices == 1)
    assert not list(tmp_path.iterdir())
