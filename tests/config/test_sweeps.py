"""Every run of a sweep has a folder of its own, and the same command finds it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from zsad.config import compose, sweeps
from zsad.config.run_names import run_name


def folders(script: str, *given: str) -> list[Path]:
    """Return the folders of the runs of a sweep."""
    arguments = compose.read_arguments(["-m", *given])[1:]
    own = [one for one in arguments if not one.startswith("hydra.")]
    of_hydra = [one for one in arguments if one.startswith("hydra.")]
    parsed = OverridesParser.create().parse_overrides(own)
    return [
        _folder(script, [*job, *of_hydra]) for job in BasicSweeper.split_arguments(parsed, None)[0]
    ]


def _folder(script: str, overrides: list[str]) -> Path:
    config = compose.compose_apart(script, overrides, with_hydra=True)
    HydraConfig.instance().set_config(config)
    return Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)


@pytest.fixture(autouse=True)
def _no_run_of_hydra() -> Iterator[None]:
    yield
    HydraConfig.instance().cfg = None


def names(script: str, *given: str) -> list[str]:
    return [folder.name for folder in folders(script, *given)]


def test_what_the_name_of_a_run_says_is_not_said_again() -> None:
    assert names("train", "dataset=visa", "model=anomalyclip,dhrclip", "seed=1,11") == [
        "anomalyclip_visa_seed1",
        "anomalyclip_visa_seed11",
        "dhrclip_visa_seed1",
        "dhrclip_visa_seed11",
    ]


@pytest.mark.parametrize(
    ("varies", "told"),
    [
        ("model.method.image_score=both,map", ["image_scoreboth", "image_scoremap"]),
        ("model.method.sigma_px=0.5,4", ["sigma_px0.5", "sigma_px4"]),
        ("+model.method.backbone.new=1,2", ["new1", "new2"]),
        ("backbone=pocket,clip_vit_l14", ["pocket", "clip_vit_l14"]),
        (
            "dataset.categories=[candle],[candle,pcb1]",
            ["categoriescandle", "categoriescandle-pcb1"],
        ),
        ("dataset.root=/a/b,/a/c", ["roota-b", "roota-c"]),
        ("trainer=cpu,bf16", ["cpu", "bf16"]),
        ("epochs=5,15", ["epochs5", "epochs15"]),
    ],
)
def test_whatever_else_varies_is_a_part_of_the_folder(varies: str, told: list[str]) -> None:
    assert names("train", "dataset=visa", varies) == [
        f"anomalyclip_visa_seed111_{one}" for one in told
    ]


def test_a_name_that_varies_is_enough() -> None:
    given = ["dataset=visa", "epochs=5,15", "name=${hydra:runtime.choices.model}_${epochs}_epochs"]
    assert names("train", *given) == ["anomalyclip_5_epochs", "anomalyclip_15_epochs"]


@pytest.mark.parametrize("script", ["train", "test"])
def test_runs_of_an_experiment_with_a_fixed_name_are_kept_apart(script: str) -> None:
    assert names(script, "experiment=demo", "seed=1,2") == ["demo_seed1", "demo_seed2"]


def test_equal_checkpoint_names_of_two_sweeps_differ() -> None:
    paths = [f"runs/train/sweeps/{sweep}/anomalyclip_visa_seed1" for sweep in "ab"]
    found = names("test", "dataset=mtd", f"ckpt_path={','.join(paths)}")
    assert len(set(found)) == 2
    several = names("test", "dataset=mtd", "ckpt_path=runs/train/x_seed1,runs/train/x_seed2")
    assert several == ["anomalyclip_mtd_from_x_seed1", "anomalyclip_mtd_from_x_seed2"]


def test_two_values_of_a_number_are_two_runs_for_what_uses_them() -> None:
    """A folder called …_sigma0.5 is no file with a suffix."""
    assert run_name("runs/train/sweeps/s/a_sigma0.5") == "a_sigma0.5"
    assert run_name("runs/train/sweeps/s/a_sigma0.5/checkpoints/last.ckpt") == "a_sigma0.5"


@pytest.mark.parametrize("script", ["train", "test"])
def test_a_sweep_folder_is_named_by_choices_or_as_asked(script: str) -> None:
    given = [
        "dataset=mtd",
        "model=clip,winclip",
        "backbone=pocket",
        "hydra/launcher=local_pool",
        "overwrite=true",
    ]
    assert {folder.parent for folder in folders(script, *given[:3])} == {
        Path(f"runs/{script}/sweeps/mtd_clip+winclip_pocket")
    }
    assert compose.read_arguments(["-m", *given])[-2] == "sweep=mtd_clip+winclip_pocket"
    assert {folder.parent.name for folder in folders(script, *given[:3], "sweep=mine")} == {"mine"}


def test_a_long_command_gives_a_short_name_that_no_other_has() -> None:
    seeds = ",".join(map(str, range(200)))
    one, other = (compose.read_arguments(["-m", f"seed={seeds},{last}"])[-2] for last in (200, 201))
    assert one.startswith("sweep=seed0+1+2+3+")
    assert one != other
    assert len(one) <= len("sweep=") + 90


def test_folders_can_be_typed_without_quotes() -> None:
    path = folders("train", "dataset=visa", "dataset.root='/my pictures/a=b, c',/x", "name='a b'")[
        0
    ]
    parsed = OverridesParser.create().parse_override(f"ckpt_path={path.parent}")
    assert parsed.value() == str(path.parent)


def test_a_single_run_is_told_nothing() -> None:
    assert compose.read_arguments(["model=clip", "seed=1"]) == ["model=clip", "seed=1"]


@pytest.mark.parametrize("launcher", ["basic", "slurm", "submitit_local"])
def test_launchers_of_hydra_and_of_others_are_chosen_as_ours_are(launcher: str) -> None:
    assert compose.read_arguments([f"hydra/launcher={launcher}"]) == [f"hydra/launcher={launcher}"]


@pytest.mark.parametrize("given", ["seed=[1,", "seed=glob(*)"])
def test_what_hydra_cannot_read_is_left_for_it_to_say(given: str) -> None:
    assert compose.read_arguments(["-m", given]) == ["-m", given]


def test_a_choice_at_another_place_can_be_swept() -> None:
    given = ["model=winclip", "prompts/ensemble@model.method.prompts=winclip,clip"]
    assert names("test", *given) == [
        "winclip_mvtec_from_nothing_winclip",
        "winclip_mvtec_from_nothing_clip",
    ]


def test_what_is_left_out_is_named_as_what_is_null() -> None:
    assert (
        compose.read_arguments(["-m", "~callbacks.scores", "seed=1,2"])[-2]
        == "sweep=scoresnull_seed1+2"
    )


@pytest.mark.parametrize(
    ("devices", "is_sweep", "is_slurm"), [("2", True, False), ("auto", True, False)]
)
def test_several_processes_in_a_sweep_need_a_launcher(
    devices: str, is_sweep: bool, is_slurm: bool
) -> None:
    config = compose.compose_config("train", ["paths.output_dir=x", f"trainer.devices={devices}"])
    with pytest.raises(
        ValueError, match=rf"trainer.devices={devices} in a sweep.*hydra/launcher=local_pool"
    ):
        sweeps.require_own_processes(config, is_sweep=is_sweep, is_slurm=is_slurm)
    sweeps.require_own_processes(config, is_sweep=False, is_slurm=False)
    sweeps.require_own_processes(config, is_sweep=True, is_slurm=True)


@pytest.mark.parametrize("devices", ["1", "[3]"])
def test_one_device_in_a_sweep_needs_none(devices: str) -> None:
    config = compose.compose_config("train", ["paths.output_dir=x", f"trainer.devices={devices}"])
    sweeps.require_own_processes(config, is_sweep=True, is_slurm=False)
