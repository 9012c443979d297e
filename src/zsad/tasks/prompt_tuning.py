"""Learn a method's prompts on one dataset, then test them on others."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler

from zsad.metrics.per_category import CategoryMetrics
from zsad.model_files.checkpoint_fit import check_fit, load_learned_state
from zsad.model_files.learned import (
    KEY,
    LearnedState,
    from_checkpoint,
    learned_tensors,
    read_learned_state,
)
from zsad.model_files.run_checkpoints import find_checkpoint
from zsad.tasks.evaluation import ZeroShotEvaluation
from zsad.tasks.feature_cache import FeatureCache
from zsad.tasks.loss_weighting import LossWeights
from zsad.types import Batch

log = logging.getLogger("zsad")


class PromptTuning(ZeroShotEvaluation):
    """Evaluation, and the training before it. Checkpoints hold what was learned and on what, never the backbone.

    Args:
        method: A method with a ``loss(batch)`` of named, weighted terms; training minimises their sum. With
            ``extract_features``, ``loss_from_features`` and ``feature_key`` it can learn from cached features, too.
        metrics: Makes the metrics for the categories of the tested dataset.
        optimizer: Makes the optimizer for the parameters that learn.
        feature_cache: Keeps what the frozen backbone sees, so that it looks at each training image once; ``None``:
            it looks in every epoch.
    """

    def __init__(
        self,
        method: nn.Module,
        metrics: Callable[[Sequence[str]], CategoryMetrics],
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        feature_cache: FeatureCache | None = None,
        heatmap_range: Sequence[float] = (0.0, 1.0),
    ) -> None:
        super().__init__(method, metrics, heatmap_range)
        self.strict_loading = (
            False  # the frozen backbone is not in a checkpoint; on_load_checkpoint checks the rest
        )
        self.provenance: dict[str, Any] = {"method": type(method).__name__}
        self.feature_cache = feature_cache
        # Gives files of earlier versions the present names; zsad.config sets it.
        self.rename_stored: Callable[[LearnedState], LearnedState] = lambda learned: learned
        self._make_optimizer = optimizer

    def setup(self, stage: str) -> None:
        """Open the feature cache before a training, and let the data ask it.

        Raises:
            ValueError: If the method cannot learn from cached features.
        """
        super().setup(stage)
        if stage == "fit" and self.feature_cache is not None:
            self.feature_cache.open(
                self.method, str(self.trainer.precision), self.trainer.world_size
            )
            self.trainer.datamodule.cache_lookup = self.feature_cache.lookup  # type: ignore[attr-defined]
            if self.trainer.is_global_zero:
                log.info("feature cache: %s", self.feature_cache)

    def on_fit_start(self) -> None:
        """Tell the method which dataset comes."""
        self._enter()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Give the optimizer the learned parameters alone."""
        return self._make_optimizer(
            [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; every term is logged under its name.

        Several processes, or accumulated batches, learn what one process learns from batches as large as all of
        theirs together.
        """
        shares, rank = self._loss_weights(batch), self.trainer.global_rank
        images = shares.images_of(batch_idx, rank)
        terms = self._terms(
            batch.first(max(images, 1))
        )  # of no image there would be no gradients to share
        loss = torch.stack(list(terms.values())).sum()
        means = {f"train/{name}": term.detach() for name, term in terms.items()} | {
            "train/total": loss.detach()
        }
        # The mean of the processes' sizes is rounded down to a whole number, which must not change it.
        size = images * self.trainer.world_size
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        self.log(
            "loss", loss.detach(), prog_bar=True, batch_size=len(batch)
        )  # of this step, for the progress bar
        return loss * shares.weight(batch_idx, rank)

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        method: Any = self.method
        if self.feature_cache is None:
            return method.loss(batch)
        return method.loss_from_features(
            self.feature_cache.features_of(batch, method.extract_features), batch
        )

    def _loss_weights(self, batch: Batch) -> LossWeights:
        """Return how the epoch is dealt out; a loader that deals out nothing gives every process all it has."""
        loader, trainer = self.trainer.train_dataloader, self.trainer
        if not isinstance(loader, DataLoader) or not isinstance(loader.sampler, DistributedSampler):
            return LossWeights(sys.maxsize, len(batch))
        return LossWeights(
            images=len(loader.dataset),  # type: ignore[arg-type]
            batch_size=loader.batch_size or len(batch),
            processes=trainer.world_size,
            batches=int(trainer.num_training_batches),
            accumulated=trainer.accumulate_grad_batches,
        )

    def load_prompts(self, path: str | Path) -> dict[str, Any]:
        """Load prompts from a checkpoint, exported prompts or a published file; return their provenance.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it does not fit this method, is damaged, or could run code.
        """
        file = find_checkpoint(path)
        learned = self.rename_stored(read_learned_state(file))
        load_learned_state(self.method, learned, source=str(file))
        return learned.provenance

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was learned, and its provenance; drop the frozen weights."""
        learned = {f"method.{name}" for name in learned_tensors(self.method)}
        checkpoint["state_dict"] = {
            k: v for k, v in checkpoint["state_dict"].items() if k in learned
        }
        checkpoint[KEY] = self.provenance

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on from another method, or from what was learned elsewhere, before anything is changed.

        A checkpoint says what it learned from; a run that went on with other data would make that untrue.

        Raises:
            ValueError: If the checkpoint does not fit this method, its data, its weights or its settings.
        """
        learned = self.rename_stored(from_checkpoint(checkpoint, "ckpt_path"))
        check_fit(self.method, learned, "ckpt_path")
        for fact in ("trained_on", "weights", "settings", "seed"):
            theirs, ours = learned.provenance.get(fact), self.provenance.get(fact)
            if theirs != ours:
                raise ValueError(
                    f"cannot go on from ckpt_path: its {fact} is {theirs}, this run's is {ours}. Resume with the "
                    "command of the first run and ckpt_path=…, or leave ckpt_path out to train anew"
                )
        checkpoint["state_dict"] = {
            f"method.{name}": tensor for name, tensor in learned.tensors.items()
        }
