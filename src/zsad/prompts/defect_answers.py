"""Words for defects from the answer of a language model."""

from __future__ import annotations

import re

from zsad.prompts.defect_vocabulary import ALWAYS

LONGEST = 4  # an item of more words is a sentence, not the name of a defect

_SEPARATORS = re.compile(r"[,;|]+|\s\(?\d+[.)]\s")
_NUMBERING = re.compile(r"^\s*(?:\(?\d+\s*[.)\]:]|\d+\s+-|[-*•–·])\s*")
_PREAMBLE = re.compile(r"^.*?:(?=\s|$)")  # "Here are the words:"
_EXPLANATION = re.compile(r"(?::|\s[-–—])\**\s.*$")  # "1. **Scratch**: a thin line"
_MARKS = re.compile(r"[\"“”«»*.:!?()\[\]{}]")
_QUOTES = "'`´‘’_-"
_LEADING = re.compile(r"^(?:(?:and|or|a|an|the)\s+)+")
_TWO_LETTERS = re.compile(r"[^\W\d_]{2}")
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|unable to|as an? (?:ai|language)|language model|"
    r"(?:cannot|can't|can not|won't|don't) (?:help|assist|provide|answer|do|know|comply))\b"
)
_PLACEHOLDERS = "word words none n/a na nothing etc answer json list"
_NO_ITEM = frozenset(["", "et cetera", *_PLACEHOLDERS.split()])


def published_words(answer: str) -> list[str]:
    """Read an answer as the published code does, but in the order of the answer.

    *word* and *none* are cut out of longer words, and ``Fold`` and ``fold`` both stay.

    >>> published_words("word, crack, tear of leather, broken part")
    ['crack', 'tear leather', 'broken', 'abnormal', 'defect']

    Source: DOT-Prompt, the published code (which loses the order in a set).
    """
    text = re.sub(r"''|\"\"|[Ww]ord|[Nn]one|\bof\b|\bpart\b", "", answer.strip(".,"))
    items = []
    for part in [*text.split(","), *ALWAYS]:
        unique = dict.fromkeys(part.split())
        items.append(" ".join(unique))
    words = []
    for item in dict.fromkeys(items):
        word = item.replace(".", "").strip()
        if word:
            words.append(word)
    return words


def read_words(answer: str) -> list[str]:
    r"""Read an answer: a list with commas, with numbers or bullets, in lines, in quotes.

    Sentences, placeholders and excuses are left out; a refusal has no words at all.

    >>> read_words("Sure! Here are some words:\n1. Scratch\n2. **Crack**\n3. scratch")
    ['scratch', 'crack']
    >>> read_words("I'm sorry, but I cannot help with that."), read_words("none")
    ([], [])
    """
    text = answer.lower().replace("’", "'")
    if _REFUSAL.search(text):
        return []
    words: dict[str, None] = {}
    for line in text.splitlines():
        for part in _SEPARATORS.split(_items_of(line)):
            item = _clean(part)
            if _is_name(item):
                words[item] = None
    return list(words)


def _items_of(line: str) -> str:
    """Return the items of a line, without introduction or explanation of a numbered one."""
    entry = _NUMBERING.sub("", line)
    if entry == line:
        return _PREAMBLE.sub("", line)
    return _EXPLANATION.sub("", entry)


def _clean(text: str) -> str:
    without_marks = _MARKS.sub(" ", _NUMBERING.sub("", text))
    stripped = without_marks.strip(f"{_QUOTES} ")
    return " ".join(_LEADING.sub("", stripped).split())


def _is_name(item: str) -> bool:
    if item in _NO_ITEM or item.startswith("no "):
        return False
    return len(item.split()) <= LONGEST and bool(_TWO_LETTERS.search(item))
