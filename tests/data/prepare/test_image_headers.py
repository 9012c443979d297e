"""Sizes from headers, and files that are cut short."""

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from zsad.data.decoding import UnreadableImageError, load_image
from zsad.data.prepare.image_headers import read_image_size

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.png", {"exif": exif(6)}),
        ("a.jpg", {}),
        ("a.jpg", {"progressive": True}),
        ("a.jpg", {"exif": exif(6)}),
        ("a.jpg", {"comment": b"x" * 9000}),
        ("a.jpg", {"icc_profile": b"x" * 70000}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("a.webp", {"exif": exif(8)}),
        ("a.gif", {}),
    ],
)
def test_the_size_is_that_of_the_decoded_image(tmp_path, name, options):
    NOISE.save(tmp_path / name, **options)
    assert read_image_size(tmp_path / name) == load_image(tmp_path / name).size


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16", "CMYK", "LA"])
def test_every_mode_has_its_size(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    (Image.new(mode, (7, 5)) if mode == "I;16" else NOISE.resize((7, 5)).convert(mode)).save(path)
    assert read_image_size(path) == (7, 5)


def test_what_follows_the_end_of_a_jpeg_does_no_harm(tmp_path):
    """Cameras append previews and notes."""
    path = tmp_path / "a.jpg"
    NOISE.save(path)
    path.write_bytes(path.read_bytes() + b"some maker's notes")
    assert read_image_size(path) == (50, 30)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
@example(share=0.9999)
@example(share=0.998)
def test_a_truncated_file_is_found_or_has_all_its_pixels(tmp_path_factory, suffix, share):
    """Without decoding the files that are whole. A PNG ends in checksums that no pixel needs."""
    data = io.BytesIO()
    NOISE.save(data, {"jpg": "JPEG"}.get(suffix, suffix))
    whole, folder = data.getvalue(), tmp_path_factory.mktemp("cut")
    (folder / f"whole.{suffix}").write_bytes(whole)
    path = folder / f"cut.{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    if (
        len(whole) - path.stat().st_size > 12 + 4 + 4 + 1
    ):  # end chunk, checksums of the last chunk and of the pixels
        with pytest.raises(UnreadableImageError, match="cannot read"):
            read_image_size(path)
        return
    with suppress(UnreadableImageError):
        assert read_image_size(path) == NOISE.size
        assert np.array_equal(load_image(path), load_image(folder / f"whole.{suffix}"))


@pytest.mark.parametrize(
    "content", [b"", b"words", b"\x89PNG\r\n\x1a\n" + bytes(60), b"\xff\xd8\xff" + bytes(60)]
)
def test_what_is_no_image_is_told(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImageError):
        read_image_size(tmp_path / "a.png")


def test_a_damaged_header_is_left_to_pillow(tmp_path):
    path = tmp_path / "a.png"
    NOISE.save(path)
    data = bytearray(path.read_bytes())
    data[18] ^= 1  # of the width; its checksum no longer fits
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError):
        read_image_size(path)


def test_an_image_too_large_to_decode_is_refused_by_its_header(tmp_path, monkeypatch):
    NOISE.save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="decompression bomb"):
        read_image_size(tmp_path / "a.png")
