"""Commands of the documents exist, and the files around the package fit together."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from zsad.cli import app
from zsad.config import compose

ROOT = Path(__file__).parents[1]
TEXTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data_json" / "README.md"]
)
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def commands(program: str) -> list[str]:
    """Return every command line of a program in the documents' code blocks, without comments."""
    blocks = [
        block
        for text in TEXTS
        for block in re.findall(r"^```\w*\n(.*?)^```", text.read_text(), re.M | re.S)
    ]
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith(f"{program} ")})


PREPARED = {shlex.split(line)[2] for line in commands("zsad prepare")}
RUNS = [*commands("python train.py"), *commands("python test.py")]


def first_of_a_sweep(override: str) -> str:
    key, _, value = override.partition("=")
    return override if "[" in value else f"{key}={value.split(',')[0]}"


def overrides_of(line: str) -> list[str]:
    """Return the overrides of a documented run, of a sweep those of its first run."""
    arguments = [argument for argument in shlex.split(line)[2:] if not argument.startswith("-")]
    first = [first_of_a_sweep(argument) for argument in arguments]
    # A dataset that an example prepares has its YAML only then.
    prepared = {f"dataset={name}" for name in PREPARED}
    return compose.read_arguments([one for one in first if one not in prepared])


def runs_by_choices() -> dict[tuple[str, ...], list[str]]:
    """Join the overrides of all documented runs that choose the same files, but for the dataset.

    Composing is slow; together they compose once, and every key and value is checked. Every dataset
    composes in tests/config.
    """
    runs: dict[tuple[str, ...], list[str]] = {}
    for line in RUNS:
        overrides = overrides_of(line)
        choices = [one for one in overrides if compose.is_group(one.lstrip("+~").partition("=")[0])]
        files = sorted(one for one in choices if not one.startswith("dataset="))
        values = [one for one in overrides if one not in choices]
        runs.setdefault((Path(shlex.split(line)[1]).stem, *files), []).extend(values)
    return runs


@pytest.mark.parametrize(("choices", "values"), runs_by_choices().items(), ids=str)
def test_every_documented_run_composes(choices: tuple[str, ...], values: list[str]) -> None:
    script, *files = choices
    config = compose.compose_config(script, [*files, *values, "paths.output_dir=/nowhere"])
    assert compose.to_dict(config)["model"]["method"]


def test_the_two_runs_of_the_field_are_documented() -> None:
    assert "python train.py dataset=visa" in RUNS
    assert any(
        line.startswith("python test.py dataset=mvtec ckpt_path=runs/train/") for line in RUNS
    )


@pytest.mark.parametrize("line", commands("zsad"))
def test_every_documented_zsad_command_parses(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    group = typer.main.get_command(app)
    assert group.commands[name].make_context(name, arguments).params  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", commands("make"))
def test_every_documented_make_target_exists(line: str) -> None:
    assert shlex.split(line)[1] in TARGETS


def test_make_alone_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[1] for line in shown.splitlines()} == TARGETS
    assert all(len(line.split()) > 3 for line in shown.splitlines()), (
        "a target without an explanation"
    )


def test_no_target_is_shadowed_by_a_folder_of_its_name() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    assert "\nmake test\n" in (ROOT / "README.md").read_text()


def test_a_missing_python_is_answered_with_a_command() -> None:
    answer = subprocess.run(
        ["make", "-B", "setup", "PYTHON=no-such-python"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode != 0
    assert "make setup PYTHON=" in answer.stdout


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(text: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text.read_text())
    assert [link for link in links if not (text.parent / link).exists()] == []


def test_documents_name_no_place_of_one_machine() -> None:
    files = [*TEXTS, ROOT / "Makefile", ROOT / "pyproject.toml", *compose.CONF.rglob("*.yaml")]
    place = re.compile(r"(?<![\w./])[/](?:home|root|tmp|opt|work|Users|mnt)[/]\w")
    assert [file.name for file in files if place.search(file.read_text())] == []


@pytest.mark.parametrize(("name", "most"), [("CONTRIBUTING.md", 60), ("README.md", 150)])
def test_short_documents_stay_short(name: str, most: int) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= most


def test_pre_commit_fetches_nothing() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {repository["repo"] for repository in repositories} == {"local"}
