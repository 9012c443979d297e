"""``train.py --help`` and ``test.py --help``: a page each, and nothing on it is wrong."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.config.compositions import OUTPUT, composed, leaves
from zsad.config import compose

SCRIPTS = ["train", "test"]
# Groups that are no choice of users, or of other groups.
INTERNAL = {"callbacks", "hydra", "paths"}


def page(script: str) -> str:
    config = compose.compose_apart(script, ["hydra.job.name=" + script], with_hydra=True)
    return str(config.hydra.help.template)


def section(script: str, title: str) -> list[str]:
    """The lines below a title, until the next one."""
    _, _, rest = page(script).partition(f"\n{title}")
    text = re.split(r"\n\n", rest)[0]
    return text.splitlines()[1:]


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_is_a_page(script: str) -> None:
    lines = page(script).splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 96
    assert f"python {script}.py --cfg job" in page(script)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_group_stands_there(script: str) -> None:
    text = page(script)
    folders = {
        path.parent.relative_to(compose.CONF).as_posix() for path in compose.CONF.rglob("*.yaml")
    }
    for group in folders - INTERNAL - {"."}:
        if not group.endswith("tables"):
            assert re.search(rf"^  {group}(@\S+)?( |$)", text, re.MULTILINE), group


@pytest.mark.parametrize("group", ["model", "backbone", "metrics", "trainer", "tiling", "protocol"])
def test_every_choice_stands_there(group: str) -> None:
    words = set(re.findall(r"[\w/]+", page("test")))
    assert set(compose.choices(group)) <= words


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_changed_keys_exist(script: str) -> None:
    keys = leaves(composed(script))
    lines = section(script, "OFTEN CHANGED KEYS")
    assert 10 <= len(lines) <= 14
    for line in lines:
        key = line.strip().partition("=")[0]
        assert key in keys, line
        assert len(re.split(r"  +", line.strip())) == 2, "a description"


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_examples_compose(script: str) -> None:
    lines = section(script, "EXAMPLES")
    assert len(lines) == 3
    for line in lines:
        python, file, *arguments = shlex.split(line)
        assert (python, file) == ("python", f"{script}.py")
        is_sweep = "-m" in arguments
        single = [re.sub(r",[^\]]*$", "", word) if is_sweep else word for word in arguments]
        overrides = compose.read_arguments([word for word in single if word != "-m"])
        compose.compose_config(script, [*overrides, OUTPUT])
