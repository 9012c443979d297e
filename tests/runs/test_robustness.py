"""The same test on changed images and with other words: same networks, same method afterwards."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer
from PIL import Image
from torch import nn

from zsad.contract import Rewordable
from zsad.data.corruptions import Corruption, brightness, contrast
from zsad.data.module import JsonDataModule
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.methods.clip_baseline import CLIPBaseline
from zsad.metrics import curves
from zsad.metrics.per_category import CategoryMetrics
from zsad.prompts.ensemble import PromptEnsemble
from zsad.prompts.learnable import ObjectAgnosticPrompts
from zsad.runs.robustness import Robustness
from zsad.types import Prediction, Sample

METRICS = partial(
    CategoryMetrics, image={"image_auroc": curves.auroc}, pixel={"pixel_auroc": curves.auroc}
)
CORRUPTIONS = {
    "contrast": Corruption(contrast, [0.1, 0.5]),
    "brightness": Corruption(brightness, [0.05, 0.3]),
}


class Brightness(nn.Module):
    """Takes bright pixels for a defect; has no prompts."""

    def forward(self, image: torch.Tensor, category: tuple[str, ...]) -> Prediction:
        bright = image.mean(dim=1)
        return Prediction(bright, bright.mean(dim=(1, 2)))


class Worded(Brightness):
    """Is wrong about everything as soon as defects are called scratches."""

    def __init__(self) -> None:
        super().__init__()
        self.words = {"normal": "object", "anomalous": "damaged object"}

    def with_prompt_words(self, words: dict[str, str]) -> Worded:
        reworded = Worded()
        reworded.words = self.words | words
        return reworded

    def forward(self, image: torch.Tensor, category: tuple[str, ...]) -> Prediction:
        prediction = super().forward(image, category)
        if "scratched" in self.words["anomalous"]:
            return Prediction(1 - prediction.map, -prediction.score)
        return prediction


@pytest.fixture
def data(tmp_path: Path) -> JsonDataModule:
    """Ten grey images; in every second image a bright quarter is the defect."""
    module, samples = JsonDataModule("greys", image_size=16, num_workers=0), []
    for number in range(10):
        pixels, mask = np.full((16, 16, 3), 100 + number, np.uint8), np.zeros((16, 16), np.uint8)
        if number % 2:
            pixels[:8, :8], mask[:8, :8] = 150, 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / f"{number}_m.png")
        truth = tmp_path / f"{number}_m.png" if number % 2 else None
        samples.append(
            Sample(tmp_path / f"{number}.png", truth, "grey", "", is_anomalous=bool(number % 2))
        )
    module.test_samples = samples
    return module


@pytest.fixture
def quiet(tmp_path: Path) -> Trainer:
    silent = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(accelerator="cpu", default_root_dir=tmp_path, **silent)


def test_every_corruption_and_severity_is_tried_and_written(
    data: JsonDataModule, quiet: Trainer, tmp_path: Path
) -> None:
    table = Robustness(METRICS, CORRUPTIONS, [1, 2]).run(Brightness(), data, quiet, tmp_path)
    assert [tuple(row[:2]) for row in table.rows] == [
        ("contrast", 1),
        ("contrast", 2),
        ("brightness", 1),
        ("brightness", 2),
    ]
    assert all(
        row[3] == pytest.approx(0, abs=0.5) for row in table.rows[:2]
    )  # the order of all pixels stays
    assert (
        float(table.rows[3][2]) > 5
    )  # brighter and darker images cannot be compared by their brightness
    assert (
        (tmp_path / "robustness.md")
        .read_text()
        .startswith("# Robustness of Brightness on greys, 10 images")
    )
    assert (tmp_path / "robustness.csv").is_file()


def test_the_same_corruptions_give_the_same_numbers(data: JsonDataModule, quiet: Trainer) -> None:
    robustness = Robustness(METRICS, {"brightness": CORRUPTIONS["brightness"]}, [2])
    one, other = (robustness.measure(Brightness(), data, quiet) for _ in range(2))
    assert one.corrupted[0].values == other.corrupted[0].values


def test_other_words_are_tried_and_then_forgotten(data: JsonDataModule, quiet: Trainer) -> None:
    method = Worded()
    wordings = {"normal": ["good {}"], "anomalous": ["broken {}", "scratched {}"]}
    trials = Robustness(METRICS, {}, [], wordings).measure(method, data, quiet)
    lost = [trials.drop(trial.values)["image_auroc"] for trial in trials.reworded]
    assert lost[:2] == [0.0, 0.0]
    assert lost[2] == pytest.approx(100.0)
    assert method.words == {"normal": "object", "anomalous": "damaged object"}


def test_a_method_without_words_is_left_alone(data: JsonDataModule, quiet: Trainer) -> None:
    assert not isinstance(Brightness(), Rewordable)
    assert (
        Robustness(METRICS, {}, [], {"normal": ["good {}"]})
        .measure(Brightness(), data, quiet)
        .reworded
        == []
    )


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"severities": [3]}, "brightness has 1 to 2|contrast has 1 to 2"),
        ({"wordings": {"bad": []}}, "'bad'.*anomalous"),
    ],
)
def test_mistakes_show_before_anything_is_tested(given: dict, answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        Robustness(METRICS, CORRUPTIONS, **{"severities": [1], **given})


@pytest.mark.parametrize("kind", ["hand-written", "learned"])
@torch.no_grad()
def test_scores_follow_the_words_and_come_back(tiny_backbone, kind: str) -> None:
    torch.manual_seed(0)
    if kind == "learned":
        method = AnomalyCLIP(
            tiny_backbone, prompts=partial(ObjectAgnosticPrompts, deep_blocks=3)
        ).eval()
    else:
        ensemble = PromptEnsemble(["good {}", "fine {}"], ["bad {}"], ["a {}."])
        method = CLIPBaseline(tiny_backbone, ensemble, feature_blocks=[4], tower_depth=4)
    image, category = torch.rand(2, 3, 56, 56), ("nut", "nut")
    before = method(image, category)
    during = method.with_prompt_words({"anomalous": "broken {}"})(image, category)
    after = method(image, category)
    assert torch.equal(before.score, after.score)
    assert torch.equal(before.map, after.map)
    assert not torch.equal(before.score, during.score)
    if kind == "hand-written":
        ensemble = PromptEnsemble(["good {}", "fine {}"], ["broken {}"], ["a {}."])
        expected = CLIPBaseline(tiny_backbone, ensemble, feature_blocks=[4], tower_depth=4)
        assert torch.equal(expected(image, category).score, during.score)
