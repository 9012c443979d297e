"""Find golden cases by what the files hold, so that cases nobody here has seen, or parts of them,
can be tried.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

METRIC_INPUTS = {"image": {"scores", "labels"}, "pixel": {"maps", "masks"}}
METRICS = {
    "image_auroc",
    "image_ap",
    "image_f1max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "pixel_aupro",
}


def _config(archive: Any) -> dict[str, Any]:
    stored = archive["config"] if "config" in archive.files else np.array("")
    if stored.ndim or stored.dtype.kind != "U" or not str(stored).startswith("{"):
        return {}
    return json.loads(str(stored))


def _is_anomalyclip(archive: Any) -> bool:
    return "dpam_layer" in _config(archive)


def _is_clip_baseline(archive: Any) -> bool:
    family = re.compile(r"clip(_ac\w*)?\.[^.]+\.(text_features|image_score|map|pixel_map)")
    holds = any(family.fullmatch(key) for key in archive.files) or {"tokens", "images"} <= set(
        archive.files
    )
    return "grid" in _config(archive) and holds


def _is_winclip(archive: Any) -> bool:
    family = re.compile(
        r"(masks|(reference\.)?window_embeddings)\.scale\d+|"
        r"(reference\.)?patch_embeddings|tokens_before_blocks|"
        r"text\..+\.(tokens|prompt_embeddings)_(normal|anomalous)|text\..+\.features|"
        r"(zero_shot|zero_shot_sharp|few_shot|alternative)\..+"
    )
    return "grid" in _config(archive) and any(family.fullmatch(key) for key in archive.files)


def _is_windows(archive: Any) -> bool:
    return any(
        re.fullmatch(r"\d+x\d+\.kernel\d+\.stride\d+\.(mask|aggregated\w*)", key)
        for key in archive.files
    )


def _is_dhrclip(archive: Any) -> bool:
    sizes = {"image_size", "patch_image_size", "target_image_size"}
    return {*sizes, "clip", "seed", "features_list"} <= _config(archive).keys()


def _is_dhrclip_pictures(archive: Any) -> bool:
    return any(re.fullmatch(r"img\d+_resized_T\d+", key) for key in archive.files)


def _is_dhrclip_pixels(archive: Any) -> bool:
    return "settings" in archive.files and any(
        re.match(r"img\d+_set\d+_", key) for key in archive.files
    )


def _is_dhrclip_tiling(archive: Any) -> bool:
    return "settings" in archive.files and bool({"paste", "boxes", "accepted"} & set(archive.files))


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
        METRIC_INPUTS[metric.partition("_")[0]] <= names
        for names in cases.values()
        for metric in METRICS & names
    )


def _is_submission(archive: Any) -> bool:
    return {"names", "image_scores", "maps", "npz_files", "npz_key", "npz_img"} <= set(
        archive.files
    )


def _is_saa_metrics(archive: Any) -> bool:
    measured = any(key.startswith(("metric_", "max_f1_")) for key in archive.files)
    return measured and {"maps", "gt"} <= set(archive.files)


def _is_saa_properties(archive: Any) -> bool:
    return {"dataset", "class_name", "k_mask", "defect_area_threshold"} <= set(archive.files)


def _is_saa_suppression(archive: Any) -> bool:
    return {"caption", "filtered_phrase", "token_scores", "boxes_cxcywh", "is_none"} <= set(
        archive.files
    )


def _is_saa_proposals(archive: Any) -> bool:
    asked = {"captions", "filtered_phrases", "logits", "boxes_cxcywh", "max_area"} <= set(
        archive.files
    )
    return asked and any(key.startswith("out_") for key in archive.files)


def _is_saa_chain(archive: Any) -> bool:
    asked = {
        "captions",
        "filtered_phrases",
        "logits",
        "boxes_cxcywh",
        "object_number",
        "feat0",
    } <= set(archive.files)
    return asked and any(key.startswith("out_") for key in archive.files)


def _is_saa_masks(archive: Any) -> bool:
    return {"masks", "scores", "similarity_map", "k_mask"} <= set(archive.files)


def _is_saa_saliency(archive: Any) -> bool:
    held = set(archive.files)
    return (
        "feat0" in held
        and bool({"n_top", "object_masks"} & held)
        and bool({"fused", "heat", "grid_map"} & held)
    )


def _is_saa_saliency_input(archive: Any) -> bool:
    return "image_bgr" in archive.files and bool(
        {"resized_u8", "cnn_input_rows"} & set(archive.files)
    )


def _is_saa_postprocess(archive: Any) -> bool:
    compared = {"resized_maps", "resized_gt", "normalised_maps", "normalised_saliency"}
    return "resolution" in archive.files and bool(compared & set(archive.files))


def _is_dot_fusion(archive: Any) -> bool:
    return {"masks", "scores", "num_masks", "fused"} <= set(archive.files)


def _is_dot_dilation(archive: Any) -> bool:
    return {"mask", "kernel_size", "out_mask"} <= set(archive.files)


def _is_dot_pipeline(archive: Any) -> bool:
    said = {"object_logits", "object_boxes"}, {"anomaly_logits", "anomaly_boxes"}
    asked = {"vocab", "box_threshold", "text_threshold"} <= set(archive.files)
    return asked and any(part <= set(archive.files) for part in said)


def _is_dot_answers(archive: Any) -> bool:
    return {"raw", "sorted_tags"} <= set(archive.files)


# Fixture name -> does a .npz hold such a case?
KINDS: dict[str, Callable[[Any], bool]] = {
    "anomalyclip_case": _is_anomalyclip,
    "clip_baseline_case": _is_clip_baseline,
    "winclip_case": _is_winclip,
    "window_cases": _is_windows,
    "dhrclip_case": _is_dhrclip,
    "dhrclip_pictures": _is_dhrclip_pictures,
    "dhrclip_pixels": _is_dhrclip_pixels,
    "dhrclip_tiling": _is_dhrclip_tiling,
    "preprocessing_case": _is_preprocessing,
    "metrics_case": _is_metrics,
    "saa_metrics_case": _is_saa_metrics,
    "saa_properties": _is_saa_properties,
    "saa_suppression": _is_saa_suppression,
    "saa_proposals": _is_saa_proposals,
    "saa_chain": _is_saa_chain,
    "saa_masks": _is_saa_masks,
    "saa_saliency": _is_saa_saliency,
    "saa_saliency_input": _is_saa_saliency_input,
    "saa_postprocess": _is_saa_postprocess,
    "dot_fusion": _is_dot_fusion,
    "dot_dilation": _is_dot_dilation,
    "dot_pipeline": _is_dot_pipeline,
    "dot_answers": _is_dot_answers,
    "submission_case": _is_submission,
}


# Fixture name -> the keys of a .json that holds such a case, or a part of one.
JSON_KINDS = {
    "tokenization": [{"context_length", "cases"}],
    "baseline_texts": [{"single"}, {"states", "templates"}],
}
FIXTURES = {*KINDS, *JSON_KINDS, "winclip_texts"}


def _json_kinds(path: Path) -> set[str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        return set()
    kinds = {
        kind for kind, forms in JSON_KINDS.items() if any(keys <= content.keys() for keys in forms)
    }
    return kinds | ({"winclip_texts"} if _has_sentences(content) else set())


def _has_sentences(content: dict[str, Any]) -> bool:
    """Tell category → ``normal`` or ``anomalous`` → sentences, of any category."""
    for texts in content.values():
        if isinstance(texts, dict):
            sentences = [texts.get(role) for role in ("normal", "anomalous")]
            if any(isinstance(some, list) for some in sentences):
                return True
    return False


def _kinds(path: Path) -> set[str]:
    """Return the fixtures that can try a file; none where it cannot be read, and then it is listed
    as left aside.
    """
    try:
        if path.suffix == ".json":
            return _json_kinds(path)
        if not zipfile.is_zipfile(path):
            return set()
        with np.load(path) as archive:
            return {kind for kind, holds in KINDS.items() if holds(archive)}
    except (ValueError, zipfile.BadZipFile):
        return set()


# Mistakes of the published DHR-CLIP that ours does not repeat. What rests on them is left aside,
# and that is listed.
MISTAKES = {
    "positions": "its position table is overwritten whenever the grid of the views changes",
    "placement": "its tiles are pasted elsewhere than they were cut",
    "patches": "its views do not divide into patches, and it drops the rest",
}


def dhrclip_mistakes(config: dict[str, Any]) -> frozenset[str]:
    """Return which of the mistakes play a part at the sizes of a DHR-CLIP case."""
    whole, tile, patch = (
        config["image_size"],
        config["patch_image_size"],
        config["clip"].get("patch", 14),
    )
    made = {
        "positions": whole // patch != tile // patch,
        "placement": config["target_image_size"] != 2 * tile,
        "patches": whole % patch > 0 or tile % patch > 0,
    }
    return frozenset(name for name, is_made in made.items() if is_made)


@pytest.fixture
def mistakes_of() -> Callable[[dict[str, Any]], frozenset[str]]:
    return dhrclip_mistakes


def _left_aside(path: Path) -> str:
    """Name a DHR-CLIP file that is compared in part alone, and why; nothing for any other file."""
    with np.load(path) as archive:
        mistakes = sorted(dhrclip_mistakes(_config(archive)))
    return (
        f"golden file compared in part: {path.name} ({'; '.join(MISTAKES[m] for m in mistakes)})"
        if mistakes
        else ""
    )


@functools.cache
def _scan(golden: Path) -> dict[Path, set[str]]:
    files = (
        [golden] if golden.is_file() else sorted([*golden.rglob("*.npz"), *golden.rglob("*.json")])
    )
    return {path: _kinds(path) for path in files}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    golden: Path = metafunc.config.getoption("--golden")
    for kind in FIXTURES & set(metafunc.fixturenames):
        files = [path for path, kinds in _scan(golden).items() if kind in kinds]
        names = [path.name if path == golden else str(path.relative_to(golden)) for path in files]
        metafunc.parametrize(kind, files, ids=names, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    golden: Path = config.getoption("--golden")
    if not golden.exists():
        raise pytest.UsageError(f"--golden {golden}: no such file or folder")
    if not any(_scan(golden).values()):
        raise pytest.UsageError(
            f"--golden {golden}: none of its {len(_scan(golden))} .npz and .json files holds a "
            f"case that tests/parity can try ({', '.join(sorted(FIXTURES))})"
        )


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """List the files that nothing tries, so that silence is not taken for agreement."""
    scanned = _scan(config.getoption("--golden"))
    unclaimed = [path for path, kinds in scanned.items() if not kinds]
    lines = []
    for path, kinds in scanned.items():
        if "dhrclip_case" in kinds:
            line = _left_aside(path)
            if line:
                lines.append(line)
    for folder, paths in itertools.groupby(unclaimed, key=lambda path: path.parent):
        names = ", ".join(path.name for path in paths)
        lines.append(f"golden files that no parity test tries, in {folder}: {names}")
    return lines
