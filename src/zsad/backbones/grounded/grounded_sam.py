"""A detector, a segmenter and a saliency network as one backbone for one image at a time.

Legend: H × W pixels, n boxes, m of them at once.

Source: Grounded-SAM; the networks together as SAA+ (arXiv 2305.10724) uses them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zsad.backbones.eight_bit_images import to_uint8
from zsad.backbones.grounded import cache_entries
from zsad.backbones.grounded.detection_cache import DetectionCache
from zsad.backbones.grounded.grounding import Grounding
from zsad.backbones.weight_files import fingerprint


class GroundedSAM(nn.Module):
    """Frozen networks that find the things of captions, outline them, and tell salient places.

    Args:
        detector: Finds captions: ``GroundingDINO``, ``OWLv2``.
        segmenter: Turns boxes into masks: ``SAM``, ``SAM2``, ``MetaSAM``.
        saliency: Gives the features of saliency maps; ``None`` for methods that need none.
        cache: Folder of the networks' answers, for this run and later ones; ``None`` stores
            nothing.
        cache_min_score: Boxes whose best score is not above it are not stored; methods cannot ask
            for lower thresholds.
        cache_max_gb: When the files take more, the oldest are deleted.
        input_size: Side in pixels that images are resized to before they come here; ``None``, as
            methods expect, for none: each network resizes for itself.
    """

    def __init__(
        self,
        detector: nn.Module,
        segmenter: nn.Module,
        saliency: nn.Module | None = None,
        cache: str | None = None,
        *,
        cache_min_score: float = 0.05,
        cache_max_gb: float = 20.0,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.detector: Any = detector
        self.segmenter: Any = segmenter
        self.saliency: Any = saliency
        self.cache: DetectionCache | None = None
        self.min_score = 0.0
        if cache is not None:
            self.cache = DetectionCache(Path(cache).expanduser(), cache_max_gb)
            self.min_score = cache_min_score

    def prepare_image(self, image: Float[Tensor, "3 h w"]) -> GroundedImage:
        """Return an image, RGB in [0, 1] at its own size, ready for questions to the networks."""
        return GroundedImage(self, image)

    @cached_property
    def identities(self) -> dict[str, str]:
        """Identity of each network's answers: its weights, its precision, its preprocessing."""
        identities = {}
        for name, network in self.named_children():
            identities[name] = f"{fingerprint(network)} {network.settings}"
        return identities


class GroundedImage:
    """One image: every network reads it at most once, and only when its answer is needed.

    Attributes:
        size: Height and width of the image.
    """

    def __init__(self, backbone: GroundedSAM, image: Float[Tensor, "3 h w"]) -> None:
        self.size = (image.shape[1], image.shape[2])
        self._backbone = backbone
        self._cache = backbone.cache
        self._image = image
        self._groundings: dict[str, Grounding] = {}

    def detect(self, captions: Sequence[str]) -> list[Grounding]:
        """Return the detector's answer to each caption.

        Raises:
            ValueError: If a caption is too long for the detector; nothing has run then.
        """
        detector = self._backbone.detector
        detector.check_captions(captions)
        self._recall(captions)
        missing = self._missing(captions)
        if missing:
            answers = detector.detect_from_features(self._detector_features, missing)
            for caption, grounding in zip(missing, answers, strict=True):
                self._groundings[caption] = self._store(caption, grounding)
        return [self._groundings[caption] for caption in captions]

    def masks(self, boxes: Float[Tensor, "n 4"]) -> Iterator[Bool[Tensor, "m h w"]]:
        """Outline the thing in each box, some boxes at a time, in their order.

        Args:
            boxes: x0, y0, x1, y1 in pixels of the image; they may reach beyond it.
        """
        if not len(boxes):
            return
        segmenter = self._backbone.segmenter
        if self._cache is None:
            yield from segmenter.masks(self._segmenter_features, boxes)
            return
        known = len(self._outlines)
        try:
            for part in boxes.float().split(segmenter.chunk):
                yield self._cached_masks(part)
        finally:  # also where a method stops before the last masks
            if len(self._outlines) > known:
                entry = cache_entries.pack_outlines(self._outlines)
                self._cache.put(*self._key("segmenter"), tensors=entry)

    def stages(self, size_px: int) -> list[Tensor]:
        """Return the saliency network's features of the image as a square.

        They are (c, h, w) each, at strides 4, 8 and 16.

        Raises:
            ValueError: If the backbone has no saliency network.
        """
        if self._backbone.saliency is None:
            raise ValueError(
                "this backbone has no saliency network: expected one in backbone.saliency "
                "(grounded_sam)"
            )
        return self._backbone.saliency.stages(self._image, size_px)

    def cached_result(self, description: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return a small result of the image and the networks, from the cache if there is one.

        Args:
            description: Everything else that the result depends on, as text.
            compute: Computes the result.
        """
        if self._cache is None:
            return compute()
        key = (*self._key(*self._backbone.identities), description)
        known = self._cache.get(*key)
        if known is not None:
            return known["result"].to(self._image.device)
        result = compute()
        self._cache.put(*key, tensors={"result": result})
        return result

    @cached_property
    def _detector_features(self) -> Any:
        return self._backbone.detector.encode_image(self._image)

    @cached_property
    def _segmenter_features(self) -> Any:
        return self._backbone.segmenter.encode_image(self._image)

    @cached_property
    def _image_hash(self) -> str:
        digest = hashlib.blake2b(repr(self.size).encode(), digest_size=20)
        levels = to_uint8(self._image).cpu()
        digest.update(levels.numpy().tobytes())
        return digest.hexdigest()

    def _key(self, *networks: str) -> tuple[str, ...]:
        identities = [self._backbone.identities[network] for network in networks]
        return *identities, self._image_hash

    def _caption_key(self, caption: str) -> tuple[str, ...]:
        return *self._key("detector"), cache_entries.DETECTIONS, caption

    def _missing(self, captions: Sequence[str]) -> list[str]:
        """Return the captions without an answer, each once."""
        return [caption for caption in dict.fromkeys(captions) if caption not in self._groundings]

    def _recall(self, captions: Sequence[str]) -> None:
        """Take answers from the cache that were stored down to this backbone's lowest score."""
        if self._cache is None:
            return
        for caption in self._missing(captions):
            entry = self._cache.get(*self._caption_key(caption))
            if entry and float(entry["min_score"]) <= self._backbone.min_score:
                self._groundings[caption] = self._unpack(entry)

    def _store(self, caption: str, grounding: Grounding) -> Grounding:
        """Store an answer in the cache, if there is one, and return it as the cache would."""
        if self._cache is None:
            return grounding
        entry = cache_entries.pack_grounding(grounding, self._backbone.min_score)
        self._cache.put(*self._caption_key(caption), tensors=entry)
        return self._unpack(entry)

    def _unpack(self, entry: dict[str, Tensor]) -> Grounding:
        decode = self._backbone.detector.decode
        return cache_entries.unpack_grounding(entry, self._image.device, decode)

    @cached_property
    def _outlines(self) -> cache_entries.Outlines:
        """Outlines of the masks that are known."""
        if self._cache is None:
            return {}
        entry = self._cache.get(*self._key("segmenter"))
        return {} if entry is None else cache_entries.unpack_outlines(entry)

    def _cached_masks(self, boxes: Float[Tensor, "m 4"]) -> Bool[Tensor, "m h w"]:
        keys = cache_entries.box_keys(boxes)
        unknown = [row for row, key in enumerate(keys) if key not in self._outlines]
        if unknown:
            rows = iter(unknown)
            for masks in self._backbone.segmenter.masks(self._segmenter_features, boxes[unknown]):
                for mask in masks:
                    key = keys[next(rows)]
                    self._outlines[key] = cache_entries.encode_outline(mask)
        masks = [cache_entries.decode_outline(self._outlines[key], self.size) for key in keys]
        return torch.stack(masks).to(self._image.device)
