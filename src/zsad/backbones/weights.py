"""Where the numbers of a frozen CLIP come from: a tag, a hub id, or a local file; checked, and never as a pickle."""

from __future__ import annotations

import hashlib
import pickle
import socket
import urllib.request
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


def locate(model_name: str | None, pretrained: str | None) -> Path | None:
    """Return the weight file that a choice stands for, downloading it on first use.

    Args:
        model_name: An open_clip architecture (``ViT-L-14-336``) or ``hf-hub:org/name``.
        pretrained: An open_clip tag (``openai``), a local file, or ``None`` for random weights.

    Raises:
        ValueError: If the tag is unknown for the architecture, or a file with the name of one of OpenAI's is not it.
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
        _check_digest(path)
        return path
    return _from_tag(model_name, pretrained)


def read_state_dict(path: Path) -> StateDict:
    """Read weights from safetensors, a plain PyTorch file, or OpenAI's TorchScript archive.

    Nothing in the file is executed: plain files are read with ``weights_only=True``, and of an archive only the
    tensors are taken.

    Raises:
        ValueError: If the file is none of the three, is cut short, or holds objects other than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}. Fetch it again.") from error
    content: Any
    try:
        content = torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:  # not a TorchScript archive
        content = load_tensors(path)
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or "visual.conv1.weight" not in _without_prefix(content):
        raise ValueError(
            f"{path} holds no CLIP image tower (no 'visual.conv1.weight'). Expected an OpenAI or open_clip file."
        )
    return {name: tensor for name, tensor in _without_prefix(content).items() if name not in _NOT_WEIGHTS}


def load_tensors(path: Path) -> Any:
    """Read a PyTorch file without running anything that may hide in it.

    Raises:
        ValueError: If the file holds code or is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
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
        known = ", ".join(name for name in open_clip.list_models() if name.startswith("ViT-") and "SigLIP" not in name)
        raise ValueError(f"open_clip knows no architecture {model_name!r}. Known: {known}")
    return architecture


def infer_architecture(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the architecture of a ViT CLIP from the shapes of its tensors, in open_clip's terms.

    The number of heads is not stored; as in every OpenAI model it is width / 64.
    """
    width, _, patch, _ = state["visual.conv1.weight"].shape
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    text_width = len(state["ln_final.weight"])
    return {
        "embed_dim": state["text_projection"].shape[1],
        "vision_cfg": {
            "image_size": grid * patch,
            "patch_size": patch,
            "width": width,
            "layers": _count_blocks(state, "visual.transformer.resblocks."),
            "head_width": 64,
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


def _check_digest(path: Path) -> None:
    """Compare a file that has the name of one of OpenAI's with the SHA-256 that OpenAI publishes in its address."""
    from open_clip import pretrained as catalogue

    urls = (catalogue.get_pretrained_url(name, "openai") for name in catalogue.list_pretrained_models_by_tag("openai"))
    published = {PurePosixPath(url).name: PurePosixPath(url).parent.name for url in urls if url}
    if path.name in published:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != published[path.name]:
            raise ValueError(
                f"{path} is not OpenAI's {path.name}: its SHA-256 is {digest}, expected {published[path.name]}. "
                "Fetch it again, or give your own weights another name."
            )


def _count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _without_prefix(content: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Weights saved from a DataParallel model carry "module." before every name.
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


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
    return _download(repository, {"hf_hub": f"{repository}/"}, cached=_is_cached({"hf_hub": f"{repository}/"}))


def _download(what: str, entry: dict[str, Any], *, cached: bool) -> Path:
    from open_clip.pretrained import download_pretrained

    advice = (
        f"the weights of {what} are not on this machine and cannot be downloaded. Fetch {_page(entry)} on a machine "
        "with a network, then pass backbone.pretrained=/path/to/file; or run without a download: backbone=pocket"
    )
    if not cached and not _can_resolve(_page(entry)):
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
    return bool(repository) and any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)


def _can_resolve(url: str) -> bool:
    """Tell at once that there is no network, where the download client would retry for a minute."""
    if urllib.request.getproxies():
        return True  # the proxy resolves names, not this machine
    try:
        socket.getaddrinfo(urlsplit(url).hostname, 443)
    except OSError:
        return False
    return True
