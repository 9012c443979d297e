"""``zsad``: everything that is not training or testing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from omegaconf import DictConfig
from rich.progress import Progress, TextColumn, TimeRemainingColumn

from zsad import build

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Zero-shot anomaly detection."
)

# Datasets that are generated, not downloaded, and the worlds that they consist of.
GENERATED = {"synthetic": ("a", "b")}
ROOT_HELP = (
    "The download: a folder, an archive, or a folder of archives. For 'synthetic': where to write. "
    "By default $ZSAD_DATASETS/NAME or datasets/NAME."
)
WIDE = 1000  # columns of a table that no terminal shows
Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="A run folder, a .ckpt, exported .safetensors, a published epoch_N.pth; or a model that learns nothing."
    ),
]
Model = Annotated[str | None, typer.Option(help="By default the one the checkpoint was learned with.")]
Backbone = Annotated[str | None, typer.Option(help="By default the one the checkpoint was learned with.")]
Override = Annotated[list[str] | None, typer.Option("--set", help="Any key.path=value of the configuration.")]
DataJson = Annotated[Path, typer.Option(help="Folder of the dataset indexes.")]


class BadImage(StrEnum):
    """What to do about a file that is there and cannot be used."""

    REFUSE = "refuse"
    SKIP = "skip"


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="A dataset that `zsad datasets` lists, a name of yours, or folder.")],
    root: Annotated[Path | None, typer.Argument(help=ROOT_HELP)] = None,
    layout: Annotated[str | None, typer.Option(help="How ROOT is laid out; by default as NAME's download.")] = None,
    called: Annotated[str | None, typer.Option("--name", help="Another name: dataset=NAME from now on.")] = None,
    table: Annotated[Path | None, typer.Option(help="CSV with image,label[,mask,category,defect,phase].")] = None,
    normal: Annotated[list[str] | None, typer.Option(help="Other names of the folder of normal images.")] = None,
    mask_suffix: Annotated[str | None, typer.Option(help="Another end of mask names, such as _GT.")] = None,
    mask_threshold: Annotated[int | None, typer.Option(min=0, max=254, help="Defective above this value.")] = None,
    allow_missing_masks: Annotated[bool, typer.Option(help="Accept defective images without their mask.")] = False,
    on_bad_image: Annotated[BadImage, typer.Option(help="About files that cannot be used.")] = BadImage.REFUSE,
    checksum: Annotated[bool, typer.Option(help="Compare archives with published checksums.")] = True,
    data_json: DataJson = Path("data_json"),
    conf: Annotated[Path, typer.Option(help="Where dataset configurations are.")] = build.CONF / "dataset",
) -> None:
    """Write the index of a download, checking every file. The download itself is not altered.

    ``zsad prepare folder ROOT --name NAME`` takes images of your own, sorted into good/ and bad/, with masks in masks/,
    or listed in a ``--table``. ``zsad prepare synthetic`` first generates two sets of images, synthetic_a to learn from
    and synthetic_b to test on, for which nothing has to be downloaded.
    """
    from zsad.data.prepare import prepare as write_index
    from zsad.data.synthetic import write_synthetic

    with build.clear_errors():
        worlds = {f"{name}_{world}": world for world in GENERATED.get(name, ())}
        place = root or Path("datasets") / name
        generated = {each: (write_synthetic(place / each, world=world), "mvtec") for each, world in worlds.items()}
        layout = layout or (name if called else None)
        for dataset, (folder, its_layout) in (generated or {called or name: (root, layout)}).items():
            with _progress({"unpacking": _megabytes, f"reading {dataset}": _images}) as (unpacking, progress):
                prepared = write_index(
                    dataset,
                    folder,
                    its_layout,
                    data_json=data_json,
                    conf=conf,
                    progress=progress,
                    unpacking=unpacking,
                    normal=normal or (),
                    mask_suffix=mask_suffix,
                    mask_threshold=mask_threshold,
                    table=table,
                    allow_missing_masks=allow_missing_masks,
                    skip_bad_images=on_bad_image is BadImage.SKIP,
                    compare_checksum=checksum,
                )
            typer.echo(prepared)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="One of them: where to get it, and what must lie where.")] = None,
    group: Annotated[str | None, typer.Option(help="industrial, medical, synthetic or own.")] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """List the datasets that can be prepared, with size, licence and page, and what of them is on this machine."""
    from zsad.data import catalogue

    with build.clear_errors():
        if name is None:
            text = catalogue.table(catalogue.rows(data_json, group), shutil.get_terminal_size((WIDE, 0)).columns)
        else:
            text = catalogue.details(name, data_json)
    typer.echo(text)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Dataset whose index is checked against the disk.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the images, if they have moved.")] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Decode every image and mask of an index and report all that does not fit; the exit code is 1 if anything."""
    from zsad.data.verify import verify as check

    with build.clear_errors(), _progress({f"decoding {name}": _images}) as (progress,):
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
    thresholds: Annotated[Path | None, typer.Option(help="A calibrated run; by default CHECKPOINT's own.")] = None,
    override: Override = None,
) -> None:
    """Draw a heat map of every image and write their scores, for pictures without a dataset.

    With thresholds (``zsad calibrate``, or a test) it also says defective or good, and draws contours.
    """
    from zsad import prediction, verdicts
    from zsad.reports.calibration import made_with

    with build.clear_errors():
        files = prediction.find_images(images)
        config, _ = _as_learned(checkpoint, model, backbone, override or [])
        config.paths.output_dir = str(out)  # set, not composed: Hydra would parse the blanks and commas of a path
        task = _built(config, checkpoint)
        made = made_with(task.method, config.image_size, references=0)
        chosen, notes = verdicts.find_thresholds(checkpoint, thresholds, made)
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        if chosen:
            config.callbacks.scores.threshold = chosen.image and chosen.image.value
            config.callbacks.heatmaps.threshold = chosen.pixel and chosen.pixel.value
        trainer = build.build_trainer(config)
        trainer.predict(task, prediction.loader(files, config.image_size, category), return_predictions=False)
    typer.echo(f"{verdicts.summary(trainer, len(files), chosen)}: {out}/heatmaps, {out}/scores.csv")


@app.command()
def calibrate(
    checkpoint: Checkpoint,
    dataset: Annotated[str, typer.Argument(help="A prepared dataset of what will be inspected.")],
    rule: Annotated[str, typer.Option(help="f1_max, fpr=0.05 (share of the good ones), normal_only.")] = "f1_max",
    pixel_rule: Annotated[str | None, typer.Option(help="Another rule for the contours.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the thresholds go; by default to CHECKPOINT.")] = None,
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Choose from which score on `zsad predict` calls an image, and a pixel, defective; and keep it with the run."""
    from zsad import verdicts
    from zsad.reports.thresholds import FILE, OPTIMISTIC

    with build.clear_errors():
        choice = build.read_arguments([f"dataset={dataset}"])
        config, _ = _as_learned(checkpoint, model, backbone, [*choice, *(override or [])])
        config.paths.data_json = str(data_json)
        file = out or verdicts.thresholds_file(checkpoint) or Path("runs/calibrate") / f"{checkpoint}_{dataset}" / FILE
        rules = {"image_rule": rule, "pixel_rule": pixel_rule or rule}
        config.callbacks.thresholds.update({"file": str(file), **rules})
        config.callbacks = {name: config.callbacks[name] for name in ("progress", "thresholds")}
        data = build.build(config.dataset)
        data.setup("test")
        verdicts.prepare_calibration(data, list(rules.values()))
        task, trainer = _built(config, checkpoint), build.build_trainer(config)
        trainer.test(task, data, verbose=False)
    typer.echo("\n".join([*verdicts.chosen(trainer).sentences(), OPTIMISTIC, f"written: {file}"]))


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
        if not build.learns(config):
            raise ValueError(f"{checkpoint} learns nothing, so there is nothing to export")
        save_prompts(file, _built(config, checkpoint).method, learned)
    typer.echo(file)


@app.command()
def average(
    runs: Annotated[list[Path], typer.Argument(help="Folders of tests that differ by their seed alone.")],
    out: Annotated[Path, typer.Option(help="Where average.csv and average.md go.")] = Path("runs/average"),
) -> None:
    """Join the tables of tests that repeat one another: mean ± deviation of every number."""
    from rich.console import Console

    from zsad.reports import average as averages

    with build.clear_errors():
        result = averages.average(runs)
        title = f"mean of {len(runs)} runs"
        written = averages.write_average(result, out, title)
    Console().print(averages.screen_table(result, title))
    typer.echo(f"written: {', '.join(map(str, written))}")


@app.command()
def submission(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Where 0shot/… goes.")] = Path("runs/submission"),
    dataset: Annotated[str, typer.Option(help="A prepared dataset with images without labels.")] = "visa_challenge",
    track: Annotated[str, typer.Option(help="Only images below a folder of this name.")] = "vand_0shot",
    size_px: Annotated[int, typer.Option(min=1, help="Side of the written maps.")] = 400,
    model: Model = None,
    backbone: Backbone = None,
    override: Override = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Write the files of the VisA challenge: scores and maps of images whose labels are not published."""
    from zsad import prediction
    from zsad.reports.submission import SubmissionWriter

    with build.clear_errors():
        samples = prediction.unlabelled(dataset, data_json, track)
        config, _ = _as_learned(checkpoint, model, backbone, override or [])
        config.paths.output_dir = str(out)  # a few heat maps and scores.csv lie beside it
        task, trainer = _built(config, checkpoint), build.build_trainer(config)
        trainer.callbacks.append(SubmissionWriter(out, size_px=size_px))  # type: ignore[attr-defined]
        trainer.predict(task, prediction.batches(samples, config.image_size), return_predictions=False)
    typer.echo(f"{len(samples)} images of {len({sample.category for sample in samples})} classes: {out}/0shot/0")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished tests.")],
    out: Annotated[Path, typer.Option(help="Where compare.md, .tex, .csv and .html go.")] = Path("runs/compare"),
    by_category: Annotated[bool, typer.Option(help="Also a table per metric, with a row for each category.")] = False,
) -> None:
    """Put finished tests side by side, dataset by dataset; only what tested the same images shares a table."""
    from rich.console import Console

    from zsad.reports import compare as side_by_side

    with build.clear_errors():
        written = side_by_side.write_compared(runs, out, by_category)
        tables = side_by_side.screen_tables(side_by_side.compare(runs))
    for table in tables:
        Console().print(table)
    typer.echo(f"written: {', '.join(map(str, written))}")


def _as_learned(
    checkpoint: Path, model: str | None, backbone: str | None, overrides: list[str]
) -> tuple[DictConfig, dict[str, Any]]:
    """Return the configuration that a checkpoint was learned with, and what it says about itself.

    What the user says wins over the checkpoint, and the checkpoint over the defaults. For a model that learns nothing
    its name stands in the place of a checkpoint.
    """
    from zsad.prediction import read_provenance

    if not checkpoint.exists() and str(checkpoint) in build.choices("model"):
        return _untrained(model or str(checkpoint), backbone, overrides), {}
    learned = read_provenance(checkpoint)
    chosen = build.known_choices(learned, model=model, backbone=backbone)
    config = build.compose("test", [*chosen, "logger=none", "paths.output_dir=.", *overrides])
    said = {override.lstrip("+~").partition("=")[0].removeprefix("model.method.") for override in overrides}
    settings = {key: value for key, value in learned.get("settings", {}).items() if key not in said}
    refused = build.adopt_settings(config, {"settings": settings})
    if refused:
        typer.echo(f"note: left as configured, though learned otherwise: {', '.join(refused)}", err=True)
    return config, learned


def _untrained(name: str, backbone: str | None, overrides: list[str]) -> DictConfig:
    """Return the configuration of a model that learns nothing."""
    chosen = [f"model={name}", *([f"backbone={backbone}"] if backbone else [])]
    config = build.compose("test", [*chosen, "logger=none", "paths.output_dir=.", *overrides])
    if build.learns(config):
        raise ValueError(
            f"{name} is a model that learns: give what it has learned, runs/train/NAME, instead of its name; or first "
            f"run: python train.py model={name} dataset=visa"
        )
    return config


def _built(config: DictConfig, checkpoint: Path) -> Any:
    """Build the task, with what was learned if anything is."""
    task = build.build(config.model)
    if build.learns(config):
        task.load_prompts(checkpoint)
    return task


Amount = Callable[[int, int], str]


def _images(done: int, total: int) -> str:
    return f"{done:,}/{total:,}"


def _megabytes(done: int, total: int) -> str:
    return f"{done / 1e6:,.0f}/{total / 1e6:,.0f} MB"


@contextmanager
def _progress(bars: dict[str, Amount]) -> Iterator[list[Callable[[int, int], None]]]:
    """Yield for each bar the function that moves it; a bar shows from its first move on."""
    columns = (*Progress.get_default_columns()[:2], TextColumn("{task.fields[amount]}"), TimeRemainingColumn())
    with Progress(*columns) as display:

        def mover(what: str, amount: Amount) -> Callable[[int, int], None]:
            row = display.add_task(what, total=None, visible=False, amount="")
            return lambda done, total: display.update(
                row, completed=done, total=total, visible=True, amount=amount(done, total)
            )

        yield [mover(what, amount) for what, amount in bars.items()]
