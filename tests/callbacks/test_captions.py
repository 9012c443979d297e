"""What a method decided to look for is kept with the run, the same whoever decided first."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zsad.callbacks.captions import CaptionWriter
from zsad.methods.dot_captions import Subject

LEATHER, NUT = Subject("leather", "fold. leather.", "table"), Subject("nut", "dent. nut.", "table")


def task_of(**decided: list[Subject]) -> Any:
    used = {name: [asdict(subject) for subject in subjects] for name, subjects in decided.items()}
    return SimpleNamespace(method=SimpleNamespace(captions_used=lambda: used))


def trainer(rank: int = 0) -> Any:
    return SimpleNamespace(is_global_zero=rank == 0)


@pytest.mark.parametrize("hook", ["on_test_epoch_end", "on_predict_epoch_end"])
def test_captions_are_written_with_what_they_came_from(tmp_path: Path, hook: str) -> None:
    file = tmp_path / "run" / "captions.json"
    getattr(CaptionWriter(file), hook)(trainer(), task_of(part=[NUT, LEATHER]))
    assert json.loads(file.read_text()) == {
        "part": [
            {"tag": "nut", "caption": "dent. nut.", "source": "table"},
            {"tag": "leather", "caption": "fold. leather.", "source": "table"},
        ]
    }


def test_processes_together_write_the_same_single_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images of each process do not change the file."""
    distributed = torch.distributed
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda group: 2)
    written = []
    for mine, other in (([NUT], [LEATHER, NUT]), ([LEATHER, NUT], [NUT])):
        theirs = {
            "part": [
                {"tag": one.tag, "caption": one.caption, "source": one.source} for one in other
            ]
        }

        def gather(into: list[Any], own: Any, group: Any, theirs: Any = theirs) -> None:
            into[:] = [own, theirs]

        monkeypatch.setattr(distributed, "all_gather_object", gather)
        CaptionWriter(tmp_path / "captions.json").on_test_epoch_end(trainer(), task_of(part=mine))
        written.append((tmp_path / "captions.json").read_text())
        CaptionWriter(tmp_path / "second.json").on_test_epoch_end(
            trainer(rank=1), task_of(part=mine)
        )
    assert written[0] == written[1]
    assert len(json.loads(written[0])["part"]) == 2
    assert not (tmp_path / "second.json").exists()


@pytest.mark.parametrize("task", [task_of(), SimpleNamespace(method=object()), SimpleNamespace()])
def test_methods_that_decide_nothing_leave_no_file(tmp_path: Path, task: Any) -> None:
    CaptionWriter(tmp_path / "captions.json").on_test_epoch_end(trainer(), task)
    assert not list(tmp_path.iterdir())
