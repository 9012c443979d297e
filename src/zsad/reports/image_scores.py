"""The score of every image of a test."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsad.atomic_write import write_whole

_COLUMNS = ("path", "category", "defect", "is_anomalous", "score", "probability")


@dataclass(frozen=True, slots=True)
class ImageScore:
    """What a test says about one image.

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
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in sorted(scores, key=lambda one: (one.category, one.path)):
        numbers = (int(one.is_anomalous), f"{one.score:.6f}", f"{one.probability:.6f}")
        writer.writerow([one.path, one.category, one.defect, *numbers])
    return write_whole(file, buffer.getvalue())


def read_scores(file: Path) -> list[ImageScore]:
    """Read what ``write_scores`` wrote.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A row that is no score; its line is told.
    """
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        try:
            return [_read(row) for row in reader]
        except (KeyError, TypeError, ValueError) as error:
            expected = ", ".join(_COLUMNS)
            raise ValueError(
                f"{file}, line {reader.line_num}: {error}; expected columns {expected}"
            ) from error


def _read(row: dict[str, str]) -> ImageScore:
    label, score, probability = (
        int(row["is_anomalous"]),
        float(row["score"]),
        float(row["probability"]),
    )
    return ImageScore(row["path"], row["category"], row["defect"], bool(label), score, probability)
