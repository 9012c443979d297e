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
_REQUIRED = ("ctx_pos", "ctx_neg", "token_prefix_pos", "token_suffix_pos", "token_suffix_neg")


def is_published(content: Any) -> bool:
    """Tell whether a loaded file has the form of a published checkpoint."""
    return isinstance(content, Mapping) and isinstance(content.get(_KEY), Mapping)


def read_published(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the trained tensors of a published checkpoint: ``normal``, ``anomalous`` (c, D), ``deep`` (blocks, k, D).

    Raises:
        ValueError: If a tensor is missing, or there are several classes or templates, which these methods never have.
    """
    learner = content[_KEY]
    missing = [name for name in _REQUIRED if name not in learner]
    if missing:
        raise ValueError(f"not a published AnomalyCLIP or DHR-CLIP checkpoint: its prompt_learner lacks {missing}")
    if learner["ctx_pos"].shape[:2] != (1, 1):
        raise ValueError(f"expected one class and one template, got ctx_pos of shape {tuple(learner['ctx_pos'].shape)}")
    numbers = sorted(int(name.removeprefix(_DEEP)) for name in learner if name.startswith(_DEEP))
    width = learner["ctx_pos"].shape[-1]
    deep = [learner[f"{_DEEP}{number}"] for number in numbers]
    return {
        "normal": learner["ctx_pos"][0, 0].float(),
        "anomalous": learner["ctx_neg"][0, 0].float(),
        "deep": torch.stack(deep).float() if deep else torch.empty(0, 1, width),
    }


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
    learner = {"ctx_pos": prompts["normal"][None, None], "ctx_neg": prompts["anomalous"][None, None]}
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
