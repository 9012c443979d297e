"""Find golden cases by what the files say, so that cases nobody here has seen can be tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def _is_anomalyclip(keys: set[str], config: dict[str, Any]) -> bool:
    return "dpam_layer" in config and "loss_trajectory" in keys


def _is_preprocessing(keys: set[str], _: dict[str, Any]) -> bool:
    return "image_size" in keys and any(key.endswith(".mask.input") for key in keys)


def _is_metrics(keys: set[str], _: dict[str, Any]) -> bool:
    return any(key.endswith(".pixel_aupro") for key in keys)


# Fixture name -> does a file hold such a case?
KINDS: dict[str, Callable[[set[str], dict[str, Any]], bool]] = {
    "anomalyclip_case": _is_anomalyclip,
    "preprocessing_case": _is_preprocessing,
    "metrics_case": _is_metrics,
}


def _config(archive: Any) -> dict[str, Any]:
    return json.loads(str(archive["config"])) if "config" in archive.files else {}


def _files(golden: Path, kind: str) -> list[Path]:
    if not golden.exists():
        raise pytest.UsageError(f"--golden {golden}: no such folder")
    found = []
    for path in [golden] if golden.is_file() else sorted(golden.rglob("*.npz")):
        with np.load(path) as archive:
            if KINDS[kind](set(archive.files), _config(archive)):
                found.append(path)
    return found


def _tokenization_files(golden: Path) -> list[Path]:
    return [path for path in sorted(golden.rglob("*.json")) if "context_length" in json.loads(path.read_text())]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    golden = metafunc.config.getoption("--golden")
    for kind in KINDS:
        if kind in metafunc.fixturenames:
            files = _files(golden, kind)
            metafunc.parametrize(kind, files, ids=[str(path.relative_to(golden)) for path in files], indirect=True)
    if "tokenization" in metafunc.fixturenames:
        files = _tokenization_files(golden)
        metafunc.parametrize(
            "tokenization", [json.loads(path.read_text()) for path in files], ids=[p.name for p in files]
        )
