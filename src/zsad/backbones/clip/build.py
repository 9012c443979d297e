"""Construction of CLIP's towers with open_clip, and loading of their weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from zsad.backbones.clip import architecture as architectures
from zsad.backbones.clip.weights import StateDict

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_PARTS_OF_A_PLAIN_CLIP = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}


def choose_architecture(model_name: str | None, state: StateDict | None) -> dict[str, Any]:
    """Return open_clip's description of a named architecture, else that of the weights.

    Raises:
        ValueError: If there is neither a name nor weights, or they are not of a ViT CLIP.
    """
    if model_name is not None:
        return architectures.architecture_of(model_name)
    if state is None:
        raise ValueError(
            "neither backbone.model_name nor backbone.pretrained is given: set one of them, such "
            "as backbone.model_name=ViT-L-14-336"
        )
    return architectures.infer_architecture(state)


def choose_training_settings(
    architecture: dict[str, Any], known: dict[str, Any], overrides: dict[str, Any]
) -> dict[str, Any]:
    """Return ``quick_gelu``, ``mean`` and ``std``: the caller's, else the known, else OpenAI's.

    Args:
        architecture: open_clip's description; it may name its GELU.
        known: Settings that were published with the weights.
        overrides: Settings of the caller; ``None`` for those left open.
    """
    openai = {
        "quick_gelu": architecture.get("quick_gelu", True),
        "mean": OPENAI_MEAN,
        "std": OPENAI_STD,
    }
    chosen = {name: value for name, value in overrides.items() if value is not None}
    return openai | known | chosen


def build_towers(architecture: dict[str, Any], device: str) -> Any:
    """Build open_clip's model with random weights, the same every time.

    Args:
        architecture: open_clip's description.
        device: ``meta`` for towers without memory of their own, where weights follow.

    Raises:
        ValueError: If the architecture is not a ViT CLIP of OpenAI's structure.
    """
    import open_clip
    from open_clip.transformer import VisionTransformer

    if set(architecture) - _PARTS_OF_A_PLAIN_CLIP:
        raise ValueError(
            f"not a plain two-tower CLIP: {sorted(architecture)}. Choose a ViT with OpenAI's "
            "structure."
        )
    # Random weights must not depend on earlier draws.
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        model = open_clip.CLIP(**architecture).float()
    visual = model.visual
    if not isinstance(visual, VisionTransformer) or not _is_openai_shaped(model, visual):
        raise ValueError(
            f"{type(visual).__name__} is not a ViT with OpenAI's structure (class token pooling, "
            "fused attention projection, text pooled at the end token). Choose ViT-B-32, ViT-B-16, "
            "ViT-L-14, ViT-L-14-336, ViT-H-14 …"
        )
    return model


def load_weights(model: nn.Module, state: StateDict, source: str) -> None:
    """Load weights into a model as float32, taking them out of ``state`` one by one.

    Raises:
        ValueError: If they do not fit the architecture; the message names the difference.
    """
    own = model.state_dict()
    _check_fit(own, state, source)
    # Assigned, not copied, and converted one by one: a second copy of a large tower would not fit
    # small machines.
    weights = {name: state.pop(name).float() for name in own}
    model.load_state_dict(weights, assign=True)
    # open_clip's own causal mask is no part of the state: it would stay without memory, and could
    # not change device.
    length = len(own["positional_embedding"])
    model.attn_mask = torch.full((length, length), -math.inf).triu(1)


def _is_openai_shaped(model: Any, visual: Any) -> bool:
    blocks = [*visual.transformer.resblocks, *model.transformer.resblocks]
    if not all(isinstance(block.attn, nn.MultiheadAttention) for block in blocks):
        return False
    pools_class_token = visual.attn_pool is None and visual.pool_type == "tok"
    return pools_class_token and model.text_pool_type == "argmax"


def _check_fit(own: StateDict, state: StateDict, source: str) -> None:
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = []
    for name in own.keys() & state.keys():
        got = tuple(state[name].shape)
        expected = tuple(own[name].shape)
        if got != expected:
            shapes.append(f"{name} {got} ≠ {expected}")
    if missing or unexpected or shapes:
        raise ValueError(
            f"{source} does not fit the architecture: missing {missing[:3]}, unexpected "
            f"{unexpected[:3]}, other shapes {shapes[:3]}. Choose the backbone whose weights these "
            "are, or set backbone.model_name=null to read it from the file."
        )
