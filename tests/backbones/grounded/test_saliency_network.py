"""The saliency network: its input as OpenCV would resize it, its stages, its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from zsad.backbones import hub
from zsad.backbones.eight_bit_images import normalize
from zsad.backbones.grounded.saliency_network import SaliencyNetwork, saliency_input

GOLDEN = Path(__file__).parents[2] / "golden" / "saa" / "saliency_preprocess.npz"
SMALL = {"channels": [8, 16, 24, 32], "stem_width": 8, "layers": [1, 1, 1, 1]}


@pytest.fixture
def image() -> torch.Tensor:
    return (
        torch.randint(0, 256, (3, 60, 100), generator=torch.Generator().manual_seed(1)).float()
        / 255
    )


def test_the_input_equals_the_published_to_a_grey_level() -> None:
    golden = np.load(GOLDEN, allow_pickle=False)
    published = (
        torch.from_numpy(golden["image_bgr"]).permute(2, 0, 1).float() / 255
    )  # fed in this order, by mistake
    found = saliency_input(published, int(golden["out_shape"][-1]))
    assert found.shape == tuple(golden["out_shape"][1:])
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    expected = torch.from_numpy(golden["cnn_input_rows"])
    levels = (found[:, golden["row_index"]] - expected) * std * 255
    assert levels.abs().max() < 1.01
    assert (levels.abs() > 0.5).float().mean() < 0.2  # fixed-point rounding
    whole = torch.from_numpy(golden["resized_u8"]).permute(2, 0, 1).float() / 255
    assert ((found - normalize(whole)) * std * 255).abs().max() < 1.01


def test_a_smaller_input_skips_pixels_as_opencv_does() -> None:
    stripes = torch.zeros(3, 8, 8)
    stripes[:, :, 0::4] = 1  # the four pixels around each new one are columns 1, 2, 5, 6
    black = normalize(torch.zeros(3, 2, 2))
    torch.testing.assert_close(saliency_input(stripes, 2), black)


def test_three_stages_at_strides_4_8_and_16(image: torch.Tensor) -> None:
    network = SaliencyNetwork("resnet18", False, architecture=SMALL)
    stages = network.stages(image, 64)
    assert [tuple(stage.shape) for stage in stages] == [(8, 16, 16), (16, 8, 8), (24, 4, 4)]
    assert all((stage >= 0).all() for stage in stages)  # after the last rectifier
    assert not any(module.training for module in network.train().modules())
    lower = SaliencyNetwork("resnet18", False, architecture=SMALL, dtype="bfloat16").stages(
        image, 64
    )
    assert lower[2].dtype == torch.float32
    torch.testing.assert_close(lower[2], stages[2], atol=0.05 * float(stages[2].max()), rtol=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_local_file_gives_the_stages_of_the_whole_network(
    suffix: str, image: torch.Tensor, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    whole = timm.create_model("resnet18", pretrained=False, **SMALL).eval()
    path = tmp_path / f"weights{suffix}"
    state = {name: tensor.contiguous() for name, tensor in whole.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    stages = SaliencyNetwork("resnet18", str(path), architecture=SMALL).stages(image, 64)
    with torch.no_grad():
        expected = whole.forward_intermediates(
            saliency_input(image, 64)[None], indices=[1, 2, 3], intermediates_only=True
        )
    for stage, other in zip(stages, expected, strict=True):
        torch.testing.assert_close(stage, other[0])


def test_missing_and_wrong_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no weight file .*absent.pth.*hf download timm/resnet18"
    ):
        SaliencyNetwork("resnet18", str(tmp_path / "absent.pth"))
    save_file({"fc.bias": torch.zeros(1000)}, tmp_path / "other.safetensors")
    with pytest.raises(
        ValueError, match=r"other.safetensors does not hold the weights of this network: it lacks"
    ):
        SaliencyNetwork("resnet18", str(tmp_path / "other.safetensors"), architecture=SMALL)
    monkeypatch.setattr(hub, "can_resolve", lambda url: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(
        FileNotFoundError, match=r"the saliency network timm/resnet18.a1_in1k cannot be loaded"
    ):
        SaliencyNetwork("resnet18.a1_in1k")
