"""Copies of modules that share their weights, so that words can differ and networks cannot."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def copy_sharing_weights(module: ModuleT) -> ModuleT:
    """Return a copy whose attributes can be replaced, on the same parameters and submodules.

    A new parameter, buffer or submodule of the copy does not reach the original; a change in
    place, such as an optimizer step, reaches both.

    >>> original = nn.Linear(2, 2)
    >>> copied = copy_sharing_weights(original)
    >>> copied.bias = None
    >>> original.bias is None, copied.weight is original.weight
    (False, True)
    """
    copied = copy.copy(module)
    for registry in ("_parameters", "_buffers", "_modules"):
        setattr(copied, registry, dict(getattr(module, registry)))
    return copied
