"""Settings that decide about the results of a run, and those that may change when it is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsad.config import compose

# These may change from one start of a run to the next, each with all keys below it: they say where
# and how it runs, and leave its results as they are.
MAY_CHANGE = (
    "callbacks",
    "ckpt_path",
    "dataset.data_json",
    "dataset.index",
    "dataset.num_workers",
    "dataset.root",
    "dataset.test_batch_size",
    "epochs",
    "feature_cache",
    "logger",
    "model.feature_cache",
    "model.heatmap_range",
    "name",
    "overwrite",
    "paths",
    "protocol",
    "resume",
    "skip_missing",
    "sweep",
    "test_on",
    "trainer",
)
# These decide about a test, though a training may continue with other values.
OF_A_TEST = ("trainer.precision", "trainer.limit_test_batches")


def deciding_settings(config: Any) -> dict[str, Any]:
    """Return the settings that decide about the results of a run, under their whole keys.

    A checkpoint is identified by its content, not by its path.
    """
    settings = compose.flatten(config)
    deciding = {key: settings[key] for key in settings if _decides(key)}
    if config.get("ckpt_path"):
        deciding["checkpoint"] = _digest(Path(config.ckpt_path))
    return deciding


def settings_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each deciding setting that two starts of a run do not share.

    >>> settings_differences({"seed": 1, "epochs": 5}, {"seed": 2, "epochs": 9})
    ['seed=1 then, seed=2 now']
    """
    differences = []
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        if before != after and not _may_change(key):
            differences.append(f"{key}={before} then, {key}={after} now")
    return differences


def _decides(key: str) -> bool:
    return key in OF_A_TEST or not _may_change(key)


def _may_change(key: str) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in MAY_CHANGE)


def _digest(path: Path) -> str:
    """Return a digest of a checkpoint: of a file, a run folder, or its folder of checkpoints."""
    for file in (path, path / "checkpoints" / "last.ckpt", path / "last.ckpt"):
        if file.is_file():
            return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return ""
