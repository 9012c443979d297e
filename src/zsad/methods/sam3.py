"""SAM 3 asked for defects by name: soft maps of what it finds, with the boxes and masks that explain them.

No paper: a design from what SAM 3 gives (Carion et al. 2025), with the prompt strategies of a published demonstration.
Nothing is invented: where SAM 3 finds none of the words, map and score go to zero with its own presence probability.

Legend: B images, p prompts, k queries, v learned vectors, D width of SAM 3's head, h × w pixels of its maps,
H × W of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zsad.backbones.sam3.head import Concepts, ImageFeatures
from zsad.backbones.sam3.segmenter import SAM3Segmenter
from zsad.functional import losses, regions, rle
from zsad.functional.resample import upsample
from zsad.methods.box_filter import check_range, require_verb
from zsad.prompts.sam3_phrases import ConceptPrompts
from zsad.types import Batch, Detections, Prediction

IMAGE_SCORES = ("both", "instance", "map")
PEAK_SHARE = 1e-3  # of a map's pixels, whose mean is its peak
IS_PRESENT = 0.5  # presence of the object from which on it gates the map
MOST_DETECTIONS = 100
# Learned vectors are new, all else was trained: they learn ten times as fast. Adam's steps have the size of the
# learning rate, whatever the gradient's, so that a factor on the parameter is one on its rate.
LEARNED_VECTOR_LR_SCALE = 10.0
_SPREAD = 0.02  # of learned vectors, before they learn

Reduce = Callable[[Tensor], Tensor]


def noisy_or(probability: Float[Tensor, "p ..."]) -> Float[Tensor, "..."]:
    """Probability that at least one of p independent things is so; small ones keep their digits."""
    return -torch.expm1(torch.log1p(-probability.clamp(max=1 - 1e-6)).sum(dim=0))


def top3(values: Float[Tensor, "p ..."]) -> Float[Tensor, "..."]:
    """Mean of the three largest of p, or of all where there are fewer."""
    return values.topk(min(3, len(values)), dim=0).values.mean(dim=0)


REDUCE: dict[str, Reduce] = {
    "max": lambda values: values.amax(dim=0),
    "mean": lambda values: values.mean(dim=0),
    "noisy_or": noisy_or,
    "top3": top3,
}


def margin(probability: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return a probability as a logit; small ones stay apart, down to 1e-30."""
    return probability.clamp(min=1e-30).log() - torch.log1p(-probability.clamp(max=1 - 1e-7))


class SAM3(nn.Module):
    """Look for p concepts in every image, and join what is found to one map.

    For each concept: α · presence · semantic map + (1 - α) · the best, pixel by pixel, of its instances' masks, each
    times its own probability; then ``reduce`` over the concepts.

    Trains SAM 3's head, if asked to; and works without.

    Args:
        backbone: SAM 3.
        prompts: Which concepts.
        alpha: Share of the semantic map.
        reduce: Over concepts: ``max``, ``mean``, ``noisy_or``, or ``top3``, the mean of the three largest.
        top_queries: So many instances of each concept have masks.
        image_score: ``instance``, the probability of the best instance; ``map``, the mean of the highest thousandth of
            the map; ``both``, the larger.
        gate: Ask for the category itself, too, and keep to the pixels where it is. Textures are left alone, and
            images in which SAM 3 does not find the category.
        confidence_threshold: Instances above it are reported as detections. Maps and scores do not depend on it.
        iou_threshold: Of two that overlap more, the better one is reported.
        train_head: Let the head learn in training: encoder, decoder, scorer, masks and
            the projection of the words.
        learned_vectors: Number of learned vectors that join the words of every prompt. Untrained vectors are
            masked out.

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
            raise ValueError(
                f"image_score={image_score!r}: expected one of {', '.join(IMAGE_SCORES)}"
            )
        require_verb(backbone, "segment", "backbone=sam3, sam3_fast")
        check_range(
            0,
            1,
            alpha=alpha,
            confidence_threshold=confidence_threshold,
            iou_threshold=iou_threshold,
        )
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
        # Where the vectors begin is fixed; the parameter is how far they have come, and nothing where there are none.
        width = backbone.head.width
        begin = (
            torch.randn(learned_vectors, width, generator=torch.Generator().manual_seed(0))
            * _SPREAD
        )
        self.register_buffer("start", begin, persistent=False)
        self.learned = (
            nn.Parameter(torch.zeros(learned_vectors, width)) if learned_vectors else None
        )

    @classmethod
    def works_untrained(cls) -> bool:
        """Return ``True``: SAM 3 comes trained, and untrained learned vectors are masked out."""
        return True

    def set_dataset(self, dataset: str) -> None:
        """Use the words of a dataset from now on."""
        self.concepts.set_dataset(dataset)

    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1] of any size, each with the words of its own category."""
        for name in category:  # a prompt that is too long is said before the image tower runs
            self.backbone.encode_text(self._asked(name))
        features, size = self.backbone.encode_image(image), (image.shape[-2], image.shape[-1])
        maps, scores, detections = [], [], []
        for index, name in enumerate(category):
            concepts = self.find(features.select(index), name)
            foreground = self.foreground(features.select(index), name, concepts)
            coarse = self.map(concepts, foreground)
            maps.append(upsample(coarse[None], size)[0])
            scores.append(self.score(concepts, foreground, coarse))
            detections.append(
                self._detections(concepts, self._weights(concepts, foreground), name, size)
            )
        return Prediction(torch.stack(maps), torch.stack(scores), tuple(detections))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms; their sum is what training minimises.

        Focal and dice of the semantic map, and likewise of the map of instances, with the mask; cross-entropy of the
        presence with the image label. All are reduced over the concepts first, as in testing: which of the words
        describes a defect nobody says. Images whose mask is unknown take part in the last term only.
        """
        features, size = (
            self.backbone.encode_image(batch.image),
            (batch.image.shape[-2], batch.image.shape[-1]),
        )
        found = [
            self.find(features.select(index), name) for index, name in enumerate(batch.category)
        ]
        presence = torch.stack([self.reduce(one.presence.sigmoid()) for one in found])
        label = batch.is_anomalous.to(presence)
        terms = {"presence": F.binary_cross_entropy_with_logits(margin(presence), label)}
        known = batch.has_mask.nonzero()[:, 0].tolist()
        if (
            not known
        ):  # every parameter takes part all the same: processes that share gradients wait for each
            terms["presence"] = terms["presence"] + sum(
                0 * (one.semantic.sum() + one.masks.sum()) for one in found
            )
            return terms
        mask = batch.mask[known]
        kinds = {
            "semantic": [self.reduce(found[index].semantic.sigmoid()) for index in known],
            "instance": [self.reduce(self._instances(found[index])) for index in known],
        }
        for kind, coarse in kinds.items():
            maps = upsample(torch.stack(coarse), size)
            terms |= {
                f"{kind}_focal": losses.focal_loss(maps, mask),
                f"{kind}_dice": losses.dice_loss(maps, mask),
            }
        return terms

    def find(self, features: ImageFeatures, category: str) -> Concepts:
        """Look for the concepts of a category in one encoded image; with gradients where they are asked for."""
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
        """Probability that each pixel belongs to the object, where that is asked for; else 1 everywhere."""
        everywhere = torch.ones_like(concepts.semantic[0])
        if not self._is_gated(category):
            return everywhere
        text = self.backbone.encode_text([self.concepts.noun(category)])
        found = self.backbone.segment(features, text, top_queries=1)
        return torch.where(
            found.presence.sigmoid() >= IS_PRESENT, found.semantic[0].sigmoid(), everywhere
        )

    def map(self, concepts: Concepts, foreground: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
        """Probability that each pixel is anomalous, on SAM 3's own grid."""
        seen = concepts.presence.sigmoid()[:, None, None] * concepts.semantic.sigmoid()
        mixed = self.alpha * seen + (1 - self.alpha) * self._instances(concepts)
        return self.reduce(mixed) * foreground

    def score(
        self, concepts: Concepts, foreground: Float[Tensor, "h w"], coarse: Float[Tensor, "h w"]
    ) -> Float[Tensor, ""]:
        """Return the image score, as a logit."""
        best = self.reduce(self._weights(concepts, foreground).amax(dim=1))
        peak = coarse.flatten().topk(max(1, round(PEAK_SHARE * coarse.numel()))).values.mean()
        scores = {"instance": best, "map": peak, "both": torch.maximum(best, peak)}
        return margin(scores[self.image_score])

    def _weights(
        self, concepts: Concepts, foreground: Tensor | None = None
    ) -> Float[Tensor, "p k"]:
        """Probability of every instance: that it is one, that its concept is present, and what of it is foreground."""
        weights = concepts.queries.sigmoid() * concepts.presence.sigmoid()[:, None]
        if foreground is None or not self.gate:
            return weights
        masks = concepts.masks.sigmoid()
        return (
            weights * (masks * foreground).sum(dim=(2, 3)) / masks.sum(dim=(2, 3)).clamp(min=1e-6)
        )

    def _instances(self, concepts: Concepts) -> Float[Tensor, "p h w"]:
        return (self._weights(concepts)[..., None, None] * concepts.masks.sigmoid()).amax(dim=1)

    def _is_gated(self, category: str) -> bool:
        return self.gate and self.concepts.shows_object(category)

    def _asked(self, category: str) -> tuple[str, ...]:
        own = (self.concepts.noun(category),) if self._is_gated(category) else ()
        return (*self.concepts.phrases(category), *own)

    def _detections(
        self,
        concepts: Concepts,
        weights: Float[Tensor, "p k"],
        category: str,
        size: tuple[int, int],
    ) -> Detections:
        """Return the instances above the threshold, best first, in pixels of the image."""
        height, width = size
        rows, columns = self._confident(weights).unbind(dim=1)
        boxes = concepts.boxes[rows, columns] * concepts.boxes.new_tensor(
            [width, height, width, height]
        )
        scores = weights[rows, columns]
        kept = regions.suppress_overlaps(boxes, scores, self.iou_threshold)[:MOST_DETECTIONS]
        phrases = self.concepts.phrases(category)
        masks = (_mask(concepts.masks[rows[one], columns[one]], size) for one in kept)
        return Detections(
            boxes[kept].cpu(),
            scores[kept].cpu(),
            tuple(phrases[int(rows[one])] for one in kept),
            tuple(rle.encode(mask) for mask in masks),
        )

    def _confident(self, weights: Float[Tensor, "p k"]) -> Tensor:
        return (weights > self.confidence_threshold).nonzero()


def _mask(logits: Float[Tensor, "h w"], size: tuple[int, int]) -> Bool[Tensor, "big_h big_w"]:
    return upsample(logits[None], size)[0] > 0
