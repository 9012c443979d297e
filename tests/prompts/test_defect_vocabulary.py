"""What may be wrong with an object: tables, answers of language models however they look, and when
one is asked.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsad.config import compose, instantiate
from zsad.prompts.defect_answers import LONGEST, published_words, read_words
from zsad.prompts.defect_vocabulary import ALWAYS, WordTable, to_phrase, with_always
from zsad.prompts.language_model import LanguageModel

TABLE = WordTable(
    ["scratch", "hole"], {"leather": ["cut", "fold"], "metal nut": ["bend"], "nut": ["crack"]}
)
PROMPTS = {"system": "Name defects.", "question": "What may be wrong with {} ?"}
VOCABULARY = [
    "[UNK]",
    "[EOS]",
    *[
        "Name",
        "defects.",
        "What",
        "may",
        "be",
        "wrong",
        "with",
        "leather",
        "?",
        "scratch,",
        "hole,",
        "stain,",
        "user",
        "system",
    ],
]
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"
ONE_ROLE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    + TEMPLATE
)

ANSWERS = {
    "a list with commas": ("scratch, hole, stain.", ["scratch", "hole", "stain"]),
    "numbers in lines": (
        "1. Scratch\n2) Crack\n3 - Dent\n(4) Hole",
        ["scratch", "crack", "dent", "hole"],
    ),
    "numbers in one line": ("1. scratch 2. torn edge 3. hole", ["scratch", "torn edge", "hole"]),
    "numbers and commas": ("1. scratch, 2. crack", ["scratch", "crack"]),
    "bullets": ("- scratch\n* crack\n• dent", ["scratch", "crack", "dent"]),
    "explanations": (
        "1. **Scratch**: a thin line on it\n2. Crack - runs through it all the way",
        ["scratch", "crack"],
    ),
    "an introduction": ("Here are the words: scratch, crack", ["scratch", "crack"]),
    "an introduction of its own": ("Sure, here you go:\nscratch\ncrack", ["scratch", "crack"]),
    "quotes and brackets": ('["scratch", "crack"]', ["scratch", "crack"]),
    "curly quotes": ("“scratch”, ‘crack’", ["scratch", "crack"]),
    "capitals and duplicates": ("Fold, fold, FOLD, poke", ["fold", "poke"]),
    "longer words around placeholders": (
        "word, none, sword mark, nonetheless",
        ["sword mark", "nonetheless"],
    ),
    "and before the last": ("a scratch, the crack, and a hole", ["scratch", "crack", "hole"]),
    "sentences": ("The leather may have all kinds of flaws in it. scratch", []),
    "nothing": ("", []),
    "punctuation": (" ., ,'' \n -- ", []),
    "numbers alone": ("1, 2, 3", []),
    "a refusal": ("I'm sorry, but I can't help with scratches, cracks", []),
    "another refusal": ("As an AI language model, I see no pictures", []),
    "none": ("None.", []),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_is_read_however_it_looks(kind: str) -> None:
    answer, words = ANSWERS[kind]
    assert read_words(answer) == words


@given(st.text(st.sampled_from("ab .,:;-*1)\n\"'[]"), max_size=60))
def test_words_are_short_lower_case_and_different(answer: str) -> None:
    """Whatever a model says the words are short lower case and different."""
    words = read_words(answer.upper())
    assert len(words) == len(set(words))
    for word in words:
        assert word == word.strip() == word.lower()
        assert 1 <= len(word.split()) <= LONGEST
        assert any(letter.isalpha() for letter in word)
        assert not set(word) & set(',;.:\n"')


@given(st.lists(st.sampled_from(["scratch", "torn edge", "hole", "stain"]), min_size=1))
def test_a_list_with_commas_is_read_back_in_its_order(words: list[str]) -> None:
    assert read_words(", ".join(words)) == list(dict.fromkeys(words))
    assert published_words(", ".join(words)) == list(dict.fromkeys([*words, *ALWAYS]))


def test_the_published_reading_cuts_placeholders_out_of_words() -> None:
    """The published reading cuts placeholders out of longer words."""
    assert published_words("sword, nonetheless, Fold, fold") == [
        "s",
        "theless",
        "Fold",
        "fold",
        "abnormal",
        "defect",
    ]


def test_what_is_always_looked_for_is_added_once() -> None:
    assert with_always(["defect", "hole", "hole"]) == ("defect", "hole", "abnormal")


@pytest.mark.parametrize(
    ("tag", "category", "expected"),
    [
        ("leather", "", ("cut", "fold")),
        ("[CLS] Leather.", "", ("cut", "fold")),
        ("brown leather", "", ("cut", "fold")),
        ("metal_nut", "", ("bend",)),
        ("walnut", "leather2", ("cut", "fold")),
        ("walnut", "", ("scratch", "hole")),
    ],
    ids=[
        "itself",
        "as a detector says it",
        "within",
        "the longest that fits",
        "its category",
        "general",
    ],
)
def test_the_table_knows_an_object_by_its_whole_words(
    tag: str, category: str, expected: tuple[str, ...]
) -> None:
    found = TABLE.words(tag, category)
    assert found.words == (*expected, *ALWAYS)
    assert found.source == "table"


def test_a_category_without_letters_is_an_object() -> None:
    assert [to_phrase(name) for name in ("01", "", "__", "macaroni2", "zipper")] == [
        "object"
    ] * 3 + ["macaroni", "zipper"]


def test_a_table_of_a_single_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"objects\.nut='bend'.*expected a list"):
        WordTable(["hole"], {"nut": "bend"})


def chat_model(folder: Path, template: str | None) -> str:
    """Write a tiny instruct model of the real classes, with random weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    known = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    known.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=known, unk_token="[UNK]", eos_token="[EOS]"
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    config = LlamaConfig(
        vocab_size=len(VOCABULARY), num_hidden_layers=1, max_position_embeddings=64, **sizes
    )
    config.bos_token_id, config.eos_token_id = 0, 1
    model = LlamaForCausalLM(config)
    model.generation_config.update(
        do_sample=True, temperature=0.6, top_p=0.9
    )  # as instruct models come
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return chat_model(tmp_path_factory.mktemp("model"), TEMPLATE)


def asked(model: str, **options: object) -> LanguageModel:
    return LanguageModel(
        model, TABLE, **PROMPTS, dtype="float32", max_new_tokens=8, device="cpu", **options
    )


def test_the_same_question_has_the_same_answer_whatever_the_seed(model_folder: str) -> None:
    import torch

    answers = []
    for seed in range(3):
        torch.manual_seed(seed)
        answers.append(asked(model_folder).answer("leather"))
    assert len(set(answers)) == 1
    assert set(answers[0].split()) <= set(VOCABULARY)
    assert answers[0]


def test_a_model_is_asked_once_for_each_object(
    model_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model is asked once for each object and not again with a cache."""
    first = asked(model_folder, cache=tmp_path)
    said = first.answer("leather")
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["answer"] == said
    again = asked(model_folder, cache=tmp_path)
    monkeypatch.setattr(again, "_load", lambda: pytest.fail("the model was read again"))
    assert again.words("leather") == first.words("leather")


@pytest.mark.parametrize("content", ["", "{", '{"tag": "leather"}', "[]"])
def test_a_damaged_answer_is_asked_for_again_and_mended(
    model_folder: str, tmp_path: Path, content: str
) -> None:
    said = asked(model_folder, cache=tmp_path).answer("leather")
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert asked(model_folder, cache=tmp_path).answer("leather") == said
    assert json.loads(file.read_text())["answer"] == said


def test_another_question_is_another_answer_in_the_cache(model_folder: str, tmp_path: Path) -> None:
    for question in ("What may be wrong with {} ?", "wrong {}"):
        LanguageModel(
            model_folder,
            TABLE,
            system="",
            question=question,
            dtype="float32",
            max_new_tokens=2,
            cache=tmp_path,
        ).answer("leather")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "answer", ["", "I'm sorry, I cannot help with that.", "1, 2, 3", "abnormal, defect"]
)
def test_the_table_replaces_refusals_and_nonsense(
    answer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The table serves where a model refuses or answers nonsense."""
    model = asked("some/model")
    monkeypatch.setattr(model, "_ask", lambda tag: answer)
    with caplog.at_level(logging.WARNING, logger="zsad"):
        assert model.words("leather") == TABLE.words("leather")
    assert "some/model named no defects of 'leather'" in caplog.text


def test_a_long_answer_is_cut_so_that_captions_stay_short(monkeypatch: pytest.MonkeyPatch) -> None:
    model = asked("some/model", max_words=3)
    monkeypatch.setattr(model, "_ask", lambda tag: "ab, cd, ef, gh, ij")
    found = model.words("leather")
    assert found.words == ("ab", "cd", "ef", *ALWAYS)
    assert (found.source, found.answer) == ("some/model", "ab, cd, ef, gh, ij")


def test_a_template_without_a_system_role_gets_one_message(tmp_path: Path) -> None:
    assert asked(chat_model(tmp_path, ONE_ROLE)).answer("leather")


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no chat template: expected an instruct model"):
        asked(chat_model(tmp_path, None)).answer("leather")


def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the language model.*hf download"):
        asked(str(tmp_path / "nowhere")).answer("leather")


def test_mistakes_show_before_anything_is_loaded() -> None:
    with pytest.raises(ValueError, match="expected one of float32"):
        LanguageModel("some/model", TABLE, **PROMPTS, dtype="float3")
    with pytest.raises(ValueError, match=r"no \{\} for the object"):
        LanguageModel("some/model", TABLE, system="", question="What may be wrong?")


def test_packaged_words_are_few_and_short() -> None:
    """The words that come with the package are few short and read as they are written."""
    config = compose.compose_config(
        "test", ["model=dot", "backbone=grounded_sam_random", "paths.output_dir=/nowhere"]
    )
    table = instantiate.build(config.model.method.language)
    assert {"metal nut", "magnetic tile", "leather"} <= table.objects.keys()
    for words in (table.general, *table.objects.values()):
        assert 2 <= len(words) <= 8
        assert read_words(", ".join(words)) == list(words)


@pytest.mark.parametrize("name", compose.choices("language"))
def test_every_language_has_words_for_an_unknown_object(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every configured language has words for an object nobody wrote down."""
    choice = f"prompts/dot@model.method.language={name}"
    config = compose.compose_config(
        "test", ["model=dot", "backbone=grounded_sam_random", choice, "paths.output_dir=/nowhere"]
    )
    language = instantiate.build(config.model.method.language)
    if isinstance(language, LanguageModel):
        monkeypatch.setattr(language, "_ask", lambda tag: f"broken {tag}")
        language.cache = None
    assert set(language.words("gadget").words) >= set(ALWAYS)
