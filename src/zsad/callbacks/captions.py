"""Captions that a method chose during a run, written as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.atomic_write import write_whole
from zsad.contract import Captioned
from zsad.distributed import gather_objects

Captions = dict[str, list[dict[str, str]]]


class CaptionWriter(Callback):
    """Writes the object name and the detector's caption of each category.

    Methods that choose no captions (they are not ``Captioned``) leave no file.

    Args:
        file: The written file.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the captions of a test."""
        self._write(trainer, pl_module)

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the captions of a prediction."""
        self._write(trainer, pl_module)

    def _write(self, trainer: Any, pl_module: Any) -> None:
        method = getattr(pl_module, "method", None)
        captions: Captions = {}
        if isinstance(method, Captioned):
            captions = method.captions_used()
        captions = _gather(captions)
        if captions and trainer.is_global_zero:
            text = json.dumps(captions, indent=2, ensure_ascii=False, sort_keys=True)
            write_whole(self.file, text + "\n")


def _gather(mine: Captions) -> Captions:
    """Join the captions of all processes, in an order that does not depend on the processes."""
    joined: Captions = {}
    for captions in gather_objects(mine):
        for category, entries in captions.items():
            known = joined.setdefault(category, [])
            known += [entry for entry in entries if entry not in known]
    for entries in joined.values():
        entries.sort(key=_sort_key)
    return joined


def _sort_key(entry: dict[str, str]) -> str:
    return json.dumps(entry, sort_keys=True)
