"""Commands that use what was learned, or a model that learns nothing: predict, calibrate, export, submit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zsad.cli.load_model import build_task, config_of_checkpoint
from zsad.cli.options import Backbone, Checkpoint, DataJson, Model, Override, app
from zsad.config import compose, errors, instantiate, model_facts


@app.command()
def predict(
    checkpoint: Checkpoint,
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders that are searched for them.")
    ],
    out: Annotated[Path, typer.Option(help="Where heat maps and scores.csv go.")] = Path(
        "runs/predict"
    ),
    model: Model = None,
    backbone: Backbone = None,
    category: Annotated[
        str, typer.Option(help="What is in the images, for methods that want to know.")
    ] = "object",
    thresholds: Annotated[
        Path | None, typer.Option(help="A calibrated run; by default CHECKPOINT's own.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Fill what is anomalous with what is normal.")
    ] = False,
    override: Override = None,
) -> None:
    """Draw a heat map of every image and write their scores, for pictures without a dataset.

    With thresholds (``zsad calibrate``, or a test) it also says defective or good, and draws contours. With --restore
    it shows each image as it might look without its defects, and the difference.
    """
    from zsad.model_files.threshold_file import made_with
    from zsad.runs import judge
    from zsad.runs.predict import find_images, image_loader

    with errors.clear_errors():
        files = find_images(images)
        config, _ = config_of_checkpoint(checkpoint, model, backbone, override or [])
        config.paths.output_dir = str(
            out
        )  # set, not composed: Hydra would parse the blanks and commas of a path
        task = build_task(config, checkpoint)
        made = made_with(task.method, config.image_size, references=0)
        chosen, notes = judge.find_thresholds(checkpoint, thresholds, made)
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        if chosen:
            config.callbacks.scores.threshold = chosen.image and chosen.image.value
            config.callbacks.heatmaps.threshold = chosen.pixel and chosen.pixel.value
            config.callbacks.restoration.threshold = chosen.pixel and chosen.pixel.value
        config.callbacks.restoration.enabled |= restore
        trainer = instantiate.build_trainer(config)
        trainer.predict(
            task, image_loader(files, config.image_size, category), return_predictions=False
        )
    written = ["heatmaps", "scores.csv", *(["restored"] if restore else [])]
    typer.echo(
        f"{judge.prediction_summary(trainer, len(files), chosen)}: {', '.join(f'{out}/{name}' for name in written)}"
    )


@app.command()
def calibrate(
    checkpoint: Checkpoint,
    dataset: Annotated[str, typer.Argument(help="A prepared dataset of what will be inspected.")],
    rule: Annotated[
        str, typer.Option(help="f1_max, fpr=0.05 (share of the good ones), normal_only.")
    ] = "f1_max",
    pixel_rule: Annotated[str | None, typer.Option(help="Another rule for the contours.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the thresholds go; by default to CHECKPOINT.")
    ] = None,
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Choose from which score on `zsad predict` calls an image, and a pixel, defective; and keep it with the run."""
    from zsad.model_files.threshold_file import FILE, OPTIMISTIC
    from zsad.runs import judge

    with errors.clear_errors():
        choice = compose.read_arguments([f"dataset={dataset}"])
        config, _ = config_of_checkpoint(checkpoint, model, backbone, [*choice, *(override or [])])
        config.paths.data_json = str(data_json)
        file = (
            out
            or judge.thresholds_file(checkpoint)
            or Path("runs/calibrate") / f"{checkpoint}_{dataset}" / FILE
        )
        rules = {"image_rule": rule, "pixel_rule": pixel_rule or rule}
        config.callbacks.thresholds.update({"file": str(file), **rules})
        config.callbacks = {name: config.callbacks[name] for name in ("progress", "thresholds")}
        data = instantiate.build(config.dataset)
        data.setup("test")
        judge.prepare_calibration(data, list(rules.values()))
        task, trainer = build_task(config, checkpoint), instantiate.build_trainer(config)
        trainer.test(task, data, verbose=False)
    typer.echo(
        "\n".join([*judge.chosen_thresholds(trainer).sentences(), OPTIMISTIC, f"written: {file}"])
    )


@app.command()
def export(
    checkpoint: Checkpoint,
    file: Annotated[
        Path, typer.Argument(help="NAME.safetensors, or NAME.pth for the published programs.")
    ],
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
) -> None:
    """Save the learned prompts alone, for other runs, for other people, or for the published programs."""
    from zsad.model_files.exported_prompts import save_prompts

    with errors.clear_errors():
        config, learned = config_of_checkpoint(checkpoint, model, backbone, override or [])
        if not model_facts.is_trainable(config) or not checkpoint.exists():  # the name of a model
            raise ValueError(f"{checkpoint} learns nothing, so there is nothing to export")
        save_prompts(file, build_task(config, checkpoint).method, learned)
    typer.echo(file)


@app.command()
def submission(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Where 0shot/… goes.")] = Path("runs/submission"),
    dataset: Annotated[
        str, typer.Option(help="A prepared dataset with images without labels.")
    ] = "visa_challenge",
    track: Annotated[
        str, typer.Option(help="Only images below a folder of this name.")
    ] = "vand_0shot",
    size_px: Annotated[int, typer.Option(min=1, help="Side of the written maps.")] = 400,
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Write the files of the VisA challenge: scores and maps of images whose labels are not published."""
    from zsad.callbacks.visa_submission import SubmissionWriter
    from zsad.runs.predict import sample_loader, unlabelled_samples

    with errors.clear_errors():
        samples = unlabelled_samples(dataset, data_json, track)
        config, _ = config_of_checkpoint(checkpoint, model, backbone, override or [])
        config.paths.output_dir = str(out)  # a few heat maps and scores.csv lie beside it
        task, trainer = build_task(config, checkpoint), instantiate.build_trainer(config)
        trainer.callbacks.append(SubmissionWriter(out, size_px=size_px))  # type: ignore[attr-defined]
        trainer.predict(task, sample_loader(samples, config.image_size), return_predictions=False)
    typer.echo(
        f"{len(samples)} images of {len({sample.category for sample in samples})} classes: {out}/0shot/0"
    )
