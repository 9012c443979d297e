"""SAM from Meta's original files, by the package ``segment_anything``.

Source: Segment Anything (ICCV 2023).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zsad.backbones import hub
from zsad.backbones.grounded.box_segmenter import BoxSegmenter
from zsad.backbones.weight_files import load_tensors


class MetaSAM(BoxSegmenter):
    """SAM from a file of Meta's.

    Args:
        checkpoint: ``sam_vit_h_4b8939.pth`` or one of its sisters; ``None`` for random weights.
        model_name: Architecture of the file: ``vit_h``, ``vit_l`` or ``vit_b``.
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
        self.model = _build(model_name)
        if checkpoint is not None:
            _load_file(self.model, Path(checkpoint).expanduser(), model_name)
        self.freeze()

    @property
    def side(self) -> int:
        """Side S in pixels of the square that the image tower reads: 1024."""
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


def _build(name: str) -> Any:
    from segment_anything import sam_model_registry

    if name not in sam_model_registry:
        known = ", ".join(sam_model_registry)
        raise ValueError(f"segmenter.model_name {name!r}: expected one of {known}")
    return hub.random_model(sam_model_registry[name])


def _load_file(model: nn.Module, path: Path, name: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"the segmenter: no file {path}. Fetch it from the model checkpoints of the repository "
            "facebookresearch/segment-anything, or use weights of the hub: backbone=grounded_sam"
        )
    state = load_tensors(path)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold the weights of a SAM {name}: {reason}") from error
