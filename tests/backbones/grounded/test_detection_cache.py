"""The disk cache gives back whole entries or nothing, and never takes more than it may."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsad.backbones.grounded.detection_cache import DetectionCache

TENSORS = {
    "boxes": torch.rand(5, 4),
    "token_ids": torch.arange(7),
    "mask": torch.tensor([True, False]),
}


@pytest.fixture
def cache(tmp_path: Path) -> DetectionCache:
    return DetectionCache(tmp_path / "cache", max_gb=1.0)


def files(cache: DetectionCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def same(found: dict[str, torch.Tensor] | None, expected: dict[str, torch.Tensor]) -> bool:
    return (
        found is not None
        and found.keys() == expected.keys()
        and all(
            found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
            for name, tensor in expected.items()
        )
    )


def test_what_was_put_comes_back_bit_by_bit(cache: DetectionCache) -> None:
    assert cache.get("weights", "image") is None
    cache.put("weights", "image", tensors=TENSORS)
    assert same(cache.get("weights", "image"), TENSORS)
    assert same(DetectionCache(cache.folder, 1.0).get("weights", "image"), TENSORS)
    cache.put("weights", "image", tensors={"none": torch.zeros(0, 4)})
    assert same(cache.get("weights", "image"), {"none": torch.zeros(0, 4)})


def test_every_part_of_the_key_counts(cache: DetectionCache) -> None:
    """And parts do not run together."""
    cache.put("a", "bc", tensors=TENSORS)
    assert cache.get("ab", "c") is None
    assert cache.get("a", "bC") is None
    assert cache.get("a") is None


def test_one_file_for_each_key_under_folders_of_two_letters(cache: DetectionCache) -> None:
    for number in range(4):
        cache.put(str(number), tensors=TENSORS)
    assert len(files(cache)) == 4
    assert all(
        len(path.parent.name) == 2 and path.suffix == ".safetensors" for path in files(cache)
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_as_good_as_none(cache: DetectionCache, data: st.DataObject) -> None:
    cache.put("key", tensors=TENSORS)
    (path,) = files(cache)
    whole = path.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:position])
    else:
        path.write_bytes(
            whole[:position]
            + bytes([whole[position] ^ data.draw(st.integers(1, 255))])
            + whole[position + 1 :]
        )
    found = cache.get("key")
    # A bit of the header may be one that means nothing (a blank); then the tensors are all there.
    assert found is None or same(found, TENSORS)
    cache.put("key", tensors=TENSORS)
    assert same(cache.get("key"), TENSORS)


def test_the_oldest_files_make_room_for_new_ones(tmp_path: Path) -> None:
    content = {"numbers": torch.zeros(250)}  # about 1.1 kB a file
    cache = DetectionCache(tmp_path, max_gb=10e-6)
    for number in range(30):
        cache.put(str(number), tensors=content)
        for path in files(cache):  # the clock of some file systems is slower than this loop
            os.utime(path, (path.stat().st_mtime - 1, path.stat().st_mtime - 1))
        assert sum(path.stat().st_size for path in files(cache)) <= 10_000
    kept = [number for number in range(30) if cache.get(str(number)) is not None]
    assert len(kept) >= 5
    assert kept == list(range(30))[-len(kept) :]


def test_another_process_that_wrote_meanwhile_is_counted(tmp_path: Path) -> None:
    content = {"numbers": torch.zeros(250)}
    first, second = (DetectionCache(tmp_path, max_gb=10e-6) for _ in range(2))
    for number in range(40):
        (first if number % 2 else second).put(str(number), tensors=content)
    assert sum(path.stat().st_size for path in files(first)) <= 2 * 10_000
