"""Commands about datasets: prepare, list, verify."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zsad.cli.options import DATASETS, DataJson, app
from zsad.cli.progress import images, megabytes, progress_bars
from zsad.config import compose, errors, model_facts

# Datasets that are generated, not downloaded, and their worlds.
GENERATED = {"synthetic": ("a", "b")}
NO_TERMINAL_COLUMNS = 1000  # the width of a table that no terminal shows

Source = tuple[Path | None, str | None]  # root and layout of a dataset


class BadImage(StrEnum):
    """Answers to image files that cannot be read."""

    REFUSE = "refuse"
    SKIP = "skip"


@app.command(rich_help_panel=DATASETS)
def prepare(
    name: Annotated[
        str, typer.Argument(help="A dataset of `zsad datasets`, a new name, or: folder, synthetic.")
    ],
    root: Annotated[
        Path | None,
        typer.Argument(
            help="The download: a folder, an archive, or a folder of archives. For synthetic: the "
            "folder to write. By default $ZSAD_DATASETS/NAME or datasets/NAME."
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout of ROOT, such as mvtec; by default that of NAME.")
    ] = None,
    new_name: Annotated[
        str | None, typer.Option("--name", help="Your name for it: dataset=NAME from now on.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV with image,label[,mask,category,defect,phase].")
    ] = None,
    normal: Annotated[
        list[str] | None, typer.Option(help="Another name of the folder of normal images.")
    ] = None,
    mask_suffix: Annotated[
        str | None, typer.Option(help="Another ending of mask names, such as _GT.")
    ] = None,
    mask_prefix: Annotated[
        str | None, typer.Option(help="What stands before the image's name in mask names: mask_.")
    ] = None,
    mask_threshold: Annotated[
        int | None, typer.Option(min=0, max=254, help="Mask values above it are defective.")
    ] = None,
    allow_missing_masks: Annotated[
        bool, typer.Option("--allow-missing-masks", help="Accept defective images without a mask.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a dataset of this name, mask rule included."),
    ] = False,
    on_bad_image: Annotated[
        BadImage, typer.Option(help="Refuse or skip files that cannot be read.")
    ] = BadImage.REFUSE,
    checksum: Annotated[
        bool, typer.Option(help="Compare archives with published checksums.")
    ] = True,
    data_json: DataJson = Path("data_json"),
    conf: Annotated[
        Path,
        typer.Option(help="Folder of the dataset configurations.", show_default="conf/dataset"),
    ] = compose.CONF / "dataset",
) -> None:
    """Index a dataset for training and testing, and check every file. The files stay as they are.

    `zsad prepare folder ROOT --name NAME` takes your own images, sorted into good/ and bad/, with
    masks in masks/, or listed in a `--table`. `zsad prepare synthetic` generates two datasets
    without any download: synthetic_a to train on, synthetic_b to test on.
    """
    from zsad.data.prepare.write_index import prepare as write_index

    with errors.clear_errors():
        for dataset, (folder, its_layout) in _sources(name, root, layout, new_name).items():
            bars = {"unpacking": megabytes, f"reading {dataset}": images}
            with progress_bars(bars) as (unpacking, progress):
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
                    mask_prefix=mask_prefix,
                    mask_threshold=mask_threshold,
                    table=table,
                    allow_missing_masks=allow_missing_masks,
                    overwrite=overwrite,
                    skip_bad_images=on_bad_image is BadImage.SKIP,
                    compare_checksum=checksum,
                )
            typer.echo(prepared)


@app.command(rich_help_panel=DATASETS)
def datasets(
    name: Annotated[
        str | None, typer.Argument(help="A dataset, to show its source and its layout.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Only one group: industrial, medical, synthetic or own.")
    ] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """List known datasets: size, licence, web page, and whether they are on this machine."""
    from zsad.data.prepare import catalogue

    with errors.clear_errors():
        if name is None:
            columns = shutil.get_terminal_size((NO_TERMINAL_COLUMNS, 0)).columns
            rows = catalogue.list_datasets(data_json, group)
            text = catalogue.format_table(rows, columns)
        else:
            text = catalogue.describe_dataset(name, data_json)
    typer.echo(text)


@app.command(rich_help_panel=DATASETS)
def verify(
    name: Annotated[str, typer.Argument(help="A prepared dataset.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the images, if they have moved.")
    ] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Decode all images and masks of a dataset; with any problem, the exit code is 1."""
    from zsad.data.prepare.verify import verify as check

    with errors.clear_errors(), progress_bars({f"decoding {name}": images}) as (progress,):
        threshold = model_facts.mask_threshold(name)
        report = check(name, root, data_json=data_json, mask_threshold=threshold, progress=progress)
    typer.echo(report)
    if report.problems:
        raise typer.Exit(1)


def _sources(
    name: str, root: Path | None, layout: str | None, new_name: str | None
) -> dict[str, Source]:
    """Return the sources of the datasets to index, by name; generated datasets are written."""
    if name not in GENERATED:
        usual_layout = name if new_name else None
        return {new_name or name: (root, layout or usual_layout)}
    from zsad.data.synthetic import write_synthetic

    place = root or Path("datasets") / name
    sources: dict[str, Source] = {}
    for world in GENERATED[name]:
        dataset = f"{name}_{world}"
        sources[dataset] = (write_synthetic(place / dataset, world=world), "mvtec")
    return sources
