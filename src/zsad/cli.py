"""``zsad``: everything that is not training or testing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from omegaconf import DictConfig
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from zsad import build

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Zero-shot anomaly detection."
)

# Datasets that are generated, not downloaded, and the worlds that they consist of.
GENERATED = {"synthetic": ("a", "b")}
Checkpoint = Annotated[
    Path, typer.Argument(help="A run folder, a .ckpt, exported .safetensors, or a published epoch_N.pth.")
]
Model = Annotated[str | None, typer.Option(help="By default the one the checkpoint was learned with.")]
Backbone = Annotated[str | None, typer.Option(help="By default the one the checkpoint was learned with.")]
Override = Annotated[list[str] | None, typer.Option("--set", help="Any key.path=value of the configuration.")]
DataJson = Annotated[Path, typer.Option(help="Folder of the dataset indexes.")]


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Name of the dataset from now on: dataset=NAME.")],
    root: Annotated[Path, typer.Argument(help="The unpacked download. For 'synthetic': where to write the images.")],
    layout: Annotated[str | None, typer.Option(help="How ROOT is laid out; by default as NAME's download.")] = None,
    normal: Annotated[list[str] | None, typer.Option(help="Other names of the folder of normal images.")] = None,
    mask_suffix: Annotated[str | None, typer.Option(help="Another end of mask names, such as _GT.")] = None,
    allow_missing_masks: Annotated[bool, typer.Option(help="Accept defective images without their mask.")] = False,
    data_json: DataJson = Path("data_json"),
    conf: Annotated[Path, typer.Option(help="Where dataset configurations are.")] = build.CONF / "dataset",
) -> None:
    """Write the index of a download, checking every file. The download itself is not altered.

    ``zsad prepare synthetic ROOT`` first generates two sets of images, synthetic_a to learn from and synthetic_b to
    test on, for which nothing has to be downloaded.
    """
    from zsad.data.prepare import prepare as write_index
    from zsad.data.synthetic import write_synthetic

    with build.clear_errors():
        worlds = {f"{name}_{world}": world for world in GENERATED.get(name, ())}
        generated = {each: (write_synthetic(root / each, world=world), "mvtec") for each, world in worlds.items()}
        for dataset, (folder, its_layout) in (generated or {name: (root, layout)}).items():
            with _progress(f"reading {dataset}") as progress:
                prepared = write_index(
                    dataset,
                    folder,
                    its_layout,
                    data_json=data_json,
                    conf=conf,
                    normal=normal or (),
                    mask_suffix=mask_suffix,
                    allow_missing_masks=allow_missing_masks,
                    progress=progress,
                )
            typer.echo(prepared)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Dataset whose index is checked against the disk.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the images, if they have moved.")] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Decode every image and mask of an index and report all that does not fit; the exit code is 1 if anything."""
    from zsad.data.verify import verify as check

    with build.clear_errors(), _progress(f"decoding {name}") as progress:
        threshold = build.mask_threshold(name)
        report = check(name, root, data_json=data_json, mask_threshold=threshold, progress=progress)
    typer.echo(report)
    if report.problems:
        raise typer.Exit(1)


@app.command()
def predict(
    checkpoint: Checkpoint,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders that are searched for them.")],
    out: Annotated[Path, typer.Option(help="Where heat maps and scores.csv go.")] = Path("runs/predict"),
    model: Model = None,
    backbone: Backbone = None,
    category: Annotated[str, typer.Option(help="What is in the images, for methods that want to know.")] = "object",
    override: Override = None,
) -> None:
    """Draw a heat map of every image and write their scores, for pictures without a dataset."""
    from zsad import prediction

    with build.clear_errors():
        files = prediction.find_images(images)
        config, _ = _as_learned(checkpoint, model, backbone, override or [])
        config.paths.output_dir = str(out)  # set, not composed: Hydra would parse the blanks and commas of a path
        task, trainer = build.build(config.model), build.build_trainer(config)
        task.load_prompts(checkpoint)
        trainer.predict(task, prediction.loader(files, config.image_size, category), return_predictions=False)
    typer.echo(f"{len(files)} images: {out}/heatmaps, {out}/scores.csv")


@app.command()
def export(
    checkpoint: Checkpoint,
    file: Annotated[Path, typer.Argument(help="NAME.safetensors, or NAME.pth for the published programs.")],
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
) -> None:
    """Save the learned prompts alone, for other runs, for other people, or for the published programs."""
    from zsad.tasks.checkpoint import save_prompts

    with build.clear_errors():
        config, learned = _as_learned(checkpoint, model, backbone, override or [])
        task = build.build(config.model)
        task.load_prompts(checkpoint)
        save_prompts(file, task.method, learned)
    typer.echo(file)


def _as_learned(
    checkpoint: Path, model: str | None, backbone: str | None, overrides: list[str]
) -> tuple[DictConfig, dict[str, Any]]:
    """Return the configuration that a checkpoint was learned with, and what it says about itself.

    What the user says wins over the checkpoint, and the checkpoint over the defaults.
    """
    from zsad.prediction import read_provenance

    learned = read_provenance(checkpoint)
    chosen = build.known_choices(learned, model=model, backbone=backbone)
    config = build.compose("test", [*chosen, "logger=none", "paths.output_dir=.", *overrides])
    said = {override.lstrip("+~").partition("=")[0].removeprefix("model.method.") for override in overrides}
    settings = {key: value for key, value in learned.get("settings", {}).items() if key not in said}
    refused = build.adopt_settings(config, {"settings": settings})
    if refused:
        typer.echo(f"note: left as configured, though learned otherwise: {', '.join(refused)}", err=True)
    return config, learned


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        row = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)
