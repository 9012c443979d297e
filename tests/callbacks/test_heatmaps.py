"""Heat maps have one scale, no file is lost to another, only small candidates are kept."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader

from zsad.callbacks.heatmaps import HeatmapWriter
from zsad.reports.figures.contact_sheet import Thumbnail, draw_contact_sheet
from zsad.reports.figures.mask_outlines import outline_mask
from zsad.reports.figures.overlays import draw_heatmap, draw_overlay
from zsad.reports.figures.rgb_arrays import fit_longest_side, to_rgb_array
from zsad.types import Batch, Prediction, Sample

SIZE = 32


def trainer_of(samples=(), rank=0, world_size=1, barrier=lambda: None):
    return SimpleNamespace(
        world_size=world_size,
        is_global_zero=rank == 0,
        strategy=SimpleNamespace(barrier=barrier),
        datamodule=SimpleNamespace(test_samples=list(samples)) if samples else None,
    )


TRAINER = trainer_of()


def batch_of_samples(samples):
    return batch_of(
        [sample.image_path for sample in samples],
        categories=[sample.category for sample in samples],
        defects=[sample.defect for sample in samples],
        anomalous=[sample.is_anomalous for sample in samples],
    )


def indexed(kinds, category="tile"):
    """Samples in the order of an index: one kind after the other; every kind begins with 0.png."""
    return [
        Sample(
            Path(f"{category}/{kind}/{i}.png"),
            None,
            category,
            kind,
            is_anomalous=not kind.startswith("good"),
        )
        for kind, count in kinds.items()
        for i in range(count)
    ]


def batch_of(paths, categories=None, defects=None, anomalous=None, has_mask=True):
    count = len(paths)
    anomalous = anomalous or [True] * count
    mask = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    mask[:, 10:20, 10:20] = torch.tensor(anomalous)[:, None, None]
    return Batch(
        image=torch.full((count, 3, SIZE, SIZE), 0.5),
        mask=mask,
        has_mask=torch.full((count,), has_mask),
        is_anomalous=torch.tensor(anomalous),
        category=tuple(categories or ["tile"] * count),
        defect=tuple(defects or ["crack" if bad else "good" for bad in anomalous]),
        path=tuple(map(str, paths)),
    )


def predicted(batch, scores=None):
    scores = [0.0] * len(batch) if scores is None else scores
    return Prediction(map=batch.mask.float(), score=torch.tensor(scores))


def files_after(writer, *batches, trainer=TRAINER):
    writer.on_test_epoch_start(trainer, None)
    for batch in batches:
        writer.on_test_batch_end(trainer, None, predicted(batch), batch, 0)
    writer.on_test_epoch_end(trainer, None)
    return sorted(
        str(path.relative_to(writer.folder)) for path in writer.folder.rglob("*") if path.is_file()
    )


def test_each_image_has_a_file_by_category_defect_and_stem(tmp_path):
    batch = batch_of(["a/000.png", "a/001.jpg"], anomalous=[True, False])
    assert files_after(HeatmapWriter(tmp_path), batch) == [
        "tile.png",
        "tile/crack/000.png",
        "tile/good/001.png",
    ]


def test_equal_stems_do_not_overwrite_each_other(tmp_path):
    paths = ["a/000.png", "b/000.png", "b/000.jpg", "c/b/000.bmp"]
    files = files_after(HeatmapWriter(tmp_path, sheet_columns=0), batch_of(paths))
    assert files == [f"tile/crack/{stem}.png" for stem in ("000", "000_2", "000_3", "b_000")]


def test_every_kind_of_defect_is_written(tmp_path):
    """Even though the index lists them kind by kind."""
    samples = indexed({"good": 20, "blowhole": 20, "crack": 20, "uneven": 1})
    writer = HeatmapWriter(tmp_path, max_per_category=8, sheet_columns=0)
    files = files_after(
        writer, *map(batch_of_samples, zip(samples, strict=True)), trainer=trainer_of(samples)
    )
    assert sorted(Path(file).parts[1] for file in files) == ["blowhole"] * 2 + ["crack"] + [
        "good"
    ] * 4 + ["uneven"]
    assert {"tile/blowhole/5.png", "tile/blowhole/15.png", "tile/crack/10.png"} < set(files)


@pytest.mark.parametrize("limit", [6, None])
def test_two_processes_write_what_one_would(tmp_path, limit):
    samples = [
        replace(sample, defect=sample.defect[:-1])
        for sample in indexed({"good1": 6, "good2": 6, "bad1": 5, "bad2": 7})
    ]
    alone = HeatmapWriter(tmp_path / "alone", max_per_category=limit, sheet_columns=0)
    expected = files_after(alone, batch_of_samples(samples), trainer=trainer_of(samples))
    for rank in (0, 1):
        writer = HeatmapWriter(tmp_path / "both", max_per_category=limit, sheet_columns=0)
        trainer = trainer_of(samples, rank=rank, world_size=2)
        found = files_after(writer, batch_of_samples(samples[rank::2]), trainer=trainer)
    assert found == expected
    assert len(found) == (limit or len(samples))


def test_heat_maps_of_an_earlier_run_are_removed_first(tmp_path):
    """Other files stay."""
    files_after(
        HeatmapWriter(tmp_path),
        batch_of(["a/old.png"], categories=["gone"]),
        batch_of(["a/old.png"]),
    )
    (tmp_path / "notes.txt").write_text("mine")
    found = []
    second = trainer_of(rank=1, barrier=lambda: found.append(len(list(tmp_path.rglob("*.png")))))
    HeatmapWriter(tmp_path).on_test_epoch_start(second, None)
    first = trainer_of(barrier=lambda: found.append(len(list(tmp_path.rglob("*.png")))))
    assert files_after(HeatmapWriter(tmp_path), batch_of(["a/new.png"]), trainer=first) == [
        "notes.txt",
        "tile.png",
        "tile/crack/new.png",
    ]
    assert found == [4, 0]
    assert not (tmp_path / "gone").exists()


def test_predicting_removes_nothing(tmp_path):
    for name in ("first.png", "second.png"):
        writer, batch = HeatmapWriter(tmp_path), batch_of([name])
        writer.on_predict_epoch_start(TRAINER, None)
        writer.on_predict_batch_end(TRAINER, None, predicted(batch), batch, 0)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["first.png", "second.png"]


def test_a_second_run_replaces_the_files_of_the_first(tmp_path):
    writer = HeatmapWriter(tmp_path)
    assert files_after(writer, batch_of(["a/000.png"])) == files_after(
        writer, batch_of(["a/000.png"])
    )


def test_names_from_an_index_stay_inside_the_folder(tmp_path):
    batch = batch_of(["a/000.png"], categories=["../../outside"], defects=["/etc"])
    assert files_after(HeatmapWriter(tmp_path / "heatmaps"), batch) == [
        "_.._outside.png",
        "_.._outside/_etc/000.png",
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "heatmaps"]


@pytest.mark.parametrize(("limit", "good", "bad"), [(4, 2, 2), (1, 1, 1), (0, 0, 0), (None, 5, 5)])
def test_the_limit_is_shared_by_good_and_defective(tmp_path, limit, good, bad):
    batches = [batch_of([f"a/{i}.png", f"b/{i}.png"], anomalous=[True, False]) for i in range(5)]
    files = files_after(HeatmapWriter(tmp_path, max_per_category=limit, sheet_columns=0), *batches)
    assert (sum("good" in file for file in files), sum("crack" in file for file in files)) == (
        good,
        bad,
    )


def test_the_sheet_shows_the_extremes_of_all_images(tmp_path):
    """Only thumbnails of the extremes are kept."""
    writer = HeatmapWriter(tmp_path, max_per_category=0, sheet_columns=2)
    writer.on_test_epoch_start(TRAINER, None)
    for i in (3, 0, 9, 5, 7, 1):
        batch = batch_of([f"{i}.png", f"n{i}.png"], anomalous=[True, False])
        writer.on_test_batch_end(TRAINER, None, predicted(batch, [float(i), -float(i)]), batch, 0)
    shortlist = writer._shortlists["tile"]
    captions = [[thumbnail.caption.split()[0] for thumbnail in row] for _, row in shortlist.rows()]
    assert captions == [["-0.00", "-1.00"], ["+0.00", "+1.00"], ["+9.00", "+7.00"]]
    assert [
        len(row.entries)
        for row in (
            shortlist.lowest_defective,
            shortlist.highest_defective,
            shortlist.highest_normal,
        )
    ] == [2, 2, 2]


def test_an_image_without_a_place_on_the_sheet_is_not_drawn(tmp_path, monkeypatch):
    drawn, draw = [], HeatmapWriter._thumbnail
    monkeypatch.setattr(
        HeatmapWriter, "_thumbnail", lambda self, shot: drawn.append(shot.path) or draw(self, shot)
    )
    writer = HeatmapWriter(tmp_path, max_per_category=0, sheet_columns=2)
    writer.on_test_epoch_start(TRAINER, None)
    for score in (3.0, 1.0, 2.0, 2.0, 5.0, 0.0, 4.0):
        batch = batch_of([f"{score}.png"], anomalous=[False])
        writer.on_test_batch_end(TRAINER, None, predicted(batch, [score]), batch, 0)
    assert drawn == ["3.0.png", "1.0.png", "2.0.png", "5.0.png", "4.0.png"]


def test_an_image_is_drawn_in_the_proportions_of_its_file(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held sideways
    Image.new("RGB", (100, 50)).save(tmp_path / "wide.png")
    suffixes = ("jpg", "png", "tif", "webp")
    for suffix in suffixes:
        Image.new("RGB", (100, 50)).save(tmp_path / f"tall_{suffix}.{suffix}", exif=exif)
    batch = batch_of([tmp_path / "wide.png", tmp_path / "gone.png", *tmp_path.glob("tall_*")])
    writer = HeatmapWriter(tmp_path / "out", sheet_columns=0)
    files_after(writer, batch)
    drawn = {path.stem: Image.open(path).size for path in (tmp_path / "out/tile/crack").iterdir()}
    wide, square = drawn["wide"], drawn["gone"]
    for suffix in suffixes:
        tall = drawn[f"tall_{suffix}"]
        assert wide[0] == square[0] > tall[0]
        assert wide[1] < square[1] == tall[1]


def test_the_proportions_of_a_png_are_known_without_its_pixels(tmp_path):
    Image.effect_noise((100, 50), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    writer = HeatmapWriter(tmp_path / "out", sheet_columns=0)
    files_after(writer, batch_of([tmp_path / "cut.png", tmp_path / "gone.png"]))
    cut, square = (
        Image.open(tmp_path / "out/tile/crack" / f"{name}.png").size for name in ("cut", "gone")
    )
    assert cut[1] < square[1]


def test_predicted_images_are_all_written_under_their_category(tmp_path):
    writer = HeatmapWriter(tmp_path, max_per_category=2)
    batch = batch_of([f"{i}.png" for i in range(5)], has_mask=False)
    writer.on_predict_epoch_start(TRAINER, None)
    writer.on_predict_batch_end(TRAINER, None, predicted(batch), batch, 0)
    assert len(list((tmp_path / "tile").glob("*.png"))) == 5


def test_lightning_hands_the_prediction_to_the_writer(tmp_path):
    class Task(LightningModule):
        def test_step(self, batch):
            return predicted(batch)

    batches = [batch_of([f"{i}.png"]) for i in range(3)]
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[HeatmapWriter(tmp_path)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.test(Task(), DataLoader(batches, batch_size=None), verbose=False)
    assert len(list(tmp_path.rglob("*.png"))) == 4


def test_a_fixed_range_shows_equal_values_equally():
    """Without a range the values of each map are stretched."""
    picture = np.full((8, 8, 3), 128, np.uint8)
    faint = torch.linspace(0.0, 0.1, 64).reshape(8, 8)
    strong = faint.clone()
    strong[7, 7] = 1.0
    fixed = [draw_heatmap(picture, one, value_range=(0.0, 1.0)) for one in (faint, strong)]
    assert np.array_equal(fixed[0][:7], fixed[1][:7])
    assert draw_heatmap(picture, faint, value_range=None)[7, 7].tolist() == fixed[1][7, 7].tolist()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_map_has_one_colour_whatever_the_range(value):
    picture = np.full((8, 8, 3), 128, np.uint8)
    for value_range in ((0.0, 1.0), None):
        assert (
            len(
                np.unique(
                    draw_heatmap(picture, torch.full((8, 8), value), value_range).reshape(-1, 3),
                    axis=0,
                )
            )
            == 1
        )


def test_the_outline_runs_around_the_defect():
    """The defect and the rest of the image stay as they are."""
    picture = np.full((64, 64, 3), 100, np.uint8)
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[30:34, 30:34] = True
    drawn = outline_mask(picture, mask)
    assert (drawn[30:34, 30:34] == 100).all()
    assert drawn[20:44, 20:44].max() > 200
    assert (picture == 100).all()
    assert np.array_equal(outline_mask(picture, torch.zeros(64, 64, dtype=torch.bool)), picture)


def test_a_defect_of_one_pixel_is_outlined_at_thumbnail_size_too():
    mask = torch.zeros(500, 500, dtype=torch.bool)
    mask[251, 251] = True
    assert outline_mask(np.zeros((50, 50, 3), np.uint8), mask).max() > 200


def test_without_ground_truth_there_is_no_panel_for_it():
    image, anomaly_map = torch.rand(3, 40, 40), torch.rand(40, 40)
    without = draw_overlay(image, anomaly_map)
    with_truth = draw_overlay(image, anomaly_map, torch.zeros(40, 40, dtype=torch.bool))
    assert with_truth.shape[1] > without.shape[1] + 40


def test_an_image_keeps_its_colours_at_its_own_size():
    image = torch.rand(3, 20, 30)
    assert np.allclose(
        to_rgb_array(image, (30, 20)) / 255, image.permute(1, 2, 0).numpy(), atol=0.5 / 255 + 1e-6
    )


def test_a_long_caption_does_not_make_a_sheet_wider():
    picture = np.zeros((50, 50, 3), np.uint8)
    sheets = [
        draw_contact_sheet("t", [("row", [Thumbnail((picture, picture), text, True)])])
        for text in ("a", "a" * 99)
    ]
    assert sheets[0].shape == sheets[1].shape


def test_the_longer_side_is_the_one_asked_for():
    assert (
        fit_longest_side((100, 50), 20),
        fit_longest_side((50, 100), 20),
        fit_longest_side((1000, 1), 20),
    ) == ((20, 10), (10, 20), (20, 1))


def test_maps_and_images_of_different_sizes_share_a_picture():
    batch = batch_of(["0.png"])
    small = replace(predicted(batch), map=torch.rand(1, 7, 7))
    assert draw_overlay(batch.image[0], small.map[0], batch.mask[0], size=(60, 60)).shape[0] > 60


def test_drawing_needs_no_file(tmp_path):
    assert files_after(HeatmapWriter(tmp_path / "new" / "folder"), batch_of([Path("nowhere.png")]))
