"""Words for the defects of an object from a language model, which is asked once for each object."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch

from zsad.atomic_write import write_whole
from zsad.backbones.hub import as_dtype, load_part, load_pretrained
from zsad.prompts.defect_answers import published_words, read_words
from zsad.prompts.defect_vocabulary import ALWAYS, Words, WordTable, with_always

log = logging.getLogger(__name__)

# Greedy decoding: the sampling settings of a model would only be warned of.
_GREEDY = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}


class LanguageModel:
    """The words of an object as an instruct model names them, never by chance.

    Its weights are read when the first answer is needed that is not cached.

    Args:
        model: Hub id or local folder of any causal language model with a chat template.
        table: Gives the words where the model has no usable answer.
        system: System message.
        question: User message, with ``{}`` where the object tag goes.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        max_new_tokens: Length at which an answer is cut.
        max_words: Number of its words that are taken, so that captions fit into the detector's
            text encoder.
        as_published: Read answers as the published code does.
        cache: Folder of answers, by model, precision, question and object tag; ``None`` for none.
        device: Device of the model; ``None`` for a GPU if there is one.

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
                f"question={question!r} has no {{}} for the object: every object would get the "
                "same words"
            )
        as_dtype(dtype)  # a misspelt one shows now, not after an hour
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model
        self.table = table
        self.system = system
        self.question = question
        self.dtype = dtype
        self.max_new_tokens = max_new_tokens
        self.max_words = max_words
        self.read = published_words if as_published else read_words
        self.cache = None if cache is None else Path(cache)
        self.device = torch.device(device)
        self._known: dict[str, str] = {}
        self._loaded: tuple[Any, Any] | None = None

    def words(self, tag: str, category: str = "") -> Words:
        """Return the words that the model names for an object tag.

        Where it names none they are the table's, with a warning.
        """
        answer = self.answer(tag)
        found = self.read(answer)
        if set(found) <= set(ALWAYS):
            log.warning(
                "%s named no defects of %r (its answer: %.80r); using the words of the table",
                self.model,
                tag,
                answer,
            )
            return self.table.words(tag, category)
        return Words(with_always(found[: self.max_words]), self.model, answer)

    def answer(self, tag: str) -> str:
        """Return the model's answer on an object tag: from memory, from the cache, or by asking."""
        if tag not in self._known:
            self._known[tag] = self._cached_answer(tag)
        return self._known[tag]

    def _cached_answer(self, tag: str) -> str:
        if self.cache is None:
            return self._ask(tag)
        file = self._file(self.cache, tag)
        cached = _read_answer(file, tag)
        if cached is not None:
            return cached
        answer = self._ask(tag)
        content = {
            "model": self.model,
            "messages": self._messages(tag),
            "tag": tag,
            "answer": answer,
        }
        write_whole(file, json.dumps(content, indent=2, ensure_ascii=False))
        return answer

    def _messages(self, tag: str) -> list[dict[str, str]]:
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.question.replace("{}", tag)},
        ]

    def _file(self, folder: Path, tag: str) -> Path:
        settings = [self.model, self.dtype, self.max_new_tokens, self._messages(tag)]
        digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=12)
        return folder / f"{digest.hexdigest()}.json"

    @torch.inference_mode()
    def _ask(self, tag: str) -> str:
        tokenizer, model = self._load()
        inputs = _encode(tokenizer, self._messages(tag)).to(self.device)
        padding = tokenizer.pad_token_id
        if padding is None:
            padding = tokenizer.eos_token_id
        output = model.generate(
            **inputs, **_GREEDY, max_new_tokens=self.max_new_tokens, pad_token_id=padding
        )
        new_tokens = output[0, inputs["input_ids"].shape[1] :]
        return tokenizer.decode(new_tokens, skip_special_tokens=True).strip()

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = _load_model(self.model, self.dtype, self.device)
        return self._loaded


def _load_model(name: str, dtype: str, device: torch.device) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    role = "the language model"
    tokenizer = load_part(AutoTokenizer, name, what=role)
    if tokenizer.chat_template is None:
        raise ValueError(
            f"{name} has no chat template: expected an instruct model, such as "
            "Qwen/Qwen2.5-1.5B-Instruct"
        )
    model = load_pretrained(AutoModelForCausalLM, name, dtype=dtype, what=role)
    return tokenizer, model.to(device)


def _encode(tokenizer: Any, messages: list[dict[str, str]]) -> Any:
    """Return the tokens of messages, joined to one where a template knows no system role."""
    from jinja2 import TemplateError

    form = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    try:
        return tokenizer.apply_chat_template(messages, **form)
    except TemplateError:
        joined = "\n\n".join(message["content"] for message in messages)
        return tokenizer.apply_chat_template([{"role": "user", "content": joined}], **form)


def _read_answer(file: Path, tag: str) -> str | None:
    """Return a cached answer; ``None`` where there is none, or the file is damaged."""
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(content, dict) or content.get("tag") != tag:
        return None
    answer = content.get("answer")
    return answer if isinstance(answer, str) else None
