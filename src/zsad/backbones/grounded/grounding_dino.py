"""Detectors that find what a caption says: Grounding DINO and MM-Grounding-DINO, frozen.

Legend: q queries, t token columns, l tokens of a caption, n captions.

Source: Grounding DINO (ECCV 2024); its weights and code as ``transformers`` has them.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import to_pil

_WHAT = "the detector"
# Where BERT's own vocabulary has what the detector's code knows by number.
_BERT_PLACES = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
    "[MASK]": 103,
    ".": 1012,
    "?": 1029,
}
_REMEMBERED_CAPTIONS = 4096


@dataclass(frozen=True, slots=True)
class Grounding:
    """All that a detector says of one caption, before any threshold.

    Attributes:
        boxes: (q, 4) float32, centre x, centre y, width and height relative to the image.
        token_scores: (q, t) float32 in [0, 1], how well each box fits each token; 0 on columns without a token.
        token_ids: (l,) int64, the tokens of the first l ≤ t columns.
        decode: From token ids to text.
        min_score: Boxes whose best score is not above it may have been left out; a lower threshold cannot be asked for.
    """

    boxes: Float[Tensor, "q 4"]
    token_scores: Float[Tensor, "q t"]
    token_ids: Int[Tensor, " l"]
    decode: Callable[[list[int]], str]
    min_score: float = 0.0


@dataclass(frozen=True, slots=True)
class DetectorFeatures:
    """What a detector's image tower saw of one image: enough for any number of captions.

    Attributes:
        pixels: (1, 3, H', W') the resized, normalised image.
        features: What the tower returned for it.
    """

    pixels: Tensor
    features: Any


def normalize_caption(caption: str) -> str:
    """Return a caption as the detector was trained on them: lower case, stripped, with a full stop at its end."""
    caption = caption.lower().strip()
    return caption if caption.endswith(".") else f"{caption}."


class GroundingDINO(nn.Module):
    """A frozen detector whose classes are the words of a caption.

    The image tower runs once for all captions of an image, the text tower once for each caption in the life of the
    object; what is left, where image and text meet, runs for several captions at once.

    Args:
        pretrained: Hub id or folder of Grounding DINO or MM-Grounding-DINO weights, or ``None`` for random ones.
        architecture: Where ``pretrained`` is ``None``: the fields of the model's configuration, with its
            ``model_type``.
        image_size: Shorter and longest side in pixels that images are resized to; ``None`` for what comes with the
            weights (800 and 1333).
        words: Where ``pretrained`` is ``None``: words that are one token each; all others are spelled.
        dtype: Precision of the network; boxes and scores come out in float32.
        captions_at_once: So many captions go through the network together; bounds the memory.

    Raises:
        ValueError: If the weights are not of such a detector.
        FileNotFoundError: If they cannot be had.
    """

    model: Any

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
        self.model = _pretrained(pretrained) if pretrained else _random(architecture)
        self.tokenizer = _tokenizer(pretrained, words)
        self.decode = self.tokenizer.decode
        self.processor = _processor(pretrained, image_size)
        self.dtype = hub.as_dtype(dtype)
        self.captions_at_once = captions_at_once
        self.model.model.backbone = _ImageTower(self.model.model.backbone)
        self.model.model.text_backbone = _TextTower(self.model.model.text_backbone)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "GroundingDINO":  # noqa: ARG002 (the signature is torch's)
        """Stay in eval mode, whatever the trainer asks for: this network is frozen."""
        return super().train(False)

    @property
    def settings(self) -> str:
        """All that decides the answers besides the weights, as text."""
        return f"{type(self).__name__} {self.processor.to_json_string()} {self.dtype}"

    def detect(self, image: Float[Tensor, "3 h w"], captions: Sequence[str]) -> list[Grounding]:
        """Say of each caption where in the image it is.

        Args:
            image: RGB in [0, 1].
            captions: Lower-cased, stripped and ended with a full stop before they are read.

        Raises:
            ValueError: If a caption has more tokens than the text tower takes.
        """
        self.check_captions(captions)
        return self.detect_from_features(self.encode_image(image), captions)

    def check_captions(self, captions: Sequence[str]) -> None:
        """Refuse captions that are too long, before anything runs.

        Raises:
            ValueError: As said.
        """
        limit = self.model.config.max_text_len
        for caption in captions:
            if (length := len(self._tokens(caption))) > limit:
                raise ValueError(
                    f"a caption has {length} tokens, and the detector takes at most {limit}: split it into several. "
                    f"It begins {caption[:60]!r}"
                )

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "3 h w"]) -> DetectorFeatures:
        """Run the image tower, which knows nothing of captions."""
        resized = self.processor(images=to_pil(image), return_tensors="pt")
        pixels = resized["pixel_values"].to(image.device)
        whole = torch.ones(pixels[:, 0].shape, dtype=torch.long, device=pixels.device)
        with self._precision(pixels):
            return DetectorFeatures(pixels, self.model.model.backbone.tower(pixels, whole))

    @torch.no_grad()
    def detect_from_features(
        self, seen: DetectorFeatures, captions: Sequence[str]
    ) -> list[Grounding]:
        """Say of each caption where it is in an image that the tower has seen."""
        self.check_captions(captions)
        found = []
        for start in range(0, len(captions), self.captions_at_once):
            part = captions[start : start + self.captions_at_once]
            found.extend(self._ask(seen, [self._tokens(caption) for caption in part]))
        return found

    def _ask(self, seen: DetectorFeatures, captions: list[list[int]]) -> Iterator[Grounding]:
        lengths = [len(ids) for ids in captions]
        tokens = nn.utils.rnn.pad_sequence(
            [torch.tensor(ids) for ids in captions], batch_first=True
        )
        tokens = tokens.to(seen.pixels.device)
        real = torch.arange(tokens.shape[1])[None] < torch.tensor(lengths)[:, None]
        pixels = seen.pixels.expand(len(captions), -1, -1, -1)
        with self._precision(pixels), self.model.model.backbone.showing(seen.features):
            out = self.model(pixels, tokens, attention_mask=real.long().to(tokens.device))
        scores, boxes = out.logits.float().sigmoid(), out.pred_boxes.float()
        for row, length in enumerate(lengths):
            yield Grounding(boxes[row], scores[row], tokens[row, :length], self.decode)

    def _tokens(self, caption: str) -> list[int]:
        return self.tokenizer(normalize_caption(caption))["input_ids"]

    def _precision(self, pixels: Tensor) -> torch.autocast:
        return torch.autocast(
            pixels.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
        )


class _ImageTower(nn.Module):
    """The detector's image tower, which is shown one image at a time and answers for as many rows as there are."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self._shown: Any = None

    @property
    def position_embedding(self) -> nn.Module:
        """What the detector asks its tower for, to place the coarsest level."""
        return self.tower.position_embedding

    @contextmanager
    def showing(self, features: Any) -> Iterator[None]:
        """Answer with what the tower said of one image."""
        self._shown = features
        try:
            yield
        finally:
            self._shown = None

    def forward(
        self,
        pixels: Tensor,
        mask: Tensor,  # noqa: ARG002
    ) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """Return the shown features, for each row of ``pixels`` the same."""
        levels, positions = self._shown
        n = len(pixels)
        return [(_rows(map_, n), _rows(real, n)) for map_, real in levels], [
            _rows(place, n) for place in positions
        ]


class _TextTower(nn.Module):
    """The detector's text tower, which reads each caption once, alone: what it says does not hang on its neighbours."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self._known: dict[tuple[Any, ...], Tensor] = {}

    def forward(self, ids: Tensor, mask: Tensor, kinds: Tensor, places: Tensor, **_: Any) -> Any:
        """Return the features of a batch of captions; zeros on the padding, which nothing looks at."""
        from transformers.modeling_outputs import BaseModelOutput

        lengths = _lengths(ids)
        rows = [self._row(row, n, ids, mask, kinds, places) for row, n in enumerate(lengths)]
        padded = [nn.functional.pad(row, (0, 0, 0, ids.shape[1] - len(row))) for row in rows]
        return BaseModelOutput(last_hidden_state=torch.stack(padded))

    def _row(
        self, row: int, n: int, ids: Tensor, mask: Tensor, kinds: Tensor, places: Tensor
    ) -> Tensor:
        precision = (
            torch.get_autocast_dtype(ids.device.type)
            if torch.is_autocast_enabled(ids.device.type)
            else None
        )
        key = (*ids[row, :n].tolist(), ids.device, precision)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED_CAPTIONS:
                self._known.pop(next(iter(self._known)))
            one = slice(row, row + 1)
            output = self.tower(ids[one, :n], mask[one, :, :n, :n], kinds[one, :n], places[one, :n])
            self._known[key] = output.last_hidden_state[0]
        return self._known[key]


def _rows(tensor: Tensor, n: int) -> Tensor:
    return tensor.expand(n, *tensor.shape[1:])


def _lengths(ids: Tensor) -> list[int]:
    # No caption holds the padding token, whose number is 0 in BERT's vocabulary.
    return [int(n) for n in (ids != _BERT_PLACES["[PAD]"]).sum(dim=1)]


def _pretrained(name: str) -> Any:
    from transformers import AutoModelForZeroShotObjectDetection

    model = hub.load_pretrained(AutoModelForZeroShotObjectDetection, name, what=_WHAT)
    if not hasattr(getattr(model, "model", None), "text_backbone"):
        raise ValueError(
            f"{name} is a {type(model).__name__}, expected Grounding DINO or MM-Grounding-DINO "
            "(for OWLv2: backbone=owl_sam)"
        )
    return model


def _random(architecture: dict[str, Any] | None) -> Any:
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection

    if architecture is None:
        raise ValueError(
            "neither detector.pretrained nor detector.architecture is given: nothing says what to build"
        )
    config = AutoConfig.for_model(**architecture)
    return hub.random_model(lambda: AutoModelForZeroShotObjectDetection.from_config(config))


def _tokenizer(pretrained: str | None, words: Sequence[str]) -> Any:
    from transformers import AutoTokenizer, BertTokenizer

    if pretrained is not None:
        return hub.load_part(AutoTokenizer, pretrained, what=_WHAT)
    return BertTokenizer(vocab=spelling_vocabulary(words))


def spelling_vocabulary(words: Sequence[str]) -> dict[str, int]:
    """Return a BERT vocabulary of some words, which spells all others, with the special tokens at BERT's places."""
    symbols = string.ascii_lowercase + string.digits
    others = [*string.punctuation, *symbols, *(f"##{symbol}" for symbol in symbols), *words]
    free = (place for place in range(1 << 30) if place not in _BERT_PLACES.values())
    placed = {word: next(free) for word in dict.fromkeys(others) if word not in _BERT_PLACES}
    last = max(*placed.values(), *_BERT_PLACES.values())
    taken = {*placed.values(), *_BERT_PLACES.values()}
    unused = {f"[unused{place}]": place for place in range(last) if place not in taken}
    return {**_BERT_PLACES, **placed, **unused}


def _processor(pretrained: str | None, image_size: Sequence[int] | None) -> Any:
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    options: dict[str, Any] = {}
    if image_size is not None:
        options["size"] = dict(zip(("shortest_edge", "longest_edge"), image_size, strict=True))
    if pretrained is None:
        return GroundingDinoImageProcessorPil(**options)
    return hub.load_part(GroundingDinoImageProcessorPil, pretrained, what=_WHAT, **options)
