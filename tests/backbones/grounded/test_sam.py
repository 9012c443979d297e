"""Segmenters against transformers' processors and Meta's predictor, on small random models."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segment_anything
import torch
from PIL import Image
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from transformers import (
    AutoConfig,
    AutoModelForMaskGeneration,
    Sam2ImageProcessor,
    SamHQProcessor,
    SamProcessor,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import to_pil
from zsad.backbones.grounded import sam
from zsad.backbones.grounded.box_segmenter import BoxSegmenter, letterbox, scale_boxes
from zsad.backbones.grounded.meta_sam import MetaSAM

SIZE = (60, 90)
_DECODER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_dim": 32,
    "iou_head_hidden_dim": 16,
    "iou_head_depth": 2,
}
SAM1: dict[str, Any] = {
    "model_type": "sam",
    "vision_config": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "output_channels": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "mlp_dim": 32,
        "num_pos_feats": 8,
        "initializer_range": 0.2,
    },
    "prompt_encoder_config": {
        "hidden_size": 16,
        "image_size": 64,
        "patch_size": 8,
        "mask_input_channels": 4,
    },
    "mask_decoder_config": _DECODER,
}
HQ: dict[str, Any] = {
    **SAM1,
    "model_type": "sam_hq",
    "mask_decoder_config": {**_DECODER, "vit_dim": 16},
}
SAM2: dict[str, Any] = {
    "model_type": "sam2",
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "num_attention_heads": 1,
            "image_size": [64, 64],
            "window_positional_embedding_background_size": [4, 4],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "window_size_per_stage": [4, 4, 4, 2],
            "global_attention_blocks": [3],
            "mlp_ratio": 2.0,
            "initializer_range": 0.2,
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 16,
    },
    "prompt_encoder_config": {
        "hidden_size": 16,
        "image_size": 64,
        "patch_size": 16,
        "mask_input_channels": 4,
    },
    "mask_decoder_config": _DECODER,
}


def meta_sam(checkpoint: None = None) -> Sam:
    """Meta's own classes, in the smallest size that they allow."""
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=64,
            patch_size=8,
            embed_dim=16,
            depth=2,
            num_heads=2,
            out_chans=16,
            use_rel_pos=True,
            window_size=2,
            global_attn_indexes=(1,),
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        ),
        prompt_encoder=PromptEncoder(16, (8, 8), (64, 64), 4),
        mask_decoder=MaskDecoder(
            transformer_dim=16, transformer=TwoWayTransformer(2, 16, 2, 32), iou_head_hidden_dim=16
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_h", meta_sam)


@pytest.fixture
def image() -> torch.Tensor:
    return (
        torch.randint(0, 256, (3, *SIZE), generator=torch.Generator().manual_seed(5)).float() / 255
    )


@pytest.fixture
def boxes() -> torch.Tensor:
    corners = torch.rand(7, 4, generator=torch.Generator().manual_seed(6)) * torch.tensor(
        [90.0, 60.0, 90.0, 60.0]
    )
    low, high = corners[:, :2], corners[:, 2:]
    inside = torch.cat([torch.minimum(low, high), torch.maximum(low, high)], dim=1)
    return torch.cat(
        [inside, torch.tensor([[-4.0, -3.0, 95.0, 40.0]])]
    )  # detectors reach beyond the image


def segmenters() -> list[BoxSegmenter]:
    return [
        sam.SAM(None, architecture=SAM1),
        sam.SAM(None, architecture=HQ),
        sam.SAM2(None, architecture=SAM2),
    ]


def all_masks(segmenter: BoxSegmenter, image: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat(list(segmenter.masks(segmenter.encode_image(image), boxes)))


def network(architecture: dict[str, Any]) -> Any:
    config = AutoConfig.for_model(**architecture)
    return hub.random_model(lambda: AutoModelForMaskGeneration.from_config(config))


@pytest.mark.parametrize(
    ("architecture", "processor_class"), [(SAM1, SamProcessor), (HQ, SamHQProcessor)]
)
def test_masks_of_sam_and_sam_hq_are_those_of_transformers(
    architecture: dict[str, Any], processor_class: Any, image: torch.Tensor, boxes: torch.Tensor
) -> None:
    processor = SamImageProcessorPil(
        size={"longest_edge": 64},
        mask_size={"longest_edge": 16},
        pad_size={"height": 64, "width": 64},
        mask_pad_size={"height": 16, "width": 16},
    )
    inputs = processor_class(processor)(
        images=to_pil(image), input_boxes=[[box.tolist() for box in boxes]], return_tensors="pt"
    )
    with torch.no_grad():
        outputs = network(architecture)(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"].float(),
            multimask_output=False,
        )
    (expected,) = processor.post_process_masks(
        outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    found = all_masks(sam.SAM(None, architecture=architecture), image, boxes)
    assert found.dtype == torch.bool
    assert 0.05 < found.float().mean() < 0.95
    assert (found != expected[:, 0]).float().mean() < 1e-3  # theirs resizes with other rounding


def test_masks_of_sam_2_are_those_of_transformers(image: torch.Tensor, boxes: torch.Tensor) -> None:
    processor = Sam2ImageProcessor(
        size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16}
    )
    inputs = processor(to_pil(image), return_tensors="pt")
    scaled = boxes * torch.tensor([64 / 90, 64 / 60, 64 / 90, 64 / 60])
    with torch.no_grad():
        outputs = network(SAM2)(
            inputs["pixel_values"], input_boxes=scaled[None], multimask_output=False
        )
    (expected,) = processor.post_process_masks(outputs.pred_masks, [SIZE])
    found = all_masks(sam.SAM2(None, architecture=SAM2), image, boxes)
    assert 0.05 < found.float().mean() < 0.95
    assert (
        found != expected[:, 0]
    ).float().mean() < 1e-2  # theirs resizes with torchvision, to other grey levels


@pytest.mark.usefixtures("original")
def test_masks_of_metas_files_are_those_of_metas_predictor(
    image: torch.Tensor, boxes: torch.Tensor, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    model = meta_sam().eval()
    torch.save(model.state_dict(), tmp_path / "sam.pth")
    predictor = segment_anything.SamPredictor(model)
    predictor.transform.target_length = 64
    predictor.set_image(np.asarray(to_pil(image)))
    scaled = predictor.transform.apply_boxes_torch(boxes.clone(), SIZE)
    expected, _, _ = predictor.predict_torch(None, None, boxes=scaled, multimask_output=False)
    found = all_masks(MetaSAM(str(tmp_path / "sam.pth")), image, boxes)
    assert 0.05 < found.float().mean() < 0.95
    assert (found != expected[:, 0]).float().mean() < 1e-3


@pytest.mark.parametrize("index", range(3))
def test_one_encoding_serves_all_boxes_in_any_chunks(
    index: int, image: torch.Tensor, boxes: torch.Tensor
) -> None:
    """And keeps their order."""
    segmenter = segmenters()[index]
    embedding = segmenter.encode_image(image)
    together = torch.cat(list(segmenter.masks(embedding, boxes)))
    fresh = torch.cat([all_masks(segmenter, image, box[None]) for box in boxes])
    assert (together != fresh).float().mean() < 1e-4
    segmenter.chunk = 3
    parts = list(segmenter.masks(embedding, boxes))
    assert [len(part) for part in parts] == [3, 3, 2]
    assert (torch.cat(parts) != together).float().mean() < 1e-4


@pytest.mark.parametrize("index", range(3))
def test_masks_hang_on_the_image_and_the_box(
    index: int, image: torch.Tensor, boxes: torch.Tensor
) -> None:
    segmenter = segmenters()[index]
    masks = all_masks(segmenter, image, boxes)
    assert (masks != all_masks(segmenter, 1 - image, boxes)).any()
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize("index", range(3))
def test_no_boxes_no_masks(index: int, image: torch.Tensor) -> None:
    segmenter = segmenters()[index]
    assert list(segmenter.masks(segmenter.encode_image(image), torch.zeros(0, 4))) == []


@pytest.mark.parametrize("index", range(3))
def test_half_precision_towers_give_nearly_the_same_masks(
    index: int, image: torch.Tensor, boxes: torch.Tensor
) -> None:
    segmenter = segmenters()[index]
    rounded = type(segmenter)(None, architecture=[SAM1, HQ, SAM2][index], dtype="bfloat16")
    found = all_masks(rounded, image, boxes)
    assert found.dtype == torch.bool
    assert (found != all_masks(segmenter, image, boxes)).float().mean() < 0.05
    kept = [rounded.encode_image(image).features, segmenter.encode_image(image).features]
    first, exact = (torch.utils._pytree.tree_leaves(features)[0] for features in kept)
    assert first.dtype == torch.float32
    assert not torch.equal(first, exact)


@pytest.mark.parametrize("index", range(3))
def test_a_trainer_in_lower_precision_changes_no_mask(
    index: int, image: torch.Tensor, boxes: torch.Tensor
) -> None:
    segmenter = segmenters()[index]
    expected = all_masks(segmenter, image, boxes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(all_masks(segmenter, image, boxes), expected)


def test_an_upright_and_a_wide_image_get_masks_of_their_size() -> None:
    segmenter = sam.SAM(None, architecture=SAM1)
    for height, width in ((100, 40), (33, 129), (64, 64)):
        masks = all_masks(
            segmenter, torch.rand(3, height, width), torch.tensor([[1.0, 2.0, 30.0, 20.0]])
        )
        assert masks.shape == (1, height, width)


def test_a_saved_model_of_any_kind_comes_back(
    image: torch.Tensor, boxes: torch.Tensor, tmp_path: Path
) -> None:
    for number, architecture in enumerate((SAM1, HQ, SAM2)):
        folder = tmp_path / str(number)
        network(architecture).save_pretrained(folder)
        kind = sam.SAM2 if architecture is SAM2 else sam.SAM
        expected = all_masks(kind(None, architecture=architecture), image, boxes)
        assert torch.equal(all_masks(kind(str(folder)), image, boxes), expected)


def test_sam_2_is_found_in_a_file_for_videos(
    image: torch.Tensor, boxes: torch.Tensor, tmp_path: Path
) -> None:
    network(SAM2).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    text = config.read_text()
    assert '"model_type": "sam2"' in text
    config.write_text(
        text.replace('"model_type": "sam2"', '"model_type": "sam2_video"')
    )  # as Meta publishes them
    expected = all_masks(sam.SAM2(None, architecture=SAM2), image, boxes)
    assert torch.equal(all_masks(sam.SAM2(str(tmp_path)), image, boxes), expected)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    network(SAM2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a sam2, expected sam or sam_hq"):
        sam.SAM(str(tmp_path))


@pytest.mark.usefixtures("original")
def test_damaged_dangerous_wrong_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(ValueError, match=r"cut.pth was refused: it is damaged"):
        MetaSAM(str(tmp_path / "cut.pth"))
    torch.save({"anything": Image.new("L", (1, 1))}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match=r"code.pth was refused"):
        MetaSAM(str(tmp_path / "code.pth"))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth does not hold the weights of a SAM vit_h"):
        MetaSAM(str(tmp_path / "other.pth"))
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.pth.*segment-anything"):
        MetaSAM(str(tmp_path / "absent.pth"))
    with pytest.raises(ValueError, match="'vit_x': expected one of"):
        MetaSAM(None, "vit_x")


def test_the_frame_of_boxes_has_the_published_rounding() -> None:
    assert letterbox((70, 96), 1024) == (747, 1024)
    moved = scale_boxes(torch.tensor([[10.0, 20.0, 30.0, 40.0]]), (70, 96), (747, 1024))
    torch.testing.assert_close(
        moved, torch.tensor([[10 * 1024 / 96, 20 * 747 / 70, 30 * 1024 / 96, 40 * 747 / 70]])
    )


def test_an_image_much_longer_than_high_keeps_a_row() -> None:
    segmenter = sam.SAM(None, architecture=SAM1)
    (mask,) = segmenter.masks(
        segmenter.encode_image(torch.rand(3, 2, 300)), torch.tensor([[10.0, 0.0, 90.0, 2.0]])
    )
    assert mask.shape == (1, 2, 300)


def test_nothing_to_build_is_said() -> None:
    with pytest.raises(
        ValueError, match=r"neither segmenter\.pretrained nor segmenter\.architecture"
    ):
        sam.SAM(None)
