"""Hand-written prompts: which sentences, which mean, and what is remembered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize
from zsad.config import compose, instantiate
from zsad.prompts.ensemble import CategoryTexts, PromptEnsemble

TEXTS = st.lists(st.text("abc {}", max_size=8), min_size=1, max_size=3)
TEMPLATES = st.lists(
    st.tuples(st.text("xy ", max_size=4), st.text("xy .", max_size=4)).map("{}".join), min_size=1
)


def configured(name: str, *overrides: str) -> PromptEnsemble:
    choice = f"prompts/ensemble@model.method.prompts={name}"
    config = compose.compose_config(
        "test", ["model=clip", choice, "paths.output_dir=/nowhere", *overrides]
    )
    return instantiate.build(config.model.method.prompts)


@pytest.fixture
def prompts() -> PromptEnsemble:
    return PromptEnsemble(["{}", "flawless {}"], ["damaged {}"], ["a photo of a {}.", "the {}."])


@pytest.fixture
def count_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[PromptEnsemble], list[str]]:
    def watch(prompts: PromptEnsemble) -> list[str]:
        asked, encode = [], prompts.encode
        monkeypatch.setattr(
            prompts, "encode", lambda backbone, name: asked.append(name) or encode(backbone, name)
        )
        return asked

    return watch


@given(normal=TEXTS, anomalous=TEXTS, templates=TEMPLATES, name=st.text("pq{} ", max_size=5))
def test_every_state_meets_every_template(
    normal: list[str], anomalous: list[str], templates: list[str], name: str
) -> None:
    """Every state meets every template and a name is never read as a pattern."""
    said = PromptEnsemble(normal, anomalous, templates).sentences(name)
    for sentences, states in zip(said, (normal, anomalous), strict=True):
        spoken = [name.join(state.split("{}")) for state in states]
        assert sentences == [
            state.join(template.split("{}")) for state in spoken for template in templates
        ]


def test_a_category_can_have_another_name_in_sentences() -> None:
    """A category can have another name in its sentences than in the dataset."""
    prompts = PromptEnsemble(["{}"], ["bad {}"], ["a {}."], names={"metal_nut": "metal nut"})
    assert prompts.sentences("metal_nut") == (["a metal nut."], ["a bad metal nut."])
    assert prompts.sentences("pcb1") == (["a pcb1."], ["a bad pcb1."])


@pytest.mark.parametrize("empty", ["normal", "anomalous", "templates"])
def test_an_empty_list_names_itself(empty: str) -> None:
    lists = {"normal": ["{}"], "anomalous": ["bad {}"], "templates": ["a {}."], empty: []}
    with pytest.raises(
        ValueError, match=f"{empty} is empty: a prompt ensemble needs one text or more"
    ):
        PromptEnsemble(**lists)


@pytest.mark.parametrize("single", ["normal", "anomalous", "templates"])
def test_a_text_instead_of_a_list_is_not_taken_letter_by_letter(single: str) -> None:
    lists = {"normal": ["{}"], "anomalous": ["bad {}"], "templates": ["a {}."], single: "{}"}
    with pytest.raises(
        ValueError, match=rf"{single}='{{}}': expected a list of texts, such as \['{{}}'\]"
    ):
        PromptEnsemble(**lists)


def test_a_template_without_a_place_for_the_state_is_refused() -> None:
    """A template that would make both states the same sentence is refused."""
    with pytest.raises(
        ValueError, match=r"'a photo' has no \{\}: both states would become the same sentence"
    ):
        PromptEnsemble(["{}"], ["bad {}"], ["a {}.", "a photo"])


def test_the_feature_is_the_plain_mean_of_single_sentences(
    prompts: PromptEnsemble, tiny_backbone: CLIP
) -> None:
    features = prompts.encode(tiny_backbone, "nut")
    for row, sentences in zip(features, prompts.sentences("nut"), strict=True):
        alone = torch.cat(
            [tiny_backbone.encode_text(tokenize([sentence])) for sentence in sentences]
        )
        torch.testing.assert_close(row, alone.mean(dim=0), atol=1e-5, rtol=1e-5)


def test_normalize_each_gives_all_vectors_the_same_weight(tiny_backbone: CLIP) -> None:
    """With normalize each long vectors have no more say than short ones."""
    prompts = PromptEnsemble(
        ["{}"], ["bad {}"], ["a photo of a {}.", "the {}."], normalize_each=True
    )
    features = prompts.encode(tiny_backbone, "nut")
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2))
    first, second = tiny_backbone.encode_text(tokenize(["a photo of a nut.", "the nut."]))
    torch.testing.assert_close(
        features[0] @ first / first.norm(), features[0] @ second / second.norm()
    )


def test_many_sentences_are_encoded_in_chunks(tiny_backbone: CLIP) -> None:
    """Many sentences are encoded in parts of which none is lost."""
    states = [f"{word} {{}}" for word in ("one", "two", "three")]
    templates = [f"picture {number} of a {{}}." for number in range(50)]
    features = PromptEnsemble(states, ["bad {}"], templates).encode(tiny_backbone, "nut")
    said, _ = PromptEnsemble(states, ["bad {}"], templates).sentences("nut")
    assert len(said) == 150
    torch.testing.assert_close(features[0], tiny_backbone.encode_text(tokenize(said)).mean(dim=0))


def test_a_batch_gets_the_texts_of_its_categories_in_its_order(
    prompts: PromptEnsemble, tiny_backbone: CLIP
) -> None:
    features = CategoryTexts(prompts).features(tiny_backbone, ["nut", "cork", "nut"])
    assert features.shape == (3, 2, 64)
    assert torch.equal(features[0], prompts.encode(tiny_backbone, "nut"))
    assert torch.equal(features[1], prompts.encode(tiny_backbone, "cork"))
    assert torch.equal(features[2], features[0])


def test_a_category_is_encoded_once(
    prompts: PromptEnsemble, tiny_backbone: CLIP, count_calls: Callable[[PromptEnsemble], list[str]]
) -> None:
    asked, texts = count_calls(prompts), CategoryTexts(prompts)
    for names in (["nut"], ["nut", "cork"], ["cork", "nut"]):
        texts.features(tiny_backbone, names)
    assert asked == ["nut", "cork"]


def test_texts_of_one_precision_are_not_used_in_another(
    prompts: PromptEnsemble, tiny_backbone: CLIP
) -> None:
    texts = CategoryTexts(prompts)
    full = texts.features(tiny_backbone, ["nut"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = texts.features(tiny_backbone, ["nut"])
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    assert torch.equal(texts.features(tiny_backbone, ["nut"]), full)
    assert not torch.equal(texts.features(tiny_backbone.double(), ["nut"]), full)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a second device is needed")
def test_texts_follow_the_backbone_to_another_device(
    prompts: PromptEnsemble, tiny_backbone: CLIP
) -> None:
    texts = CategoryTexts(prompts)
    before = texts.features(tiny_backbone, ["nut"])
    after = texts.features(tiny_backbone.to("cuda"), ["nut"])
    assert after.device.type == "cuda"
    torch.testing.assert_close(after.cpu(), before, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "normal", "anomalous"),
    [
        ("winclip", 147, 84),
        ("winclip_paper", 154, 88),
        ("winclip_caoyunkang", 154, 88),
        ("clip", 1, 1),
        ("clip_ac", 80, 80),
        ("clip_ac_winclip", 1, 1),
    ],
)
def test_each_ensemble_has_the_published_number_of_sentences(
    name: str, normal: int, anomalous: int
) -> None:
    said = configured(name).sentences("metal_nut")
    assert [len(sentences) for sentences in said] == [normal, anomalous]
    assert all("metal_nut" in sentence for sentences in said for sentence in sentences)


def test_every_ensemble_of_the_configuration_is_checked_here() -> None:
    checked = {
        "winclip",
        "winclip_paper",
        "winclip_caoyunkang",
        "clip",
        "clip_ac",
        "clip_ac_winclip",
    }
    assert set(compose.choices("prompts/ensemble")) == checked


def test_the_lists_of_winclip_hardly_differ() -> None:
    """The lists of winclip differ in one template and in full stops only."""
    code, paper, plain = (
        configured(name) for name in ("winclip", "winclip_paper", "winclip_caoyunkang")
    )
    assert set(paper.templates) - set(code.templates) == {
        "a cropped photo of a {}.",
        "a jpeg corrupted photo of a {}.",
    }
    assert set(code.templates) < set(paper.templates)
    assert len(set(code.templates)) == 20  # one of the 21 stands there twice
    assert [template.removesuffix(".") for template in paper.templates] == list(plain.templates)
    assert code.normal == paper.normal == plain.normal
    assert code.anomalous == paper.anomalous == plain.anomalous


def test_names_can_be_given_on_the_command_line() -> None:
    """A name for the sentences can be given on the command line."""
    prompts = configured("clip", '+model.method.prompts.names.metal_nut="metal nut"')
    assert prompts.sentences("metal_nut")[0] == ["A photo of a normal metal nut"]
