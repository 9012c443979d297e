"""Every configuration composes, and its keys are arguments of the classes it builds.

Training and testing configurations cannot drift apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from tests.config.compositions import OUTPUT, composed, covering_choices
from zsad.config import compose, errors, instantiate

# Root keys that one script has and the other has not.
OF_TEST_ALONE = {"skip_missing"}


def nodes(tree: Any, path: str = "config") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, dict):
        if "_target_" in tree:
            yield path, tree
        for key, value in tree.items():
            yield from nodes(value, f"{path}.{key}")
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from nodes(value, f"{path}[{number}]")


def check_constructors(config: dict[str, Any]) -> None:
    checked = 0
    for path, node in nodes(config):
        arguments = {key: value for key, value in node.items() if not key.startswith("_")}
        signature = inspect.signature(get_object(node["_target_"]))
        bind = signature.bind_partial if node.get("_partial_") else signature.bind
        try:
            bind(**arguments)
        except TypeError as error:
            pytest.fail(f"{path} ({node['_target_']}): {error}")
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize("overrides", covering_choices(), ids=",".join)
def test_every_choice_builds_from_its_keys(overrides: tuple[str, ...]) -> None:
    """Every choice of every group composes, and every key is an argument of a constructor."""
    check_constructors(composed("test", *overrides))


@pytest.mark.parametrize("script", ["train", "test"])
def test_every_script_builds_from_its_keys(script: str) -> None:
    check_constructors(composed(script))


def test_every_group_is_tried() -> None:
    folders = {path.parent for path in compose.CONF.rglob("*.yaml")} - {compose.CONF}
    groups = {folder.relative_to(compose.CONF).as_posix() for folder in folders}
    tried: dict[str, set[str]] = {}
    for row in covering_choices():
        for override in row:
            key, _, name = override.partition("=")
            tried.setdefault(key.partition("@")[0], set()).add(name)
    for group in groups:
        if group in ("dataset", "paths") or group.startswith("hydra") or group.endswith("tables"):
            continue  # datasets: below; tables of words: parts of prompts
        assert tried[group] == set(compose.choices(group))


def test_every_dataset_says_its_name_and_mask_rule_alone() -> None:
    """All else is in _json.yaml, which is composed above: a dataset's file cannot go wrong."""
    for name in compose.choices("dataset"):
        content = OmegaConf.load(compose.CONF / "dataset" / f"{name}.yaml")
        assert content.defaults == ["_json", "_self_"]
        assert isinstance(content.mask_threshold, int)
        assert content.name == name
        assert set(content) == {"defaults", "name", "mask_threshold"}


def test_train_and_test_choose_from_the_same_groups() -> None:
    """And have the same root keys, so that a choice that composes for one does for the other."""

    def groups(script: str) -> list[str]:
        defaults = OmegaConf.load(compose.CONF / f"{script}.yaml").defaults
        return [next(iter(entry)) for entry in defaults if not isinstance(entry, str)]

    assert groups("train") == groups("test")
    assert composed("train").keys() ^ composed("test").keys() == OF_TEST_ALONE
    for path in compose.CONF.glob("*/**/*.yaml"):
        text = path.read_text()
        assert not any(f"${{{key}}}" in text for key in OF_TEST_ALONE)


@pytest.mark.parametrize("model", compose.choices("model"))
def test_a_model_builds_its_backbone_once(model: str) -> None:
    text = (compose.CONF / "model" / f"{model}.yaml").read_text()
    assert text.count("${backbone}") <= 1


def test_an_experiment_has_the_last_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for entry in compose.CONF.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "experiment").unlink(missing_ok=True)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /backbone: pocket\n"
        "epochs: 3\nmodel: {method: {sigma_px: 1.5}}\n"
    )
    monkeypatch.setattr(compose, "CONF", tmp_path)
    config = compose.compose_config("train", ["experiment=mine", OUTPUT])
    assert (config.epochs, config.model.method.sigma_px, config.trainer.max_epochs) == (3, 1.5, 3)
    assert compose.choices_of_run()["backbone"] == "pocket"
    assert (
        compose.compose_config("train", ["experiment=mine", "epochs=4", OUTPUT]).trainer.max_epochs
        == 4
    )


def test_the_published_numbers_of_anomalyclip() -> None:
    config = compose.compose_config("train", [OUTPUT])
    method = config.model.method
    assert (config.seed, config.epochs, config.dataset.batch_size, config.image_size) == (
        111,
        15,
        8,
        518,
    )
    assert (list(method.feature_blocks), method.value_attention_from, method.local_weight) == (
        [24],
        6,
        4.0,
    )
    assert (method.temperature, method.sigma_px, method.image_score, method.norm_image) == (
        0.07,
        4.0,
        "global",
        False,
    )
    assert (
        method.prompts.context_tokens,
        method.prompts.deep_tokens,
        method.prompts.deep_blocks,
    ) == (12, 4, 9)
    assert (config.model.optimizer.lr, list(config.model.optimizer.betas)) == (1e-3, [0.5, 0.999])
    assert (config.dataset.train_phase, config.trainer.precision) == ("test", "32-true")


def test_a_misspelt_key_names_itself_and_its_place() -> None:
    config = compose.compose_config(
        "train", ["backbone=pocket", "+model.method.prompts.contxt_tokens=3", OUTPUT]
    )
    with (
        pytest.raises(SystemExit, match=r"contxt_tokens.*\(in model.method"),
        errors.clear_errors(),
    ):
        instantiate.build(config.model)


def test_lists_arrive_as_lists() -> None:
    config = compose.compose_config(
        "train", ["backbone=pocket", "model=anomalyclip_multiscale", OUTPUT]
    )
    task = instantiate.build(config.model)
    assert task.method.feature_blocks == [
        task.method.backbone.block_at(block, of=24) for block in (6, 12, 18, 24)
    ]
    assert type(task.method.feature_blocks) is list


def test_lines_of_the_configuration_can_be_read() -> None:
    """The template of a run's name alone cannot be broken."""
    for path in compose.CONF.rglob("*.yaml"):
        for line in path.read_text().splitlines():
            assert len(line) <= 120 or line.startswith("name: ${"), f"{path}: {line}"
