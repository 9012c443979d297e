"""Images of a report page, reduced and embedded; the extreme scores of a run as cards."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from zsad.reports.image_scores import ImageScore

_HEATMAP_PX = 720  # width in the page
_HEATMAP_QUALITY = 72
_SHEET_PX = 1136
_SHEET_QUALITY = 60
# Contact sheets are smaller on a page of more categories, so that it stays a few megabytes.
_SHEETS_AT_FULL_SIZE = 16


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image as a data URL, with its size in pixels."""

    source: str
    description: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Card:
    """An image with its name and a line of detail."""

    image: EmbeddedImage
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CardRow:
    """Cards under a heading."""

    heading: str
    cards: Sequence[Card]


def select_extremes(
    scores: Sequence[ImageScore], length: int
) -> list[tuple[str, list[ImageScore]]]:
    """Select the worst and the best images, with a heading for each kind; no image twice."""
    good: list[ImageScore] = []
    defective: list[ImageScore] = []
    for one in sorted(scores, key=_score_and_path):
        images = defective if one.is_anomalous else good
        images.append(one)
    lowest = defective[:length]
    others = defective[len(lowest) :]
    rows = (
        ("Good, highest scores first", _last(good, length)),
        ("Defective, lowest scores first", lowest),
        ("Defective, highest scores first", _last(others, length)),
    )
    return [(heading, row) for heading, row in rows if row]


def extreme_cards(
    scores: Sequence[ImageScore], heatmaps: Mapping[str, Path], length: int = 6
) -> list[CardRow]:
    """Return cards of the extreme scores among the images that have a heat map."""
    drawn = [one for one in scores if one.path in heatmaps]
    rows = []
    for heading, row in select_extremes(drawn, length):
        cards = []
        for one in row:
            card = _heatmap_card(one, heatmaps[one.path])
            cards.append(card)
        rows.append(CardRow(heading, cards))
    return rows


def selection_remark(scores: Sequence[ImageScore], heatmaps: Mapping[str, Path]) -> str:
    """Return a remark if some images have no heat map."""
    total = len(scores)
    drawn = sum(one.path in heatmaps for one in scores)
    if drawn == total:
        return ""
    return f"Chosen among the {drawn:,} of {total:,} images whose heat map was written."


def embed_contact_sheet(category: str, file: Path, sheets: int) -> EmbeddedImage:
    """Embed the contact sheet of a category; with many ``sheets`` on a page it is smaller."""
    scale = min(1.0, math.sqrt(_SHEETS_AT_FULL_SIZE / sheets))
    width = round(_SHEET_PX * scale)
    return _embed(file, width, f"contact sheet of {category}", _SHEET_QUALITY)


def restoration_cards(files: Mapping[str, Path]) -> list[Card]:
    """Return cards of defective images beside their restorations to normal."""
    cards = []
    for path, file in files.items():
        name = f"{file.parent.name} · {Path(path).name}"
        image = _embed(file, _HEATMAP_PX, f"restoration of {name}", _HEATMAP_QUALITY)
        cards.append(Card(image, name))
    return cards


def _score_and_path(score: ImageScore) -> tuple[float, str]:
    return score.score, score.path


def _last(scores: Sequence[ImageScore], length: int) -> list[ImageScore]:
    """Return the last scores, beginning with the very last."""
    return list(reversed(scores))[:length]


def _heatmap_card(score: ImageScore, file: Path) -> Card:
    kind = score.defect
    if not kind:
        kind = "defective" if score.is_anomalous else "good"
    file_name = Path(score.path).name
    name = f"{score.category} · {kind} · {file_name}"
    detail = f"score {score.score:+.2f}, p = {score.probability:.3f}"
    image = _embed(file, _HEATMAP_PX, f"heat map of {name}", _HEATMAP_QUALITY)
    return Card(image, name, detail)


def _embed(file: Path, width: int, description: str, quality: int) -> EmbeddedImage:
    """Embed an image file, no wider than ``width`` pixels."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    if image.width > width:
        height = round(image.height * width / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=quality, method=4)
    content = base64.b64encode(buffer.getvalue()).decode()
    source = f"data:image/webp;base64,{content}"
    return EmbeddedImage(source, description, image.width, image.height)
