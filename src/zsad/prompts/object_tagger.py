"""Taggers: the things in an image, in words. Each has the verb ``tags(image, category)``.

Legend: h × w pixels, n words, E joint width.
"""

# ruff: noqa: ARG002 (taggers have one signature)

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
_RAM_MEAN = (0.485, 0.456, 0.406)
_RAM_STD = (0.229, 0.224, 0.225)
_NO_TAGS = ("close-up", "number")  # of the photograph, or of a print on the object
_CHUNK = 64  # sentences encoded at a time


def parse_tags(tags: str) -> list[str]:
    """Return the tags of a text as RAM writes it, in order and once each.

    >>> parse_tags("leather | close-up |  brown  leather | leather")
    ['leather', 'brown leather']
    """
    unique: dict[str, None] = {}
    for part in re.split(r"[|.]", tags):
        tag = " ".join(part.split())
        if tag and tag not in _NO_TAGS:
            unique[tag] = None
    return list(unique)


class StaticTagger:
    """Tags every image with the name of its category, or with any fixed words.

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

    def tags(self, image: Float[Tensor, "3 h w"], category: str) -> list[str]:
        """Return the words."""
        name = to_phrase(category)
        named = [word.replace(_BLANK, name) for word in self.fixed]
        return list(dict.fromkeys(named))


class CLIPTagger(nn.Module):
    """Chooses from a list the words that fit an image best, zero-shot with CLIP.

    Args:
        backbone: The frozen CLIP; images are resized to its native side, whatever their
            proportions.
        nouns: The list of words.
        templates: Sentences around a word, with ``{}`` where it goes; the mean of their vectors is
            taken.
        count: Number of words for an image.

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
                f"got {len(nouns)} nouns, {len(templates)} templates, count={count}: "
                "expected 1 or more"
            )
        self.backbone = backbone
        self.nouns = tuple(dict.fromkeys(nouns))
        self.templates = tuple(templates)
        self.count = min(count, len(self.nouns))
        self._text: Tensor | None = None

    @torch.no_grad()
    def tags(self, image: Float[Tensor, "3 h w"], category: str) -> list[str]:
        """Return the words that fit best, best first; equal ones in the order of the list."""
        features = self._encode_image(image)
        fit = self._text_features(features) @ F.normalize(features, dim=0)
        order = fit.argsort(descending=True, stable=True)
        return [self.nouns[number] for number in order[: self.count].tolist()]

    def _encode_image(self, image: Float[Tensor, "3 h w"]) -> Float[Tensor, " e"]:
        side = self.backbone.native_size
        batch = image[None].float()
        small = F.interpolate(batch, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
        normalized = self.backbone.normalize(small.to(self.backbone.mean))
        return self.backbone.encode_image(normalized).image[0].float()

    def _text_features(self, like: Tensor) -> Float[Tensor, "n e"]:
        """Return a vector of unit length for each word, encoded once for each device."""
        if self._text is None or self._text.device != like.device:
            sentences = []
            for noun in self.nouns:
                sentences.extend(template.replace(_BLANK, noun) for template in self.templates)
            tokens = tokenize(sentences, context_length=self.backbone.context_length)
            chunks = tokens.to(like.device).split(_CHUNK)
            encoded = torch.cat([self.backbone.encode_text(chunk).float() for chunk in chunks])
            by_noun = F.normalize(encoded, dim=-1).unflatten(0, (len(self.nouns), -1))
            self._text = F.normalize(by_noun.mean(dim=1), dim=-1)
        return self._text


class RAMTagger(nn.Module):
    """Tags with RAM (Recognize Anything), the tagger of the published DOT-Prompt.

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
                "the package of RAM is not installed. It is not on PyPI (the package of that name "
                "is another): pip install "
                "git+https://github.com/xinyu1205/recognize-anything.git; "
                "or choose another: tagger@model.method.tagger=clip"
            )
        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"no weights of RAM at {path}: fetch ram_swin_large_14m.pth, which its README "
                "links to (github.com/xinyu1205/recognize-anything), and pass its path: "
                "model.method.tagger.checkpoint=FILE"
            )
        models: Any = importlib.import_module(f"{_RAM_PACKAGE}.models")
        model = models.ram(pretrained=str(path), image_size=_RAM_PX, vit=tower)
        self.model = model.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_RAM_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_RAM_STD).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def tags(self, image: Float[Tensor, "3 h w"], category: str) -> list[str]:
        """Return RAM's tags, in its order."""
        size = (_RAM_PX, _RAM_PX)
        small = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)
        normalized = (small.to(self.mean) - self.mean) / self.std
        english, *_ = self.model.generate_tag(normalized)
        return parse_tags(english[0])
