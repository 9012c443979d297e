"""Architecture of a ViT CLIP: open_clip's description by its name, or read from the weights.

Nothing in the weights tells the number of attention heads nor the kind of GELU. Heads are 64 wide
in all but the three largest models. Those three are none of OpenAI's and have the exact GELU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# The tensors that tell the architecture, and the number of their axes.
_TELLING = {
    "visual.conv1.weight": 4,
    "visual.positional_embedding": 2,
    "visual.transformer.resblocks.0.mlp.c_fc.weight": 2,
    "positional_embedding": 2,
    "token_embedding.weight": 2,
    "text_projection": 2,
    "ln_final.weight": 1,
}
_HEAD_WIDTH = 64
_OTHER_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}  # by width: ViT-H/14, g/14 and bigG/14


def architecture_of(model_name: str) -> dict[str, Any]:
    """Return open_clip's description of a named architecture.

    Raises:
        ValueError: If open_clip knows no such name; the message lists names of OpenAI-shaped
            models.
    """
    import open_clip

    architecture = open_clip.get_model_config(model_name)
    if architecture is None:
        names = [name for name in open_clip.list_models() if name.startswith("ViT-")]
        known = ", ".join(name for name in names if "SigLIP" not in name)
        raise ValueError(f"open_clip knows no architecture {model_name!r}. Known: {known}")
    return architecture


def infer_architecture(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the architecture of a ViT CLIP from the shapes of its tensors, in open_clip's terms.

    Raises:
        ValueError: If a tensor that tells the architecture is missing or has another number of
            axes.
    """
    _check_shapes(state)
    text_width = len(state["ln_final.weight"])
    return {
        "embed_dim": state["text_projection"].shape[1],
        "quick_gelu": len(state["visual.conv1.weight"]) not in _OTHER_HEAD_WIDTHS,
        "vision_cfg": _infer_vision(state),
        "text_cfg": {
            "context_length": len(state["positional_embedding"]),
            "vocab_size": len(state["token_embedding.weight"]),
            "width": text_width,
            "heads": text_width // _HEAD_WIDTH,
            "layers": _count_blocks(state, "transformer.resblocks."),
        },
    }


def _infer_vision(state: Mapping[str, Tensor]) -> dict[str, Any]:
    width, _, patch, _ = state["visual.conv1.weight"].shape
    patches = len(state["visual.positional_embedding"]) - 1  # the first row is the class token's
    hidden_width = len(state["visual.transformer.resblocks.0.mlp.c_fc.weight"])
    return {
        "image_size": round(patches**0.5) * patch,
        "patch_size": patch,
        "width": width,
        "layers": _count_blocks(state, "visual.transformer.resblocks."),
        "head_width": _OTHER_HEAD_WIDTHS.get(width, _HEAD_WIDTH),
        "mlp_ratio": hidden_width / width,
    }


def _check_shapes(state: Mapping[str, Tensor]) -> None:
    odd = []
    for name, axes in _TELLING.items():
        if name not in state or state[name].ndim != axes:
            odd.append(name)
    if odd:
        raise ValueError(
            f"not the weights of a ViT CLIP of OpenAI's structure: {odd} are missing or have "
            "another number of axes"
        )


def _count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    numbers = set()
    for name in state:
        if name.startswith(prefix):
            number, _, _ = name.removeprefix(prefix).partition(".")
            numbers.add(number)
    return len(numbers)
