"""WinCLIP equals anomalib's and WinCLIP-pytorch's, number by number, on weights regenerated from a
seed.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from zsad.backbones.clip.model import CLIP
from zsad.backbones.clip.tokenizer import tokenize
from zsad.config import compose, instantiate
from zsad.functional import patch_windows
from zsad.functional.resample import upsample
from zsad.methods.winclip import Embeddings, WinCLIP
from zsad.prompts.ensemble import PromptEnsemble

EMBEDDINGS, SCORES, SHARP, FEW_SHOT, AGGREGATION = (
    2e-5,
    2e-5,
    1e-4,
    3e-5,
    1e-6,
)  # max|difference| / max|reference|
GEOMETRY = ("patch", "vision_width", "vision_layers", "embed_dim", "text_width", "text_layers")
# What a file takes where it does not say otherwise.
PUBLISHED = {"scales": [2, 3], "temperature": 0.07, "sharp_temperature": 0.01}

IMAGES, REFERENCES = {"images"}, {"images", "references"}
ASSOCIATIONS = r"(patch_association|window_association\.scale\d+|association_map(\.scale\d+)?)"
# Kind of reference quantity -> what it is computed from, besides the weights.
INPUTS: dict[str, set[str]] = {
    r"masks\.scale(\d+)": set(),
    r"text\.(.+)\.(tokens|prompt_embeddings)_(normal|anomalous)": set(),
    r"text\.(.+)\.features": set(),
    r"tokens_before_blocks|image_embedding|patch_embeddings|window_embeddings\.scale(\d+)": IMAGES,
    r"reference\.(patch_embeddings|window_embeddings\.scale(\d+))": {"references"},
    r"zero_shot(_sharp)?\.(.+)\."
    r"(image_score|window_score\.scale(\d+)|map\.scale(\d+)|map|pixel_map)": IMAGES,
    rf"few_shot\.k(\d+)\.{ASSOCIATIONS}": REFERENCES,
    r"few_shot\.k(\d+)\.(.+)\.(image_score|map|pixel_map)": REFERENCES,
    r"alternative\.patch_tokens": IMAGES,
    r"alternative\.reference\.patch_tokens": {"references"},
    r"alternative\.few_shot\.k(\d+)\.(.+\.)?"
    r"(patch_association|association_map|map_sum|image_score)": REFERENCES,
}


@functools.cache
def prompts() -> PromptEnsemble:
    config = compose.compose_config(
        "test", ["model=winclip", "backbone=pocket", "paths.output_dir=/nowhere"]
    )
    return instantiate.build(config.model.method.prompts)


@dataclass
class Case:
    """One golden file, or a part of one: its numbers, and our model on its weights, built when it
    is first asked.
    """

    config: dict[str, Any]
    golden: dict[str, Tensor]
    folder: Path

    @functools.cached_property
    def backbone(self) -> CLIP:
        size = self.config["patch"] * self.config["grid"]
        geometry = {"image_size": size, **{name: self.config[name] for name in GEOMETRY}}
        shape = "-".join(map(str, geometry.values()))
        path = self.folder / f"winclip-seed{self.config['seed']}-{shape}.safetensors"
        if not path.exists():
            state = tiny_clip.tiny_clip_state_dict(self.config["seed"], **geometry)
            save_file({name: torch.from_numpy(array) for name, array in state.items()}, path)
        return CLIP(pretrained=str(path), quick_gelu=False)

    def method(self, *, sharp: bool = False, patch_norm: bool = True) -> WinCLIP:
        temperature = self.config["sharp_temperature" if sharp else "temperature"]
        scales = self.config["scales"]
        return WinCLIP(
            self.backbone, prompts(), scales=scales, temperature=temperature, patch_norm=patch_norm
        )

    def pixels(self, name: str) -> Tensor:
        return self.golden[name].permute(0, 3, 1, 2).float() / 255

    @functools.cache  # noqa: B019 (a case lives as long as its test)
    def seen(self, name: str = "images", *, patch_norm: bool = True) -> Embeddings:
        return self.method(patch_norm=patch_norm).embed(self.pixels(name), with_patches=True)

    def __hash__(self) -> int:
        return id(self)

    @property
    def categories(self) -> list[str]:
        """The categories that the few-shot quantities name; any one where they name none, as
        associations do.
        """
        named = re.compile(
            r"(?:alternative\.)?few_shot\.k\d+\.(.+)\.(?:image_score|map|map_sum|pixel_map)"
        )
        return sorted({match[1] for name in self.golden if (match := named.fullmatch(name))}) or [
            "object"
        ]

    def holding(self, pattern: str) -> list[tuple[str, re.Match[str]]]:
        """Return the reference quantities of a kind that come with what they are computed from;
        skip without any.
        """
        held = [
            (name, match)
            for name in self.golden
            if (match := re.fullmatch(pattern, name)) and self.can_try(name)
        ]
        if not held:
            pytest.skip(f"the file holds no {pattern}, or not what it is computed from")
        return held

    def can_try(self, name: str) -> bool:
        needed = [inputs for pattern, inputs in INPUTS.items() if re.fullmatch(pattern, name)]
        return bool(needed) and needed[0] <= self.golden.keys()

    def compare(self, name: str, ours: Tensor, bound: float) -> None:
        """Compare a quantity with the reference, where the file holds it."""
        if name in self.golden and self.can_try(name):
            assert_close(ours, self.golden[name], bound, name)


def assert_close(ours: Tensor, reference: Tensor, bound: float, name: str) -> None:
    assert ours.shape == reference.shape, name
    difference = (ours.double() - reference.double()).abs().max()
    assert float(difference) <= bound * float(reference.double().abs().max()), name


@pytest.fixture
def winclip_case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    with np.load(request.param) as archive:
        config = PUBLISHED | json.loads(str(archive["config"]))
        golden = {
            key: torch.from_numpy(archive[key])
            for key in archive.files
            if archive[key].dtype.kind in "biuf"
        }
    return Case(config, golden, tmp_path_factory.getbasetemp())


@pytest.fixture
def winclip_texts(request: pytest.FixtureRequest) -> dict[str, dict[str, list[str]]]:
    content = json.loads(request.param.read_text(encoding="utf-8"))
    return {name: texts for name, texts in content.items() if isinstance(texts, dict)}


@pytest.fixture
def window_cases(request: pytest.FixtureRequest) -> dict[str, dict[str, Tensor]]:
    cases: dict[str, dict[str, Tensor]] = {}
    with np.load(request.param) as archive:
        for key in archive.files:
            if match := re.fullmatch(r"(\d+x\d+\.kernel\d+\.stride\d+)\.(\w+)", key):
                cases.setdefault(match[1], {})[match[2]] = torch.from_numpy(archive[key])
    return cases


def geometry(case: str) -> tuple[tuple[int, int], int, int]:
    height, width, size, stride = (int(number) for number in re.findall(r"\d+", case))
    return (height, width), size, stride


def test_sentences_of_every_category(winclip_texts: dict[str, dict[str, list[str]]]) -> None:
    compared = 0
    for category, texts in winclip_texts.items():
        for ours, role in zip(prompts().sentences(category), ("normal", "anomalous"), strict=True):
            if role in texts:
                assert ours == texts[role], (category, role)
                compared += 1
    assert compared


def test_windows_hold_the_published_patches(window_cases: dict[str, dict[str, Tensor]]) -> None:
    with_masks = {case: arrays["mask"] for case, arrays in window_cases.items() if "mask" in arrays}
    if not with_masks:
        pytest.skip("the file holds no masks")
    for case, mask in with_masks.items():
        assert torch.equal(patch_windows.window_indices(*geometry(case)).T, mask.long()), case


def test_harmonic_aggregation_in_single_and_in_double_precision(
    window_cases: dict[str, dict[str, Tensor]],
) -> None:
    compared = 0
    for case, arrays in window_cases.items():
        for name in (
            {"aggregated", "aggregated_float64"} & arrays.keys()
            if "window_scores" in arrays
            else ()
        ):
            reference = arrays[name]
            scores = arrays["window_scores"][: len(reference)].to(reference.dtype)
            ours = patch_windows.harmonic_map(scores, *geometry(case))
            for row, (one, other) in enumerate(
                zip(ours, reference, strict=True)
            ):  # of very different sizes
                assert_close(one, other, AGGREGATION, f"{case}.{name}, row {row}")
            compared += 1
    if not compared:
        pytest.skip("the file holds no aggregation with its scores")


def test_the_file_holds_something_that_is_compared(winclip_case: Case) -> None:
    assert any(winclip_case.can_try(name) for name in winclip_case.golden), sorted(
        winclip_case.golden
    )


def test_something_of_the_window_cases_is_compared(
    window_cases: dict[str, dict[str, Tensor]],
) -> None:
    assert any("mask" in arrays or len(arrays) > 1 for arrays in window_cases.values()), sorted(
        window_cases
    )


def test_masks_of_every_scale(winclip_case: Case) -> None:
    for name, match in winclip_case.holding(r"masks\.scale(\d+)"):
        grid = winclip_case.config["grid"]
        assert torch.equal(
            patch_windows.window_indices((grid, grid), int(match[1])).T,
            winclip_case.golden[name].long(),
        )


def test_token_ids_and_single_sentences(winclip_case: Case) -> None:
    case = winclip_case
    for name, match in case.holding(r"text\.(.+)\.(tokens|prompt_embeddings)_(normal|anomalous)"):
        ids = tokenize(prompts().sentences(match[1])[match[3] == "anomalous"])
        if match[2] == "tokens":
            assert torch.equal(ids.int(), case.golden[name]), name
        else:
            case.compare(name, case.backbone.encode_text(ids), EMBEDDINGS)


def test_text_features_of_every_category(winclip_case: Case) -> None:
    for name, match in winclip_case.holding(r"text\.(.+)\.features"):
        winclip_case.compare(name, prompts().encode(winclip_case.backbone, match[1]), EMBEDDINGS)


def test_tokens_before_the_blocks(winclip_case: Case) -> None:
    winclip_case.holding("tokens_before_blocks")
    entering: list[Tensor] = []
    before = winclip_case.backbone.model.visual.ln_pre.register_forward_pre_hook(
        lambda _, x: entering.append(x[0])
    )
    backbone = winclip_case.backbone
    backbone.encode_image(backbone.normalize(winclip_case.pixels("images")))
    before.remove()
    winclip_case.compare("tokens_before_blocks", entering[0], EMBEDDINGS)


@pytest.mark.parametrize(("prefix", "pictures"), [("", "images"), (r"reference\.", "references")])
def test_embeddings_of_images_patches_and_windows(
    winclip_case: Case, prefix: str, pictures: str
) -> None:
    case = winclip_case
    case.holding(prefix + r"(image_embedding|patch_embeddings|window_embeddings\.scale\d+)")
    seen, prefix = case.seen(pictures), prefix.replace("\\", "")
    case.compare(f"{prefix}image_embedding", seen.image, EMBEDDINGS)
    case.compare(f"{prefix}patch_embeddings", seen.patches, EMBEDDINGS)
    for scale, embeddings in zip(case.config["scales"], seen.windows, strict=True):
        case.compare(f"{prefix}window_embeddings.scale{scale}", embeddings, EMBEDDINGS)


@pytest.mark.parametrize(("kind", "bound"), [("zero_shot", SCORES), ("zero_shot_sharp", SHARP)])
def test_zero_shot_scores_and_maps(winclip_case: Case, kind: str, bound: float) -> None:
    case = winclip_case
    held = case.holding(
        rf"{kind}\.(.+?)\.(image_score|window_score\.scale\d+|map\.scale\d+|map|pixel_map)"
    )
    method, seen = case.method(sharp=kind.endswith("sharp")), case.seen()
    for category in {match[1] for _, match in held}:
        image, scales = method.text_margins(seen, [category] * len(seen.image))
        ours = {
            "image_score": image.sigmoid(),
            "map": method.language_map(image, scales, seen.grid),
            "pixel_map": method(case.pixels("images"), [category] * len(seen.image)).map,
        }
        for scale, margins in zip(case.config["scales"], scales, strict=True):
            ours[f"window_score.scale{scale}"] = margins.sigmoid()
            ours[f"map.scale{scale}"] = patch_windows.harmonic_map(
                margins.sigmoid(), seen.grid, scale
            )
        for name, quantity in ours.items():
            case.compare(f"{kind}.{category}.{name}", quantity, bound)


def remembering(case: Case, count: int, categories: list[str], *, patch_norm: bool) -> WinCLIP:
    method = case.method(patch_norm=patch_norm)
    for category in categories:
        method.set_references(category, case.pixels("references")[:count])
    return method


def few_shot(case: Case, pattern: str, *, patch_norm: bool) -> Iterator[tuple[str, str, WinCLIP]]:
    """Yield the prefix of the names, the category and a method that knows the references, for all
    that the file has.
    """
    held = case.holding(pattern)
    classes = case.categories
    for shots in sorted({int(match[1]) for _, match in held}):
        prefix = f"{pattern.partition('few_shot')[0]}few_shot.k{shots}".replace("\\", "")
        method = remembering(case, shots, classes, patch_norm=patch_norm)
        yield from ((prefix, category, method) for category in classes)


@pytest.mark.parametrize("patch_norm", [True, False], ids=["anomalib", "WinCLIP-pytorch"])
def test_associations_with_the_references(winclip_case: Case, patch_norm: bool) -> None:
    case = winclip_case
    pattern = rf"few_shot\.k(\d+)\.{ASSOCIATIONS}"
    for prefix, category, method in few_shot(
        case, ("" if patch_norm else r"alternative\.") + pattern, patch_norm=patch_norm
    ):
        seen = case.seen(patch_norm=patch_norm)
        patches, scales = method.associations(seen, [category] * len(seen.image))
        case.compare(f"{prefix}.patch_association", patches, FEW_SHOT)
        case.compare(
            f"{prefix}.association_map",
            method.association_map(patches, scales, seen.grid),
            FEW_SHOT,
        )
        for scale, associations in zip(case.config["scales"], scales, strict=True):
            case.compare(f"{prefix}.window_association.scale{scale}", associations, FEW_SHOT)
            scale_map = patch_windows.harmonic_map(associations, seen.grid, scale)
            case.compare(f"{prefix}.association_map.scale{scale}", scale_map, FEW_SHOT)


@pytest.mark.parametrize("patch_norm", [True, False], ids=["anomalib", "WinCLIP-pytorch"])
def test_few_shot_scores_and_maps(winclip_case: Case, patch_norm: bool) -> None:
    case = winclip_case
    pattern = r"few_shot\.k(\d+)\.(.+)\.(image_score|map|map_sum|pixel_map)"
    for prefix, category, method in few_shot(
        case, ("" if patch_norm else r"alternative\.") + pattern, patch_norm=patch_norm
    ):
        seen, image = case.seen(patch_norm=patch_norm), case.pixels("images")
        names = [category] * len(image)
        prediction = method(image, names)
        case.compare(f"{prefix}.{category}.image_score", prediction.probability, FEW_SHOT)
        case.compare(f"{prefix}.{category}.pixel_map", prediction.map, FEW_SHOT)
        language = method.language_map(*method.text_margins(seen, names), seen.grid)
        patch_map = (
            language + method.association_map(*method.associations(seen, names), seen.grid)
        ) / 2
        assert_close(
            upsample(patch_map, image.shape[-2:]),
            prediction.map,
            1e-6,
            "the map that a prediction has",
        )
        case.compare(f"{prefix}.{category}.map", patch_map, FEW_SHOT)
        case.compare(f"{prefix}.{category}.map_sum", 2 * patch_map, FEW_SHOT)


def test_patch_tokens_without_the_final_layer_norm(winclip_case: Case) -> None:
    held = winclip_case.holding(r"alternative\.(reference\.)?patch_tokens")
    for name, match in held:
        seen = winclip_case.seen("references" if match[1] else "images", patch_norm=False)
        winclip_case.compare(name, seen.patches, EMBEDDINGS)
