"""Names of version 0.1 that have changed since: keys, choices and learned tensors.

Files of version 0.1 are read under the present names; a typed old name is refused with the present
one. Without this table an old name would silently mean the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # torch takes seconds to import
    from zsad.model_files.learned import LearnedState

# Old key -> new key; both stand for all keys below them, too.
KEYS = {
    "backbone.cache_floor": "backbone.cache_min_score",
    "callbacks.signs": "callbacks.heartbeat",
    "dataset.drawn_defects": "dataset.synthetic_defects",
    "model.method.backbone.cache_floor": "model.method.backbone.cache_min_score",
    "map_range": "model.heatmap_range",
    "model.method.language.most_words": "model.method.language.max_words",
    "model.method.tiling.skip": "model.method.tiling.skip_share",
    "model.method.tiling.whole_weight": "model.method.tiling.global_weight",
    "model.method.tuned": "model.method.train_head",
    "model.method.whole_px": "model.method.global_px",
    "model.method.whole_weight": "model.method.global_weight",
}
# Removed key -> arguments that say the same. Stored configurations hold those beside it.
REMOVED = {
    "canvas": "image_size=PIXELS",
    "normal_source": "k_shot=10, and dataset.reference_phase=train or test",
    "normals": "k_shot=10, and dataset.reference_phase=train or test",
}
# Old choice of a group -> new choice. A group alone stands for all of its choices.
CHOICES = {
    "augmentation=drawn_defects": "augmentation=synthetic_defects",
    "augmentation=drawn_defects_standard": "augmentation=synthetic_defects_standard",
    "ensemble": "prompts/ensemble",
    "language": "prompts/dot",
    "prompts=saa_class_agnostic": "prompts/saa=class_agnostic",
    "prompts=saa_expert": "prompts/saa=expert",
    "prompts=saa_general": "prompts/saa=general",
    "prompts/dot=nouns": "prompts/dot/tables=nouns",
    "prompts/dot=words": "prompts/dot/tables=words",
    "prompts/saa=ksdd2": "prompts/saa/tables=ksdd2",
    "prompts/saa=more": "prompts/saa/tables=more",
    "prompts/saa=mtd": "prompts/saa/tables=mtd",
    "prompts/saa=mvtec": "prompts/saa/tables=mvtec",
    "prompts/saa=visa": "prompts/saa/tables=visa",
    "prompts/sam3/words": "prompts/sam3/tables",
}
# Beginning of an old tensor name -> the new one.
TENSORS = {"backbone.light.": "backbone.head."}  # SAM 3

_METHOD = "model.method."
IMAGE_SIZE = "image_size"  # stored among the settings of a method, though a key of its own


def new_key(key: str) -> str:
    """Return the present name of a key of version 0.1.

    >>> new_key("model.method.tiling.skip"), new_key("dataset.drawn_defects.share"), new_key("seed")
    ('model.method.tiling.skip_share', 'dataset.synthetic_defects.share', 'seed')
    """
    for old, new in KEYS.items():
        if _is_at_or_below(key, old):
            return new + key.removeprefix(old)
    return key


def rename_config(flat_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration, flat, under the present names of its keys."""
    renamed = {}
    for key, value in flat_config.items():
        if _root(key) not in REMOVED:
            renamed[new_key(key)] = value
    return renamed


def rename_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored settings of a method under the present names.

    >>> rename_settings({"whole_px": 64, "prompts.deep_blocks": 9, "image_size": 192})
    {'global_px': 64, 'prompts.deep_blocks': 9, 'image_size': 192}
    """
    renamed = {}
    for key, value in settings.items():
        name = key
        if key != IMAGE_SIZE:
            name = new_key(_METHOD + key).removeprefix(_METHOD)
        renamed[name] = value
    return renamed


def rename_learned(learned: LearnedState) -> LearnedState:
    """Return the content of a checkpoint under the present names of tensors and settings."""
    tensors = {}
    for name, tensor in learned.tensors.items():
        tensors[_new_tensor_name(name)] = tensor
    provenance = dict(learned.provenance)
    if "settings" in provenance:
        provenance["settings"] = rename_settings(provenance["settings"])
    return replace(learned, tensors=tensors, provenance=provenance)


def refuse_old_arguments(arguments: Iterable[str]) -> None:
    """Refuse arguments of a command line under names of version 0.1.

    Raises:
        SystemExit: With the old name, and the argument to type.
    """
    for argument in arguments:
        key = argument.lstrip("+~").partition("=")[0]
        new = REMOVED.get(_root(key)) or new_argument(argument)
        if new != argument:
            raise SystemExit(f"error: {argument}: this name is of version 0.1. Type {new}")


def new_argument(argument: str) -> str:
    """Return an argument of version 0.1 as it is typed now; others as they are.

    >>> new_argument("+dataset.drawn_defects.share=0.2"), new_argument("augmentation=drawn_defects")
    ('+dataset.synthetic_defects.share=0.2', 'augmentation=synthetic_defects')
    >>> new_argument("~callbacks.signs"), new_argument("seed=1")
    ('~callbacks.heartbeat', 'seed=1')
    """
    bare = argument.lstrip("+~")
    sign = argument.removesuffix(bare)
    name, equals, value = bare.partition("=")
    group, at, place = name.partition("@")
    group, value = _new_choice(group, value)
    if not at:
        group = new_key(group)
    return f"{sign}{group}{at}{new_key(place)}{equals}{value}"


def refuse_old_keys(config: DictConfig) -> None:
    """Refuse a configuration whose files, such as an experiment, use a key of version 0.1.

    Raises:
        ValueError: With the old key and the new one.
    """
    for old, new in KEYS.items():
        parent, _, name = old.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if isinstance(node, DictConfig) and name in node:
            raise ValueError(f"a file of the configuration sets {old}, which is now {new}")
    for old, instead in REMOVED.items():
        if old in config:
            raise ValueError(
                f"a file of the configuration sets {old} of version 0.1: set {instead}"
            )


def _new_choice(group: str, name: str) -> tuple[str, str]:
    """Return the present group and name of a choice."""
    for old, new in CHOICES.items():
        old_group, _, old_name = old.partition("=")
        if group == old_group and old_name in ("", name):
            new_group, _, new_name = new.partition("=")
            return new_group, new_name or name
    return group, name


def _new_tensor_name(name: str) -> str:
    for old, new in TENSORS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _root(key: str) -> str:
    return key.partition(".")[0]


def _is_at_or_below(key: str, place: str) -> bool:
    return key == place or key.startswith(f"{place}.")
