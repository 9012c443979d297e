"""Training of a method's prompts on one dataset, to test them on others."""

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
from zsad.tasks.finite_checks import (
    DIVERGED,
    divergence_advice,
    require_finite_loss,
    require_finite_prompts,
    require_finite_weights,
)
from zsad.tasks.loss_weighting import LossWeights
from zsad.types import Batch

log = logging.getLogger("zsad")


class PromptTuning(ZeroShotEvaluation):
    """Trains a method, and evaluates it.

    Checkpoints hold the learned tensors and their provenance, never the backbone.

    Args:
        method: A ``Trainable`` method of ``zsad.contract``, with a ``loss(batch)`` of named,
            weighted terms; training minimises their sum. A ``FeatureCacheable`` method can learn
            from cached features, too.
        metrics: Makes the metrics for the categories of the tested dataset.
        optimizer: Makes the optimizer for the trainable parameters.
        feature_cache: Caches features of the frozen backbone, so that it runs on each training
            image once; ``None``: it runs in every epoch.
        heatmap_range: As in ``ZeroShotEvaluation``.
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
        # The frozen backbone is not in a checkpoint; on_load_checkpoint checks the other tensors.
        self.strict_loading = False
        self.provenance: dict[str, Any] = {"method": type(method).__name__}
        self.feature_cache = feature_cache
        # Gives files of earlier versions the present names; zsad.config sets it.
        self.rename_stored: Callable[[LearnedState], LearnedState] = lambda learned: learned
        self._make_optimizer = optimizer

    def setup(self, stage: str) -> None:
        """Open the feature cache before a training, and connect the data to it.

        Raises:
            ValueError: If the method cannot learn from cached features.
        """
        super().setup(stage)
        if stage == "fit" and self.feature_cache is not None:
            precision = str(self.trainer.precision)
            self.feature_cache.open(self.method, precision, self.trainer.world_size)
            self._data.cache_lookup = self.feature_cache.lookup
            if self.trainer.is_global_zero:
                log.info("feature cache: %s", self.feature_cache)

    def on_fit_start(self) -> None:
        """Check the weights, and give the method the name of the dataset."""
        require_finite_weights(self.method)
        self._set_dataset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimizer of the trainable parameters."""
        parameters = self.method.parameters()
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        return self._make_optimizer(trainable)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; every term is logged under its name.

        Several processes, or accumulated batches, learn as one process does from batches as large
        as all of theirs together.

        Raises:
            DivergedError: If the loss of a process is not finite.
        """
        weights = self._loss_weights(batch)
        rank = self.trainer.global_rank
        num_images = weights.images_of(batch_idx, rank)
        # Without any image there would be no gradients to share: at least one.
        terms = self._loss_terms(batch.first(max(num_images, 1)))
        loss = torch.stack(list(terms.values())).sum()
        self._require_finite(loss, batch, batch_idx)
        means = {f"train/{name}": term.detach() for name, term in terms.items()}
        means["train/total"] = loss.detach()
        # Lightning rounds the mean of the processes' sizes down: a whole number keeps it exact.
        size = num_images * self.trainer.world_size
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        # The loss of this step, for the progress bar.
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        return loss * weights.weight(batch_idx, rank)

    def _require_finite(self, loss: Tensor, batch: Batch, batch_idx: int) -> None:
        # All processes end together: a single one would leave the others waiting.
        is_finite = self.trainer.strategy.reduce_boolean_decision(bool(loss.isfinite()))
        place = f"epoch {self.current_epoch + 1}, step {batch_idx + 1}"
        require_finite_loss(is_finite, place, batch, self._advice())

    def _advice(self) -> str:
        return divergence_advice(str(self.trainer.precision), self.trainer.optimizers)

    def _loss_terms(self, batch: Batch) -> dict[str, Tensor]:
        method: Any = self.method
        if self.feature_cache is None:
            return method.loss(batch)
        return method.loss_from_features(
            self.feature_cache.features_of(batch, method.extract_features), batch
        )

    def _loss_weights(self, batch: Batch) -> LossWeights:
        """Return the weights of this epoch.

        A loader without a distributed sampler gives every process all of its images.
        """
        trainer = self.trainer
        loader = trainer.train_dataloader
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
        """Load prompts from a checkpoint, an exported or a published file; return their provenance.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it does not fit this method, is damaged or not finite, or could run code.
        """
        file = find_checkpoint(path)
        learned = self.rename_stored(read_learned_state(file))
        require_finite_prompts(learned.tensors, str(file), DIVERGED)
        load_learned_state(self.method, learned, source=str(file))
        return learned.provenance

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the learned tensors and their provenance; drop the frozen weights.

        Raises:
            DivergedError: If a learned tensor is not finite: the earlier checkpoints stay the last.
        """
        tensors = learned_tensors(self.method)
        require_finite_prompts(tensors, f"epoch {self.current_epoch + 1}", self._advice())
        learned = {f"method.{name}" for name in tensors}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in learned}
        checkpoint[KEY] = self.provenance

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from another method, or another training, before anything is changed.

        A checkpoint says what it was trained on; resuming with other data would make that untrue.

        Raises:
            ValueError: If the checkpoint does not fit this method, its data, its weights or its
                settings.
        """
        learned = self.rename_stored(from_checkpoint(checkpoint, "ckpt_path"))
        check_fit(self.method, learned, "ckpt_path")
        for fact in ("trained_on", "weights", "settings", "seed"):
            theirs, ours = learned.provenance.get(fact), self.provenance.get(fact)
            if theirs != ours:
                raise ValueError(
                    f"cannot resume from ckpt_path: its {fact} is {theirs}, this run's is {ours}. "
                    "Resume with the command of the first run and ckpt_path=…, or leave ckpt_path "
                    "out to train anew"
                )
        checkpoint["state_dict"] = {
            f"method.{name}": tensor for name, tensor in learned.tensors.items()
        }
