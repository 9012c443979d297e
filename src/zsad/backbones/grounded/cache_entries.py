"""Entries of the detection cache: detections and masks of an image as small tensors.

Masks are stored as run lengths, each mask flattened to one column, which takes a tenth of the time.

Legend: m masks, their boxes (m, 4), r runs of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from zsad.backbones.grounded.grounding import Grounding
from zsad.functional import rle
from zsad.types import RunLengths

# Form of stored detections, a part of their keys: version 0.1 stored other names.
DETECTIONS = "detections 2"

Outlines = dict[bytes, RunLengths]  # from the bytes of a box, as ``box_keys`` has them


def pack_grounding(grounding: Grounding, min_score: float) -> dict[str, Tensor]:
    """Return the boxes of a detector whose best score is above ``min_score``, for the cache."""
    scores = grounding.token_scores
    rows = scores.amax(dim=1) > min_score
    length = len(grounding.token_ids)  # further columns are padding
    return {
        "boxes": grounding.boxes[rows],
        "scores": scores[rows, :length],
        "columns": torch.tensor(scores.shape[1]),
        "token_ids": grounding.token_ids,
        "min_score": torch.tensor(min_score, dtype=torch.float64),
    }


def unpack_grounding(
    entry: Mapping[str, Tensor], device: torch.device, decode: Callable[[list[int]], str]
) -> Grounding:
    """Return the detections of a cache entry; ``decode`` is the detector's."""
    scores = entry["scores"]
    padding = int(entry["columns"]) - scores.shape[1]
    return Grounding(
        entry["boxes"].to(device),
        F.pad(scores, (0, padding)).to(device),
        entry["token_ids"].to(device),
        decode,
        min_score=float(entry["min_score"]),
    )


def box_keys(boxes: Tensor) -> list[bytes]:
    """Return a key for each box: the bytes of its four float32 numbers."""
    return [box.numpy().tobytes() for box in boxes.cpu()]


def encode_outline(mask: Bool[Tensor, "h w"]) -> RunLengths:
    """Return the run lengths of a mask as one column."""
    return rle.encode(mask.reshape(-1, 1))


def decode_outline(outline: RunLengths, size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """Return the mask of a column of run lengths."""
    return rle.decode(outline).view(size)


def pack_outlines(outlines: Outlines) -> dict[str, Tensor]:
    """Return the masks of an image for the cache."""
    counts = [runs.counts.int() for runs in outlines.values()]
    all_boxes = bytearray(b"".join(outlines))
    return {
        "boxes": torch.frombuffer(all_boxes, dtype=torch.float32).view(-1, 4),
        "runs": torch.tensor([len(part) for part in counts]),
        "counts": torch.cat(counts),
    }


def unpack_outlines(entry: Mapping[str, Tensor]) -> Outlines:
    """Return the masks of a cache entry by their boxes."""
    lengths = entry["runs"].tolist()
    parts = entry["counts"].long().split(lengths)
    outlines = {}
    for key, counts in zip(box_keys(entry["boxes"]), parts, strict=True):
        pixels = int(counts.sum())
        outlines[key] = RunLengths((pixels, 1), counts)
    return outlines
