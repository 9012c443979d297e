"""SAA and SAA+: boxes that a detector finds for words about defects, outlined, weighed by saliency, and added up.

Y. Cao, X. Xu, C. Sun, Y. Cheng, Z. Du, L. Gao, W. Shen: Segment Any Anomaly without Training via Hybrid Prompt
Regularization. arXiv 2305.10724. Where the paper and its published code differ, this follows the code, but for its
crashes: where no object is found the image is the object, and one object alone is not compared with others.

Legend: B images of H × W pixels, n boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zsad.backbones.grounded.grounded_sam import GroundedImage, GroundedSAM
from zsad.backbones.grounded.grounding import Grounding
from zsad.functional import rle, saliency
from zsad.functional.regions import MaskFusion, means_inside
from zsad.functional.resample import upsample
from zsad.methods.box_filter import (
    BoxCandidates,
    check_range,
    clean_phrase,
    filter_boxes,
    join,
    require_verb,
    without_duplicates,
)
from zsad.prompts.saa_captions import DefectPrompts, DefectWords
from zsad.types import Detections, Prediction, RunLengths

FUSIONS = {"code": MaskFusion.code, "paper": MaskFusion.paper}
_LEAST = 1e-6  # a probability of 0 has no finite logit
_ROUNDING = 1 + 1e-5  # what a mean of float32 numbers may exceed their largest by, and more


@dataclass(frozen=True, slots=True)
class Explained:
    """An anomaly map and what it was made of.

    Attributes:
        raw_map: (H, W) float64 on the CPU, the fused weights as published: 0 where nothing was found, not bounded by 1.
        saliency: (H, W) in [0, 1], how unlike the rest each place is; ``None`` where it does not count.
        objects: The boxes of the object itself, which bound the size of defects; ``None`` where nobody looked.
        found: All boxes of defects.
        detections: Those whose masks made the map, heaviest first.
    """

    raw_map: Tensor
    saliency: Tensor | None
    objects: BoxCandidates | None
    found: BoxCandidates
    detections: Detections


class SAA(nn.Module):
    """Segment any anomaly by words, without training.

    Args:
        backbone: Detector, segmenter and saliency network.
        prompts: What to look for.
        box_threshold: Boxes are kept whose best token score is above it.
        text_threshold: Tokens are in the phrase of a box whose score is above it.
        saliency_factor: Masks are weighed with exp(factor · mean saliency inside). Published: 3 in the code, 1 in the
            paper, and nothing of the kind (0) in SAA without "+".
        farthest: Saliency is the mean distance to so many places of the image that are least alike.
        image_px, objects_px: Side in pixels at which the saliency network sees the image: alone, and to compare the
            objects in it.
        fusion: ``code``: weights at a pixel add up and are divided by one more than their number; ``paper``: by their
            number.
        nms_iou: Defect boxes are dropped that overlap a better one by more; ``None`` (published) for duplicates.
        legacy_bgr: Show segmenter and saliency network red and blue exchanged, as the published evaluation does.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self,
        backbone: GroundedSAM,
        prompts: DefectWords,
        *,
        box_threshold: float = 0.1,
        text_threshold: float = 0.1,
        saliency_factor: float = 3.0,
        farthest: int = 400,
        image_px: int = 256,
        objects_px: int = 1024,
        fusion: str = "code",
        nms_iou: float | None = None,
        legacy_bgr: bool = False,
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion={fusion!r}: expected one of {', '.join(FUSIONS)}")
        if saliency_factor < 0:
            raise ValueError(
                f"saliency_factor={saliency_factor}: expected 0 (saliency does not count) or more"
            )
        require_verb(backbone, "prepare_image", "backbone=grounded_sam")
        check_range(0, 1, box_threshold=box_threshold, text_threshold=text_threshold)
        check_range(1, farthest=farthest, image_px=image_px, objects_px=objects_px)
        if nms_iou is not None and not 0 < nms_iou <= 1:
            raise ValueError(
                f"nms_iou={nms_iou}: expected a share above 0, such as 0.9, or null to keep duplicates"
            )
        self.backbone = backbone
        self.words = prompts
        self.box_threshold = box_threshold
        self.text_threshold = text_threshold
        self.saliency_factor = saliency_factor
        self.farthest = farthest
        self.image_px, self.objects_px = image_px, objects_px
        self.fusion = fusion
        self.nms_iou = nms_iou
        self.legacy_bgr = legacy_bgr

    def set_dataset(self, dataset: str) -> None:
        """Speak of the categories of a dataset from now on."""
        self.words.set_dataset(dataset)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1], each with the words for its category.

        The map is the published one divided by the largest weight that a mask can have: saliency of features without
        negative values ends at one half. So all images share one scale; the published programs stretch the maps of a
        category to [0, 1] together, which ranks its images and pixels alike. The score is the highest point of the map.
        """
        explained = [self.explain(one, name) for one, name in zip(image, category, strict=True)]
        maps = torch.stack([one.raw_map for one in explained]) / math.exp(self.saliency_factor / 2)
        score = maps.flatten(1).amax(dim=1).logit(eps=_LEAST)
        return Prediction(
            maps.clamp(0, 1).float().to(image.device),
            score.float().to(image.device),
            tuple(one.detections for one in explained),
        )

    @torch.no_grad()
    def explain(self, image: Float[Tensor, "3 h w"], category: str) -> Explained:
        """Return the anomaly map of an image in [0, 1] as published, and all that it was made of."""
        prompts = self.words.prompts(category)
        with torch.autocast(
            image.device.type, enabled=False
        ):  # the networks have a precision of their own
            look = self.backbone.prepare_image(image.float())
            drawn = self.backbone.prepare_image(image.float().flip(0)) if self.legacy_bgr else look
            objects, found = self.search(look, prompts)
            heat = self.saliency(drawn, prompts, objects) if self.saliency_factor else None
            detections = self.weigh(drawn, found, heat, prompts.k_mask)
            return Explained(self.fuse(detections, look.size), heat, objects, found, detections)

    def search(
        self, look: GroundedImage, prompts: DefectPrompts
    ) -> tuple[BoxCandidates | None, BoxCandidates]:
        """Return the boxes of the object, where something hangs on them, and of its defects; duplicates are normal."""
        captions = [caption for caption, _ in prompts.captions]
        if prompts.defect_area_threshold is None and not self._compares_objects(prompts):
            objects, said = None, look.detect(captions)
        else:
            of_object, *said = look.detect([prompts.object_prompt, *captions])
            objects = self._find(of_object, 1 / prompts.object_count)
        max_area = _largest(objects) * (prompts.defect_area_threshold or math.inf)
        parts = [
            self._find(one, max_area, word)
            for one, (_, word) in zip(said, prompts.captions, strict=True)
        ]
        return objects, without_duplicates(join(parts), self.nms_iou)

    def saliency(
        self, look: GroundedImage, prompts: DefectPrompts, objects: BoxCandidates | None
    ) -> Float[Tensor, "h w"]:
        """Return how unlike the other objects, or the rest of the image, each place is."""
        heat = None
        if objects is not None and self._compares_objects(prompts) and len(objects) > 1:
            heat = self._between_objects(look, objects)
        return upsample((self._within_image(look) if heat is None else heat)[None], look.size)[0]

    def weigh(
        self, look: GroundedImage, found: BoxCandidates, heat: Tensor | None, k_mask: int | None
    ) -> Detections:
        """Return the heaviest masks of an image, heaviest first; of equal ones those found first.

        Masks are asked for from the best box on. Saliency can raise a weight so far and no further: once the
        ``k_mask`` heaviest of those seen cannot be reached any more, the other boxes are left without a mask.
        """
        corners = found.corners(look.size)
        order = found.scores.argsort(descending=True, stable=True)
        rows, scores = order.tolist(), found.scores.tolist()
        reach = (
            1.0 if heat is None else math.exp(self.saliency_factor * float(heat.max())) * _ROUNDING
        )
        weights: dict[int, float] = {}
        outlines: dict[int, RunLengths] = {}
        seen = 0
        for masks in look.masks(corners[order]):
            part = rows[seen : seen + len(masks)]
            seen += len(masks)
            rise = (
                torch.ones(len(masks))
                if heat is None
                else (self.saliency_factor * means_inside(heat, masks)).exp()
            )
            weights |= {
                row: scores[row] * one for row, one in zip(part, rise.tolist(), strict=True)
            }
            heaviest = sorted(weights, key=lambda row: (-weights[row], row))[:k_mask]
            weights = {row: weights[row] for row in heaviest}
            new = {
                row: rle.encode(mask)
                for row, mask in zip(part, masks, strict=True)
                if row in weights
            }
            outlines = {row: new[row] if row in new else outlines[row] for row in heaviest}
            if (
                len(weights) == k_mask
                and seen < len(rows)
                and scores[rows[seen]] * reach < weights[heaviest[-1]]
            ):
                break
        return Detections(
            corners[list(weights)].cpu(),
            torch.tensor(list(weights.values()), dtype=torch.float32),
            tuple(clean_phrase(found.phrases[row]) for row in weights),
            tuple(outlines.values()),
        )

    def fuse(self, detections: Detections, size: tuple[int, int]) -> Float[Tensor, "h w"]:
        """Return the map of some weighted masks, in float64; zeros where there are none."""
        fusion = MaskFusion(size)
        for mask, weight in zip(detections.masks, detections.scores, strict=True):
            fusion.add(rle.decode(mask)[None], weight[None])
        return FUSIONS[self.fusion](fusion)

    def _find(self, said: Grounding, max_area: float, word: str | None = None) -> BoxCandidates:
        return filter_boxes(
            said,
            box_threshold=self.box_threshold,
            text_threshold=self.text_threshold,
            max_area=max_area,
            filter_word=word,
        )

    def _compares_objects(self, prompts: DefectPrompts) -> bool:
        return self.saliency_factor > 0 and prompts.object_count > 1

    def _within_image(self, look: GroundedImage) -> Float[Tensor, "h w"]:
        def make() -> Tensor:
            return saliency.farthest_mean(
                saliency.join_stages(look.stages(self.image_px)), self.farthest
            )

        return look.cached_result(
            f"mean distance to the {self.farthest} farthest places at {self.image_px} px", make
        )

    def _between_objects(
        self, look: GroundedImage, objects: BoxCandidates
    ) -> Float[Tensor, "h w"] | None:
        """Return how unlike the others each object is; ``None`` where fewer than two are visible to the network."""
        corners = objects.corners(look.size)

        def make() -> Tensor:
            features = saliency.join_stages(look.stages(self.objects_px))
            grid = (features.shape[1], features.shape[2])
            masks = torch.cat([saliency.on_grid(part, grid) for part in look.masks(corners)])
            return (
                saliency.between_objects(features, masks)
                if len(masks) > 1
                else features.new_zeros(0, 0)
            )

        heat = look.cached_result(
            f"distance between objects at {self.objects_px} px: {corners.tolist()}", make
        )
        return heat if heat.numel() else None


def _largest(objects: BoxCandidates | None) -> float:
    """Return the share of the image that the largest object box covers; all of it where none was found."""
    return float(objects.areas.max()) if objects is not None and len(objects) else 1.0
