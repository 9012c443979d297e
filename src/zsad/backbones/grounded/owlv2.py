"""OWLv2: a frozen detector that compares boxes with sentences, each with each.

Legend: q boxes, p phrases of a caption, l tokens of all of them, E joint width.

Source: Scaling Open-Vocabulary Object Detection (NeurIPS 2023); weights and code as
``transformers`` has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import to_pil
from zsad.backbones.frozen import compute_in
from zsad.backbones.grounded.detector import WHAT, Detector, build_random_detector, load_detector
from zsad.backbones.grounded.grounding import Grounding


@dataclass(frozen=True, slots=True)
class OWLFeatures:
    """Features of an image from the image tower.

    Attributes:
        tokens: (1, q, V) a token for each box.
        boxes: (q, 4) centre x, centre y, width, height relative to the image.
    """

    tokens: Tensor
    boxes: Tensor


class OWLv2(Detector):
    """A frozen detector that scores each of its boxes against each phrase of a caption.

    Phrases end at full stops and commas. A phrase's score is that of all its tokens, so that the
    phrase of a box is made of whole phrases.

    Args:
        pretrained: Hub id or folder, or ``None`` for random weights.
        architecture: Where ``pretrained`` is ``None``: the fields of the model's configuration.
        dtype: Precision of the network; boxes and scores come out in float32.

    Raises:
        ValueError: If the weights are not of OWLv2.
        FileNotFoundError: If they cannot be had.
    """

    def __init__(
        self,
        pretrained: str | None = "google/owlv2-base-patch16-ensemble",
        *,
        architecture: dict[str, Any] | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        if pretrained:
            self.model = _load_pretrained(pretrained)
        else:
            if architecture is not None:
                architecture = {"model_type": "owlv2", **architecture}
            self.model = build_random_detector(architecture)
        self.encode, self.decode = _load_tokenizer(pretrained)
        self.processor = _load_processor(pretrained, self.model.config.vision_config.image_size)
        self.dtype = hub.as_dtype(dtype)
        self._known: dict[tuple[str, torch.device], Tensor] = {}
        self.freeze()

    def check_captions(self, captions: Sequence[str]) -> None:
        """Refuse phrases that are too long, before anything runs.

        Raises:
            ValueError: If a phrase has more tokens than the text tower takes.
        """
        limit = self.model.config.text_config.max_position_embeddings
        for caption in captions:
            for phrase in split_phrases(caption):
                length = len(self.encode(phrase)) + 2  # start and end
                if length > limit:
                    raise ValueError(
                        f"a phrase has {length} tokens, and the detector takes at most {limit}: "
                        f"shorten it, or split it with full stops. It is {phrase[:80]!r}"
                    )

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "3 h w"]) -> OWLFeatures:
        """Run the image tower and place its boxes, which know nothing of captions."""
        inputs = self.processor(images=to_pil(image), return_tensors="pt")
        pixels = inputs["pixel_values"].to(image.device)
        with compute_in(self.dtype, image.device):
            tokens, _ = self.model.image_embedder(pixels.float())
            flat = tokens.flatten(1, 2)  # (1, rows, columns, V) -> (1, q, V)
            boxes = self.model.box_predictor(flat, tokens)[0].float()
        # The image filled the upper left of a square.
        height, width = image.shape[1:]
        sides = torch.tensor([width, height, width, height], device=boxes.device)
        return OWLFeatures(flat, boxes * (max(height, width) / sides))

    @torch.no_grad()
    def detect_from_features(
        self, features: OWLFeatures, captions: Sequence[str]
    ) -> list[Grounding]:
        """Detect the phrases of each caption in an encoded image."""
        self.check_captions(captions)
        return [self._detect(features, split_phrases(caption)) for caption in captions]

    def _detect(self, features: OWLFeatures, phrases: list[str]) -> Grounding:
        device = features.tokens.device
        with compute_in(self.dtype, device):
            texts = torch.stack([self._encode_phrase(phrase, device) for phrase in phrases])
            logits, _ = self.model.class_predictor(features.tokens, texts[None])
        scores = logits[0].float().sigmoid()  # (q, p)
        ids: list[int] = []
        lengths = []
        for phrase in phrases:
            tokens = self.encode(phrase)
            ids.extend(tokens)
            lengths.append(len(tokens))
        repeats = torch.tensor(lengths, device=device)
        token_scores = scores.repeat_interleave(repeats, dim=1)  # (q, p) -> (q, l)
        token_ids = torch.tensor(ids, device=device)
        return Grounding(features.boxes, token_scores, token_ids, self.decode)

    def _encode_phrase(self, phrase: str, device: torch.device) -> Float[Tensor, " e"]:
        if (phrase, device) not in self._known:
            config = self.model.config.text_config
            ids = [config.bos_token_id, *self.encode(phrase), config.eos_token_id]
            tokens = torch.tensor([ids], device=device)
            pooled = self.model.owlv2.text_model(input_ids=tokens).pooler_output
            projected = self.model.owlv2.text_projection(pooled)[0]
            self._known[phrase, device] = F.normalize(projected, dim=0)
        return self._known[phrase, device]


def split_phrases(caption: str) -> list[str]:
    """Return the phrases of a caption, a phrase for each thing.

    >>> split_phrases("Black hole. crack,")
    ['black hole', 'crack']
    """
    caption = caption.lower()
    phrases = [phrase.strip() for phrase in re.split(r"[.,]", caption)]
    return [phrase for phrase in phrases if phrase] or [caption.strip()]


def _load_pretrained(name: str) -> Any:
    model = load_detector(name)
    if not hasattr(model, "owlv2"):
        raise ValueError(
            f"{name} is a {type(model).__name__}, expected OWLv2 (others: backbone=grounded_sam)"
        )
    return model


def _load_tokenizer(pretrained: str | None) -> tuple[Any, Any]:
    """Return the functions from text to token ids, without special tokens, and back."""
    if pretrained is None:
        from open_clip.tokenizer import SimpleTokenizer

        tokenizer = SimpleTokenizer()
        return tokenizer.encode, tokenizer.decode
    from transformers import AutoTokenizer

    known = hub.load_part(AutoTokenizer, pretrained, what=WHAT)
    return lambda text: known(text, add_special_tokens=False)["input_ids"], known.decode


def _load_processor(pretrained: str | None, side: int) -> Any:
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    if pretrained is None:
        return Owlv2ImageProcessorPil(size={"height": side, "width": side})
    return hub.load_part(Owlv2ImageProcessorPil, pretrained, what=WHAT)
