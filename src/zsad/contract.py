"""The contract of a method: its verbs, as Protocols that ``isinstance`` and ``issubclass`` check.

Nothing else is probed for. A Protocol holds methods only, for a property is evaluated by
``isinstance`` and refused by ``issubclass``. Instances are asked with ``isinstance``; a class whose
weights are not loaded yet is asked with ``issubclass``. Python compares names, not signatures.

This file needs no package at run time; torch serves its type annotations alone.

Legend: B images of H × W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from zsad.types import Batch, Prediction


@runtime_checkable
class Method(Protocol):
    """Scores images: the verb of every method.

    Example::

        prediction = method(image, ["metal_nut"])  # image (1, 3, 518, 518)
        prediction.map  # (1, 518, 518) in [0, 1], higher is more anomalous
        prediction.score  # (1,) logit margin, anomalous minus normal
    """

    def forward(self, image: Tensor, category: Sequence[str]) -> Prediction:
        """Return anomaly maps (B, H, W) in [0, 1] and image scores (B,) as logit margins.

        Args:
            image: (B, 3, H, W) float, RGB in [0, 1], not normalised.
            category: Category of each image, as the index spells it: ``metal_nut``.
        """
        ...


@runtime_checkable
class Trainable(Protocol):
    """A method with parameters to train. Its frozen weights have ``requires_grad=False``.

    Example::

        terms = method.loss(batch)  # {"image": tensor(0.69), "focal": tensor(0.31)}
        sum(terms.values()).backward()
    """

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss, each a scalar; training minimises their sum."""
        ...

    @classmethod
    def works_untrained(cls) -> bool:
        """Tell whether tests are allowed without a checkpoint. Asked of the class, too."""
        ...


@runtime_checkable
class FeatureCacheable(Protocol):
    """A trainable method on a frozen backbone whose features can be cached.

    ``loss(batch)`` equals ``loss_from_features(extract_features(batch.image), batch)``.

    Example::

        features = method.extract_features(batch.image)  # {"image": (B, E), "tokens": (B, L, N, E)}
        terms = method.loss_from_features(features, batch)
    """

    def extract_features(self, image: Tensor) -> dict[str, Tensor]:
        """Return the backbone's features by name, a row (axis 0) for each image.

        Args:
            image: (B, 3, H, W) float, RGB in [0, 1].
        """
        ...

    def loss_from_features(self, features: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the terms of ``loss`` without the pixels of the batch.

        Args:
            features: As ``extract_features`` returned them, on the device of the method.
            batch: Masks and labels of the same images; ``batch.image`` may have no rows.
        """
        ...

    def feature_key(self) -> dict[str, Any]:
        """Return the settings that change the features, as values that JSON can hold.

        Weights, precision and pixels are not among them; the cache adds those itself.

        Raises:
            ValueError: If these settings give features that cannot be cached.
        """
        ...


@runtime_checkable
class FewShot(Protocol):
    """A method that compares images with a few normal references of their category.

    Example::

        method.set_references("metal_nut", [image, other])  # each (3, H, W) in [0, 1]
        method(images, ["metal_nut"] * len(images))  # scored few-shot
        method.clear_references()  # scored zero-shot again
    """

    def set_references(self, category: str, images: Iterable[Tensor]) -> None:
        """Replace the references of a category.

        Args:
            category: Category, as the index spells it.
            images: Normal images, (3, H, W) float each, RGB in [0, 1].
        """
        ...

    def clear_references(self) -> None:
        """Drop the references of all categories."""
        ...


@runtime_checkable
class DatasetAware(Protocol):
    """A method with prompts of its own for certain datasets.

    Example::

        method.set_dataset("visa")  # "screw" now means VisA's prompts, where it has some
    """

    def set_dataset(self, dataset: str) -> None:
        """Use the prompts of a dataset from now on; general ones where it has none.

        Args:
            dataset: Name, as in ``conf/dataset``.
        """
        ...


@runtime_checkable
class Rewordable(Protocol):
    """A method whose normal and anomalous states are described by words.

    Example::

        reworded = method.with_prompt_words({"anomalous": "broken {}"})
        reworded(image, ["metal_nut"])  # "a photo of a broken metal_nut."
    """

    def with_prompt_words(self, words: Mapping[str, str]) -> Method:
        """Return a method that shares all weights but describes states in other words.

        Args:
            words: For ``normal``, for ``anomalous``, or for both a phrase with ``{}`` in place of
                the object. States that are left out keep their words.
        """
        ...


@runtime_checkable
class Captioned(Protocol):
    """A method that chooses the captions of a detector by itself.

    Example::

        method.captions_used()
        # {"metal_nut": [{"tag": "nut", "caption": "scratch. nut.", "source": "table"}]}
    """

    def captions_used(self) -> dict[str, list[dict[str, str]]]:
        """Return for each category the captions used so far, in order of appearance.

        Each has the ``tag`` of the object, the ``caption`` for the detector, and the ``source`` of
        its words (``table``, or the name of a language model).
        """
        ...
