"""What a method decided to look for, kept with the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning import Callback

from zsad.atomic_write import write_whole
from zsad.contract import Captioned
from zsad.distributed import gather_objects

Decided = dict[str, list[dict[str, str]]]


class CaptionWriter(Callback):
    """Write what a method calls the object of each category and what it asks the detector for, once it is known.

    Methods that decide nothing of the kind (they are not ``Captioned``) leave no file.

    Args:
        file: Where to write.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what was decided for a test."""
        self._write(trainer, pl_module)

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what was decided for single images."""
        self._write(trainer, pl_module)

    def _write(self, trainer: Any, pl_module: Any) -> None:
        method = getattr(pl_module, "method", None)
        decided = _joined(method.captions_used() if isinstance(method, Captioned) else {})
        if decided and trainer.is_global_zero:
            write_whole(
                self.file, json.dumps(decided, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
            )


def _joined(mine: Decided) -> Decided:
    """Join what the processes decided; the same whichever image came to which of them."""
    joined: Decided = {}
    for decided in gather_objects(mine):
        for name, subjects in decided.items():
            joined[name] = joined.get(name, []) + [
                one for one in subjects if one not in joined.get(name, [])
            ]
    return {name: sorted(subjects, key=_text) for name, subjects in joined.items()}


def _text(subject: dict[str, str]) -> str:
    return json.dumps(subject, sort_keys=True)
