"""Decoding image files of any mode, recognised by their content."""

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from zsad.data.decoding import UnreadableImageError, load_image, upright_size
from zsad.data.images import to_tensor

GRADIENT = np.linspace(0, 255, 24 * 16).reshape(16, 24).round().astype(np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_every_mode_shows_the_same_image(tmp_path, mode):
    """A grey gradient arrives as that gradient (black and white where there is one bit)."""
    grey = Image.fromarray(GRADIENT)
    if mode in ("I;16", "I"):
        stored = Image.fromarray(GRADIENT.astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    elif mode == "P":
        stored = grey.convert("RGB").quantize(256)
    else:
        stored = grey.convert(mode)
    path = tmp_path / "image.tif"
    stored.save(path)
    expected = (
        np.asarray(grey.convert("1").convert("L") if mode == "1" else grey, dtype=np.float32) / 255
    )
    tensor = to_tensor(load_image(path), None)
    assert (
        np.abs(tensor.numpy() - expected).max() <= (2.01 if mode in ("YCbCr", "P") else 0.51) / 255
    )


def test_a_palette_is_resized_by_its_colours_not_by_its_numbers(tmp_path):
    """Neighbours may have far numbers but equal colours.

    Bicubic resizing must not use the numbers, nor fall back to nearest.
    """
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)).quantize(64)
    colours.save(tmp_path / "p.png")
    expected = to_tensor(colours.convert("RGB"), 11)
    assert torch.equal(to_tensor(load_image(tmp_path / "p.png"), 11), expected)


def test_big_endian_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    header = b"P5 2 2 65535\n"
    (tmp_path / "a.png").write_bytes(
        header + values.astype(">u2").tobytes()
    )  # PGM, whatever its name says
    assert np.asarray(load_image(tmp_path / "a.png")).tolist() == [[0, 100], [200, 255]]


def test_the_content_decides_not_the_extension(tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / "png.jpg", format="PNG")
    assert np.array_equal(np.asarray(load_image(tmp_path / "png.jpg")), GRADIENT)


# EXIF orientation → the change that turns the stored image upright
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, 3),
    7: lambda stored: np.rot90(stored.T, 2),
    8: np.rot90,
    9: lambda stored: stored,  # no such orientation
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_photograph_is_turned_upright_and_its_size_with_it(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GRADIENT).save(path, exif=exif)
    upright = UPRIGHT[orientation](GRADIENT)
    shown = np.asarray(load_image(path).convert("L"), dtype=int)
    assert upright_size(path) == (upright.shape[1], upright.shape[0])
    assert shown.shape == upright.shape
    assert np.abs(shown - upright).mean() < (4 if suffix in ("jpg", "webp") else 0.01)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "a.tif").getextrema() == (10, 10)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_file_is_named_with_the_command(tmp_path, save, suffix):
    path = save(tmp_path / f"a{suffix}", size=(200, 200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=rf"a\{suffix}(.|\n)*zsad verify"):
        load_image(path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("<html>404</html>")
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        load_image(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        upright_size(tmp_path / "a.png")


def test_other_formats_never_reach_their_plugin(tmp_path, monkeypatch):
    """An EPS would be drawn by Ghostscript, a program that runs what is in it."""
    path = tmp_path / "a.png"
    Image.fromarray(GRADIENT).save(path, format="EPS")
    opened: list[str] = []
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", lambda self: opened.append("EPS"))
    for read in (load_image, upright_size):
        with pytest.raises(UnreadableImageError, match=r"cannot read .*a\.png"):
            read(path)
    assert opened == []


DAMAGED = {
    "png": lambda whole: whole[:8] + bytes(4) + whole[12:],  # header chunk of length 0
    "ppm": lambda whole: whole.replace(b"24", b"2x"),  # a width that is no number
    "jp2": lambda whole: whole.replace(b"\xff\x64\x00", b"\xff\x64\x00\x00", 1),
}


@pytest.mark.parametrize("suffix", DAMAGED)
def test_a_damaged_header_is_unreadable_whatever_pillow_raises(tmp_path, save, suffix):
    path = save(tmp_path / f"a.{suffix}")
    path.write_bytes(DAMAGED[suffix](path.read_bytes()))
    for read in (load_image, upright_size):
        with pytest.raises(UnreadableImageError, match=rf"cannot read .*a\.{suffix}"):
            read(path)


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has floating-point pixels"):
        load_image(tmp_path / "a.tif")
