"""Hand-written prompts: state words × templates around a category's name, averaged into two text features.

Legend: B images, n sentences, E joint width. Row 0 is normal, row 1 is anomalous.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize

BLANK = "{}"
_CHUNK = 64  # sentences encoded at a time, so that memory does not grow with the ensemble


class PromptEnsemble:
    """Say in many ways that an object is normal, and in many that it is not, and take the mean of each.

    Args:
        normal: State words, with ``{}`` where the name goes: ``flawless {}``.
        anomalous: Their counterparts: ``damaged {}``.
        templates: Sentences around them, with ``{}`` where the state goes: ``a photo of a {}.``.
        normalize_each: Bring each sentence's vector to unit length before the mean, and the mean after it, as CLIP's
            own recipe does. Off: the plain mean of the raw vectors, as WinCLIP's codes do.
        names: What a category is called in the sentences, where that is not its own name: ``metal_nut: metal nut``.

    Raises:
        ValueError: If a list is empty or a single text, or a template has no place for the state.

    Source: WinCLIP (CVPR 2023), compositional prompt ensemble.
    """

    def __init__(
        self,
        normal: Sequence[str],
        anomalous: Sequence[str],
        templates: Sequence[str],
        *,
        normalize_each: bool = False,
        names: Mapping[str, str] = {},
    ) -> None:
        for role, texts in {
            "normal": normal,
            "anomalous": anomalous,
            "templates": templates,
        }.items():
            if not texts:
                raise ValueError(f"{role} is empty: a prompt ensemble needs one text or more")
            if isinstance(texts, str):  # it would be taken letter by letter
                raise ValueError(f"{role}={texts!r}: expected a list of texts, such as [{texts!r}]")
        for template in templates:
            if BLANK not in template:
                raise ValueError(
                    f"template {template!r} has no {BLANK}: both states would become the same sentence"
                )
        self.normal, self.anomalous, self.templates = (
            tuple(normal),
            tuple(anomalous),
            tuple(templates),
        )
        self.normalize_each = normalize_each
        self.names = dict(names)

    def sentences(self, category: str) -> tuple[list[str], list[str]]:
        """Return the normal and the anomalous sentences of a category: all templates of the first state, then on.

        >>> PromptEnsemble(["{}"], ["{} with flaw"], ["a {}.", "the {}."]).sentences("nut")
        (['a nut.', 'the nut.'], ['a nut with flaw.', 'the nut with flaw.'])
        """
        name = self.names.get(category, category)
        return self._sentences(self.normal, name), self._sentences(self.anomalous, name)

    def with_words(self, words: Mapping[str, str]) -> PromptEnsemble:
        """Return an ensemble with the same templates and one other phrase for a state.

        Args:
            words: For ``normal``, ``anomalous`` or both the phrase, with ``{}`` for the object; it
                replaces all state words of that state.

        >>> ensemble = PromptEnsemble(["good {}", "fine {}"], ["bad {}"], ["a {}."])
        >>> ensemble.with_words({"normal": "clean {}"}).sentences("nut")
        (['a clean nut.'], ['a bad nut.'])
        """
        reworded = copy.copy(self)
        if "normal" in words:
            reworded.normal = (words["normal"],)
        if "anomalous" in words:
            reworded.anomalous = (words["anomalous"],)
        return reworded

    @torch.no_grad()
    def encode(self, backbone: CLIP, category: str) -> Float[Tensor, "2 e"]:
        """Return the two text features of a category; of unit length with ``normalize_each`` only."""
        return torch.stack(
            [self._mean(_encode(backbone, sentences)) for sentences in self.sentences(category)]
        )

    def _sentences(self, states: Sequence[str], name: str) -> list[str]:
        return [
            template.replace(BLANK, state.replace(BLANK, name))
            for state in states
            for template in self.templates
        ]

    def _mean(self, vectors: Float[Tensor, "n e"]) -> Float[Tensor, " e"]:
        if not self.normalize_each:
            return vectors.mean(dim=0)
        return F.normalize(F.normalize(vectors, dim=-1).mean(dim=0), dim=-1)


class CategoryTexts:
    """The text features of the categories of a batch, each category encoded once.

    Args:
        prompts: The ensemble that makes them.
    """

    def __init__(self, prompts: PromptEnsemble) -> None:
        self.prompts = prompts
        self._known: dict[str, Tensor] = {}
        self._known_for: tuple[object, ...] | None = None

    def with_words(self, words: Mapping[str, str]) -> CategoryTexts:
        """Return the texts of the same ensemble in other words; see ``PromptEnsemble.with_words``."""
        return CategoryTexts(self.prompts.with_words(words))

    def features(self, backbone: CLIP, category: Sequence[str]) -> Float[Tensor, "b 2 e"]:
        """Return the two text features of every image's category, without gradients.

        What is known is forgotten when the backbone changes its device or its precision.
        """
        weights = backbone.model.token_embedding.weight
        state = (
            id(backbone),
            weights.device,
            weights.dtype,
            torch.is_autocast_enabled(weights.device.type),
        )
        if state != self._known_for:
            self._known, self._known_for = {}, state
        for name in category:
            if name not in self._known:
                self._known[name] = self.prompts.encode(backbone, name)
        return torch.stack([self._known[name] for name in category])


def imagenet_templates() -> list[str]:
    """Return the 80 templates that CLIP's authors wrote for ImageNet, with ``{}`` for the object.

    >>> imagenet_templates()[0]
    'a bad photo of a {}.'
    """
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return [template(BLANK) for template in OPENAI_IMAGENET_TEMPLATES]


def _encode(backbone: CLIP, sentences: Sequence[str]) -> Float[Tensor, "n e"]:
    """Encode sentences chunk by chunk, in float32 whatever the tower's precision."""
    tokens = tokenize(sentences).to(backbone.mean.device)
    return torch.cat([backbone.encode_text(chunk).float() for chunk in tokens.split(_CHUNK)])
