"""Slow packages are imported where they are needed: help and predictions start without them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from zsad.config import compose

PROGRAM = """
import contextlib, importlib, io, json, runpy, sys

SLOW = ("albumentations", "lightning", "open_clip", "pandas", "torch", "torchvision")
answers = []

def report(output):
    loaded = [name for name in SLOW if name in sys.modules]
    answers.append({"output": output, "loaded": loaded})

for script in ("train.py", "test.py"):
    sys.argv = [script, "--help"]
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
    report(screen.getvalue())
importlib.import_module("zsad.cli")
report("")
importlib.import_module("zsad.runs.predict")
importlib.import_module("zsad.runs.judge")
report("")
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def answers() -> list[dict[str, Any]]:
    """Output and slow packages after each step of one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=compose.CONF.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("step", [0, 1], ids=["train.py", "test.py"])
def test_help_answers_without_importing_torch(answers: list[dict[str, Any]], step: int) -> None:
    assert "anomalyclip" in answers[step]["output"]
    assert answers[step]["loaded"] == []


def test_the_zsad_command_starts_without_torch(answers: list[dict[str, Any]]) -> None:
    assert answers[2]["loaded"] == []


def test_prediction_and_verdicts_start_without_lightning(answers: list[dict[str, Any]]) -> None:
    assert answers[3]["loaded"] == ["torch"]
