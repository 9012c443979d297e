"""Training: contents of a checkpoint, exact resuming, and refusal of files that do not fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from zsad.data.module import JsonDataModule
from zsad.tasks.prompt_tuning import PromptTuning


def trainer(folder: Path, epochs: int, *callbacks: Callback, **settings: Any) -> Trainer:
    saver = ModelCheckpoint(
        folder, filename="epoch_{epoch:02d}", auto_insert_metric_name=False, save_last=True
    )
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[saver, *callbacks],
        logger=False,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


class _Killed(BaseException):
    """Nothing catches it: the process is gone."""


class _KillIn(Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        self.when = (epoch, batch)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.when:
            raise _Killed


def prompts_of(task: PromptTuning) -> dict[str, torch.Tensor]:
    prompts: Any = task.method.prompts
    return {name: tensor.clone() for name, tensor in prompts.state_dict().items()}


def test_a_resumed_training_ends_with_the_same_weights(
    data: Callable[[], JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    undisturbed = task()
    trainer(tmp_path / "whole", 4).fit(undisturbed, data())

    killed = task()
    with pytest.raises(_Killed):
        trainer(tmp_path / "killed", 4, _KillIn(epoch=2, batch=1)).fit(killed, data())
    torch.manual_seed(999)  # the new process is in another random state
    resumed = task()
    trainer(tmp_path / "killed", 4).fit(
        resumed, data(), ckpt_path=str(tmp_path / "killed" / "last.ckpt"), weights_only=True
    )
    for name, tensor in prompts_of(undisturbed).items():
        assert torch.equal(tensor, prompts_of(resumed)[name]), name


def test_accumulated_batches_learn_what_one_large_batch_does(
    data: Callable[..., JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    # Nine images: the last step has two batches instead of three, the last batch one image.
    whole, parts = task(), task()
    for tuned in (whole, parts):
        tuned.method.prompts.round_deep_to_half = False  # the rounding is of each batch's gradients
    trainer(tmp_path / "whole", 2).fit(whole, data(batch_size=6, max_images=9))
    trainer(tmp_path / "parts", 2, accumulate_grad_batches=3).fit(
        parts, data(batch_size=2, max_images=9)
    )
    for name, tensor in prompts_of(whole).items():
        torch.testing.assert_close(prompts_of(parts)[name], tensor, atol=1e-5, rtol=1e-4, msg=name)


def test_a_checkpoint_holds_prompts_and_provenance_alone(
    data: Callable[[], JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    tuned = task()
    tuned.provenance["trained_on"] = {"dataset": "plates"}
    trainer(tmp_path / "run", 1).fit(tuned, data())
    file = tmp_path / "run" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    assert set(content["state_dict"]) == {
        "method.prompts.normal",
        "method.prompts.anomalous",
        "method.prompts.deep",
    }
    assert content["zsad"] == {"method": "AnomalyCLIP", "trained_on": {"dataset": "plates"}}
    numbers = sum(tensor.numel() for tensor in content["state_dict"].values())
    assert (
        file.stat().st_size < 3 * 4 * numbers + 20_000
    )  # the prompts, and Adam's two moments of them


def test_training_learns(
    data: Callable[[], JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    tuned, module = task(), data()
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    method: Any = tuned.method
    before = sum(float(term.detach()) for term in method.loss(batch).values())
    trainer(tmp_path / "run", 5).fit(tuned, module)
    after = sum(float(term.detach()) for term in method.loss(batch).values())
    assert after < 0.9 * before


def test_every_category_is_tested_at_any_batch_size(
    data: Callable[[], JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    tables = []
    for batch_size in (1, 3):
        module, tested = data(), task()
        module.test_batch_size = batch_size
        trainer(tmp_path / "run", 1).test(tested, module, verbose=False)
        assert tested.results is not None
        tables.append(tested.results)
    assert tables[0].images == {"plate": (5, 5)}
    for name, value in tables[0].values["plate"].items():
        assert tables[1].values["plate"][name] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-true"])
def test_scores_in_half_precision_are_nearly_the_same(
    data: Callable[[], JsonDataModule], task: Callable[..., PromptTuning], precision: str
) -> None:
    scores = {}
    for each in ("32-true", precision):
        module, tested = data(), task()
        module.setup("test")
        runner = Trainer(
            accelerator="cpu",
            precision=each,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        predictions: Any = runner.predict(tested, module.test_dataloader())
        scores[each] = torch.cat([prediction.score for prediction in predictions])
        assert scores[each].dtype == torch.float32
    torch.testing.assert_close(scores[precision], scores["32-true"], atol=0.5, rtol=0.05)


def test_loaded_prompts_are_the_saved_ones(
    data: Callable[[], JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    tuned = task()
    trainer(tmp_path / "run" / "checkpoints", 1).fit(tuned, data())
    fresh = task()
    assert not torch.equal(prompts_of(fresh)["normal"], prompts_of(tuned)["normal"])
    fresh.load_prompts(tmp_path / "run")  # a run folder stands for its last checkpoint
    for name, tensor in prompts_of(tuned).items():
        assert torch.equal(tensor, prompts_of(fresh)[name])


def test_a_checkpoint_of_another_depth_is_refused(
    data: Callable[[], JsonDataModule], task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    trainer(tmp_path / "run", 1).fit(task(deep_blocks=3), data())
    other = task(deep_blocks=4)
    before = prompts_of(other)
    wanted = r"prompts.deep is \(2, 4, 64\) there and \(3, 4, 64\) here.*model.method.prompts"
    with pytest.raises(ValueError, match=wanted):
        other.load_prompts(tmp_path / "run" / "last.ckpt")
    with pytest.raises(ValueError, match=wanted):
        trainer(tmp_path / "again", 2).fit(
            other, data(), ckpt_path=str(tmp_path / "run" / "last.ckpt"), weights_only=True
        )
    assert all(torch.equal(tensor, prompts_of(other)[name]) for name, tensor in before.items())


def test_a_checkpoint_of_another_method_is_refused(
    task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    state = {
        f"method.{name}": tensor
        for name, tensor in task().method.state_dict().items()
        if "prompts" in name
    }
    file = tmp_path / "other.ckpt"
    torch.save({"state_dict": state, "zsad": {"method": "DHRCLIP", "model": "dhrclip"}}, file)
    with pytest.raises(
        ValueError, match=r"learned by DHRCLIP, this run uses AnomalyCLIP.*\"model\": \"dhrclip\""
    ):
        task().load_prompts(file)


def test_a_file_that_is_no_checkpoint_is_refused(
    task: Callable[..., PromptTuning], tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"conv.weight": torch.zeros(1)}, file)
    with pytest.raises(
        ValueError, match=r"no checkpoint of zsad.*Expected runs/train/NAME/checkpoints/last.ckpt"
    ):
        task().load_prompts(file)


@pytest.mark.parametrize(
    "content",
    [
        {"zsad": {}},
        {"zsad": [], "state_dict": {}},
        {"zsad": {}, "state_dict": {"method.prompts.normal": 3}},
        {"zsad": {"settings": []}, "state_dict": {}},
        {"prompt_learner": {"ctx_pos": 1, "ctx_neg": 2}},
    ],
)
def test_a_checkpoint_of_the_wrong_form_is_refused(
    task: Callable[..., PromptTuning], tmp_path: Path, content: dict[str, Any]
) -> None:
    file = tmp_path / "odd.ckpt"
    torch.save(content, file)
    with pytest.raises(ValueError, match=r"odd.ckpt|prompt_learner"):
        task().load_prompts(file)


class _Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("name", ["evil.ckpt", "evil.pth", "evil.safetensors"])
def test_a_malicious_pickle_as_checkpoint_is_refused_and_not_run(
    task: Callable[..., PromptTuning], name: str, tmp_path: Path
) -> None:
    file, victim = tmp_path / name, tmp_path / "was_here"
    torch.save({"state_dict": {}, "zsad": _Malicious(victim)}, file)
    with pytest.raises(ValueError, match=r"refused|not a readable safetensors"):
        task().load_prompts(file)
    assert not victim.exists()
