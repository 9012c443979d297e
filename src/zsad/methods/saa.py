"""SAA and SAA+: boxes of words about defects, weighed by saliency and summed.

Y. Cao, X. Xu, C. Sun, Y. Cheng, Z. Du, L. Gao, W. Shen: Segment Any Anomaly without Training via
Hybrid Prompt Regularization. arXiv 2305.10724. Where the paper and its published code differ, this
follows the code, but for its crashes: where no object is found the image is the object, and a
single object is not compared with others.

Legend: B images of H × W pixels, n boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
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
_ROUNDING = 1 + 1e-5  # a mean of float32 numbers exceeds their largest by less than this factor


@dataclass(frozen=True, slots=True)
class Explained:
    """An anomaly map and its parts.

    Attributes:
        raw_map: (H, W) float64 on the CPU, the fused weights as published: 0 where nothing was
            found, not bounded by 1.
        saliency: (H, W) in [0, 1], distance of each place to the rest; ``None`` where it does not
            count.
        objects: The boxes of the object itself, which bound the size of defects; ``None`` where it
            was not looked for.
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
        prompts: Captions for each category.
        box_threshold: Boxes are kept whose best token score is above it.
        text_threshold: Tokens are in the phrase of a box whose score is above it.
        saliency_factor: Masks are weighed with exp(factor · mean saliency inside). Published: 3 in
            the code, 1 in the paper, and nothing of the kind (0) in SAA without "+".
        farthest: Saliency is the mean distance to so many places of the image that are least alike.
        image_px, objects_px: Side in pixels of the saliency network's input: for the image alone,
            and to compare the objects in it.
        fusion: ``code``: weights at a pixel add up and are divided by their number plus 1;
            ``paper``: by their number.
        nms_iou: Defect boxes are dropped that overlap a better box by more; ``None`` (published)
            for duplicates.
        legacy_bgr: Show segmenter and saliency network red and blue exchanged, as the published
            evaluation does.

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
        if nms_iou is not None and not 0 < nms_iou <= 1:
            raise ValueError(
                f"nms_iou={nms_iou}: expected a share above 0, such as 0.9, or null to keep "
                "duplicates"
            )
        require_verb(backbone, "prepare_image", "backbone=grounded_sam")
        check_range(0, 1, box_threshold=box_threshold, text_threshold=text_threshold)
        check_range(1, farthest=farthest, image_px=image_px, objects_px=objects_px)
        self.backbone = backbone
        self.words = prompts
        self.box_threshold = box_threshold
        self.text_threshold = text_threshold
        self.saliency_factor = saliency_factor
        self.farthest = farthest
        self.image_px = image_px
        self.objects_px = objects_px
        self.fusion = fusion
        self.nms_iou = nms_iou
        self.legacy_bgr = legacy_bgr

    def set_dataset(self, dataset: str) -> None:
        """Use the words for the categories of a dataset from now on."""
        self.words.set_dataset(dataset)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1], each with the words for its category.

        The map is the published one divided by the largest weight that a mask can have: saliency of
        features without negative values ends at one half. So all images share one scale; the
        published programs stretch the maps of a category to [0, 1] together, which ranks its images
        and pixels alike. The score is the highest point of the map.
        """
        explained = []
        for one, name in zip(image, category, strict=True):
            explained.append(self.explain(one, name))
        raw_maps = torch.stack([one.raw_map for one in explained])
        maps = raw_maps / math.exp(self.saliency_factor / 2)
        score = maps.flatten(1).amax(dim=1).logit(eps=_LEAST)
        return Prediction(
            maps.clamp(0, 1).float().to(image.device),
            score.float().to(image.device),
            tuple(one.detections for one in explained),
        )

    @torch.no_grad()
    def explain(self, image: Float[Tensor, "3 h w"], category: str) -> Explained:
        """Return the anomaly map of an image in [0, 1] as published, with all its parts."""
        prompts = self.words.prompts(category)
        # The networks have a precision of their own.
        with torch.autocast(image.device.type, enabled=False):
            rgb = image.float()
            grounded = self.backbone.prepare_image(rgb)
            outlined = grounded
            if self.legacy_bgr:
                outlined = self.backbone.prepare_image(rgb.flip(0))
            objects, found = self.search(grounded, prompts)
            heat = None
            if self.saliency_factor:
                heat = self.saliency(outlined, prompts, objects)
            detections = self.weigh(outlined, found, heat, prompts.k_mask)
            raw_map = self.fuse(detections, grounded.size)
            return Explained(raw_map, heat, objects, found, detections)

    def search(
        self, grounded: GroundedImage, prompts: DefectPrompts
    ) -> tuple[BoxCandidates | None, BoxCandidates]:
        """Return the boxes of the object, where something hangs on them, and of its defects.

        Duplicates among the defects are normal.
        """
        captions = [caption for caption, _ in prompts.captions]
        needs_object = prompts.defect_area_threshold is not None or self._compares_objects(prompts)
        objects = None
        if needs_object:
            of_object, *groundings = grounded.detect([prompts.object_prompt, *captions])
            objects = self._filter(of_object, 1 / prompts.object_count)
        else:
            groundings = grounded.detect(captions)
        max_area = _largest(objects) * (prompts.defect_area_threshold or math.inf)
        parts = []
        for grounding, (_, filter_word) in zip(groundings, prompts.captions, strict=True):
            parts.append(self._filter(grounding, max_area, filter_word))
        return objects, without_duplicates(join(parts), self.nms_iou)

    def saliency(
        self, grounded: GroundedImage, prompts: DefectPrompts, objects: BoxCandidates | None
    ) -> Float[Tensor, "h w"]:
        """Return the distance of each place to the other objects, or to the rest of the image."""
        heat = None
        if objects is not None and len(objects) > 1 and self._compares_objects(prompts):
            heat = self._between_objects(grounded, objects)
        if heat is None:
            heat = self._within_image(grounded)
        return upsample(heat[None], grounded.size)[0]

    def weigh(
        self, grounded: GroundedImage, found: BoxCandidates, heat: Tensor | None, k_mask: int | None
    ) -> Detections:
        """Return the heaviest masks of an image, heaviest first; equal ones in the order found.

        Masks are asked for from the best box on. Saliency can raise a weight so far and no further:
        once no other box can reach the ``k_mask`` heaviest so far, the rest is left without a mask.
        """
        corners = found.corners(grounded.size)
        order = found.scores.argsort(descending=True, stable=True)
        rows = order.tolist()
        scores = found.scores.tolist()
        largest_rise = self._largest_rise(heat)
        weights: dict[int, float] = {}
        outlines: dict[int, RunLengths] = {}
        done = 0
        for masks in grounded.masks(corners[order]):
            part = rows[done : done + len(masks)]
            done += len(masks)
            for row, rise in zip(part, self._rises(heat, masks), strict=True):
                weights[row] = scores[row] * rise
            heaviest = _heaviest(weights, k_mask)
            weights = {row: weights[row] for row in heaviest}
            for row, mask in zip(part, masks, strict=True):
                if row in weights:
                    outlines[row] = rle.encode(mask)
            outlines = {row: outlines[row] for row in heaviest}
            if len(weights) == k_mask and done < len(rows):
                best_left = scores[rows[done]] * largest_rise
                if best_left < weights[heaviest[-1]]:
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

    def _filter(
        self, grounding: Grounding, max_area: float, filter_word: str | None = None
    ) -> BoxCandidates:
        return filter_boxes(
            grounding,
            box_threshold=self.box_threshold,
            text_threshold=self.text_threshold,
            max_area=max_area,
            filter_word=filter_word,
        )

    def _compares_objects(self, prompts: DefectPrompts) -> bool:
        return self.saliency_factor > 0 and prompts.object_count > 1

    def _rises(self, heat: Tensor | None, masks: Bool[Tensor, "m h w"]) -> list[float]:
        """Return the factors by which saliency raises the weights of masks."""
        if heat is None:
            return [1.0] * len(masks)
        return (self.saliency_factor * means_inside(heat, masks)).exp().tolist()

    def _largest_rise(self, heat: Tensor | None) -> float:
        if heat is None:
            return 1.0
        return math.exp(self.saliency_factor * float(heat.max())) * _ROUNDING

    def _within_image(self, grounded: GroundedImage) -> Float[Tensor, "h w"]:
        def make() -> Tensor:
            features = saliency.join_stages(grounded.stages(self.image_px))
            return saliency.farthest_mean(features, self.farthest)

        name = f"mean distance to the {self.farthest} farthest places at {self.image_px} px"
        return grounded.cached_result(name, make)

    def _between_objects(
        self, grounded: GroundedImage, objects: BoxCandidates
    ) -> Float[Tensor, "h w"] | None:
        """Return the distance of each place to the other objects; ``None`` of fewer than two.

        Objects that vanish on the network's grid do not count.
        """
        corners = objects.corners(grounded.size)

        def make() -> Tensor:
            features = saliency.join_stages(grounded.stages(self.objects_px))
            grid = (features.shape[1], features.shape[2])
            masks = torch.cat([saliency.on_grid(part, grid) for part in grounded.masks(corners)])
            if len(masks) < 2:
                return features.new_zeros(0, 0)
            return saliency.between_objects(features, masks)

        name = f"distance between objects at {self.objects_px} px: {corners.tolist()}"
        heat = grounded.cached_result(name, make)
        return heat if heat.numel() else None


def _heaviest(weights: dict[int, float], count: int | None) -> list[int]:
    """Return the rows of the heaviest masks; of equal ones the first."""
    return sorted(weights, key=lambda row: (-weights[row], row))[:count]


def _largest(objects: BoxCandidates | None) -> float:
    """Return the largest object box's share of the image; all of it where none was found."""
    if objects is None or not len(objects):
        return 1.0
    return float(objects.areas.max())
