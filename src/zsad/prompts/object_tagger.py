"""What is in a picture, in words: one verb, ``tags(image, category)``, and several who know it.

Legend: h × w pixels, n words, E joint width.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize
from zsad.prompts.defect_vocabulary import to_phrase

_BLANK = "{}"
_RAM_PX = 384
_RAM_PACKAGE = "ram"
_RAM_MEAN, _RAM_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NO_TAGS = ("close-up", "number")  # of the photograph, or of what is printed on the object
_CHUNK = 64  # sentences encoded at a time


def parse_tags(tags: str) -> list[str]:
    """Return the tags of a text as RAM writes it, in order and once each.

    >>> parse_tags("leather | close-up |  brown  leather | leather")
    ['leather', 'brown leather']
    """
    items = (" ".join(tag.split()) for tag in re.split(r"[|.]", tags))
    return list(dict.fromkeys(item for item in items if item and item not in _NO_TAGS))


class StaticTagger:
    """Say of every picture the name of its category, or any fixed words.

    Args:
        words: The tags, ``{}`` for the category's name.

    Raises:
        ValueError: If there are none, or they are a single text.
    """

    def __init__(self, words: Sequence[str] = (_BLANK,)) -> None:
        if not words or isinstance(words, str):
            raise ValueError(
                f"words={words!r}: expected a list of tags, such as ['{_BLANK}', surface]"
            )
        self.fixed = tuple(words)

    def tags(self, image: Float[Tensor, "3 h w"], category: str) -> list[str]:  # noqa: ARG002 (the same for all)
        """Return the words."""
        return list(dict.fromkeys(word.replace(_BLANK, to_phrase(category)) for word in self.fixed))


class CLIPTagger(nn.Module):
    """Choose from a list the words that fit a picture best, zero-shot with CLIP.

    Args:
        backbone: The frozen CLIP; pictures are resized to its native side, whatever their proportions.
        nouns: The words that are known.
        templates: Sentences around a word, with ``{}`` where it goes; the mean of their vectors is taken.
        count: How many words a picture gets.

    Raises:
        ValueError: If a list is empty, or ``count`` is below 1.
    """

    def __init__(
        self,
        backbone: CLIP,
        nouns: Sequence[str],
        *,
        templates: Sequence[str] = ("a photo of a {}.",),
        count: int = 5,
    ) -> None:
        super().__init__()
        if not nouns or not templates or count < 1:
            raise ValueError(
                f"got {len(nouns)} nouns, {len(templates)} templates, count={count}: expected 1 or more"
            )
        self.backbone = backbone
        self.nouns, self.templates = tuple(dict.fromkeys(nouns)), tuple(templates)
        self.count = min(count, len(self.nouns))
        self._text: Tensor | None = None

    @torch.no_grad()
    def tags(self, image: Float[Tensor, "3 h w"], category: str) -> list[str]:  # noqa: ARG002 (pictures alone count)
        """Return the words that fit best, best first; equal ones in the order of the list."""
        side = self.backbone.native_size
        small = F.interpolate(
            image[None].float(), size=(side, side), mode="bicubic", antialias=True
        ).clamp(0, 1)
        seen = (
            self.backbone.encode_image(self.backbone.normalize(small.to(self.backbone.mean)))
            .image[0]
            .float()
        )
        fit = self._words(seen) @ F.normalize(seen, dim=0)
        return [
            self.nouns[i] for i in fit.argsort(descending=True, stable=True)[: self.count].tolist()
        ]

    def _words(self, like: Tensor) -> Float[Tensor, "n e"]:
        """Return a vector of unit length for each word; encoded once, and again where the device has changed."""
        if self._text is None or self._text.device != like.device:
            sentences = [
                template.replace(_BLANK, noun) for noun in self.nouns for template in self.templates
            ]
            tokens = tokenize(sentences, context_length=self.backbone.context_length).to(
                like.device
            )
            encoded = torch.cat(
                [self.backbone.encode_text(chunk).float() for chunk in tokens.split(_CHUNK)]
            )
            means = F.normalize(encoded, dim=-1).unflatten(0, (len(self.nouns), -1)).mean(dim=1)
            self._text = F.normalize(means, dim=-1)
        return self._text


class RAMTagger(nn.Module):
    """Tag with RAM (Recognize Anything), where its package is installed: the tagger of the published DOT-Prompt.

    Args:
        checkpoint: Its weights, ``ram_swin_large_14m.pth``.
        tower: Its image tower.

    Raises:
        ValueError: If the package is not installed.
        FileNotFoundError: If the weights are not there.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, checkpoint: str | Path, *, tower: str = "swin_l") -> None:
        super().__init__()
        if importlib.util.find_spec(_RAM_PACKAGE) is None:
            raise ValueError(
                "the package of RAM is not installed. It is not on PyPI (the package of that name is another): "
                "pip install git+https://github.com/xinyu1205/recognize-anything.git; or choose another: "
                "tagger@model.method.tagger=clip"
            )
        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"no weights of RAM at {path}: fetch ram_swin_large_14m.pth, which its README links to "
                "(github.com/xinyu1205/recognize-anything), and pass its path: model.method.tagger.checkpoint=FILE"
            )
        models: Any = importlib.import_module(f"{_RAM_PACKAGE}.models")
        self.model = (
            models.ram(pretrained=str(path), image_size=_RAM_PX, vit=tower)
            .eval()
            .requires_grad_(False)
        )
        self.register_buffer("mean", torch.tensor(_RAM_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_RAM_STD).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def tags(self, image: Float[Tensor, "3 h w"], category: str) -> list[str]:  # noqa: ARG002 (pictures alone count)
        """Return RAM's tags, in its order."""
        small = F.interpolate(
            image[None].float(), size=(_RAM_PX, _RAM_PX), mode="bilinear", antialias=True
        )
        english, *_ = self.model.generate_tag((small.to(self.mean) - self.mean) / self.std)
        return parse_tags(english[0])
