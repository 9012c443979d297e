"""Which words SAM 3 is asked for: fixed lists, in a fixed order, for every category."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsad.config import compose, instantiate
from zsad.prompts.sam3_phrases import STRATEGIES, ConceptPrompts

BASE = ["crack", "stain", "hole", "dent"]
TABLES = {"parts": {"metal_nut": ["crack", "bent edge", "rust"], "pcb1": ["burn mark"]}}


def prompts(strategy: str, **given: Any) -> ConceptPrompts:
    made = ConceptPrompts(BASE, TABLES, **{"strategy": strategy, "num_prompts": 4, **given})
    made.set_dataset("parts")
    return made


def published(**given: Any) -> ConceptPrompts:
    node = compose.compose_config(
        "test",
        ["model=sam3", "prompts/sam3@model.method.prompts=published", "paths.output_dir=/nowhere"],
    ).model.method.prompts
    return instantiate.build(node, **given)


def test_base_takes_the_first_general_words() -> None:
    assert prompts("base", num_prompts=2).phrases("metal_nut") == ("crack", "stain")


def test_category_takes_the_first_words_of_the_category() -> None:
    assert prompts("category", num_prompts=2).phrases("metal_nut") == ("crack", "bent edge")


def test_mixed_takes_half_of_each_and_says_nothing_twice() -> None:
    assert prompts("mixed").phrases("metal_nut") == ("crack", "stain", "bent edge")
    assert prompts("mixed", num_prompts=5).phrases("pcb1") == ("crack", "stain", "burn mark")


def test_contextual_puts_every_phrase_into_every_template() -> None:
    """Contextual says each of the mixed in every template and calls the category by its name."""
    made = prompts(
        "contextual",
        num_prompts=2,
        templates=["{prompt} on {category}", "{category} with {prompt}"],
    )
    assert made.phrases("metal_nut") == ("crack on metal nut", "metal nut with crack")
    named = prompts(
        "contextual",
        num_prompts=2,
        names={"pcb1": "circuit board"},
        templates=["{prompt} on {category}"],
    )
    assert named.phrases("pcb1") == ("crack on circuit board", "burn mark on circuit board")


def test_custom_is_what_the_user_says() -> None:
    assert prompts("custom", custom=["missing screw", "glue", "glue"]).phrases("anything") == (
        "missing screw",
        "glue",
    )


def test_a_category_without_words_gets_general_ones(caplog: pytest.LogCaptureFixture) -> None:
    """A category without words gets general ones and this is said once."""
    made = prompts("mixed")
    with caplog.at_level(logging.WARNING, logger="zsad"):
        assert made.phrases("wheel") == made.phrases("wheel") == tuple(BASE)
    assert [record.message for record in caplog.records] == [
        "no words for wheel of parts: general ones instead (strategy=base). To give some: "
        "'+model.method.prompts.tables.parts.wheel=[crack,stain]', or a file in "
        "conf/prompts/sam3/tables"
    ]


def test_images_without_a_dataset_get_general_words(caplog: pytest.LogCaptureFixture) -> None:
    """Pictures without a dataset get general words unless a table is chosen."""
    assert ConceptPrompts(BASE, TABLES).phrases("pcb1") == tuple(BASE)
    chosen = ConceptPrompts(BASE, TABLES, dataset="parts", strategy="category")
    chosen.set_dataset("visa")
    assert chosen.phrases("pcb1") == ("burn mark",)
    assert not caplog.records


def test_datasets_share_a_table_by_an_alias() -> None:
    made = ConceptPrompts(BASE, TABLES, datasets={"parts_small": "parts"}, strategy="category")
    made.set_dataset("parts_small")
    assert made.phrases("pcb1") == ("burn mark",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"strategy": "best"},
            "strategy='best': expected one of base, category, mixed, contextual, custom",
        ),
        ({"strategy": "custom"}, r"custom='\[crack, missing screw\]'"),
        ({"num_prompts": 0}, "num_prompts=0"),
        ({"custom": "crack"}, r"custom='crack': expected a list of texts, such as \['crack'\]"),
        ({"templates": ["a {category}"]}, "has no {prompt}"),
        ({"strategy": "contextual", "templates": []}, "strategy=contextual needs templates"),
        ({"base": []}, "base is empty"),
        ({"dataset": "vsia"}, "no words for dataset=vsia. Known: parts"),
    ],
)
def test_mistakes_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConceptPrompts(**{"base": BASE, "tables": TABLES, **given})


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=8)


@given(words, words, st.sampled_from(STRATEGIES), st.integers(1, 9))
def test_no_phrase_comes_twice_and_the_budget_is_kept(
    base: list[str], own: list[str], strategy: str, num_prompts: int
) -> None:
    made = ConceptPrompts(
        base,
        {"d": {"c": own}},
        strategy=strategy,
        num_prompts=num_prompts,
        custom=["x"],
        dataset="d",
    )
    phrases = made.phrases("c")
    assert 1 <= len(phrases) == len(set(phrases)) <= num_prompts


def test_published_words_have_a_fixed_order() -> None:
    """Published words are those of the demonstration in a fixed order."""
    made = published()
    made.set_dataset("mvtec")
    general = ("anomaly", "defect", "damage", "irregularity")
    assert made.phrases("carpet") == (*general, "stain", "tear", "hole", "wrinkle")
    made = published(strategy="contextual")
    made.set_dataset("visa_1cls")
    assert len(made.phrases("pcb1")) == (4 + 3 - 1) * 3  # "damage" is in both lists
    assert made.phrases("pipe_fryum")[:3] == (
        "anomaly in pipe_fryum",
        "anomaly on pipe_fryum",
        "pipe_fryum with anomaly",
    )
    assert len(published(strategy="base").base) == 10
    assert {name: len(table) for name, table in made.tables.items()} == {"mvtec": 15, "visa": 12}


def test_every_word_list_fits_the_text_tower() -> None:
    """Every word list fits the text tower whatever the strategy."""
    from zsad.backbones.clip.tokenizer import tokenize

    for words_of in ("own", "published"):
        given = [
            "model=sam3",
            f"prompts/sam3@model.method.prompts={words_of}",
            "paths.output_dir=/nowhere",
        ]
        made = instantiate.build(
            compose.compose_config("test", given).model.method.prompts,
            strategy="contextual",
            num_prompts=40,
        )
        for name, table in made.tables.items():
            made.set_dataset(name)
            for category in table:
                tokenize(made.phrases(category), context_length=32)


def test_words_are_given_as_the_yaml_says() -> None:
    """Words are given on the command line or in a file as the yaml says."""
    given = [
        "prompts/sam3/tables@model.method.prompts.tables.tiles=mtd",
        "model.method.prompts.tables.parts.wheel=[rust]",
    ]
    changed = "model.method.prompts.tables.visa.pcb1=[cold joint, loose wire]"
    config = compose.compose_config(
        "test", ["model=sam3", *(f"+{one}" for one in given), changed, "paths.output_dir=/nowhere"]
    )
    tables = instantiate.build(config.model.method.prompts).tables
    assert tables["tiles"] == tables["mtd"]
    assert tables["parts"] == {"wheel": ("rust",)}
    assert tables["visa"]["pcb1"] == ("cold joint", "loose wire")
    assert "scratch" in tables["visa"]["pcb2"]


def test_the_words_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from zsad.prompts.sam3_phrases import ConceptPrompts as C\n"
        "c = C(list('abcdefgh'), {'d': {'k': list('hgfedcbaxyz')}}, "
        "dataset='d', strategy='contextual')\n"
        "import sys; sys.stdout.write(repr(c.phrases('k')))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(said) == 1
    assert said != {""}
