"""What stands in for detector, segmenter and saliency network in the golden cases of SAA+, and for
its tokenizer.

Legend: q queries, t token columns, n boxes, H × W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zsad.backbones.grounded.box_segmenter import letterbox, scale_boxes
from zsad.backbones.grounded.grounded_sam import GroundedSAM
from zsad.backbones.grounded.grounding import Grounding
from zsad.backbones.grounded.grounding_dino import normalize_caption
from zsad.methods.box_filter import BoxCandidates
from zsad.methods.saa import SAA
from zsad.prompts.saa_captions import DefectPrompts, DefectWords

SAM_SIDE = 1024  # of the square that it sees; a case may say otherwise
NOWHERE = "no object at all"


class WordPiece:
    """BERT's tokenizer over the words of a golden case: greedy pieces, punctuation alone."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.words = [str(word) for word in vocabulary]
        self.places = {word: place for place, word in enumerate(self.words)}

    def encode(self, caption: str) -> list[int]:
        parts = re.findall(r"[a-z0-9]+|[^a-z0-9\s]", caption.lower())
        pieces = [piece for part in parts for piece in self._pieces(part)]
        return [self.places[piece] for piece in ("[CLS]", *pieces, "[SEP]")]

    def decode(self, ids: list[int]) -> str:
        text = " ".join(self.words[one] for one in ids).replace(" ##", "")
        return re.sub(r" ([.,?!])", r"\1", text)

    def _pieces(self, word: str) -> list[str]:
        pieces: list[str] = []
        while word:
            prefix = "##" if pieces else ""
            ends = (end for end in range(len(word), 0, -1) if prefix + word[:end] in self.places)
            if (end := next(ends, 0)) == 0:
                return ["[UNK]"]
            pieces.append(prefix + word[:end])
            word = word[end:]
        return pieces


class StoredDetector(nn.Module):
    """Says what a golden case holds of a caption, and of others that nothing is certain."""

    def __init__(self, said: dict[str, Grounding]) -> None:
        super().__init__()
        self.said = said

    def check_captions(self, captions: Sequence[str]) -> None:
        pass

    def encode_image(self, image: Tensor) -> None:
        pass

    def detect_from_features(self, seen: None, captions: Sequence[str]) -> list[Grounding]:
        one = next(iter(self.said.values()))
        nothing = Grounding(
            one.boxes, torch.zeros_like(one.token_scores), one.token_ids, one.decode
        )
        return [self.said.get(normalize_caption(caption), nothing) for caption in captions]


class EllipseSegmenter(nn.Module):
    """Outlines in each box the ellipse that touches its sides, as the stand-in of the golden cases
    does.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.encoded = side, 0

    def encode_image(self, image: Tensor) -> tuple[int, int]:
        self.encoded += 1
        return (image.shape[1], image.shape[2])

    def masks(self, embedding: tuple[int, int], boxes: Tensor) -> Iterator[Tensor]:
        frame = letterbox(embedding, self.side)
        for part in scale_boxes(boxes, embedding, frame).split(7):
            yield torch.stack([ellipse(box, embedding, frame) for box in part])


class StoredSaliency(nn.Module):
    """Has the features of a golden case, whatever size is asked for."""

    def __init__(self, stages: Sequence[Tensor]) -> None:
        super().__init__()
        self.kept = list(stages)

    def stages(self, image: Tensor, size_px: int) -> list[Tensor]:
        return self.kept


class StoredWords(DefectWords):
    """Asks what a golden case asks, of any category."""

    def __init__(self, asked: DefectPrompts) -> None:
        super().__init__({})
        self.asked = asked

    def prompts(self, category: str) -> DefectPrompts:
        return self.asked


def side_of(case: dict[str, Any]) -> int:
    return int(case.get("sam_long_side", SAM_SIDE))


def sam_boxes(found: BoxCandidates, size: tuple[int, int], side: int) -> Tensor:
    """Return boxes as the segmenter is shown them: in pixels of an image whose longer side is
    ``side``.
    """
    return scale_boxes(found.corners(size), size, letterbox(size, side))


def ellipse(sam_box: Tensor, size: tuple[int, int], frame: tuple[int, int]) -> Tensor:
    high, wide = frame
    x0, y0, x1, y1 = (
        sam_box.double() / torch.tensor([wide / size[1], high / size[0]] * 2)
    ).tolist()
    rx, ry = max((x1 - x0) / 2, 1e-3), max((y1 - y0) / 2, 1e-3)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    inside = ((x - (x0 + x1) / 2) / rx) ** 2 + ((y - (y0 + y1) / 2) / ry) ** 2 <= 1
    return torch.from_numpy(inside)


def groundings(case: dict[str, Any]) -> dict[str, Grounding]:
    """Return what the detector says of each caption of a case, however its queries are stored."""
    tokenizer = WordPiece(case["vocab"])
    captions = [normalize_caption(str(one)) for one in case["captions"]]
    logits, boxes = (torch.from_numpy(case[key]) for key in ("logits", "boxes_cxcywh"))
    if logits.ndim == 2:
        counts = case["num_queries"].tolist()
        logits, boxes = logits.split(counts), boxes.split(counts)
    return {
        caption: Grounding(
            box, logit.sigmoid(), torch.tensor(tokenizer.encode(caption)), tokenizer.decode
        )
        for caption, logit, box in zip(captions, logits, boxes, strict=True)
    }


def method_of(case: dict[str, Any], asked: DefectPrompts, **settings: Any) -> SAA:
    """Return our method with the stand-ins of a case."""
    feats = [torch.from_numpy(case[key])[0] for key in ("feat0", "feat1", "feat2") if key in case]
    backbone = GroundedSAM(
        StoredDetector(groundings(case)), EllipseSegmenter(side_of(case)), StoredSaliency(feats)
    )
    thresholds = {key: float(case[key]) for key in ("box_threshold", "text_threshold")}
    return SAA(backbone, StoredWords(asked), **thresholds, **settings)
