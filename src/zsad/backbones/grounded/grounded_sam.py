"""A detector, a segmenter and a saliency network as one backbone, which looks at one image at a time.

Legend: H × W pixels, n boxes, m of them at once, k rows of a grounding, l tokens of a caption.

Source: Grounded-SAM; the networks together as SAA+ (arXiv 2305.10724) uses them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zsad.backbones.eight_bit_images import to_uint8
from zsad.backbones.grounded.detection_cache import DetectionCache
from zsad.backbones.grounded.grounding_dino import Grounding
from zsad.backbones.weight_files import fingerprint
from zsad.functional import rle
from zsad.types import RunLengths

_DETECTIONS = (
    "detections 2"  # form of a stored grounding, part of its key: version 0.1 stored another
)


class GroundedSAM(nn.Module):
    """Frozen networks that find what captions say, outline it, and tell what is unlike the rest.

    Args:
        detector: Finds captions: ``GroundingDINO``, ``OWLv2``.
        segmenter: Turns boxes into masks: ``SAM``, ``SAM2``, ``MetaSAM``.
        saliency: Gives the features of saliency maps; ``None`` for methods that need none.
        cache: Folder where what the networks said is kept, for this run and later ones; ``None`` keeps nothing.
        cache_floor: Boxes whose best score is not above it are not kept; methods cannot ask for lower thresholds.
        cache_max_gb: When the files take more, the oldest are deleted.
        input_size: Side in pixels that images are resized to before they come here; ``None``, as methods expect, for
            none: each network resizes for itself.
    """

    def __init__(
        self,
        detector: nn.Module,
        segmenter: nn.Module,
        saliency: nn.Module | None = None,
        cache: str | None = None,
        *,
        cache_floor: float = 0.05,
        cache_max_gb: float = 20.0,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.detector: Any = detector
        self.segmenter: Any = segmenter
        self.saliency: Any = saliency
        self.cache = (
            None if cache is None else DetectionCache(Path(cache).expanduser(), cache_max_gb)
        )
        self.min_score = 0.0 if cache is None else cache_floor

    def prepare_image(self, image: Float[Tensor, "3 h w"]) -> "GroundedImage":
        """Return what there is to know of an image: RGB in [0, 1], at its own size."""
        return GroundedImage(self, image)

    @cached_property
    def identities(self) -> dict[str, str]:
        """For each network what its answers depend on: its weights, its precision, its preprocessing."""
        return {
            name: f"{fingerprint(network)} {network.settings}"
            for name, network in self.named_children()
        }


class GroundedImage:
    """One image: every network sees it at most once, and only when it is asked for.

    Attributes:
        size: Height and width of the image.
    """

    def __init__(self, backbone: GroundedSAM, image: Float[Tensor, "3 h w"]) -> None:
        self.size = (image.shape[1], image.shape[2])
        self._backbone = backbone
        self._cache = backbone.cache
        self._image = image
        self._said: dict[str, Grounding] = {}

    def detect(self, captions: Sequence[str]) -> list[Grounding]:
        """Return what the detector says of each caption.

        Raises:
            ValueError: If a caption is too long for the detector; nothing has run then.
        """
        detector = self._backbone.detector
        detector.check_captions(captions)
        self._said |= self._recalled([caption for caption in captions if caption not in self._said])
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._said]
        if missing:
            for caption, grounding in zip(
                missing, detector.detect_from_features(self._seen, missing), strict=True
            ):
                self._said[caption] = self._kept(caption, grounding)
        return [self._said[caption] for caption in captions]

    def masks(self, boxes: Float[Tensor, "n 4"]) -> Iterator[Bool[Tensor, "m h w"]]:
        """Outline what is in each box, some boxes at a time, in their order.

        Args:
            boxes: x0, y0, x1, y1 in pixels of the image; they may reach beyond it.
        """
        if not len(boxes):
            return
        if self._cache is None:
            yield from self._backbone.segmenter.masks(self._encoded, boxes)
            return
        known = len(self._outlines)
        try:
            for part in boxes.float().split(self._backbone.segmenter.chunk):
                yield self._outlined(part)
        finally:  # also where a method has seen enough masks
            if len(self._outlines) > known:
                self._cache.put(*self._key("segmenter"), tensors=_pack(self._outlines))

    def stages(self, size_px: int) -> list[Tensor]:
        """Return the saliency network's features (c, h, w) at strides 4, 8 and 16, of the image as a square.

        Raises:
            ValueError: If the backbone has no saliency network.
        """
        if self._backbone.saliency is None:
            raise ValueError(
                "this backbone has no saliency network: expected one in backbone.saliency (grounded_sam)"
            )
        return self._backbone.saliency.stages(self._image, size_px)

    def cached_result(self, what: str, make: Callable[[], Tensor]) -> Tensor:
        """Return a small result that hangs on the image and the networks, made once where there is a cache.

        Args:
            what: Everything else that it hangs on, as text.
            make: Makes it.
        """
        if self._cache is None:
            return make()
        key = (*self._key(*self._backbone.identities), what)
        if (known := self._cache.get(*key)) is not None:
            return known["result"].to(self._image.device)
        result = make()
        self._cache.put(*key, tensors={"result": result})
        return result

    @cached_property
    def _seen(self) -> Any:
        return self._backbone.detector.encode_image(self._image)

    @cached_property
    def _encoded(self) -> Any:
        return self._backbone.segmenter.encode_image(self._image)

    @cached_property
    def _image_hash(self) -> str:
        digest = hashlib.blake2b(repr(self.size).encode(), digest_size=20)
        digest.update(to_uint8(self._image).cpu().numpy().tobytes())
        return digest.hexdigest()

    def _key(self, *networks: str) -> tuple[str, ...]:
        return *(self._backbone.identities[network] for network in networks), self._image_hash

    def _caption_key(self, caption: str) -> tuple[str, ...]:
        return *self._key("detector"), _DETECTIONS, caption

    def _recalled(self, captions: list[str]) -> dict[str, Grounding]:
        if self._cache is None:
            return {}
        found = {caption: self._cache.get(*self._caption_key(caption)) for caption in captions}
        return {
            caption: self._grounding(kept)
            for caption, kept in found.items()
            if kept and self._reaches(kept)
        }

    def _reaches(self, kept: dict[str, Tensor]) -> bool:
        return float(kept["min_score"]) <= self._backbone.min_score

    def _kept(self, caption: str, grounding: Grounding) -> Grounding:
        if self._cache is None:
            return grounding
        rows = grounding.token_scores.amax(dim=1) > self._backbone.min_score
        length = len(grounding.token_ids)
        kept = {
            "boxes": grounding.boxes[rows],
            "scores": grounding.token_scores[rows, :length],  # further columns are padding
            "columns": torch.tensor(grounding.token_scores.shape[1]),
            "token_ids": grounding.token_ids,
            "min_score": torch.tensor(self._backbone.min_score, dtype=torch.float64),
        }
        self._cache.put(*self._caption_key(caption), tensors=kept)
        return self._grounding(kept)

    def _grounding(self, kept: dict[str, Tensor]) -> Grounding:
        device, scores = self._image.device, kept["scores"]
        scores = F.pad(scores, (0, int(kept["columns"]) - scores.shape[1])).to(device)
        grounding = Grounding(
            kept["boxes"].to(device),
            scores,
            kept["token_ids"].to(device),
            self._backbone.detector.decode,
        )
        return replace(grounding, min_score=float(kept["min_score"]))

    @cached_property
    def _outlines(self) -> dict[bytes, RunLengths]:
        """Runs of each known box's mask, row by row: as one long column, which takes a tenth of the time."""
        kept = self._cache.get(*self._key("segmenter")) if self._cache else None
        return {} if kept is None else _unpack(kept)

    def _outlined(self, boxes: Float[Tensor, "m 4"]) -> Bool[Tensor, "m h w"]:
        keys = [box.numpy().tobytes() for box in boxes.cpu()]
        unknown = [row for row, key in enumerate(keys) if key not in self._outlines]
        for masks in (
            self._backbone.segmenter.masks(self._encoded, boxes[unknown]) if unknown else ()
        ):
            for row, mask in zip(unknown, masks, strict=True):  # all of a chunk are decoded at once
                self._outlines[keys[row]] = rle.encode(mask.reshape(-1, 1))
        masks = [rle.decode(self._outlines[key]) for key in keys]
        return torch.stack(masks).view(-1, *self.size).to(self._image.device)


def _pack(outlines: dict[bytes, RunLengths]) -> dict[str, Tensor]:
    counts = [runs.counts.int() for runs in outlines.values()]
    boxes = torch.frombuffer(bytearray(b"".join(outlines)), dtype=torch.float32).view(-1, 4)
    return {
        "boxes": boxes,
        "runs": torch.tensor([len(part) for part in counts]),
        "counts": torch.cat(counts),
    }


def _unpack(kept: dict[str, Tensor]) -> dict[bytes, RunLengths]:
    parts = kept["counts"].long().split(kept["runs"].tolist())
    boxes = [box.numpy().tobytes() for box in kept["boxes"]]
    return {
        box: RunLengths((int(counts.sum()), 1), counts)
        for box, counts in zip(boxes, parts, strict=True)
    }
