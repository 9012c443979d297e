"""Settings in which a tested model differs from its own configuration, and so from published runs.

Everything that the predictions or the metrics of a model are computed from is compared, whatever
set it: the command line, a group such as ``prompts/ensemble@…``, an experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zsad.config.checkpoint_settings import settings
from zsad.config.compose import choices_of_run, compose_apart

# Compared, each with all keys below it. The dataset, its images, the backbone, references and
# training data are compared by their names and counts (zsad.reports.published_numbers).
COMPARED = (
    "dataset.categories",
    "dataset.fast_jpeg",
    "dataset.mask_threshold",
    "dataset.reference_phase",
    "dataset.test_phase",
    "dataset.value_range",
    "image_size",
    "model",
    "trainer.precision",
)
# Not compared, since they change no number of a test: of drawing, of training, of memory and speed.
CHANGES_NO_NUMBER = (
    "model.feature_cache",
    "model.heatmap_range",
    "model.method.backbone.cache",
    "model.method.backbone.cache_max_gb",
    "model.method.backbone.detector.captions_at_once",
    "model.method.backbone.prompt_chunk",
    "model.method.backbone.segmenter.chunk",
    "model.method.confidence_threshold",
    "model.method.iou_threshold",
    "model.method.tiling.max_tiles_per_pass",
    "model.metrics.intervals",
    "model.metrics.replicates",
    "model.optimizer",
)
# These choices are compared by their names, or decide about the columns of a table alone.
_SAME_CHOICES = ("model", "backbone", "metrics")
_MOST_SHOWN = 3
_MOST_CHARACTERS = 40


def changed_settings(
    config: DictConfig, dataset: str, provenance: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the settings that set a test apart from the model as it is configured.

    Args:
        config: The configuration of the test.
        dataset: The choice of the tested dataset.
        provenance: Of the loaded prompts: settings that they were trained with count, too.

    Returns phrases such as ``image_size=336``; the first of them, and how many more there are.
    """
    choices = choices_of_run()
    overrides = [f"{group}={choices[group]}" for group in _SAME_CHOICES]
    plain = compose_apart("test", [*overrides, f"dataset={dataset}"])
    changes = _differences(_compared(config), _compared(plain))
    changes += _trained_otherwise(config, plain, provenance or {})
    shown = changes[:_MOST_SHOWN]
    if len(changes) > len(shown):
        shown.append(f"{len(changes) - len(shown)} more settings")
    return shown


def _compared(config: DictConfig) -> dict[str, Any]:
    """Return the values of all compared keys."""
    values: dict[str, Any] = {}
    for place in COMPARED:
        node = OmegaConf.select(config, place)
        if isinstance(node, DictConfig):
            values |= _leaves(OmegaConf.to_container(node, resolve=True), place)
        else:
            values[place] = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    return values


def _leaves(tree: Any, place: str) -> dict[str, Any]:
    """Return all values below a place, those that say which class is built among them."""
    if place in CHANGES_NO_NUMBER:
        return {}
    if not isinstance(tree, dict) or not tree:
        return {place: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _leaves(value, f"{place}.{key}")
    return leaves


def _differences(values: Mapping[str, Any], plain: Mapping[str, Any]) -> list[str]:
    differences = []
    for key in sorted(values.keys() | plain.keys()):
        if key not in values:
            differences.append(f"no {key}")
        elif key not in plain or values[key] != plain[key]:
            differences.append(f"{key}={_shortened(values[key])}")
    return differences


def _trained_otherwise(
    config: DictConfig, plain: DictConfig, provenance: Mapping[str, Any]
) -> list[str]:
    """Return the settings of a training that neither this test nor its model has."""
    configured = settings(plain)
    tested = settings(config)
    differences = []
    for key, value in provenance.get("settings", {}).items():
        is_own = key in configured and configured[key] != value
        if is_own and tested.get(key) != value:
            differences.append(f"training with {key}={_shortened(value)}")
    return differences


def _shortened(value: Any) -> str:
    text = str(value)
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[: _MOST_CHARACTERS - 1]}…"
