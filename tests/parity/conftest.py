"""Find golden cases by what the files hold, so that cases nobody here has seen, or parts of them, can be tried."""

from __future__ import annotations

import functools
import itertools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

METRIC_INPUTS = {"image": {"scores", "labels"}, "pixel": {"maps", "masks"}}
METRICS = {"image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_aupro"}


def _config(archive: Any) -> dict[str, Any]:
    stored = archive["config"] if "config" in archive.files else np.array("")
    if stored.ndim or stored.dtype.kind != "U" or not str(stored).startswith("{"):
        return {}
    return json.loads(str(stored))


def _is_anomalyclip(archive: Any) -> bool:
    return "dpam_layer" in _config(archive)


def _is_preprocessing(archive: Any) -> bool:
    inputs = [key for key in archive.files if key.endswith(".input")]
    paired = [key for key in inputs if f"{key.removesuffix('.input')}.output" in archive.files]
    return any(archive[key].dtype == np.uint8 for key in paired)


def _is_metrics(archive: Any) -> bool:
    cases: dict[str, set[str]] = {}
    for key in archive.files:
        case, _, name = key.rpartition(".")
        cases.setdefault(case, set()).add(name)
    return any(
        METRIC_INPUTS[metric.partition("_")[0]] <= names for names in cases.values() for metric in METRICS & names
    )


# Fixture name -> does a .npz hold such a case?
KINDS: dict[str, Callable[[Any], bool]] = {
    "anomalyclip_case": _is_anomalyclip,
    "preprocessing_case": _is_preprocessing,
    "metrics_case": _is_metrics,
}


def _is_tokenization(path: Path) -> bool:
    content = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(content, dict) and {"context_length", "cases"} <= content.keys()


def _kinds(path: Path) -> set[str]:
    """Return the fixtures that can try a file; none where it cannot be read, and then it is listed as left aside."""
    try:
        if path.suffix == ".json":
            return {"tokenization"} if _is_tokenization(path) else set()
        if not zipfile.is_zipfile(path):
            return set()
        with np.load(path) as archive:
            return {kind for kind, holds in KINDS.items() if holds(archive)}
    except (ValueError, zipfile.BadZipFile):
        return set()


@functools.cache
def _scan(golden: Path) -> dict[Path, set[str]]:
    files = [golden] if golden.is_file() else sorted([*golden.rglob("*.npz"), *golden.rglob("*.json")])
    return {path: _kinds(path) for path in files}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    golden: Path = metafunc.config.getoption("--golden")
    for kind in {*KINDS, "tokenization"} & set(metafunc.fixturenames):
        files = [path for path, kinds in _scan(golden).items() if kind in kinds]
        names = [path.name if path == golden else str(path.relative_to(golden)) for path in files]
        metafunc.parametrize(kind, files, ids=names, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    golden: Path = config.getoption("--golden")
    if not golden.exists():
        raise pytest.UsageError(f"--golden {golden}: no such file or folder")
    if not any(_scan(golden).values()):
        raise pytest.UsageError(
            f"--golden {golden}: none of its {len(_scan(golden))} .npz and .json files holds a case that tests/parity "
            f"can try ({', '.join([*KINDS, 'tokenization'])})"
        )


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """List the files that nothing tries, so that silence is not taken for agreement."""
    unclaimed = [path for path, kinds in _scan(config.getoption("--golden")).items() if not kinds]
    return [
        f"golden files that no parity test tries, in {folder}: {', '.join(path.name for path in paths)}"
        for folder, paths in itertools.groupby(unclaimed, key=lambda path: path.parent)
    ]
