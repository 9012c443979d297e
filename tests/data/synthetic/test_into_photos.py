"""Defects drawn into photographs of normal parts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zsad.data.images import SynthesisedImage
from zsad.data.masks import resize_mask
from zsad.data.synthetic.into_photos import KINDS, SyntheticDefects


def photograph(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Smooth light with sensor noise, in every channel of its own."""
    rng = np.random.default_rng(seed)
    channels = len(Image.new(mode, (1, 1)).getbands())
    light = (
        np.linspace(70, 170, width)[None, :, None]
        + np.zeros((height, 1, channels))
        + 10 * np.arange(channels)
    )
    pixels = np.clip(light + rng.normal(0, 6, light.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)


def draw(image: Image.Image, seed: int = 0, **options) -> SynthesisedImage | None:
    return SyntheticDefects(**{"share": 1, **options})(image.copy(), np.random.default_rng(seed))


def certainly(
    image: Image.Image, seed: int = 0, **options
) -> tuple[np.ndarray, np.ndarray, SynthesisedImage]:
    """Return the damaged pixels, the mask and the rest."""
    drawn = draw(image, seed, **options)
    assert drawn is not None
    return np.asarray(drawn.image), np.asarray(drawn.mask) > 0, drawn


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    mode=st.sampled_from(["RGB", "L", "RGBA"]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_any_photograph_changes_inside_its_mask_only(width, height, mode, seed):
    image = photograph(width, height, mode, seed)
    drawn = draw(image, seed)
    if drawn is None:  # too small a picture for anything to be seen
        assert min(width, height) < 16
        return
    assert (
        (drawn.image.size, drawn.image.mode) == (drawn.mask.size, mode) == (image.size, image.mode)
    )
    before, after, mask = (np.asarray(picture) for picture in (image, drawn.image, drawn.mask))
    assert set(np.unique(mask)) <= {0, 255}
    assert np.array_equal(before[mask == 0], after[mask == 0])
    assert 0 < (mask > 0).mean() <= 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_kind_is_named_and_visible_in_its_mask(kind, seed):
    image = photograph(150, 120)
    after, mask, drawn = certainly(image, seed, kinds=[kind])
    change = np.abs(after.astype(int) - np.asarray(image)).max(-1)
    assert drawn.defect == f"drawn {kind.replace('_', ' ')}"
    assert np.median(change[mask]) >= 6
    assert (change[mask] > 0).mean() > 0.5


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_one_value_gets_visible_defects_too(value):
    after, mask, _ = certainly(
        Image.new("RGB", (64, 64), (value,) * 3), kinds=["scratch", "stain", "hole"]
    )
    assert np.median(np.abs(after[mask].astype(int) - value).max(-1)) >= 6


@pytest.mark.parametrize("kind", KINDS)
def test_grey_stays_grey(kind):
    """Else colour alone would tell the defect, on cameras that see none."""
    grey = photograph(100, 100, "L").convert("RGB")
    after, mask, _ = certainly(grey, kinds=[kind])
    assert (after[mask] != np.asarray(grey)[mask]).any()
    assert (after == after[..., :1]).all()


def test_colour_is_used_where_there_is_any():
    image = photograph(100, 100)
    after, mask, _ = certainly(image, kinds=["colour_spot"], contrast=[0.5, 0.5])
    change = after[mask].astype(int) - np.asarray(image)[mask]
    assert np.ptp(change, axis=1).mean() > 20


def test_nothing_is_drawn_where_a_photograph_is_transparent():
    image = photograph(96, 96, "RGBA")
    alpha = np.full((96, 96), 255, np.uint8)
    alpha[:, :48] = 0
    image.putalpha(Image.fromarray(alpha))
    for seed in range(6):
        after, mask, _ = certainly(image, seed)
        assert not mask[:, :46].any()
        assert np.array_equal(after[..., 3], alpha)
    image.putalpha(0)
    assert draw(image) is None


def test_about_the_wanted_share_gets_a_defect():
    image = photograph(24, 24)
    defects = SyntheticDefects(share=0.3)
    count = sum(defects(image.copy(), np.random.default_rng(i)) is not None for i in range(300))
    assert 60 <= count <= 120  # four deviations of the binomial


def test_the_contrast_decides_how_obvious_defects_are():
    image = photograph(128, 128)

    def strengths(**options) -> list[float]:
        found = []
        for seed in range(24):
            after, mask, _ = certainly(image, seed, **options)
            found.append(float(np.abs(after.astype(int) - np.asarray(image)).max(-1)[mask].mean()))
        return found

    usual = strengths()
    assert min(usual) < 25
    assert max(usual) > 70
    assert np.mean(strengths(contrast=[0.1, 0.1])) < 0.6 * np.mean(strengths(contrast=[0.5, 0.5]))


def test_the_extent_decides_how_much_is_covered():
    image = photograph(128, 128)
    small, large = (
        np.mean([certainly(image, seed, extent=[extent, extent])[1].mean() for seed in range(16)])
        for extent in (0.7, 2.5)
    )
    assert large > 3 * small


def test_a_defect_in_a_large_photograph_is_visible_small():
    image = photograph(900, 700)
    for view_px in (32, 256):
        for seed in range(8):
            drawn = certainly(image, seed, extent=[0.7, 0.7], view_px=view_px)[2]
            assert resize_mask(drawn.mask, view_px).any()


def test_no_defect_ends_in_a_straight_line_inside_the_picture():
    """As one would that is cut off at the border of the window that it was drawn in."""
    image = photograph(300, 300)
    for seed in range(24):
        mask = certainly(image, seed, kinds=["foreign_texture", "stain"], extent=[2.0, 2.5])[1]
        for turned in (mask, mask[::-1], mask.T, mask.T[::-1]):
            first = turned.any(1).argmax()
            width = turned.any(0).sum()
            assert first == 0 or turned[first].sum() < 0.4 * width


def test_one_stream_gives_one_picture():
    image = photograph(80, 60)
    first, again, other = (certainly(image, seed)[0] for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "share=0: expected the share"),
        ({"share": 1.5}, "share=1.5: expected the share"),
        ({"contrast": [0.5, 0.1]}, r"contrast=\[0.5, 0.1\]: expected \[lowest, highest\]"),
        ({"extent": [1.0]}, r"extent=\[1.0\]: expected"),
        ({"kinds": ["scrach"]}, r"kinds=\['scrach'\]: expected some of scratch, crack"),
        ({"kinds": []}, r"kinds=\[\]: expected some of scratch"),
    ],
)
def test_a_mistake_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        SyntheticDefects(**options)


@pytest.mark.parametrize("name", ["candle.JPG", "capsule.JPG", "carpet.png"])
def test_real_photographs_change_inside_the_mask_only(name):
    path = Path(__file__).parents[3] / ".." / "shared" / "data" / "single_images" / name
    if not path.exists():
        pytest.skip(f"{name} of ../shared/data/single_images is not here")
    image = Image.open(path).convert("RGB")
    before = np.asarray(image)
    after, mask, _ = certainly(image, seed=1)
    assert np.array_equal(before[~mask], after[~mask])
    assert np.median(np.abs(after[mask].astype(int) - before[mask]).max(-1)) >= 6
