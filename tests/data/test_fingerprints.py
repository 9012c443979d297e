"""Fingerprints of images: computed in threads, kept in checkpoints."""

import io
import json
import logging
import re

import numpy as np
import pytest
import torch

from tests.data.textures import sample, save, texture
from zsad.data import fingerprints as module
from zsad.data.decoding import UnreadableImageError
from zsad.data.fingerprints import Fingerprints, compute_fingerprints
from zsad.data.leakage import find_overlap


@pytest.fixture
def learned(tmp_path):
    """Eight textures as PNG."""
    return [sample(save(texture(seed), tmp_path / f"learned/{seed}.png")) for seed in range(8)]


def test_a_checkpoint_keeps_them_compactly_and_without_paths(learned, tmp_path):
    taken = compute_fingerprints(learned * 50)
    torch.save({"fingerprints": taken.to_state()}, tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["fingerprints"]
    assert json.loads(json.dumps(state)) == state  # an export keeps it as JSON
    read = Fingerprints.from_state(state)
    np.testing.assert_array_equal(read.content, taken.content)
    np.testing.assert_array_equal(read.perceptual_hash, taken.perceptual_hash)
    assert (read.categories, read.paths) == (taken.categories, ())
    assert len(json.dumps(state)) <= 60 * len(taken)
    assert str(tmp_path).encode() not in (tmp_path / "last.ckpt").read_bytes()
    assert find_overlap(read, taken).duplicates == len(taken)


def test_what_another_version_wrote_is_refused(learned):
    with pytest.raises(ValueError, match="fingerprints of version 0, expected 1"):
        Fingerprints.from_state(compute_fingerprints(learned).to_state() | {"version": 0})


@pytest.mark.parametrize("look", ["", "AAAA", "no base 64", 7, "A" * 64])
def test_damaged_fingerprints_are_refused(learned, look):
    with pytest.raises(ValueError, match="damaged fingerprints"):
        Fingerprints.from_state(compute_fingerprints(learned).to_state() | {"look": look})


def test_the_number_of_threads_changes_nothing(learned):
    one, many = compute_fingerprints(learned, threads=1), compute_fingerprints(learned, threads=5)
    np.testing.assert_array_equal(one.perceptual_hash, many.perceptual_hash)
    np.testing.assert_array_equal(one.content, many.content)
    assert one.paths == many.paths


def test_a_long_reading_says_how_far_it_is(learned, caplog, monkeypatch):
    monkeypatch.setattr(module, "_LOG_EVERY_S", -1.0)
    with caplog.at_level(logging.INFO, logger="zsad"):
        compute_fingerprints(learned)
    assert caplog.messages[-1] == "fingerprints: 8 of 8 images"


def test_a_damaged_image_is_named(tmp_path):
    data = io.BytesIO()
    texture(1).save(data, "PNG")
    (tmp_path / "cut.png").write_bytes(data.getvalue()[:5000])
    with pytest.raises(UnreadableImageError, match=re.escape(str(tmp_path / "cut.png"))):
        compute_fingerprints([sample(tmp_path / "cut.png")])
    with pytest.raises(FileNotFoundError):
        compute_fingerprints([sample(tmp_path / "gone.png")])
