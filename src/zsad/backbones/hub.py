"""Models and their parts from a hub id or a local folder, with the same errors for every network.

``load_pretrained(model_class, name, dtype=…, what=…)`` returns a frozen ``transformers`` model in
eval mode, ``load_part(part_class, name, what=…)`` its tokenizer, image processor or configuration,
``random_model(make)`` the model of ``make()``, with the same random weights every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zsad.backbones.downloads import can_resolve, find_in_hub_cache, hub_page

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NO_NETWORK = "it is not on this machine, and there is no network"


def load_pretrained(
    model_class: Any,
    name: str,
    *,
    dtype: str | torch.dtype = "float32",
    what: str = "the model",
    **options: Any,
) -> Any:
    """Load the weights of a network, frozen and in eval mode.

    Files on this machine are taken without asking the network. Code that comes with weights is
    never run.

    Args:
        model_class: A class of ``transformers`` (or of its shape: ``from_pretrained``).
        name: A hub id (``facebook/sam-vit-huge``), or a folder as ``save_pretrained`` or
            ``hf download`` leave it.
        dtype: Precision of the weights: ``float32``, ``bfloat16`` or ``float16``.
        what: Its name in messages: ``the detector``.
        options: For ``from_pretrained``.

    Raises:
        ValueError: If the precision is none of these.
        FileNotFoundError: If the weights cannot be had; the message names the missing part and the
            way to get it.
    """
    model = _loaded(model_class, name, what, dtype=as_dtype(dtype), **options)
    return model.requires_grad_(False).eval()


def load_part(part_class: Any, name: str, *, what: str = "the model", **options: Any) -> Any:
    """Load a tokenizer, an image processor or a configuration. Errors as ``load_pretrained``."""
    return _loaded(part_class, name, what, **options)


def load_hub_file(repository: str, filename: str, *, what: str) -> Path:
    """Return a file of a hub repository, downloaded if needed. Errors as ``load_pretrained``."""
    from huggingface_hub import hf_hub_download

    known = find_in_hub_cache(repository, [filename])
    if known is not None:
        return known
    if not can_resolve(hub_page(repository)):
        raise _missing(repository, what, reason=_NO_NETWORK)
    try:
        return Path(hf_hub_download(repository, filename))
    except OSError as error:
        raise explain_error(error, repository, what) from error


def random_model(make: Callable[[], nn.Module]) -> Any:
    """Build a network with random weights, the same every time, frozen and in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().requires_grad_(False).eval()


def build_random(auto_class: Any, architecture: dict[str, Any] | None, *, key: str) -> Any:
    """Build a model of ``transformers`` from its configuration, with random weights.

    Args:
        auto_class: A class with ``from_config``.
        architecture: Fields of the configuration, with its ``model_type``.
        key: Configuration key of the network, for the message.

    Raises:
        ValueError: If there is no architecture.
    """
    from transformers import AutoConfig

    if architecture is None:
        raise ValueError(
            f"neither {key}.pretrained nor {key}.architecture is given: set {key}.pretrained to a "
            f"hub id or a folder, or {key}.architecture for random weights"
        )
    config = AutoConfig.for_model(**architecture)
    return random_model(lambda: auto_class.from_config(config))


def as_dtype(name: str | torch.dtype) -> torch.dtype:
    """Return the precision that a name stands for.

    Raises:
        ValueError: If it is none of float32, bfloat16 and float16.
    """
    if isinstance(name, torch.dtype):
        return name
    if name not in DTYPES:
        known = ", ".join(DTYPES)
        raise ValueError(f"dtype {name!r}: expected one of {known}")
    return DTYPES[name]


def explain_error(error: BaseException, name: str, what: str) -> FileNotFoundError:
    """Return an error with advice to the user, for an error of a hub's client."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    causes = list(_causes(error))
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return FileNotFoundError(
            f"{what} {name} is gated: its owners let in who asked. Ask at {hub_page(name)}, log in "
            "with `hf auth login` (or set HF_TOKEN), and run the same command again; or pass a "
            f"folder that `hf download {name}` made"
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return FileNotFoundError(
            f"{what} {name}: no such model at {hub_page(name)}. Check the spelling; a private "
            "model needs `hf auth login`; a folder on this machine must exist and be given by its "
            "path"
        )
    return _missing(name, what, reason=str(error).split("\n")[0])


def _loaded(part_class: Any, name: str, what: str, **options: Any) -> Any:
    folder = Path(name).expanduser()
    if _is_path(name) and not folder.is_dir():
        raise FileNotFoundError(
            f"{what}: no folder {folder}. Pass a folder that `hf download` made, or a hub id"
        )
    if folder.is_dir():
        return _from_folder(part_class, folder, what, **options)
    try:
        return part_class.from_pretrained(name, local_files_only=True, **options)
    except OSError as error:
        if not can_resolve(hub_page(name)):
            raise _missing(name, what, reason=_NO_NETWORK) from error
    try:
        return part_class.from_pretrained(name, **options)
    except OSError as error:
        raise explain_error(error, name, what) from error


def _from_folder(part_class: Any, folder: Path, what: str, **options: Any) -> Any:
    try:
        return part_class.from_pretrained(str(folder), local_files_only=True, **options)
    except OSError as error:
        names = sorted(path.name for path in folder.iterdir())
        present = ", ".join(names[:8]) or "nothing"
        reason = str(error).splitlines()[0]
        raise FileNotFoundError(
            f"{what}: the folder {folder} is not all that {part_class.__name__} needs: {reason} "
            f"It holds {present}. Fetch it whole: hf download ORGANISATION/NAME "
            f"--local-dir {folder}"
        ) from error


def _missing(name: str, what: str, *, reason: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{what} {name} cannot be loaded ({reason}). On a machine with a network: hf download "
        f"{name} --local-dir FOLDER — then give that folder instead of the name; or copy the hub "
        "cache (HF_HOME) here"
    )


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
