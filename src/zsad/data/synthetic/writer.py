"""The procedural world on disk, in the layout of MVTec AD, so that it is a dataset like any other."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import Progress

from zsad.atomic_write import write_whole
from zsad.data.synthetic.marks import GRADES
from zsad.data.synthetic.world import WORLDS, random_stream, render

_RECIPE = "synthetic.json"
_VERSION = 1  # to be raised whenever the same recipe gives other pictures


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is written.

    Attributes:
        world: ``a`` (auxiliary), ``b`` (target) or ``wild`` (pre-training) categories.
        size: Side of the pictures in pixels.
        train_good: Normal pictures per category below ``train/good``.
        good: Normal test pictures per category.
        defective: Defective test pictures per category, spread evenly over grades, then over kinds of defect.
        grades: Which of ``easy``, ``medium``, ``hard`` occur. A folder's name ends in the grade: ``scratch_medium``.
        seed: Another seed, other pictures of the same categories.
        max_area: Largest share of a picture that a defect may cover; ``None`` for sizes as designed.
    """

    world: str
    size: int
    train_good: int
    good: int
    defective: int
    grades: tuple[str, ...]
    seed: int
    max_area: float | None

    def __post_init__(self):
        if self.world not in WORLDS:
            raise ValueError(f"no procedural world {self.world!r}; there are: {', '.join(WORLDS)}.")
        unknown = [grade for grade in self.grades if grade not in GRADES]
        if unknown or not self.grades:
            raise ValueError(
                f"grades must be some of {', '.join(GRADES)}; got {', '.join(self.grades) or 'none'}."
            )
        if self.size < 32:
            raise ValueError(f"size must be at least 32 pixels; got {self.size}.")


@dataclass(frozen=True, slots=True)
class _Task:
    """One picture to write: where, from which stream, with which defect."""

    path: Path
    mask_path: Path | None
    split: str
    index: int
    defect: str | None = None
    grade: str = "medium"


def write_synthetic(
    root: Path,
    *,
    world: str,
    size: int = 256,
    train_good: int = 8,
    good: int = 24,
    defective: int = 24,
    grades: tuple[str, ...] = ("easy", "medium", "hard"),
    seed: int = 0,
    max_area: float | None = None,
) -> Path:
    """Write one world's categories below ``root`` in MVTec AD's layout and return ``root``.

    A category appears under its name only when it is complete, so an interrupted run leaves nothing half done and the
    next one continues; a run with nothing left to do changes nothing. Arguments as for :class:`Recipe`.

    Raises:
        ValueError: for unknown names, or when ``root`` holds pictures that were made with other arguments.
    """
    recipe = Recipe(world, size, train_good, good, defective, tuple(grades), seed, max_area)
    root.mkdir(parents=True, exist_ok=True)
    _sign(root, recipe)
    waiting = [name for name in WORLDS[world] if not (root / name).is_dir()]
    with Progress(transient=True, disable=not waiting) as progress:
        bar = progress.add_task(root.name, total=len(waiting) * (train_good + good + defective))
        for category in waiting:
            partial = root / f".{category}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            for task in _tasks(recipe, category):
                _write(recipe, category, task, partial)
                progress.advance(bar)
            partial.rename(root / category)
    return root


def _sign(root: Path, recipe: Recipe) -> None:
    """Write the recipe, or check that what is already there was made by the same one."""
    text = json.dumps({"version": _VERSION, **asdict(recipe)}, indent=1) + "\n"
    path = root / _RECIPE
    if not path.exists():
        if any(
            file.suffix != ".partial" for file in root.iterdir()
        ):  # what a killed process had begun to write
            raise ValueError(
                f"{root} is not empty and holds no {_RECIPE}; choose an empty or a new folder."
            )
        write_whole(path, text)
    elif path.read_text() != text:
        raise ValueError(
            f"{root} holds pictures made with other parameters (see {path}); choose another folder or delete this one."
        )


def _tasks(recipe: Recipe, category: str) -> list[_Task]:
    tasks = [
        _Task(Path(f"train/good/{i:03d}.png"), None, "train/good", i)
        for i in range(recipe.train_good)
    ]
    tasks += [
        _Task(Path(f"test/good/{i:03d}.png"), None, "test/good", i) for i in range(recipe.good)
    ]
    defects, counts = WORLDS[recipe.world][category].defects, Counter()
    for i in range(recipe.defective):
        grade = recipe.grades[i % len(recipe.grades)]
        defect = defects[i // len(recipe.grades) % len(defects)]
        folder = f"{defect}_{grade}"
        number = f"{counts[folder]:03d}"
        counts[folder] += 1
        mask_path = Path(f"ground_truth/{folder}/{number}_mask.png")
        tasks.append(
            _Task(
                Path(f"test/{folder}/{number}.png"), mask_path, "test/defective", i, defect, grade
            )
        )
    return tasks


def _write(recipe: Recipe, category: str, task: _Task, folder: Path) -> None:
    rng = random_stream(recipe.seed, category, task.split, task.index)
    photo, mask = render(category, rng, recipe.size, task.defect, task.grade, recipe.max_area)
    _save(photo, folder / task.path)
    if task.mask_path is not None:
        _save(mask.astype(np.uint8) * 255, folder / task.mask_path)


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=3)
