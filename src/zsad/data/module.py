"""The data module of a run: the index of a dataset, its training and its test loader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from zsad.data.cached_dataset import CachedDataset, Lookup, collate_cached
from zsad.data.few_shot import References, draw_references, normal_samples
from zsad.data.images import Augmentation, ImageDataset, SynthesiseDefect, collate
from zsad.data.index import category_names, read_index
from zsad.data.layouts import LAYOUTS
from zsad.data.locations import find_index, find_root
from zsad.data.sampling import EpochSampler, evenly_spaced
from zsad.data.value_range import check_value_range
from zsad.types import Batch, Sample

_MAX_WORKERS = 8


class JsonDataModule(LightningDataModule):
    """A dataset with an index in the field's format.

    Args:
        name: Dataset name; its index is ``data_json/NAME.json`` unless ``index`` is given.
        data_json: Folder of the indexes.
        index: Another index file, for example a ``meta.json`` of a published code.
        root: Folder of the images. ``None``: the root that ``zsad prepare`` saved, else
            ``$ZSAD_DATASETS/NAME``, else ``datasets/NAME``.
        image_size: Both sides of the network input in pixels; ``None`` keeps native sizes (then
            batches of one).
        batch_size: Images of a training step and process.
        test_batch_size: Images of a test step; changes speed and memory, not results.
        num_workers: Loader processes; ``None`` for one per CPU, at most 8, and none on a single
            CPU.
        mask_threshold: A mask pixel is defective above this value (0-255).
        categories: Only these, or only this one; all where ``None``. A number is the name that it
            is.
        train_phase: Phase to train on. The field trains on the labelled *test* split of an
            auxiliary dataset; a phase of normal images alone needs ``synthetic_defects``.
        test_phase: Phase to test on.
        augmentation: An ``albumentations.Compose`` for training; published methods use none.
        seed: Of the shuffle, of the augmentation and of the synthetic defects.
        max_images: Only so many, evenly spaced over the index, both labels kept; for quick trials.
        shots: Number of normal reference images of each category for few-shot methods, drawn with
            ``seed``. They are not tested.
        reference_phase: Phase whose normal images serve as references. Where a category has none
            there, normal images of the test serve.
        synthetic_defects: Damages normal images in training,
            ``zsad.data.synthetic.into_photos.SyntheticDefects``; never in a test.
        fast_jpeg: Decode large JPEGs no finer than needed: several times as fast, but not the
            published pixels.
        views: Number of augmented versions of each training image, taken in turn epoch by epoch;
            ``None`` for new ones in every epoch.
        value_range: Values shown as black and as white in images of more than 8 bits,
            ``[0, 4095]``; ``None`` for those that ``zsad prepare`` found, else all of 16 bits.

    Raises:
        ValueError: If ``shots`` is negative, or ``value_range`` is no range.
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
        categories: Sequence[str | int] | str | int | None = None,
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
        value_range: Sequence[int | float] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(shots, int) or shots < 0:
            raise ValueError(
                f"k_shot={shots}: expected 0 (zero-shot) or the number of reference images of a "
                "category"
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
        self.only_categories = category_names(categories)
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
        self.value_range = None if value_range is None else check_value_range(value_range)
        # Set by a task with a feature cache.
        self.cache_lookup: Lookup | None = None
        self.references = References()
        self.train_samples: list[Sample] = []
        self.test_samples: list[Sample] = []

    @property
    def categories(self) -> list[str]:
        """The categories of the test samples, in index order.

        Before a test is set up, those of the training samples.
        """
        samples = self.test_samples or self.train_samples
        return list(dict.fromkeys(sample.category for sample in samples))

    def setup(self, stage: str | None = None) -> None:
        """Read and check the index; cheap, so that a mistake shows before a model is built.

        Args:
            stage: ``fit`` reads the training samples, ``None`` both, any other the test samples.

        Raises:
            ValueError: Training samples without defects, and no synthetic ones; or of defects
                alone, without masks.
        """
        if stage in ("fit", None) and not self.train_samples:
            self.train_samples = self._limit(self._read_samples(self.train_phase))
            self._require_defects()
            self._require_normal_pixels()
        if stage != "fit" and not self.test_samples:
            samples = self._read_samples(self.test_phase)
            if self.shots:
                self.references = self._draw_references(samples)
            self.test_samples = self._limit(self.references.exclude_from(samples))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches.

        Across processes every image comes once an epoch, but for padding to equal length.
        """
        images = ImageDataset(
            self.train_samples,
            self.image_size,
            self.mask_threshold,
            self.augmentation,
            seed=self.seed,
            fast_jpeg=self.fast_jpeg,
            synthetic_defects=self.synthetic_defects,
            views=self.views,
        )
        dataset: ImageDataset | CachedDataset = images
        if self.cache_lookup is not None:
            dataset = CachedDataset(images, self.cache_lookup)
        world_size, rank = self._processes()
        # The sampler adds the epoch to its seed: spread out, so that seed 2 is not seed 1 an
        # epoch later.
        seed = int(np.random.SeedSequence(self.seed).generate_state(1)[0])
        sampler = EpochSampler(dataset, world_size, rank, shuffle=True, seed=seed, drop_last=False)
        sampler.resume_position = self._find_resume_position()
        # The trainer does it again, but by then workers have drawn their first batches.
        sampler.set_epoch(sampler.resume_position[0])
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
        """Return every image exactly once, in index order.

        There is no padding to equal length, which would count some images twice.
        """
        dataset = self._test_images(self.test_samples)
        world_size, rank = self._processes()
        return DataLoader(
            dataset,
            batch_size=self.test_batch_size,  # by name: Lightning makes the loader anew to predict
            sampler=range(rank, len(dataset), world_size),
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the test images."""
        return self.test_dataloader()

    def reference_images(self) -> Iterator[tuple[str, list[Tensor]]]:
        """Yield each category and its references (3, H, W), preprocessed as the test images."""
        for category, samples in self.references.samples.items():
            dataset = self._test_images(samples)
            images: list[Tensor] = []
            for i in range(len(dataset)):
                images.append(dataset[i].image[0])
            yield category, images

    def _test_images(self, samples: Sequence[Sample]) -> ImageDataset:
        return ImageDataset(samples, self.image_size, self.mask_threshold, fast_jpeg=self.fast_jpeg)

    def _require_defects(self) -> None:
        if self.synthetic_defects is not None:
            return
        if not any(sample.is_anomalous for sample in self.train_samples):
            raise ValueError(
                f"phase {self.train_phase!r} of {self.name} holds normal images alone, which do "
                "not tell what a defect is: have some drawn with augmentation=synthetic_defects, "
                "or learn from the labelled test split with dataset.train_phase=test"
            )

    def _require_normal_pixels(self) -> None:
        """Refuse anomalous images without masks alone: nothing tells what is normal."""
        for sample in self.train_samples:
            if not sample.is_anomalous or sample.mask_path is not None:
                return
        raise ValueError(
            f"phase {self.train_phase!r} of {self.name} holds defective images alone, and no "
            "masks: nothing tells what is normal; add normal images and prepare it again"
        )

    def _read_samples(self, phase: str) -> list[Sample]:
        index, root = self._index_and_root()
        return self._in_range(read_index(index, root, phase, self.only_categories))

    def _draw_references(self, tested: Sequence[Sample]) -> References:
        index, root = self._index_and_root()
        categories = dict.fromkeys(sample.category for sample in tested)
        reserved = self._in_range(normal_samples(index, root, self.reference_phase, categories))
        return draw_references(tested, reserved, self.shots, self.seed)

    def _in_range(self, samples: list[Sample]) -> list[Sample]:
        """Return samples with the range that the configuration gives, if it gives one."""
        if self.value_range is None:
            return samples
        return [replace(sample, value_range=self.value_range) for sample in samples]

    def _index_and_root(self) -> tuple[Path, Path]:
        """Return the index, and the folder that its paths are relative to."""
        index = self.index or find_index(self.name, self.data_json, LAYOUTS)
        return index, find_root(self.name, self.root, self.data_json)

    def _limit(self, samples: list[Sample]) -> list[Sample]:
        if self.max_images is None:
            return samples
        return evenly_spaced(samples, self.max_images)

    def _find_resume_position(self) -> tuple[int, int]:
        """Return where training resumes: the epoch, and its images that this process has seen."""
        if self.trainer is None:
            return 0, 0
        loop: Any = self.trainer.fit_loop
        epoch = loop.epoch_progress.current.processed
        batches = loop.epoch_loop.batch_progress
        if batches.is_last_batch:
            return epoch, 0
        return epoch, batches.current.processed * self.batch_size

    def _processes(self) -> tuple[int, int]:
        """Return the number of processes, and the rank of this one."""
        if self.trainer is None:
            return 1, 0
        return self.trainer.world_size, self.trainer.global_rank


def _default_workers() -> int:
    # On shared machines a process may use fewer CPUs than the machine has.
    cpus = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    return 0 if cpus == 1 else min(cpus, _MAX_WORKERS)
