"""Export of learned tensors alone: ``.safetensors``, or ``.pth`` in the published form."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from zsad.atomic_write import write_whole
from zsad.model_files.learned import KEY, PROMPTS, Tensors, learned_tensors, without_prefix
from zsad.model_files.published_weights import write_published


def save_prompts(path: Path, method: Any, provenance: Mapping[str, Any]) -> None:
    """Write the learned tensors of a method.

    Args:
        path: A name in ``.safetensors``, with the provenance in its metadata, or in ``.pth`` for
            the form of the published codes.
        method: The method.
        provenance: Plain values.

    Raises:
        ValueError: If the suffix is neither, or the published form has no place for the tensors.
    """
    tensors = {}
    for name, tensor in learned_tensors(method).items():
        tensors[name] = tensor.cpu().contiguous()
    if path.suffix == ".safetensors":
        metadata = {KEY: json.dumps(provenance)}
        write_whole(path, save(tensors, metadata))
        return
    if path.suffix != ".pth":
        raise ValueError(
            f"cannot export to {path.name}: expected a name in .safetensors, or .pth for the "
            "published form"
        )
    if not all(name.startswith(PROMPTS) for name in tensors):
        raise ValueError(
            f"no published form for the learned tensors of {type(method).__name__}: export to "
            ".safetensors"
        )
    write_whole(path, _published_file(tensors, method))


def _published_file(tensors: Tensors, method: Any) -> bytes:
    prompts = without_prefix(tensors, PROMPTS)
    embedded = method.prompts.embed(method.backbone).detach()
    content = write_published(prompts, method.prompts.tokens, embedded)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
