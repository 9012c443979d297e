"""Weight files, read without running code that may hide in them, and fingerprints of weights."""

from __future__ import annotations

import hashlib
import pickle
import shlex
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

# Errors that torch.load was seen to raise on damaged files, besides its own refusals.
_UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_CONVERT = (
    "import sys, torch; from safetensors.torch import save_file; "
    "state = torch.jit.load(sys.argv[1], 'cpu').state_dict(); "
    "save_file({k: v.contiguous() for k, v in state.items()}, sys.argv[2])"
)


def read_weight_file(path: Path) -> Any:
    """Return the content of safetensors, a plain PyTorch file, or OpenAI's TorchScript archive.

    Nothing unknown is executed: plain files are read with ``weights_only=True``, and TorchScript,
    which is a program, is opened only if OpenAI publishes its SHA-256.

    Raises:
        ValueError: If the file is none of the three, is cut short, or holds objects other than
            tensors.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if _is_torchscript(path):
        _check_is_openais(path)
        return torch.jit.load(path, map_location="cpu").state_dict()
    return load_tensors(path)


def load_tensors(path: Path) -> Any:
    """Read a PyTorch file without running anything that may hide in it.

    Raises:
        ValueError: If the file holds code or is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        first_line = str(error).partition("\n")[0]
        reason = f"{type(error).__name__} {first_line}".strip()
        raise ValueError(
            f"{path} was refused: it is damaged, or it holds objects other than tensors, which "
            f"could run code when loaded ({reason}). Get the file from its source again, or export "
            "the prompts with `zsad export`."
        ) from error


def fingerprint(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that change with any weight of a module, whatever its file.

    A part that was renamed since version 0.1 is hashed under its old name: ``hashed_as`` of its
    module maps its name to the old one. So fingerprints in stored files stay comparable.
    """
    tensors = {}
    for name, tensor in module.state_dict().items():
        tensors[_old_name(module, name)] = tensor
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        numbers = tensor.detach().cpu().contiguous().view(-1)
        digest.update(numbers.view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _old_name(module: nn.Module, name: str) -> str:
    parts = []
    place: object = module
    for part in name.split("."):
        old_names = getattr(place, "hashed_as", {})
        parts.append(old_names.get(part, part))
        place = getattr(place, part, None)
    return ".".join(parts)


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable safetensors file: {error}. Fetch it again."
        ) from error


def _is_torchscript(path: Path) -> bool:
    """Tell by the table of contents alone, which runs nothing."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
        return False  # damaged: load_tensors refuses it, and TorchScript, too
    for name in names:
        parts = name.split("/")
        if parts[1:2] == ["code"] or parts[1:] == ["constants.pkl"]:
            return True
    return False


def _check_is_openais(path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    published = _published_digests()
    if digest in published.values():
        return
    expected = published.get(path.name)
    if expected is None:
        expected = f"one of {', '.join(sorted(published.values()))}"
    converted = path.with_suffix(".safetensors")
    command = shlex.join(["python", "-c", _CONVERT, str(path), str(converted)])
    raise ValueError(
        f"{path} is TorchScript that is not one of OpenAI's published files, and such a file can "
        f"run code when loaded: its SHA-256 is {digest}, expected {expected}. Fetch it again; or, "
        f"if you trust who made it, convert it: {command}"
    )


def _published_digests() -> dict[str, str]:
    """Return the SHA-256 of each of OpenAI's files, by file name, from their addresses."""
    from open_clip import pretrained as catalogue

    digests = {}
    for name in catalogue.list_pretrained_models_by_tag("openai"):
        url = catalogue.get_pretrained_url(name, "openai")
        if url:
            path = PurePosixPath(url)
            digests[path.name] = path.parent.name
    return digests
