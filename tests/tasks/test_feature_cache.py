"""Training from cached features equals training from images; nothing stale is ever read."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from PIL import Image

from zsad.backbones.clip.model import CLIP
from zsad.data import images
from zsad.data.cached_dataset import CachedDataset, collate_cached
from zsad.data.module import JsonDataModule
from zsad.data.synthetic.into_photos import SyntheticDefects
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.methods.dhrclip import DHRCLIP
from zsad.methods.tiling import Tiling
from zsad.tasks import feature_cache
from zsad.tasks.cache_folder import cache_entries, clear_cache, folder_bytes
from zsad.tasks.feature_cache import FeatureCache, fill_cache
from zsad.tasks.prompt_tuning import PromptTuning
from zsad.types import Batch, CachedFeatures

IMAGES, SAME = 10, 1e-5
Data, Task = Callable[..., JsonDataModule], Callable[..., PromptTuning]


class _Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.values.append(float(outputs["loss"]))


def learn(
    task: PromptTuning, data: JsonDataModule, epochs: int = 3, **settings: Any
) -> torch.Tensor:
    """Return the loss of every step and, behind them, all that was learned."""
    losses = _Losses()
    Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[losses],
        logger=False,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    ).fit(task, data)
    prompts: Any = task.method.prompts
    learned = [parameter.detach().flatten() for parameter in prompts.parameters()]
    return torch.cat([torch.tensor(losses.values), *learned])


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it lets nobody decode an image or run the image tower any more."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("it looked")

    def close_eyes() -> None:
        monkeypatch.setattr(images, "load_image", refuse)
        monkeypatch.setattr(images, "load_mask", refuse)
        monkeypatch.setattr(CLIP, "encode_image", refuse)

    return close_eyes


@pytest.mark.parametrize(("method", "image_size"), [(AnomalyCLIP, 56), (DHRCLIP, 112)])
def test_training_is_the_same_with_and_without_cache(
    data: Data, task: Task, folder: Path, blind: Callable[[], None], method: Any, image_size: int
) -> None:
    without = learn(task(method=method), data(image_size=image_size))
    filling = learn(
        task(method=method, feature_cache=FeatureCache(folder)), data(image_size=image_size)
    )
    assert len(entries(folder)) == IMAGES
    blind()
    filled = learn(
        task(method=method, feature_cache=FeatureCache(folder)), data(image_size=image_size)
    )
    torch.testing.assert_close(filling, without, atol=SAME, rtol=SAME)
    torch.testing.assert_close(filled, without, atol=SAME, rtol=SAME)


def test_half_precision_training_is_the_same_from_a_full_cache(
    data: Data, task: Task, folder: Path, blind: Callable[[], None]
) -> None:
    half = {"precision": "bf16-mixed"}
    without = learn(task(), data(), **half)
    learn(task(feature_cache=FeatureCache(folder)), data(), epochs=1, **half)
    blind()
    filled = learn(task(feature_cache=FeatureCache(folder)), data(), **half)
    torch.testing.assert_close(filled, without, atol=SAME, rtol=SAME)


def test_no_image_is_decoded_after_the_first_epoch(
    data: Data, task: Task, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    load_image, encode_image = images.load_image, CLIP.encode_image
    monkeypatch.setattr(
        images, "load_image", lambda *given: looks.append("file") or load_image(*given)
    )
    monkeypatch.setattr(
        CLIP,
        "encode_image",
        lambda self, image, **how: (
            looks.extend(["tower"] * len(image)) or encode_image(self, image, **how)
        ),
    )
    learn(task(feature_cache=FeatureCache(folder)), data(), epochs=3)
    assert (looks.count("file"), looks.count("tower")) == (IMAGES, IMAGES)


def test_a_full_cache_changes_nothing_and_says_what_to_do(
    data: Data, task: Task, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without = learn(task(), data())
    learn(task(feature_cache=FeatureCache(tmp_path / "large")), data(), epochs=1)
    entry = entries(tmp_path / "large")[0].stat().st_size
    limit = 4.5 * entry
    with caplog.at_level(logging.WARNING, "zsad"):
        limited = learn(task(feature_cache=FeatureCache(folder, limit_gb=limit / 1e9)), data())
    assert 3 <= len(entries(folder)) <= 4
    assert folder_bytes(folder) < limit + 2000  # what the folder says of itself
    assert caplog.text.count("zsad cache --clear") == 1  # said once, not in every epoch
    torch.testing.assert_close(limited, without, atol=SAME, rtol=SAME)


def test_a_disk_without_space_ends_the_filling_not_the_training(
    data: Data,
    task: Task,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    without = learn(task(), data())
    written = feature_cache.write_whole

    def write_two(path: Path, content: str | bytes) -> Path:
        if path.suffix == ".safetensors" and len(entries(folder)) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return written(path, content)

    monkeypatch.setattr(feature_cache, "write_whole", write_two)
    with caplog.at_level(logging.WARNING, "zsad"):
        limited = learn(task(feature_cache=FeatureCache(folder)), data())
    assert len(entries(folder)) == 2
    assert "no space is left in" in caplog.text
    torch.testing.assert_close(limited, without, atol=SAME, rtol=SAME)


def test_a_folder_that_cannot_be_written_is_an_error(
    data: Data, task: Task, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        learn(task(feature_cache=FeatureCache(tmp_path / "file")), data())


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_damaged_entry_is_made_anew(
    data: Data, task: Task, folder: Path, length: int, caplog: pytest.LogCaptureFixture
) -> None:
    first = learn(task(feature_cache=FeatureCache(folder)), data())
    whole = entries(folder)[3].read_bytes()
    entries(folder)[3].write_bytes(whole[:length])
    again = learn(task(feature_cache=FeatureCache(folder)), data())
    assert "is damaged" in caplog.text
    assert entries(folder)[3].stat().st_size == len(whole)
    torch.testing.assert_close(again, first, atol=SAME, rtol=SAME)


def test_partial_files_are_not_read_and_removed_after_an_hour(
    data: Data, task: Task, folder: Path
) -> None:
    first = learn(task(feature_cache=FeatureCache(folder)), data())
    entry = entries(folder)[0]
    partial_file = entry.with_name(f".{entry.name}.1.partial")
    shutil.copy(entry, partial_file)
    os.truncate(partial_file, 1000)
    entry.unlink()
    torch.testing.assert_close(
        learn(task(feature_cache=FeatureCache(folder)), data()), first, atol=SAME, rtol=SAME
    )
    assert partial_file.exists()  # it might be another process's that is writing now
    os.utime(partial_file, (time.time() - 4000,) * 2)
    FeatureCache(folder).open(task().method)
    assert not partial_file.exists()
    assert entry.exists()


def write_on(cache: FeatureCache, features: dict[str, torch.Tensor], batch: Batch) -> None:
    """Write new entries until the process is killed."""
    unknown = torch.zeros(len(batch), dtype=torch.bool)
    for number in count():
        keys = tuple(f"{number:04d}{place}" for place in range(len(batch)))
        cache.features_of(
            replace(batch, cached=CachedFeatures(keys, unknown, {})), lambda _: features
        )


def test_whatever_a_killed_process_leaves_can_be_read(
    task: Task, folder: Path, random_batch: Batch
) -> None:
    cache = FeatureCache(folder)
    cache.open(task().method)
    features = {
        "tokens": torch.rand(2, 1, 200, 500)
    }  # 400 kB an image: most of the time goes into writing
    context = multiprocessing.get_context("fork")
    for number in range(8):
        writer = context.Process(target=write_on, args=(cache, features, random_batch))
        writer.start()
        while len(entries(folder)) < 3:
            time.sleep(0.001)
        time.sleep(0.003 * number)
        writer.kill()
        writer.join()
        for path in entries(folder):
            known = cache.lookup(path.stem)
            assert known is not None
            assert known.cached is not None
            assert torch.equal(
                known.cached.features["tokens"][0], features["tokens"][int(path.stem[-1])]
            )
        clear_cache(folder)


def test_bfloat16_takes_half_the_space_and_sees_nearly_the_same(
    data: Data, task: Task, tmp_path: Path
) -> None:
    seen, sizes = [], []
    for dtype in ("float32", "bfloat16"):
        cache = FeatureCache(tmp_path / dtype, dtype)
        first, again = (learn(task(feature_cache=cache), data(), epochs=2) for _ in range(2))
        torch.testing.assert_close(
            again, first, atol=SAME, rtol=SAME
        )  # rounded in the first epoch, too
        seen.append(first[:6])
        sizes.append(entries(tmp_path / dtype)[0].stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    torch.testing.assert_close(seen[1], seen[0], atol=0.02, rtol=0.01)
    assert not torch.equal(seen[1], seen[0])


def cache_entries_of(
    method: Any, folder: Path, precision: str = "32-true", dtype: str = "float32"
) -> set[Path]:
    FeatureCache(folder, dtype).open(method, precision)
    return set(cache_entries(folder))


def test_weights_taps_precisions_and_types_have_own_features(
    tiny_backbone: CLIP, folder: Path
) -> None:
    known = cache_entries_of(AnomalyCLIP(tiny_backbone), folder)
    assert (
        cache_entries_of(AnomalyCLIP(tiny_backbone, sigma_px=1.0, local_weight=2.0), folder)
        == known
    )
    for another in (
        {"method": AnomalyCLIP(tiny_backbone, feature_blocks=(12,))},
        {"method": AnomalyCLIP(tiny_backbone, value_attention_from=None)},
        {"method": AnomalyCLIP(tiny_backbone, norm_image=True)},
        {"method": DHRCLIP(tiny_backbone)},
        {"method": DHRCLIP(tiny_backbone, tile_px=70)},
        {"method": AnomalyCLIP(tiny_backbone), "precision": "bf16-mixed"},
        {"method": AnomalyCLIP(tiny_backbone), "dtype": "bfloat16"},
    ):
        found = cache_entries_of(folder=folder, **another)
        assert len(found) == len(known) + 1, another
        known = found
    with torch.no_grad():
        tiny_backbone.model.visual.class_embedding[0] += 1e-3
    assert len(cache_entries_of(AnomalyCLIP(tiny_backbone), folder)) == len(known) + 1


def keys(module: JsonDataModule) -> set[str]:
    module.cache_lookup = lambda key: None
    module.setup("fit")
    dataset: Any = module.train_dataloader().dataset
    return {dataset.key(index) for index in range(len(dataset))}


def test_pixels_masks_and_ways_to_read_them_have_own_keys(data: Data, tmp_path: Path) -> None:
    usual = keys(data())
    assert len(usual) == IMAGES
    assert keys(data(batch_size=2, seed=5)) == usual
    assert not keys(data(image_size=28)) & usual
    assert not keys(data(mask_threshold=127)) & usual
    assert not keys(data(fast_jpeg=True)) & usual
    for name in ("0.png", "3_mask.png"):
        pixels = np.array(Image.open(tmp_path / name))
        pixels[0, 0] ^= 255
        Image.fromarray(pixels).save(tmp_path / name)
    assert len(keys(data()) & usual) == IMAGES - 2
    drawn = [
        keys(data(synthetic_defects=SyntheticDefects(share=share), views=2, seed=seed))
        for share, seed in ((0.5, 1), (0.6, 1), (0.5, 2))
    ]
    assert len(set.union(usual, *drawn)) == 4 * IMAGES


def test_changing_images_need_a_number_of_views(data: Data, task: Task, folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"others in every epoch.*dataset.views=4.*augmentation=none"
    ):
        learn(task(feature_cache=FeatureCache(folder)), data(synthetic_defects=SyntheticDefects()))


def test_views_are_cached_one_by_one_with_their_masks_and_labels(
    data: Data, task: Task, folder: Path, blind: Callable[[], None]
) -> None:
    changed = {"synthetic_defects": SyntheticDefects(share=0.5), "views": 2}
    without = learn(task(), data(**changed), epochs=4)
    learn(task(feature_cache=FeatureCache(folder)), data(**changed), epochs=2)
    assert len(entries(folder)) == 2 * IMAGES
    blind()
    filled = learn(task(feature_cache=FeatureCache(folder)), data(**changed), epochs=4)
    torch.testing.assert_close(filled, without, atol=SAME, rtol=SAME)


def test_tiles_are_not_cached_and_the_message_says_what_serves(
    data: Data, task: Task, folder: Path
) -> None:
    with pytest.raises(ValueError, match="learn with tiling=none"):
        learn(
            task(method=partial(AnomalyCLIP, tiling=Tiling()), feature_cache=FeatureCache(folder)),
            data(),
        )


@pytest.fixture
def full(data: Data, task: Task, folder: Path) -> tuple[JsonDataModule, FeatureCache, Any]:
    """Data, a cache that knows them, and the method."""
    module, cache, method = data(), FeatureCache(folder), task().method
    cache.open(method)
    module.cache_lookup = cache.lookup
    module.setup("fit")
    assert fill_cache(cache, method, module.train_dataloader(), lambda done, total: None) == IMAGES
    return module, cache, method


def test_a_known_image_is_what_it_was(full: tuple[JsonDataModule, FeatureCache, Any]) -> None:
    module, _, method = full
    dataset: Any = module.train_dataloader().dataset
    for index in range(IMAGES):
        known, looked = dataset[index], dataset.dataset[index]
        for name in ("mask", "has_mask", "is_anomalous"):
            assert torch.equal(getattr(known, name), getattr(looked, name)), name
        assert (known.category, known.defect, known.path) == (
            looked.category,
            looked.defect,
            looked.path,
        )
        for name, rows in method.extract_features(looked.image).items():
            torch.testing.assert_close(known.cached.features[name], rows, atol=SAME, rtol=SAME)


def test_a_batch_of_known_and_unknown_images_keeps_its_order(
    full: tuple[JsonDataModule, FeatureCache, Any],
) -> None:
    module, cache, method = full
    inner: Any = module.train_dataloader().dataset
    expected = method.extract_features(
        torch.cat([inner.dataset[index].image for index in range(5)])
    )
    forgotten = {inner.key(1), inner.key(2), inner.key(4)}
    dataset = CachedDataset(
        inner.dataset, lambda key: None if key in forgotten else cache.lookup(key)
    )
    batch = collate_cached(dataset[index] for index in range(5))
    assert (len(batch), len(batch.image)) == (5, 3)
    found = cache.features_of(batch, method.extract_features)
    for name, rows in expected.items():
        torch.testing.assert_close(found[name], rows, atol=SAME, rtol=SAME)
    first = batch.first(3)
    assert (len(first), len(first.image), first.path) == (3, 2, batch.path[:3])
    for name, rows in cache.features_of(first, method.extract_features).items():
        torch.testing.assert_close(rows, expected[name][:3], atol=SAME, rtol=SAME)


def test_a_cleared_cache_is_empty_and_what_else_lies_there_stays(
    full: tuple[JsonDataModule, FeatureCache, Any], folder: Path
) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    size = folder_bytes(folder)
    assert clear_cache(folder) == size - 4
    assert [path.name for path in folder.rglob("*")] == ["mine", "notes.txt"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float16"}, "expected one of float32, bfloat16"),
        ({"limit_gb": 0}, "expected a size in GB above 0"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(
    folder: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureCache(folder, **settings)


def test_a_batch_without_knowledge_is_simply_looked_at(
    full: tuple[JsonDataModule, FeatureCache, Any], random_batch: Batch
) -> None:
    _, cache, method = full
    found = cache.features_of(random_batch, method.extract_features)
    assert all(
        torch.equal(found[name], rows)
        for name, rows in method.extract_features(random_batch.image).items()
    )
