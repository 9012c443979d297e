"""Evaluation of a method on a dataset, and prediction: the order of steps, not their maths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning import LightningModule
from torch import nn

from zsad.contract import DatasetAware, FewShot
from zsad.metrics.per_category import CategoryMetrics
from zsad.tasks.finite_checks import require_finite_prediction, require_finite_weights
from zsad.tasks.oom_retry import HalveOnOutOfMemory
from zsad.types import Batch, Prediction, Results, Sample


class ZeroShotEvaluation(LightningModule):
    """Runs a method over a dataset and collects its metrics by category.

    Training-free methods use this task as it is; ``PromptTuning`` adds the training.

    Args:
        method: A ``Method`` of ``zsad.contract``. A ``FewShot`` method gets its references for
            every category before the first image, if the data come with references. A
            ``DatasetAware`` method gets the name of the dataset before the first image of a test.
        metrics: Makes the metrics for the categories of the tested dataset.
        heatmap_range: Values of the method's anomaly maps at the two ends of the colours of heat
            maps.
    """

    def __init__(
        self,
        method: nn.Module,
        metrics: Callable[[Sequence[str]], CategoryMetrics],
        heatmap_range: Sequence[float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.heatmap_range = tuple(heatmap_range)
        self.method = method
        self.results: Results | None = None
        self._make_metrics = metrics
        self._predict_with_retry = HalveOnOutOfMemory()

    def setup(self, stage: str) -> None:
        """Make the metrics of the tested categories, the same on every process.

        Raises:
            ValueError: If the data come with references and the method takes none.
        """
        if self._references() and not isinstance(self.method, FewShot):
            raise ValueError(
                f"{type(self.method).__name__} takes no reference images: leave k_shot out"
            )
        if stage == "test":
            self.metrics = self._make_metrics(self._data.categories)

    def on_test_start(self) -> None:
        """Check the weights; give the method the name of the dataset, and its references."""
        require_finite_weights(self.method)
        self._set_dataset()
        self._set_references()

    def on_predict_start(self) -> None:
        """Check the weights, and give the method its references."""
        require_finite_weights(self.method)
        self._set_references()

    def test_step(self, batch: Batch) -> Prediction:
        """Predict a batch and add it to the metrics. Callbacks receive the prediction."""
        prediction = self.predict_step(batch)
        self.metrics.update(prediction, batch)
        return prediction

    def on_test_epoch_end(self) -> None:
        """Compute the metrics; ``results`` holds them afterwards, the logger their means."""
        self.results = self.metrics.compute()
        means = {f"test/{name}": value for name, value in self.results.mean.items()}
        # The metrics are joined over processes already, so the logger's mean changes nothing.
        self.log_dict(means, sync_dist=True)

    def predict_step(self, batch: Batch) -> Prediction:
        """Predict a batch, in halves if it does not fit into memory.

        Raises:
            ValueError: NaN or infinite predictions, naming the image.
        """
        prediction = self._predict_with_retry(self.method, batch.image, batch.category)
        precision = str(self.trainer.precision)
        require_finite_prediction(prediction, batch, self.method, precision)
        return prediction

    @property
    def _data(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]

    def _set_dataset(self) -> None:
        """Give a method with prompts for certain datasets the name of this one."""
        if isinstance(self.method, DatasetAware):
            self.method.set_dataset(self._data.name)

    def _references(self) -> dict[str, list[Sample]]:
        data = self._data
        return data.references.samples if hasattr(data, "references") else {}

    def _set_references(self) -> None:
        """Give the method its references, on every process, in the precision of the tested images.

        References of an earlier dataset are dropped.
        """
        if not isinstance(self.method, FewShot):
            return
        self.method.clear_references()
        if not self._references():
            return
        precision = self.trainer.precision_plugin
        for category, images in self._data.reference_images():
            with precision.forward_context():
                placed = [precision.convert_input(image.to(self.device)) for image in images]
                self.method.set_references(category, placed)
