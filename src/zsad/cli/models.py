"""Commands that use a trained or a training-free model: predict, calibrate, export, submission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zsad.cli.load_model import build_task, config_of_checkpoint
from zsad.cli.options import MODELS, Backbone, Checkpoint, DataJson, Model, Override, app
from zsad.config import compose, errors, instantiate, model_facts

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from zsad.model_files.threshold_file import Thresholds


@app.command(rich_help_panel=MODELS)
def predict(
    checkpoint: Checkpoint,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder of heat maps and scores.csv.")] = Path(
        "runs/predict"
    ),
    model: Model = None,
    backbone: Backbone = None,
    category: Annotated[
        str, typer.Option(help="Object in the images, for methods whose prompts name it.")
    ] = "object",
    thresholds: Annotated[
        Path | None, typer.Option(help="A calibrated run; by default CHECKPOINT's own thresholds.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Fill anomalous regions with a normal surface.")
    ] = False,
    override: Override = None,
) -> None:
    """Score your own images and draw their heat maps.

    With thresholds (from `zsad calibrate`, or a test) images get verdicts, defective or good, and
    heat maps get contours. With `--restore` it also writes each image without its defects, and the
    difference.
    """
    from omegaconf import OmegaConf

    from zsad.model_files.threshold_file import made_with
    from zsad.runs import judge
    from zsad.runs.predict import choose_value_range, find_images, image_loader

    with errors.clear_errors():
        files = find_images(images)
        config, _ = config_of_checkpoint(checkpoint, model, backbone, override or [])
        _write_into(config, out)
        task = build_task(config, checkpoint)
        kept = judge.kept_value_range(checkpoint, thresholds)
        given = OmegaConf.select(config, "dataset.value_range")
        value_range, notes = choose_value_range(files, given, kept)
        made = made_with(task.method, config.image_size, 0, value_range or kept)
        chosen, threshold_notes = judge.find_thresholds(checkpoint, thresholds, made)
        for note in notes + threshold_notes:
            typer.echo(f"note: {note}", err=True)
        if chosen:
            _judge_by(config, chosen)
        config.callbacks.restoration.enabled |= restore
        trainer = instantiate.build_trainer(config)
        loader = image_loader(files, config.image_size, category, value_range)
        trainer.predict(task, loader, return_predictions=False)
    written = f"{out}/heatmaps, {out}/scores.csv"
    if restore:
        written += f", {out}/restored"
    typer.echo(f"{judge.prediction_summary(trainer, len(files), chosen)}: {written}")


@app.command(rich_help_panel=MODELS)
def calibrate(
    checkpoint: Checkpoint,
    dataset: Annotated[
        str, typer.Argument(help="A prepared, labelled dataset like the images to inspect.")
    ],
    rule: Annotated[
        str,
        typer.Option(help="f1_max, fpr=0.05 (share of good images called defective), normal_only."),
    ] = "f1_max",
    pixel_rule: Annotated[
        str | None, typer.Option(help="Rule of the pixel threshold; by default the same.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File of the thresholds; by default beside CHECKPOINT.")
    ] = None,
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Choose image and pixel thresholds on a labelled dataset and store them with the run.

    `zsad predict` with the same checkpoint then gives verdicts and draws contours.
    """
    from zsad.model_files.threshold_file import FILE, OPTIMISTIC
    from zsad.runs import judge

    with errors.clear_errors():
        choice = compose.read_arguments([f"dataset={dataset}"])
        overrides = [*choice, *(override or [])]
        config, _ = config_of_checkpoint(checkpoint, model, backbone, overrides)
        config.paths.data_json = str(data_json)
        file = out or judge.thresholds_file(checkpoint)
        if file is None:  # a training-free model has no folder of its own
            file = Path("runs/calibrate") / f"{checkpoint}_{dataset}" / FILE
        rules = {"image_rule": rule, "pixel_rule": pixel_rule or rule}
        config.callbacks.thresholds.update({"file": str(file), **rules})
        config.callbacks = {name: config.callbacks[name] for name in ("progress", "thresholds")}
        data = instantiate.build(config.dataset)
        data.setup("test")
        judge.prepare_calibration(data, list(rules.values()))
        task = build_task(config, checkpoint)
        trainer = instantiate.build_trainer(config)
        trainer.test(task, data, verbose=False)
    sentences = judge.chosen_thresholds(trainer).sentences()
    typer.echo("\n".join([*sentences, OPTIMISTIC, f"written: {file}"]))


@app.command(rich_help_panel=MODELS)
def export(
    checkpoint: Checkpoint,
    file: Annotated[
        Path, typer.Argument(help="NAME.safetensors, or NAME.pth for the published programs.")
    ],
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
) -> None:
    """Save the learned prompts of a checkpoint alone, for other runs and for published programs."""
    from zsad.model_files.exported_prompts import save_prompts

    with errors.clear_errors():
        config, provenance = config_of_checkpoint(checkpoint, model, backbone, override or [])
        is_name = not checkpoint.exists()
        if is_name or not model_facts.is_trainable(config):
            raise ValueError(f"{checkpoint} holds no learned prompts: there is nothing to export")
        save_prompts(file, build_task(config, checkpoint).method, provenance)
    typer.echo(file)


@app.command(rich_help_panel=MODELS)
def submission(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Folder of the submission, 0shot/….")] = Path(
        "runs/submission"
    ),
    dataset: Annotated[
        str, typer.Option(help="A prepared dataset of images without labels.")
    ] = "visa_challenge",
    track: Annotated[
        str, typer.Option(help="Only images below a folder of this name.")
    ] = "vand_0shot",
    size_px: Annotated[int, typer.Option(min=1, help="Side of the written maps, in pixels.")] = 400,
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Write a submission to the VisA challenge: scores and maps of images without public labels."""
    from zsad.callbacks.visa_submission import SubmissionWriter
    from zsad.runs.predict import sample_loader, unlabelled_samples

    with errors.clear_errors():
        samples = unlabelled_samples(dataset, data_json, track)
        config, _ = config_of_checkpoint(checkpoint, model, backbone, override or [])
        _write_into(config, out)  # a few heat maps and scores.csv, beside the submission
        task = build_task(config, checkpoint)
        trainer: Any = instantiate.build_trainer(config)
        trainer.callbacks.append(SubmissionWriter(out, size_px=size_px))
        loader = sample_loader(samples, config.image_size)
        trainer.predict(task, loader, return_predictions=False)
    categories = {sample.category for sample in samples}
    typer.echo(f"{len(samples)} images of {len(categories)} classes: {out}/0shot/0")


def _write_into(config: DictConfig, folder: Path) -> None:
    # Set, not composed: Hydra would parse the blanks and commas of a path.
    config.paths.output_dir = str(folder)


def _judge_by(config: DictConfig, thresholds: Thresholds) -> None:
    """Give the callbacks the thresholds of their scores."""
    callbacks = config.callbacks
    callbacks.scores.threshold = thresholds.image and thresholds.image.value
    callbacks.heatmaps.threshold = thresholds.pixel and thresholds.pixel.value
    callbacks.restoration.threshold = thresholds.pixel and thresholds.pixel.value
