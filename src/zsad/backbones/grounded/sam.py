"""SAM, SAM-HQ and SAM 2 as ``transformers`` has them: frozen, from boxes to masks.

Source: Segment Anything (ICCV 2023), HQ-SAM (NeurIPS 2023), SAM 2 (2024).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zsad.backbones import hub
from zsad.backbones.grounded.box_segmenter import BoxSegmenter, upsample_each


class SAM(BoxSegmenter):
    """SAM or SAM-HQ as ``transformers`` has them.

    Args:
        pretrained: Hub id or folder (``facebook/sam-vit-huge``,
            ``syscv-community/sam-hq-vit-huge``), or ``None`` for random weights.
        architecture: Where ``pretrained`` is ``None``: the fields of the configuration, with its
            ``model_type``.
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
        self.model = _load(pretrained, architecture, ("sam", "sam_hq"))
        self.freeze()

    @property
    def side(self) -> int:
        """Side S in pixels of the image tower's square: 1024 in published models."""
        return self.model.config.vision_config.image_size

    def _encode(self, square: Tensor) -> dict[str, Any]:
        out = self.model.get_image_embeddings(square)
        if isinstance(out, Tensor):
            return {"image_embeddings": out.float()}
        embeddings, intermediate = out  # SAM-HQ: the mask decoder reads the early blocks, too
        return {
            "image_embeddings": embeddings.float(),
            "intermediate_embeddings": [block.float() for block in intermediate],
        }

    def _decode(self, features: dict[str, Any], boxes: Tensor) -> Tensor:
        out = self.model(**features, input_boxes=boxes[None], multimask_output=False)
        return out.pred_masks[0, :, 0]


class SAM2(BoxSegmenter):
    """SAM 2 and 2.1 for single images: the image is stretched to a square.

    Args:
        pretrained: Hub id or folder (``facebook/sam2.1-hiera-large``), or ``None`` for random
            weights.
        architecture: Where ``pretrained`` is ``None``: the fields of the configuration, with its
            ``model_type``.
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
        self.model = _load(pretrained, architecture, ("sam2", "sam2_video"))
        self.freeze()

    @property
    def side(self) -> int:
        """Side S in pixels of the image tower's square: 1024 in published models."""
        return self.model.config.vision_config.backbone_config.image_size[0]

    def _frame(self, size: tuple[int, int]) -> tuple[int, int]:  # noqa: ARG002 (always the square)
        return self.side, self.side

    def _encode(self, square: Tensor) -> list[Tensor]:
        return [level.float() for level in self.model.get_image_embeddings(square)]

    def _decode(self, features: list[Tensor], boxes: Tensor) -> Tensor:
        out = self.model(image_embeddings=features, input_boxes=boxes[None], multimask_output=False)
        return out.pred_masks[0, :, 0]

    def _upsample(
        self,
        logits: Tensor,
        size: tuple[int, int],
        frame: tuple[int, int],  # noqa: ARG002 (the whole square is image)
    ) -> Tensor:
        return upsample_each(logits, size)


def _load(
    pretrained: str | None, architecture: dict[str, Any] | None, kinds: tuple[str, ...]
) -> Any:
    from transformers import AutoModelForMaskGeneration

    if pretrained is None:
        model = hub.build_random(AutoModelForMaskGeneration, architecture, key="segmenter")
    else:
        model = hub.load_pretrained(AutoModelForMaskGeneration, pretrained, what="the segmenter")
    kind = model.config.model_type
    if kind not in kinds:
        expected = " or ".join(kinds)
        raise ValueError(f"{pretrained or architecture} is a {kind}, expected {expected}")
    return model
