"""Which words to look for in pictures of an object: from a table, or from a language model that is asked once.

An *object tag* is what the object is called: ``leather``, ``metal nut``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zsad.atomic_write import write_whole
from zsad.backbones.hub import as_dtype, load_part, load_pretrained

log = logging.getLogger(__name__)

ALWAYS = ("abnormal", "defect")  # whatever else is looked for
LONGEST = 4  # an item of more words is a sentence, not the name of a defect

_SEPARATORS = re.compile(r"[,;|]+|\s\(?\d+[.)]\s")
_NUMBERING = re.compile(r"^\s*(?:\(?\d+\s*[.)\]:]|\d+\s+-|[-*•–·])\s*")
_PREAMBLE = re.compile(r"^.*?:(?=\s|$)")  # "Here are the words:"
_EXPLANATION = re.compile(r"(?::|\s[-–—])\**\s.*$")  # "1. **Scratch**: a thin line"
_MARKS = re.compile(r"[\"“”«»*.:!?()\[\]{}]")
_QUOTES = "'`´‘’_-"
_LEADING = re.compile(r"^(?:(?:and|or|a|an|the)\s+)+")
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|unable to|as an? (?:ai|language)|language model|"
    r"(?:cannot|can't|can not|won't|don't) (?:help|assist|provide|answer|do|know|comply))\b"
)
_NO_ITEM = frozenset(
    {
        "",
        "word",
        "words",
        "none",
        "n/a",
        "na",
        "nothing",
        "etc",
        "et cetera",
        "answer",
        "json",
        "list",
    }
)


@dataclass(frozen=True, slots=True)
class Words:
    """Words to look for.

    Attributes:
        words: In order, without duplicates, lower case.
        source: Where they come from: ``table``, or the name of the language model.
        answer: All that the model said; empty for a table.
    """

    words: tuple[str, ...]
    source: str
    answer: str = ""


def to_phrase(name: str) -> str:
    """Return a category, or the phrase of a detector, as one would say it; ``object`` where nothing is left.

    >>> to_phrase("metal_nut"), to_phrase("pcb1"), to_phrase("[CLS] Leather. [SEP]"), to_phrase("01")
    ('metal nut', 'pcb', 'leather', 'object')
    """
    text = re.sub(r"\[(?:cls|sep|pad|unk)\]", " ", name.lower())
    text = " ".join(re.sub(r"[^\w\-]|_", " ", text).split())
    return re.sub(r"\s*\d+$", "", text).strip(" -") or "object"


def published_words(answer: str) -> list[str]:
    """Read the answer of a language model as the published code does, but in the order of the answer.

    *word* and *none* are cut out of longer words, and ``Fold`` and ``fold`` both stay.

    >>> published_words("word, crack, tear of leather, broken part")
    ['crack', 'tear leather', 'broken', 'abnormal', 'defect']

    Source: DOT-Prompt, the published code (which loses the order in a set).
    """
    text = re.sub(r"''|\"\"|[Ww]ord|[Nn]one|\bof\b|\bpart\b", "", answer.strip(".,"))
    items = (
        " ".join(dict.fromkeys(item.split())) for item in f"{text},{','.join(ALWAYS)}".split(",")
    )
    found = (item.replace(".", "").strip() for item in dict.fromkeys(items))
    return [item for item in found if item]


def read_words(answer: str) -> list[str]:
    r"""Read the answer of a language model: a list with commas, with numbers or bullets, in lines, in quotes.

    What is no name of anything (sentences, placeholders, excuses) is left out; a refusal has no words at all.

    >>> read_words("Sure! Here are some words:\n1. Scratch\n2. **Crack**\n3. scratch")
    ['scratch', 'crack']
    >>> read_words("I'm sorry, but I cannot help with that."), read_words("none")
    ([], [])
    """
    text = answer.lower().replace("’", "'")
    if _REFUSAL.search(text):
        return []
    items = (
        _item(part) for line in text.splitlines() for part in _SEPARATORS.split(_list_in(line))
    )
    return list(dict.fromkeys(item for item in items if _is_name(item)))


def with_always(words: Iterable[str]) -> tuple[str, ...]:
    """Add what is always looked for, and drop duplicates; the order stays."""
    return tuple(dict.fromkeys([*words, *ALWAYS]))


class WordTable:
    """The words of an object from a table.

    Args:
        general: Words for objects that are not in it.
        objects: Object → its words. An object serves for longer names that hold it as a whole word, too.
        always: Add *abnormal* and *defect*.

    Raises:
        ValueError: If ``general``, or the words of an object, are empty or a single text.
    """

    def __init__(
        self,
        general: Sequence[str],
        objects: Mapping[str, Sequence[str]] | None = None,
        *,
        always: bool = True,
    ) -> None:
        self.general = _checked("general", general)
        self.objects = {
            to_phrase(name): _checked(f"objects.{name}", words)
            for name, words in (objects or {}).items()
        }
        self.always = always

    def words(self, tag: str, category: str = "") -> Words:
        """Return the words of an object tag; of its category where the tag is not in the table; else general ones."""
        found = self._entry(tag) or self._entry(category) or self.general
        return Words(with_always(found) if self.always else found, "table")

    def _entry(self, name: str) -> tuple[str, ...] | None:
        name = to_phrase(name)
        within = [known for known in self.objects if re.search(rf"\b{re.escape(known)}\b", name)]
        return self.objects[max(within, key=len)] if within else None


class LanguageModel:
    """The words of an object as an instruct model names them, asked once for each object and never by chance.

    Its weights are read when the first answer is needed that is not known yet.

    Args:
        model: Hub id or local folder of any causal language model with a chat template.
        table: Gives the words where the model has no usable answer.
        system: What the model is told first.
        question: What it is asked, with ``{}`` where the object tag goes.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        max_new_tokens: Where an answer is cut.
        max_words: How many of its words are taken, so that captions fit into the detector's text encoder.
        as_published: Read answers as the published code does.
        cache: Folder where answers are kept, by model, precision, question and object tag; ``None`` for none.
        device: Where it runs; ``None`` for a GPU if there is one.

    Raises:
        ValueError: If ``question`` has no place for the object tag, or the precision is unknown.
    """

    def __init__(
        self,
        model: str,
        table: WordTable,
        *,
        system: str,
        question: str,
        dtype: str = "bfloat16",
        max_new_tokens: int = 128,
        max_words: int = 12,
        as_published: bool = False,
        cache: str | Path | None = None,
        device: str | None = None,
    ) -> None:
        if "{}" not in question:
            raise ValueError(
                f"question={question!r} has no {{}} for the object: every object would get the same words"
            )
        self.model, self.table = model, table
        self.system, self.question = system, question
        as_dtype(dtype)  # a misspelt one shows now, not after an hour
        self.dtype, self.max_new_tokens, self.max_words = dtype, max_new_tokens, max_words
        self.read = published_words if as_published else read_words
        self.cache = None if cache is None else Path(cache)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._known: dict[str, str] = {}
        self._loaded: tuple[Any, Any] | None = None

    def words(self, tag: str, category: str = "") -> Words:
        """Return the words that the model names for an object tag; the table's, and a warning, where it names none."""
        answer = self.answer(tag)
        found = self.read(answer)
        if not set(found) - set(ALWAYS):
            log.warning(
                "%s named no defects of %r (it said: %.80r); the words are those of the table",
                self.model,
                tag,
                answer,
            )
            return self.table.words(tag, category)
        return Words(with_always(found[: self.max_words]), self.model, answer)

    def answer(self, tag: str) -> str:
        """Return what the model says of an object tag: from memory, from the cache, or by asking it."""
        if tag not in self._known:
            file = self._file(tag)
            kept = None if file is None else _read_answer(file, tag)
            self._known[tag] = self._ask(tag) if kept is None else kept
            if file is not None and kept is None:
                known = {
                    "model": self.model,
                    "messages": self._messages(tag),
                    "tag": tag,
                    "answer": self._known[tag],
                }
                write_whole(file, json.dumps(known, indent=2, ensure_ascii=False))
        return self._known[tag]

    def _messages(self, tag: str) -> list[dict[str, str]]:
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.question.replace("{}", tag)},
        ]

    def _file(self, tag: str) -> Path | None:
        if self.cache is None:
            return None
        asked = [self.model, self.dtype, self.max_new_tokens, self._messages(tag)]
        digest = hashlib.blake2b(json.dumps(asked).encode(), digest_size=12).hexdigest()
        return self.cache / f"{digest}.json"

    @torch.inference_mode()
    def _ask(self, tag: str) -> str:
        tokenizer, model = self._load()
        given = _encoded(tokenizer, self._messages(tag)).to(self.device)
        # Greedy: what a model's own settings say of sampling would only be warned of.
        greedy = {
            "do_sample": False,
            "num_beams": 1,
            "temperature": None,
            "top_p": None,
            "top_k": None,
        }
        padding = (
            tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        )
        said = model.generate(
            **given, **greedy, max_new_tokens=self.max_new_tokens, pad_token_id=padding
        )
        return tokenizer.decode(
            said[0, given["input_ids"].shape[1] :], skip_special_tokens=True
        ).strip()

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = _read_model(self.model, self.dtype, self.device)
        return self._loaded


def _read_model(name: str, dtype: str, device: torch.device) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = load_part(AutoTokenizer, name, what="the language model")
    if tokenizer.chat_template is None:
        raise ValueError(
            f"{name} has no chat template: expected an instruct model, such as Qwen/Qwen2.5-1.5B-Instruct"
        )
    return tokenizer, load_pretrained(
        AutoModelForCausalLM, name, dtype=dtype, what="the language model"
    ).to(device)


def _encoded(tokenizer: Any, messages: list[dict[str, str]]) -> Any:
    """Return what the model is given; as one message where its chat template knows no other role than the user's."""
    from jinja2 import TemplateError

    form = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    try:
        return tokenizer.apply_chat_template(messages, **form)
    except TemplateError:
        joined = "\n\n".join(message["content"] for message in messages)
        return tokenizer.apply_chat_template([{"role": "user", "content": joined}], **form)


def _read_answer(file: Path, tag: str) -> str | None:
    """Return a kept answer; ``None`` where there is none, or the file is damaged."""
    if not file.is_file():
        return None
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    is_whole = (
        isinstance(known, dict) and known.get("tag") == tag and isinstance(known.get("answer"), str)
    )
    return known["answer"] if is_whole else None


def _checked(name: str, words: Sequence[str]) -> tuple[str, ...]:
    if not words or isinstance(words, str):
        raise ValueError(
            f"{name}={words!r}: expected a list of one word or more, such as [scratch, crack]"
        )
    return tuple(dict.fromkeys(word.strip().lower() for word in words))


def _list_in(line: str) -> str:
    """Return the items of a line: without what introduces them, or explains a numbered one."""
    entry = _NUMBERING.sub("", line)
    return _PREAMBLE.sub("", line) if entry == line else _EXPLANATION.sub("", entry)


def _item(text: str) -> str:
    text = _MARKS.sub(" ", _NUMBERING.sub("", text)).strip(f"{_QUOTES} ")
    return " ".join(_LEADING.sub("", text).split())


def _is_name(item: str) -> bool:
    says_something = item not in _NO_ITEM and not item.startswith("no ")
    return says_something and len(item.split()) <= LONGEST and bool(re.search(r"[^\W\d_]{2}", item))
