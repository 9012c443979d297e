"""Construction of transformers' SAM 3 for an input size, with random or published weights."""

from __future__ import annotations

from typing import Any

from zsad.backbones import hub

_WHAT = "SAM 3"


def build_random(architecture: dict[str, Any] | None, input_size: int) -> Any:
    """Build a ``Sam3Model`` with random weights, the same every time.

    Raises:
        ValueError: If there is no architecture, or the size is no multiple of the patch.
    """
    from transformers import Sam3Config, Sam3Model

    if architecture is None:
        raise ValueError(
            "pretrained=null makes random weights and needs architecture: got none, expected the "
            "sections of Sam3Config (see conf/backbone/sam3_random.yaml)"
        )
    config = Sam3Config(**architecture)
    _set_input_size(config, input_size)
    return hub.random_model(lambda: Sam3Model(config))


def load_pretrained(name: str, input_size: int) -> Any:
    """Load a ``Sam3Model`` from a hub id or a folder.

    Raises:
        ValueError: If the size is no multiple of the patch.
        FileNotFoundError: If the weights cannot be had.
    """
    from transformers import Sam3Config, Sam3Model

    config = hub.load_part(Sam3Config, name, what=_WHAT)
    # The published file holds a tracker for videos, too.
    detector = getattr(config, "detector_config", None)
    if detector:
        config = Sam3Config(**detector) if isinstance(detector, dict) else detector
    _set_input_size(config, input_size)
    return hub.load_pretrained(Sam3Model, name, what=_WHAT, config=config)


def _set_input_size(config: Any, input_size: int) -> None:
    """Set the side of the images: for the positions, and for the grid of every level."""
    vision = config.vision_config
    patch = vision.backbone_config.patch_size
    side, rest = divmod(input_size, patch)
    if rest or side < 1:
        raise ValueError(f"input_size={input_size} is no multiple of the patch of {patch} px")
    vision.backbone_config.image_size = input_size
    grids = []
    for factor in vision.scale_factors[:-1]:
        level_side = int(side * factor)
        grids.append([level_side, level_side])
    vision.backbone_feature_sizes = grids
