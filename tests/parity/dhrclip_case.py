"""A golden file of DHR-CLIP, or a part of one: its numbers, its pictures, and our model on its
weights.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clip
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from zsad.backbones.clip.build import OPENAI_MEAN, OPENAI_STD
from zsad.backbones.clip.model import CLIP, ImageFeatures
from zsad.data.masks import resize_mask
from zsad.functional.resample import resize_levels
from zsad.methods.dhrclip import DHRCLIP
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.types import Batch, Prediction

# Quantity -> what it rests on: the whole view, the tiles, and that tiles are pasted where they were
# cut (placed).
TEXT, WHOLE, TILES, ALL = "", "whole", "tiles", "whole tiles placed"
RESTS_ON = {
    **dict.fromkeys(("text_features", "tokenized_prompts", "posembed_native", "layer_alias"), TEXT),
    **dict.fromkeys(
        ("global_input", "posembed_global", "patch_features_global", "token_prob_global"), WHOLE
    ),
    **dict.fromkeys(("map_global", "cos_global", "map_global_last"), WHOLE),
    **dict.fromkeys(("image_features", "image_logits", "image_loss"), WHOLE),
    **dict.fromkeys(("tile_input", "posembed_tile", "patch_features", "token_prob_tiles"), TILES),
    **dict.fromkeys(("map_tiles", "dot_tiles_mean", "map_tiles_last"), "tiles placed"),
    **dict.fromkeys(
        ("map_fused", "map_sum", "map_smooth", "map_final", "score_logits", "score"), ALL
    ),
    **dict.fromkeys(
        ("loss_terms", "loss", "grad", "param_after", "map_fused_last", "map_fused_layer0"), ALL
    ),
    **dict.fromkeys(
        ("posembed_after", "metric_image-auroc", "metric_image-ap", "metric_pixel-auroc"), ALL
    ),
    **dict.fromkeys(("metric_pixel-aupro", "metric_pixel-f1"), ALL),
    "cls_features": WHOLE,
    "param0": TEXT,
}


def parse(key: str) -> tuple[str, int, str]:
    """Return (``img`` or ``step`` or nothing, its number, the quantity) of a key."""
    match = re.fullmatch(r"(?:(img|step)(\d+)_)?([^.]+)(\..+)?", key)
    assert match is not None, key
    return match[1] or "", int(match[2] or 0), match[3]


@dataclass(eq=False)
class Case:
    """A golden file, or a part of one: its numbers, its images, and our model on its weights."""

    config: dict[str, Any]
    golden: dict[str, Tensor]
    canvases: dict[int, Tensor]
    masks: dict[int, Tensor]
    mistakes: frozenset[str]
    folder: Path

    @functools.cached_property
    def method(self) -> DHRCLIP:
        return _method(self)

    @property
    def canvas(self) -> int:
        return self.config["target_image_size"]

    @property
    def first_dual(self) -> int:
        """First block with the value path: the published number counts one too many."""
        return self.config["clip"]["vision_layers"] - self.config["dpam"] + 2

    @property
    def blocks(self) -> list[int]:
        """What the requested layers really are: from the one before the value path on, all are the
        last block's.
        """
        depth, requested = (
            self.config["clip"]["vision_layers"],
            sorted(self.config["features_list"]),
        )
        return [block if block <= self.first_dual - 2 else depth for block in requested]

    @property
    def distinct(self) -> list[int]:
        """Where each distinct layer first stands among the requested ones."""
        return [self.blocks.index(block) for block in dict.fromkeys(self.blocks)]

    @property
    def grids(self) -> tuple[int, int, int]:
        patch = self.config["clip"]["patch"]
        sides = (
            self.config["clip"]["image_size"],
            self.config["image_size"],
            self.config["patch_image_size"],
        )
        return tuple(side // patch for side in sides)  # native, whole view, tiles

    def is_comparable(self, key: str) -> bool:
        """Tell whether the file holds a number with its inputs, and none of the mistakes has a part
        in it.
        """
        if key not in self.golden:
            return False
        kind, number, quantity = parse(key)
        if quantity == "gt":
            return all(
                picture in self.masks
                for picture in ([number] if kind == "img" else self.order[number])
            )
        rests_on = RESTS_ON.get(quantity, "unknown").split()
        if kind == "step" and number > 0:
            rests_on = ALL.split()  # the prompts have learned from the steps before
        elif quantity.startswith("posembed") and rests_on:
            return self._has_clean_positions("tiles" in rests_on, number == 0 and bool(kind))
        if "unknown" in rests_on or (rests_on and "patches" in self.mistakes):
            return False
        clean = not rests_on or self._has_clean_positions(
            "tiles" in rests_on, number == 0 and bool(kind)
        )
        placed = "placed" not in rests_on or "placement" not in self.mistakes
        return clean and placed and (not rests_on or self._has_inputs(kind, number))

    def need(self, pattern: str) -> list[str]:
        """Return the comparable keys of a form, or skip the test."""
        keys = [
            key for key in self.golden if re.fullmatch(pattern, key) and self.is_comparable(key)
        ]
        if not keys:
            aside = f"; left aside: {', '.join(sorted(self.mistakes))}" if self.mistakes else ""
            pytest.skip(
                f"nothing like {pattern} that can be compared (with its pictures beside it){aside}"
            )
        return keys

    def compare(self, key: str, ours: Tensor, bound: float) -> None:
        """Compare a quantity with the reference, where the file holds it."""
        if self.is_comparable(key):
            reference = self.golden[key]
            rows = self._trusted_rows(key)
            _assert_close(ours.detach().reshape(reference.shape)[rows], reference[rows], bound, key)

    @functools.cache  # noqa: B019 (a case lives as long as the tests)
    def seen(self, picture: int) -> tuple[ImageFeatures, ImageFeatures]:
        return self.method.encode_views(self.canvases[picture])

    def predict(self, picture: int) -> Prediction:
        return self.method(self.canvases[picture], ["x"])

    @functools.cached_property
    def order(self) -> list[list[int]]:
        """The pictures of every training step: file order, all of them in every epoch."""
        steps = range(
            1 + max((parse(key)[1] for key in self.golden if key.startswith("step")), default=-1)
        )
        sizes = [self._step_size(step) for step in steps]
        per_epoch = max(sum(sizes) // self.config.get("epochs", 1), 1)
        starts = [sum(sizes[:step]) for step in steps]
        return [
            [i % per_epoch for i in range(start, start + size)]
            for start, size in zip(starts, sizes, strict=True)
        ]

    @functools.cached_property
    def training(self) -> list[dict[str, Tensor]]:
        return _train(self)

    def _trusted_rows(self, key: str) -> Any:
        """Of features of several views, choose those that none of the mistakes touches."""
        quantity = parse(key)[2]
        tiles = (
            slice(1) if "placement" in self.mistakes else slice(None)
        )  # the first tile is always in its place
        if quantity == "cls_features":  # the whole view, then the tiles
            clean = self._has_clean_positions(for_tiles=True, first=parse(key)[1] == 0)
            return slice(1 if not clean else 1 + len(range(4)[tiles]))
        return (
            tiles
            if RESTS_ON.get(quantity) == TILES and not quantity.startswith("posembed")
            else ...
        )

    def _step_size(self, step: int) -> int:
        if f"step{step}_batch" in self.golden:
            return int(self.golden[f"step{step}_batch"])
        return len(self.golden.get(f"step{step}_label", range(self.config["batch_size"])))

    def _has_clean_positions(self, for_tiles: bool, first: bool) -> bool:
        native, whole, _ = self.grids
        return "positions" not in self.mistakes or (first and (not for_tiles or whole == native))

    def _has_inputs(self, kind: str, number: int) -> bool:
        if kind == "img":
            return number in self.canvases
        steps = self.order[: number + 1] if kind == "step" else [list(self.masks) or [-1]]
        return all(
            picture in self.canvases and picture in self.masks for step in steps for picture in step
        )


def load(path: Path, folder: Path, mistakes_of: Callable[[dict[str, Any]], frozenset[str]]) -> Case:
    """Read a file and find the pictures that belong to it."""
    with np.load(path) as archive:
        config = json.loads(str(archive["config"]))
        golden = {
            key: torch.from_numpy(archive[key])
            for key in archive.files
            if archive[key].dtype.kind in "biuf"
        }
    config = {
        "n_ctx": 12,
        "t_n_ctx": 4,
        "depth": 9,
        "dpam": 20,
        "sigma": 8,
        "batch_size": 8,
    } | config
    config["clip"] = {"patch": 14} | config["clip"]
    canvases, masks = _find_pictures(path, config, golden)
    return Case(config, golden, canvases, masks, mistakes_of(config), folder)


def _find_pictures(
    path: Path, config: dict[str, Any], golden: dict[str, Tensor]
) -> tuple[dict, dict]:
    """Return canvases in [0, 1] and masks: from the pictures beside a file, or else from its own
    tiles.
    """
    truth = {parse(key)[1]: golden[key].bool() for key in golden if re.fullmatch(r"img\d+_gt", key)}
    truth |= dict(enumerate(golden.get("step0_gt", torch.empty(0)).bool()))
    named_alike = sorted(
        path.parent.glob("*.npz"), key=lambda other: f"_s{config['seed']}." not in other.name
    )
    beside = [_read_pictures(other, config["target_image_size"]) for other in named_alike]
    found = [pictures for pictures in beside if pictures[0]]
    if found:  # of several files the one that shows the same defects
        return max(
            found, key=lambda pictures: sum(_shows(pictures[1], *entry) for entry in truth.items())
        )
    tiles = {parse(key)[1]: golden[key] for key in golden if parse(key)[2] == "tile_input"}
    return {number: _canvas(*views) for number, views in tiles.items()}, {
        n: mask[None] for n, mask in truth.items()
    }


def _canvas(*tiles: Tensor) -> Tensor:
    """Return the picture in [0, 1] whose four normalised tiles these are."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    rows = [torch.cat(tiles[row : row + 2], dim=-1) for row in (0, 2)]
    return ((torch.cat(rows, dim=-2) * std + mean) * 255).round() / 255


def _read_pictures(path: Path, canvas: int) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    canvases, masks = {}, {}
    with np.load(path) as archive:
        # A source alone may be one of the pictures of another kind of file, which are not resized
        # to one canvas.
        shown = [re.fullmatch(r"(img\d+)_(label|resized_T\d+)", key) for key in archive.files]
        for picture in dict.fromkeys(match[1] for match in shown if match is not None):
            number = int(picture.removeprefix("img"))
            if f"{picture}_mask_source" in archive.files:
                masks[number] = resize_mask(
                    Image.fromarray(archive[f"{picture}_mask_source"]), canvas
                )[None]
            if f"{picture}_resized_T{canvas}" in archive.files:
                canvases[number] = _to_tensor(archive[f"{picture}_resized_T{canvas}"])
            elif f"{picture}_source" in archive.files:
                canvases[number] = resize_levels(
                    _to_tensor(archive[f"{picture}_source"]), (canvas, canvas)
                )
    return canvases, masks


def _to_tensor(picture: np.ndarray) -> Tensor:
    colours = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
    return torch.from_numpy(colours).permute(2, 0, 1)[None] / 255


def _shows(masks: dict[int, Tensor], number: int, truth: Tensor) -> bool:
    return number in masks and torch.equal(masks[number][0], truth)


def _weight_file(config: dict[str, Any], folder: Path) -> Path:
    """Draw the weights that a configuration stands for, once for all files of it."""
    clip = config["clip"]
    shape = "-".join(str(clip[name]) for name in sorted(clip))
    file = folder / f"dhrclip-seed{config['seed']}-{shape}.safetensors"
    if not file.exists():
        state = tiny_clip.tiny_clip_state_dict(config["seed"], **clip)
        save_file({name: torch.from_numpy(array) for name, array in state.items()}, file)
    return file


def _method(case: Case) -> DHRCLIP:
    config, depth = case.config, case.config["clip"]["vision_layers"]
    method = DHRCLIP(
        CLIP(pretrained=str(_weight_file(config, case.folder))),
        prompts=functools.partial(
            ObjectAgnosticPrompts,
            context_tokens=config["n_ctx"],
            deep_tokens=config["t_n_ctx"],
            deep_blocks=config["depth"],
        ),
        feature_blocks=case.blocks,
        value_attention_from=case.first_dual,
        tower_depth=depth,
        sigma_px=float(config["sigma"]),
        global_px=config["image_size"],
        tile_px=config["patch_image_size"],
        raw_tile_tokens=True,
        per_image_minmax=True,
        dice_by_row=True,
    )
    with torch.no_grad():
        for name, parameter in published_names(method.prompts).items():
            parameter.copy_(torch.from_numpy(learned_numbers(config)[name]).view_as(parameter))
    return method


def learned_numbers(config: dict[str, Any]) -> dict[str, np.ndarray]:
    sizes = {name: config[name] for name in ("n_ctx", "t_n_ctx", "depth")}
    return tiny_clip.tiny_prompt_parameters(
        config["seed"], ctx_dim=config["clip"]["text_width"], **sizes
    )


def published_names(prompts: ObjectAgnosticPrompts, gradient: bool = False) -> dict[str, Tensor]:
    """Return the learned tensors, or their gradients, by the published names; deep prompts one by
    one.
    """
    normal, anomalous, deep = (
        p.grad if gradient else p for p in (prompts.normal, prompts.anomalous, prompts.deep)
    )
    names = {"ctx_pos": normal, "ctx_neg": anomalous}
    return names | {f"compound_prompts_text.{index}": one for index, one in enumerate(deep)}


def two_channels(anomalous: Tensor, dim: int) -> Tensor:
    return torch.stack([1 - anomalous, anomalous], dim=dim)


def _assert_close(ours: Tensor, reference: Tensor, bound: float, name: str) -> None:
    difference = (ours.double() - reference.double()).abs().max()
    assert float(difference) <= bound, f"{name} differs by {float(difference):.2g}"


def _batch(case: Case, pictures: Sequence[int]) -> Batch:
    count = len(pictures)
    masks = torch.cat([case.masks[picture] for picture in pictures])
    canvases = torch.cat([case.canvases[picture] for picture in pictures])
    names = ("x",) * count
    return Batch(
        canvases, masks, torch.ones(count).bool(), masks.any(dim=(1, 2)), names, names, names
    )


def _train(case: Case) -> list[dict[str, Tensor]]:
    """Take the steps of a file, and return of each what the published program wrote down, by its
    names.
    """
    method, log = _method(case), []
    optimizer = torch.optim.Adam(
        method.prompts.parameters(), case.config.get("learning_rate", 1e-3), (0.5, 0.999)
    )
    for pictures in case.order[:1] if case.mistakes else case.order:
        batch = _batch(case, pictures)
        whole, tiles = method.encode_views(batch.image)
        text, logits = method.text_features(), method.image_logits(whole, method.text_features())
        fused = method.fused_maps(whole, tiles, text, case.canvas)
        terms = method.loss(batch)
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen = {
            "text_features": F.normalize(text, dim=-1),
            "image_features": F.normalize(whole.image, dim=-1),
            "image_logits": logits,
            "image_loss": F.cross_entropy(logits, batch.is_anomalous.long()),
            "loss_terms": torch.stack(
                [terms[name] for name in ("focal", "dice_anomalous", "dice_normal")]
            ),
            "loss": loss,
            "map_fused_last": two_channels(fused[-1], 1),
            "map_fused_layer0": two_channels(fused[0], 1),
            "map_global_last": two_channels(method.whole_maps(whole, text, case.canvas)[-1], 1),
            "map_tiles_last": two_channels(method.tile_maps(tiles, text, case.canvas)[-1], 1),
        }
        learned = published_names(method.prompts)
        seen |= {
            f"grad.{name}": tensor
            for name, tensor in published_names(method.prompts, gradient=True).items()
        }
        log.append(
            seen
            | {f"param_after.{name}": tensor.detach().clone() for name, tensor in learned.items()}
        )
    return log
