"""Images in and out, and as rows of pixels."""

import warnings
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from fastgmm.data.errors import DataError, SkippedDataWarning
from fastgmm.data.formats.images import (
    holds_levels,
    image_format,
    image_header,
    read_image,
    write_image,
    write_indexed_image,
)
from fastgmm.data.opening import open_data
from tests.written_data import all_rows

COLORS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_round_trip(tmp_path):
    for image in (COLORS, COLORS[..., 0]):
        write_image(tmp_path / "a.png", image)
        assert_array_equal(read_image(tmp_path / "a.png"), image)


def test_transparency_and_palettes_become_colors(tmp_path):
    for mode in ("RGBA", "P", "CMYK"):
        Image.fromarray(COLORS).convert(mode).save(tmp_path / "a.tiff")
        assert read_image(tmp_path / "a.tiff").shape == COLORS.shape


def test_gray_stays_gray(tmp_path):
    Image.fromarray(COLORS[..., 0]).convert("LA").save(tmp_path / "a.png")
    assert_array_equal(read_image(tmp_path / "a.png"), COLORS[..., 0])


def test_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLORS).save(tmp_path / "a.png", exif=exif)
    assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(COLORS, -1))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_image(tmp_path / "a.png")


def test_no_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cannot read .* as an image"):
        read_image(tmp_path / "a.png")


def test_cut_off_image(tmp_path):
    write_image(tmp_path / "a.png", COLORS)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot read .* as an image"):
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
    alpha = np.dstack([COLORS, COLORS[..., 0]])
    for image in (alpha, alpha[..., 2:]):
        write_image(tmp_path / "a.png", image)
        assert_array_equal(read_image(tmp_path / "a.png", with_alpha=True), image)
    write_image(tmp_path / "a.png", COLORS)
    assert_array_equal(read_image(tmp_path / "a.png", with_alpha=True), COLORS)


GRAY = np.random.default_rng(1).integers(0, 65536, (5, 7), dtype=np.uint16)
DEEP = np.random.default_rng(2).integers(0, 65536, (5, 7, 4), dtype=np.uint16)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.png", GRAY),
        ("a.tif", GRAY),
        ("a.pgm", GRAY),
        ("a.png", DEEP),
        ("a.tif", DEEP),
        ("a.png", DEEP[..., :3]),
        ("a.tif", DEEP[..., :3]),
        ("a.ppm", DEEP[..., :3]),
        ("a.tif", GRAY.astype(np.int32) * 30000),
        ("a.tif", -GRAY.astype(np.int32)),
        ("a.tif", GRAY.astype(np.float32) / 65535),
        ("a.tif", GRAY.astype(np.float32) - 1000),
    ],
)
def test_levels_of_more_than_eight_bits_are_those_of_the_file(tmp_path, name, image):
    write_image(tmp_path / name, image)
    found = read_image(tmp_path / name, with_alpha=True)
    assert found.dtype == image.dtype
    assert image_header(tmp_path / name) == (35, image.dtype)
    assert_array_equal(found, image)
    if image.shape[2:] == (4,):
        assert_array_equal(read_image(tmp_path / name), image[..., :3])


def test_levels_that_other_programs_write(tmp_path):
    for order in "<>":
        Image.fromarray(GRAY.astype(f"{order}u2")).save(tmp_path / "a.tif")
        assert_array_equal(read_image(tmp_path / "a.tif"), GRAY)
    wide = GRAY.astype(np.uint32) * 65000
    cv2.imwrite(str(tmp_path / "a.tif"), wide)
    assert_array_equal(read_image(tmp_path / "a.tif"), wide)
    signed = GRAY.view(np.int16)
    cv2.imwrite(str(tmp_path / "a.tif"), signed)
    assert_array_equal(read_image(tmp_path / "a.tif"), signed)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint32, np.int16, np.int32])
@pytest.mark.parametrize("n_channels", [0, 3])
def test_tiffs_that_pillow_does_not_know(tmp_path, dtype, n_channels):
    levels = DEEP[..., :n_channels] if n_channels else GRAY
    image = (levels / 3.0).astype(dtype)
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), image[..., ::-1] if n_channels else image)
    found = read_image(path)
    assert_array_equal(found, image)
    assert image_header(path) == (35, found.dtype)
    content = path.read_bytes()
    for cut in range(0, len(content), 7):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match=r"cannot read '.*a\.tif' as an image"):
            read_image(path)


@pytest.mark.parametrize("magic", [b"P2", b"P3", b"P5", b"P6"])
@pytest.mark.parametrize("white", [1000, 65535])
def test_white_of_netpbm(tmp_path, magic, white):
    levels = np.array([0, 1, 700, white, 17, white - 1])
    text = " ".join(map(str, levels)).encode()
    content = text if magic in (b"P2", b"P3") else levels.astype(">u2").tobytes()
    size = b"6 1" if magic in (b"P2", b"P5") else b"2 1"
    (tmp_path / "a.pnm").write_bytes(b"%s\n%s\n%d\n" % (magic, size, white) + content)
    assert_allclose(read_image(tmp_path / "a.pnm").ravel(), levels * (65535 / white), atol=0.5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_orientation_of_deep_colors(tmp_path, orientation):
    """An eXIf chunk before the pixels, as cameras' programs write it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(GRAY).save(tmp_path / "gray.png", exif=exif)
    write_image(tmp_path / "a.png", np.dstack([GRAY] * 3))
    whole, data = (tmp_path / "a.png").read_bytes(), b"eXIf" + exif.tobytes()[6:]
    chunk = (len(data) - 4).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
    place = whole.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(whole[:place] + chunk + whole[place:])
    assert_array_equal(read_image(tmp_path / "a.png")[..., 1], read_image(tmp_path / "gray.png"))


def test_levels_that_a_format_cannot_hold(tmp_path):
    write_image(tmp_path / "a.bmp", np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16))
    assert_array_equal(read_image(tmp_path / "a.bmp"), [[0, 0, 1, 1, 128, 255]])
    unit = np.array([[0.0, 0.25, 1.0]], np.float32)
    write_image(tmp_path / "a.png", unit)
    assert_array_equal(read_image(tmp_path / "a.png"), [[0, 16384, 65535]])
    write_image(tmp_path / "a.bmp", unit)
    assert_array_equal(read_image(tmp_path / "a.bmp"), [[0, 64, 255]])
    write_image(tmp_path / "a.png", np.array([[0, 4095]], np.int32))
    assert_array_equal(read_image(tmp_path / "a.png"), [[0, 4095]])
    assert holds_levels(tmp_path / "a.png", np.array([[0, 65535]], np.int32))
    for levels in ([[-1, 5]], [[0, 65536]], [[0.5, 1.5]]):
        image = np.array(levels, np.float32 if levels == [[0.5, 1.5]] else np.int32)
        assert not holds_levels(tmp_path / "a.png", image)
        assert holds_levels(tmp_path / "a.tif", image)
    assert not holds_levels(tmp_path / "a.png", np.array([[-1, 5]], np.int16))
    assert not holds_levels(tmp_path / "a.tif", np.array([[2**31]], np.uint32))
    assert not holds_levels(tmp_path / "a.bmp", np.array([[0, 255]], np.int32))


def test_missing_opencv_names_the_extra(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", DEEP)
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    for read in (read_image, image_header):
        with pytest.raises(ImportError, match=r'needs OpenCV: .*"fastgmm\[images\]"'):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.png", "a.webp"])
def test_several_images_in_a_file(tmp_path, name):
    frames = [Image.fromarray(255 - COLORS), Image.fromarray(COLORS)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="it holds 2 images: save each in a file of its own"):
        read_image(tmp_path / name)


def test_smaller_copies_in_a_file(tmp_path):
    small = Image.fromarray(COLORS[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(COLORS).save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert_array_equal(read_image(tmp_path / "a.tif"), COLORS)


def test_more_pixels_than_the_file_can_hold(tmp_path):
    write_image(tmp_path / "a.png", COLORS)
    whole = bytearray((tmp_path / "a.png").read_bytes())
    whole[16:24] = np.array([9000, 9000], ">u4").tobytes()
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(whole)
    with pytest.raises(ValueError, match=r"claims 9000 x 9000 pixels, .* cut short or damaged"):
        image_header(tmp_path / "a.png")
    whole[16:24] = np.array([90000, 90000], ">u4").tobytes()
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(whole)
    with pytest.raises(ValueError, match=r"if you trust it, set PIL\.Image\.MAX_IMAGE_PIXELS"):
        image_header(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.png", COLORS),
        ("a.png", DEEP),
        ("a.tif", GRAY),
        ("a.tif", DEEP),
        ("a.ppm", DEEP[..., :3]),
    ],
)
def test_images_damaged_anywhere(tmp_path, name, image):
    path = tmp_path / name
    write_image(path, image)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[place : place + 9] = rng.bytes(len(damaged[place : place + 9]))
        path.write_bytes(damaged if place % 2 else content[:place])
        with warnings.catch_warnings(), suppress(DataError):
            warnings.simplefilter("ignore")  # of tags that Pillow leaves out
            read_image(path)


def test_indexed_image(tmp_path):
    indices = np.arange(35, dtype=np.uint16).reshape(5, 7) % 3
    palette = COLORS[0, :3]
    size = write_indexed_image(tmp_path / "a.png", indices, palette)
    assert size == (tmp_path / "a.png").stat().st_size
    assert_array_equal(read_image(tmp_path / "a.png"), palette[indices])
    write_indexed_image(tmp_path / "a.png", indices, palette, hidden=indices == 1)
    with_alpha = read_image(tmp_path / "a.png", with_alpha=True)
    assert_array_equal(with_alpha[..., 3], np.where(indices == 1, 0, 255))


def test_indexed_image_is_a_png_of_few_colors(tmp_path):
    indices = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"an indexed image's name must end in \.png"):
        write_indexed_image(tmp_path / "a.gif", indices, COLORS[0])
    many = np.zeros((256, 3), np.uint8)
    with pytest.raises(ValueError, match="a palette holds 256 colors, and there are 257"):
        write_indexed_image(tmp_path / "a.png", indices, many, hidden=indices == 1)
    assert not list(tmp_path.iterdir())


def written_image(path, height=20, width=30, seed=0, mode="RGB"):
    channels = (3,) if mode == "RGB" else ()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_folder_of_images(tmp_path):
    second = written_image(tmp_path / "10.png", 5, 7)
    first = written_image(tmp_path / "9.png", mode="L")
    source = open_data(tmp_path)
    assert source.feature_names == ("red", "green", "blue")
    assert source.dtype == np.float32
    assert source.expected_samples == 20 * 30 + 5 * 7
    found = all_rows(source)
    gray = np.repeat(first.reshape(-1, 1), 3, axis=1)
    np.testing.assert_allclose(found[:600], gray / 255.0, rtol=1e-7)
    np.testing.assert_allclose(found[600:], second.reshape(-1, 3) / 255.0, rtol=1e-7)


def test_colors_are_chosen_by_name(tmp_path):
    pixels = written_image(tmp_path / "a.png", 60, 70)
    found = all_rows(open_data(tmp_path / "a.png", columns=["blue"], block_rows=1024))
    np.testing.assert_allclose(found[:, 0], pixels[:, :, 2].ravel() / 255.0, rtol=1e-7)


def test_damaged_images(tmp_path):
    written_image(tmp_path / "a.png")
    written_image(tmp_path / "b.png", 50, 50)
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
