"""DOT-Prompt: a tagger names the object, words name its defects, detector and segmenter find them.

Published as image-aware prompts, IAP-AS (arXiv 2504.13560). The code was published without scores,
so there is nothing to compare with; where it is at odds with itself, an argument decides.

Legend: B images of H × W pixels, n boxes, h × w pixels of one image.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

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
from zsad.methods.dot_captions import SEPARATORS, Language, Subject, Tagger, best_tag, make_caption
from zsad.prompts.defect_vocabulary import to_phrase
from zsad.types import Detections, Prediction, RunLengths

log = logging.getLogger(__name__)

FUSIONS = {
    "sum": regions.MaskFusion.total,
    "mean": regions.MaskFusion.paper,
    "max": regions.MaskFusion.peak,
}
NORMALIZATIONS = ("none", "image")
WHOLE_IMAGE = 1.0  # the area of an object that is not found
_CERTAIN = 1e-6  # keeps scores finite


class DOTPrompt(nn.Module):
    """Find defects by name on an object that a tagger names.

    Without references every test image is tagged by itself. A few-shot test (``k_shot``) shows
    normal images of each category first, and then all its test images have the caption that was
    decided from those.

    Args:
        backbone: Detector and segmenter, asked through ``prepare_image(image)``.
        language: Names the possible defects of an object.
        tagger: Names the things in an image; the detector's best box among these names is the
            object. ``None`` takes the name of the category for the object.
        box_threshold: Boxes count whose best token score is above it.
        text_threshold: Tokens above it make the phrase of a box.
        nms_iou: A box goes that overlaps a better box by more than this; ``None`` keeps all.
        size_threshold: A box counts as defect if its area is below this share of the object's.
            ``None``: any size.
        separator: ``.`` lets the detector look for each word by itself; ``,`` as published makes
            one phrase of all, in which words mix.
        name_object: Put the object at the end of the caption, where it catches boxes of the whole
            object.
        fusion: Masks are joined by the ``sum`` of their scores (published), which duplicates raise,
            their ``mean`` or their ``max``.
        normalization: ``image`` (published) stretches each map to [0, 1], so that every image with
            a box scores alike and pixels of different images cannot be compared; ``none`` leaves
            values comparable, a sum s as s/(1+s).
        names: Spoken names of categories, where these are not their own: ``mtd: magnetic tile``.

    Raises:
        ValueError: If ``separator``, ``fusion`` or ``normalization`` is none of these, or a number
            out of its range.
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
        _check_choice("separator", separator, SEPARATORS)
        _check_choice("fusion", fusion, FUSIONS)
        _check_choice("normalization", normalization, NORMALIZATIONS)
        require_verb(backbone, "prepare_image", "backbone=grounded_sam")
        check_range(0, 1, box_threshold=box_threshold, text_threshold=text_threshold)
        check_range(0, nms_iou=1 if nms_iou is None else nms_iou)
        check_range(0, size_threshold=1 if size_threshold is None else size_threshold)
        self.backbone: Any = backbone
        self.language = language
        self.tagger = tagger
        self.box_threshold = box_threshold
        self.text_threshold = text_threshold
        self.nms_iou = nms_iou
        self.size_threshold = size_threshold
        self.separator = separator
        self.name_object = name_object
        self.fusion = fusion
        self.normalization = normalization
        self.names = dict(names)
        self._subjects: dict[str, list[Subject]] = {}  # of each category, in order of appearance
        self._of_references: dict[str, Subject] = {}

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Find defects in images at their own size, RGB in [0, 1].

        Each is searched with the caption of its own object.
        """
        maps = []
        detections = []
        for one, name in zip(image, category, strict=True):
            anomaly_map, found = self._detect(one, name)
            maps.append(anomaly_map)
            detections.append(found)
        peaks = torch.stack([anomaly_map.amax() for anomaly_map in maps])
        score = peaks.clamp(_CERTAIN, 1 - _CERTAIN).logit()
        return Prediction(torch.stack(maps).float(), score.float(), tuple(detections))

    @torch.no_grad()
    def set_references(self, category: str, images: Sequence[Float[Tensor, "3 _ _"]]) -> None:
        """Choose the caption for all test images of a category from normal images of it."""
        shown = [(image, self.backbone.prepare_image(image)) for image in images]
        self._of_references[category] = self._choose_subject(shown, category)

    def clear_references(self) -> None:
        """Drop the captions of an earlier dataset."""
        self._subjects = {}
        self._of_references = {}

    def captions_used(self) -> dict[str, list[dict[str, str]]]:
        """Return the captions of each category, in order of appearance."""
        captions = {}
        for category, subjects in self._subjects.items():
            captions[category] = [asdict(subject) for subject in subjects]
        return captions

    def object_tag(self, grounded: Sequence[tuple[Grounding, Sequence[str]]], category: str) -> str:
        """Return the name of the object: the tag of the best box over all images.

        Without a box it is the name of the category.

        Args:
            grounded: For each image the detector's answer to its tags, and the tags.
            category: Category of the images.
        """
        best_scores: dict[str, float] = {}
        for grounding, tags in grounded:
            best = self.best_box(grounding)
            if len(best):
                tag = best_tag(grounding, tags)
                best_scores[tag] = max(float(best.scores[0]), best_scores.get(tag, 0.0))
        if not best_scores:
            return self._name(category)
        return max(best_scores, key=best_scores.__getitem__)

    def caption(self, words: Sequence[str], tag: str) -> str:
        """Return the question to the detector: the words, and the object at the end."""
        named = tag if self.name_object else None
        return make_caption(words, named, self.separator)

    def select_boxes(self, grounding: Grounding, size: tuple[int, int]) -> BoxCandidates:
        """Return the boxes that count, best first and without near duplicates.

        Args:
            grounding: The detector's answer to a caption.
            size: Height and width of the image.
        """
        found = self._filter(grounding)
        overlap = math.inf if self.nms_iou is None else self.nms_iou
        remaining = regions.suppress_overlaps(found.corners(size), found.scores, overlap)
        return found.select(remaining)

    def best_box(self, grounding: Grounding) -> BoxCandidates:
        """Return the best box alone; none where no box counts."""
        found = self._filter(grounding)
        order = found.scores.argsort(descending=True, stable=True)
        return found.select(order[:1])

    def object_area(self, grounding: Grounding) -> float:
        """Return the share of the image that the object's best box covers; 1 where no box counts.

        A box may reach beyond the image, and then cover more than all of it.
        """
        best = self.best_box(grounding)
        return float(best.areas[0]) if len(best) else WHOLE_IMAGE

    def select_small(self, found: BoxCandidates, object_area: float) -> BoxCandidates:
        """Return the boxes that are small enough to be a defect of an object of this area."""
        if self.size_threshold is None:
            return found
        is_small = found.areas.cpu().double() < self.size_threshold * object_area
        return found.select(is_small.nonzero()[:, 0])

    def fuse(
        self, grounded: Any, found: BoxCandidates
    ) -> tuple[Float[Tensor, "h w"], tuple[RunLengths, ...]]:
        """Return the masks of all boxes joined to one map, weighted by their scores; and the masks.

        No box, or an empty mask of each, gives zeros.
        """
        fusion = regions.MaskFusion(grounded.size, found.boxes.device)
        runs: list[RunLengths] = []
        if len(found):
            height, width = grounded.size
            corners = found.corners(grounded.size).clamp(min=0)
            inside = torch.minimum(corners, corners.new_tensor([width, height, width, height]))
            for masks in grounded.masks(inside):
                scores = found.scores[len(runs) : len(runs) + len(masks)]
                fusion.add(masks, scores)
                runs.extend(rle.encode(mask) for mask in masks)
        return FUSIONS[self.fusion](fusion), tuple(runs)

    def normalize_map(self, fused: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Bring a map of joined masks into [0, 1]; its order stays. A stretched constant is 0."""
        if self.normalization == "image":
            return min_max(fused[None])[0]
        if self.fusion == "sum":
            return fused / (1 + fused)
        return fused

    def _filter(self, grounding: Grounding) -> BoxCandidates:
        return filter_boxes(
            grounding, box_threshold=self.box_threshold, text_threshold=self.text_threshold
        )

    def _detect(
        self, image: Float[Tensor, "3 h w"], category: str
    ) -> tuple[Float[Tensor, "h w"], Detections]:
        """Return the anomaly map of an image, and the boxes that made it."""
        grounded = self.backbone.prepare_image(image)
        subject = self._of_references.get(category)
        if subject is None:
            subject = self._choose_subject([(image, grounded)], category)
        captions = [subject.caption]
        if self.size_threshold is not None:
            captions.append(normalize_caption(subject.tag))
        of_defects, *of_object = grounded.detect(captions)
        area = self.object_area(of_object[0]) if of_object else WHOLE_IMAGE
        found = self.select_small(self.select_boxes(of_defects, grounded.size), area)
        fused, runs = self.fuse(grounded, found)
        detections = Detections(
            found.corners(grounded.size).float().cpu(),
            found.scores.float().cpu(),
            tuple(clean_phrase(phrase) for phrase in found.phrases),
            runs,
        )
        return self.normalize_map(fused), detections

    def _choose_subject(self, shown: Sequence[tuple[Tensor, Any]], category: str) -> Subject:
        """Name the object of a category's images, and choose the caption for its defects.

        Args:
            shown: Images, each as pixels and as the backbone prepared it.
            category: Their category.
        """
        name = self._name(category)
        tag = name if self.tagger is None else self._tag(self.tagger, shown, category)
        words = self.language.words(tag, name)
        subject = Subject(tag, self.caption(words.words, tag), words.source)
        self._note(category, subject)
        return subject

    def _tag(self, tagger: Tagger, shown: Sequence[tuple[Tensor, Any]], category: str) -> str:
        name = self._name(category)
        # All images are tagged before the detector runs.
        tagged = [(grounded, tagger.tags(image, name)) for image, grounded in shown]
        answers = []
        for grounded, tags in tagged:
            if tags:
                (grounding,) = grounded.detect([normalize_caption(". ".join(tags))])
                answers.append((grounding, tags))
        return self.object_tag(answers, category)

    def _note(self, category: str, subject: Subject) -> None:
        known = self._subjects.setdefault(category, [])
        if subject in known:
            return
        level = logging.DEBUG if known else logging.INFO
        log.log(level, "%s: object %r, caption %r", category, subject.tag, subject.caption)
        known.append(subject)

    def _name(self, category: str) -> str:
        return self.names.get(category, to_phrase(category))


def _check_choice(name: str, value: str, choices: Sequence[str] | Mapping[str, Any]) -> None:
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name}={value!r}: expected one of {known}")
