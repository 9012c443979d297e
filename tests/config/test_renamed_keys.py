"""Every key and group of version 0.1 composes, is renamed, or is refused with a sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf, open_dict

from tests.config.compositions import OUTPUT, composed, covering_choices, leaves
from zsad.config import checkpoint_settings, compose, renamed_keys
from zsad.model_files.learned import LearnedState

STORED = Path(__file__).parents[1] / "version_0_1" / "keys.json"
VERSION_0_1: dict[str, Any] = json.loads(STORED.read_text())
# Parts of a model that other groups choose.
OF_OTHER_GROUPS = ("backbone.", "model.method.backbone.", "model.metrics.", "model.feature_cache.")


def stored_compositions(script: str) -> list[tuple[list[str], dict[str, Any]]]:
    return [(row["choices"], row["keys"]) for row in VERSION_0_1[script]]


def is_removed(key: str) -> bool:
    return key.partition(".")[0] in renamed_keys.REMOVED


def is_chosen_by(choice: str, key: str) -> bool:
    """Tell whether a choice decides about a key, and not one of another group beside it."""
    group, _, place = choice.partition("=")[0].partition("@")
    if place:
        return key.startswith(place)
    if group == "model":
        return not key.startswith(OF_OTHER_GROUPS)
    return group == "tiling" or not key.startswith("model.")  # model.metrics repeats metrics


def keys_of_composition(choice: str) -> set[str]:
    """All keys of a composition of today with a choice of version 0.1."""
    wanted = renamed_keys.new_argument(choice)
    row = next(row for row in covering_choices() if wanted in row)
    return set(leaves(composed("test", *row)))


@pytest.mark.parametrize("script", ["train", "test"])
def test_every_key_of_a_script_is_there_or_renamed(script: str) -> None:
    today = set(leaves(composed(script)))
    for key in stored_compositions(script)[0][1]:
        assert renamed_keys.new_key(key) in today


def test_every_key_of_every_choice_is_there_or_renamed() -> None:
    checked = 0
    for choices, keys in stored_compositions("train")[1:]:
        if choices[-1].startswith("dataset="):
            assert set(keys) <= {"name", "dataset.name", "dataset.mask_threshold"}
            continue
        today = keys_of_composition(choices[-1])
        for key in keys:
            if not is_removed(key) and is_chosen_by(choices[-1], key):
                assert renamed_keys.new_key(key) in today, f"{choices}: {key}"
                checked += 1
    assert checked > 800


def test_experiments_test_on_the_same_datasets() -> None:
    checked = 0
    for choices, keys in stored_compositions("train"):
        if choices and "test_on" in keys:
            assert composed("test", *choices)["test_on"] == keys["test_on"]
            checked += 1
    assert checked == 8


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train", "test"])
def test_every_key_has_the_value_that_it_had(script: str) -> None:
    for choices, keys in stored_compositions(script):
        overrides = [renamed_keys.new_argument(choice) for choice in choices]
        today = leaves(composed(script, *overrides))
        for key, value in keys.items():
            if not is_removed(key):
                assert today[renamed_keys.new_key(key)] == value, f"{choices}: {key}"


def test_every_choice_of_every_group_is_there_or_renamed() -> None:
    for group, names in VERSION_0_1["groups"].items():
        for name in names:
            typed = renamed_keys.new_argument(f"{group}={name}")
            new_group, _, new_name = typed.partition("=")
            assert new_name in compose.choices(new_group), f"{group}={name}"


@pytest.mark.parametrize("old", renamed_keys.KEYS)
@pytest.mark.parametrize("sign", ["", "+", "~"])
def test_a_typed_old_key_is_answered_with_the_new_one(old: str, sign: str) -> None:
    new = renamed_keys.KEYS[old]
    with pytest.raises(SystemExit, match=re.escape(f"of version 0.1. Type {sign}{new}.x=1")):
        compose.read_arguments([f"{sign}{old}.x=1"])
    with pytest.raises(SystemExit, match=f"Type {new}=1"):
        compose.compose_config("test", [f"{old}=1", OUTPUT])


@pytest.mark.parametrize("old", renamed_keys.CHOICES)
def test_a_typed_old_choice_is_answered_with_the_new_one(old: str) -> None:
    typed = old if "=" in old else f"{old}@model.method.prompts=table"
    with pytest.raises(SystemExit) as refused:
        compose.read_arguments([typed])
    new = str(refused.value).rpartition("Type ")[2]
    group, _, name = new.partition("=")
    if "=" in old:
        assert name in compose.choices(group)
    assert compose.is_group(group)


@pytest.mark.parametrize("old", renamed_keys.REMOVED)
def test_a_typed_removed_key_is_answered_with_the_way(old: str) -> None:
    with pytest.raises(SystemExit, match=f"of version 0.1. Type {renamed_keys.REMOVED[old]}"):
        compose.read_arguments([f"{old}.x=1"])


def test_the_keys_to_type_instead_exist() -> None:
    today = set(leaves(composed("test")))
    assert {"image_size", "k_shot", "dataset.reference_phase"} <= today


@pytest.mark.parametrize("old", [*renamed_keys.KEYS, *renamed_keys.REMOVED])
def test_an_old_key_in_a_file_of_the_configuration_is_refused(old: str) -> None:
    """Such as an experiment of a user: composed without a word, it would change nothing."""
    config = compose.compose_config("test", ["model=dhrclip_plus", "backbone=pocket", OUTPUT])
    renamed_keys.refuse_old_keys(config)
    parent, _, name = old.rpartition(".")
    with open_dict(config):
        if parent and not OmegaConf.select(config, parent):
            OmegaConf.update(config, parent, {}, force_add=True)
        node = OmegaConf.select(config, parent) if parent else config
        node[name] = 1
    with pytest.raises(
        ValueError, match=rf"a file of the configuration sets \S*{old.rpartition('.')[2]}\b"
    ):
        renamed_keys.refuse_old_keys(config)


def test_no_new_name_is_an_old_one() -> None:
    """Or what is stored today would be renamed again tomorrow."""
    for new in renamed_keys.KEYS.values():
        assert renamed_keys.new_key(new) == new
    for new in renamed_keys.CHOICES.values():
        assert renamed_keys.new_argument(new) == new


def test_tensors_and_settings_of_a_checkpoint_are_renamed() -> None:
    stored = LearnedState(
        {"prompts.normal": torch.zeros(1)},
        {"settings": {"tiling.skip": 0.5, "image_size": None}, "seed": 1},
    )
    renamed = renamed_keys.rename_learned(stored)
    assert renamed.provenance["settings"] == {"tiling.skip_share": 0.5, "image_size": None}
    assert renamed.provenance["seed"] == 1
    assert stored.provenance["settings"] == {"tiling.skip": 0.5, "image_size": None}
    for old, new in renamed_keys.TENSORS.items():
        tensors = renamed_keys.rename_learned(LearnedState({f"{old}x": torch.zeros(1)})).tensors
        assert list(tensors) == [f"{new}x"]


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("anomalyclip", "whole_pixels"),
        ("anomalyclip", "prompts.rows"),
        ("dhrclip_plus", "tiling.skipped"),
        ("anomalyclip", "backbones.pretrained"),
    ],
)
def test_a_setting_that_nothing_is_called_by_is_refused(model: str, key: str) -> None:
    config = compose.compose_config("test", [f"model={model}", "backbone=pocket", OUTPUT])
    learned = {"settings": {"sigma_px": 2.0, key: 3}, "version": "0.0.9"}
    with pytest.raises(
        ValueError, match=rf"x.ckpt was trained .* not known here: {key}=3\..*0.0.9"
    ):
        checkpoint_settings.require_known_settings(config, learned, "x.ckpt")


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("dhrclip_plus", "tiling"),  # learned with tiling=none
        ("anomalyclip", "tiling.overlap"),  # learned with tiles
        ("sam3", "prompts.tables.screws.screw"),  # words for another dataset
        ("sam3", "prompts.names.screw"),
    ],
)
def test_a_setting_that_has_its_place_is_known(model: str, key: str) -> None:
    config = compose.compose_config("test", [f"model={model}", "backbone=sam3_random", OUTPUT])
    learned = {"settings": {key: None, "image_size": 3}}
    checkpoint_settings.require_known_settings(config, learned, "x.ckpt")
