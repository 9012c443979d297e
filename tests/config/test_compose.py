"""Choices of the command line, run folders, and limits of a stranger's checkpoint."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from zsad.config import checkpoint_settings, compose, errors

OUTPUT = "paths.output_dir=/nowhere"


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        (
            "dataset=vsia",
            "no dataset=vsia. Known: .*Did you mean dataset=visa.*zsad prepare vsia ROOT",
        ),
        (
            "model=anomaliclip",
            "no model=anomaliclip. Known: anomalyclip.*Did you mean model=anomalyclip",
        ),
        ("backbone=poket", "no backbone=poket. .*Did you mean backbone=pocket"),
        ("dataset=visa,mvtex", "no dataset=mvtex. .*Did you mean dataset=mvtec"),
    ],
)
def test_a_misspelt_choice_is_answered_with_known_names(argument: str, answer: str) -> None:
    with pytest.raises(SystemExit, match=answer):
        compose.read_arguments(["-m", argument])


def test_right_choices_and_plain_numbers_pass() -> None:
    given = ["seed=1", "experiment=null", "model.method.sigma_px=2", "--help"]
    assert compose.read_arguments(given) == given


def test_dataset_overrides_the_datasets_of_an_experiment() -> None:
    several = ["dataset=mvtec", "test_on=[mvtec,visa]"]
    assert compose.read_arguments(["dataset=[mvtec, visa]"]) == several
    assert compose.read_arguments(["dataset=mtd"]) == ["dataset=mtd", "test_on=null"]
    with pytest.raises(SystemExit, match=r"no dataset=mvtex. Known: .*Did you mean dataset=mvtec"):
        compose.read_arguments(["dataset=[visa,mvtex]"])
    with pytest.raises(SystemExit, match=r"dataset=\[\] names no dataset: expected some"):
        compose.read_arguments(["dataset=[]"])


def test_each_dataset_has_its_own_mask_rule_and_folder() -> None:
    arguments = compose.read_arguments(
        ["dataset=[mvtec,visa]", "backbone=pocket", "dataset.max_images=7", OUTPUT]
    )
    config = compose.compose_config("test", arguments)
    configs = compose.configs_by_dataset(config)
    assert list(configs) == ["mvtec", "visa"]
    assert [one.dataset.mask_threshold for one in configs.values()] == [127, 0]
    assert [one.dataset.max_images for one in configs.values()] == [7, 7]
    assert [one.paths.output_dir for one in configs.values()] == ["/nowhere/mvtec", "/nowhere/visa"]
    assert [one.callbacks.heatmaps.folder for one in configs.values()] == [
        "/nowhere/mvtec/heatmaps",
        "/nowhere/visa/heatmaps",
    ]
    assert config.name == "anomalyclip_mvtec+visa_from_nothing"
    assert {one.name for one in configs.values()} == {config.name}
    assert compose.configs_by_dataset(
        compose.compose_config("test", ["dataset=visa", OUTPUT])
    ).keys() == {"visa"}


def test_prediction_adopts_the_settings_of_the_prompts() -> None:
    config = compose.compose_config("test", ["backbone=pocket", OUTPUT])
    learned = {
        "settings": {
            "sigma_px": 2,
            "prompts.deep_blocks": 5,
            "feature_blocks": [6, 24],
            "image_size": 128,
            "value_attention_from": None,
        }
    }
    assert checkpoint_settings.adopt_settings(config, learned) == []
    method = config.model.method
    assert (method.sigma_px, method.prompts.deep_blocks, list(method.feature_blocks)) == (
        2,
        5,
        [6, 24],
    )
    assert method.value_attention_from is None
    assert config.image_size == 128


@pytest.mark.parametrize(
    "settings",
    [
        {"_target_": "os.system"},
        {"prompts._target_": "os.system"},
        {"prompts": {"_target_": "os.system"}},
        {"feature_blocks": [{"_target_": "os.system"}]},
        {"image_score": "${oc.env:HOME}"},
        {"backbone.pretrained": "/etc/passwd"},
        {"sigma_px": "9.0"},
        {"sigma_px": True},
        {"unknown": 1},
    ],
)
def test_a_strangers_checkpoint_cannot_choose_code_or_files(settings: dict) -> None:
    config = compose.compose_config("test", ["backbone=pocket", OUTPUT])
    before = OmegaConf.to_yaml(config)
    assert checkpoint_settings.adopt_settings(config, {"settings": settings}) == list(settings)
    assert OmegaConf.to_yaml(config) == before


def test_a_checkpoint_may_only_name_choices_that_exist() -> None:
    learned = {"model": "anomalyclip", "backbone": "../../evil"}
    with pytest.raises(ValueError, match=r"names an unknown backbone, '../../evil'.*--backbone"):
        checkpoint_settings.known_choices(learned, model=None, backbone=None)
    assert checkpoint_settings.known_choices(learned, model=None, backbone="pocket") == [
        "model=anomalyclip",
        "backbone=pocket",
    ]
    with pytest.raises(
        ValueError, match="does not say its model: pass --model with one of anomalyclip"
    ):
        checkpoint_settings.known_choices({}, model=None, backbone="pocket")


def test_errors_of_users_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit, match="error: got 3, expected 2"), errors.clear_errors():
        raise ValueError("got 3, expected 2")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="got 3"), errors.clear_errors():
        raise ValueError("got 3, expected 2")


def test_mistakes_of_ours_keep_their_traceback() -> None:
    with pytest.raises(AttributeError), errors.clear_errors():
        raise AttributeError("a bug")
