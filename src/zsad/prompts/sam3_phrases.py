"""Prompts of SAM 3: short noun phrases for anomalies in general and for each category.

The strategies have the names and the behaviour of those in a published SAM 3 demonstration
(SAM3-AD, 2025); its word lists are ``conf/prompts/sam3/published.yaml``, our own ``own.yaml``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from zsad.prompts.dataset_tables import DatasetTables

STRATEGIES = ("base", "category", "mixed", "contextual", "custom")
PROMPT = "{prompt}"
CATEGORY = "{category}"
log = logging.getLogger("zsad")


class ConceptPrompts:
    """The phrases for a category.

    Args:
        base: Phrases for anomalies of anything, the best first.
        tables: Dataset → category → phrases for its anomalies, the best first.
        templates: With ``{prompt}`` and ``{category}``, for the strategy *contextual*.
        names: Names of categories in phrases, where these are not their own:
            ``pcb1: printed circuit board``.
        textures: Categories without an object in front of a background.
        datasets: Dataset → the table that serves it, where that has another name:
            ``visa_1cls: visa``.
        dataset: The table that is used whatever dataset is tested; ``None``: that of the tested one
            (``set_dataset``).
        strategy: *base*: the first general phrases. *category*: the first of the category. *mixed*:
            half of each. *contextual*: those of *mixed*, each in every template. *custom*:
            ``custom`` alone.
        num_prompts: Number of phrases that are chosen, before templates.
        custom: Phrases of one's own.

    Raises:
        ValueError: If the strategy is none of these, has nothing to choose from, or a table does
            not exist.
    """

    def __init__(
        self,
        base: Sequence[str],
        tables: Mapping[str, Mapping[str, Sequence[str]]] = {},
        *,
        templates: Sequence[str] = ("{prompt} on {category}",),
        names: Mapping[str, str] = {},
        textures: Sequence[str] = (),
        datasets: Mapping[str, str] = {},
        dataset: str | None = None,
        strategy: str = "mixed",
        num_prompts: int = 8,
        custom: Sequence[str] = (),
    ) -> None:
        _check_lists({"base": base, "templates": templates, "custom": custom})
        _check_strategy(strategy, num_prompts, custom=custom, templates=templates)
        self.base = _unique(base)
        self.custom = _unique(custom)
        self.templates = tuple(templates)
        self.tables: dict[str, dict[str, tuple[str, ...]]] = {}
        for name, table in tables.items():
            self.tables[name] = {category: _unique(words) for category, words in table.items()}
        self.names = dict(names)
        self.textures = frozenset(textures)
        self.strategy = strategy
        self.num_prompts = num_prompts
        self._selected = DatasetTables(self.tables, dict(datasets), dataset)

    def set_dataset(self, dataset: str) -> None:
        """Use the words of a dataset from now on, unless others were chosen for all."""
        self._selected.set_dataset(dataset)

    def phrases(self, category: str) -> tuple[str, ...]:
        """Return the phrases for images of a category: none twice, in the order of the lists."""
        if self.strategy == "custom":
            return self.custom
        if self.strategy == "base":
            return self.base[: self.num_prompts]
        chosen = self._choose(category)
        if self.strategy == "contextual":
            return self._in_context(chosen, category)
        return chosen

    def noun(self, category: str) -> str:
        """Return the name of a category in phrases.

        >>> ConceptPrompts(["defect"], names={"pcb1": "printed circuit board"}).noun("pcb1")
        'printed circuit board'
        >>> ConceptPrompts(["defect"]).noun("metal_nut")
        'metal nut'
        """
        return self.names.get(category, category.replace("_", " "))

    def shows_object(self, category: str) -> bool:
        """Tell whether images of a category show an object in front of a background."""
        return category not in self.textures

    def _choose(self, category: str) -> tuple[str, ...]:
        own = self._own(category)
        if not own:
            return self.base[: self.num_prompts]
        if self.strategy == "category":
            return own[: self.num_prompts]
        general = self.base[: self.num_prompts // 2]
        return _unique([*general, *own[: self.num_prompts - len(general)]])

    def _in_context(self, phrases: Sequence[str], category: str) -> tuple[str, ...]:
        noun = self.noun(category)
        in_context = []
        for phrase in phrases:
            for template in self.templates:
                in_context.append(template.replace(PROMPT, phrase).replace(CATEGORY, noun))
        return _unique(in_context)

    def _own(self, category: str) -> tuple[str, ...]:
        own = (self._selected.current() or {}).get(category, ())
        dataset = self._selected.dataset
        if not own and dataset is not None and self._selected.is_first_miss(category):
            log.warning(
                "no words for %s of %s: general ones instead (strategy=base). To give some: "
                "'+model.method.prompts.tables.%s.%s=[crack,stain]', or a file in "
                "conf/prompts/sam3/tables",
                category,
                dataset,
                dataset,
                category,
            )
        return own


def _check_lists(lists: Mapping[str, Sequence[str]]) -> None:
    for name, words in lists.items():
        if isinstance(words, str):  # it would be taken letter by letter
            raise ValueError(f"{name}={words!r}: expected a list of texts, such as [{words!r}]")
    if not lists["base"]:
        raise ValueError(
            "base is empty: expected phrases for categories without words of their own"
        )
    for template in lists["templates"]:
        if PROMPT not in template:
            raise ValueError(
                f"template {template!r} has no {PROMPT}: all phrases would become the same one"
            )


def _check_strategy(
    strategy: str, num_prompts: int, *, custom: Sequence[str], templates: Sequence[str]
) -> None:
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy={strategy!r}: expected one of {', '.join(STRATEGIES)}")
    if num_prompts < 1:
        raise ValueError(f"num_prompts={num_prompts}: expected 1 or more")
    if strategy == "custom" and not custom:
        raise ValueError(
            "strategy=custom needs phrases: model.method.prompts.custom='[crack, missing screw]'"
        )
    if strategy == "contextual" and not templates:
        raise ValueError(
            "strategy=contextual needs templates: "
            "model.method.prompts.templates='[{prompt} on {category}]'"
        )


def _unique(phrases: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrases))
