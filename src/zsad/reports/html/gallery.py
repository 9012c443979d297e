"""Pictures of a page: which images stand for a run, made small and put into the page itself."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from zsad.reports.html.markup import Markup, tag
from zsad.reports.image_scores import ImageScore

_HEATMAP_PX = 720  # width in the page
_SHEET_PX = 1136
_SHEETS_AT_FULL_SIZE = (
    16  # a page of more categories shows smaller sheets, so that it stays a few megabytes
)


def extremes(scores: Sequence[ImageScore], length: int) -> list[tuple[str, list[ImageScore]]]:
    """Choose the worst and the best images, with a heading for each kind; no image is chosen twice."""
    ranked = sorted(scores, key=lambda one: (one.score, one.path))
    good = [one for one in reversed(ranked) if not one.is_anomalous][:length]
    defective = [one for one in ranked if one.is_anomalous]
    missed = defective[:length]
    rows = [
        ("Good, highest scores first", good),
        ("Defective, lowest scores first", missed),
        ("Defective, highest scores first", defective[len(missed) :][::-1][:length]),
    ]
    return [(heading, row) for heading, row in rows if row]


def cards(scores: Sequence[ImageScore], heatmaps: Mapping[str, Path], length: int = 6) -> Markup:
    """Show the extremes among the images that have a heat map."""
    drawn = [one for one in scores if one.path in heatmaps]
    if not drawn:
        return Markup()
    rows = [
        tag(
            "div",
            tag("h4", heading),
            tag("div", *(_card(one, heatmaps[one.path]) for one in row), class_="cards"),
        )
        for heading, row in extremes(drawn, length)
    ]
    several = (
        f"Chosen among the {len(drawn):,} of {len(scores):,} images whose heat map was written."
    )
    remark = tag("p", several, class_="remark") if len(drawn) < len(scores) else ""
    return tag("div", *rows, remark)


def sheet(category: str, file: Path, sheets: int) -> Markup:
    """Show the contact sheet of a category; on a page of many it is smaller."""
    width = round(_SHEET_PX * min(1.0, math.sqrt(_SHEETS_AT_FULL_SIZE / sheets)))
    picture = _picture(file, width, f"contact sheet of {category}", quality=60)
    heading = tag("h4", "Of all images: highest scored good, lowest and highest scored defective")
    region = tag(
        "div",
        picture,
        class_="scroll sheet",
        role="region",
        tabindex=0,
        aria_label=f"sheet of {category}",
    )
    return tag("div", heading, region)


def restored(files: Mapping[str, Path]) -> Markup:
    """Show images beside what they may have looked like without their defects, the picture of each image."""
    figures = []
    for path, file in files.items():
        name = f"{file.parent.name} · {Path(path).name}"
        picture = _picture(file, _HEATMAP_PX, f"restoration of {name}", quality=72)
        figures.append(tag("figure", picture, tag("figcaption", name), class_="card"))
    return tag("div", *figures, class_="cards")


def _card(one: ImageScore, file: Path) -> Markup:
    name = f"{one.category} · {one.defect or ('defective' if one.is_anomalous else 'good')} · {Path(one.path).name}"
    said = tag(
        "figcaption",
        name,
        tag("span", f"score {one.score:+.2f}, p = {one.probability:.3f}", class_="score"),
    )
    return tag(
        "figure",
        _picture(file, _HEATMAP_PX, f"heat map of {name}", quality=72),
        said,
        class_="card",
    )


def _picture(file: Path, width: int, description: str, quality: int) -> Markup:
    """Put a picture into the page, no wider than ``width`` pixels."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    if picture.width > width:
        picture = picture.resize(
            (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=quality, method=4)
    source = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return tag("img", src=source, alt=description, width=picture.width, height=picture.height)
