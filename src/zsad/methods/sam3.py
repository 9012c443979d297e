"""SAM 3 asked for defects by name: soft maps, with the boxes and masks that explain them.

No paper: a design from the outputs of SAM 3 (Carion et al. 2025), with the prompt strategies of a
published demonstration. Where SAM 3 finds none of the words, map and score go to zero with its own
presence probability.

Legend: B images, p prompts, k queries, v learned vectors, D width of SAM 3's head, h × w pixels of
its maps, H × W of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zsad.backbones.sam3.head import Concepts, ImageFeatures
from zsad.backbones.sam3.segmenter import SAM3Segmenter
from zsad.functional import losses, regions, rle
from zsad.functional.reductions import REDUCE, probability_margin
from zsad.functional.resample import upsample
from zsad.methods.box_filter import check_range, require_verb
from zsad.prompts.sam3_phrases import ConceptPrompts
from zsad.types import Batch, Detections, Prediction

IMAGE_SCORES = ("both", "instance", "map")
PEAK_SHARE = 1e-3  # of a map's pixels, whose mean is its peak
IS_PRESENT = 0.5  # presence of the object from which on it gates the map
MOST_DETECTIONS = 100
# Learned vectors are new, all else was trained: they learn ten times as fast. Adam's steps have the
# size of the learning rate, whatever the gradient's: a factor on the parameter is one on its rate.
LEARNED_VECTOR_LR_SCALE = 10.0
_SPREAD = 0.02  # of learned vectors, before they learn


class SAM3(nn.Module):
    """Look for p concepts in every image, and join the findings to one map.

    For each concept: α · presence · semantic map + (1 - α) · the best, pixel by pixel, of its
    instances' masks, each times its own probability; then ``reduce`` over the concepts.

    Trains SAM 3's head, if asked to; and works without.

    Args:
        backbone: SAM 3.
        prompts: Concepts of each category.
        alpha: Share of the semantic map.
        reduce: Over concepts: ``max``, ``mean``, ``noisy_or``, or ``top3``, the mean of the three
            largest.
        top_queries: So many instances of each concept have masks.
        image_score: ``instance``, the probability of the best instance; ``map``, the mean of the
            highest thousandth of the map; ``both``, the larger.
        gate: Ask for the category itself, too, and keep to its pixels. Textures are left alone, and
            images in which SAM 3 does not find the category.
        confidence_threshold: Instances above it are reported as detections. Maps and scores do not
            depend on it.
        iou_threshold: Of two that overlap more, the better one is reported.
        train_head: Train the head: encoder, decoder, scorer, masks and the projection of the words.
        learned_vectors: Number of learned vectors that join the words of every prompt. Untrained
            vectors are masked out.

    Raises:
        ValueError: If ``reduce`` or ``image_score`` is none of these, or a number out of its range.
    """

    start: Tensor

    def __init__(
        self,
        backbone: SAM3Segmenter,
        prompts: ConceptPrompts,
        *,
        alpha: float = 0.5,
        reduce: str = "max",
        top_queries: int = 20,
        image_score: str = "both",
        gate: bool = False,
        confidence_threshold: float = 0.5,
        iou_threshold: float = 0.5,
        train_head: bool = True,
        learned_vectors: int = 0,
    ) -> None:
        super().__init__()
        if reduce not in REDUCE:
            raise ValueError(f"reduce={reduce!r}: expected one of {', '.join(REDUCE)}")
        if image_score not in IMAGE_SCORES:
            known = ", ".join(IMAGE_SCORES)
            raise ValueError(f"image_score={image_score!r}: expected one of {known}")
        require_verb(backbone, "segment", "backbone=sam3, sam3_fast")
        check_range(0, 1, alpha=alpha, confidence_threshold=confidence_threshold)
        check_range(0, 1, iou_threshold=iou_threshold)
        check_range(1, top_queries=top_queries)
        check_range(0, learned_vectors=learned_vectors)
        self.backbone = backbone
        self.concepts = prompts
        self.alpha = alpha
        self.reduce = REDUCE[reduce]
        self.top_queries = top_queries
        self.image_score = image_score
        self.gate = gate
        self.confidence_threshold = confidence_threshold
        self.iou_threshold = iou_threshold
        if train_head:
            backbone.head.unfreeze()
        self._add_vectors(learned_vectors, backbone.head.width)

    def _add_vectors(self, count: int, width: int) -> None:
        """Add learned vectors: a fixed start, and a parameter for the distance from it."""
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(count, width, generator=generator) * _SPREAD
        self.register_buffer("start", start, persistent=False)
        self.learned: nn.Parameter | None = None
        if count:
            self.learned = nn.Parameter(torch.zeros(count, width))

    @classmethod
    def works_untrained(cls) -> bool:
        """Return ``True``: SAM 3 comes trained, and untrained learned vectors are masked out."""
        return True

    def set_dataset(self, dataset: str) -> None:
        """Use the words of a dataset from now on."""
        self.concepts.set_dataset(dataset)

    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1] of any size, each with the words of its own category."""
        for name in category:  # a prompt that is too long is refused before the image tower runs
            self.backbone.encode_text(self._prompts_of(name))
        features = self.backbone.encode_image(image)
        size = (image.shape[-2], image.shape[-1])
        maps = []
        scores = []
        detections = []
        for number, name in enumerate(category):
            of_image = features.select(number)
            concepts = self.find_concepts(of_image, name)
            foreground = self.foreground(of_image, name, concepts)
            coarse = self.map(concepts, foreground)
            maps.append(upsample(coarse[None], size)[0])
            scores.append(self.score(concepts, foreground, coarse))
            weights = self._weights(concepts, foreground)
            detections.append(self._detections(concepts, weights, name, size))
        return Prediction(torch.stack(maps), torch.stack(scores), tuple(detections))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms; training minimises their sum.

        Focal and dice of the semantic map, and likewise of the map of instances, with the mask;
        cross-entropy of the presence with the image label. All are reduced over the concepts first,
        as in testing: no label tells the word for a defect. Images whose mask is unknown take part
        in the last term only.
        """
        features = self.backbone.encode_image(batch.image)
        found = []
        for number, name in enumerate(batch.category):
            found.append(self.find_concepts(features.select(number), name))
        presence = torch.stack([self.reduce(concepts.presence.sigmoid()) for concepts in found])
        label = batch.is_anomalous.to(presence)
        of_presence = F.binary_cross_entropy_with_logits(probability_margin(presence), label)
        known = batch.has_mask.nonzero()[:, 0].tolist()
        if not known:
            # Every parameter takes part: processes that share gradients wait for each.
            nothing = sum(0 * (one.semantic.sum() + one.masks.sum()) for one in found)
            return {"presence": of_presence + nothing}
        terms = {"presence": of_presence}
        of_known = [found[number] for number in known]
        semantic = [self.reduce(concepts.semantic.sigmoid()) for concepts in of_known]
        instance = [self.reduce(self._instances(concepts)) for concepts in of_known]
        mask = batch.mask[known]
        size = (batch.image.shape[-2], batch.image.shape[-1])
        for kind, coarse in (("semantic", semantic), ("instance", instance)):
            maps = upsample(torch.stack(coarse), size)
            terms[f"{kind}_focal"] = losses.focal_loss(maps, mask)
            terms[f"{kind}_dice"] = losses.dice_loss(maps, mask)
        return terms

    def find_concepts(self, features: ImageFeatures, category: str) -> Concepts:
        """Look for the concepts of a category in one encoded image; with gradients if enabled."""
        text = self.backbone.encode_text(self.concepts.phrases(category))
        if self.learned is None:
            return self.backbone.segment(features, text, top_queries=self.top_queries)
        vector_mask = None if torch.is_grad_enabled() else (self.learned != 0).any(dim=1)
        vectors = self.start + LEARNED_VECTOR_LR_SCALE * self.learned
        return self.backbone.segment(
            features, text, top_queries=self.top_queries, vectors=vectors, vector_mask=vector_mask
        )

    def foreground(
        self, features: ImageFeatures, category: str, concepts: Concepts
    ) -> Float[Tensor, "h w"]:
        """Return the probability that each pixel belongs to the object; ungated, 1 everywhere."""
        everywhere = torch.ones_like(concepts.semantic[0])
        if not self._is_gated(category):
            return everywhere
        text = self.backbone.encode_text([self.concepts.noun(category)])
        found = self.backbone.segment(features, text, top_queries=1)
        is_present = found.presence.sigmoid() >= IS_PRESENT
        return torch.where(is_present, found.semantic[0].sigmoid(), everywhere)

    def map(self, concepts: Concepts, foreground: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Return the probability that each pixel is anomalous, on SAM 3's own grid."""
        presence = concepts.presence.sigmoid()[:, None, None]
        semantic = presence * concepts.semantic.sigmoid()
        mixed = self.alpha * semantic + (1 - self.alpha) * self._instances(concepts)
        return self.reduce(mixed) * foreground

    def score(
        self, concepts: Concepts, foreground: Float[Tensor, "h w"], coarse: Float[Tensor, "h w"]
    ) -> Float[Tensor, ""]:
        """Return the image score, as a logit."""
        best = self.reduce(self._weights(concepts, foreground).amax(dim=1))
        count = max(1, round(PEAK_SHARE * coarse.numel()))
        peak = coarse.flatten().topk(count).values.mean()
        scores = {"instance": best, "map": peak, "both": torch.maximum(best, peak)}
        return probability_margin(scores[self.image_score])

    def _weights(
        self, concepts: Concepts, foreground: Tensor | None = None
    ) -> Float[Tensor, "p k"]:
        """Return the probability of every instance.

        It is that of being one, times that of its concept's presence, times its foreground share.
        """
        weights = concepts.queries.sigmoid() * concepts.presence.sigmoid()[:, None]
        if foreground is None or not self.gate:
            return weights
        masks = concepts.masks.sigmoid()
        inside = (masks * foreground).sum(dim=(2, 3))
        return weights * inside / masks.sum(dim=(2, 3)).clamp(min=1e-6)

    def _instances(self, concepts: Concepts) -> Float[Tensor, "p h w"]:
        weights = self._weights(concepts)[..., None, None]
        return (weights * concepts.masks.sigmoid()).amax(dim=1)

    def _is_gated(self, category: str) -> bool:
        return self.gate and self.concepts.shows_object(category)

    def _prompts_of(self, category: str) -> tuple[str, ...]:
        phrases = self.concepts.phrases(category)
        if not self._is_gated(category):
            return phrases
        return (*phrases, self.concepts.noun(category))

    def _detections(
        self,
        concepts: Concepts,
        weights: Float[Tensor, "p k"],
        category: str,
        size: tuple[int, int],
    ) -> Detections:
        """Return the instances above the threshold, best first, in pixels of the image."""
        height, width = size
        prompts, queries = (weights > self.confidence_threshold).nonzero().unbind(dim=1)
        sides = concepts.boxes.new_tensor([width, height, width, height])
        boxes = concepts.boxes[prompts, queries] * sides
        scores = weights[prompts, queries]
        kept = regions.suppress_overlaps(boxes, scores, self.iou_threshold)[:MOST_DETECTIONS]
        phrases = self.concepts.phrases(category)
        kept_phrases = []
        outlines = []
        for row in kept:
            kept_phrases.append(phrases[int(prompts[row])])
            mask = _resize_mask(concepts.masks[prompts[row], queries[row]], size)
            outlines.append(rle.encode(mask))
        return Detections(
            boxes[kept].cpu(), scores[kept].cpu(), tuple(kept_phrases), tuple(outlines)
        )


def _resize_mask(
    logits: Float[Tensor, "h w"], size: tuple[int, int]
) -> Bool[Tensor, "big_h big_w"]:
    return upsample(logits[None], size)[0] > 0
