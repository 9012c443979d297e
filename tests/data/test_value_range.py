"""Images of more than 8 bits: one range for all of a set, and the same picture as 8 bits give."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from zsad.data.decoding import load_image
from zsad.data.module import JsonDataModule
from zsad.data.prepare.verify import verify
from zsad.data.prepare.write_index import prepare
from zsad.data.value_range import find_stored_values
from zsad.runs.predict import choose_value_range, image_loader

GRADIENT = np.linspace(0, 1, 24 * 16).reshape(16, 24)
SHOWN = (GRADIENT * 255).round().astype(np.uint8)


def save_deep(path, low, high, dtype=np.uint16):
    values = GRADIENT * (high - low) + low
    if not np.issubdtype(dtype, np.floating):
        values = values.round()
    path.parent.mkdir(parents=True, exist_ok=True)
    if dtype in (np.uint32, np.int16):
        save_tiff(path, values.astype(dtype))
    else:
        Image.fromarray(values.astype(dtype)).save(path)
    return path


def save_tiff(path, values):
    """Write a grey TIFF of a kind that Pillow reads but does not write."""
    sample_format = 1 if values.dtype == np.uint32 else 2
    tags = [
        (256, 4, values.shape[1]),
        (257, 4, values.shape[0]),
        (258, 3, values.itemsize * 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, values.shape[0]),
        (279, 4, values.nbytes),
        (339, 3, sample_format),
    ]
    data = b"II*\0" + (8 + values.nbytes).to_bytes(4, "little") + values.tobytes()
    data += len(tags).to_bytes(2, "little")
    for tag, kind, value in tags:
        data += tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little")
        data += value.to_bytes(4, "little")
    path.write_bytes(data + bytes(4))


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (0, 255, np.uint16, (0, 255)),
        (3, 1000, np.uint16, (0, 1023)),
        (256, 2896, np.uint16, (0, 4095)),
        (0, 16000, np.uint16, (0, 16383)),
        (0, 65520, np.uint16, (0, 65535)),
        (-1024, 3071, np.int16, (-1024, 3071)),
        (-1000, 70000, np.int32, (-1000, 70000)),
        (0, 100000, np.int32, (0, 131071)),
        (0, 4e9, np.uint32, (0, 2**32 - 1)),
        (0.2, 0.9, np.float32, (0, 1)),
        (-3, 5, np.float32, (-3, 5)),
    ],
)
def test_the_range_covers_the_bits_in_use(tmp_path, low, high, dtype, expected):
    path = save_deep(tmp_path / "a.tif", low, high, dtype)
    stored = find_stored_values([path])
    assert stored.range == expected
    assert (stored.low, stored.high) == pytest.approx((low, high), rel=1e-6)
    shown = np.asarray(load_image(path, value_range=(float(low), float(high))))
    assert np.abs(shown.astype(int) - SHOWN).max() <= 1  # rounded twice


def test_all_sixteen_bits_are_shown_as_without_a_range(tmp_path):
    path = save_deep(tmp_path / "a.png", 0, 65535)
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(every).save(tmp_path / "b.png")
    assert find_stored_values([path]).is_usual
    ranged = np.asarray(load_image(tmp_path / "b.png", value_range=(0.0, 65535.0)))
    assert np.array_equal(ranged, np.asarray(load_image(tmp_path / "b.png")))
    assert np.array_equal(ranged, (every / 257).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("low", "high", "dtype"), [(-5, 9, np.int32), (0, 70000, np.int32), (0, 1, np.float32)]
)
def test_values_beyond_sixteen_bits_are_never_clipped(tmp_path, low, high, dtype):
    path = save_deep(tmp_path / "a.tif", low, high, dtype)
    with pytest.raises(ValueError, match=r"a\.tif has .*dataset\.value_range"):
        load_image(path)


@pytest.fixture
def own(tmp_path, save):
    """Twelve bits, one image brighter than the other, beside 8 bits; returns the root."""
    root = tmp_path / "own"
    save_deep(root / "good/0.tif", 100, 900)
    save_deep(root / "bad/0.tif", 0, 4000)
    save(root / "good/1.png", mode="L")
    return root


def test_a_datasets_range_is_found_once_and_kept(own, tmp_path):
    made = prepare("own", own, "folder", data_json=tmp_path, conf=tmp_path)
    (note,) = made.notes
    assert "2 images have more than 8 bits" in note
    assert "values from 0 to 4000: 0 is shown black, 4095 white" in note
    entries = json.loads(made.index.read_text())["test"]["own"]
    ranges = {entry["img_path"]: entry.get("value_range") for entry in entries}
    assert ranges == {"good/0.tif": [0, 4095], "good/1.png": None, "bad/0.tif": [0, 4095]}
    assert verify("own", data_json=tmp_path).notes[0].kind == "no mask"
    data = JsonDataModule("own", data_json=tmp_path, image_size=None, num_workers=0)
    data.setup("test")
    peaks = {
        batch.path[0].removeprefix(f"{own}/"): float(batch.image.max())
        for batch in data.test_dataloader()
    }
    assert peaks["good/0.tif"] == pytest.approx(900 / 4095, abs=1 / 255)
    assert peaks["bad/0.tif"] == pytest.approx(4000 / 4095, abs=1 / 255)


def test_a_given_range_is_taken_before_that_of_the_index(own, tmp_path):
    prepare("own", own, "folder", data_json=tmp_path, conf=tmp_path)
    options = {"data_json": tmp_path, "image_size": None, "num_workers": 0}
    data = JsonDataModule("own", value_range=[0, 900], **options)
    data.setup("test")
    assert {sample.value_range for sample in data.test_samples} == {(0, 900)}
    for wrong in ([5, 5], [1], [0, float("nan")]):
        with pytest.raises(ValueError, match="expected two numbers, black and white"):
            JsonDataModule("own", value_range=wrong, **options)


def test_verify_names_an_index_without_a_range(own, tmp_path):
    made = prepare("own", own, "folder", data_json=tmp_path, conf=tmp_path)
    index = json.loads(made.index.read_text())
    for entry in index["test"]["own"]:
        entry.pop("value_range", None)
    made.index.write_text(json.dumps(index))
    text = str(verify("own", data_json=tmp_path))
    assert "2 images with values from 0 to 4000 of 16 bits: prepare again" in text
    save_deep(own / "bad/0.tif", 0, 9000)
    prepare("own", own, "folder", data_json=tmp_path, conf=tmp_path)
    save_deep(own / "bad/0.tif", 0, 20000)
    assert "values outside of their range" in str(verify("own", data_json=tmp_path))


def test_a_prediction_has_one_range_for_all_its_images(own):
    files = [own / "good/0.tif", own / "bad/0.tif", own / "good/1.png"]
    value_range, (note,) = choose_value_range(files, None, None)
    assert value_range == (0, 4095)
    assert "2 images have" in note
    dark, bright, _ = list(image_loader(files, 8, "object", value_range))
    assert dark.image.max() < 0.3 < 0.8 < bright.image.max()


def test_a_single_image_is_scaled_by_its_own_bits_and_said(own):
    value_range, (note,) = choose_value_range([own / "good/0.tif"], None, None)
    assert value_range == (0, 1023)
    assert "1 image has" in note
    assert "by this image alone" in note


def test_given_and_kept_ranges_come_before_the_found_one(own):
    files = [own / "good/0.tif"]
    assert choose_value_range(files, None, [0, 4095])[0] == (0, 4095)
    assert choose_value_range(files, [0, 2000], [0, 4095])[0] == (0, 2000)
    assert choose_value_range([own / "good/1.png"], None, [0, 4095]) == (None, [])


def test_twelve_bits_give_the_picture_of_eight(tmp_path):
    deep = save_deep(tmp_path / "a.tif", 0, 4095)
    Image.fromarray(SHOWN).save(tmp_path / "b.png")
    value_range, _ = choose_value_range([deep, tmp_path / "b.png"], None, None)
    first, second = image_loader([deep, tmp_path / "b.png"], 8, "object", value_range)
    assert torch.allclose(first.image, second.image, rtol=0, atol=1.01 / 255)
