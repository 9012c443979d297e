"""The data of a run: one dataset's index, its training and its test loader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from zsad.data.cached_dataset import CachedDataset, Lookup, collate_cached
from zsad.data.few_shot import References, draw_references, normal_samples
from zsad.data.images import Augmentation, ImageDataset, SynthesiseDefect, collate
from zsad.data.index import read_index
from zsad.data.layouts import LAYOUTS
from zsad.data.locations import find_index, find_root
from zsad.types import Batch, Sample


class EpochSampler(DistributedSampler[Batch]):
    """A shuffle that depends on seed and epoch alone, and tells the dataset which epoch it is.

    A run that resumes at epoch e therefore sees the same batches, augmented in the same way, as one that never stopped.
    In the middle of an epoch it goes on with the first image that this process has not seen.
    """

    # An epoch, and how many of its images this process has seen.
    resume_position: tuple[int, int] = (0, 0)

    def __iter__(self) -> Iterator[Any]:
        """Yield the numbers of the images, without those seen before."""
        epoch, seen = self.resume_position
        return islice(super().__iter__(), seen if self.epoch == epoch else 0, None)

    def set_epoch(self, epoch: int) -> None:
        """Take the epoch from the trainer."""
        super().set_epoch(epoch)
        cast(ImageDataset, self.dataset).epoch.fill_(epoch)


class JsonDataModule(LightningDataModule):
    """A dataset with an index in the field's format.

    Args:
        name: Dataset name; its index is ``data_json/NAME.json`` unless ``index`` says otherwise.
        data_json: Folder of the indexes.
        index: Another index file, for example a ``meta.json`` of a published code.
        root: Folder of the images. ``None``: where ``zsad prepare`` found it, else ``$ZSAD_DATASETS/NAME``, else
            ``datasets/NAME``.
        image_size: Both sides of the network input in pixels; ``None`` keeps native sizes (then batches of one).
        batch_size: Images a training step and process.
        test_batch_size: Images a test step; changes speed and memory, not results.
        num_workers: Loader processes; ``None`` for one a CPU, at most 8, and none on a single CPU.
        mask_threshold: A mask pixel is defective above this value (0-255).
        categories: Only these; all where ``None``.
        train_phase: Phase to learn from. The field learns on the labelled *test* split of an auxiliary dataset; a
            phase of normal images alone needs ``synthetic_defects``.
        test_phase: Phase to test on.
        augmentation: An ``albumentations.Compose`` for training; published methods use none.
        seed: Of the shuffle, of the augmentation and of the drawn defects.
        max_images: Only so many, evenly spaced over the index, both labels kept; for quick trials.
        shots: So many normal reference images of each category for few-shot methods, drawn with ``seed``. They are
            not tested.
        reference_phase: Phase whose normal images serve as references. Where a category has none there, normal images
            of the test serve.
        synthetic_defects: Damages normal images in training, as
            ``zsad.data.synthetic.into_photos.DrawnDefects`` does; never in a test.
        fast_jpeg: Decode large JPEGs no finer than needed: several times as fast, but not the published pixels.
        views: So many augmented versions of each training image, taken in turn epoch by epoch; ``None`` for others in
            every epoch.

    Raises:
        ValueError: If ``shots`` is negative.
    """

    name: str

    def __init__(
        self,
        name: str,
        data_json: str | Path = "data_json",
        index: str | Path | None = None,
        root: str | Path | None = None,
        image_size: int | None = 518,
        batch_size: int = 8,
        test_batch_size: int = 1,
        num_workers: int | None = None,
        mask_threshold: int = 0,
        categories: Sequence[str] | None = None,
        train_phase: str = "test",
        test_phase: str = "test",
        augmentation: Augmentation | None = None,
        seed: int = 111,
        max_images: int | None = None,
        shots: int = 0,
        reference_phase: str = "train",
        synthetic_defects: SynthesiseDefect | None = None,
        fast_jpeg: bool = False,
        views: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(shots, int) or shots < 0:
            raise ValueError(
                f"k_shot={shots}: expected 0 (zero-shot) or the number of reference images of a category"
            )
        self.name = name
        self.data_json = Path(data_json)
        self.index = None if index is None else Path(index)
        self.root = root
        self.image_size = image_size
        self.batch_size = batch_size
        self.test_batch_size = test_batch_size
        self.num_workers = _default_workers() if num_workers is None else num_workers
        self.mask_threshold = mask_threshold
        self.only_categories = categories
        self.train_phase = train_phase
        self.test_phase = test_phase
        self.augmentation = augmentation
        self.seed = seed
        self.max_images = max_images
        self.shots = shots
        self.reference_phase = reference_phase
        self.synthetic_defects = synthetic_defects
        self.fast_jpeg = fast_jpeg
        self.views = views
        self.cache_lookup: Lookup | None = (
            None  # a task with a feature cache puts here what tells the images it knows
        )
        self.references = References()
        self.train_samples: list[Sample] = []
        self.test_samples: list[Sample] = []

    @property
    def categories(self) -> list[str]:
        """The categories of the test samples (of the training samples before a test is set up), in index order."""
        return list(
            dict.fromkeys(sample.category for sample in self.test_samples or self.train_samples)
        )

    def setup(self, stage: str | None = None) -> None:
        """Read and check the index; cheap, so that a mistake shows before a model is built.

        Args:
            stage: ``fit`` reads the training samples, ``None`` both, any other the test samples.

        Raises:
            ValueError: Nothing to learn what a defect is from: normal images alone, and none to be drawn.
        """
        if stage in ("fit", None) and not self.train_samples:
            self.train_samples = self._limited(self._read(self.train_phase))
            self._require_defects()
        if stage != "fit" and not self.test_samples:
            samples = self._read(self.test_phase)
            if self.shots:
                self.references = self._draw_references(samples)
            self.test_samples = self._limited(self.references.exclude_from(samples))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches; across processes every image once an epoch, but for padding to equal length."""
        images = ImageDataset(
            self.train_samples,
            self.image_size,
            self.mask_threshold,
            self.augmentation,
            seed=self.seed,
            synthetic_defects=self.synthetic_defects,
            fast_jpeg=self.fast_jpeg,
            views=self.views,
        )
        dataset = images if self.cache_lookup is None else CachedDataset(images, self.cache_lookup)
        world, rank = self._processes()
        # The sampler adds the epoch to its seed: spread out, so that seed 2 is not seed 1 an epoch later.
        seed = int(np.random.SeedSequence(self.seed).generate_state(1)[0])
        sampler = EpochSampler(dataset, world, rank, shuffle=True, seed=seed, drop_last=False)
        sampler.resume_position = self._find_resume_position()
        sampler.set_epoch(
            sampler.resume_position[0]
        )  # the trainer does it again, when workers have drawn their first batches
        return DataLoader(
            dataset,
            self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate if self.cache_lookup is None else collate_cached,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
        )

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return every image exactly once, in index order; without the padding that would count some images twice."""
        dataset = ImageDataset(
            self.test_samples, self.image_size, self.mask_threshold, fast_jpeg=self.fast_jpeg
        )
        world, rank = self._processes()
        return DataLoader(
            dataset,
            batch_size=self.test_batch_size,  # by name: Lightning makes the loader anew for predictions
            sampler=range(rank, len(dataset), world),
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the test images."""
        return self.test_dataloader()

    def reference_images(self) -> Iterator[tuple[str, list[Tensor]]]:
        """Yield each category and its references (3, H, W), made in the same way as the images of the test."""
        for category, samples in self.references.samples.items():
            dataset = ImageDataset(
                samples, self.image_size, self.mask_threshold, fast_jpeg=self.fast_jpeg
            )
            yield category, [dataset[i].image[0] for i in range(len(dataset))]

    def _require_defects(self) -> None:
        if self.synthetic_defects is None and not any(
            sample.is_anomalous for sample in self.train_samples
        ):
            raise ValueError(
                f"phase {self.train_phase!r} of {self.name} holds normal images alone, which do not tell what a defect "
                "is: have some drawn with augmentation=synthetic_defects, or learn from the labelled test split with "
                "dataset.train_phase=test"
            )

    def _read(self, phase: str) -> list[Sample]:
        return read_index(*self._places(), phase, self.only_categories)

    def _draw_references(self, tested: Sequence[Sample]) -> References:
        categories = dict.fromkeys(sample.category for sample in tested)
        kept = normal_samples(*self._places(), self.reference_phase, categories)
        return draw_references(tested, kept, self.shots, self.seed)

    def _places(self) -> tuple[Path, Path]:
        """Return the index, and the folder that its paths are relative to."""
        index = self.index or find_index(self.name, self.data_json, LAYOUTS)
        return index, find_root(self.name, self.root, self.data_json)

    def _limited(self, samples: list[Sample]) -> list[Sample]:
        return samples if self.max_images is None else evenly_spaced(samples, self.max_images)

    def _find_resume_position(self) -> tuple[int, int]:
        """Return where a training goes on: the epoch, and how many of its images this process has seen."""
        if self.trainer is None:
            return 0, 0
        loop: Any = self.trainer.fit_loop
        batches = loop.epoch_loop.batch_progress
        seen = 0 if batches.is_last_batch else batches.current.processed
        return loop.epoch_progress.current.processed, seen * self.batch_size

    def _processes(self) -> tuple[int, int]:
        return (
            (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        )


def evenly_spaced(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return ``count`` samples spread over the list, labels in proportion, at least one of each label there is."""
    if count < 1:
        raise ValueError(f"max_images is {count}, expected 1 or more")
    if count >= len(samples):
        return list(samples)
    by_label = [
        [i for i, sample in enumerate(samples) if sample.is_anomalous is label]
        for label in (False, True)
    ]
    normal, anomalous = by_label
    share = round(count * len(anomalous) / len(samples))
    lowest = min(1, len(anomalous))
    highest = count - min(1, len(normal)) if count > 1 else count
    share = min(max(share, lowest), highest)
    chosen = _spread(normal, count - share) + _spread(anomalous, share)
    return [samples[i] for i in sorted(chosen)]


def _spread(items: list[int], count: int) -> list[int]:
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _default_workers() -> int:
    # The CPUs this process may use, which on shared machines are fewer than the machine has.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cpus == 1 else min(cpus, 8)
