"""Segmenters that turn boxes into masks: SAM, SAM-HQ, SAM 2, and Meta's original SAM files; frozen.

Legend: n boxes, m of them at once, H × W pixels of the image, S the side of the square that the network sees.

Source: Segment Anything (ICCV 2023), HQ-SAM (NeurIPS 2023), SAM 2 (2024).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zsad.backbones import eight_bit_images, hub
from zsad.backbones.weight_files import load_tensors

_WHAT = "the segmenter"


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """What a segmenter's image tower saw of one image: enough for any number of boxes.

    Attributes:
        size: Height and width of the image, before it was resized.
        features: What the tower returned for it.
    """

    size: tuple[int, int]
    features: Any


def letterbox(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the height and width of an image whose longer side is resized to ``side``; of a line, 1 pixel is left."""
    scale = side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def to_frame(
    boxes: Float[Tensor, "n 4"], size: tuple[int, int], frame: tuple[int, int]
) -> Float[Tensor, "n 4"]:
    """Move boxes from the pixels of an image (height, width) to those of a resized one."""
    x, y = frame[1] / size[1], frame[0] / size[0]
    return boxes * torch.tensor([x, y, x, y], dtype=boxes.dtype, device=boxes.device)


class BoxSegmenter(nn.Module, ABC):
    """A frozen segmenter: one mask for each box; whether it is a good one, nobody asks.

    Args:
        dtype: Precision of the image tower; masks are decoded in float32.
        chunk: So many boxes are decoded together; bounds the memory.
    """

    def __init__(self, *, dtype: str, chunk: int) -> None:
        super().__init__()
        self.dtype = hub.as_dtype(dtype)
        self.chunk = chunk

    def train(self, mode: bool = True) -> "BoxSegmenter":  # noqa: ARG002 (the signature is torch's)
        """Stay in eval mode, whatever the trainer asks for: this network is frozen."""
        return super().train(False)

    @property
    def settings(self) -> str:
        """All that decides the masks besides the weights, as text."""
        return f"{type(self).__name__} {self.side} {self.dtype}"

    @property
    @abstractmethod
    def side(self) -> int:
        """Side S in pixels of the square that the image tower sees."""

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "3 h w"]) -> EncodedImage:
        """Run the image tower, which knows nothing of boxes. RGB in [0, 1]."""
        size = (image.shape[1], image.shape[2])
        seen = eight_bit_images.normalize(eight_bit_images.resize(image, *self._frame(size)))
        square = F.pad(seen, (0, self.side - seen.shape[2], 0, self.side - seen.shape[1]))
        with torch.autocast(
            image.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
        ):
            return EncodedImage(size, self._encode(square[None]))

    @torch.no_grad()
    def masks(
        self, embedding: EncodedImage, boxes: Float[Tensor, "n 4"]
    ) -> Iterator[Bool[Tensor, "m h w"]]:
        """Decode boxes into masks, a chunk at a time, in the order of the boxes.

        Args:
            embedding: The image, encoded.
            boxes: x0, y0, x1, y1 in pixels of the image; they may reach beyond it.
        """
        frame = self._frame(embedding.size)
        for part in to_frame(boxes.float(), embedding.size, frame).split(self.chunk):
            if len(part):
                with torch.autocast(part.device.type, enabled=False):
                    logits = self._decode(embedding.features, part)
                yield self._upsampled(logits, embedding.size, frame)

    def _frame(self, size: tuple[int, int]) -> tuple[int, int]:
        return letterbox(size, self.side)

    def _upsampled(
        self, logits: Tensor, size: tuple[int, int], frame: tuple[int, int]
    ) -> Bool[Tensor, "m h w"]:
        square = F.interpolate(logits[:, None].float(), (self.side, self.side), mode="bilinear")
        inner = square[..., : frame[0], : frame[1]]
        # One by one: floats of the size of the image for all m would be the most memory that this method takes.
        full = (F.interpolate(one[None], size, mode="bilinear")[0, 0] > 0 for one in inner)
        return torch.stack(list(full))

    @abstractmethod
    def _encode(self, square: Float[Tensor, "1 3 s s"]) -> Any: ...

    @abstractmethod
    def _decode(self, features: Any, boxes: Float[Tensor, "m 4"]) -> Float[Tensor, "m h w"]: ...


class SAM(BoxSegmenter):
    """SAM or SAM-HQ as ``transformers`` has them.

    Args:
        pretrained: Hub id or folder (``facebook/sam-vit-huge``, ``syscv-community/sam-hq-vit-huge``), or ``None`` for
            random weights.
        architecture: Where ``pretrained`` is ``None``: the fields of the configuration, with its ``model_type``.
        dtype: Precision of the image tower.
        chunk: So many boxes are decoded together.

    Raises:
        ValueError: If the weights are not of such a segmenter.
        FileNotFoundError: If they cannot be had.
    """

    model: Any

    def __init__(
        self,
        pretrained: str | None = "facebook/sam-vit-huge",
        *,
        architecture: dict[str, Any] | None = None,
        dtype: str = "float32",
        chunk: int = 32,
    ) -> None:
        super().__init__(dtype=dtype, chunk=chunk)
        self.model = _network(pretrained, architecture, ("sam", "sam_hq"))
        self.eval()

    @property
    def side(self) -> int:
        """Side S in pixels of the square that the image tower sees: 1024 in every published one."""
        return self.model.config.vision_config.image_size

    def _encode(self, square: Tensor) -> dict[str, Any]:
        out = self.model.get_image_embeddings(square)
        if isinstance(out, Tensor):
            return {"image_embeddings": out.float()}
        embeddings, intermediate = out  # SAM-HQ: the mask decoder looks at the early blocks, too
        return {
            "image_embeddings": embeddings.float(),
            "intermediate_embeddings": [x.float() for x in intermediate],
        }

    def _decode(self, features: dict[str, Any], boxes: Tensor) -> Tensor:
        return self.model(**features, input_boxes=boxes[None], multimask_output=False).pred_masks[
            0, :, 0
        ]


class SAM2(BoxSegmenter):
    """SAM 2 and 2.1 for single images, as ``transformers`` has them: the image is stretched to a square.

    Args:
        pretrained: Hub id or folder (``facebook/sam2.1-hiera-large``), or ``None`` for random weights.
        architecture: Where ``pretrained`` is ``None``: the fields of the configuration, with its ``model_type``.
        dtype: Precision of the image tower.
        chunk: So many boxes are decoded together.

    Raises:
        ValueError: If the weights are not of such a segmenter.
        FileNotFoundError: If they cannot be had.
    """

    model: Any

    def __init__(
        self,
        pretrained: str | None = "facebook/sam2.1-hiera-large",
        *,
        architecture: dict[str, Any] | None = None,
        dtype: str = "float32",
        chunk: int = 32,
    ) -> None:
        super().__init__(dtype=dtype, chunk=chunk)
        self.model = _network(pretrained, architecture, ("sam2", "sam2_video"))
        self.eval()

    @property
    def side(self) -> int:
        """Side S in pixels of the square that the image tower sees: 1024 in every published one."""
        return self.model.config.vision_config.backbone_config.image_size[0]

    def _frame(self, size: tuple[int, int]) -> tuple[int, int]:  # noqa: ARG002 (nothing of the image stays)
        return self.side, self.side

    def _encode(self, square: Tensor) -> list[Tensor]:
        return [level.float() for level in self.model.get_image_embeddings(square)]

    def _decode(self, features: list[Tensor], boxes: Tensor) -> Tensor:
        out = self.model(image_embeddings=features, input_boxes=boxes[None], multimask_output=False)
        return out.pred_masks[0, :, 0]

    def _upsampled(self, logits: Tensor, size: tuple[int, int], frame: tuple[int, int]) -> Tensor:  # noqa: ARG002
        full = (
            F.interpolate(one[None, None].float(), size, mode="bilinear")[0, 0] > 0
            for one in logits
        )
        return torch.stack(list(full))


class MetaSAM(BoxSegmenter):
    """SAM from one of Meta's own files, by the package ``segment_anything``.

    Args:
        checkpoint: ``sam_vit_h_4b8939.pth`` or one of its sisters; ``None`` for random weights.
        model_name: ``vit_h``, ``vit_l`` or ``vit_b``: what the file is of.
        dtype: Precision of the image tower.
        chunk: So many boxes are decoded together.

    Raises:
        ValueError: If the file is not of that model, is damaged, or holds more than tensors.
        FileNotFoundError: If there is no such file.
    """

    model: Any

    def __init__(
        self,
        checkpoint: str | None,
        model_name: str = "vit_h",
        *,
        dtype: str = "float32",
        chunk: int = 32,
    ) -> None:
        super().__init__(dtype=dtype, chunk=chunk)
        self.model = _meta_model(model_name)
        if checkpoint is not None:
            _load_meta_file(self.model, Path(checkpoint).expanduser(), model_name)
        self.requires_grad_(False)
        self.eval()

    @property
    def side(self) -> int:
        """Side S in pixels of the square that the image tower sees: 1024."""
        return self.model.image_encoder.img_size

    def _encode(self, square: Tensor) -> Tensor:
        return self.model.image_encoder(square).float()

    def _decode(self, features: Tensor, boxes: Tensor) -> Tensor:
        sparse, dense = self.model.prompt_encoder(points=None, boxes=boxes, masks=None)
        logits, _ = self.model.mask_decoder(
            image_embeddings=features,
            image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        return logits[:, 0]


def _network(
    pretrained: str | None, architecture: dict[str, Any] | None, kinds: tuple[str, ...]
) -> Any:
    from transformers import AutoConfig, AutoModelForMaskGeneration

    if pretrained is None and architecture is None:
        raise ValueError(
            "neither segmenter.pretrained nor segmenter.architecture is given: nothing says what to build"
        )
    if pretrained is None:
        config = AutoConfig.for_model(**(architecture or {}))
        model = hub.random_model(lambda: AutoModelForMaskGeneration.from_config(config))
    else:
        model = hub.load_pretrained(AutoModelForMaskGeneration, pretrained, what=_WHAT)
    if model.config.model_type not in kinds:
        raise ValueError(
            f"{pretrained or architecture} is a {model.config.model_type}, expected {' or '.join(kinds)}"
        )
    return model


def _meta_model(name: str) -> Any:
    from segment_anything import sam_model_registry

    if name not in sam_model_registry:
        raise ValueError(
            f"segmenter.model_name {name!r}: expected one of {', '.join(sam_model_registry)}"
        )
    return hub.random_model(sam_model_registry[name])


def _load_meta_file(model: nn.Module, path: Path, name: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{_WHAT}: no file {path}. Fetch it from the model checkpoints of the repository "
            "facebookresearch/segment-anything, or use weights of the hub: backbone=grounded_sam"
        )
    state = load_tensors(path)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not hold the weights of a SAM {name}: {str(error).splitlines()[0]}"
        ) from error
