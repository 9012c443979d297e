"""Where the numbers of a frozen CLIP come from: a tag, a hub id, or a local file; checked, and never as a pickle."""

from __future__ import annotations

import hashlib
import json
import pickle
import shlex
import socket
import struct
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

StateDict = dict[str, Tensor]

_HUB = "hf-hub:"
_FILE_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".safetensors"}
# Numbers that OpenAI's TorchScript archives keep among the tensors.
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}
# What torch.load was seen to raise on damaged files, besides its own refusals.
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
# The tensors that tell the architecture, and how many axes each has.
_TELLING = {
    "visual.conv1.weight": 4,
    "visual.positional_embedding": 2,
    "visual.transformer.resblocks.0.mlp.c_fc.weight": 2,
    "positional_embedding": 2,
    "token_embedding.weight": 2,
    "text_projection": 2,
    "ln_final.weight": 1,
}
_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}  # ViT-H/14, g/14 and bigG/14; 64 in every other
_CONVERT = (
    "import sys, torch; from safetensors.torch import save_file; state = torch.jit.load(sys.argv[1], 'cpu')"
    ".state_dict(); save_file({k: v.contiguous() for k, v in state.items()}, sys.argv[2])"
)


def locate(model_name: str | None, pretrained: str | None) -> Path | None:
    """Return the weight file that a choice stands for, downloading it on first use.

    Args:
        model_name: An open_clip architecture (``ViT-L-14-336``) or ``hf-hub:org/name``.
        pretrained: An open_clip tag (``openai``), a local file, the name of weights inside this package (``pocket``,
            where ``model_name`` is ``None``), or ``None`` for random weights.

    Raises:
        ValueError: If the tag is unknown for the architecture.
        FileNotFoundError: If a local file is missing, or the download is not possible.
    """
    if model_name is not None and model_name.startswith(_HUB):
        return _from_hub(model_name.removeprefix(_HUB))
    if pretrained is None:
        return None
    if Path(pretrained).suffix in _FILE_SUFFIXES:
        path = Path(pretrained).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"no weight file {path}. Put it there, pass backbone.pretrained=/path/to/file, or choose weights that "
                "need no download: backbone=pocket"
            )
        return path
    embedded = (
        Path(__file__).parents[2] / "assets" / f"{pretrained}.safetensors"
    )  # ships inside the package
    if model_name is None and embedded.is_file():
        return embedded
    return _from_tag(model_name, pretrained)


def training_settings(model_name: str | None, pretrained: str | None) -> dict[str, Any]:
    """Return what is known of the training of some weights: ``quick_gelu``, ``mean``, ``std``, as far as published.

    A tag's values are those of open_clip's catalogue, a hub model's those of its own configuration. Of a local file
    only the name of its architecture is known: it is taken for OpenAI's where OpenAI published that architecture.

    Args:
        model_name: As in ``locate``.
        pretrained: As in ``locate``.
    """
    import open_clip
    from open_clip import pretrained as catalogue

    if model_name is None:
        return {}
    if model_name.startswith(_HUB):
        return _trained_with_on_hub(model_name.removeprefix(_HUB))
    if entry := catalogue.get_pretrained_cfg(model_name, pretrained or ""):
        return {
            "quick_gelu": entry.get("quick_gelu", False),
            "mean": entry["mean"],
            "std": entry["std"],
        }
    named_so = (open_clip.get_model_config(model_name) or {}).get("quick_gelu", False)
    return {"quick_gelu": named_so or catalogue.is_pretrained_cfg(model_name, "openai")}


def read_state_dict(path: Path) -> StateDict:
    """Read weights from safetensors, a plain PyTorch file, or OpenAI's TorchScript archive.

    Nothing unknown is executed: plain files are read with ``weights_only=True``, and TorchScript, which is a program,
    is opened only if its SHA-256 is one that OpenAI publishes.

    Raises:
        ValueError: If the file is none of the three, is cut short, or holds objects other than tensors.
    """
    content: Any
    if path.suffix == ".safetensors":
        try:
            content = load_file(path)
        except SafetensorError as error:
            raise ValueError(
                f"{path} is not a readable safetensors file: {error}. Fetch it again."
            ) from error
    elif _is_torchscript(path):
        _check_is_openais(path)
        content = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        content = load_tensors(path)
    return _tower_of(content, path)


def load_tensors(path: Path) -> Any:
    """Read a PyTorch file without running anything that may hide in it.

    Raises:
        ValueError: If the file holds code or is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = " ".join([type(error).__name__, *str(error).splitlines()[:1]])
        raise ValueError(
            f"{path} was refused: it is damaged, or it holds objects other than tensors, which could run code when "
            f"loaded ({reason}). Get the file from its source again, or export the prompts with `zsad export`."
        ) from error


def architecture_of(model_name: str) -> dict[str, Any]:
    """Return open_clip's description of a named architecture.

    Raises:
        ValueError: If open_clip knows no such name; the message lists the OpenAI-shaped ones.
    """
    import open_clip

    architecture = open_clip.get_model_config(model_name)
    if architecture is None:
        known = ", ".join(
            name
            for name in open_clip.list_models()
            if name.startswith("ViT-") and "SigLIP" not in name
        )
        raise ValueError(f"open_clip knows no architecture {model_name!r}. Known: {known}")
    return architecture


def infer_architecture(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the architecture of a ViT CLIP from the shapes of its tensors, in open_clip's terms.

    The number of heads is not stored, nor is the kind of GELU. Heads are 64 wide but in the three largest models, and
    those are none of OpenAI's, so that they have the exact GELU.

    Raises:
        ValueError: If a tensor that tells the architecture is missing or has another number of axes.
    """
    odd = [name for name, axes in _TELLING.items() if name not in state or state[name].ndim != axes]
    if odd:
        raise ValueError(
            f"not the weights of a ViT CLIP of OpenAI's structure: {odd} are missing or not as there"
        )
    width, _, patch, _ = state["visual.conv1.weight"].shape
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    text_width = len(state["ln_final.weight"])
    return {
        "embed_dim": state["text_projection"].shape[1],
        "quick_gelu": width not in _HEAD_WIDTHS,
        "vision_cfg": {
            "image_size": grid * patch,
            "patch_size": patch,
            "width": width,
            "layers": _count_blocks(state, "visual.transformer.resblocks."),
            "head_width": _HEAD_WIDTHS.get(width, 64),
            "mlp_ratio": len(state["visual.transformer.resblocks.0.mlp.c_fc.weight"]) / width,
        },
        "text_cfg": {
            "context_length": len(state["positional_embedding"]),
            "vocab_size": len(state["token_embedding.weight"]),
            "width": text_width,
            "heads": text_width // 64,
            "layers": _count_blocks(state, "transformer.resblocks."),
        },
    }


def fingerprint(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that change with any weight of the module, whatever file it came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _is_torchscript(path: Path) -> bool:
    """Tell by the table of contents alone, which runs nothing."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/") for name in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
        return False  # damaged: load_tensors says so, and refuses TorchScript by itself
    return any(parts[1:2] == ["code"] or parts[1:] == ["constants.pkl"] for parts in names)


def _published_digests() -> dict[str, str]:
    """Return the SHA-256 of each of OpenAI's files, by file name, as their addresses publish them."""
    from open_clip import pretrained as catalogue

    urls = (
        catalogue.get_pretrained_url(name, "openai")
        for name in catalogue.list_pretrained_models_by_tag("openai")
    )
    return {PurePosixPath(url).name: PurePosixPath(url).parent.name for url in urls if url}


def _check_is_openais(path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    published = _published_digests()
    if digest in published.values():
        return
    expected = published.get(path.name) or f"one of {', '.join(sorted(published.values()))}"
    command = shlex.join(
        ["python", "-c", _CONVERT, str(path), str(path.with_suffix(".safetensors"))]
    )
    raise ValueError(
        f"{path} is TorchScript that is not one of OpenAI's published files, and such a file can run code when loaded: "
        f"its SHA-256 is {digest}, expected {expected}. Fetch it again; or, if you trust who made it, convert it: "
        f"{command}"
    )


def _tower_of(content: Any, path: Path) -> StateDict:
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    named = _without_prefix(content) if isinstance(content, Mapping) else {}
    if "visual.conv1.weight" not in named:
        raise ValueError(
            f"{path} holds no CLIP image tower (no 'visual.conv1.weight'). Expected an OpenAI or open_clip file."
        )
    if others := [name for name, value in named.items() if not isinstance(value, Tensor)]:
        raise ValueError(
            f"{path} holds entries that are no tensors: {others[:3]}. Expected weights alone."
        )
    return {name: tensor for name, tensor in named.items() if name not in _NOT_WEIGHTS}


def _count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _without_prefix(content: Mapping[Any, Any]) -> dict[str, Any]:
    # Weights saved from a DataParallel model carry "module." before every name.
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _trained_with_on_hub(repository: str) -> dict[str, Any]:
    from open_clip.pretrained import download_pretrained_from_hf

    file = Path(download_pretrained_from_hf(repository, filename="open_clip_config.json"))
    config = json.loads(file.read_text(encoding="utf-8"))
    pixels = config.get("preprocess_cfg", {})
    known = {name: pixels[name] for name in ("mean", "std") if name in pixels}
    return {"quick_gelu": config.get("model_cfg", {}).get("quick_gelu", False), **known}


def _from_tag(model_name: str | None, tag: str) -> Path:
    from open_clip import pretrained as catalogue

    entry = catalogue.get_pretrained_cfg(model_name or "", tag)
    if not entry:
        known = catalogue.list_pretrained_tags_by_model(model_name or "")
        raise ValueError(
            f"no weights {tag!r} for {model_name}: expected one of {known}, or a local file "
            f"({', '.join(sorted(_FILE_SUFFIXES))}) in backbone.pretrained"
        )
    return _download(f"{model_name} ({tag})", entry, cached=_is_cached(entry))


def _from_hub(repository: str) -> Path:
    return _download(
        repository, {"hf_hub": f"{repository}/"}, cached=_is_cached({"hf_hub": f"{repository}/"})
    )


def _download(what: str, entry: dict[str, Any], *, cached: bool) -> Path:
    from open_clip.pretrained import download_pretrained

    advice = (
        f"the weights of {what} are not on this machine and cannot be downloaded. Fetch {_page(entry)} on a machine "
        "with a network, then pass backbone.pretrained=/path/to/file; or run without a download: backbone=pocket"
    )
    if not cached and not can_resolve(_page(entry)):
        raise FileNotFoundError(advice)
    try:
        return Path(download_pretrained(entry))
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(f"{advice} ({error})") from error


def _page(entry: dict[str, Any]) -> str:
    if hub := entry.get("hf_hub"):
        from huggingface_hub.constants import ENDPOINT

        return f"{ENDPOINT}/{hub.rstrip('/')}"
    return entry["url"]


def _is_cached(entry: dict[str, Any]) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repository = entry.get("hf_hub", "").rstrip("/")
    names = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    return bool(repository) and any(
        isinstance(try_to_load_from_cache(repository, name), str) for name in names
    )


def can_resolve(url: str) -> bool:
    """Tell at once that there is no network, where the download client would retry for a minute."""
    if urllib.request.getproxies():
        return True  # the proxy resolves names, not this machine
    try:
        socket.getaddrinfo(urlsplit(url).hostname, 443)
    except OSError:
        return False
    return True
