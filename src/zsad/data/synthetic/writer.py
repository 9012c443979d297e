"""Write the generated world to disk, in the layout of MVTec AD: a dataset like any other."""

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
_VERSION = 1  # to be raised whenever the same recipe gives other images
_SMALLEST_PX = 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """Arguments that decide the written images.

    Attributes:
        world: ``a`` (auxiliary), ``b`` (target) or ``wild`` (pre-training) categories.
        size: Side of the images in pixels.
        train_good: Normal images per category below ``train/good``.
        good: Normal test images per category.
        defective: Defective test images per category, spread evenly over grades, then over kinds
            of defect.
        grades: Those of ``easy``, ``medium``, ``hard`` that occur. A folder's name ends in the
            grade: ``scratch_medium``.
        seed: Another seed, other images of the same categories.
        max_area: Largest share of an image that a defect may cover; ``None`` for sizes as designed.
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
        if not self.grades or not set(self.grades) <= set(GRADES):
            given = ", ".join(self.grades) or "none"
            raise ValueError(f"grades must be some of {', '.join(GRADES)}; got {given}.")
        if self.size < _SMALLEST_PX:
            raise ValueError(f"size must be at least {_SMALLEST_PX} pixels; got {self.size}.")


@dataclass(frozen=True, slots=True)
class _Task:
    """An image to write, with its stream and its defect.

    Attributes:
        path: Below the category's folder.
        mask_path: Of its mask; ``None`` for a normal image.
        split: Key of the random stream.
        index: Number in the split.
        defect: Kind of the defect; ``None`` for a normal image.
        grade: Difficulty of the defect.
    """

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
    """Write the categories of a world below ``root`` in MVTec AD's layout and return ``root``.

    A category appears under its name only when it is complete, so an interrupted run leaves nothing
    half done and the next run continues; a run with nothing left to do changes nothing. Arguments
    as for :class:`Recipe`.

    Raises:
        ValueError: Unknown names, or ``root`` holds images that were made with other arguments.
    """
    recipe = Recipe(world, size, train_good, good, defective, tuple(grades), seed, max_area)
    root.mkdir(parents=True, exist_ok=True)
    _sign(root, recipe)
    missing = [name for name in WORLDS[world] if not (root / name).is_dir()]
    with Progress(transient=True, disable=not missing) as progress:
        images = train_good + good + defective
        bar = progress.add_task(root.name, total=len(missing) * images)
        for category in missing:
            partial = root / f".{category}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            for task in _tasks(recipe, category):
                _write(recipe, category, task, partial)
                progress.advance(bar)
            partial.rename(root / category)
    return root


def _sign(root: Path, recipe: Recipe) -> None:
    """Write the recipe, or check that existing images were made by the same recipe."""
    content = {"version": _VERSION, **asdict(recipe)}
    text = json.dumps(content, indent=1) + "\n"
    path = root / _RECIPE
    if path.exists():
        if path.read_text() != text:
            raise ValueError(
                f"{root} holds images made with other parameters (see {path}); "
                f"choose another folder or delete this one."
            )
        return
    # An interrupted run leaves partial files.
    if any(file.suffix != ".partial" for file in root.iterdir()):
        raise ValueError(
            f"{root} is not empty and holds no {_RECIPE}; choose an empty or a new folder."
        )
    write_whole(path, text)


def _tasks(recipe: Recipe, category: str) -> list[_Task]:
    tasks = _normal_tasks("train/good", recipe.train_good)
    tasks += _normal_tasks("test/good", recipe.good)
    kinds = WORLDS[recipe.world][category].defects
    counts: Counter[str] = Counter()
    for index in range(recipe.defective):
        round_, place = divmod(index, len(recipe.grades))
        grade = recipe.grades[place]
        defect = kinds[round_ % len(kinds)]
        folder = f"{defect}_{grade}"
        number = f"{counts[folder]:03d}"
        counts[folder] += 1
        path = Path(f"test/{folder}/{number}.png")
        mask_path = Path(f"ground_truth/{folder}/{number}_mask.png")
        tasks.append(_Task(path, mask_path, "test/defective", index, defect, grade))
    return tasks


def _normal_tasks(split: str, count: int) -> list[_Task]:
    tasks: list[_Task] = []
    for index in range(count):
        path = Path(f"{split}/{index:03d}.png")
        tasks.append(_Task(path, None, split, index))
    return tasks


def _write(recipe: Recipe, category: str, task: _Task, folder: Path) -> None:
    rng = random_stream(recipe.seed, category, task.split, task.index)
    photo, mask = render(category, rng, recipe.size, task.defect, task.grade, recipe.max_area)
    _save(photo, folder / task.path)
    if task.mask_path is not None:
        white = mask.astype(np.uint8) * 255
        _save(white, folder / task.mask_path)


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=3)
