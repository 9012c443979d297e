"""WinCLIP: hand-written prompts and windows; with normal references few-shot ("WinCLIP+").

J. Jeong, Y. Zou, T. Kim, D. Zhang, A. Ravichandran, O. Dabeer. CVPR 2023, arXiv 2303.14814. No code
of the authors is public. The numbers are those of the two reimplementations that agree with each
other, anomalib 2.7 and WinCLIP-pytorch; where these two differ, this follows anomalib.

Legend: B images, N patches on an h × w grid, S scales, W windows of a scale, V vision width, E
joint width, R rows of a memory. Index 1 is anomalous.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zsad.backbones.clip.model import CLIP
from zsad.functional import patch_windows, similarity
from zsad.functional.resample import mirrored
from zsad.methods.tiling import Tiling, views_of
from zsad.prompts.ensemble import CategoryTexts, PromptEnsemble
from zsad.prompts.rewording import copy_sharing_weights
from zsad.types import Prediction

_LEAST = 1e-7  # a probability of 0 has no finite logit


@dataclass(frozen=True, slots=True)
class Embeddings:
    """CLIP's vectors of images, of their windows and of their patches. None is of unit length.

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

    def select(self, images: Tensor) -> Embeddings:
        """Return the vectors of some of the images, given by their numbers."""
        windows = tuple(scale[images] for scale in self.windows)
        patches = None if self.patches is None else self.patches[images]
        return Embeddings(self.image[images], windows, patches, self.grid)


class WinCLIP(nn.Module):
    """Compare the image, and every window of it, with *normal* and *anomalous* sentences.

    The sentences name its category. With references (``set_references``), patches and windows are
    also compared with those of normal images. Nothing is trained.

    Args:
        backbone: The frozen CLIP. Published: ViT-B/16+ at 240 pixels.
        prompts: The hand-written sentences.
        scales: Sides of the windows, in patches.
        temperature: Divides every cosine with a text. CLIP's initial 0.07, not its learned 0.01.
        patch_norm: Whether patches pass CLIP's final layer norm before they are compared with
            references. anomalib does it, WinCLIP-pytorch does not; the paper does not say.
        tiling: Shows tiles beside the whole image, zero-shot; ``None`` (published) for the whole
            alone.

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
        self.views = views_of(tiling)
        self._memory: dict[str, tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]) -> Prediction:
        """Score images in [0, 1], each with the sentences and the references of its own category.

        The zero-shot score is the margin of the two cosines. The few-shot score is published as a
        number in [0, 1], the mean of the zero-shot probability and the largest association; it is
        given as the logit of that. Categories without references are scored zero-shot; so
        categories of both kinds cannot be ranked together.
        """

        def margins_of(
            tiles: Float[Tensor, "n 3 t_h t_w"], rows: Int[Tensor, " n"]
        ) -> Float[Tensor, "1 n h w"]:
            names = [category[int(row)] for row in rows]
            _, maps = self.compare(self._widened(tiles), names)
            height = tiles.shape[-2] // self.backbone.patch_size
            width = tiles.shape[-1] // self.backbone.patch_size
            return maps[None, :, :height, :width].logit(eps=_LEAST)

        whole = self.views.whole_view(image, self.backbone.input_size)
        score, patch_map = self.compare(whole, category)
        patch_px = self.backbone.patch_size
        anomaly_map = self.views.probability_map(image, patch_map, margins_of, patch_px)
        return Prediction(anomaly_map, score)

    def with_prompt_words(self, words: Mapping[str, str]) -> WinCLIP:
        """Return the method on the same weights and references, with other words for its states."""
        reworded = copy_sharing_weights(self)
        reworded.texts = self.texts.with_words(words)
        reworded._memory = dict(self._memory)
        return reworded

    def clear_references(self) -> None:
        """Drop the references: another dataset may have categories of the same names."""
        self._memory.clear()

    @torch.no_grad()
    def set_references(self, category: str, images: Iterable[Float[Tensor, "3 h w"]]) -> None:
        """Embed normal images in [0, 1]; from then on their category is scored few-shot.

        Earlier references of the category are dropped.

        Raises:
            ValueError: If there are no images, or tiles would be compared with whole references.
        """
        self.views.require_whole_images(
            "references of whole images do not serve tiles, which show things larger: leave out "
            "one of them (tiling=none or k_shot=0)"
        )
        references = [self.embed(image[None], with_patches=True) for image in images]
        if not references:
            raise ValueError(f"no reference images of {category}: expected one or more")
        patches = []
        for reference in references:
            assert reference.patches is not None
            patches.append(reference.patches[0])
        levels = [torch.cat(patches)]  # (R, V)
        for scale in range(len(self.scales)):
            windows = [reference.windows[scale][0] for reference in references]
            levels.append(torch.cat(windows))  # (R, E)
        self._memory[category] = tuple(levels)

    def compare(
        self, image: Float[Tensor, "b 3 h w"], category: Sequence[str]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b gh gw"]]:
        """Return the score of images and the probability of *anomalous* of each patch."""
        with_references = [i for i, name in enumerate(category) if name in self._memory]
        embeddings = self.embed(image, with_patches=bool(with_references))
        score, window_margins = self.text_margins(embeddings, category)
        patch_map = self.language_map(score, window_margins, embeddings.grid)
        if not with_references:
            return score, patch_map
        rows = torch.tensor(with_references, device=score.device)
        names = [category[i] for i in with_references]
        associations = self.associations(embeddings.select(rows), names)
        association_map = self.association_map(*associations, embeddings.grid)
        mean_map = (patch_map[rows] + association_map) / 2
        few_shot = similarity.mean_margin(score[rows], similarity.peak_margin(association_map))
        return score.index_copy(0, rows, few_shot), patch_map.index_copy(0, rows, mean_map)

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
        windows = self.backbone.encode_windows(image, indices)
        patches = features.tokens[0][:, 1:] if with_patches else None
        return Embeddings(features.image, windows, patches, features.grid)

    def text_margins(
        self, embeddings: Embeddings, category: Sequence[str]
    ) -> tuple[Float[Tensor, " b"], tuple[Float[Tensor, "b _"], ...]]:
        """Return anomalous minus normal logit of images, and of the windows of each scale."""
        text = self.texts.features(self.backbone, category)  # (B, 2, E)
        margins = []
        for level in (embeddings.image, *embeddings.windows):
            logits = similarity.cosine_logits(level, text, self.temperature)
            margins.append(similarity.margin(logits))
        return margins[0], tuple(margins[1:])

    def language_map(
        self,
        image_margin: Float[Tensor, " b"],
        window_margins: Sequence[Float[Tensor, "b _"]],
        grid: tuple[int, int],
    ) -> Float[Tensor, "b h w"]:
        """Return the probability that each patch is anomalous, from the texts.

        Harmonic mean over the scales, and the image as a constant map.
        """
        maps = self._scale_maps([margins.sigmoid() for margins in window_margins], grid)
        of_image = image_margin.sigmoid()[:, None, None].expand_as(maps[0])
        return patch_windows.harmonic_mean(torch.stack([of_image, *maps]))

    def associations(
        self, embeddings: Embeddings, category: Sequence[str]
    ) -> tuple[Float[Tensor, "b n"], tuple[Float[Tensor, "b _"], ...]]:
        """Return half the smallest cosine distances to the references.

        Of the patches and of the windows of each scale. Every scale is compared with windows of the
        same scale, wherever in a reference they lie.
        """
        assert embeddings.patches is not None
        distances = []
        for level, features in enumerate((embeddings.patches, *embeddings.windows)):
            of_images = []
            for one, name in zip(features, category, strict=True):
                memory = self._memory[name][level].to(one.device)
                of_images.append(patch_windows.association(one, memory))
            distances.append(torch.stack(of_images))
        return distances[0], tuple(distances[1:])

    def association_map(
        self,
        patches: Float[Tensor, "b n"],
        scales: Sequence[Float[Tensor, "b _"]],
        grid: tuple[int, int],
    ) -> Float[Tensor, "b h w"]:
        """Return the plain mean of the patches' associations and the harmonic map of each scale."""
        maps = [patches.unflatten(1, grid), *self._scale_maps(scales, grid)]
        return torch.stack(maps).mean(dim=0)

    def _widened(self, tiles: Float[Tensor, "n 3 t_h t_w"]) -> Float[Tensor, "n 3 w_h w_w"]:
        """Mirror the tiles of a narrow image until the largest window fits into them."""
        least = max(self.scales) * self.backbone.patch_size
        height, width = tiles.shape[-2:]
        rows = mirrored(height, 0, max(height, least), tiles.device)
        columns = mirrored(width, 0, max(width, least), tiles.device)
        return tiles[..., rows[:, None], columns]

    def _scale_maps(
        self, scores: Sequence[Float[Tensor, "b _"]], grid: tuple[int, int]
    ) -> list[Tensor]:
        maps = []
        for part, scale in zip(scores, self.scales, strict=True):
            maps.append(patch_windows.harmonic_map(part, grid, scale))
        return maps
