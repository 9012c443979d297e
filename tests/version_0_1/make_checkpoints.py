"""Makes the files of this folder with version 0.1 of zsad: checkpoints, run folders, and the scores and maps of 0.1.

Run with the source of version 0.1 (commit 79eaaa8), which later versions cannot stand in for:

    PYTHONPATH=OLD/src python make_checkpoints.py OLD OUT
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

OLD, OUT = (Path(argument).resolve() for argument in [*sys.argv[1:3], "OLD", "OUT"][:2])
DATA = ["dataset=mtd", "dataset.index=data/index.json", "dataset.root=data", "dataset.num_workers=0"]
QUIET = ["trainer=cpu", "callbacks.heatmaps.max_per_category=0", "~callbacks.progress"]
SIDES = (48, 64)  # height and width of every image
POCKET = ["backbone=pocket", "model.method.prompts.context_tokens=4", "model.method.prompts.deep_blocks=5"]
TRAINED = {  # name -> the choices of its training, and those of its use that no checkpoint keeps
    "anomalyclip": (["model=anomalyclip", *POCKET, "model.method.sigma_px=2"], []),
    "dhrclip": (
        ["model=dhrclip", *POCKET, "image_size=192", "model.method.whole_px=64", "model.method.whole_weight=0.4"],
        [],
    ),
    "dhrclip_plus": (
        [
            "model=dhrclip_plus",
            *POCKET,
            "backbone.input_size=32",
            "model.method.tiling.skip=0.5",
            "model.method.tiling.whole_weight=0.4",
            "dataset.batch_size=1",
        ],
        ["backbone.input_size=32"],
    ),
    "sam3_vectors": (
        [
            "model=sam3_vectors",
            "backbone=sam3_random",
            "backbone.input_size=56",
            "model.method.tuned=true",
            "model.method.prompts.num_prompts=2",
            "model.optimizer.lr=1e-3",
        ],
        ["backbone.input_size=56"],
    ),
}
KEPT = ("status.json", "run_card.json", "results.csv", "results.json", "test_scores.csv", "thresholds.json", ".hydra")


def write_images() -> None:
    """Eight images with soft stripes, every second with a bright patch, and an index of six of them."""
    (OUT / "data").mkdir(parents=True, exist_ok=True)
    entries: dict[str, list[dict[str, object]]] = {"magnetic_tile": [], "wheel": []}
    height, width = SIDES
    rows, columns = np.mgrid[:height, :width]
    for number in range(8):
        stripes = 120 + 40 * np.sin(columns / (3 + number)) + 30 * np.cos(rows / (5 + number % 3))
        pixels = np.stack([stripes, stripes + 5 * number, 255 - stripes], axis=-1).astype(np.uint8)
        mask = np.zeros(SIDES, dtype=np.uint8)
        if number % 2:
            mask[10 + number : 24 + number, 20:40] = 255
            pixels[mask > 0] = 250
        name = f"{number}.png"
        Image.fromarray(pixels).save(OUT / "data" / name, optimize=True)
        if number > 5:  # for prediction alone
            continue
        entry = {"img_path": name, "mask_path": "", "specie_name": "good", "anomaly": 0}
        if number % 2:
            Image.fromarray(mask).save(OUT / "data" / f"{number}_mask.png", optimize=True)
            entry |= {"mask_path": f"{number}_mask.png", "specie_name": "spot", "anomaly": 1}
        category = "magnetic_tile" if number < 4 else "wheel"
        entries[category].append({**entry, "cls_name": category})
    (OUT / "data" / "index.json").write_text(json.dumps({"train": {}, "test": entries}, indent=1) + "\n")


def run(script: str, *given: str) -> None:
    command = [sys.executable, str(OLD / f"{script}.py"), *DATA, *QUIET, *given]
    environment = os.environ | {"PYTHONPATH": str(OLD / "src")}
    subprocess.run(command, cwd=OUT, check=True, env=environment)


def zsad(*given: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(OLD / "src")}
    program = "import sys; from zsad.cli import app; sys.exit(app())"
    subprocess.run([sys.executable, "-c", program, *given], cwd=OUT, check=True, env=environment)


def write_reference(name: str, own: list[str]) -> None:
    """What 0.1 makes of two images with a checkpoint as ``zsad predict`` would: scores, and every sixth pixel of maps."""
    from zsad.cli.chosen import as_learned, built
    from zsad.prediction import loader

    checkpoint = OUT / f"{name}.ckpt"
    config, _ = as_learned(checkpoint, None, None, own)
    task = built(config, checkpoint).eval()
    maps, scores = [], []
    with torch.no_grad():
        for batch in loader([OUT / "data" / "6.png", OUT / "data" / "7.png"], config.image_size, "wheel"):
            prediction = task.method(batch.image, batch.category)
            maps.append(prediction.map[0, ::6, ::6].float().numpy())
            scores.append(float(prediction.score[0]))
    np.savez_compressed(OUT / f"{name}.npz", map=np.stack(maps), score=np.array(scores))
    print(name, scores)


def lighten(file: Path) -> None:
    """Drop the state of the optimizer, half a megabyte for SAM 3, which no prediction needs."""
    content = torch.load(file, weights_only=True)
    content["optimizer_states"] = []
    torch.save(content, file)


def main() -> None:
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    write_images()
    for name, (given, _) in TRAINED.items():
        run("train", *given, "epochs=1", f"name={name}")
        shutil.copy(OUT / "runs/train" / name / "checkpoints/last.ckpt", OUT / f"{name}.ckpt")
    # The same training, to two epochs: what a resumed one must come to. Resumed from the first epoch it takes one more.
    anomalyclip = TRAINED["anomalyclip"][0]
    run("train", *anomalyclip, "epochs=2", "name=anomalyclip_2")
    zsad("export", "runs/train/anomalyclip_2", "anomalyclip_2.safetensors")
    for name in ("anomalyclip", "anomalyclip_2"):
        run("test", *anomalyclip, f"ckpt_path=runs/train/{name}", f"name=of_{name}")
    run("test", *anomalyclip, "ckpt_path=runs/train/anomalyclip", "name=several", "dataset=[mtd,visa]")
    folders = ["runs/test/of_anomalyclip", "runs/test/of_anomalyclip_2"]
    zsad("average", *folders, "--out", "average")
    zsad("compare", *folders, "--out", "compare")
    for name, (_, own) in TRAINED.items():
        write_reference(name, own)
    for name in TRAINED:
        if name != "anomalyclip":
            lighten(OUT / f"{name}.ckpt")
            shutil.rmtree(OUT / "runs/train" / name)
    shutil.rmtree(OUT / "runs/train/anomalyclip_2")
    (OUT / "anomalyclip.ckpt").unlink()  # it is the run's own last.ckpt
    for folder in (OUT / "runs/train/anomalyclip", *(OUT / "runs/test").glob("*"), *(OUT / "runs/test/several").glob("*")):
        if folder.is_dir() and folder.name != ".hydra":
            for entry in folder.iterdir():
                if entry.name not in (*KEPT, "checkpoints") and not (folder.name == "several" and entry.is_dir()):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (OUT / "runs/train/anomalyclip/checkpoints/epoch_00.ckpt").unlink()
    for file in (*(OUT / "average").iterdir(), *(OUT / "compare").iterdir()):
        if file.suffix != ".csv":
            file.unlink()
    for file in (OUT / "runs").rglob("*"):
        if file.suffix in (".json", ".yaml", ".csv"):
            text = file.read_text().replace(str(OUT), "/home/me/zsad").replace(str(OLD), "/home/me/zsad")
            file.write_text(text)


if __name__ == "__main__":
    main()
