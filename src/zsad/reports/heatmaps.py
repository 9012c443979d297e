"""Heat maps of the tested images, and one contact sheet per category."""

# ruff: noqa: ARG002 (the signatures of the hooks are Lightning's)
from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from PIL import Image
from torch import Tensor

from zsad.reports.drawing import Picture, Range, Size, Thumbnail, contact_sheet, fit, heat, outline, overlay, to_picture
from zsad.reports.files import write_whole
from zsad.types import Batch, Prediction

_SMALLEST_PANEL_PX = 256
_THUMBNAIL_PX = 180
_SIDEWAYS = 5  # EXIF orientations from here on swap width and height
_Scored = tuple[float, str, Thumbnail]  # score, path, picture


@dataclass(slots=True)
class _Shortlist:
    """The images of a category that its contact sheet may show; nothing else is kept."""

    length: int
    false_alarms: list[_Scored] = field(default_factory=list)
    misses: list[_Scored] = field(default_factory=list)
    hits: list[_Scored] = field(default_factory=list)

    def add(self, entry: _Scored) -> None:
        if entry[2].is_anomalous:
            self.misses = self._first([*self.misses, entry], sign=1)
            self.hits = self._first([*self.hits, entry], sign=-1)
        else:
            self.false_alarms = self._first([*self.false_alarms, entry], sign=-1)

    def join(self, other: _Shortlist) -> None:
        self.misses = self._first([*self.misses, *other.misses], sign=1)
        self.hits = self._first([*self.hits, *other.hits], sign=-1)
        self.false_alarms = self._first([*self.false_alarms, *other.false_alarms], sign=-1)

    def rows(self) -> list[tuple[str, list[Thumbnail]]]:
        shown = {path for _, path, _ in self.misses}
        return [
            ("good, highest scores first", [thumbnail for *_, thumbnail in self.false_alarms]),
            ("defective, lowest scores first", [thumbnail for *_, thumbnail in self.misses]),
            ("defective, highest scores first", [thumb for _, path, thumb in self.hits if path not in shown]),
        ]

    def _first(self, entries: list[_Scored], sign: int) -> list[_Scored]:
        return sorted(entries, key=lambda entry: (sign * entry[0], entry[1]))[: self.length]


class HeatmapWriter(Callback):
    """Write a heat map per image, ``folder/category/defect/stem.png``, and a sheet per category, ``category.png``.

    The sheet shows the highest-scored normal images, and the lowest- and highest-scored defective ones, of all images.

    Args:
        folder: Where to write. Files of an earlier run in the same folder are replaced.
        max_per_category: Heat maps to write of one category, half of them of normal images; ``None`` for all.
            Every image given to ``predict`` is written.
        value_range: Values at the two ends of the colours. Fixed, so that normal images do not glow; ``None`` stretches
            each map by its own minimum and maximum.
        keep_aspect: Draw in the proportions of the image file, not in those of the network's input.
        sheet_columns: Images in one row of a contact sheet; 0 for no sheets.
    """

    def __init__(
        self,
        folder: str | Path,
        max_per_category: int | None = 20,
        value_range: Sequence[float] | None = (0.0, 1.0),
        keep_aspect: bool = True,
        sheet_columns: int = 6,
    ) -> None:
        self.folder = Path(folder)
        self.max_per_category = max_per_category
        self.value_range: Range | None = None if value_range is None else (value_range[0], value_range[1])
        self.keep_aspect = keep_aspect
        self.sheet_columns = sheet_columns
        self._start()

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run."""
        self._start()

    def on_predict_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Forget an earlier run."""
        self._start()

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw what is within the limit, and keep thumbnails of candidates for the sheet."""
        limit = self.max_per_category and max(1, self.max_per_category // (2 * trainer.world_size))
        for shot in _shots(outputs, batch):
            self._written[shot.category, shot.is_anomalous] += 1
            if limit is None or self._written[shot.category, shot.is_anomalous] <= limit:
                self._write(shot, self.folder / _folder_name(shot.category) / _folder_name(shot.kind))
            if self.sheet_columns:
                entry = (shot.score, shot.path, self._thumbnail(shot))
                self._shortlists.setdefault(shot.category, _Shortlist(self.sheet_columns)).add(entry)

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw every image. Nothing is known about it, so its folder is the category alone."""
        for shot in _shots(outputs, batch):
            self._write(shot, self.folder / _folder_name(shot.category))

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the candidates of all processes and write the sheets."""
        shortlists = _joined(self._shortlists)
        if trainer.is_global_zero:
            for category, shortlist in shortlists.items():
                sheet = contact_sheet(f"{category}: image scores (logit margin)", shortlist.rows())
                _save(sheet, self.folder / f"{_folder_name(category)}.png")
        self._shortlists = {}

    def _start(self) -> None:
        self._written: Counter[tuple[str, bool]] = Counter()
        self._shortlists: dict[str, _Shortlist] = {}
        self._owner: dict[Path, str] = {}

    def _write(self, shot: _Shot, folder: Path) -> None:
        size = fit(self._size(shot), max(_SMALLEST_PANEL_PX, *shot.anomaly_map.shape))
        caption = f"{shot.category} · {shot.kind} · {Path(shot.path).name} · score {shot.score:+.2f}"
        drawn = overlay(
            shot.image, shot.anomaly_map, shot.mask, size=size, value_range=self.value_range, caption=caption
        )
        _save(drawn, self._free_path(folder, Path(shot.path)))

    def _thumbnail(self, shot: _Shot) -> Thumbnail:
        plain = to_picture(shot.image, fit(self._size(shot), _THUMBNAIL_PX))
        heated = heat(plain, shot.anomaly_map, self.value_range)
        if shot.mask is not None and shot.is_anomalous:
            plain, heated = outline(plain, shot.mask), outline(heated, shot.mask)
        return Thumbnail((plain, heated), f"{shot.score:+.2f}  {shot.kind}", shot.is_anomalous)

    def _size(self, shot: _Shot) -> Size:
        source = Path(shot.path)
        if self.keep_aspect and source.is_file():
            return _upright_size(source)
        return shot.anomaly_map.shape[1], shot.anomaly_map.shape[0]

    def _free_path(self, folder: Path, source: Path) -> Path:
        """Name a file after its image; where another image has that name, also after its folder, then with a number."""
        names = (source.stem, f"{source.parent.name}_{source.stem}", *(f"{source.stem}_{n}" for n in range(2, 10_000)))
        path = next(p for p in (folder / f"{name}.png" for name in names) if self._is_free(p, source))
        self._owner[path] = str(source)
        return path

    def _is_free(self, path: Path, source: Path) -> bool:
        return self._owner.get(path, str(source)) == str(source)


@dataclass(frozen=True, slots=True)
class _Shot:
    """One image of a batch, on the CPU."""

    image: Tensor
    anomaly_map: Tensor
    mask: Tensor | None
    score: float
    is_anomalous: bool
    category: str
    kind: str
    path: str


def _shots(prediction: Prediction, batch: Batch) -> Iterator[_Shot]:
    for i, category in enumerate(batch.category):
        is_anomalous = bool(batch.is_anomalous[i])
        yield _Shot(
            image=batch.image[i].cpu(),
            anomaly_map=prediction.map[i].detach().float().cpu(),
            mask=batch.mask[i].cpu() if batch.has_mask[i] else None,
            score=float(prediction.score[i]),
            is_anomalous=is_anomalous,
            category=category,
            kind=batch.defect[i] or ("defective" if is_anomalous else "good"),
            path=batch.path[i],
        )


def _joined(mine: dict[str, _Shortlist]) -> dict[str, _Shortlist]:
    """Join the shortlists of all processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return mine
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, mine)
    joined: defaultdict[str, list[_Shortlist]] = defaultdict(list)
    for shortlists in gathered:
        for category, shortlist in shortlists.items():
            joined[category].append(shortlist)
    for first, *others in joined.values():
        for other in others:
            first.join(other)
    return {category: shortlists[0] for category, shortlists in joined.items()}


def _upright_size(path: Path) -> Size:
    with Image.open(path) as image:
        turned = image.getexif().get(0x0112, 1) >= _SIDEWAYS
        return (image.height, image.width) if turned else image.size


def _folder_name(name: str) -> str:
    """Turn a name from an index into one that stays inside its folder."""
    return re.sub(r"[^\w\-. ]", "_", name).lstrip(".") or "_"


def _save(picture: Picture, path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=4)
    write_whole(path, buffer.getvalue())
