"""DOT-Prompt: a tagger names the object, words say what may be wrong with it, detector and segmenter find that.

Published as image-aware prompts, IAP-AS (arXiv 2504.13560). The code was published without scores, so there is nothing
to compare with; where it is at odds with itself, an argument says what is done here instead.

Legend: B images of H × W pixels, n boxes, h × w pixels of one image.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zsad.backbones.grounded.grounding import Grounding
from zsad.backbones.grounded.grounding_dino import normalize_caption
from zsad.functional import regions, rle
from zsad.functional.resample import min_max
from zsad.methods.box_filter import (
    BoxCandidates,
    check_range,
    clean_phrase,
    filter_boxes,
    require_verb,
)
from zsad.prompts.defect_vocabulary import Words, to_phrase
from zsad.types import Detections, Prediction, RunLengths

log = logging.getLogger(__name__)

FUSIONS = {
    "sum": regions.MaskFusion.total,
    "mean": regions.MaskFusion.paper,
    "max": regions.MaskFusion.peak,
}
SEPARATORS = {
    ".": ("", ". "),
    ",": (" . ", ", "),
}  # what a caption begins with, and what divides its words
NORMALIZATIONS = ("none", "image")
WHOLE_IMAGE = 1.0  # the area of an object that is not found
_CERTAIN = 1e-6  # keeps scores finite


@runtime_checkable
class Tagger(Protocol):
    """Whoever says what is in a picture."""

    def tags(self, image: Tensor, category: str) -> list[str]:
        """Return words, in order."""
        ...


@runtime_checkable
class Language(Protocol):
    """Whoever says what may be wrong with an object."""

    def words(self, tag: str, category: str = "") -> Words:
        """Return words to look for."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is in pictures, and what is looked for in them.

    Attributes:
        tag: What the object is called.
        caption: What the detector is asked to find.
        source: Where the words of the caption come from: ``table``, or a language model.
    """

    tag: str
    caption: str
    source: str


class DOTPrompt(nn.Module):
    """Find by name what may be wrong with an object that was named from pictures.

    Without references every test image is tagged by itself. A few-shot test (``k_shot``) shows normal images of each
    category first, and then all its test images have the caption that was decided from those.

    Args:
        backbone: Detector and segmenter; ``look(image)`` gives what they say of an image.
        language: Names what may be wrong with an object.
        tagger: Names what is in a picture; the detector's best box among these names is the object. ``None`` takes the
            name of the category for the object.
        box_threshold: Boxes count whose best token score is above it.
        text_threshold: Tokens above it make the phrase of a box.
        nms_iou: A box goes that overlaps a better one by more than this; ``None`` keeps all.
        size_threshold: A box counts as defect if its area is below this share of the object's. ``None``: any size.
        separator: ``.`` lets the detector look for each word by itself; ``,`` as published makes one phrase of all,
            in which words mix.
        name_object: Put the object at the end of the caption, where it catches boxes of the whole object.
        fusion: Masks are joined by the ``sum`` of their scores (published), which duplicates raise, their ``mean`` or
            their ``max``.
        normalization: ``image`` (published) stretches each map to [0, 1], so that every image with a box scores alike
            and pixels of different images cannot be compared; ``none`` leaves values comparable, a sum s as s/(1+s).
        names: What a category is called, where that is not its own name: ``mtd: magnetic tile``.

    Raises:
        ValueError: If ``separator``, ``fusion`` or ``normalization`` is none of these, or a number out of its range.
    """

    def __init__(
        self,
        backbone: nn.Module,
        language: Language,
        tagger: Tagger | None = None,
        *,
        box_threshold: float = 0.1,
        text_threshold: float = 0.1,
        nms_iou: float | None = 0.5,
        size_threshold: float | None = 0.8,
        separator: str = ".",
        name_object: bool = True,
        fusion: str = "sum",
        normalization: str = "none",
        names: Mapping[str, str] = {},
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("separator", separator, SEPARATORS),
            ("fusion", fusion, FUSIONS),
            ("normalization", normalization, NORMALIZATIONS),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, known))}")
        require_verb(backbone, "prepare_image", "backbone=grounded_sam")
        check_range(0, 1, box_threshold=box_threshold, text_threshold=text_threshold)
        check_range(0, nms_iou=1 if nms_iou is None else nms_iou)
        check_range(0, size_threshold=1 if size_threshold is None else size_threshold)
        self.backbone: Any = backbone
        self.language = language
        self.tagger = tagger
        self.box_threshold, self.text_threshold, self.nms_iou = (
            box_threshold,
            text_threshold,
            nms_iou,
        )
        self.size_threshold = size_threshold
        self.separator, self.name_object = separator, name_object
        self.fusion, self.normalization = fusion, normalization
        self.names = dict(names)
        self._subjects: dict[str, list[Subject]] = {}  # of each category, in order of appearance
        self._references: dict[str, Subject] = {}

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Look for defects in images at their own size, RGB in [0, 1], each with the caption of its own object."""
        judged = [self._judge(one, name) for one, name in zip(image, category, strict=True)]
        maps, detections = [one for one, _ in judged], tuple(found for _, found in judged)
        score = torch.stack([one.amax() for one in maps]).clamp(_CERTAIN, 1 - _CERTAIN).logit()
        return Prediction(torch.stack(maps).float(), score.float(), detections)

    @torch.no_grad()
    def set_references(self, category: str, images: Sequence[Float[Tensor, "3 _ _"]]) -> None:
        """Decide from normal images what a category shows, and what is looked for in all its test images."""
        self._references[category] = self._subject(
            [(image, self.backbone.prepare_image(image)) for image in images], category
        )

    def clear_references(self) -> None:
        """Forget what was decided of an earlier dataset."""
        self._subjects, self._references = {}, {}

    def captions_used(self) -> dict[str, list[dict[str, str]]]:
        """Return the captions of each category, in order of appearance: ``tag``, ``caption``, ``source`` of each."""
        return {
            category: [asdict(subject) for subject in subjects]
            for category, subjects in self._subjects.items()
        }

    def object_tag(self, grounded: Sequence[tuple[Grounding, Sequence[str]]], category: str) -> str:
        """Return what the object is called: the tag of the best box over all images; the category's name without one.

        Args:
            grounded: For each image what the detector says of its tags, and the tags.
            category: What the images show.
        """
        named: dict[str, float] = {}
        for grounding, tags in grounded:
            if len(found := self.best(grounding)):
                tag = best_tag(grounding, tags)
                named[tag] = max(float(found.scores[0]), named.get(tag, 0.0))
        return max(named, key=named.__getitem__) if named else self._name(category)

    def caption(self, words: Sequence[str], tag: str) -> str:
        """Return what the detector is asked: the words, and the object at the end."""
        before, between = SEPARATORS[self.separator]
        if not self.name_object:
            return normalize_caption(between.join(words))
        return normalize_caption(before + between.join(dict.fromkeys([*words, tag])))

    def boxes(self, grounding: Grounding, size: tuple[int, int]) -> BoxCandidates:
        """Return the boxes that count, best first and without near duplicates.

        Args:
            grounding: What the detector says of a caption.
            size: Height and width of the image.
        """
        found = self._certain(grounding)
        overlap = math.inf if self.nms_iou is None else self.nms_iou
        return found.select(regions.suppress_overlaps(found.corners(size), found.scores, overlap))

    def best(self, grounding: Grounding) -> BoxCandidates:
        """Return the best box alone; none where no box counts."""
        found = self._certain(grounding)
        return found.select(found.scores.argsort(descending=True, stable=True)[:1])

    def object_area(self, grounding: Grounding) -> float:
        """Return which share of the image the best box of the object covers; 1 where no box counts.

        A box may reach beyond the image, and then cover more than all of it.
        """
        found = self.best(grounding)
        return float(found.areas[0]) if len(found) else WHOLE_IMAGE

    def defects(self, found: BoxCandidates, object_area: float) -> BoxCandidates:
        """Return the boxes that are small enough to be a defect of an object of this area."""
        if self.size_threshold is None:
            return found
        return found.select(
            (found.areas.cpu().double() < self.size_threshold * object_area).nonzero()[:, 0]
        )

    def fused(
        self, look: Any, found: BoxCandidates
    ) -> tuple[Float[Tensor, "h w"], tuple[RunLengths, ...]]:
        """Return the masks of all boxes joined to one map, weighted by their scores; and the masks themselves.

        No box, or an empty mask of each, gives zeros.
        """
        height, width = look.size
        inside = found.corners(look.size).clamp(min=0)
        inside = torch.minimum(inside, inside.new_tensor([width, height, width, height]))
        fusion, runs = regions.MaskFusion(look.size, found.boxes.device), []
        for masks in look.masks(inside) if len(found) else ():
            fusion.add(masks, found.scores[len(runs) : len(runs) + len(masks)])
            runs += [rle.encode(mask) for mask in masks]
        return FUSIONS[self.fusion](fusion), tuple(runs)

    def scaled(self, fused: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Bring a map of joined masks into [0, 1], its order kept; stretched, a constant one is 0."""
        if self.normalization == "image":
            return min_max(fused[None])[0]
        return fused / (1 + fused) if self.fusion == "sum" else fused

    def _certain(self, grounding: Grounding) -> BoxCandidates:
        return filter_boxes(
            grounding, box_threshold=self.box_threshold, text_threshold=self.text_threshold
        )

    def _judge(
        self, image: Float[Tensor, "3 h w"], category: str
    ) -> tuple[Float[Tensor, "h w"], Detections]:
        look = self.backbone.prepare_image(image)
        subject = self._references.get(category) or self._subject([(image, look)], category)
        captions = [
            subject.caption,
            *([] if self.size_threshold is None else [normalize_caption(subject.tag)]),
        ]
        anomalies, *objects = look.detect(captions)
        area = self.object_area(objects[0]) if objects else WHOLE_IMAGE
        found = self.defects(self.boxes(anomalies, look.size), area)
        fused, runs = self.fused(look, found)
        phrases = tuple(map(clean_phrase, found.phrases))
        boxes, scores = found.corners(look.size).float().cpu(), found.scores.float().cpu()
        return self.scaled(fused), Detections(boxes, scores, phrases, runs)

    def _subject(self, shown: Sequence[tuple[Tensor, Any]], category: str) -> Subject:
        """Decide what pictures of a category show, and what is looked for in them."""
        tag = self._name(category)
        if self.tagger is not None:
            tagged = [
                (look, self.tagger.tags(image, self._name(category))) for image, look in shown
            ]
            asked = [
                (look.detect([normalize_caption(". ".join(tags))])[0], tags)
                for look, tags in tagged
                if tags
            ]
            tag = self.object_tag(asked, category)
        words = self.language.words(tag, self._name(category))
        subject = Subject(tag, self.caption(words.words, tag), words.source)
        self._note(category, subject)
        return subject

    def _note(self, category: str, subject: Subject) -> None:
        known = self._subjects.setdefault(category, [])
        if subject not in known:
            level = logging.DEBUG if known else logging.INFO
            log.log(
                level, "%s: looks like %r, asked for %r", category, subject.tag, subject.caption
            )
            known.append(subject)

    def _name(self, category: str) -> str:
        return self.names.get(category, to_phrase(category))


def best_tag(grounding: Grounding, tags: Sequence[str]) -> str:
    """Return the tag of the token that fits the best box best.

    The published code takes the phrase of the box, which may be half a tag, or several, or a full stop.
    """
    row = grounding.token_scores[
        grounding.token_scores.amax(dim=1).argsort(descending=True, stable=True)[0]
    ]
    ids = grounding.token_ids.tolist()
    scores = row[: len(ids)].tolist()
    pieces = [re.sub(r"\[\w+\]|[\W_]", "", grounding.decode([one])).lower() for one in ids]

    def fit(tag: str) -> float:
        return math.fsum(
            score
            for score, piece in zip(scores, pieces, strict=True)
            if piece in tag.lower().split()
        )

    for column in sorted(range(len(ids)), key=scores.__getitem__, reverse=True):
        fitting = [tag for tag in tags if pieces[column] and pieces[column] in tag.lower()]
        if fitting:
            return max(fitting, key=fit)  # one word may stand in several tags
    return tags[0]
