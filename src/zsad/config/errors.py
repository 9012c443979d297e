"""Errors as users read them: one message, without the layers that it passed through."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from omegaconf.errors import OmegaConfBaseException

from zsad.config.compose import is_sweep

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class RunFailedError(CompactHydraException):
    """A failed run of a sweep: the others continue, and Hydra shows the message at the end."""


def is_resource_error(error: BaseException) -> bool:
    """Tell whether memory ran out or a loader process was killed: no fault of the program.

    Python has no class of its own for most of these errors.
    """
    text = str(error)
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text:
        return True
    if text.startswith("DataLoader worker"):
        return True
    # PyTorch's class by its name: PyTorch may not be imported yet.
    return type(error).__name__ == "OutOfMemoryError"


def message(error: BaseException) -> str:
    """Return the message of an error for users, with the notes that were added to it on its way."""
    return "\n".join([reason(error), *getattr(error, "__notes__", ())])


def reason(error: BaseException) -> str:
    """Return the message of an error for users."""
    text = str(error)
    cause = error.__cause__
    if "full_key: " in text and cause is not None:  # Hydra could not build a class
        return _build_message(text, cause)
    if text.startswith("Caught ") and "in DataLoader worker" in text:
        # "…Original Traceback… zsad.data.images.UnreadableImageError: MESSAGE"
        return text.strip().rpartition(f"{type(error).__name__}: ")[2]
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return _disk_full_message(error)
    return _resource_message(text) if is_resource_error(error) else text


def _build_message(text: str, cause: BaseException) -> str:
    if not isinstance(cause, TypeError):
        return str(cause)
    place = text.rpartition("full_key: ")[2].strip()
    return f"{cause} (in {place})"


def _disk_full_message(error: OSError) -> str:
    file = error.filename or "a file"
    return (
        f"the disk is full: {file} could not be written. "
        "Make room, or write elsewhere: hydra.run.dir=/path/with/room"
    )


def _resource_message(text: str) -> str:
    if text.startswith("DataLoader worker"):
        return _dead_loader_message(text)
    # The first sentence says how much was wanted where; PyTorch's own switches follow.
    shortage = text.partition(". See documentation")[0]
    return (
        f"out of memory: {shortage}\nSmaller batches: dataset.batch_size=…, with "
        "trainer.accumulate_grad_batches=… for as many images a step; "
        "in a test dataset.test_batch_size=1"
    )


def _dead_loader_message(text: str) -> str:
    died = re.search(r"pid\(?s?\)? ([\d, ]+)", text)
    process = f" (pid {died[1].strip()})" if died else ""
    memory = " There was too little shared memory." if "shared memory" in text else ""
    return (
        f"a process that reads images died{process}, as happens when memory runs out.{memory} "
        "Fewer of them need less: dataset.num_workers=1, or 0"
    )


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show a mistake of the user as one message instead of a traceback.

    ``HYDRA_FULL_ERROR=1`` shows the traceback again.
    """
    expected = (ValueError, OSError, HydraException, OmegaConfBaseException)
    try:
        yield
    except Exception as error:
        is_expected = isinstance(error, expected) or is_resource_error(error)
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not is_expected:
            raise
        text = f"\nerror: {message(error)}\n(HYDRA_FULL_ERROR=1 shows the traceback)"
        if is_sweep():
            folder = HydraConfig.get().sweep.dir
            raise RunFailedError(f"{text}\nAll runs: zsad collect {folder}") from error
        raise SystemExit(text) from error
