"""Networks that stay frozen, and the precision that they compute in."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FrozenNetwork(nn.Module):
    """A network that stays in eval mode, whatever a trainer asks for."""

    def train(self, mode: bool = True) -> FrozenNetwork:  # noqa: ARG002 (the signature is torch's)
        """Stay in eval mode."""
        return super().train(False)

    def freeze(self) -> None:
        """Switch to eval mode and stop all gradients."""
        self.requires_grad_(False)
        self.eval()


def compute_in(dtype: torch.dtype, device: torch.device) -> Any:
    """Return the autocast context of a precision; float32 switches a trainer's autocast off."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
