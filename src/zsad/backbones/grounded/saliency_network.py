"""CNN whose features tell salient places of an image from the rest.

Source: SAA+ (arXiv 2305.10724): the first three stages of a Wide ResNet-50-2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import normalize, to_uint8
from zsad.backbones.frozen import FrozenNetwork, compute_in
from zsad.backbones.weight_files import load_tensors

_WHAT = "the saliency network"
STAGES = (1, 2, 3)  # strides 4, 8, 16


class SaliencyNetwork(FrozenNetwork):
    """A frozen ResNet of ``timm``, cut after its third stage.

    Args:
        model_name: Name in ``timm``, with the tag of its weights: the bare name has meant others in
            other versions.
        pretrained: ``True`` for the weights of the tag, a local file of them (``.safetensors``,
            ``.pth``), or ``False`` for random weights.
        architecture: More arguments of the network, for small random networks.
        dtype: Precision of the network; features come out in float32.

    Raises:
        FileNotFoundError: If the weights cannot be had.
    """

    model: Any

    def __init__(
        self,
        model_name: str = "wide_resnet50_2.racm_in1k",
        pretrained: bool | str = True,
        *,
        architecture: dict[str, Any] | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.model = _build(model_name, architecture or {})
        if pretrained is not False:
            _load_weights(self.model, _weight_file(model_name, pretrained))
        self.dtype = hub.as_dtype(dtype)
        self.freeze()

    @property
    def settings(self) -> str:
        """Settings that decide the features besides the weights, as text."""
        return f"{type(self).__name__} {STAGES} {self.dtype}"

    @torch.no_grad()
    def stages(self, image: Float[Tensor, "3 h w"], size_px: int) -> list[Tensor]:
        """Return the features of the first three stages, (c, h, w) each, at strides 4, 8 and 16.

        Args:
            image: RGB in [0, 1].
            size_px: Side of the square that the image is resized to.
        """
        square = saliency_input(image, size_px)[None]
        with compute_in(self.dtype, square.device):
            return [stage[0].float() for stage in self.model(square)]


def saliency_input(
    image: Float[Tensor, "3 h w"], size_px: int
) -> Float[Tensor, "3 size_px size_px"]:
    """Resize an image to a square and normalise it.

    As OpenCV resizes 8-bit images: linear between the four nearest pixels, to whole grey levels; a
    smaller image skips pixels instead of averaging them.
    """
    levels = F.interpolate(
        to_uint8(image)[None].float(), (size_px, size_px), mode="bilinear", align_corners=False
    )
    return normalize(levels[0].round() / 255)


def _build(model_name: str, architecture: dict[str, Any]) -> Any:
    import timm

    options = {"features_only": True, "out_indices": STAGES, **architecture}
    return hub.random_model(lambda: timm.create_model(model_name, pretrained=False, **options))


def _weight_file(model_name: str, pretrained: bool | str) -> Path:
    if pretrained is True:
        return hub.load_hub_file(f"timm/{model_name}", "model.safetensors", what=_WHAT)
    path = Path(str(pretrained)).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{_WHAT}: no weight file {path}. Fetch it: "
            f"hf download timm/{model_name} model.safetensors --local-dir FOLDER"
        )
    return path


def _load_weights(network: nn.Module, path: Path) -> None:
    state = load_file(path) if path.suffix == ".safetensors" else load_tensors(path)
    own = network.state_dict()  # without the fourth stage and the classifier
    lacking = []
    for name, tensor in own.items():
        if name not in state or state[name].shape != tensor.shape:
            lacking.append(name)
    if lacking:
        raise ValueError(
            f"{path} does not hold the weights of this network: it lacks {lacking[:3]}"
        )
    network.load_state_dict({name: state[name] for name in own})
