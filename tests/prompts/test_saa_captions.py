"""Words for defects are data: published ones as published, a way in for one's own, and general ones
for the rest.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from zsad.config import compose, instantiate
from zsad.data.layouts import LAYOUTS
from zsad.prompts.saa_captions import DefectWords
from zsad.prompts.saa_rows import read_property, require_mapping

GENERAL = {
    "captions": ["defect on {}"],
    "filter_word": "{}",
    "k_mask": 5,
    "defect_area_threshold": 0.9,
}
TABLES = {
    "parts": {
        "metal_nut": {
            "captions": ["scratch.", "bent {}"],
            "filter_word": "nut",
            "k_mask": 2,
            "aliases": ["hex nut"],
        },
        "plate": {"name": "steel plate"},
    }
}


def composed(*overrides: str) -> DefectWords:
    """Build the words of a model as ``test.py`` would."""
    given = (
        overrides
        if any(one.startswith("model=") for one in overrides)
        else ("model=saa_plus", *overrides)
    )
    config = compose.compose_config(
        "test", [*given, "backbone=grounded_sam_random", "paths.output_dir=/nowhere"]
    )
    return instantiate.build(config.model.method.prompts)


def test_general_captions_come_before_those_of_the_category() -> None:
    """General captions come first and then those of the category."""
    words = DefectWords(GENERAL, TABLES, dataset="parts")
    asked = words.prompts("metal_nut")
    assert asked.captions == (
        ("defect on metal_nut", "metal_nut"),
        ("scratch.", "nut"),
        ("bent metal_nut", "nut"),
    )
    assert (asked.k_mask, asked.defect_area_threshold, asked.object_prompt) == (2, 0.9, "metal_nut")


@pytest.mark.parametrize("name", ["metal_nut", "Metal nut", "metal-nut", "hex_nut"])
def test_a_category_is_found_by_alias_and_any_spelling(name: str) -> None:
    """A category is known by its aliases and however it is spelt."""
    words = DefectWords(GENERAL, TABLES, dataset="parts")
    assert words.prompts(name) == words.prompts("metal_nut")


def test_a_row_says_what_captions_call_its_category() -> None:
    asked = DefectWords(GENERAL, TABLES, dataset="parts").prompts("plate")
    assert asked.captions == (("defect on steel plate", "steel plate"),)
    assert asked.object_prompt == "steel plate"


def test_an_unknown_category_is_asked_generally_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = DefectWords(GENERAL, TABLES)
    words.set_dataset("screws")
    with caplog.at_level(logging.WARNING, logger="zsad"):
        assert words.prompts("long screw").captions == (("defect on long screw", "long screw"),)
        words.prompts("long screw")
        words.prompts("metal nut")
    first, second = caplog.messages
    assert "no expert words for long screw of screws: general prompts alone" in first
    assert "conf/prompts/saa/tables/screws.yaml" in first
    assert "+model.method.prompts.files.screws=FILE.yaml" in first
    assert "Those of parts: model.method.prompts.dataset=parts." in second


def test_general_words_alone_are_a_choice_and_no_reason_to_warn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    DefectWords(GENERAL).prompts("screw")
    assert not caplog.messages


def test_a_chosen_table_serves_every_dataset() -> None:
    """A table that was chosen serves every dataset and a tested one by its other name."""
    chosen = DefectWords(GENERAL, TABLES, dataset="parts")
    chosen.set_dataset("elsewhere")
    entered = DefectWords(GENERAL, TABLES, datasets={"parts_2": "parts"})
    entered.set_dataset("parts_2")
    assert chosen.prompts("metal_nut") == entered.prompts("metal_nut")
    with pytest.raises(ValueError, match=r"no words for dataset=part\. Known: parts"):
        DefectWords(GENERAL, TABLES, dataset="part")


def test_words_of_ones_own_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "screws.yaml"
    file.write_text("screw: {captions: [rust, bent thread], k_mask: 3}\n7: {captions: [dent]}\n")
    words = DefectWords(GENERAL, TABLES, files={"screws": str(file)}, dataset="screws")
    assert words.prompts("screw").captions[1:] == (("rust", "screw"), ("bent thread", "screw"))
    assert words.prompts("7").captions[-1] == ("dent", "7")
    with pytest.raises(FileNotFoundError, match=r"no such file of defect words: .*gone\.yaml"):
        DefectWords(GENERAL, files={"screws": str(tmp_path / "gone.yaml")})
    file.write_text("- rust\n")
    with pytest.raises(ValueError, match=r"screws\.yaml: expected categories"):
        DefectWords(GENERAL, files={"screws": str(file)})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"caption": ["x"]}, r"parts\.nut\.caption is not known\. Expected: captions, filter_word"),
        ({"captions": "scratch"}, r"parts\.nut\.captions='scratch': expected list"),
        (
            {"captions": ["scratch", " "]},
            r"parts\.nut\.captions=\['scratch', ' '\]: expected a list of texts",
        ),
        ({"k_mask": 0}, r"parts\.nut\.k_mask=0: expected more than 0"),
        ({"k_mask": True}, r"parts\.nut\.k_mask=True: expected int or null"),
        ({"object_count": None}, r"parts\.nut\.object_count=None: expected int"),
        (
            {"defect_area_threshold": "0.3"},
            r"defect_area_threshold='0\.3': expected int or float or null",
        ),
        (
            {"property": "the image of nut"},
            r"'the image of nut' is not a property sentence: .* its 6th word",
        ),
    ],
)
def test_a_mistake_in_a_row_names_its_place(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DefectWords(GENERAL, {"parts": {"nut": row}})


def test_a_text_in_place_of_rows_names_its_place() -> None:
    with pytest.raises(ValueError, match=r"parts\.nut='nonsense': expected words by their keys"):
        require_mapping("parts.nut", "nonsense")


def test_the_published_sentence_serves_as_a_row() -> None:
    first = "the image of nut have 3 similar nut, with a maximum of 7 anomaly. "
    sentence = first + "The anomaly would not exceed 0.25 object area."
    asked = DefectWords(
        GENERAL, {"parts": {"nut": {"property": sentence}}}, dataset="parts"
    ).prompts("nut")
    assert (asked.object_count, asked.object_prompt, asked.k_mask) == (3, "nut,", 7)
    assert asked.defect_area_threshold == read_property(sentence).defect_area_threshold == 0.25


@pytest.mark.parametrize("dataset", ["mvtec", "ksdd2", "mtd"])
def test_every_category_of_the_published_datasets_has_words(
    dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    words, layout = composed(), LAYOUTS[dataset]
    words.set_dataset(dataset)
    sources: Any = layout.sources
    names = layout.categories or [source.category for source in sources]
    assert all(len(words.prompts(str(name)).captions) > 3 for name in names)
    assert not caplog.messages


def test_without_expert_words_the_published_general_ones_serve() -> None:
    """The model without expert words has the published general ones."""
    words = composed("model=saa_plus_general")
    words.set_dataset("mvtec")
    assert [text for text, _ in words.prompts("grid").captions] == [
        "defect on grid",
        "damage on grid",
        "flaw on grid",
    ]


def test_words_come_from_the_command_line_and_from_files(tmp_path: Path) -> None:
    """Words change on the command line and new ones come from a file."""
    words = composed(
        "model.method.prompts.tables.mtd.mtd.captions=[dark spot]",
        "model.method.prompts.dataset=mtd",
    )
    assert words.prompts("magnetic_tile").captions[-1] == ("dark spot", "mtd")
    row = "+model.method.prompts.tables.screws.screw={captions:[rust,bent thread],k_mask:3}"
    assert composed(row, "model.method.prompts.dataset=screws").prompts("screw").k_mask == 3
    (tmp_path / "words.yaml").write_text("screw: {captions: [rust]}\n")
    given = f"+model.method.prompts.files.screws={tmp_path}/words.yaml"
    assert composed(given, "model.method.prompts.dataset=screws").prompts("screw").captions[-1] == (
        "rust",
        "screw",
    )


def test_a_table_of_the_configuration_joins_by_its_name() -> None:
    words = composed(
        "+prompts/saa/tables@model.method.prompts.tables.tiles=mtd",
        "model.method.prompts.dataset=tiles",
    )
    assert words.prompts("mtd").captions[-1] == ("defect.", "mtd")


@pytest.mark.parametrize("model", ["saa", "saa_plus", "saa_plus_general"])
def test_every_row_of_every_model_can_be_asked(model: str) -> None:
    words = composed(f"model={model}")
    for dataset in [*words.tables, *words.datasets]:
        words.set_dataset(dataset)
        rows = words.tables[words.datasets.get(dataset, dataset)]
        assert rows, dataset
        for category in rows:
            asked = words.prompts(category)
            assert all(text.strip() and "{}" not in text for text, _ in asked.captions)
