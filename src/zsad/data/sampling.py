"""Order and choice of samples: shuffles of training, evenly spaced subsets for quick trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast

from torch.utils.data import DistributedSampler

from zsad.data.images import ImageDataset
from zsad.types import Batch, Sample


class EpochSampler(DistributedSampler[Batch]):
    """A shuffle that depends on seed and epoch alone, and sets the epoch of the dataset.

    A run that resumes at epoch e therefore sees the same batches, augmented in the same way, as a
    run that never stopped. In the middle of an epoch it goes on with the first image that this
    process has not seen.
    """

    # An epoch, and how many of its images this process has seen.
    resume_position: tuple[int, int] = (0, 0)

    def __iter__(self) -> Iterator[Any]:
        """Yield the numbers of the images, without those seen before."""
        epoch, seen = self.resume_position
        skipped = seen if self.epoch == epoch else 0
        return islice(super().__iter__(), skipped, None)

    def set_epoch(self, epoch: int) -> None:
        """Take the epoch from the trainer."""
        super().set_epoch(epoch)
        cast(ImageDataset, self.dataset).epoch.fill_(epoch)


def evenly_spaced(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return ``count`` samples spread over the list, in its order.

    Labels are in proportion; each label of the list occurs at least once.

    Raises:
        ValueError: If ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"max_images is {count}, expected 1 or more")
    if count >= len(samples):
        return list(samples)
    normal: list[int] = []
    anomalous: list[int] = []
    for i, sample in enumerate(samples):
        same_label = anomalous if sample.is_anomalous else normal
        same_label.append(i)
    anomalous_count = round(count * len(anomalous) / len(samples))
    lowest = min(1, len(anomalous))
    highest = count
    if count > 1 and normal:
        highest = count - 1
    anomalous_count = min(max(anomalous_count, lowest), highest)
    chosen = _spread(normal, count - anomalous_count) + _spread(anomalous, anomalous_count)
    return [samples[i] for i in sorted(chosen)]


def _spread(items: list[int], count: int) -> list[int]:
    """Return the items in the middle of ``count`` equal parts of a list."""
    chosen: list[int] = []
    for i in range(count):
        middle = (2 * i + 1) * len(items) // (2 * count)
        chosen.append(items[middle])
    return chosen
