"""The scores of the images of a test, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsad.atomic_write import write_whole
from zsad.reports.text_tables import csv_text

_COLUMNS = ("path", "category", "defect", "is_anomalous", "score", "probability")


@dataclass(frozen=True, slots=True)
class ImageScore:
    """The label and the score of an image.

    Attributes:
        path: The image file.
        category: Its category.
        defect: Kind of defect, ``good`` for normal images, empty where unknown.
        is_anomalous: The label.
        score: Logit margin, higher is more anomalous.
        probability: Of being anomalous, in [0, 1].
    """

    path: str
    category: str
    defect: str
    is_anomalous: bool
    score: float
    probability: float


def write_scores(scores: Sequence[ImageScore], file: Path) -> Path:
    """Write scores as CSV, by category and path, and return the file's path."""
    rows = []
    for image in sorted(scores, key=lambda image: (image.category, image.path)):
        score = f"{image.score:.6f}"
        probability = f"{image.probability:.6f}"
        label = int(image.is_anomalous)
        rows.append((image.path, image.category, image.defect, label, score, probability))
    return write_whole(file, csv_text(_COLUMNS, rows))


def read_scores(file: Path) -> list[ImageScore]:
    """Read a file of ``write_scores``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A row that is no score; the message names its line.
    """
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        try:
            return [_image_score(row) for row in reader]
        except (KeyError, TypeError, ValueError) as error:
            expected = ", ".join(_COLUMNS)
            raise ValueError(
                f"{file}, line {reader.line_num}: {error}; expected columns {expected}"
            ) from error


def _image_score(row: dict[str, str]) -> ImageScore:
    return ImageScore(
        path=row["path"],
        category=row["category"],
        defect=row["defect"],
        is_anomalous=bool(int(row["is_anomalous"])),
        score=float(row["score"]),
        probability=float(row["probability"]),
    )
