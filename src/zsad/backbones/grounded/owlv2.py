"""OWLv2, a detector that compares boxes with sentences one by one; frozen.

Legend: q boxes, p phrases of a caption, l tokens of all of them, E joint width.

Source: Scaling Open-Vocabulary Object Detection (NeurIPS 2023); weights and code as ``transformers`` has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import to_pil
from zsad.backbones.grounded.grounding_dino import Grounding

_WHAT = "the detector"


@dataclass(frozen=True, slots=True)
class OWLFeatures:
    """What the image tower saw of one image.

    Attributes:
        tokens: (1, q, V) one for each box.
        boxes: (q, 4) centre x, centre y, width, height relative to the image.
    """

    tokens: Tensor
    boxes: Tensor


class OWLv2(nn.Module):
    """A frozen detector that scores each of its boxes against each phrase of a caption.

    Phrases end at full stops and commas. A phrase's score is that of all its tokens, so that the phrase of a box is
    made of whole phrases.

    Args:
        pretrained: Hub id or folder, or ``None`` for random weights.
        architecture: Where ``pretrained`` is ``None``: the fields of the model's configuration.
        dtype: Precision of the network; boxes and scores come out in float32.

    Raises:
        ValueError: If the weights are not of OWLv2.
        FileNotFoundError: If they cannot be had.
    """

    model: Any

    def __init__(
        self,
        pretrained: str | None = "google/owlv2-base-patch16-ensemble",
        *,
        architecture: dict[str, Any] | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.model = _pretrained(pretrained) if pretrained else _random(architecture)
        self.encode, self.decode = _tokenizer(pretrained)
        self.processor = _processor(pretrained, self.model.config.vision_config.image_size)
        self.dtype = hub.as_dtype(dtype)
        self._known: dict[tuple[str, torch.device], Tensor] = {}
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "OWLv2":  # noqa: ARG002 (the signature is torch's)
        """Stay in eval mode, whatever the trainer asks for: this network is frozen."""
        return super().train(False)

    @property
    def settings(self) -> str:
        """All that decides the answers besides the weights, as text."""
        return f"{type(self).__name__} {self.processor.to_json_string()} {self.dtype}"

    def detect(self, image: Float[Tensor, "3 h w"], captions: Sequence[str]) -> list[Grounding]:
        """Say of each caption where in the image it is. As ``GroundingDINO.detect``."""
        self.check_captions(captions)
        return self.detect_from_features(self.encode_image(image), captions)

    def check_captions(self, captions: Sequence[str]) -> None:
        """Refuse phrases that are too long, before anything runs.

        Raises:
            ValueError: As said.
        """
        limit = self.model.config.text_config.max_position_embeddings
        for phrase in (phrase for caption in captions for phrase in split_phrases(caption)):
            if (length := len(self.encode(phrase)) + 2) > limit:
                raise ValueError(
                    f"a phrase has {length} tokens, and the detector takes at most {limit}: shorten it, or split it "
                    f"with full stops. It is {phrase[:80]!r}"
                )

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "3 h w"]) -> OWLFeatures:
        """Run the image tower and place its boxes, which know nothing of captions."""
        pixels = self.processor(images=to_pil(image), return_tensors="pt")["pixel_values"].to(
            image.device
        )
        with self._precision(image.device):
            tokens, _ = self.model.image_embedder(pixels.float())
            flat = tokens.flatten(1, 2)  # (1, rows, columns, V) -> (1, q, V)
            boxes = self.model.box_predictor(flat, tokens)[0].float()
        # The network saw the image in the upper left of a square.
        height, width = image.shape[1:]
        relative = max(height, width) / torch.tensor(
            [width, height, width, height], device=boxes.device
        )
        return OWLFeatures(flat, boxes * relative)

    @torch.no_grad()
    def detect_from_features(self, seen: OWLFeatures, captions: Sequence[str]) -> list[Grounding]:
        """Say of each caption where it is in an image that the tower has seen."""
        self.check_captions(captions)
        return [self._ask(seen, split_phrases(caption)) for caption in captions]

    def _ask(self, seen: OWLFeatures, phrases: list[str]) -> Grounding:
        device = seen.tokens.device
        with self._precision(device):
            texts = torch.stack([self._text(phrase, device) for phrase in phrases])
            logits, _ = self.model.class_predictor(seen.tokens, texts[None])
        scores = logits[0].float().sigmoid()  # (q, p)
        tokens = [self.encode(phrase) for phrase in phrases]
        repeats = torch.tensor([len(ids) for ids in tokens], device=device)
        ids = torch.tensor([token for phrase in tokens for token in phrase], device=device)
        return Grounding(seen.boxes, scores.repeat_interleave(repeats, dim=1), ids, self.decode)

    def _text(self, phrase: str, device: torch.device) -> Float[Tensor, " e"]:
        if (phrase, device) not in self._known:
            config = self.model.config.text_config
            ids = [config.bos_token_id, *self.encode(phrase), config.eos_token_id]
            tokens = torch.tensor([ids], device=device)
            pooled = self.model.owlv2.text_model(input_ids=tokens).pooler_output
            self._known[phrase, device] = nn.functional.normalize(
                self.model.owlv2.text_projection(pooled)[0], dim=0
            )
        return self._known[phrase, device]

    def _precision(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def split_phrases(caption: str) -> list[str]:
    """Return what a caption asks for, one phrase for each thing.

    >>> split_phrases("Black hole. crack,")
    ['black hole', 'crack']
    """
    phrases = [phrase.strip() for phrase in re.split(r"[.,]", caption.lower())]
    return [phrase for phrase in phrases if phrase] or [caption.lower().strip()]


def _pretrained(name: str) -> Any:
    from transformers import AutoModelForZeroShotObjectDetection

    model = hub.load_pretrained(AutoModelForZeroShotObjectDetection, name, what=_WHAT)
    if not hasattr(model, "owlv2"):
        raise ValueError(
            f"{name} is a {type(model).__name__}, expected OWLv2 (others: backbone=grounded_sam)"
        )
    return model


def _random(architecture: dict[str, Any] | None) -> Any:
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection

    if architecture is None:
        raise ValueError(
            "neither detector.pretrained nor detector.architecture is given: nothing says what to build"
        )
    config = AutoConfig.for_model("owlv2", **architecture)
    return hub.random_model(lambda: AutoModelForZeroShotObjectDetection.from_config(config))


def _tokenizer(pretrained: str | None) -> tuple[Any, Any]:
    """Return the functions from text to token ids, without the special ones, and back."""
    if pretrained is None:
        from open_clip.tokenizer import SimpleTokenizer

        tokenizer = SimpleTokenizer()
        return tokenizer.encode, tokenizer.decode
    from transformers import AutoTokenizer

    known = hub.load_part(AutoTokenizer, pretrained, what=_WHAT)
    return lambda text: known(text, add_special_tokens=False)["input_ids"], known.decode


def _processor(pretrained: str | None, side: int) -> Any:
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    if pretrained is None:
        return Owlv2ImageProcessorPil(size={"height": side, "width": side})
    return hub.load_part(Owlv2ImageProcessorPil, pretrained, what=_WHAT)
