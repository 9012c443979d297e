"""The values of all masks: which rule takes them, and what is said about the rest."""

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from zsad.data.masks import load_mask
from zsad.data.prepare.verify import verify
from zsad.data.prepare.write_index import prepare

SIDE = 40


def levels(*values: float, base: float = 0, dtype: type = np.uint8):
    """Return a mask with one square of 8 px for each value."""
    mask = np.full((SIDE, SIDE), base, dtype=dtype)
    for number, value in enumerate(values):
        left = 2 + 12 * number
        mask[4:12, left : left + 8] = value
    return mask


@pytest.fixture
def make(tmp_path, save):
    """Prepare a user's folder with masks; returns what was made and a function that verifies it."""

    def prepare_masks(*masks, **choices):
        for number, mask in enumerate(masks):
            save(tmp_path / f"own/good/{number}.png", size=(SIDE, SIDE))
            save(tmp_path / f"own/bad/{number}.png", size=(SIDE, SIDE))
            image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
            path = tmp_path / f"own/masks/bad/{number}.{'tif' if image.mode == 'F' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        made = prepare(
            "own", tmp_path / "own", "folder", data_json=tmp_path, conf=tmp_path, **choices
        )
        rule = OmegaConf.load(made.dataset_yaml).mask_threshold
        report = verify("own", data_json=tmp_path, mask_threshold=rule)
        return rule, " ".join(made.notes), " ".join(map(str, report.notes))

    return prepare_masks


@pytest.mark.parametrize(
    ("masks", "rule", "said"),
    [
        ([levels(255)] * 3, 127, ""),
        ([levels(200, 255)] * 2, 127, ""),
        ([levels(1)] * 2, 0, "values 0, 1: every value above 0"),
        ([levels(90, 255), levels(255)], 45, "values 0, 90, 255: every value above 45"),
        ([levels(1, 255)], 0, "255 beside small class numbers often marks a border"),
        ([levels(300, 2, dtype=np.uint16)], 0, "every value above 0"),
        ([levels(1.0, dtype=np.float32)], 0, "every value above 0"),
    ],
)
def test_a_users_rule_takes_every_value(make, masks, rule, said):
    found, remarks, verified = make(*masks)
    assert found == rule
    assert said in remarks
    assert bool(remarks) is bool(said)
    assert verified == ""


def test_the_last_of_many_masks_is_looked_at(make):
    rule, remarks, _ = make(*[levels(255)] * 30, levels(60, 255))
    assert rule == 30
    assert "every value above 30" in remarks


def test_a_chosen_rule_stays_and_says_what_it_loses(make):
    rule, remarks, verified = make(levels(90, 255), levels(255), mask_threshold=127)
    assert rule == 127
    for text in (remarks, verified):
        assert "in 1 of 2, such as" in text
        assert "values seen: 0, 90, 255); --mask-threshold 45 takes all" in text


def test_label_colours_of_a_palette_are_all_taken(make):
    masks = []
    for _ in range(2):
        mask = Image.fromarray(levels(1, 2)).convert("P")
        mask.putpalette([0, 0, 0, 80, 0, 0, 0, 192, 0])
        masks.append(mask)
    rule, remarks, _ = make(*masks)
    assert rule == 40
    assert "values 0, 80, 192" in remarks


def test_soft_edges_are_no_second_level(make):
    soft = Image.fromarray(levels(255)).resize((SIDE, SIDE), box=(0.3, 0.3, 30.7, 30.7))
    rule, remarks, _ = make(soft, soft)
    assert (rule, remarks) == (127, "")


def test_a_grey_level_among_soft_edges_is_remarked_on(make):
    ramp = levels(100, 255)
    ramp[30] = np.arange(SIDE) * 6
    rule, remarks, verified = make(ramp)
    assert rule == 127
    assert "values on both sides of the rule" in remarks
    assert "values on both sides of the threshold" in verified


def test_inverted_masks_are_remarked_on(make):
    _, remarks, verified = make(levels(0, base=255), levels(0, base=255), levels(255))
    for text in (remarks, verified):
        assert "2 of 3 masks, such as" in text
        assert "more than half of their image" in text
        assert "(the median 96 %; values seen: 0, 255)" in text


def test_empty_masks_of_defective_images_are_counted(make):
    _, remarks, _ = make(levels(255), levels())
    assert "1 of 2 masks of defective images hold no value above 0" in remarks


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("colour", [255, 0, 70])
def test_transparent_is_no_defect_whatever_the_colour(make, tmp_path, mode, colour):
    """Drawing programs save one colour everywhere, and the drawing in the opacity."""
    grey = Image.new("L", (SIDE, SIDE), colour)
    mask = grey.convert(mode)
    mask.putalpha(Image.fromarray(levels(255)))
    assert make(mask) == (127, "", "")
    loaded = np.asarray(load_mask([tmp_path / "own/masks/bad/0.png"], 127))
    assert np.array_equal(loaded, levels(255))


def test_colours_on_transparent_ground_count_as_drawn(tmp_path):
    """Black and white, both opaque: black stays good; half transparent white is half as strong."""
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    pixels[0, 1] = (255, 255, 255, 255)
    pixels[0, 2] = (0, 0, 0, 255)
    pixels[0, 3] = (255, 255, 255, 200)
    pixels[1] = (255, 255, 255, 40)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    marked = np.asarray(load_mask([tmp_path / "m.png"], 127)) > 0
    assert marked.tolist() == [[False, True, False, True], [False] * 4, [False] * 4]


def test_opaque_masks_keep_their_values(tmp_path):
    pixels = np.full((2, 3, 4), 255, dtype=np.uint8)
    pixels[..., :3] = np.arange(18).reshape(2, 3, 3)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    for threshold in (0, 7, 13):
        expected = pixels[..., :3].max(axis=2) > threshold
        assert np.array_equal(np.asarray(load_mask([tmp_path / "m.png"], threshold)) > 0, expected)
