"""What was learned, and what it was learned on: read, checked, written. No file that comes from a user is ever run."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from zsad.atomic_write import write_whole
from zsad.backbones.weight_files import load_tensors
from zsad.model_files import published_weights
from zsad.model_files.run_checkpoints import LAST, is_whole, newest_first

log = logging.getLogger("zsad")

KEY = "zsad"  # where a checkpoint keeps its provenance
_METHOD = "method."
_PROMPTS = "prompts."


@dataclass(frozen=True)
class LearnedState:
    """The learned tensors of a method, by their names in it, and where they come from.

    Attributes:
        tensors: Name in the method → tensor.
        provenance: A plain dictionary: method, backbone, trained_on, settings, version. Empty for published files.
        published: The whole file, where it is one of the published codes, for the check of the backbone.
    """

    tensors: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] | None = None


def find_checkpoint(path: str | Path) -> Path:
    """Return the file meant by a path: itself, or the last checkpoint of a run folder.

    Where the last one is damaged, it is the newest that is not.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(path).expanduser()
    candidates = [path, path / "checkpoints" / LAST, path / LAST]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is not None and found != path and not is_whole(found):
        damaged, found = found, next(filter(is_whole, newest_first(path)), found)
        log.warning("note: %s is damaged, taking %s", damaged, found)
    if found is None:
        raise FileNotFoundError(
            f"no checkpoint at {path}. A finished training leaves runs/train/NAME/checkpoints/last.ckpt; "
            "to make one: python train.py dataset=visa"
        )
    return found


def read_learned_state(path: Path) -> LearnedState:
    """Read a checkpoint of ours, exported prompts (safetensors), or a published ``.pth``.

    Raises:
        ValueError: If it is none of them, is damaged, or holds anything but tensors and plain values.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_tensors(path)
    if published_weights.is_published(content):
        return LearnedState(
            {_PROMPTS + k: v for k, v in published_weights.read_published(content).items()},
            {},
            content,
        )
    return from_checkpoint(content, str(path))


def from_checkpoint(content: Any, source: str) -> LearnedState:
    """Take what was learned out of a loaded training checkpoint.

    Raises:
        ValueError: If it is none of ours.
    """
    if not isinstance(content, Mapping) or KEY not in content:
        raise ValueError(
            f"{source} is no checkpoint of zsad (no {KEY!r} in it), nor one of the published AnomalyCLIP and DHR-CLIP "
            "codes. Expected runs/train/NAME/checkpoints/last.ckpt, exported .safetensors, or a published epoch_N.pth"
        )
    state, provenance = content.get("state_dict"), content[KEY]
    if not isinstance(state, Mapping) or not all(
        isinstance(tensor, Tensor) for tensor in state.values()
    ):
        raise ValueError(f"{source} holds no learned tensors: its state_dict is {_kind(state)}")
    return LearnedState(
        {str(name).removeprefix(_METHOD): tensor for name, tensor in state.items()},
        _checked(provenance, source),
    )


def learned_tensors(method: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that training changes, by their names in the method."""
    return {
        name: parameter.detach()
        for name, parameter in method.named_parameters()
        if parameter.requires_grad
    }


def load_learned_state(method: nn.Module, learned: LearnedState, source: str) -> None:
    """Put learned tensors into a method, all of them or none.

    Raises:
        ValueError: As ``check_fit``.
    """
    check_fit(method, learned, source)
    with torch.no_grad():
        for name, tensor in learned_tensors(method).items():
            tensor.copy_(learned.tensors[name])


def check_fit(method: Any, learned: LearnedState, source: str) -> None:
    """Check that learned tensors are exactly those that a method learns.

    Raises:
        ValueError: If a tensor is missing, unknown or of another shape, or a published file was learned with another
            text tower; the message names the setting to change.
    """
    problems = _shortened(_misfits(learned_tensors(method), learned.tensors))
    maker, user = learned.provenance.get("method"), type(method).__name__
    if maker not in (None, user):
        problems.insert(0, f"it was learned by {maker}, this run uses {user}")
    if problems:
        raise ValueError(
            f"checkpoint {source} does not fit this run: {'; '.join(problems)}. It was made with "
            f"{_describe(learned.provenance)}. Choose the same model=, backbone= and model.method.prompts.* settings"
        )
    if learned.published is not None:
        published_weights.check_published_backbone(learned.published, _embedded(method))


def save_prompts(path: Path, method: Any, provenance: Mapping[str, Any]) -> None:
    """Write the learned tensors alone: ``.safetensors`` with their provenance, or ``.pth`` in the published form.

    Raises:
        ValueError: If the suffix is neither.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in learned_tensors(method).items()}
    if path.suffix == ".safetensors":
        write_whole(path, save(tensors, metadata={KEY: json.dumps(provenance)}))
    elif path.suffix == ".pth" and not all(name.startswith(_PROMPTS) for name in tensors):
        raise ValueError(
            f"no published form for what {type(method).__name__} learns: export to .safetensors"
        )
    elif path.suffix == ".pth":
        prompts = {name.removeprefix(_PROMPTS): tensor for name, tensor in tensors.items()}
        buffer = io.BytesIO()
        torch.save(
            published_weights.write_published(prompts, method.prompts.tokens, _embedded(method)),
            buffer,
        )
        write_whole(path, buffer.getvalue())
    else:
        raise ValueError(
            f"cannot export to {path.name}: expected a name in .safetensors, or .pth for the published form"
        )


def _embedded(method: Any) -> Tensor:
    return method.prompts.embed(method.backbone).detach()


def _read_safetensors(path: Path) -> LearnedState:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        provenance = json.loads(metadata.get(KEY, "{}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} does not say in JSON what it was learned on: {error}") from error
    return LearnedState(tensors, _checked(provenance, str(path)))


def _checked(provenance: Any, source: str) -> dict[str, Any]:
    """Check the form of what a file says about itself; what it says is for the reader to believe."""
    parts = [
        provenance,
        *(
            provenance.get(part, {})
            for part in ("trained_on", "settings")
            if isinstance(provenance, dict)
        ),
    ]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(
            f"{source} does not say properly what it was learned on: expected mappings, got {_kind(parts)}"
        )
    return provenance


def _kind(value: Any) -> str:
    return (
        f"[{', '.join(_kind(item) for item in value)}]"
        if isinstance(value, list)
        else type(value).__name__
    )


def _misfits(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    missing = sorted(own.keys() - theirs.keys())
    unknown = sorted(theirs.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(theirs[name].shape)} there and {tuple(own[name].shape)} here"
        for name in own
        if name in theirs and own[name].shape != theirs[name].shape
    ]
    return [
        *(f"missing {name}" for name in missing),
        *(f"unknown {name}" for name in unknown),
        *shapes,
    ]


def _shortened(problems: list[str], most: int = 12) -> list[str]:
    more = len(problems) - most
    return problems if more <= 0 else [*problems[:most], f"and {more} more"]


def _describe(provenance: Mapping[str, Any]) -> str:
    known = {key: provenance[key] for key in ("model", "backbone", "settings") if key in provenance}
    return json.dumps(known) if known else "unknown settings"
