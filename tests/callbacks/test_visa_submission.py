"""A submission holds every image once, scaled class by class, and never a mixture of two runs."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from zsad.callbacks.visa_submission import SubmissionWriter, resized, write_submission
from zsad.types import Batch, Prediction


def predicted(category, names, maps, scores):
    """Return a batch of one class, and what a method said about it."""
    count = len(names)
    batch = Batch(
        image=torch.zeros(count, 3, 4, 4),
        mask=torch.zeros(count, 4, 4, dtype=torch.bool),
        has_mask=torch.zeros(count, dtype=torch.bool),
        is_anomalous=torch.ones(count, dtype=torch.bool),
        category=(category,) * count,
        defect=("unlabelled",) * count,
        path=tuple(f"/in/Test/{category}/Images/{name}" for name in names),
    )
    return batch, Prediction(map=torch.as_tensor(maps), score=torch.as_tensor(scores))


@pytest.fixture
def two_classes():
    """Candles in two batches, with a board between them."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(4, 6, 6, generator=generator)
    return [
        predicted("candle", ["000.JPG", "001.JPG"], maps[:2], [-3.0, 5.0]),
        predicted("pcb1", ["000.JPG"], maps[2:3] * 100, [7.0]),
        predicted("candle", ["a-b.c.JPG"], maps[3:], [1.0]),
    ]


def image_of(folder, name):
    with np.load(folder / "Unknown/segmentation" / f"{name}.npz") as archive:
        assert archive.files == ["img"]
        return archive["img"]


def score_of(folder, name):
    return (folder / "Unknown/classification" / f"{name}.txt").read_text()


def contents_of(folder):
    files = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    return {
        name: np.load(path)["img"].tobytes() if name.endswith("npz") else path.read_text()
        for name, path in files.items()
    }


def test_every_image_has_a_score_and_a_map(two_classes, tmp_path):
    """No other files are left."""
    written = write_submission(two_classes, tmp_path, shots=5, run=2, size_px=None)
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(written) == files
    assert len(written) == len(files) == 8
    assert {path.relative_to(tmp_path).parts[:2] for path in files} == {("5shot", "2")}
    assert sorted(path.name for path in (tmp_path / "5shot/2").iterdir()) == ["candle", "pcb1"]


def test_maps_are_scaled_over_their_class(two_classes, tmp_path):
    """Not over each image, and not over all classes."""
    write_submission(two_classes, tmp_path, size_px=None)
    candles = torch.cat([two_classes[0][1].map, two_classes[2][1].map]).double().numpy()
    expected = np.round(255 * (candles - candles.min()) / (candles.max() - candles.min()))
    stored = np.stack(
        [image_of(tmp_path / "0shot/0/candle", name) for name in ("000", "001", "a-b.c")]
    )
    assert np.abs(stored - expected).max() <= 1  # float32 against float64, at a half
    assert (stored.min(), stored.max()) == (0, 255)
    board = image_of(tmp_path / "0shot/0/pcb1", "000")
    assert (board.min(), board.max()) == (0, 255)


def test_image_scores_are_scaled_over_their_class(two_classes, tmp_path):
    """They have five decimals."""
    write_submission(two_classes, tmp_path)
    shown = [score_of(tmp_path / "0shot/0/candle", name) for name in ("000", "001", "a-b.c")]
    assert shown == ["0.00000", "1.00000", "0.50000"]


def test_the_maximum_of_the_scaled_map_can_be_the_image_score(two_classes, tmp_path):
    write_submission(two_classes, tmp_path, size_px=None, score_of_map=True)
    folder = tmp_path / "0shot/0/candle"
    for name in ("000", "001", "a-b.c"):
        assert float(score_of(folder, name)) == pytest.approx(
            image_of(folder, name).max() / 255, abs=0.5 / 255 + 1e-5
        )


def test_a_class_without_any_difference_is_all_zero(tmp_path):
    write_submission(
        [predicted("candle", ["0.JPG", "1.JPG"], torch.full((2, 4, 4), 0.3), [2.0, 2.0])], tmp_path
    )
    assert not image_of(tmp_path / "0shot/0/candle", "1").any()
    assert score_of(tmp_path / "0shot/0/candle", "1") == "0.00000"


def test_maps_are_resized_as_opencv_does():
    maps = torch.rand(2, 30, 45, generator=torch.Generator().manual_seed(5))
    expected = np.stack(
        [cv2.resize(one, (40, 40), interpolation=cv2.INTER_CUBIC) for one in maps.numpy()]
    )
    np.testing.assert_allclose(resized(maps, 40).numpy(), expected, atol=2e-5)
    torch.testing.assert_close(resized(maps, None), maps)


def test_written_maps_have_the_fixed_size_by_default(two_classes, tmp_path):
    write_submission(two_classes, tmp_path)
    assert image_of(tmp_path / "0shot/0/pcb1", "000").shape == (400, 400)


def test_two_images_of_one_name_are_refused(tmp_path):
    twice = predicted("candle", ["000.JPG", "000.png"], torch.rand(2, 4, 4), [0.0, 1.0])
    with pytest.raises(
        ValueError,
        match=r"two images of one class are named 000, .*000\.JPG and .*000\.png: a submission",
    ):
        write_submission([twice], tmp_path)


@pytest.mark.parametrize("broken", ["map", "score"])
def test_values_that_are_not_finite_are_refused(tmp_path, broken):
    batch, prediction = predicted("candle", ["000.JPG"], torch.rand(1, 4, 4), [0.0])
    getattr(prediction, broken).view(-1)[0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        write_submission([(batch, prediction)], tmp_path)


@pytest.mark.parametrize("category", ["..", ".", "", "a/b", "../b", "/tmp"])
def test_a_class_cannot_lead_out_of_the_folder(tmp_path, category):
    with pytest.raises(ValueError, match="cannot name a folder"):
        write_submission(
            [predicted(category, ["000.JPG"], torch.rand(1, 4, 4), [0.0])], tmp_path / "out"
        )


def test_a_finished_submission_is_not_mixed_with_another(two_classes, tmp_path):
    write_submission(two_classes, tmp_path)
    with pytest.raises(ValueError, match="holds a submission already"):
        write_submission(two_classes[:1], tmp_path)
    assert len(write_submission(two_classes[:1], tmp_path, run=1)) == 4


def test_what_a_stopped_run_left_behind_is_not_submitted(two_classes, tmp_path):
    stopped = SubmissionWriter(tmp_path)
    stopped.start()
    stopped.add(*two_classes[0])
    assert len(write_submission(two_classes[1:2], tmp_path)) == 2
    assert sorted(path.name for path in (tmp_path / "0shot/0").iterdir()) == ["pcb1"]


def test_the_callback_writes_what_the_function_writes(two_classes, tmp_path):
    write_submission(two_classes, tmp_path / "function")
    callback = SubmissionWriter(tmp_path / "callback")
    trainer = SimpleNamespace(world_size=1)
    callback.on_predict_start(trainer, None)
    for i, (batch, prediction) in enumerate(two_classes):
        callback.on_predict_batch_end(trainer, None, prediction, batch, i)
    callback.on_predict_end(trainer, None)
    contents = [contents_of(tmp_path / name) for name in ("function", "callback")]
    assert contents[0] == contents[1]


def test_several_processes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got 2: set trainer\.devices=1"):
        SubmissionWriter(tmp_path).on_predict_start(SimpleNamespace(world_size=2), None)
