"""Prompts learned with the published AnomalyCLIP and DHR-CLIP codes, and ours written in their form.

Their ``epoch_N.pth`` holds ``{"prompt_learner": …}``: ten trained tensors, copies of frozen token embeddings, token
ids, and projections that no computation reads (5.5 of its 5.6 million numbers).

Legend: c context tokens, k deep tokens, D text width, T text positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

_KEY = "prompt_learner"
_DEEP = "compound_prompts_text."
_DEAD_WIDTH = 896  # the unread projections end in OpenAI's ViT-B/16+ width, whatever the backbone
_AXES = {
    "ctx_pos": 4,
    "ctx_neg": 4,
    "token_prefix_pos": 4,
    "token_suffix_pos": 4,
    "token_suffix_neg": 4,
}


def is_published(content: Any) -> bool:
    """Tell whether a loaded file has the form of a published checkpoint."""
    return isinstance(content, Mapping) and isinstance(content.get(_KEY), Mapping)


def read_published(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the trained tensors of a published checkpoint: ``normal``, ``anomalous`` (c, D), ``deep`` (blocks, k, D).

    Without deep prompts the file does not tell k, and ``deep`` is (0, 0, D).

    Raises:
        ValueError: If a tensor is missing, or is none, or has another shape than these methods give it: one class, one
            template, deep prompts of one shape numbered from 0.
    """
    learner = content[_KEY]
    missing = [name for name in _AXES if name not in learner]
    if missing:
        raise ValueError(
            f"not a published AnomalyCLIP or DHR-CLIP checkpoint: its prompt_learner lacks {missing}"
        )
    for name, axes in _AXES.items():
        _check_tensor(name, learner[name], axes)
        if learner[name].shape[:2] != (1, 1):
            raise ValueError(
                f"expected one class and one template, got {name} of shape {tuple(learner[name].shape)}"
            )
    deep = _deep_prompts(learner)
    return {
        "normal": learner["ctx_pos"][0, 0].float(),
        "anomalous": learner["ctx_neg"][0, 0].float(),
        "deep": torch.stack(deep).float()
        if deep
        else torch.empty(0, 0, learner["ctx_pos"].shape[-1]),
    }


def _deep_prompts(learner: Mapping[Any, Any]) -> list[Tensor]:
    names = {name for name in learner if str(name).startswith(_DEEP)}
    expected = [f"{_DEEP}{number}" for number in range(len(names))]
    if names != set(expected):
        raise ValueError(
            f"expected deep prompts numbered from 0 without gaps, got {sorted(names, key=str)}"
        )
    for name in expected:
        _check_tensor(name, learner[name], 2)
    shapes = {name: tuple(learner[name].shape) for name in expected}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"expected deep prompts of one shape, got {shapes}")
    return [learner[name] for name in expected]


def _check_tensor(name: str, value: Any, axes: int) -> None:
    if not isinstance(value, Tensor) or value.ndim != axes:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"prompt_learner's {name}: expected a tensor of {axes} axes, got {got}")


def check_published_backbone(content: Mapping[str, Any], embedded: Float[Tensor, "2 t d"]) -> None:
    """Check that a published checkpoint was learned with this text tower, by the token embeddings that it copied.

    Args:
        content: The loaded file.
        embedded: Our embeddings of the two sentences.

    Raises:
        ValueError: If they differ.
    """
    learner = content[_KEY]
    for row, name in enumerate(("token_suffix_pos", "token_suffix_neg")):
        theirs = learner[name][0, 0].float()
        ours = embedded[row, -len(theirs) :].detach().float().cpu()
        if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=1e-3):
            raise ValueError(
                f"these prompts were learned with another text tower (width {theirs.shape[-1]}) than this run's "
                f"(width {ours.shape[-1]}): their frozen token embeddings differ. Choose their backbone, "
                "most likely backbone=clip_vit_l14_336"
            )


def write_published(
    prompts: Mapping[str, Tensor], tokens: Int[Tensor, "2 t"], embedded: Float[Tensor, "2 t d"]
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
        "ctx_pos": prompts["normal"][None, None],
        "ctx_neg": prompts["anomalous"][None, None],
    }
    for row, suffix in enumerate(("pos", "neg")):
        learner[f"token_prefix_{suffix}"] = embedded[row, :1][None, None]
        learner[f"token_suffix_{suffix}"] = embedded[row, 1 + context :][None, None]
    for row, suffix in enumerate(("pos", "neg")):
        learner[f"tokenized_prompts_{suffix}"] = tokens[row].int()[None, None]
    for number, deep in enumerate(prompts["deep"]):
        learner[f"{_DEEP}{number}"] = deep
    for number in range(len(prompts["deep"])):
        learner[f"compound_prompt_projections.{number}.weight"] = torch.zeros(_DEAD_WIDTH, width)
        learner[f"compound_prompt_projections.{number}.bias"] = torch.zeros(_DEAD_WIDTH)
    return {_KEY: {name: tensor.detach().cpu().clone() for name, tensor in learner.items()}}
