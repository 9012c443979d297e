"""What SAM 3 is asked to find, in words: short noun phrases for anomalies in general and for each category.

The strategies have the names, and do what is described, of a published SAM 3 demonstration (SAM3-AD, 2025); its word
lists are ``conf/prompts/sam3/published.yaml``, our own ``own.yaml``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

STRATEGIES = ("base", "category", "mixed", "contextual", "custom")
PROMPT, CATEGORY = "{prompt}", "{category}"
log = logging.getLogger("zsad")


class ConceptPrompts:
    """Chooses the phrases for a category.

    Args:
        base: Phrases for anomalies of anything, the best first.
        tables: Dataset → category → phrases for its anomalies, the best first.
        templates: With ``{prompt}`` and ``{category}``, for the strategy *contextual*.
        names: What phrases call a category, where that is not its own name: ``pcb1: printed circuit board``.
        textures: Categories without an object in front of a background.
        datasets: Dataset → the table that serves it, where that has another name: ``visa_1cls: visa``.
        dataset: The table that is used whatever dataset is tested; ``None``: that of the tested one (``set_dataset``).
        strategy: *base*: the first general phrases. *category*: the first of the category. *mixed*: half of each.
            *contextual*: those of *mixed*, each in every template. *custom*: ``custom`` alone.
        num_prompts: How many phrases are chosen, before templates.
        custom: Phrases of one's own.

    Raises:
        ValueError: If the strategy is none of these, has nothing to choose from, or a table does not exist.
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
        _check(strategy, num_prompts, {"base": base, "templates": templates, "custom": custom})
        self.base, self.custom, self.templates = _unique(base), _unique(custom), tuple(templates)
        self.tables = {
            name: {one: _unique(words) for one, words in table.items()}
            for name, table in tables.items()
        }
        self.names, self.textures, self.datasets = dict(names), frozenset(textures), dict(datasets)
        self.strategy, self.num_prompts = strategy, num_prompts
        self._always, self._entered, self._told = dataset, dataset, set[tuple[str | None, str]]()
        if dataset is not None and self._table() is None:
            raise ValueError(
                f"no words for dataset={dataset}. Known: {', '.join(sorted(self.tables)) or 'none'}"
            )

    def set_dataset(self, dataset: str) -> None:
        """Use the words of a dataset from now on, unless one was chosen for all."""
        self._entered = self._always or dataset

    def phrases(self, category: str) -> tuple[str, ...]:
        """Return what is looked for in images of a category: no phrase twice, in the order of the lists."""
        if self.strategy == "custom":
            return self.custom
        if self.strategy == "base":
            return self.base[: self.num_prompts]
        own = self._own(category)
        if not own:
            chosen = self.base[: self.num_prompts]
        elif self.strategy == "category":
            chosen = own[: self.num_prompts]
        else:
            general = self.base[: self.num_prompts // 2]
            chosen = _unique([*general, *own[: self.num_prompts - len(general)]])
        return self._in_context(chosen, category) if self.strategy == "contextual" else chosen

    def noun(self, category: str) -> str:
        """Return what phrases call a category.

        >>> ConceptPrompts(["defect"], names={"pcb1": "printed circuit board"}).noun("pcb1")
        'printed circuit board'
        >>> ConceptPrompts(["defect"]).noun("metal_nut")
        'metal nut'
        """
        return self.names.get(category, category.replace("_", " "))

    def shows_object(self, category: str) -> bool:
        """Tell whether images of a category show an object in front of something else."""
        return category not in self.textures

    def _in_context(self, phrases: Sequence[str], category: str) -> tuple[str, ...]:
        noun = self.noun(category)
        return _unique(
            template.replace(PROMPT, phrase).replace(CATEGORY, noun)
            for phrase in phrases
            for template in self.templates
        )

    def _own(self, category: str) -> tuple[str, ...]:
        own = (self._table() or {}).get(category, ())
        if not own and self._entered is not None and (self._entered, category) not in self._told:
            self._told.add((self._entered, category))
            log.warning(
                "no words for %s of %s: general ones instead (strategy=base). To give some: "
                "'+model.method.prompts.tables.%s.%s=[crack,stain]', or a file in conf/prompts/sam3/tables",
                category,
                self._entered,
                self._entered,
                category,
            )
        return own

    def _table(self) -> dict[str, tuple[str, ...]] | None:
        return (
            None
            if self._entered is None
            else self.tables.get(self.datasets.get(self._entered, self._entered))
        )


def _check(strategy: str, num_prompts: int, lists: Mapping[str, Sequence[str]]) -> None:
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy={strategy!r}: expected one of {', '.join(STRATEGIES)}")
    if num_prompts < 1:
        raise ValueError(f"num_prompts={num_prompts}: expected 1 or more")
    for name, words in lists.items():
        if isinstance(words, str):  # it would be taken letter by letter
            raise ValueError(f"{name}={words!r}: expected a list of texts, such as [{words!r}]")
    if not lists["base"]:
        raise ValueError(
            "base is empty: what is looked for where a category has no words of its own?"
        )
    if strategy == "custom" and not lists["custom"]:
        raise ValueError(
            "strategy=custom needs phrases: model.method.prompts.custom='[crack, missing screw]'"
        )
    if strategy == "contextual" and not lists["templates"]:
        raise ValueError(
            "strategy=contextual needs templates: model.method.prompts.templates='[{prompt} on {category}]'"
        )
    for template in lists["templates"]:
        if PROMPT not in template:
            raise ValueError(
                f"template {template!r} has no {PROMPT}: all phrases would become the same one"
            )


def _unique(phrases: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrases))
