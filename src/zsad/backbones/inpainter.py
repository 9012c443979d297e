"""Inpainting: fills a region of an image, ``restore(image, mask)``.

Legend: h × w pixels, S side of the diffusion model's images.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from zsad.backbones.hub import as_dtype, load_part
from zsad.functional.inpaint import harmonic_fill

_PACKAGE = "diffusers"


class HarmonicInpainter:
    """Continues the colours at a region's border smoothly into it: no network, no texture."""

    def restore(
        self, image: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"]
    ) -> Float[Tensor, "3 h w"]:
        """Return the image, RGB in [0, 1], filled inside the mask and unchanged outside."""
        return harmonic_fill(image, mask)


class DiffusionInpainter:
    """Fills a region with a diffusion model, as the published DOT-Prompt did (Stable Diffusion).

    Its weights are read when the first region is filled.

    Args:
        model: Hub id or local folder of an inpainting pipeline of ``diffusers``.
        prompt: Description of the image; empty as published.
        steps: Number of denoising steps.
        size_px: S, to which image and mask are resized, whatever their proportions.
        dtype: ``None`` for float16 on a GPU and float32 elsewhere.
        seed: Seed of the noise, so that the same image is filled alike every time.
        device: Device of the model; ``None`` for a GPU if there is one.

    Raises:
        ValueError: If ``diffusers`` is not installed, or the precision is unknown.
    """

    def __init__(
        self,
        model: str,
        *,
        prompt: str = "",
        steps: int = 50,
        size_px: int = 512,
        dtype: str | None = None,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        if importlib.util.find_spec(_PACKAGE) is None:
            raise ValueError(
                "filling with a diffusion model needs the package diffusers: "
                'pip install "zsad[restoration]"; or fill without it: '
                "inpainter@callbacks.restoration.inpainter=harmonic"
            )
        self.model = model
        self.prompt = prompt
        self.steps = steps
        self.size_px = size_px
        self.seed = seed
        default_device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device or default_device)
        default_dtype = "float32" if self.device.type == "cpu" else "float16"
        self.dtype = as_dtype(dtype or default_dtype)
        self._pipeline: Any = None

    @torch.no_grad()
    def restore(
        self, image: Float[Tensor, "3 h w"], mask: Bool[Tensor, "h w"]
    ) -> Float[Tensor, "3 h w"]:
        """Return the image, RGB in [0, 1], filled inside the mask and unchanged outside."""
        if not mask.any():
            return image.clone()
        size = (self.size_px, self.size_px)
        small = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)
        region = F.adaptive_max_pool2d(mask[None, None].float(), size)  # no masked pixel is lost
        filled = self._fill(small.clamp(0, 1), region).to(image.device)
        full = F.interpolate(filled, image.shape[1:], mode="bilinear", antialias=True)
        return torch.where(mask, full[0].clamp(0, 1).to(image.dtype), image)

    def _fill(
        self, image: Float[Tensor, "1 3 s s"], mask: Float[Tensor, "1 1 s s"]
    ) -> Float[Tensor, "1 3 s s"]:
        if self._pipeline is None:
            self._pipeline = self._load()
        filled = self._pipeline(
            prompt=self.prompt,
            image=image,
            mask_image=mask,
            height=self.size_px,
            width=self.size_px,
            num_inference_steps=self.steps,
            generator=torch.Generator().manual_seed(self.seed),
            output_type="pt",
        )
        return filled.images.float()

    def _load(self) -> Any:
        pipelines = importlib.import_module(_PACKAGE)
        pipeline = load_part(
            pipelines.AutoPipelineForInpainting,
            self.model,
            what="the inpainting model",
            torch_dtype=self.dtype,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)
