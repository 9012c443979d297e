"""A shortlist holds the extremes of all images, in any order, and draws few of the others."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsad.reports.figures.contact_sheet import Thumbnail
from zsad.reports.figures.extremes import Shortlist

PICTURE = np.zeros((1, 1, 3), np.uint8)
IMAGES = st.lists(st.tuples(st.integers(-5, 5).map(float), st.booleans()), max_size=30)


def filled(images, length):
    """A shortlist of (score, path, label), and the paths of the images that were drawn for it."""
    shortlist, drawn = Shortlist(length), []

    def draw(path, is_anomalous):
        drawn.append(path)
        return Thumbnail((PICTURE,), path, is_anomalous)

    for score, path, bad in images:
        shortlist.offer(score, path, bad, lambda path=path, bad=bad: draw(path, bad))
    return shortlist, drawn


def captions(shortlist):
    return [[thumbnail.caption for thumbnail in row] for _, row in shortlist.rows()]


@given(images=IMAGES, length=st.integers(1, 5))
def test_the_rows_are_those_of_sorting_all_images(images, length):
    images = [(score, f"{i:02d}", bad) for i, (score, bad) in enumerate(images)]
    high = sorted(images, key=lambda image: (-image[0], image[1]))
    low = sorted(images, key=lambda image: (image[0], image[1]))
    good = [path for _, path, bad in high if not bad][:length]
    misses = [path for _, path, bad in low if bad][:length]
    hits = [path for _, path, bad in high if bad][:length]
    assert captions(filled(images, length)[0]) == [
        good,
        misses,
        [path for path in hits if path not in misses],
    ]


@given(images=IMAGES, length=st.integers(1, 5), split=st.integers(0, 30))
def test_two_processes_together_show_what_one_would(images, length, split):
    images = [(score, f"{i:02d}", bad) for i, (score, bad) in enumerate(images)]
    joined = filled(images[:split], length)[0]
    joined.merge(filled(images[split:], length)[0])
    assert captions(joined) == captions(filled(images, length)[0])


@pytest.mark.parametrize("bad", [False, True])
def test_only_what_enters_is_drawn_and_only_once(bad):
    images = [(float(i), f"{i:03d}", bad) for i in range(500)]
    random.Random(0).shuffle(images)
    _, drawn = filled(images, length=3)
    assert 3 <= len(drawn) == len(set(drawn)) < 50
