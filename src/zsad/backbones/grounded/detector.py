"""Frozen detectors of the things that captions name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zsad.backbones import hub
from zsad.backbones.frozen import FrozenNetwork
from zsad.backbones.grounded.grounding import Grounding

WHAT = "the detector"  # its name in messages


class Detector(FrozenNetwork, ABC):
    """A frozen detector of ``transformers``, whose image tower runs once for all captions.

    Attributes:
        decode: From token ids to text.
        processor: The image processor that comes with the weights.
        dtype: Precision of the network; boxes and scores come out in float32.
    """

    model: Any
    decode: Callable[[list[int]], str]
    processor: Any
    dtype: torch.dtype

    @property
    def settings(self) -> str:
        """Settings that decide the answers besides the weights, as text."""
        preprocessing = self.processor.to_json_string()
        return f"{type(self).__name__} {preprocessing} {self.dtype}"

    def detect(self, image: Float[Tensor, "3 h w"], captions: Sequence[str]) -> list[Grounding]:
        """Detect the things that each caption names in an image.

        Args:
            image: RGB in [0, 1].
            captions: In any case; spaces around them do not count.

        Raises:
            ValueError: If a caption is too long.
        """
        self.check_captions(captions)
        return self.detect_from_features(self.encode_image(image), captions)

    @abstractmethod
    def check_captions(self, captions: Sequence[str]) -> None:
        """Refuse captions that are too long, before anything runs.

        Raises:
            ValueError: If a caption, or a phrase of it, has more tokens than the text tower takes.
        """

    @abstractmethod
    def encode_image(self, image: Float[Tensor, "3 h w"]) -> Any:
        """Run the image tower, which needs no captions."""

    @abstractmethod
    def detect_from_features(self, features: Any, captions: Sequence[str]) -> list[Grounding]:
        """Detect the things that each caption names in an encoded image."""


def load_detector(name: str) -> Any:
    """Load a detector of ``transformers`` from a hub id or a folder.

    Raises:
        FileNotFoundError: If the weights cannot be had.
    """
    from transformers import AutoModelForZeroShotObjectDetection

    return hub.load_pretrained(AutoModelForZeroShotObjectDetection, name, what=WHAT)


def build_random_detector(architecture: dict[str, Any] | None) -> Any:
    """Build a detector of ``transformers`` with random weights.

    Raises:
        ValueError: If there is no architecture.
    """
    from transformers import AutoModelForZeroShotObjectDetection

    return hub.build_random(AutoModelForZeroShotObjectDetection, architecture, key="detector")
