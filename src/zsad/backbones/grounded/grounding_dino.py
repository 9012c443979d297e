"""Grounding DINO and MM-Grounding-DINO: frozen detectors of the words of a caption.

Legend: n captions.

Source: Grounding DINO (ECCV 2024); its weights and code as ``transformers`` has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import to_pil
from zsad.backbones.frozen import compute_in
from zsad.backbones.grounded.detector import WHAT, Detector, build_random_detector, load_detector
from zsad.backbones.grounded.grounding import Grounding
from zsad.backbones.grounded.grounding_dino_towers import ImageTower, TextTower
from zsad.backbones.grounded.spelling_vocabulary import spelling_vocabulary


@dataclass(frozen=True, slots=True)
class DetectorFeatures:
    """Features of an image from the detector's image tower, for any number of captions.

    Attributes:
        pixels: (1, 3, H', W') the resized, normalised image.
        features: Output of the tower for it.
    """

    pixels: Tensor
    features: Any


def normalize_caption(caption: str) -> str:
    """Return a caption as in the training: lower case, stripped, ended with a full stop."""
    caption = caption.lower().strip()
    return caption if caption.endswith(".") else f"{caption}."


class GroundingDINO(Detector):
    """A frozen detector whose classes are the words of a caption.

    The image tower runs once for all captions of an image, the text tower once for each caption in
    the life of the object; the rest of the network, where image and text meet, runs for several
    captions at once.

    Args:
        pretrained: Hub id or folder of Grounding DINO or MM-Grounding-DINO weights, or ``None`` for
            random weights.
        architecture: Where ``pretrained`` is ``None``: the fields of the model's configuration,
            with its ``model_type``.
        image_size: Shorter and longest side in pixels that images are resized to; ``None`` for the
            sides that come with the weights (800 and 1333).
        words: Where ``pretrained`` is ``None``: words that are one token each; all others are
            spelled.
        dtype: Precision of the network; boxes and scores come out in float32.
        captions_at_once: So many captions go through the network together; bounds the memory.

    Raises:
        ValueError: If the weights are not of such a detector.
        FileNotFoundError: If they cannot be had.
    """

    def __init__(
        self,
        pretrained: str | None = "IDEA-Research/grounding-dino-tiny",
        *,
        architecture: dict[str, Any] | None = None,
        image_size: Sequence[int] | None = None,
        words: Sequence[str] = (),
        dtype: str = "float32",
        captions_at_once: int = 8,
    ) -> None:
        super().__init__()
        if pretrained:
            self.model = _load_pretrained(pretrained)
        else:
            self.model = build_random_detector(architecture)
        self.tokenizer = _load_tokenizer(pretrained, words)
        self.decode = self.tokenizer.decode
        self.processor = _load_processor(pretrained, image_size)
        self.dtype = hub.as_dtype(dtype)
        self.captions_at_once = captions_at_once
        self.model.model.backbone = ImageTower(self.model.model.backbone)
        self.model.model.text_backbone = TextTower(self.model.model.text_backbone)
        self.freeze()

    def check_captions(self, captions: Sequence[str]) -> None:
        """Refuse captions that are too long, before anything runs.

        Raises:
            ValueError: If a caption has more tokens than the text tower takes.
        """
        limit = self.model.config.max_text_len
        for caption in captions:
            length = len(self._tokenize(caption))
            if length > limit:
                raise ValueError(
                    f"a caption has {length} tokens, and the detector takes at most {limit}: split "
                    f"it into several. It begins {caption[:60]!r}"
                )

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "3 h w"]) -> DetectorFeatures:
        """Run the image tower, which needs no captions."""
        resized = self.processor(images=to_pil(image), return_tensors="pt")
        pixels = resized["pixel_values"].to(image.device)
        no_padding = torch.ones(pixels[:, 0].shape, dtype=torch.long, device=pixels.device)
        with compute_in(self.dtype, pixels.device):
            features = self.model.model.backbone.tower(pixels, no_padding)
        return DetectorFeatures(pixels, features)

    @torch.no_grad()
    def detect_from_features(
        self, features: DetectorFeatures, captions: Sequence[str]
    ) -> list[Grounding]:
        """Detect the words of each caption in an encoded image."""
        self.check_captions(captions)
        groundings: list[Grounding] = []
        for start in range(0, len(captions), self.captions_at_once):
            part = captions[start : start + self.captions_at_once]
            tokens = [self._tokenize(caption) for caption in part]
            groundings.extend(self._detect(features, tokens))
        return groundings

    def _detect(self, features: DetectorFeatures, captions: list[list[int]]) -> Iterator[Grounding]:
        lengths = torch.tensor([len(ids) for ids in captions])
        rows = [torch.tensor(ids) for ids in captions]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        is_token = torch.arange(tokens.shape[1])[None] < lengths[:, None]
        device = features.pixels.device
        tokens = tokens.to(device)
        pixels = features.pixels.expand(len(captions), -1, -1, -1)
        image_tower = self.model.model.backbone
        with compute_in(self.dtype, device), image_tower.using(features.features):
            out = self.model(pixels, tokens, attention_mask=is_token.long().to(device))
        scores = out.logits.float().sigmoid()
        boxes = out.pred_boxes.float()
        for row, length in enumerate(lengths.tolist()):
            ids = tokens[row, :length]
            yield Grounding(boxes[row], scores[row], ids, self.decode)

    def _tokenize(self, caption: str) -> list[int]:
        return self.tokenizer(normalize_caption(caption))["input_ids"]


def _load_pretrained(name: str) -> Any:
    model = load_detector(name)
    if not hasattr(getattr(model, "model", None), "text_backbone"):
        raise ValueError(
            f"{name} is a {type(model).__name__}, expected Grounding DINO or MM-Grounding-DINO "
            "(for OWLv2: backbone=owl_sam)"
        )
    return model


def _load_tokenizer(pretrained: str | None, words: Sequence[str]) -> Any:
    from transformers import AutoTokenizer, BertTokenizer

    if pretrained is not None:
        return hub.load_part(AutoTokenizer, pretrained, what=WHAT)
    return BertTokenizer(vocab=spelling_vocabulary(words))


def _load_processor(pretrained: str | None, image_size: Sequence[int] | None) -> Any:
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    options: dict[str, Any] = {}
    if image_size is not None:
        shortest, longest = image_size
        options["size"] = {"shortest_edge": shortest, "longest_edge": longest}
    if pretrained is None:
        return GroundingDinoImageProcessorPil(**options)
    return hub.load_part(GroundingDinoImageProcessorPil, pretrained, what=WHAT, **options)
