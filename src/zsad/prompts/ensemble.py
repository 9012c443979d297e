"""Hand-written prompts: state words × templates around a category, averaged to two text features.

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
    """Two sets of sentences, of a normal and of an anomalous object, and the mean of each.

    Args:
        normal: State words, with ``{}`` where the name goes: ``flawless {}``.
        anomalous: Their counterparts: ``damaged {}``.
        templates: Sentences around them, with ``{}`` where the state goes: ``a photo of a {}.``.
        normalize_each: Bring each sentence's vector to unit length before the mean, and the mean
            after it, as CLIP's own recipe does. Off: the plain mean of the raw vectors, as
            WinCLIP's codes do.
        names: Names of categories in the sentences, where these are not their own:
            ``metal_nut: metal nut``.

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
        _check_texts("normal", normal)
        _check_texts("anomalous", anomalous)
        _check_texts("templates", templates)
        for template in templates:
            if BLANK not in template:
                raise ValueError(
                    f"template {template!r} has no {BLANK}: both states would become the same "
                    "sentence"
                )
        self.normal = tuple(normal)
        self.anomalous = tuple(anomalous)
        self.templates = tuple(templates)
        self.normalize_each = normalize_each
        self.names = dict(names)

    def sentences(self, category: str) -> tuple[list[str], list[str]]:
        """Return the normal and the anomalous sentences of a category.

        They go through all templates of the first state, then of the next.

        >>> PromptEnsemble(["{}"], ["{} with flaw"], ["a {}.", "the {}."]).sentences("nut")
        (['a nut.', 'the nut.'], ['a nut with flaw.', 'the nut with flaw.'])
        """
        name = self.names.get(category, category)
        return self._sentences(self.normal, name), self._sentences(self.anomalous, name)

    def with_words(self, words: Mapping[str, str]) -> PromptEnsemble:
        """Return an ensemble with the same templates and another phrase for a state.

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
        """Return the two text features of a category; of unit length with ``normalize_each`` only.

        Each is the mean over the templates and state words of its sentences.
        """
        normal, anomalous = self.sentences(category)
        of_normal = self._mean(_encode(backbone, normal))
        of_anomalous = self._mean(_encode(backbone, anomalous))
        return torch.stack([of_normal, of_anomalous])

    def _sentences(self, states: Sequence[str], name: str) -> list[str]:
        sentences = []
        for state in states:
            named = state.replace(BLANK, name)
            sentences.extend(template.replace(BLANK, named) for template in self.templates)
        return sentences

    def _mean(self, vectors: Float[Tensor, "n e"]) -> Float[Tensor, " e"]:
        """Average the vectors of sentences."""
        if not self.normalize_each:
            return vectors.mean(dim=0)
        mean = F.normalize(vectors, dim=-1).mean(dim=0)
        return F.normalize(mean, dim=-1)


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
        """Return the texts of the same ensemble in other words."""
        return CategoryTexts(self.prompts.with_words(words))

    def features(self, backbone: CLIP, category: Sequence[str]) -> Float[Tensor, "b 2 e"]:
        """Return the two text features of every image's category, without gradients.

        They are encoded anew when the backbone changes its device or its precision.
        """
        weights = backbone.model.token_embedding.weight
        is_mixed = torch.is_autocast_enabled(weights.device.type)
        state = (id(backbone), weights.device, weights.dtype, is_mixed)
        if state != self._known_for:
            self._known = {}
            self._known_for = state
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
    chunks = [backbone.encode_text(chunk).float() for chunk in tokens.split(_CHUNK)]
    return torch.cat(chunks)


def _check_texts(role: str, texts: Sequence[str]) -> None:
    if not texts:
        raise ValueError(f"{role} is empty: a prompt ensemble needs one text or more")
    if isinstance(texts, str):  # it would be taken letter by letter
        raise ValueError(f"{role}={texts!r}: expected a list of texts, such as [{texts!r}]")
