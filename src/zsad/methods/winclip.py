"""WinCLIP: hand-written prompts and windows, zero-shot; with a few normal references, few-shot ("WinCLIP+").

J. Jeong, Y. Zou, T. Kim, D. Zhang, A. Ravichandran, O. Dabeer. CVPR 2023, arXiv 2303.14814. No code of the authors is
public. The numbers are those of the two reimplementations that agree with each other, anomalib 2.7 and WinCLIP-pytorch;
where these two differ, this follows anomalib.

Legend: B images, N patches on an h × w grid, S scales, W windows of a scale, V vision width, E joint width, R rows of a
memory. Index 1 is anomalous.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP
from zsad.functional import patch_windows, similarity
from zsad.functional.resample import mirrored, upsample
from zsad.methods.tiling import Tiling
from zsad.prompts.ensemble import CategoryTexts, PromptEnsemble
from zsad.prompts.rewording import copy_sharing_weights
from zsad.types import Prediction

_LEAST = 1e-7  # a probability of 0 has no finite logit


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What CLIP says of images, of their windows and of their patches. Nothing is of unit length.

    Attributes:
        image: (B, E).
        windows: For each scale (B, W, E), windows row by row.
        patches: (B, N, V), not projected; ``None`` where nothing will be compared with references.
        grid: Patches per column and per row.
    """

    image: Tensor
    windows: tuple[Tensor, ...]
    patches: Tensor | None
    grid: tuple[int, int]

    def select(self, images: Tensor) -> "Embeddings":
        """Return what was seen of some of the images, given by their numbers."""
        patches = None if self.patches is None else self.patches[images]
        return Embeddings(
            self.image[images], tuple(scale[images] for scale in self.windows), patches, self.grid
        )


class WinCLIP(nn.Module):
    """Compare the image, and every window of it, with sentences about *normal* and *anomalous* things of its category.

    With references (``set_references``), patches and windows are also compared with those of normal
    images. Nothing learns.

    Args:
        backbone: The frozen CLIP. Published: ViT-B/16+ at 240 pixels.
        prompts: The hand-written sentences.
        scales: Sides of the windows, in patches.
        temperature: Divides every cosine with a text. CLIP's initial 0.07, not its learned 0.01.
        patch_norm: Whether patches pass CLIP's final layer norm before they are compared with references. anomalib
            does it, WinCLIP-pytorch does not; which one the paper means is not known.
        tiling: Looks at tiles beside the whole image, zero-shot; ``None`` (published) for the whole alone.

    Raises:
        ValueError: If there is no scale, or one below 1.
    """

    def __init__(
        self,
        backbone: CLIP,
        prompts: PromptEnsemble,
        *,
        scales: Sequence[int] = (2, 3),
        temperature: float = 0.07,
        patch_norm: bool = True,
        tiling: Tiling | None = None,
    ) -> None:
        super().__init__()
        if not scales or min(scales) < 1:
            raise ValueError(
                f"scales={list(scales)}: expected sides of windows in patches, such as [2, 3]"
            )
        self.backbone = backbone
        self.texts = CategoryTexts(prompts)
        self.scales = tuple(scales)
        self.temperature = temperature
        self.patch_norm = patch_norm
        self.tiling = tiling
        self._memory: dict[str, tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1], each with the sentences and the references of its own category.

        The zero-shot score is the margin of the two cosines. The few-shot score is published as a number in [0, 1],
        the mean of the zero-shot probability and the largest association; it is given as the logit of that.
        Categories without references are scored zero-shot; so categories of both kinds cannot be ranked together.
        """
        size = (image.shape[-2], image.shape[-1])
        if self.tiling is None:
            score, patch_map = self.compare(image, category)
            return Prediction(upsample(patch_map, size), score)

        def margins_of(
            tiles: Float[Tensor, "n 3 t_h t_w"], rows: Int[Tensor, " n"]
        ) -> Float[Tensor, "1 n h w"]:
            _, maps = self.compare(self._widened(tiles), [category[int(row)] for row in rows])
            height, width = (side // self.backbone.patch_size for side in tiles.shape[-2:])
            return maps[None, :, :height, :width].logit(eps=_LEAST)

        score, patch_map = self.compare(
            self.tiling.whole_view(image, self.backbone.input_size), category
        )
        whole = patch_map.logit(eps=_LEAST)[None]
        return Prediction(
            self.tiling.maps(image, whole, margins_of, self.backbone.patch_size)[0], score
        )

    def compare(
        self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b gh gw"]]:
        """Return the score of images and the probability of *anomalous* of each patch."""
        seen = self.embed(image, with_patches=not self._memory.keys().isdisjoint(category))
        score, window_margins = self.text_margins(seen, category)
        patch_map = self.language_map(score, window_margins, seen.grid)
        remembered = [i for i, name in enumerate(category) if name in self._memory]
        if remembered:
            rows = torch.tensor(remembered, device=score.device)
            associations = self.associations(seen.select(rows), [category[i] for i in remembered])
            association_map = self.association_map(*associations, seen.grid)
            patch_map = patch_map.index_copy(0, rows, (patch_map[rows] + association_map) / 2)
            few_shot = similarity.mean_margin(score[rows], similarity.peak_margin(association_map))
            score = score.index_copy(0, rows, few_shot)
        return score, patch_map

    def with_prompt_words(self, words: Mapping[str, str]) -> WinCLIP:
        """Return the method on the same weights, with other words for its states."""
        reworded = copy_sharing_weights(self)
        reworded.texts = self.texts.with_words(words)
        reworded._memory = dict(self._memory)
        return reworded

    def clear_references(self) -> None:
        """Forget the references of all categories: another dataset may have categories of the same names."""
        self._memory.clear()

    @torch.no_grad()
    def set_references(self, category: str, images: Iterable[Float[Tensor, "3 h w"]]) -> None:
        """Keep what normal images in [0, 1] look like; from then on their category is scored few-shot.

        What was remembered of the category before is forgotten.

        Raises:
            ValueError: If there are no images, or tiles would have to be compared with whole references.
        """
        if self.tiling is not None:
            raise ValueError(
                "references of whole images do not serve tiles, which show things larger: leave out one of them "
                "(tiling=none or k_shot=0)"
            )
        seen = [self.embed(image[None], with_patches=True) for image in images]
        if not seen:
            raise ValueError(f"no reference images of {category}: expected one or more")
        levels = zip(*((one.patches, *one.windows) for one in seen), strict=True)
        self._memory[category] = tuple(
            torch.cat([part[0] for part in level]) for level in levels
        )  # (R, V or E) each

    def embed(self, image: Float[Tensor, "b 3 h w"], *, with_patches: bool) -> Embeddings:
        """Run the frozen image tower on the images in [0, 1] and on all their windows."""
        image = self.backbone.normalize(image)
        features = self.backbone.encode_image(
            image,
            blocks=[self.backbone.depth] if with_patches else (),
            norm_tokens=self.patch_norm,
            project_tokens=False,
        )
        indices = [patch_windows.window_indices(features.grid, scale) for scale in self.scales]
        patches = features.tokens[0][:, 1:] if with_patches else None
        return Embeddings(
            features.image, self.backbone.encode_windows(image, indices), patches, features.grid
        )

    def text_margins(
        self, seen: Embeddings, category: Sequence[str]
    ) -> tuple[Float[Tensor, " b"], tuple[Float[Tensor, "b _"], ...]]:
        """Return the logit margins, anomalous minus normal, of the images and of the windows of each scale."""
        text = self.texts.features(self.backbone, category)  # (B, 2, E)
        image, *scales = (
            similarity.margin(similarity.cosine_logits(level, text, self.temperature))
            for level in (seen.image, *seen.windows)
        )
        return image, tuple(scales)

    def language_map(
        self,
        image_margin: Float[Tensor, " b"],
        window_margins: Sequence[Float[Tensor, "b _"]],
        grid: tuple[int, int],
    ) -> Float[Tensor, "b h w"]:
        """Probability that each patch is anomalous: harmonic mean over the scales, and the image as a constant map."""
        maps = self._scale_maps([margins.sigmoid() for margins in window_margins], grid)
        return patch_windows.harmonic_mean(
            torch.stack([image_margin.sigmoid()[:, None, None].expand_as(maps[0]), *maps])
        )

    def associations(
        self, seen: Embeddings, category: Sequence[str]
    ) -> tuple[Float[Tensor, "b n"], tuple[Float[Tensor, "b _"], ...]]:
        """Return half the smallest cosine distance to the references, of the patches and of the windows of each scale.

        Every scale is compared with windows of the same scale, wherever in a reference they lie.
        """
        assert seen.patches is not None
        patches, *scales = (
            torch.stack(
                [
                    patch_windows.association(
                        features, self._memory[name][level].to(features.device)
                    )
                    for features, name in zip(images, category, strict=True)
                ]
            )
            for level, images in enumerate((seen.patches, *seen.windows))
        )
        return patches, tuple(scales)

    def association_map(
        self,
        patches: Float[Tensor, "b n"],
        scales: Sequence[Float[Tensor, "b _"]],
        grid: tuple[int, int],
    ) -> Float[Tensor, "b h w"]:
        """Plain mean of the associations of the patches and of the harmonic map of each scale."""
        return torch.stack([patches.unflatten(1, grid), *self._scale_maps(scales, grid)]).mean(
            dim=0
        )

    def _widened(self, tiles: Float[Tensor, "n 3 t_h t_w"]) -> Float[Tensor, "n 3 w_h w_w"]:
        """Mirror the tiles of a narrow image until the largest window fits into them."""
        least = max(self.scales) * self.backbone.patch_size
        rows, columns = (
            mirrored(side, 0, max(side, least), tiles.device) for side in tiles.shape[-2:]
        )
        return tiles[..., rows[:, None], columns]

    def _scale_maps(
        self, scores: Sequence[Float[Tensor, "b _"]], grid: tuple[int, int]
    ) -> list[Tensor]:
        return [
            patch_windows.harmonic_map(part, grid, scale)
            for part, scale in zip(scores, self.scales, strict=True)
        ]
