"""Checkpoints of the published AnomalyCLIP and DHR-CLIP codes, and ours in their form.

Their ``epoch_N.pth`` holds ``{"prompt_learner": …}``: ten trained tensors, copies of frozen token
embeddings, token ids, and projections that no computation reads (5.5 of its 5.6 million numbers).

Legend: c context tokens, k deep tokens, D text width, T text positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Content = Mapping[str, Any]  # of a loaded file
Tensors = Mapping[str, Tensor]  # by name

_KEY = "prompt_learner"
_DEEP = "compound_prompts_text."
# The unread projections end in the width of ViT-B/16+, whatever the backbone.
_DEAD_WIDTH = 896
_AXES = {
    "ctx_pos": 4,
    "ctx_neg": 4,
    "token_prefix_pos": 4,
    "token_suffix_pos": 4,
    "token_suffix_neg": 4,
}


def is_published(content: Any) -> bool:
    """Tell whether a loaded file has the form of a published checkpoint."""
    if not isinstance(content, Mapping):
        return False
    return isinstance(content.get(_KEY), Mapping)


def read_published(content: Content) -> Tensors:
    """Return the trained tensors of a published checkpoint.

    They are ``normal`` and ``anomalous``, (c, D), and ``deep``, (blocks, k, D). Without deep
    prompts the file does not tell k, and ``deep`` is (0, 0, D).

    Raises:
        ValueError: If a tensor is missing, or is none, or has another shape than these methods give
            it: one class, one template, deep prompts of one shape numbered from 0.
    """
    learner = content[_KEY]
    missing = [name for name in _AXES if name not in learner]
    if missing:
        raise ValueError(
            "not a published AnomalyCLIP or DHR-CLIP checkpoint: its prompt_learner lacks "
            f"{missing}"
        )
    for name, axes in _AXES.items():
        _check_tensor(name, learner[name], axes)
        shape = tuple(learner[name].shape)
        if shape[:2] != (1, 1):
            raise ValueError(f"expected one class and one template, got {name} of shape {shape}")
    normal = _without_axes(learner["ctx_pos"])
    anomalous = _without_axes(learner["ctx_neg"])
    deep = torch.empty(0, 0, normal.shape[-1])
    prompts = _deep_prompts(learner)
    if prompts:
        deep = torch.stack(prompts).float()
    return {"normal": normal, "anomalous": anomalous, "deep": deep}


def _deep_prompts(learner: Mapping[Any, Any]) -> list[Tensor]:
    names = {name for name in learner if str(name).startswith(_DEEP)}
    expected = [f"{_DEEP}{number}" for number in range(len(names))]
    if names != set(expected):
        got = sorted(names, key=str)
        raise ValueError(f"expected deep prompts numbered from 0 without gaps, got {got}")
    prompts = []
    shapes = {}
    for name in expected:
        prompt = learner[name]
        _check_tensor(name, prompt, 2)
        prompts.append(prompt)
        shapes[name] = tuple(prompt.shape)
    if len(set(shapes.values())) > 1:
        raise ValueError(f"expected deep prompts of one shape, got {shapes}")
    return prompts


def _without_axes(tensor: Tensor) -> Tensor:
    """Return a tensor of the only class and template, in float32."""
    return tensor[0, 0].float()


def _with_axes(tensor: Tensor) -> Tensor:
    """Return a tensor with axes for class and template."""
    return tensor[None, None]


def _check_tensor(name: str, value: Any, axes: int) -> None:
    if not isinstance(value, Tensor) or value.ndim != axes:
        got = type(value).__name__
        if isinstance(value, Tensor):
            got = f"shape {tuple(value.shape)}"
        raise ValueError(f"prompt_learner's {name}: expected a tensor of {axes} axes, got {got}")


def check_published_backbone(content: Content, embedded: Float[Tensor, "2 t d"]) -> None:
    """Check that a published checkpoint was learned with this text tower.

    The token embeddings that it copied tell.

    Args:
        content: The loaded file.
        embedded: Our embeddings of the two sentences.

    Raises:
        ValueError: If they differ.
    """
    learner = content[_KEY]
    for row, name in enumerate(("token_suffix_pos", "token_suffix_neg")):
        theirs = _without_axes(learner[name])
        last = embedded[row, -len(theirs) :]
        ours = last.detach().float().cpu()
        if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=1e-3):
            raise ValueError(
                f"these prompts were learned with another text tower (width {theirs.shape[-1]}) "
                f"than this run's (width {ours.shape[-1]}): their frozen token embeddings differ. "
                "Choose their backbone, most likely backbone=clip_vit_l14_336"
            )


def write_published(
    prompts: Tensors, tokens: Int[Tensor, "2 t"], embedded: Float[Tensor, "2 t d"]
) -> dict[str, Any]:
    """Return our prompts in the published form, which the published programs load.

    Their loader insists on the unread projections, so those are there, as zeros.

    Args:
        prompts: ``normal``, ``anomalous`` (c, D) and ``deep`` (blocks, k, D).
        tokens: Ids of the two sentences.
        embedded: Their token embeddings.
    """
    context, width = prompts["normal"].shape
    learner = {
        "ctx_pos": _with_axes(prompts["normal"]),
        "ctx_neg": _with_axes(prompts["anomalous"]),
    }
    for row, suffix in enumerate(("pos", "neg")):
        prefix = embedded[row, :1]
        rest = embedded[row, 1 + context :]
        learner[f"token_prefix_{suffix}"] = _with_axes(prefix)
        learner[f"token_suffix_{suffix}"] = _with_axes(rest)
    for row, suffix in enumerate(("pos", "neg")):
        learner[f"tokenized_prompts_{suffix}"] = _with_axes(tokens[row].int())
    for number, deep in enumerate(prompts["deep"]):
        learner[f"{_DEEP}{number}"] = deep
    for number in range(len(prompts["deep"])):
        projection = f"compound_prompt_projections.{number}"
        learner[f"{projection}.weight"] = torch.zeros(_DEAD_WIDTH, width)
        learner[f"{projection}.bias"] = torch.zeros(_DEAD_WIDTH)
    for name, tensor in learner.items():
        learner[name] = tensor.detach().cpu().clone()
    return {_KEY: learner}
