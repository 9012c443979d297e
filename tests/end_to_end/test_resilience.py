"""A killed run loses no file, and the same command resumes it to the same result."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.end_to_end.conftest import RunScript, Zsad
from tests.end_to_end.processes import arguments, files, finish, read, readable, start
from tests.end_to_end.small_datasets import write_dataset
from zsad.config import compose
from zsad.data import images
from zsad.data.module import EpochSampler
from zsad.methods.anomalyclip import AnomalyCLIP
from zsad.model_files.run_checkpoints import find_checkpoint
from zsad.reports.sweep_runs import collect
from zsad.reports.sweep_table import headline
from zsad.types import Prediction

EPOCHS = 3
TRAIN = ["dataset=synthetic_a", f"epochs={EPOCHS}"]
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    names = ("synthetic_a", "synthetic_b")
    for seed, name in enumerate(names):
        write_dataset(place, name, seed)
    (place / "data_json" / "roots.json").write_text(
        json.dumps({name: str(place / name) for name in names})
    )
    return place


def disturbed(
    script: str, given: list[str], folder: Path, kills: int, files: int, moments: random.Random
) -> None:
    """Begin a command again and again, each time to be killed, and at last let it come to its end.

    Args:
        script: train.py or test.py.
        given: Its arguments.
        folder: Of the run.
        kills: Number of kills; one half at a random time, the other at one of the first ``files``
            that a start writes.
        files: Number of first files.
        moments: When.
    """
    screen, ends = folder.with_suffix(".txt"), []
    for turn in range(kills):
        if turn % 2:
            process = start(script, given, screen)
            process.join(moments.uniform(0.5, 2.5))
        else:
            process = start(
                script,
                given,
                screen,
                (moments.randint(1, files), moments.choice(["half", "whole"])),
            )
            process.join()
        process.kill()
        process.join()
        ends.append(process.exitcode)
        readable(folder)
    assert set(ends) <= {0, -signal.SIGKILL}, screen.read_text()[-3000:]
    assert ends.count(-signal.SIGKILL) >= kills // 2, (
        "most starts came to their end before they were killed"
    )
    finish(script, given, screen)


def check_kills(place: Path, tmp_path: Path, kills: int, epochs: int) -> None:
    """Train and test, undisturbed and killed so many times.

    The prompts and all numbers are compared to the last bit.
    """
    moments = random.Random(8)
    folders = {}
    for name, count in (("calm", 0), ("killed", kills)):
        learned, tested = tmp_path / name / "learned", tmp_path / name / "tested"
        learned.parent.mkdir()
        train = arguments(place, learned, "dataset=synthetic_a", f"epochs={epochs}", "resume=auto")
        disturbed("train.py", train, learned, count // 2, 7, moments)
        test = arguments(
            place,
            tested,
            "dataset=[synthetic_b,synthetic_a]",
            f"ckpt_path={learned}",
            "resume=auto",
        )
        disturbed("test.py", test, tested, count - count // 2, 25, moments)
        folders[name] = (learned, tested)
        for folder in folders[name]:
            for file in files(folder):
                read(file)
            assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    states = [
        torch.load(a / "checkpoints" / "last.ckpt", weights_only=True) for a, _ in folders.values()
    ]
    assert [state["epoch"] for state in states] == [epochs - 1] * 2
    for key, tensor in states[0]["state_dict"].items():
        assert torch.equal(tensor, states[1]["state_dict"][key])
    for table in (
        "results.csv",
        "results.md",
        "synthetic_a/results.csv",
        "synthetic_b/results.csv",
    ):
        assert (folders["calm"][1] / table).read_text() == (
            folders["killed"][1] / table
        ).read_text(), table


def test_a_run_killed_while_writing_ends_the_same(place: Path, tmp_path: Path) -> None:
    check_kills(place, tmp_path, kills=6, epochs=4)


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_the_same(place: Path, tmp_path: Path) -> None:
    check_kills(place, tmp_path, kills=20, epochs=25)


@pytest.fixture
def run(place: Path, tmp_path: Path, run_script: RunScript) -> Iterator[Run]:
    """Run train.py or test.py in this process and return its folder.

    It runs on one thread, as the other processes do, so that results agree to the last bit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(script: str, *given: str, folder: str = "run") -> Path:
        run_script(script, *arguments(place, tmp_path / folder, *given))
        return tmp_path / folder

    yield run
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    finish("train.py", arguments(place, folder, *TRAIN), folder.with_suffix(".txt"))
    return folder


def epoch_of(folder: Path) -> int:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]


def state_of(folder: Path) -> str:
    return json.loads((folder / "status.json").read_text())["state"]


@contextmanager
def truncated(picture: Path) -> Iterator[None]:
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    yield
    picture.write_bytes(whole)


def test_an_unreadable_image_costs_only_its_epoch(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, set_epoch = place / "synthetic_a" / "nut" / "1.png", EpochSampler.set_epoch

    def break_later(sampler: EpochSampler, epoch: int) -> None:
        set_epoch(sampler, epoch)
        if epoch == 2:
            picture.write_bytes(picture.read_bytes()[:200])

    whole = picture.read_bytes()
    monkeypatch.setattr(EpochSampler, "set_epoch", break_later)
    with pytest.raises(SystemExit) as answer:
        run("train.py", *TRAIN)
    picture.write_bytes(whole)
    monkeypatch.undo()
    words = " ".join(str(answer.value).split())
    assert re.search(
        r"error: .*nut/1\.png.* It ended in epoch 3 of 3\. "
        r"The last good checkpoint: \S*/last\.ckpt\.",
        words,
    )
    assert re.search(r"To resume from there: python train\.py .*epochs=3 resume=auto", words)
    assert "nut/1.png" in (tmp_path / "run" / "train.log").read_text()
    assert state_of(tmp_path / "run") == "failed"
    assert epoch_of(tmp_path / "run") == 1
    assert epoch_of(run("train.py", *TRAIN, "resume=auto")) == 2
    assert state_of(tmp_path / "run") == "finished"


def test_a_loader_process_that_dies_is_told_in_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, parent = images.load_image, os.getpid()

    def die(path: Path, *options: Any) -> Image.Image:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(path, *options)

    monkeypatch.setattr(images, "load_image", die)
    with pytest.raises(
        SystemExit, match=r"error: a process that reads images died \(pid \d+\)(.|\n)*num_workers=1"
    ):
        run("train.py", *TRAIN, "dataset.num_workers=1")


def test_a_full_disk_costs_nothing_that_was_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, calls = os.fsync, iter(range(100))

    def full(descriptor: int) -> None:
        if next(calls) == 2:  # each epoch writes its own checkpoint, and last.ckpt
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        SystemExit, match=r"the disk is full: \S*/epoch_01\.ckpt could not be written"
    ) as answer:
        run("train.py", *TRAIN)
    monkeypatch.undo()
    assert "The last good checkpoint" in str(answer.value)
    assert not any(file.name.endswith(".partial") for file in files(tmp_path / "run"))
    readable(tmp_path / "run")
    assert epoch_of(run("train.py", *TRAIN, "resume=auto")) == 2


def test_a_finished_training_says_so_and_stays_as_it_is(
    run: Run, trained: Path, capsys: Any
) -> None:
    there = {
        file: file.read_bytes()
        for file in files(trained)
        if ".hydra" not in file.parts and file.suffix != ".log"
    }
    again = (*TRAIN, f"hydra.run.dir={trained}")
    with pytest.raises(
        SystemExit, match=r"already holds a training, finished \S+\. Look at it: .*overwrite=true"
    ):
        run("train.py", *again)
    run("train.py", *again, "resume=auto")  # the end of a loop: no error
    assert (
        "Test it: python test.py dataset=mvtec model=anomalyclip backbone=pocket"
        in capsys.readouterr().out
    )
    assert {file: file.read_bytes() for file in there} == there


def test_a_stopped_training_resumes_with_the_same_settings_only(
    run: Run, trained: Path, place: Path
) -> None:
    folder = trained.parent / "stopped"
    shutil.copytree(trained, folder)
    said = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(
        json.dumps(said | {"state": "running"})
    )  # whose process is no more
    (folder / "checkpoints" / "epoch_02.ckpt").unlink()
    shutil.copy(folder / "checkpoints" / "epoch_01.ckpt", folder / "checkpoints" / "last.ckpt")
    again = (*TRAIN, f"hydra.run.dir={folder}")
    with pytest.raises(SystemExit, match=r"already holds a training\. To resume it: resume=auto"):
        run("train.py", *again)
    with pytest.raises(
        SystemExit, match=r"model\.optimizer\.lr=0\.001 then, model\.optimizer\.lr=0\.1 now"
    ):
        run("train.py", *again, "resume=auto", "model.optimizer.lr=0.1")
    with pytest.raises(SystemExit, match=r"resume=auto and overwrite=true: expected one of them"):
        run("train.py", *again, "resume=auto", "overwrite=true")
    run("train.py", *again, "resume=auto")
    ends = [
        torch.load(one / "checkpoints" / "last.ckpt", weights_only=True)
        for one in (trained, folder)
    ]
    for key, tensor in ends[0]["state_dict"].items():
        assert torch.equal(tensor, ends[1]["state_dict"][key])


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", None])
def test_a_damaged_last_checkpoint_gives_way_to_the_newest_sound(
    run: Run, trained: Path, tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(trained, folder)
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000] if damage is None else damage)
    assert find_checkpoint(folder).name == "epoch_02.ckpt"
    assert "last.ckpt is damaged, taking" in caplog.text
    (folder / "checkpoints" / "epoch_02.ckpt").write_bytes(b"")
    (folder / "status.json").unlink()
    run("train.py", *TRAIN, "resume=auto", folder="damaged")
    assert epoch_of(folder) == 2


def test_a_stopped_test_resumes_with_unfinished_datasets(
    run: Run, trained: Path, place: Path, tmp_path: Path
) -> None:
    both = ["dataset=[synthetic_b,synthetic_a]", f"ckpt_path={trained}"]
    with (
        truncated(place / "synthetic_a" / "bolt" / "0.png"),
        pytest.raises(
            SystemExit,
            match=r"bolt/0\.png(.|\n)*Tested so far: synthetic_b\. The same command continues",
        ),
    ):
        run("test.py", *both)
    first = (tmp_path / "run" / "synthetic_b" / "report.html").stat().st_mtime_ns
    folder = run("test.py", *both)
    assert (folder / "synthetic_b" / "report.html").stat().st_mtime_ns == first
    joined = (folder / "results.csv").read_text()
    with pytest.raises(
        SystemExit, match=r"already holds a test, finished .*report\.html.*overwrite=true"
    ):
        run("test.py", *both)
    run("test.py", *both, "overwrite=true")
    assert (folder / "synthetic_b" / "report.html").stat().st_mtime_ns > first
    assert (folder / "results.csv").read_text() == joined


def test_out_of_memory_halves_batches_and_changes_no_number(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    test = ["dataset=synthetic_b", f"ckpt_path={trained}", "dataset.test_batch_size=4"]
    calm = run("test.py", *test, folder="calm")
    forward = AnomalyCLIP.forward

    def small(self: AnomalyCLIP, image: torch.Tensor, category: Sequence[str]) -> Prediction:
        if len(image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, image, category)

    monkeypatch.setattr(AnomalyCLIP, "forward", small)
    halved = run("test.py", *test)
    assert "out of memory with 4 images at once, continuing with 2" in capsys.readouterr().out
    assert (halved / "results.csv").read_text() == (calm / "results.csv").read_text()


def test_a_failing_run_of_a_sweep_does_not_end_the_others(
    zsad: Zsad, place: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    given = [one for one in arguments(place, sweep, *TRAIN) if not one.startswith("hydra.run.dir")]
    given += [f"hydra.sweep.dir={sweep}", "epochs=1", "dataset.categories=[nut],[gaer],[bolt]"]
    process = start(
        "train.py",
        ["-m", *compose.read_arguments(["-m", *given])[1:]],
        screen := tmp_path / "screen.txt",
    )
    process.join()
    assert process.exitcode == 1, screen.read_text()
    assert "Traceback" not in screen.read_text()
    shown = zsad("collect", sweep)
    assert shown.exit_code == 0, shown.output
    rows = {one.state: one for one in collect([sweep])}
    assert headline(collect([sweep])) == "runs: 2 finished, 1 failed"
    assert "gaer" in rows["failed"].remark
    assert re.search(r"python train\.py .*\[gaer\].* resume=auto hydra\.run\.dir=\S+", shown.output)
    assert float(rows["finished"].loss) > 0
