"""Downloads of weight files: the Hugging Face hub, and addresses in open_clip's catalogue."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def can_resolve(url: str) -> bool:
    """Tell at once that there is no network, where a download client would retry for a minute."""
    if urllib.request.getproxies():
        return True  # the proxy resolves names, not this machine
    try:
        socket.getaddrinfo(urlsplit(url).hostname, 443)
    except OSError:
        return False
    return True


def hub_page(repository: str) -> str:
    """Return the address of a repository of the hub."""
    from huggingface_hub.constants import ENDPOINT

    return f"{ENDPOINT}/{repository}"


def find_in_hub_cache(repository: str, filenames: Sequence[str]) -> Path | None:
    """Return the first of some files of a repository that is on this machine, or ``None``."""
    from huggingface_hub import try_to_load_from_cache

    for filename in filenames:
        path = try_to_load_from_cache(repository, filename)
        if isinstance(path, str):
            return Path(path)
    return None


def download_open_clip_weights(name: str, entry: dict[str, Any]) -> Path:
    """Return the weight file of an entry of open_clip's catalogue, downloading it on first use.

    Args:
        name: Name of the weights in messages.
        entry: ``hf_hub`` (``organisation/name/``) or ``url``, as open_clip's catalogue has them.

    Raises:
        FileNotFoundError: If the file is not on this machine and cannot be downloaded.
    """
    from open_clip.pretrained import download_pretrained

    repository = entry.get("hf_hub", "").rstrip("/")
    page = hub_page(repository) if repository else entry["url"]
    advice = (
        f"the weights of {name} are not on this machine and cannot be downloaded. Fetch {page} "
        "on a machine with a network, then pass backbone.pretrained=/path/to/file; or run without "
        "a download: backbone=pocket"
    )
    if not _is_cached(repository) and not can_resolve(page):
        raise FileNotFoundError(advice)
    try:
        return Path(download_pretrained(entry))
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(f"{advice} ({error})") from error


def _is_cached(repository: str) -> bool:
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if not repository:
        return False
    return find_in_hub_cache(repository, (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)) is not None
