"""How long an index of very many images takes to make, and to open.

    python benchmarks/indexing.py                  # 151,050 images, as many as Real-IAD has
    python benchmarks/indexing.py --images 10000

writes a tree in the layout of Real-IAD (30 objects, five views, tiny images, a third of them
defective with masks) into a temporary folder. One process prepares it as ``zsad prepare`` does, and
one more for each phase opens the index as a run does. Prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

REAL_IAD_IMAGES = 151_050
OBJECTS = 30
VIEWS = 5
SIZE_PX = 32
DEFECTS = ("AK", "HS", "QS", "ZW")


def fabricate(root: Path, images: int) -> int:
    """Write the tree and return its number of images.

    The number is that asked for, rounded to whole samples of five views.
    """
    picture, mask = _encoded("RGB", "JPEG"), _encoded("L", "PNG")
    samples = max(3, images // (OBJECTS * VIEWS))
    tables = root / "realiad_jsons" / "realiad_jsons"
    tables.mkdir(parents=True)
    for number in range(OBJECTS):
        name = f"object_{number:02d}"
        table: dict[str, Any] = {
            "meta": {"normal_class": "OK", "prefix": f"{name}/"},
            "train": [],
            "test": [],
        }
        for phase, defect, path, mask_path in _entries(name, samples):
            file = root / "realiad_1024" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
            if mask_path:
                (root / "realiad_1024" / name / mask_path).write_bytes(mask)
            entry = {
                "category": name,
                "anomaly_class": defect,
                "image_path": path,
                "mask_path": mask_path,
            }
            table[phase].append(entry)
        (tables / f"{name}.json").write_text(json.dumps(table))
    return OBJECTS * VIEWS * samples


def _entries(name: str, samples: int) -> Iterator[tuple[str, str, str, str | None]]:
    """Yield (phase, defect, image, mask) of an object.

    Of three samples one is for training, one is a good and one a defective sample for testing.
    """
    for sample in range(samples):
        phase, defect = (
            ("train", "test", "test")[sample % 3],
            ("OK", "OK", DEFECTS[sample % 4])[sample % 3],
        )
        label = "OK" if defect == "OK" else f"NG_{defect}"
        for view in range(1, VIEWS + 1):
            stem = f"{name}_{sample:04d}_{label}_C{view}_20231023085630"
            folder = "OK" if defect == "OK" else f"NG/{defect}"
            image = f"{folder}/S{sample:04d}/{stem}"
            yield phase, defect, f"{image}.jpg", None if defect == "OK" else f"{image}.png"


def _encoded(mode: str, kind: str) -> bytes:
    data = io.BytesIO()
    Image.effect_noise((SIZE_PX, SIZE_PX), 40).convert(mode).save(data, kind)
    return data.getvalue()


def measure(step: str, folder: Path) -> dict[str, float]:
    """Run one step in a process of its own; interpreter and imports are not counted."""
    command = [sys.executable, __file__, "--step", step, str(folder)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def prepare(folder: Path) -> dict[str, float]:
    """Time ``zsad prepare``, from the tree to the index on disk."""
    from zsad.data.prepare.write_index import prepare

    start, cpu = time.perf_counter(), time.process_time()
    prepare("real_iad", folder / "raw", data_json=folder / "data_json", conf=folder / "conf")
    return {"prepare": time.perf_counter() - start, "prepare cpu": time.process_time() - cpu}


def open_phase(folder: Path, phase: str) -> dict[str, float]:
    """Time the start of a run: it reads the index and checks that every file exists."""
    from zsad.data.index import read_index

    start, cpu = time.perf_counter(), time.process_time()
    samples = read_index(folder / "data_json" / "real_iad.json", folder / "raw", phase)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {f"open {phase}": wall, f"open {phase} cpu": cpu, f"images {phase}": len(samples)}


STEPS = {
    "prepare": prepare,
    "train": lambda folder: open_phase(folder, "train"),
    "test": lambda folder: open_phase(folder, "test"),
}


def report(images: int, seconds: dict[str, float], index_bytes: int) -> str:
    """Write the Markdown. On a busy machine the CPU time says more than the wall time."""
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    rows = [("prepare", f"zsad prepare ({index_bytes / 1e6:.0f} MB of index)")]
    rows += [
        (f"open {each}", f"open {each} ({seconds[f'images {each}']:,.0f} images)")
        for each in ("train", "test")
    ]
    lines = [
        f"| {title} | {seconds[key]:.2f} | {seconds[f'{key} cpu']:.2f} |" for key, title in rows
    ]
    head = ["| step | wall, s | CPU, s |", "| :--- | ---: | ---: |"]
    return "\n".join([f"{images:,} images in {OBJECTS} objects; {machine}", "", *head, *lines])


def main() -> None:
    """Fabricate, measure, print; or be one of the measured processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=REAL_IAD_IMAGES)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(STEPS[arguments.step[0]](Path(arguments.step[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = fabricate(folder / "raw", arguments.images)
        seconds = {key: value for step in STEPS for key, value in measure(step, folder).items()}
        print(report(images, seconds, (folder / "data_json" / "real_iad.json").stat().st_size))


if __name__ == "__main__":
    main()
