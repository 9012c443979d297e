"""Captions, their meanings, and the training of the text tower on both.

The text tower is trained first and then locked. The vector of a caption is composed of directions
for its noun, its kind of defect, and its state, damaged or flawless. Images are trained against
the vectors of the tower.

Legend: E joint width, D kinds of defect.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pocket.towers import Towers
from zsad.data.synthetic import captions
from zsad.data.synthetic.captions import (
    DAMAGED_PHRASES,
    DEFECT_PHRASES,
    GENERIC_NOUNS,
    GOOD_PHRASES,
)
from zsad.data.synthetic.world import WORLDS

CATEGORIES = tuple(WORLDS["wild"])
DEFECTS = tuple(DEFECT_PHRASES)
NOUNS = tuple(captions(category, None).nouns for category in CATEGORIES)

DAMAGE_SHARE = 0.75  # cosine of a kind of defect with being damaged at all
NOUN_SHARE = 0.35  # part of the noun in a caption
VAGUE_SHARE = (
    0.3  # cosine of the generic state words with being damaged: left for prompt learning to gather
)
PROMPT_STD = 0.02

_AFTER = ("with", "without", "in", "pressed", "worn")
_THINGS = {phrases[0] for phrases in DEFECT_PHRASES.values()} - {"worn", "bent"}

log = logging.getLogger("pocket")


@dataclass(frozen=True, slots=True)
class Statement:
    """A caption and its meaning.

    The meaning is a noun and a state (``good``, ``vague``, a kind of defect, or nothing said).
    """

    text: str
    noun: str
    state: str


def caption(noun: str, phrase: str) -> str:
    """Return a caption.

    Examples are ``scratched nut.``, ``nut with a scratch.`` and ``scratch on the nut.``
    """
    if phrase in _THINGS:
        return f"{phrase} on the {noun}."
    return f"{noun} {phrase}." if phrase.split()[0] in _AFTER else f"{phrase} {noun}."


def statements() -> Iterator[Statement]:
    """Yield every caption of the training."""
    states = {"good": GOOD_PHRASES, "vague": DAMAGED_PHRASES, **DEFECT_PHRASES}
    for names in (*NOUNS, *((noun,) for noun in GENERIC_NOUNS)):
        meaning = "" if names[0] in GENERIC_NOUNS else names[0]
        for noun in names:
            yield Statement(f"a photo of a {noun}.", meaning, "")
            yield Statement(f"{noun}.", meaning, "")
            for state, phrases in states.items():
                yield from (Statement(caption(noun, phrase), meaning, state) for phrase in phrases)


def meanings(said: list[Statement], width: int) -> Tensor:
    """Return the (n, E) unit vectors that the captions shall have."""
    names = ["damaged", "good", "vague", "", *DEFECTS, *(names[0] for names in NOUNS)]
    frame = torch.nn.init.orthogonal_(torch.empty(width, width))[: len(names)]
    direction = dict(zip(names, frame, strict=True))
    kind = (1 - DAMAGE_SHARE**2) ** 0.5
    vague = VAGUE_SHARE * direction["damaged"] + (1 - VAGUE_SHARE**2) ** 0.5 * direction["vague"]
    state = {"good": direction["good"], "vague": vague, "": torch.zeros(width)}
    state |= {
        defect: DAMAGE_SHARE * direction["damaged"] + kind * direction[defect] for defect in DEFECTS
    }
    return F.normalize(
        torch.stack([state[one.state] + NOUN_SHARE * direction[one.noun] for one in said]), dim=-1
    )


def train_text(towers: Towers, steps: int, seed: int) -> None:
    """Teach the text tower the meanings of its captions.

    Half of the captions stand behind random vectors, as prompts will have them.
    """
    torch.manual_seed(seed)
    said = list(statements())
    goal = meanings(said, towers.clip.model.visual.output_dim)
    parameters = [towers.table, *(p for part in towers.text_parts() for p in _parameters(part))]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        rows = torch.randint(len(said), (64,))
        text = towers.encode_text(
            [said[row].text for row in rows.tolist()], PROMPT_STD * (step % 2)
        )
        loss = (1 - F.cosine_similarity(text, goal[rows])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.info("text step %d: %.4f", step, loss.item())


def _parameters(part: torch.nn.Module | torch.nn.Parameter) -> list[torch.nn.Parameter]:
    return [part] if isinstance(part, torch.nn.Parameter) else list(part.parameters())


class Dictionary:
    """What the locked text tower says.

    Attributes:
        good: (categories + 1, E) for a flawless part; the last row is for one without a name.
        kinds: (categories + 1, D, E) likewise for every kind of defect.
        names: (categories, E) for the name alone.
    """

    @torch.no_grad()
    def __init__(self, towers: Towers) -> None:
        said = list(statements())
        text = torch.cat(
            [
                F.normalize(towers.encode_text([s.text for s in part]), dim=-1)
                for part in _chunks(said, 256)
            ]
        )
        nouns = [*(names[0] for names in NOUNS), ""]

        def mean(noun: str, state: str) -> Tensor:
            return text[torch.tensor([s.noun == noun and s.state == state for s in said])].mean(0)

        self.good = torch.stack([mean(noun, "good") for noun in nouns])
        self.kinds = torch.stack(
            [torch.stack([mean(noun, defect) for defect in DEFECTS]) for noun in nouns]
        )
        self.names = torch.stack([mean(noun, "") for noun in nouns[:-1]])


def _chunks(said: list[Statement], size: int) -> Iterator[list[Statement]]:
    yield from (said[start : start + size] for start in range(0, len(said), size))
