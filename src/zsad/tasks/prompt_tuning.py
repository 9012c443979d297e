"""Learn a method's prompts on one dataset, then test them on others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zsad.tasks.checkpoint import (
    KEY,
    check_fit,
    find_checkpoint,
    from_checkpoint,
    learned_tensors,
    load_learned,
    read_learned,
)
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.metrics import CategoryMetrics
from zsad.types import Batch


class PromptTuning(ZeroShotEvaluation):
    """Evaluation, and the training before it. Checkpoints hold what was learned and on what, never the backbone.

    Args:
        method: A method with a ``loss(batch)`` of named, weighted terms; training minimises their sum.
        metrics: Makes the metrics for the categories of the tested dataset.
        optimizer: Makes the optimizer for the parameters that learn.
    """

    def __init__(
        self,
        method: nn.Module,
        metrics: Callable[[Sequence[str]], CategoryMetrics],
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    ) -> None:
        super().__init__(method, metrics)
        self.strict_loading = False  # the frozen backbone is not in a checkpoint; on_load_checkpoint checks the rest
        self.provenance: dict[str, Any] = {"method": type(method).__name__}
        self._make_optimizer = optimizer

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Give the optimizer the learned parameters alone."""
        return self._make_optimizer([parameter for parameter in self.method.parameters() if parameter.requires_grad])

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch; every term is logged under its name."""
        terms: dict[str, Tensor] = self.method.loss(batch)  # type: ignore[operator]
        loss = torch.stack(list(terms.values())).sum()
        means = {f"train/{name}": term.detach() for name, term in terms.items()} | {"train/total": loss.detach()}
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch))  # of this step, for the progress bar
        return loss

    def load_prompts(self, path: str | Path) -> dict[str, Any]:
        """Load prompts from a checkpoint, exported prompts or a published file; return their provenance.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it does not fit this method, is damaged, or could run code.
        """
        file = find_checkpoint(path)
        learned = read_learned(file)
        load_learned(self.method, learned, source=str(file))
        return learned.provenance

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was learned, and its provenance; drop the frozen weights."""
        learned = {f"method.{name}" for name in learned_tensors(self.method)}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in learned}
        checkpoint[KEY] = self.provenance

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on from another method, or from what was learned elsewhere, before anything is changed.

        A checkpoint says what it learned from; a run that went on with other data would make that untrue.

        Raises:
            ValueError: If the checkpoint does not fit this method, its data, its weights or its settings.
        """
        learned = from_checkpoint(checkpoint, "ckpt_path")
        check_fit(self.method, learned, "ckpt_path")
        for fact in ("trained_on", "weights", "settings", "seed"):
            theirs, ours = learned.provenance.get(fact), self.provenance.get(fact)
            if theirs != ours:
                raise ValueError(
                    f"cannot go on from ckpt_path: its {fact} is {theirs}, this run's is {ours}. Resume with the "
                    "command of the first run and ckpt_path=…, or leave ckpt_path out to train anew"
                )
