"""Published numbers are compared only with tests of unchanged settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from tests.config.compositions import OUTPUT, leaves, other_value
from zsad.config import changed_settings as module
from zsad.config import compose, instantiate
from zsad.config.changed_settings import CHANGES_NO_NUMBER, COMPARED, changed_settings

# Models of which others are variants, with a backbone that shows all keys and needs no download.
MODELS = {
    "anomalyclip": ["backbone=pocket"],
    "clip": ["backbone=pocket"],
    "dhrclip": ["backbone=pocket"],
    "dhrclip_plus": ["backbone=pocket"],
    "dot": ["backbone=grounded_sam"],
    "saa_plus": ["backbone=grounded_sam"],
    "sam3": ["backbone=sam3"],
    "winclip": ["backbone=pocket"],
}
# Keys that are no part of a model, and why a change of them needs no comparison of settings.
OF_THE_RUN = {
    "augmentation": "trains",
    "callbacks": "draws and writes files",
    "ckpt_path": "the training data are compared",
    "dataset.augmentation": "trains",
    "dataset.batch_size": "trains",
    "dataset.data_json": "the number of images is compared",
    "dataset.image_size": "is image_size",
    "dataset.index": "the number of images is compared",
    "dataset.max_images": "the number of images is compared",
    "dataset.name": "is compared by name",
    "dataset.num_workers": "speed",
    "dataset.root": "the number of images is compared",
    "dataset.seed": "is seed",
    "dataset.shots": "is compared as k_shot",
    "dataset.synthetic_defects": "trains",
    "dataset.test_batch_size": "speed",
    "dataset.train_phase": "trains",
    "dataset.views": "trains",
    "epochs": "trains",
    "feature_cache": "trains",
    "k_shot": "is compared by itself",
    "logger": "writes files",
    "name": "names a folder",
    "overwrite": "files",
    "paths": "files",
    "protocol": "lists of datasets",
    "resume": "files",
    "robustness": "is tested after the results",
    "seed": "published numbers belong to no particular draw of references",
    "skip_missing": "datasets",
    "sweep": "names a folder",
    "test_on": "datasets",
    "trainer": "devices, training; precision is compared",
}


@pytest.fixture(autouse=True)
def _compose_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "compose_apart", _plain)


@cache
def _composed_once(script: str, *overrides: str) -> DictConfig:
    return compose.compose_apart(script, list(overrides))


def _plain(script: str, overrides: list[str]) -> DictConfig:
    return _composed_once(script, *overrides)


def composed(*overrides: str) -> DictConfig:
    return compose.compose_config("test", [*overrides, OUTPUT])


def keys_of_model(config: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield every key of a model and its backbone; of a table of words the first row alone."""
    tables = set()
    for key, value in leaves(compose.to_dict(config)).items():
        table, _, _ = key.rpartition(".")
        is_row = any(f".{name}." in key for name in ("tables", "objects", "names", "datasets"))
        if key.startswith("model.") and not (is_row and table in tables):
            tables.add(table)
            yield key, value


@pytest.mark.parametrize("model", MODELS)
def test_a_changed_key_of_a_model_is_noticed(model: str) -> None:
    """The keys of the backbone stand below model.method.backbone, too."""
    config = OmegaConf.create(compose.to_dict(composed(f"model={model}", *MODELS[model])))
    assert changed_settings(config, "mvtec") == []
    checked = 0
    for key, value in keys_of_model(config):
        changed = config.copy()
        OmegaConf.update(changed, key, other_value(value))
        is_inert = any(key == inert or key.startswith(f"{inert}.") for inert in CHANGES_NO_NUMBER)
        assert bool(changed_settings(changed, "mvtec")) != is_inert, key
        checked += 1
    assert checked > 15


@pytest.mark.parametrize(
    "override",
    [
        *(f"model=winclip prompts/ensemble@model.method.prompts={n}" for n in ("clip", "clip_ac")),
        "model=winclip prompts/ensemble@model.method.prompts=winclip_paper",
        "model=saa_plus prompts/saa@model.method.prompts=general",
        "model=saa_plus prompts/saa@model.method.prompts=class_agnostic",
        "model=sam3 prompts/sam3@model.method.prompts=published",
        "model=dot prompts/dot@model.method.language=fixed",
        "model=dot prompts/dot@model.method.language=instruct",
        "model=dot tagger@model.method.tagger=clip",
        "model=dot tagger@model.method.tagger=ram",
        "model=dot ~tagger@model.method.tagger",
        "model=anomalyclip tiling=native",
        "model=dhrclip_plus tiling=none",
        "model=anomalyclip trainer=bf16",
        "+model.method.names.nut=nail model=dot",
        "~model.method.prompts.normalize_each model=winclip",
        "image_size=64",
        "dataset.categories=[bottle]",
        "dataset.fast_jpeg=true",
        "dataset.mask_threshold=1",
        "dataset.test_phase=train",
        "metrics.pixel.pixel_aupro.fpr_limit=0.1",
    ],
)
def test_a_changed_group_or_typed_key_is_noticed(override: str) -> None:
    assert changed_settings(composed(*override.split(" ")), "mvtec")


def test_a_setting_of_an_experiment_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for entry in compose.CONF.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "experiment").unlink()
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nmodel: {method: {sigma_px: 1.5}}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    monkeypatch.setattr(compose, "CONF", tmp_path)
    assert changed_settings(composed("experiment=mine"), "mvtec") == ["model.method.sigma_px=1.5"]


def test_other_settings_of_a_training_are_noticed() -> None:
    config = composed("backbone=pocket")
    same = {"settings": {"sigma_px": 4, "local_weight": 4.0, "image_size": 192}}
    assert changed_settings(config, "mvtec", same) == []
    other = {"settings": {"local_weight": 1.0}}
    assert changed_settings(config, "mvtec", other) == ["training with local_weight=1.0"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["backbone=pocket"],
        ["model=dhrclip_plus", "dataset=visa", "metrics=exact"],
        ["trainer=ddp", "logger=none", "feature_cache=ram", "protocol=medical"],
        ["inpainter@callbacks.restoration.inpainter=stable_diffusion", "robustness=standard"],
        ["experiment=anomalyclip_industrial", "augmentation=synthetic_defects_standard"],
        ["model=winclip", "k_shot=4", "seed=3"],
        ["model=dot_published", "backbone=grounded_sam"],
    ],
)
def test_what_changes_no_number_is_compared(overrides: list[str]) -> None:
    config = composed(*overrides)
    assert changed_settings(config, config.dataset.name) == []


def test_long_lists_of_changes_are_cut() -> None:
    changes = changed_settings(composed("tiling=native"), "mvtec")
    assert len(changes) == 4
    assert changes[0] == "image_size=None"
    assert changes[-1].endswith(" more settings")


def test_every_key_outside_a_model_is_compared_or_has_a_reason() -> None:
    keys = set(leaves(compose.to_dict(composed("backbone=pocket", "protocol=medical"))))
    known = [*COMPARED, *OF_THE_RUN, "backbone", "metrics"]
    for key in keys:
        assert any(key == place or key.startswith(f"{place}.") for place in known), key
    for place in (*OF_THE_RUN, *COMPARED):
        assert any(key == place or key.startswith(f"{place}.") for key in keys), place


# --- Each key that changes no number: the proof.


@cache
def predicted(*overrides: str) -> dict[str, np.ndarray]:
    """Scores and maps of two images by a tiny model with random weights."""
    torch.manual_seed(0)
    method = instantiate.build_task(composed(*overrides)).method.eval()
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = method(image, ["metal_nut"])
    return {"map": found.map.numpy(), "score": found.score.numpy()}


PREDICTS = {
    "model.method.backbone.cache": (
        ["model=saa_plus", "backbone=grounded_sam_random"],
        "backbone.cache={folder}",
    ),
    "model.method.backbone.cache_max_gb": (
        ["model=saa_plus", "backbone=grounded_sam_random", "backbone.cache={folder}"],
        "+backbone.cache_max_gb=1.0",
    ),
    "model.method.backbone.detector.captions_at_once": (
        ["model=saa_plus", "backbone=grounded_sam_random"],
        "+backbone.detector.captions_at_once=1",
    ),
    "model.method.backbone.segmenter.chunk": (
        ["model=saa_plus", "backbone=grounded_sam_random"],
        "backbone.segmenter.chunk=1",
    ),
    "model.method.backbone.prompt_chunk": (
        ["model=sam3", "backbone=sam3_random", "backbone.input_size=56"],
        "backbone.prompt_chunk=1",
    ),
    "model.method.confidence_threshold": (
        ["model=sam3", "backbone=sam3_random", "backbone.input_size=56"],
        "model.method.confidence_threshold=0.01",
    ),
    "model.method.iou_threshold": (
        ["model=sam3", "backbone=sam3_random", "backbone.input_size=56"],
        "model.method.iou_threshold=0.01",
    ),
    "model.method.tiling.max_tiles_per_pass": (
        ["model=dhrclip_plus", "backbone=pocket", "backbone.input_size=32"],
        "model.method.tiling.max_tiles_per_pass=1",
    ),
}


@pytest.mark.parametrize("key", PREDICTS)
def test_predictions_stay_the_same(key: str, tmp_path: Path) -> None:
    overrides, change = PREDICTS[key]
    folder = str(tmp_path)
    plain = [override.format(folder=folder) for override in overrides]
    changed = [*plain, change.format(folder=folder)]
    before, after = predicted(*plain), predicted(*changed)
    for kind in ("map", "score"):
        np.testing.assert_allclose(after[kind], before[kind], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("model.feature_cache", "feature_cache=ram"),
        ("model.heatmap_range", "model.heatmap_range=[0,0.5]"),
        ("model.optimizer", "model.optimizer.lr=1"),
    ],
)
def test_method_and_metrics_stay_the_same(key: str, change: str) -> None:
    """Predictions come from the method, and numbers from the metrics, alone."""
    before, after = (compose.to_dict(composed(*given)) for given in ([], [change]))
    assert before["model"] != after["model"]
    assert before["model"]["method"] == after["model"]["method"]
    assert before["model"]["metrics"] == after["model"]["metrics"]


@pytest.mark.parametrize("key", ["intervals", "replicates"])
def test_intervals_leave_the_numbers_alone(key: str, random_batch: Any) -> None:
    from zsad.types import Prediction

    def results(change: Callable[[DictConfig], None]) -> Any:
        config = composed("backbone=pocket")
        with open_dict(config):
            change(config.metrics)
        metrics = instantiate.build(config.metrics)(["nut"])
        anomaly_map = torch.rand(2, 56, 56, generator=torch.Generator().manual_seed(2))
        metrics.update(Prediction(anomaly_map, torch.tensor([0.1, 0.7])), random_batch)
        return metrics.compute()

    before = results(lambda config: None)
    after = results(lambda config: config.update({key: {} if key == "intervals" else 10}))
    assert after.values == before.values
    assert after.mean == before.mean


def test_every_key_that_changes_no_number_has_its_proof() -> None:
    proven = {
        *PREDICTS,
        "model.feature_cache",
        "model.heatmap_range",
        "model.optimizer",
        "model.metrics.intervals",
        "model.metrics.replicates",
    }
    assert proven == set(CHANGES_NO_NUMBER)
