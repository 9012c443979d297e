"""What a user has to know of an error, and nothing of the layers that it passed through."""

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

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_resource_error(error: BaseException) -> bool:
    """Tell whether an error is no fault of the program, though Python has no class of its own for it."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__
        == "OutOfMemoryError"  # torch's, which is not imported yet where this is needed
        or "DefaultCPUAllocator" in text
        or text.startswith("DataLoader worker")
    )


def message(error: BaseException) -> str:
    """Return what a user has to know of an error, with the notes that were added to it on its way."""
    return "\n".join([reason(error), *getattr(error, "__notes__", ())])


def reason(error: BaseException) -> str:
    """Return what a user has to know of an error."""
    text, cause = str(error), error.__cause__
    if (
        "full_key: " in text and cause is not None
    ):  # what Hydra says of a class that it could not build
        place = text.rpartition("full_key: ")[2].strip()
        return f"{cause} (in {place})" if isinstance(cause, TypeError) else str(cause)
    if text.startswith("Caught ") and "in DataLoader worker" in text:
        # "…Original Traceback… zsad.data.images.UnreadableImageError: MESSAGE"
        return text.strip().rpartition(f"{type(error).__name__}: ")[2]
    if isinstance(error, OSError) and error.errno in _FULL:
        what = (
            f"{error.filename} could not be written"
            if error.filename
            else "a file could not be written"
        )
        return f"the disk is full: {what}. Make room, or write elsewhere: hydra.run.dir=/path/with/room"
    return _resource_message(text) if is_resource_error(error) else text


def _resource_message(text: str) -> str:
    if text.startswith("DataLoader worker"):
        died = re.search(r"pid\(?s?\)? ([\d, ]+)", text)
        memory = " There was too little shared memory." if "shared memory" in text else ""
        return (
            f"a process that reads images died{f' (pid {died[1].strip()})' if died else ''}, as happens where memory "
            f"runs out.{memory} Fewer of them need less: dataset.num_workers=1, or 0"
        )
    # The first sentence says how much was wanted where; what follows are PyTorch's own switches.
    return (
        f"out of memory: {text.partition('. See documentation')[0]}\nSmaller batches: dataset.batch_size=…, "
        + (
            "with trainer.accumulate_grad_batches=… for as many images a step; in a test dataset.test_batch_size=1"
        )
    )


class RunFailedError(CompactHydraException):
    """A run of a sweep failed; the others go on, and at the end Hydra shows the message alone."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show a mistake of the user as one message instead of a traceback; ``HYDRA_FULL_ERROR=1`` brings it back."""
    try:
        yield
    except Exception as error:
        is_expected = isinstance(
            error, (ValueError, OSError, HydraException, OmegaConfBaseException)
        )
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not (
            is_expected or is_resource_error(error)
        ):
            raise
        text = f"\nerror: {message(error)}\n(HYDRA_FULL_ERROR=1 shows where it came from)"
        if is_sweep():
            raise RunFailedError(
                f"{text}\nAll runs: zsad collect {HydraConfig.get().sweep.dir}"
            ) from error
        raise SystemExit(text) from error
